"""Real Caffe computes the written files as it computes those given, shared memory included."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nnie_pipeline.caffe.files import read_net, write_net
from nnie_pipeline.caffe.net import Array, Net
from nnie_pipeline.engine import pycaffe_engine
from nnie_pipeline.errors import CheckError, InputError, NotExpressibleError
from nnie_pipeline.rewrite import global_stats, in_place
from nnie_pipeline.rewrite.base import Changes
from nnie_pipeline.stages.probe import Probe
from nnie_pipeline.stages.rewrite import rewrite_files
from tests.caffe_nets import conv, header, layer, random_net, save
from tests.conftest import missing

INPUT = header(1, 3, 17, 19)
PROBE = Probe(None, "noise")


@pytest.fixture
def pycaffe() -> Any:
    if not pycaffe_engine.is_available():
        missing("pycaffe (make pycaffe)")
    import caffe  # type: ignore[import-untyped]

    return caffe


def given(text: str, folder: Path) -> tuple[Path, Path]:
    """The text and random weights as files."""
    return save(folder, text, random_net(text)[1] or {"no layer": [[0.0]]})


def rewritten(text: str, folder: Path, **options: Any) -> tuple[Path, Path]:
    out = folder / "out"
    out.mkdir()
    rewrite_files(*given(text, folder), "net", out, None, PROBE, **options)
    return out / "net.prototxt", out / "net.caffemodel"


def by_caffe(caffe: Any, files: tuple[Path, Path]) -> dict[str, Array]:
    """Outputs of a network on one input, from its files as they are."""
    net = caffe.Net(*map(str, files), caffe.TEST)
    x = np.random.default_rng(5).uniform(-3, 3, 4_000_000).astype(np.float32)
    for name in net.inputs:
        blob = net.blobs[name].data
        blob[...] = x[: blob.size].reshape(blob.shape)
    return {k: v.copy() for k, v in net.forward().items()}


def same(caffe: Any, text: str, folder: Path, limit: float = 0.0, **options: Any) -> None:
    """Hold the written files against those given; names of outputs stay."""
    after = by_caffe(caffe, rewritten(text, folder, **options))
    before = by_caffe(caffe, (folder / "net.prototxt", folder / "net.caffemodel"))
    assert sorted(before) == sorted(after)
    for name, expected in before.items():
        difference = np.abs(expected - after[name]).max() / np.abs(expected).max()
        assert difference <= limit, f"{name}: {difference}"


SHARING = {
    "Concat": layer("Concat", "k", "c"),
    "Slice": layer("Slice", "k", "c", "", "slice_param { axis: 1 }"),
    "Permute": layer("Permute", "k", "c", "", "permute_param { order: 0 order: 1 }"),
    "Reshape": layer("Reshape", "k", "c", "", "reshape_param { shape { dim: 0 dim: 0 dim: -1 } }")
    + layer("Reshape", "k2", "k", "", "reshape_param { shape { dim: 0 dim: 0 dim: 15 dim: -1 } }"),
    "Split": layer("Split", "k", "c", "k l") + layer("Sigmoid", "s", "l"),
    "Flatten": layer("Flatten", "k", "c", "", "flatten_param { axis: 3 }"),
    "Dropout": layer("Dropout", "k", "c"),
}


@pytest.mark.parametrize("sharing", SHARING)
def test_what_shares_memory_is_not_overwritten(sharing: str, tmp_path: Path, pycaffe: Any) -> None:
    last = "k2" if sharing == "Reshape" else "k"
    text = (
        INPUT
        + conv("c", "data", 6, 3)
        + SHARING[sharing]
        + layer("ReLU", "r", last)
        + conv("d", "c", 6)
        + layer("Concat", "e", "r d")
    )
    same(pycaffe, text, tmp_path)


RESHAPE = layer("Reshape", "k", "c", "", "reshape_param { shape { dim: 0 dim: 0 dim: -1 } }")
SPLIT = layer("Split", "sp", "c", "a b")
OVERWRITING = {
    "one half of a Split": (SPLIT, "a", conv("x", "b", 6)),
    "the bottom of a Reshape": (RESHAPE, "k", conv("x", "c", 6)),
    "an output": (SPLIT, "a", conv("x", "a", 6)),
    "two layers away": (
        layer("Concat", "m", "c") + layer("Flatten", "k", "m", "", "flatten_param { axis: 2 }"),
        "k", conv("x", "c", 6),
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", OVERWRITING)
def test_memory_that_is_overwritten_before_it_is_read_is_refused(
    case: str, tmp_path: Path, pycaffe: Any
) -> None:
    front, blob, behind = OVERWRITING[case]
    front = INPUT + conv("c", "data", 6, 3) + front
    apart = front + layer("ReLU", "r", blob, "own") + behind
    before = by_caffe(pycaffe, given(apart, tmp_path))
    text = front + layer("ReLU", "r", blob, blob) + behind
    (tmp_path / "net.prototxt").write_text(text)
    after = by_caffe(pycaffe, (tmp_path / "net.prototxt", tmp_path / "net.caffemodel"))
    assert any(not np.array_equal(before[x], after[x]) for x in before.keys() & after)
    words = r"layer r \(ReLU\) overwrites the blob \w, which has the memory of \w in Caffe, and "
    with pytest.raises(InputError, match=words + r".*give r a top of its own"):
        read_net(tmp_path / "net.prototxt")


def test_memory_that_is_overwritten_after_it_was_read_is_fine(tmp_path: Path, pycaffe: Any) -> None:
    text = (
        INPUT
        + conv("c", "data", 6, 3)
        + SPLIT
        + conv("x", "b", 6)
        + layer("ReLU", "r", "a", "a")
        + layer("Eltwise", "e", "a x")
    )
    same(pycaffe, text, tmp_path)


CHAIN = (
    INPUT
    + conv("c", "data", 6, 3, "pad: 1")
    + layer("BatchNorm", "bn", "c", "c")
    + layer("ReLU", "r", "c", "c")
    + layer("Pooling", "p", "c", "", "pooling_param { kernel_size: 3 stride: 2 }")
    + layer("InnerProduct", "fc", "p", "", "inner_product_param { num_output: 4 }")
    + layer("Sigmoid", "out", "fc", "fc")
)


def test_the_engine_works_in_place_as_the_files_do(tmp_path: Path, pycaffe: Any) -> None:
    files = given(CHAIN, tmp_path)
    expected = by_caffe(pycaffe, files)
    net = read_net(*files)
    x = np.random.default_rng(5).uniform(-3, 3, 4_000_000).astype(np.float32)[: 3 * 17 * 19]
    found = pycaffe_engine.Session(net, as_written=True).run({"data": x.reshape(1, 3, 17, 19)})
    np.testing.assert_array_equal(found["fc"], expected["fc"])


def broken(net: Net, already: object = ()) -> Changes:
    """In place where memory is shared: as copies, nothing moves."""
    net.find("r").in_place = True
    return Changes(["r works in place"])


def test_the_last_proof_sees_memory_as_caffe_has_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pycaffe: Any
) -> None:
    monkeypatch.setattr(in_place, "apply", broken)
    text = INPUT + conv("c", "data", 6, 3) + layer("Power", "k", "c") + layer("ReLU", "r", "k")
    text += conv("d", "c", 6) + layer("Eltwise", "e", "r d")
    assert rewritten(text, tmp_path, engine="pycaffe")
    shared = tmp_path / "shared"
    shared.mkdir()
    text = text.replace('"Power"', '"Concat"')
    with pytest.raises((CheckError, InputError), match=r"overwrites the blob|the written files"):
        rewritten(text, shared, engine="pycaffe")


@pytest.mark.parametrize("engine", ["onnxruntime", "pycaffe"])
def test_written_files_that_are_broken_are_caught(
    engine: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, pycaffe: Any
) -> None:
    def spoil(net: Net, prototxt: Path, caffemodel: Path) -> None:
        net = net.copy()
        net.layers[0].weights = [x * 1.5 for x in net.layers[0].weights]
        write_net(net, prototxt, caffemodel)

    monkeypatch.setattr("nnie_pipeline.stages.rewrite.write_net", spoil)
    with pytest.raises(CheckError, match=f"the written files move an output by .* in {engine}"):
        rewritten(CHAIN, tmp_path, engine=engine)


@pytest.mark.parametrize("engine", ["onnxruntime", "pycaffe"])
def test_the_proof_of_the_files_is_recorded(engine: str, tmp_path: Path, pycaffe: Any) -> None:
    options: dict[str, Any] = {"engine": engine}
    same(pycaffe, CHAIN, tmp_path, 5e-4, **options)
    record = json.loads((tmp_path / "out" / "rewrite.json").read_text())
    assert 0 < record["files_difference"] < 5e-4
    changes = (tmp_path / "out" / "changes.md").read_text()
    assert "the written files with those given, difference" in changes


def test_weights_are_looked_at_though_no_pass_changes_anything(tmp_path: Path) -> None:
    prototxt, caffemodel = given(INPUT + conv("conv1", "data", 4, 3), tmp_path)
    prototxt.write_text(INPUT + conv("convX", "data", 4, 3))
    out = tmp_path / "out"
    out.mkdir()
    with pytest.raises(InputError, match=r"layer convX \(Convolution\) has no weights"):
        rewrite_files(prototxt, caffemodel, "net", out, None, PROBE)


def permute(name: str, bottom: str, order: str) -> str:
    dims = " ".join(f"order: {x}" for x in order.split())
    return layer("Permute", name, bottom, "", f"permute_param {{ {dims} }}")


CROP = layer("Crop", "x", "data e", "", "crop_param { axis: 1 }")
NOTHING_LEFT = {
    "the first layer is cut": permute("p", "data", "0 2 1 3") + conv("c", "p", 6, 3),
    "no layer has a top": 'layer { name: "s" type: "Silence" bottom: "data" }',
    "the output is the input": conv("e", "data", 3) + CROP,
    "all of it idle": layer("Dropout", "x", "data") + layer("Split", "y", "x", "y z"),
}


@pytest.mark.parametrize("skip", [[], ["cut-cpu-tail"]])
@pytest.mark.parametrize("case", NOTHING_LEFT)
def test_a_network_of_nothing_is_refused(case: str, skip: list[str], tmp_path: Path) -> None:
    if skip and case == "the first layer is cut":
        return
    with pytest.raises(NotExpressibleError, match="nothing is left of the network"):
        rewritten(INPUT + NOTHING_LEFT[case], tmp_path, skip=skip)
    assert not list((tmp_path / "out").iterdir())


@pytest.mark.parametrize("skip", [[], ["cut-cpu-tail"]])
def test_an_output_that_is_the_input_goes(skip: list[str], tmp_path: Path, pycaffe: Any) -> None:
    text = INPUT + conv("e", "data", 3) + CROP + conv("g", "e", 2)
    like = tmp_path / "like.prototxt"
    like.write_text(text)
    files = rewritten(text, tmp_path, order_like=like, skip=skip)
    after = by_caffe(pycaffe, files)
    assert list(after) == ["g"]
    before = by_caffe(pycaffe, (tmp_path / "net.prototxt", tmp_path / "net.caffemodel"))
    np.testing.assert_array_equal(before["g"], after["g"])
    if not skip:
        record = json.loads((tmp_path / "out" / "rewrite.json").read_text())
        assert record["outputs"] == ["g"]
        changes = [line for x in record["passes"] for line in x["changes"]]
        assert "x is no output: it is the input data as it is" in changes


@pytest.mark.parametrize("behind", ["c_part", "c_part c_part_2"])
def test_a_split_pooling_takes_free_names(behind: str, tmp_path: Path, pycaffe: Any) -> None:
    first, *others = behind.split()
    text = header(1, 3, 310, 234) + conv(first, "data", 4)
    text += layer("Pooling", "c", first, "", "pooling_param { pool: AVE global_pooling: true }")
    text += "".join(layer("ReLU", x, first) for x in others)
    same(pycaffe, text, tmp_path, 1e-5)
    assert len(read_net(tmp_path / "out" / "net.prototxt").layers) == 3 + len(others)


@pytest.mark.parametrize(
    ("order", "stays"),
    [("0 2", False), ("1", False), ("0 2 3", True), ("0 2 3 1", True), ("0 1", True), ("", True)],
)
def test_a_permute_is_judged_by_its_whole_order(
    order: str, stays: bool, tmp_path: Path, pycaffe: Any
) -> None:
    text = INPUT + conv("c", "data", 6, 3) + permute("p", "c", order)
    files = rewritten(text, tmp_path)
    assert [x.type for x in read_net(files[0]).layers][1:] == ["Permute"] * stays
    assert list(by_caffe(pycaffe, files)) == ["p" if stays else "c"]


TAIL_CUT = (
    INPUT
    + conv("c", "data", 6, 3)
    + permute("p", "c", "0 3 1 2")
    + conv("d", "data", 6, 3)
    + layer("Reshape", "r", "d", "", "reshape_param { shape { dim: 0 dim: 2 dim: -1 } }")
)


def test_outputs_without_a_tail_come_first_after_a_cut_too(tmp_path: Path) -> None:
    rewritten(TAIL_CUT, tmp_path)
    record = json.loads((tmp_path / "out" / "rewrite.json").read_text())
    assert record["outputs"] == ["c", "r"]


def test_outputs_that_were_asked_for_keep_their_order_after_a_cut(tmp_path: Path) -> None:
    rewritten(TAIL_CUT + conv("z", "d", 6), tmp_path, outputs=["r", "z", "p"])
    record = json.loads((tmp_path / "out" / "rewrite.json").read_text())
    assert record["outputs"] == ["r", "z", "c"]


OVERWRITTEN = {
    "before pads": layer("BatchNorm", "bn", "data", "data")
    + layer("Scale", "sc", "data", "data", "scale_param { bias_term: true }")
    + conv("c", "data", 6, 3, "pad: 1"),
    "an activation": layer("Scale", "s", "data", "data") + layer("ReLU", "r", "data", "data")
    + conv("c", "data", 6),
    "no merging there": layer("Power", "p", "data", "data", "power_param { power: 2 }")
    + layer("Power", "q", "data", "data", "power_param { power: 3 }") + conv("c", "data", 6),
    "names in use": layer("ReLU", "r", "data", "data") + layer("Sigmoid", "s", "data", "r")
    + conv("c", "r", 6),
    "merged": layer("BatchNorm", "bn", "data", "data") + conv("c", "data", 6, 3),
}  # fmt: skip


@pytest.mark.parametrize("apart", [False, True])
@pytest.mark.parametrize("case", OVERWRITTEN)
def test_an_overwritten_input_keeps_its_name(
    case: str, apart: bool, tmp_path: Path, pycaffe: Any
) -> None:
    same(pycaffe, INPUT + OVERWRITTEN[case], tmp_path, 1e-5, apart=apart)
    written = read_net(tmp_path / "out" / "net.prototxt")
    assert list(written.inputs) == ["data"]
    assert not any("@input" in x or "data" in x for x in written.producers())
    record = json.loads((tmp_path / "out" / "rewrite.json").read_text())
    assert "data" not in record["names"]
    text = (tmp_path / "out" / "changes.md").read_text()
    assert "another use" not in text
    assert "()" not in text[text.index("## Side by side") :]


def test_an_overwritten_input_that_is_renamed_stands_in_the_table(tmp_path: Path) -> None:
    text = INPUT + layer("ReLU", "r", "data", "data") + conv("c", "data", 6)
    rewritten(text.replace('"data"', '"in/put"'), tmp_path)
    record = json.loads((tmp_path / "out" / "rewrite.json").read_text())
    assert record["names"] == {"in/put": "in_put"}
    assert list(read_net(tmp_path / "out" / "net.prototxt").inputs) == ["in_put"]


@pytest.mark.parametrize("skip", [[], ["merge-batch-norm"]])
def test_a_batch_norm_that_stays_says_what_the_guide_wants(
    skip: list[str], tmp_path: Path, pycaffe: Any
) -> None:
    text = INPUT + layer("Pooling", "p", "data", "", "pooling_param { kernel_size: 2 }")
    text += layer("BatchNorm", "bn", "p") + layer("ReLU", "r", "bn") + conv("c", "r", 4)
    text += layer("BatchNorm", "b2", "c", "", "batch_norm_param { eps: 0.01 }")
    same(pycaffe, text, tmp_path, 1e-5, skip=skip)
    net = read_net(tmp_path / "out" / "net.prototxt")
    stays = [x.params.batch_norm_param for x in net.layers if x.type == "BatchNorm"]
    assert len(stays) == 1 + len(skip)
    assert all(x.use_global_stats for x in stays)


def test_statistics_of_the_picture_are_left_to_the_check(tmp_path: Path) -> None:
    text = INPUT + layer("ReLU", "r", "data")
    net, _ = random_net(
        text + layer("BatchNorm", "bn", "r", "", "batch_norm_param { use_global_stats: false }")
    )
    assert not global_stats.apply(net).lines
    assert not net.find("bn").params.batch_norm_param.use_global_stats

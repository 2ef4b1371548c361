from __future__ import annotations

import json
import re
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest

from nnie_pipeline.caffe.files import read_net, write_net
from nnie_pipeline.caffe.sub_network import between, first_layers
from nnie_pipeline.errors import InputError
from nnie_pipeline.mapper.cfg import read_cfg
from nnie_pipeline.quant.gfpq import range_z
from tests.branched_net import LAYERS, branched, picture
from tests.builds import Cli

Values = npt.NDArray[np.float32]


@pytest.fixture
def net(tmp_path: Path) -> tuple[Path, Path]:
    return branched(tmp_path)


@pytest.mark.parametrize(
    ("to", "since", "layers", "inputs", "outputs"),
    [
        (["pool"], None, "conv1 relu1 conv2 relu2 side sum pool", "data", "pool"),
        (["relu1"], None, "conv1 relu1", "data", "c1"),
        (["conv1"], None, "conv1", "data", "c1"),
        (["pool"], "conv2", "conv2 relu2 sum pool", "c1 side", "pool"),
        (["pool"], "relu2", "relu2 sum pool", "c2_conv2 side", "pool"),
        (["side"], "side", "side", "data", "side"),
        (["conv2", "other"], "relu1", "relu1 conv2 other", "c1_conv1", "c2 other"),
        ([], "sum", "sum pool fc", "c2 side", "fc"),
        (["sum", "pool"], "conv2", "conv2 relu2 sum pool", "c1 side", "sum_report pool"),
        (["conv2", "relu2"], "conv2", "conv2 relu2", "c1", "c2_conv2_report c2"),
    ],
)
def test_a_part_holds_what_lies_between(
    net: tuple[Path, Path], to: list[str], since: str | None, layers: str, inputs: str, outputs: str
) -> None:
    part = between(read_net(*net), to, since).net
    assert [x.name for x in part.layers] == layers.split()
    written = net[0].with_name("part.prototxt")
    write_net(part, written, written.with_suffix(".caffemodel"))
    read = read_net(written)
    assert list(read.inputs) == inputs.split()
    assert read.outputs == outputs.split()
    assert [x.name for x in read.layers] == layers.split()
    assert not re.search("@", written.read_text())


def test_names_lead_back_to_the_whole_network(net: tuple[Path, Path]) -> None:
    whole = read_net(*net)
    part = between(whole, ["conv2", "other"], "relu1")
    assert part.original["c1_conv1"] == "c1@conv1"
    assert part.original["c2"] == "c2@conv2"
    assert set(part.original) == set(part.net.values())
    assert set(part.original.values()) <= set(whole.values())


def test_the_whole_network_is_left_as_it_was(net: tuple[Path, Path]) -> None:
    whole = read_net(*net)
    before = [(x.name, x.bottoms, x.tops, x.in_place) for x in whole.copy().layers]
    between(whole, ["conv2", "relu2"], "relu1")
    assert [(x.name, x.bottoms, x.tops, x.in_place) for x in whole.layers] == before


def test_first_layers_leave_open_branches_as_outputs(net: tuple[Path, Path]) -> None:
    whole = read_net(*net)
    part = first_layers(whole, 5).net
    assert [x.name for x in part.layers] == LAYERS[:5]
    assert part.outputs == ["c2", "side"]
    assert first_layers(whole, 1).net.outputs == ["c1"]
    assert first_layers(whole, 9).net.outputs == ["fc", "other"]


def test_what_cannot_be_cut_is_said(net: tuple[Path, Path]) -> None:
    whole = read_net(*net)
    with pytest.raises(InputError, match="has no layer conv3; near in name: conv2, conv1"):
        between(whole, ["conv3"])
    with pytest.raises(InputError, match="layer side does not depend on layer conv2"):
        between(whole, ["pool", "side"], "conv2")


def dumped(folder: Path) -> dict[str, Values]:
    """Each layer's own output in a dump."""
    record = json.loads((folder / "dump.json").read_text())
    return {x["layer"]: np.load(folder / x["file"]) for x in record["blobs"]}


def test_the_command_writes_a_part_that_computes_what_the_whole_does(
    tmp_path: Path, net: tuple[Path, Path], cli: Cli
) -> None:
    given = ("--input", picture(tmp_path / "x.npy"))
    assert cli("dump", *net, *given, "--out", tmp_path / "whole").status == 0
    out = tmp_path / "part"
    done = cli("cut", *net, "--from", "relu2", "--to", "pool", *given, "--out", out)
    assert (done.status, done.err) == (0, "")
    assert "3 of 9 layers" in done.out
    whole, part = dumped(tmp_path / "whole"), dumped(out / "dump")
    assert list(part) == ["relu2", "sum", "pool"]
    for layer, values in part.items():
        np.testing.assert_allclose(values, whole[layer], rtol=1e-6, atol=1e-6)
    texts = [out / "mapper" / f"input{i}" / "input.txt" for i in (1, 2)]
    tensors = [np.array(x.read_text().split(), np.float32) for x in texts]
    np.testing.assert_array_equal(tensors[0], whole["conv2"].ravel())
    np.testing.assert_array_equal(tensors[1], whole["side"].ravel())
    cfg = read_cfg((out / "mapper" / "branched_func_8bit.cfg").read_text())
    assert [x["image_list"] for x in cfg.inputs()] == [
        "./input1/input.txt", "./input2/input.txt"
    ]  # fmt: skip
    assert {(x["image_type"], x["norm_type"], x["mean_file"]) for x in cfg.inputs()} == {
        ("0", "0", "null")
    }
    read_net(out / "mapper" / "branched.prototxt", out / "mapper" / "branched.caffemodel")
    ranges = json.loads((out / "simulate" / "ranges.json").read_text())
    pool = whole["sum"]
    assert ranges["z"]["8"]["pool"] in (
        range_z(float(np.abs(pool).max()), 8), [range_z(float(np.abs(pool).max()), 8)]
    )  # fmt: skip
    assert list(dumped(out / "simulate" / "16")) == ["relu2", "sum", "pool"]
    assert cli("compare", out / "dump", out / "simulate" / "8").status == 0


def test_a_build_folder_has_all_that_a_cut_needs(tiny: Path, cli: Cli) -> None:
    (build,) = (tiny / "build").iterdir()
    blob = json.loads((build / "dump" / "dump.json").read_text())["blobs"][0]
    name = blob["layer"]
    done = cli("cut", build, "--to", name, "--pictures", "2")
    assert (done.status, done.err) == (0, "")
    out = build / "cut" / name
    (text,) = (out / "mapper").glob("input.txt")
    lines = [np.array(x.split(), np.float32) for x in text.read_text().splitlines()]
    assert [x.size for x in lines] == [3 * 32 * 32] * 2
    record = json.loads((out / "cut.json").read_text())
    assert (record["layers"], record["tensors"]) == ([name], 2)
    first = np.load(build / "dump" / blob["file"])
    np.testing.assert_allclose(dumped(out / "dump")[name], first, rtol=1e-5, atol=1e-4)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "nothing to cut: give --to LAYER"),
        (("--to", "pool", "--pictures", "0"), "--pictures 0: write 1 or more"),
        (("--to", "pool"), "give --out FOLDER"),
        (("--to", "pool", "--out", "out"), "no input: give --input FILE.npy or --calibration"),
        (("--to", "pol", "--out", "out", "--input", "x.npy"), "near in name: pool"),
        (("--to", "pool", "--out", ".", "--input", "x.npy"), "holds the network itself"),
        (("--to", "pool", "--out", "out", "--chip", "hi3"), "the chip 'hi3' is not known"),
    ],
)
def test_bad_input_is_one_line(
    tmp_path: Path,
    net: tuple[Path, Path],
    cli: Cli,
    monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[str, ...],
    message: str,
) -> None:
    picture(tmp_path / "x.npy")
    monkeypatch.chdir(tmp_path)
    done = cli("cut", net[0].name, net[1].name, *arguments)
    assert done.status == 2
    assert message in done.error
    assert not (tmp_path / "out").exists()


def test_missing_weights_and_folders_are_named(
    tmp_path: Path, net: tuple[Path, Path], cli: Cli
) -> None:
    assert "no weights for" in cli("cut", net[0], "--to", "pool").error
    assert "is no build folder" in cli("cut", tmp_path, "--to", "pool").error
    assert "found nothing there" in cli("cut", tmp_path / "no", "--to", "pool").error

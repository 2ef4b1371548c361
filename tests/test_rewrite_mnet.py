"""The proof: the network that somebody repaired by hand over weeks, in one command."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from nnie_pipeline.caffe.files import read_net
from nnie_pipeline.caffe.net import Net
from nnie_pipeline.engine.onnxruntime_engine import Session
from nnie_pipeline.errors import InputError
from nnie_pipeline.files import read_json
from nnie_pipeline.stages.probe import Probe
from nnie_pipeline.stages.rewrite import rewrite_files
from nnie_pipeline.wk.header import read_header
from tests.models import photographs

SIZES = [(640, 640), (608, 608), (512, 768), (1024, 1024)]
NO_MERGING = ("merge-batch-norm",)


@pytest.fixture(scope="module")
def mnet(shared: Path) -> Path:
    return shared / "models" / "retinaface_mnet025"


def rewritten(
    mnet: Path,
    folder: Path,
    size: tuple[int, int],
    skip: tuple[str, ...] = (),
    order_like: Path | None = None,
) -> tuple[Net, dict[str, str]]:
    """The rewritten mnet as its files say it, and the table of old to new names."""
    picture = photographs()["obama"]
    rewrite_files(
        mnet / "mnet.prototxt", mnet / "mnet.caffemodel", "mnet", folder, size,
        Probe(picture.path, picture.name), skip, order_like=order_like,
    )  # fmt: skip
    names = read_json(folder / "rewrite.json", "the record")["names"]
    return read_net(folder / "mnet.prototxt", folder / "mnet.caffemodel"), names


def by_hand(mnet: Path, size: tuple[int, int]) -> Net:
    net = read_net(mnet / "mnet_hand_rewritten.prototxt", mnet / "mnet.caffemodel")
    net.inputs = {"data": (1, 3, *size)}
    return net


def wiring(net: Net, old: dict[str, str]) -> dict[str, tuple[object, ...]]:
    """Each layer by its original name: type, parameters, and the layers it reads from."""
    makers = {top: (old.get(x.name, x.name), i) for x in net.layers for i, top in enumerate(x.tops)}
    return {
        old.get(x.name, x.name): (
            x.type,
            x.params.SerializeToString(deterministic=True),
            tuple(makers.get(b, b) for b in x.bottoms),
        )
        for x in net.layers
    }


@pytest.mark.parametrize("size", SIZES)
def test_same_layers_wiring_and_order_as_by_hand(
    mnet: Path, tmp_path: Path, size: tuple[int, int]
) -> None:
    ours, names = rewritten(mnet, tmp_path, size, NO_MERGING)
    theirs = by_hand(mnet, size)
    old = {new: before for before, new in names.items()}
    found, expected = wiring(ours, old), wiring(theirs, {})
    assert found.keys() == expected.keys()
    for name, (kind, _, reads) in expected.items():
        assert found[name][0] == kind
        assert found[name][2] == reads, name
    assert [old.get(x, x) for x in ours.outputs] == theirs.outputs


@pytest.mark.parametrize("size", SIZES)
def test_same_numbers_as_by_hand(mnet: Path, tmp_path: Path, size: tuple[int, int]) -> None:
    x = np.random.default_rng(0).integers(0, 256, (1, 3, *size)).astype(np.float32)
    theirs = by_hand(mnet, size)
    expected = Session(theirs).run({"data": x})
    for skip, limit in ((NO_MERGING, 0.0), ((), 5e-4)):
        ours, _ = rewritten(mnet, tmp_path, size, skip)
        found = Session(ours).run({"data": x})
        for name, other in zip(theirs.outputs, ours.outputs, strict=True):
            moved = np.abs(expected[name] - found[other]).max() / np.abs(expected[name]).max()
            assert moved <= limit, (name, skip)


def test_a_known_order_is_taken_exactly(mnet: Path, tmp_path: Path) -> None:
    like = mnet / "mnet_hand_rewritten.prototxt"
    ours, names = rewritten(mnet, tmp_path, (640, 640), NO_MERGING, order_like=like)
    old = {new: before for before, new in names.items()}
    assert [old.get(x.name, x.name) for x in ours.layers] == [x.name for x in read_net(like).layers]
    assert read_json(tmp_path / "rewrite.json", "the record")["order"] == f"like {like.name}"


@pytest.mark.parametrize("skip", [NO_MERGING, ()])
def test_inputs_and_outputs_are_those_of_the_compiled_file(
    mnet: Path, tmp_path: Path, skip: tuple[str, ...]
) -> None:
    ours, names = rewritten(mnet, tmp_path, (640, 640), skip)
    old = {new: before for before, new in names.items()}
    segment = read_header(mnet / "mnet_640_inst.wk").segments[0]
    shapes = Session(ours).run({"data": np.zeros((1, 3, 640, 640), np.float32)})
    nodes = [(x.name, x.channels, x.height, x.width) for x in segment.outputs]
    assert nodes == [(old.get(x, x)[:31], *shapes[x].shape[1:]) for x in ours.outputs]
    first = segment.inputs[0]
    assert ours.inputs == {first.name: (1, first.channels, first.height, first.width)}


def test_where_crop_would_cut_the_nearest_sizes_are_named(mnet: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"size 600x600: .* use 576 or 608 .*crop1 \(Crop\) cuts"):
        rewritten(mnet, tmp_path, (600, 600))


@pytest.mark.parametrize(
    ("prototxt", "caffemodel", "before", "after"),
    [
        (
            "mobilefacenet/mxnet2caffe_mobilefacenet",
            "mobilefacenet/mxnet2caffe_mobilefacenet",
            50,
            0,
        ),
        ("ultraface/RFB-320", "ultraface/RFB-320", 0, 0),
        ("ultraface/slim-320", "ultraface/slim-320", 0, 0),
        # Two stand behind a Deconvolution; behind the first Concat are no weights to merge into.
        ("enet/bn_conv_merged_model", "enet/bn_conv_merged_weights", 3, 1),
    ],
)
def test_other_public_caffe_networks(
    shared: Path, tmp_path: Path, prototxt: str, caffemodel: str, before: int, after: int
) -> None:
    models = shared / "models"
    source, weights = models / f"{prototxt}.prototxt", models / f"{caffemodel}.caffemodel"
    picture = photographs()["obama"]
    done = rewrite_files(source, weights, "net", tmp_path, None, Probe(picture.path, picture.name))
    assert sum(x.type == "BatchNorm" for x in read_net(source).layers) == before
    assert sum(x.type == "BatchNorm" for x in done.net.layers) == after
    for item in done.passes:
        assert item.difference <= (5e-4 if item.name in WEIGHTS_MOVE else 0.0), item.name


WEIGHTS_MOVE = {"merge-batch-norm", "split-global-pooling"}

"""The proof: the network that somebody repaired by hand over weeks, in one command."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest

from nnie_pipeline.caffe.files import read_net
from nnie_pipeline.caffe.net import Layer, Net
from nnie_pipeline.caffe.shapes import infer
from nnie_pipeline.chips.check import check, check_text
from nnie_pipeline.engine.onnxruntime_engine import Session
from nnie_pipeline.errors import InputError
from nnie_pipeline.files import read_json
from nnie_pipeline.rewrite.run import max_difference
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
    """Each layer by its original name: its type, and the layers it reads from."""
    makers = {top: (old.get(x.name, x.name), i) for x in net.layers for i, top in enumerate(x.tops)}
    return {
        old.get(x.name, x.name): (x.type, tuple(makers.get(b, b) for b in x.bottoms))
        for x in net.layers
    }


def settings(layer: Layer, like: Layer) -> dict[str, list[str]]:
    """The parameters of `layer` with Caffe's defaults, for each message that either one has."""
    named = {x.name for y in (layer, like) for x, _ in y.params.ListFields()}
    return {
        name: [f"{x.name}: {getattr(getattr(layer.params, name), x.name)}"
               for x in getattr(layer.params, name).DESCRIPTOR.fields]
        for name in named
    }  # fmt: skip


@pytest.mark.parametrize("size", SIZES)
def test_same_layers_wiring_and_order_as_by_hand(
    mnet: Path, tmp_path: Path, size: tuple[int, int]
) -> None:
    ours, names = rewritten(mnet, tmp_path, size, NO_MERGING)
    theirs = by_hand(mnet, size)
    old = {new: before for before, new in names.items()}
    assert wiring(ours, old) == wiring(theirs, {})
    layers = {old.get(x.name, x.name): x for x in ours.layers}
    for layer in theirs.layers:
        mine = layers[layer.name]
        assert settings(mine, layer) == settings(layer, mine), layer.name
    assert [old.get(x, x) for x in ours.outputs] == theirs.outputs
    assert ours.inputs == theirs.inputs


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


@pytest.mark.parametrize("size", SIZES)
def test_a_known_order_is_taken_exactly(mnet: Path, tmp_path: Path, size: tuple[int, int]) -> None:
    like = mnet / "mnet_hand_rewritten.prototxt"
    ours, names = rewritten(mnet, tmp_path, size, NO_MERGING, order_like=like)
    old = {new: before for before, new in names.items()}
    theirs = by_hand(mnet, size)
    assert [old.get(x.name, x.name) for x in ours.layers] == [x.name for x in theirs.layers]
    assert wiring(ours, old) == wiring(theirs, {})
    assert [old.get(x, x) for x in ours.outputs] == theirs.outputs
    assert read_json(tmp_path / "rewrite.json", "the record")["order"] == f"like {like.name}"


@pytest.mark.parametrize("compiled", ["mnet_640_inst.wk", "mnet_mergebn_640L_inst.wk"])
@pytest.mark.parametrize("skip", [NO_MERGING, ()])
def test_inputs_and_outputs_are_those_of_the_compiled_file(
    mnet: Path, tmp_path: Path, skip: tuple[str, ...], compiled: str
) -> None:
    ours, names = rewritten(mnet, tmp_path, (640, 640), skip)
    old = {new: before for before, new in names.items()}
    (segment,) = read_header(mnet / compiled).segments
    shapes = infer(ours)

    def nodes(values: Iterable[str]) -> list[tuple[object, ...]]:
        return [(old.get(x, x)[:31], *shapes[x]) for x in values]

    assert nodes(ours.inputs) == [
        (x.name, 1, x.channels, x.height, x.width) for x in segment.inputs
    ]
    assert nodes(ours.outputs) == [
        (x.name, 1, x.channels, x.height, x.width) for x in segment.outputs
    ]
    # The names that the mapper is given are as unique as the original ones.
    assert len({x[:31] for x in ours.outputs}) == len(ours.outputs) == 9


def test_where_crop_would_cut_the_nearest_sizes_are_named(mnet: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"size 600x600: .* use 576 or 608 .*crop1 \(Crop\) cuts"):
        rewritten(mnet, tmp_path, (600, 600))


@dataclass(frozen=True)
class Public:
    """A public network: its files, layers and BatchNorms before and after, and the warnings and
    errors of the chip's rules that stay."""

    prototxt: str
    caffemodel: str
    layers: tuple[int, int]
    batch_norms: tuple[int, int]
    findings: frozenset[str]


NETWORKS = [
    Public("mobilefacenet/mxnet2caffe_mobilefacenet", "mobilefacenet/mxnet2caffe_mobilefacenet",
           (195, 95), (50, 0), frozenset({"coefficient-small"})),
    # Their heads end in Reshapes to 3 axes, which a Concat along axis 1 counts.
    Public("ultraface/RFB-320", "ultraface/RFB-320", (110, 110), (0, 0),
           frozenset({"reshape-not-4d"})),
    Public("ultraface/slim-320", "ultraface/slim-320", (95, 95), (0, 0),
           frozenset({"reshape-not-4d"})),
    # Two stand behind a Deconvolution, all of them zeros in the published file; behind the first
    # Concat are no weights to merge into.
    Public("enet/bn_conv_merged_model", "enet/bn_conv_merged_weights", (209, 207), (3, 1),
           frozenset()),
]  # fmt: skip


@pytest.mark.parametrize("public", NETWORKS, ids=lambda x: x.prototxt.split("/")[-1])
def test_other_public_caffe_networks(shared: Path, tmp_path: Path, public: Public) -> None:
    models = shared / "models"
    source, weights = (
        models / f"{public.prototxt}.prototxt",
        models / f"{public.caffemodel}.caffemodel",
    )
    picture = photographs()["obama"]
    probe = Probe(picture.path, picture.name)
    done = rewrite_files(source, weights, "net", tmp_path, None, probe)
    before = read_net(source, weights)
    after = read_net(tmp_path / "net.prototxt", tmp_path / "net.caffemodel")
    assert (len(before.layers), len(after.layers)) == public.layers
    counts = [sum(x.type == "BatchNorm" for x in y.layers) for y in (before, after)]
    assert tuple(counts) == public.batch_norms
    recorded = read_json(tmp_path / "rewrite.json", "the record")["passes"]
    for item, entry in zip(done.passes, recorded, strict=True):
        assert entry["difference"] == item.difference
        assert item.difference <= (5e-4 if item.name in WEIGHTS_MOVE else 0.0), item.name
    # The files themselves, on another input than the passes were compared on.
    assert [done.names.get(x, x) for x in before.outputs] == after.outputs
    assert after.inputs == before.inputs
    rng = np.random.default_rng(1)
    x = {k: rng.uniform(0, 255, v).astype(np.float32) for k, v in before.inputs.items()}
    old, new = Session(before).run(x), Session(after).run(x)
    assert max_difference(
        [[old[y] for y in before.outputs]], [[new[y] for y in after.outputs]]
    ) <= 5e-4  # fmt: skip
    findings = check_text((tmp_path / "net.prototxt").read_text()) + check(after, "hi3516dv300")
    assert {x.id for x in findings if x.severity != "hint"} == public.findings
    assert not [x for x in findings if x.severity == "error"]


WEIGHTS_MOVE = {"merge-batch-norm", "split-global-pooling"}

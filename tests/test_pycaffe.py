"""The two engines agree: real pycaffe is the reference for what Caffe computes."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from google.protobuf import text_format

from nnie_pipeline.caffe.caffe_pb2 import LayerParameter
from nnie_pipeline.caffe.files import read_net
from nnie_pipeline.caffe.net import Array, Layer, Net
from nnie_pipeline.engine import onnxruntime_engine, pycaffe_engine
from nnie_pipeline.errors import InputError
from tests.caffe_nets import random_weights
from tests.conftest import missing
from tests.test_engine import CASES, Shape

TOLERANCE = 1e-4
NOT_IN_CAFFE = {"DepthwiseConv", "RReLU", "Upsample"}
"""Types of HiSilicon's Caffe that this pycaffe lacks, or has with other meaning: against numpy."""

MODELS = {
    "retinaface_mnet025/mnet": "retinaface_mnet025/mnet",
    "retinaface_mnet025/mnet_hand_rewritten": "retinaface_mnet025/mnet",
    "mobilefacenet/mxnet2caffe_mobilefacenet": "mobilefacenet/mxnet2caffe_mobilefacenet",
    "ultraface/RFB-320": "ultraface/RFB-320",
    "ultraface/slim-320": "ultraface/slim-320",
    "enet/bn_conv_merged_model": "enet/bn_conv_merged_weights",
}


@pytest.fixture(autouse=True, scope="module")
def _pycaffe() -> None:
    if not pycaffe_engine.is_available():
        missing("pycaffe (make pycaffe)")


def difference(net: Net, feed: dict[str, Array]) -> float:
    """The largest difference of any value, as a share of its maximum in pycaffe."""
    values = onnxruntime_engine.all_values(net)
    ours = onnxruntime_engine.Session(net, values).run(feed)
    theirs = pycaffe_engine.Session(net, values).run(feed)
    worst = 0.0
    for value in values:
        assert ours[value].shape == theirs[value].shape, value
        assert np.isfinite(theirs[value]).all(), value
        largest = float(np.abs(theirs[value]).max(initial=0.0)) or 1.0
        worst = max(worst, float(np.abs(ours[value] - theirs[value]).max(initial=0.0)) / largest)
    return worst


@pytest.mark.parametrize("kind", sorted(set(CASES) - NOT_IN_CAFFE))
def test_every_layer_type(kind: str) -> None:
    for params, shapes in CASES[kind]:
        net, feed = _one_layer(f'type: "{kind}" {params}', shapes)
        assert difference(net, feed) < TOLERANCE, (params, shapes)


@pytest.mark.parametrize("method", ["MAX", "AVE"])
def test_pooling_at_the_border(method: str) -> None:
    for size in (5, 6, 7, 12):
        for kernel, stride, pad in (
            (2, 2, 0),
            (3, 2, 0),
            (3, 2, 1),
            (3, 3, 2),
            (5, 2, 2),
            (2, 1, 0),
        ):
            text = (
                f'type: "Pooling" pooling_param {{ pool: {method} kernel_size: {kernel} '
                f"stride: {stride} pad: {pad} }}"
            )
            net, feed = _one_layer(text, ((1, 2, size, size + 1),))
            assert difference(net, feed) < TOLERANCE, (size, kernel, stride, pad)


@pytest.mark.parametrize("prototxt", MODELS)
def test_every_blob_of_a_real_network(shared: Path, prototxt: str) -> None:
    models = shared / "models"
    net = read_net(models / f"{prototxt}.prototxt", models / f"{MODELS[prototxt]}.caffemodel")
    rng = np.random.default_rng(0)
    feed = {k: rng.uniform(0, 255, v).astype(np.float32) for k, v in net.inputs.items()}
    assert difference(net, feed) < TOLERANCE


def test_a_type_that_caffe_lacks_is_one_clear_line() -> None:
    net = Net("net", {"x": (1, 3, 4, 4)}, [Layer("bn", "PassThrough", ["x"], ["y"])], ["y"])
    with pytest.raises(InputError, match=r"layer bn: this pycaffe has no layer type PassThrough"):
        pycaffe_engine.Session(net)


def _one_layer(text: str, bottoms: tuple[Shape, ...]) -> tuple[Net, dict[str, Array]]:
    p = text_format.Parse(f'name: "layer" {text}', LayerParameter())
    rng = np.random.default_rng(len(text))
    names = [f"b{i}" for i in range(len(bottoms))]
    positive = p.type in ("Log", "Power")
    feed = {
        x: rng.normal(0, 1.5, y).astype(np.float32) for x, y in zip(names, bottoms, strict=True)
    }
    if positive:
        feed = {x: np.abs(y) + np.float32(0.1) for x, y in feed.items()}
    tops = list(p.top) or ["top"]
    blobs = random_weights(p, bottoms, rng)
    for field in ("name", "type", "top"):
        p.ClearField(field)
    kind = text.split('"')[1]
    layer = Layer("layer", kind, names, tops, p, blobs)
    return Net("net", dict(zip(names, bottoms, strict=True)), [layer], tops), feed

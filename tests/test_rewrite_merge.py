"""BatchNorm, Scale, Bias and Power in front of layers with weights, and what stays as it is."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from nnie_pipeline.caffe.files import read_net, write_net
from nnie_pipeline.caffe.net import Array, Net
from nnie_pipeline.engine.onnxruntime_engine import Session
from nnie_pipeline.rewrite import merge_batch_norm
from nnie_pipeline.rewrite.run import max_difference, rewrite
from tests import caffe_reference
from tests.caffe_nets import conv, error_of, feed, header, layer, net_of, parse, random_net

BN = layer("BatchNorm", "bn", "data", "", "batch_norm_param { eps: 0.01 use_global_stats: true }")
SCALE = layer("Scale", "scale", "bn", "x", "scale_param { bias_term: true }")
FRONTS = {
    "BatchNorm and Scale": BN + SCALE,
    "BatchNorm": BN.replace('top: "bn"', 'top: "x"'),
    "Scale": layer("Scale", "s", "data", "x"),
    "Scale of one number": layer("Scale", "s", "data", "x",
                                 "scale_param { num_axes: 0 bias_term: true }"),
    "Bias": layer("Bias", "b", "data", "x", "bias_param { axis: -3 }"),
    "Power": layer("Power", "p", "data", "x", "power_param { scale: 0.25 shift: -1.5 }"),
    "several": layer("Power", "p", "data", "q", "power_param { shift: 2 }")
               + layer("Bias", "b", "q") + BN.replace('"data"', '"b"') + SCALE,
}  # fmt: skip
BEHIND = {
    "convolution": conv("y", "x", 6, 3),
    "no bias": conv("y", "x", 6, 3, "bias_term: false stride: 2"),
    "groups": conv("y", "x", 6, 3, "group: 2"),
    "depthwise": conv("y", "x", 4, 3, "group: 4 bias_term: false dilation: 2"),
    "DepthwiseConv": layer("DepthwiseConv", "y", "x", "",
                           "convolution_param { num_output: 4 kernel_size: 3 }"),
    "deconvolution 1x1": layer("Deconvolution", "y", "x", "",
                               "convolution_param { num_output: 6 kernel_size: 1 group: 2 }"),
    "inner product": layer("InnerProduct", "y", "x", "", "inner_product_param { num_output: 5 }"),
    "transposed": layer("InnerProduct", "y", "x", "",
                        "inner_product_param { num_output: 5 transpose: true bias_term: false }"),
}  # fmt: skip


def merged(net: Net) -> tuple[Net, list[str]]:
    work = net.copy()
    return work, merge_batch_norm.apply(work).lines


def outputs(net: Net) -> list[list[Array]]:
    runs = [Session(net).run(feed(net, seed)) for seed in (0, 1)]
    return [[x[name] for name in net.outputs] for x in runs]


@pytest.mark.parametrize("front", FRONTS)
@pytest.mark.parametrize("behind", BEHIND)
def test_in_front_of_weights(front: str, behind: str) -> None:
    text = header(1, 4, 7, 6) + FRONTS[front] + BEHIND[behind] + layer("ReLU", "relu", "y")
    net, weights = random_net(text, seed=4)
    after, lines = merged(net)
    assert [x.name for x in after.layers] == ["y", "relu"]
    assert after.layers[0].bottoms == ["data"]
    assert len(lines) == 1
    assert all(x.name in lines[0] for x in net.layers[:-2])
    for seed in (0, 1):
        inputs = feed(net, seed)
        expected = caffe_reference.run_net(parse(text), weights, inputs)
        assert error_of(expected["relu"], Session(after).run(inputs)["relu"]) < 1e-5


PADDED = {
    "convolution": conv("y", "x", 6, 3, "pad: 1"),
    "one side": conv("y", "x", 6, 3, "pad_h: 0 pad_w: 1"),
    "deconvolution": layer("Deconvolution", "y", "x", "",
                           "convolution_param { num_output: 6 kernel_size: 2 stride: 2 group: 2 }"),
}  # fmt: skip


@pytest.mark.parametrize("behind", PADDED)
def test_an_addend_in_front_of_pads_stays(behind: str) -> None:
    """Zeros around the map would stay zeros; a factor alone is exact."""
    for front in ("BatchNorm and Scale", "Bias", "Power"):
        net, _ = random_net(header(1, 4, 7, 6) + FRONTS[front] + PADDED[behind])
        after, lines = merged(net)
        assert not lines
        assert len(after.layers) == len(net.layers)
    text = header(1, 4, 7, 6) + FRONTS["Scale"] + PADDED[behind]
    net, weights = random_net(text)
    after, lines = merged(net)
    assert [x.name for x in after.layers] == ["y"]
    inputs = feed(net)
    expected = caffe_reference.run_net(parse(text), weights, inputs)["y"]
    assert error_of(expected, Session(after).run(inputs)["y"]) < 1e-6
    # As much as is exact: the Bias before the Scale stays.
    both = layer("Bias", "b", "data") + layer("Scale", "s", "b", "x") + PADDED[behind]
    net, weights = random_net(header(1, 4, 7, 6) + both)
    after, _ = merged(net)
    assert [x.name for x in after.layers] == ["b", "y"]
    expected = caffe_reference.run_net(parse(header(1, 4, 7, 6) + both), weights, inputs)["y"]
    assert error_of(expected, Session(after).run(inputs)["y"]) < 1e-6


def test_a_factor_by_hand() -> None:
    """3 * x + 2 in front of weight 5 and bias 7: 15 x + 17."""
    text = (
        header(1, 1, 1, 1)
        + layer("Power", "p", "data", "x", "power_param { scale: 3 shift: 2 }")
        + conv("y", "x", 1)
    )
    after, _ = merged(net_of(text, {"y": [np.full((1, 1, 1, 1), 5.0), [7.0]]}))
    assert [x.ravel().tolist() for x in after.layers[0].weights] == [[15], [17]]


@pytest.mark.parametrize(
    "rest",
    [
        FRONTS["Scale"] + conv("y", "x", 2) + layer("ReLU", "r", "x"),
        FRONTS["Scale"] + conv("y", "x", 2) + conv("z", "x", 2),
        layer("Power", "p", "data", "x", "power_param { power: 2 }") + conv("y", "x", 2),
        layer("Scale", "s", "data", "x", "scale_param { axis: 2 }") + conv("y", "x", 2),
        layer("Scale", "s", "data", "x", "scale_param { num_axes: -1 }") + conv("y", "x", 2),
        layer("ReLU", "r", "data") + layer("Scale", "s", "data r", "x", "scale_param { axis: 0 }")
        + conv("y", "x", 2),
        FRONTS["Scale"] + layer("ReLU", "r", "x") + conv("y", "r", 2),
        FRONTS["Scale"]
        + layer("InnerProduct", "y", "x", "", "inner_product_param { num_output: 2 axis: 2 }"),
    ],
    ids=["read twice", "two convolutions", "power of 2", "rows", "whole map", "computed factor",
         "something between", "other axis"],
)  # fmt: skip
def test_what_stays_in_front(rest: str) -> None:
    net, _ = random_net(header(1, 4, 5, 5) + rest)
    after, lines = merged(net)
    assert not lines
    assert [x.name for x in after.layers] == [x.name for x in net.layers]
    assert max_difference(outputs(net), outputs(after)) == 0


def test_an_output_between_stays() -> None:
    net, _ = random_net(header(1, 4, 5, 5) + BN + SCALE + conv("y", "x", 2))
    net.outputs = ["bn", "y"]
    after, _ = merged(net)
    assert [x.name for x in after.layers] == ["bn", "y"]
    assert max_difference(outputs(net), outputs(after)) < 1e-6
    net.outputs = ["x", "y"]
    assert not merged(net)[1]


def test_layers_that_share_weights_stay_apart() -> None:
    """Two convolutions hold the same arrays; one of them has a BatchNorm behind it."""
    text = (
        header(1, 4, 5, 5)
        + conv("one", "data", 4)
        + conv("other", "data", 4)
        + layer("BatchNorm", "bn", "one")
    )
    net, _ = random_net(text)
    net.find("other").weights = net.find("one").weights
    before = [x.copy() for x in net.find("other").weights]
    after, lines = merged(net)
    assert len(lines) == 1
    for array, old in zip(after.find("other").weights, before, strict=True):
        np.testing.assert_array_equal(array, old)
    assert max_difference(outputs(net), outputs(after)) < 1e-6


def test_statistics_of_the_picture_are_not_merged() -> None:
    text = header(1, 4, 5, 5) + conv("y", "data", 4)
    net, _ = random_net(
        text + layer("BatchNorm", "bn", "y", "", "batch_norm_param { use_global_stats: false }")
    )
    assert not merged(net)[1]


def test_factors_beyond_float32_are_not_merged() -> None:
    """A variance and an eps of 0: no number comes out, before or behind."""
    for text in (
        conv("y", "data", 4) + layer("BatchNorm", "bn", "y", "", "batch_norm_param { eps: 0 }"),
        BN.replace("0.01", "0") + conv("y", "bn", 4),
    ):
        net, _ = random_net(header(1, 4, 5, 5) + text)
        bn = net.find("bn")
        bn.weights = [np.zeros(4, np.float32), np.zeros(4, np.float32), np.ones(1, np.float32)]
        assert not merged(net)[1]


def test_an_input_changed_in_place_keeps_its_name(tmp_path: Path) -> None:
    """x * 0.0078 on the blob data itself, in front of a convolution with pads."""
    text = (
        header(1, 3, 8, 8)
        + layer("Power", "p", "data", "data", "power_param { scale: 0.0078125 }")
        + conv("y", "data", 4, 3, "pad: 1")
    )
    net, weights = random_net(text)
    result = rewrite(net, lambda x: [[Session(x).run(feed(x))["y"]]])
    assert list(result.net.inputs) == ["data"]
    assert [x.name for x in result.net.layers] == ["y"]
    np.testing.assert_array_equal(
        result.net.layers[0].weights[0], weights["y"][0] * np.float32(0.0078125)
    )
    write_net(result.net, tmp_path / "n.prototxt", tmp_path / "n.caffemodel")
    assert 'input: "data"' in (tmp_path / "n.prototxt").read_text()


def test_a_batch_norm_that_stays_keeps_its_eps(tmp_path: Path) -> None:
    text = (
        header(1, 3, 8, 8)
        + conv("y", "data", 4, 3)
        + layer("BatchNorm", "bn", "y", "", "batch_norm_param { eps: 2e-5 use_global_stats: true }")
        + layer("ReLU", "relu", "bn")
        + layer("BatchNorm", "last", "relu", "", "batch_norm_param { eps: 3e-4 }")
    )
    net, _ = random_net(text)

    def run(x: Net) -> list[list[Array]]:
        return [[Session(x).run(feed(x))[y] for y in x.outputs]]

    for skip, kept in ((["merge-batch-norm"], {"bn": 2e-5, "last": 3e-4}), ([], {"last": 3e-4})):
        result = rewrite(net, run, skip)
        write_net(result.net, tmp_path / "n.prototxt", tmp_path / "n.caffemodel")
        again = read_net(tmp_path / "n.prototxt", tmp_path / "n.caffemodel")
        found = {
            x.name: x.params.batch_norm_param.eps for x in again.layers if x.type == "BatchNorm"
        }
        assert found == pytest.approx(kept)

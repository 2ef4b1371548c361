"""Layers of Caffe's forks that become layers of NNIE: Interp, ReLU6 and the like, Flatten, axes."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from pathlib import Path
from types import ModuleType

import numpy as np
import numpy.typing as npt
import pytest

from nnie_pipeline.caffe.caffe_pb2 import ConvolutionParameter, FlattenParameter, LayerParameter
from nnie_pipeline.caffe.net import Array, Layer, Net
from nnie_pipeline.caffe.shapes import infer
from nnie_pipeline.caffe.windows import conv_window
from nnie_pipeline.engine.onnxruntime_engine import Session
from nnie_pipeline.errors import CheckError, NotExpressibleError
from nnie_pipeline.rewrite import activations, axes, flatten, interp
from nnie_pipeline.rewrite.run import max_difference, rewrite
from tests import caffe_reference
from tests.caffe_nets import conv, error_of, feed, header, layer, net_of, parse, random_net, save

Numbers = npt.NDArray[np.float64]


def applied(module: ModuleType, net: Net) -> tuple[Net, list[str]]:
    work = net.copy()
    return work, module.apply(work).lines


def outputs(net: Net) -> list[list[Array]]:
    runs = [Session(net).run(feed(net, seed)) for seed in (0, 1)]
    return [[x[name] for name in net.outputs] for x in runs]


# --- interp-to-deconvolution ----------------------------------------------------------------


def bilinear(x: Array, size: tuple[int, int]) -> Numbers:
    """Interp from its definition: the corners of both maps on each other."""
    y = np.zeros((*x.shape[:2], *size))
    for i, j in np.ndindex(size):
        r = i * (x.shape[2] - 1) / (size[0] - 1) if size[0] > 1 else 0.0
        c = j * (x.shape[3] - 1) / (size[1] - 1) if size[1] > 1 else 0.0
        for a, b in np.ndindex(x.shape[2:]):
            share = max(0.0, 1 - abs(r - a)) * max(0.0, 1 - abs(c - b))
            y[:, :, i, j] += share * x[:, :, a, b]
    return y


@pytest.mark.parametrize(
    ("source", "target", "kind"),
    [
        ((5, 4), (9, 7), "Deconvolution"),
        ((3, 3), (17, 9), "Deconvolution"),
        ((4, 6), (4, 11), "Deconvolution"),
        ((1, 1), (6, 9), "Deconvolution"),
        ((1, 5), (4, 13), "Deconvolution"),
        ((1, 4), (3, 4), "Deconvolution"),
        ((9, 13), (5, 5), "Convolution"),
        ((9, 6), (1, 6), "Convolution"),
    ],
)
def test_interp(source: tuple[int, int], target: tuple[int, int], kind: str) -> None:
    param = f"interp_param {{ height: {target[0]} width: {target[1]} }}"
    net = net_of(header(1, 3, *source) + layer("Interp", "up", "data", "", param))
    after, lines = applied(interp, net)
    assert [x.type for x in after.layers] == [kind]
    assert len(lines) == 1
    assert infer(after)["up"] == (1, 3, *target)
    assert max(conv_window(after.layers[0].params.convolution_param).kernel) <= 255
    x = feed(net)["data"]
    found = Session(after).run({"data": x})["up"]
    assert error_of(bilinear(x, target), found) < 1e-6
    assert max_difference(outputs(net), outputs(after)) < 1e-6


def test_interp_by_a_zoom_factor() -> None:
    """zoom 8 of 65: (65 - 1) * 8 + 1 = 513, the last layer of DeepLab."""
    net = net_of(
        header(1, 2, 9, 9) + layer("Interp", "up", "data", "", "interp_param { zoom_factor: 8 }")
    )
    after, _ = applied(interp, net)
    assert infer(after)["up"] == (1, 2, 65, 65)
    window = conv_window(after.layers[0].params.convolution_param)
    assert (window.kernel, window.stride, window.pad) == ((15, 15), (8, 8), (7, 7))
    np.testing.assert_allclose(
        after.layers[0].weights[0][0, 0, 7, :8], np.arange(1, 9, dtype=np.float32) / 8
    )
    assert max_difference(outputs(net), outputs(after)) < 1e-6


def test_interp_to_the_same_size_is_removed() -> None:
    text = (
        conv("x", "data", 3)
        + layer("Interp", "up", "x", "", "interp_param { zoom_factor: 1 }")
        + layer("ReLU", "relu", "up")
    )
    net, _ = random_net(header(1, 3, 5, 4) + text)
    after, lines = applied(interp, net)
    assert [x.name for x in after.layers] == ["x", "relu"]
    assert len(lines) == 1
    assert max_difference(outputs(net), outputs(after)) == 0


@pytest.mark.parametrize(
    ("param", "why"),
    [
        ("height: 10 width: 8", "10 - 1 is no multiple .* of 5 - 1.*; 9 would do"),
        ("height: 9 width: 3", "3 - 1 is no multiple .* of 4 - 1"),
        ("height: 9 width: 2", "enlarges one side and shrinks the other"),
        ("height: 9 width: 7 pad_beg: -1", "cuts its borders off"),
        ("height: 521 width: 4", "no multiple"),
    ],
)
def test_interp_that_nothing_equals_is_refused(param: str, why: str) -> None:
    text = layer("Interp", "up", "data", "", f"interp_param {{ {param} }}")
    with pytest.raises(NotExpressibleError, match=why) as caught:
        applied(interp, net_of(header(1, 3, 5, 4) + text))
    assert str(caught.value).startswith("layer up (Interp, 5x4 to ")
    assert "--outputs data" in str(caught.value)


# --- compose-activations --------------------------------------------------------------------

KINDS: dict[str, tuple[str, Callable[[Numbers], Numbers]]] = {
    "ReLU6": ("", lambda x: np.clip(x, 0, 6)),
    "ReLU6 4": ("relu6_param { threshold: 4 }", lambda x: np.clip(x, 0, 4)),
    "ReLU6 leaky": ("relu6_param { negative_slope: 0.25 }",
                    lambda x: np.minimum(np.where(x > 0, x, 0.25 * x), 6)),
    "Clip": ("clip_param { min: -1.5 max: 2 }", lambda x: np.clip(x, -1.5, 2)),
    "Clip above": ("clip_param { min: 1 max: 2 }", lambda x: np.clip(x, 1, 2)),
    "HardSigmoid": ("", lambda x: np.clip(0.2 * x + 0.5, 0, 1)),
    "HardSigmoid own": ("hardsigmoid_param { alpha: 0.5 beta: 0.25 }",
                        lambda x: np.clip(0.5 * x + 0.25, 0, 1)),
    "HardSwish": ("", lambda x: x * np.clip(x / 6 + 0.5, 0, 1)),
    "Swish": ("", lambda x: x / (1 + np.exp(-x))),
    "Swish 2": ("swish_param { beta: 2 }", lambda x: x / (1 + np.exp(-2 * x))),
}  # fmt: skip
NNIE_HAS = {"ReLU", "Bias", "Scale", "Power", "Eltwise", "Sigmoid"}


@pytest.mark.parametrize("name", KINDS)
def test_activations(name: str) -> None:
    param, function = KINDS[name]
    text = header(1, 3, 5, 4) + layer(name.split(maxsplit=1)[0], "act", "data", "", param)
    net = net_of(text)
    after, lines = applied(activations, net)
    assert {x.type for x in after.layers} <= NNIE_HAS
    assert after.outputs == ["act"]
    assert len({x.name for x in after.layers}) == len(after.layers)
    assert len(lines) == 1
    x = np.linspace(-12, 12, 60, dtype=np.float32).reshape(1, 3, 5, 4)
    found = Session(after).run({"data": x})["act"]
    np.testing.assert_allclose(found, function(x.astype(np.float64)), atol=3e-6)


def test_relu6_is_two_relus() -> None:
    """The form of the converter: relu(x) - relu(x - 6)."""
    after, _ = applied(activations, net_of(header(1, 2, 3, 3) + layer("ReLU6", "act", "data")))
    assert [x.type for x in after.layers] == ["ReLU", "Bias", "ReLU", "Eltwise"]
    assert list(after.layers[-1].params.eltwise_param.coeff) == [1, -1]
    assert after.layers[1].weights[0].tolist() == [-6, -6]


def test_activations_in_place_in_the_file(tmp_path: Path) -> None:
    """Twice on the same kind of layer, names in use already, and a blob overwritten."""
    text = (
        header(1, 3, 6, 6)
        + conv("c_relu", "data", 4, top="a")
        + layer("ReLU6", "c", "a", "a")
        + layer("HardSwish", "d", "a", "a")
        + conv("last", "a", 2)
    )
    net, weights = random_net(text)
    result = rewrite(net, outputs)
    assert {x.type for x in result.net.layers} <= {*NNIE_HAS, "Convolution"}
    names = [x.name for x in result.net.layers]
    assert len(set(names)) == len(names)
    assert result.net.outputs == ["last"]
    save(tmp_path, text, weights)
    assert max_difference(outputs(net), outputs(result.net)) < 1e-5


@pytest.mark.parametrize(
    ("kind", "param"),
    [("Clip", "clip_param { min: 2 max: 2 }"), ("ReLU6", "relu6_param { threshold: 0 }")],
)
def test_activations_without_any_value_are_refused(kind: str, param: str) -> None:
    net = net_of(header(1, 2, 3, 3) + layer(kind, "act", "data", "", param))
    with pytest.raises(NotExpressibleError, match=rf"layer act \({kind}\): its "):
        applied(activations, net)


# --- remove-flatten -------------------------------------------------------------------------

FC = layer("InnerProduct", "fc", "flat", "", "inner_product_param { num_output: 5 }")


@pytest.mark.parametrize(
    "text",
    [
        layer("Flatten", "flat", "data") + FC,
        layer("Flatten", "flat", "data") + FC.replace("num_output", "axis: -1 num_output"),
        layer("Flatten", "flat", "data", "", "flatten_param { axis: -3 }") + FC,
        layer("Flatten", "flat", "data") + FC + FC.replace('"fc"', '"other"'),
        layer("Reshape", "flat", "data", "", "reshape_param { shape { dim: 0 dim: -1 } }") + FC,
        layer("Flatten", "flat", "data", "", "flatten_param { axis: 2 end_axis: 2 }")
        + conv("fc", "flat", 2),
    ],
    ids=["Flatten", "last axis", "axis -3", "two readers", "Reshape", "one axis"],
)
def test_flatten(text: str) -> None:
    net, weights = random_net(header(1, 3, 4, 2) + text)
    after, lines = applied(flatten, net)
    assert "flat" not in [x.name for x in after.layers]
    assert len(lines) == 1
    assert max_difference(outputs(net), outputs(after)) == 0
    expected = caffe_reference.run_net(parse(header(1, 3, 4, 2) + text), weights, feed(net))
    assert error_of(expected["fc"], Session(after).run(feed(net))["fc"]) < 1e-6


@pytest.mark.parametrize(
    "text",
    [
        layer("Flatten", "flat", "data") + layer("ReLU", "r", "flat"),
        layer("Flatten", "flat", "data") + FC + layer("ReLU", "r", "flat"),
        layer("Flatten", "flat", "data", "", "flatten_param { axis: 2 }") + FC,
        layer("Flatten", "flat", "data"),
        layer("Reshape", "flat", "data", "", "reshape_param { shape { dim: 0 dim: 2 dim: -1 } }")
        + FC,
    ],
    ids=["other reader", "also another", "rows only", "output", "no vector"],
)
def test_flatten_that_stays(text: str) -> None:
    net, _ = random_net(header(1, 3, 4, 2) + text)
    after, lines = applied(flatten, net)
    assert not lines
    assert [x.name for x in after.layers] == [x.name for x in net.layers]


# --- plain-axes -----------------------------------------------------------------------------


def test_axes_from_behind() -> None:
    text = (
        header(1, 3, 4, 2)
        + conv("c", "data", 4, 1, "axis: -3")
        + layer("Scale", "s", "c", "", "scale_param { axis: -3 }")
        + layer("InnerProduct", "fc", "s", "", "inner_product_param { num_output: 5 axis: -3 }")
        + layer("Softmax", "p", "fc", "", "softmax_param { axis: -1 }")
    )
    net, _ = random_net(text)
    after, lines = applied(axes, net)
    assert len(lines) == 4
    assert not after.find("c").params.convolution_param.HasField("axis")
    assert not after.find("fc").params.inner_product_param.HasField("axis")
    assert after.find("p").params.softmax_param.axis == 1
    assert max_difference(outputs(net), outputs(after)) == 0
    assert not applied(axes, after)[1]


def test_other_axes_stay() -> None:
    text = (
        header(1, 3, 4, 2)
        + layer("Softmax", "p", "data", "", "softmax_param { axis: -1 }")
        + layer("InnerProduct", "fc", "p", "", "inner_product_param { num_output: 5 axis: -1 }")
    )
    net, _ = random_net(text)
    after, lines = applied(axes, net)
    assert not lines
    assert after.find("p").params.softmax_param.axis == -1


def test_a_pass_is_not_blamed_for_what_fusing_moves() -> None:
    """Without the Flatten between them, onnxruntime fuses the ReLU into the convolution."""
    random = np.random.default_rng(4)

    def weights(out: int, into: int, kernel: int) -> list[Array]:
        shape = (out, into, kernel, kernel)
        return [random.normal(0, 0.3, x).astype(np.float32) for x in (shape, out)]

    net = Net("n", {"x": (1, 3, 24, 24)}, [], ["e"])
    conv = LayerParameter(
        convolution_param=ConvolutionParameter(num_output=16, kernel_size=[3], pad=[1])
    )
    net.layers = [
        Layer("c", "Convolution", ["x"], ["c"], conv, weights(16, 3, 3)),
        Layer("k", "Flatten", ["c"], ["k"], LayerParameter(flatten_param=FlattenParameter(axis=3))),
        Layer("r", "ReLU", ["k"], ["r"]),
        Layer("d", "Convolution", ["c"], ["d"], LayerParameter(
            convolution_param=ConvolutionParameter(num_output=16, kernel_size=[1])
        ), weights(16, 16, 1)),
        Layer("e", "Eltwise", ["r", "d"], ["e"]),
    ]  # fmt: skip
    x = random.normal(0, 1, (1, 3, 24, 24)).astype(np.float32)

    def run(candidate: Net, fused: bool = True) -> list[list[Array]]:
        made = Session(candidate, fused=fused).run({"x": x})
        return [[made[name] for name in candidate.outputs]]

    moved = run(net)[0][0]
    result = rewrite(net, run, run_apart=partial(run, fused=False))
    assert "Flatten" not in {layer.type for layer in result.net.layers}
    assert all(entry.difference == 0 for entry in result.passes)
    np.testing.assert_allclose(run(result.net)[0][0], moved, rtol=1e-4, atol=1e-4)
    with pytest.raises(CheckError, match="remove-flatten"):
        rewrite(net, run)

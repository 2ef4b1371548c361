"""Activation operators of ONNX against their Caffe layers."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import onnx
import pytest
from onnx import TensorProto, helper

from nnie_pipeline.caffe.net import Net
from nnie_pipeline.engine.onnxruntime_engine import Session, open_session
from nnie_pipeline.onnx2caffe.convert import convert
from nnie_pipeline.quant import gfpq
from nnie_pipeline.quant.ranges import RangeRecorder
from nnie_pipeline.quant.simulate import Simulator
from tests.small_onnx import FLOAT32, NEWEST, agree, model, node, refusal

MAP = (1, 3, 8, 10)
OPSETS = (7, 13, NEWEST)
FLATTEN = node("Flatten", "x", "a")


@pytest.mark.parametrize("opset", OPSETS)
@pytest.mark.parametrize("flat", [False, True])
@pytest.mark.parametrize(
    ("operator", "attributes", "kinds"),
    [
        ("Relu", {}, "ReLU"),
        ("Sigmoid", {}, "Sigmoid"),
        ("Tanh", {}, "TanH"),
        ("LeakyRelu", {}, "ReLU"),
        ("LeakyRelu", {"alpha": 0.3}, "ReLU"),
        ("LeakyRelu", {"alpha": 0.0}, "ReLU"),
        ("LeakyRelu", {"alpha": -0.5}, "ReLU"),
        ("LeakyRelu", {"alpha": 1.5}, "ReLU"),
        ("Elu", {}, "ELU"),
        ("Elu", {"alpha": 0.4}, "ELU"),
        ("Selu", {}, "ELU Power"),
        ("Selu", {"alpha": 1.5, "gamma": 2.0}, "ELU Power"),
        ("Softplus", {}, "BNLL"),
        ("Softsign", {}, "AbsVal Bias Power Eltwise"),
        ("HardSigmoid", {}, "Scale ReLU Power Scale Eltwise Power"),
        ("HardSigmoid", {"alpha": 1 / 6, "beta": 0.5}, "Scale ReLU Power Scale Eltwise Power"),
        ("HardSigmoid", {"alpha": -0.3, "beta": 0.0}, "Power ReLU Power Scale Eltwise Power"),
    ],
)
def test_activations(
    operator: str, attributes: dict[str, Any], kinds: str, flat: bool, opset: int
) -> None:
    nodes = [node(operator, "a" if flat else "x", **attributes)]
    source = model([FLATTEN, *nodes] if flat else nodes, opset=opset)
    net = agree(source, kinds=("Reshape " if flat else "") + kinds)
    assert not any(x.params.power_param.shift for x in net.layers)


@pytest.mark.parametrize("shape", [MAP, (1, 5, 11, 8)])
@pytest.mark.parametrize("flat", [False, True])
@pytest.mark.parametrize(
    ("operator", "attributes", "opset", "kinds"),
    [
        ("Celu", {}, 12, "ELU"),
        ("Celu", {"alpha": 0.5}, NEWEST, "Power ELU Power"),
        ("ThresholdedRelu", {}, 10, "Threshold Eltwise"),
        ("ThresholdedRelu", {"alpha": -1.0}, NEWEST, "Threshold Eltwise"),
        ("HardSwish", {}, 14, "Scale ReLU Power Scale Eltwise Power Eltwise"),
        ("HardSwish", {}, NEWEST, "Scale ReLU Power Scale Eltwise Power Eltwise"),
        ("Mish", {}, 18, "BNLL TanH Eltwise"),
        ("Mish", {}, NEWEST, "BNLL TanH Eltwise"),
        ("Swish", {}, 24, "Sigmoid Eltwise"),
        ("Swish", {"alpha": 1.75}, 24, "Power Sigmoid Eltwise"),
        (
            "Gelu",
            {"approximate": "tanh"},
            20,
            "Power Scale Eltwise Power Sigmoid Eltwise",
        ),
    ],
)
def test_later_activations(
    operator: str, attributes: dict[str, Any], opset: int, kinds: str, flat: bool, shape: Any
) -> None:
    nodes = [node(operator, "a" if flat else "x", **attributes)]
    source = model([FLATTEN, *nodes] if flat else nodes, inputs={"x": shape}, opset=opset)
    agree(source, kinds=("Reshape " if flat else "") + kinds)


def test_thresholds_are_met_exactly() -> None:
    def draw(rng: np.random.Generator, shape: tuple[int, ...]) -> npt.NDArray[Any]:
        return rng.choice([-3, -1, 0, 1, 1 + 2**-20, 3, 6, 7], shape)

    for made in (
        node("ThresholdedRelu", "x"),
        node("HardSwish", "x"),
        node("HardSigmoid", "x"),
        node("Selu", "x"),
    ):
        agree(model([made]), draw)


# ------------------------------------------------------------------------------ exported patterns


def test_the_exported_silu() -> None:
    agree(model([node("Sigmoid", "x", "s"), node("Mul", "x s")]), kinds="Sigmoid Eltwise")


def test_the_exported_mish() -> None:
    nodes = [node("Softplus", "x", "a"), node("Tanh", "a", "b"), node("Mul", "x b")]
    agree(model(nodes), kinds="BNLL TanH Eltwise")


@pytest.mark.parametrize("opset", [9, 11, 17])
@pytest.mark.parametrize("division_first", [False, True])
def test_the_exported_hard_swish(opset: int, division_first: bool) -> None:
    bounds: dict[str, Any] = {"min": 0.0, "max": 6.0} if opset < 11 else {}
    clip = node("Clip", "a" if bounds else "a low high", "b", **bounds)
    if division_first:
        end = [node("Div", "b six", "c"), node("Mul", "x c")]
    else:
        end = [node("Mul", "x b", "c"), node("Div", "c six")]
    source = model(
        [node("Add", "x three", "a"), clip, *end],
        {"three": 3, "six": 6, "low": 0, "high": 6},
        opset=opset,
    )
    agree(source)


def test_the_exported_gelu_by_tanh() -> None:
    nodes = [
        node("Pow", "x three", "a"),
        node("Mul", "a k", "b"),
        node("Add", "x b", "c"),
        node("Mul", "c m", "d"),
        node("Tanh", "d", "e"),
        node("Add", "e one", "f"),
        node("Mul", "x f", "g"),
        node("Mul", "g half"),
    ]
    constants = {"three": 3, "k": 0.044715, "m": math.sqrt(2 / math.pi), "one": 1, "half": 0.5}
    agree(model(nodes, constants))


# ------------------------------------------------------------------------------------------- PRelu


@pytest.mark.parametrize("opset", [7, 9, 16, NEWEST])
@pytest.mark.parametrize(
    ("shape", "kinds"),
    [
        ((), "PReLU"),
        ((1,), "PReLU"),
        ((1, 1, 1), "PReLU"),
        ((1, 1, 1, 1), "PReLU"),
        ((3, 1, 1), "PReLU"),
        ((1, 3, 1, 1), "PReLU"),
        ((10,), "ReLU Power ReLU Scale Eltwise"),
        ((8, 1), "ReLU Power ReLU Scale Eltwise"),
        ((1, 8, 10), "ReLU Power ReLU Scale Eltwise"),
        ((3, 8, 10), "ReLU Power ReLU Scale Eltwise"),
    ],
)
def test_prelu(shape: tuple[int, ...], kinds: str, opset: int) -> None:
    slope = np.asarray(np.random.default_rng(2).normal(0, 1, shape), np.float32)
    net = agree(model([node("PRelu", "x k")], {"k": slope}, opset=opset))
    assert sorted(x.type for x in net.layers) == sorted(kinds.split())


@pytest.mark.parametrize("size", [1, 240])
def test_prelu_of_a_vector(size: int) -> None:
    slope = np.random.default_rng(2).normal(0, 1, size).astype(np.float32)
    net = agree(model([FLATTEN, node("PRelu", "a k")], {"k": slope}), kinds="Reshape PReLU")
    assert net.layers[1].params.prelu_param.channel_shared == (size == 1)


def test_prelu_with_equal_slopes() -> None:
    slope = np.full((3, 1, 1), 0.25, np.float32)
    net = agree(model([node("PRelu", "x k")], {"k": slope}), kinds="PReLU")
    assert net.layers[0].weights[0].shape == (3,)


def test_prelu_of_one_channel() -> None:
    slope = np.full((1, 1, 1), 0.25, np.float32)
    agree(model([node("PRelu", "x k")], {"k": slope}, {"x": (1, 1, 8, 8)}), kinds="PReLU")


# -------------------------------------------------------------------------------------------- Clip


@pytest.mark.parametrize(
    ("low", "high", "kinds"),
    [
        (0.0, 6.0, "ReLU Bias ReLU Eltwise"),
        (0.0, None, "ReLU"),
        (None, 6.0, "Power Scale Eltwise Power"),
        (None, 0.0, "Power ReLU Power"),
        (-1.0, 1.0, "Scale ReLU Bias ReLU Eltwise"),
        (-2.5, None, "Scale Eltwise"),
        (-4.0, 0.0, "Scale ReLU ReLU Eltwise"),
        (1.0, 3.0, "Bias ReLU Bias ReLU Eltwise Bias"),
        (-65504.0, 65504.0, "Scale ReLU Bias ReLU Eltwise"),
        (-3e38, 0.5, "Scale ReLU Bias ReLU Eltwise"),
        (2.0, 2.0, None),
    ],
)
@pytest.mark.parametrize("opset", [7, 10, 11, 12, 13, NEWEST])
@pytest.mark.parametrize("flat", [False, True])
def test_clip(
    low: float | None, high: float | None, kinds: str | None, opset: int, flat: bool
) -> None:
    source = clip(low, high, opset, "a" if flat else "x")
    if flat:
        source.graph.node.insert(0, FLATTEN)
        kinds = kinds and f"Reshape {kinds}"
    two = low is not None and high is not None and low < high
    net = agree(source, kinds=kinds, bound=FLOAT32 if two else 0)
    assert not any(x.params.power_param.shift for x in net.layers)


def clip(low: float | None, high: float | None, opset: int, blob: str = "x") -> onnx.ModelProto:
    """Bounds as attributes or inputs, as the opset has them."""
    given: dict[str, Any] = {k: v for k, v in (("min", low), ("max", high)) if v is not None}
    if opset < 11:
        return model([node("Clip", blob, **given)], opset=opset)
    inputs = f"{blob} {'min' if low is not None else '-'} {'max' if high is not None else '-'}"
    return model([node("Clip", inputs)], given, opset=opset)


def test_clip_with_its_last_bound_missing() -> None:
    agree(model([node("Clip", "x low")], {"low": -1}), kinds="Scale Eltwise", bound=0)


@pytest.mark.parametrize("opset", [7, 11])
def test_clip_without_bounds(opset: int) -> None:
    largest = float(np.finfo(np.float32).max)
    for source in (clip(None, None, opset), clip(-largest, largest, opset)):
        source.graph.node[0].output[0] = "b"
        source.graph.node.append(node("Relu", "b"))
        agree(source, kinds="ReLU")


def test_clip_with_its_bounds_in_constant_nodes() -> None:
    low, high = (
        helper.make_node(
            "Constant", [], [k], value=helper.make_tensor(k, TensorProto.FLOAT, [], [v])
        )
        for k, v in (("low", -1.0), ("high", 2.0))
    )
    agree(model([low, high, node("Clip", "x low high")]))


def test_clip_with_crossed_bounds() -> None:
    agree(model([node("Clip", "x low high")], {"low": 3, "high": 1}), bound=0)


@pytest.mark.parametrize(("low", "high"), [(-6.0, 6.0), (-65504.0, 65504.0)])
def test_values_between_bounds_around_zero_are_kept_exactly(low: float, high: float) -> None:
    # relu(x + 65504) has lost most of what lies near 0.
    def draw(rng: np.random.Generator, shape: tuple[int, ...]) -> npt.NDArray[Any]:
        return rng.normal(0, 1, shape)

    agree(clip(low, high, 11), draw, bound=0)


@pytest.mark.parametrize("operator", ["HardSigmoid", "HardSwish"])
def test_hard_activations_hold_for_large_values(operator: str) -> None:
    # relu(x) - relu(x - 1) has lost 1 beside a hundred million.
    def draw(rng: np.random.Generator, shape: tuple[int, ...]) -> npt.NDArray[Any]:
        return rng.normal(0, 1e9, shape)

    agree(model([node(operator, "x")]), draw)


# ------------------------------------------------------------- ReLU6 in the number format (8 bits)


MINMAX = "-max(-relu(x), -6)"
TURNED = "6 - relu(6 - relu(x))"
FORMS = ("Clip", MINMAX, TURNED)


def relu6(form: str, x: str, y: str) -> list[onnx.NodeProto]:
    """The chosen form of ReLU6, or another exact one to measure it against."""
    if form == "Clip":
        return [node("Clip", f"{x} zero six", y)]
    if form == MINMAX:
        return [
            node("Relu", x, "p"),
            node("Neg", "p", "q"),
            node("Max", "q minus_six", "r"),
            node("Neg", "r", y),
        ]
    return [
        node("Relu", x, "p"),
        node("Sub", "six p", "q"),
        node("Relu", "q", "r"),
        node("Sub", "six r", y),
    ]


CONSTANTS = {"zero": 0, "three": 3, "six": 6, "minus_six": -6}


def behind_a_convolution(nodes: list[onnx.NodeProto], shape: tuple[int, ...]) -> Net:
    """A convolution with weights of 1 makes a, which the nodes read; they make y."""
    one = np.eye(shape[1], dtype=np.float32).reshape(shape[1], shape[1], 1, 1)
    constants = {"one": one, **CONSTANTS}
    return convert(model([node("Conv", "x one", "a"), *nodes], constants, {"x": shape}), "n").net


def rms(nodes: list[onnx.NodeProto], x: npt.NDArray[np.float32], wanted: npt.NDArray[Any]) -> float:
    """The simulated 8-bit error at y: only Eltwise and convolutions quantise their inputs."""
    net = behind_a_convolution(nodes, x.shape)
    recorder = RangeRecorder(net)
    feed = {"x": x}
    recorder.add({**feed, **Session(net, recorder.values).run(feed)})
    *_, (_, y) = Simulator(net, 8, recorder.ranges()).run(feed)
    return float(np.sqrt(np.mean((y - wanted) ** 2)))


def rms_with_every_input_quantised(
    nodes: list[onnx.NodeProto], x: npt.NDArray[np.float32], wanted: npt.NDArray[Any]
) -> float:
    """The error at y when every layer quantises what it reads, its bottoms with one range."""
    net = behind_a_convolution(nodes, x.shape)
    values = {"x": x}
    for layer in net.layers:
        z = max(gfpq.range_z(values[b], 8) for b in layer.bottoms)
        feed = {}
        for bottom in layer.bottoms:
            feed[bottom] = np.empty_like(values[bottom])
            gfpq.quantize_into(values[bottom], 8, z, feed[bottom])
        one = Net("one", dict.fromkeys(layer.bottoms, x.shape), [layer], list(layer.tops))
        values.update(Session(one).run(feed))
    return float(np.sqrt(np.mean((values[net.outputs[0]] - wanted) ** 2)))


def relu6_errors(
    batches: list[npt.NDArray[np.float32]], measure: Callable[..., float]
) -> dict[str, float]:
    """The error of every form at the output of ReLU6 itself."""

    def error(form: str) -> float:
        squares = [measure(relu6(form, "a", "y"), x, np.clip(x, 0, 6)) ** 2 for x in batches]
        return float(np.sqrt(np.mean(squares)))

    return {x: error(x) for x in FORMS}


def activations(name: str) -> list[npt.NDArray[np.float32]]:
    shape = (1, 16, 32, 32)
    result = []
    for seed in range(3):
        rng = np.random.default_rng(seed)
        x = rng.normal(0.5, 3, shape) if name == "normal" else rng.laplace(0, 2.5, shape)
        result.append(x.astype(np.float32))
    return result


@pytest.mark.parametrize("name", ["normal", "laplace"])
def test_relu6_has_the_form_with_the_smallest_8_bit_error(name: str) -> None:
    everywhere = relu6_errors(activations(name), rms_with_every_input_quantised)
    assert everywhere["Clip"] < 0.9 * everywhere[MINMAX]
    assert everywhere["Clip"] < 0.5 * everywhere[TURNED]
    # Here nothing of the turned form is quantised, as it has no Eltwise.
    simulated = relu6_errors(activations(name), rms)
    assert simulated["Clip"] < 0.9 * simulated[MINMAX]


@pytest.mark.parametrize("name", ["normal", "laplace"])
def test_hard_swish_has_a_smaller_8_bit_error_than_by_differences(name: str) -> None:
    pattern = [
        node("Add", "a three", "s"),
        *relu6("Clip", "s", "b"),
        node("Mul", "a b", "t"),
        node("Div", "t six"),
    ]
    for x in activations(name):
        wanted = x * np.clip(x + 3, 0, 6) / 6
        assert rms([node("HardSwish", "a")], x, wanted) < 0.7 * rms(pattern, x, wanted)


@pytest.mark.parametrize("bound", [1.0, 10.0, 100.0])
def test_clip_around_zero_has_a_smaller_8_bit_error_than_when_shifted(bound: float) -> None:
    constants = [
        helper.make_node(
            "Constant", [], [k], value=helper.make_tensor(k, TensorProto.FLOAT, [], [v])
        )
        for k, v in (("low", -bound), ("high", bound))
    ]
    shifted = [
        node("Sub", "a low", "p"),
        node("Relu", "p", "q"),
        node("Sub", "a high", "r"),
        node("Relu", "r", "s"),
        node("Sub", "q s", "t"),
        node("Add", "t low"),
    ]
    for x in activations("laplace"):
        wanted = np.clip(x, -bound, bound)
        chosen = rms([*constants, node("Clip", "a low high")], x, wanted)
        assert chosen < 0.9 * rms([*constants, *shifted], x, wanted)


def test_relu6_on_the_activations_of_a_trained_network(shared: Path) -> None:
    path = shared / "models/mobilefacenet/MobileFaceNet_relu6.onnx"
    source = onnx.load(path)
    clips = [x.input[0] for x in source.graph.node if x.op_type == "Clip"][:6]
    for name in clips:
        source.graph.output.append(helper.make_tensor_value_info(name, TensorProto.FLOAT, None))
    picture = next((shared / "images/lfw112").glob("*.jpg"))
    pixels = np.asarray(cv2.imread(str(picture)), np.float32).transpose(2, 0, 1)[None]
    feed = {source.graph.input[0].name: (pixels - 127.5) / 128}
    values = open_session(source.SerializeToString()).run(clips, feed)
    batches = [x for x in values if x.max() > 6]
    errors = relu6_errors(batches, rms_with_every_input_quantised)
    assert errors["Clip"] == min(errors.values()), errors


# ----------------------------------------------------------------------------------------- Softmax


@pytest.mark.parametrize("opset", [13, NEWEST])
@pytest.mark.parametrize(("axis", "used"), [(1, 1), (2, 2), (3, 3), (-1, 3), (-3, 1), (None, 3)])
def test_softmax_along_one_axis(axis: int | None, used: int, opset: int) -> None:
    attributes: dict[str, Any] = {} if axis is None else {"axis": axis}
    net = agree(model([node("Softmax", "x", **attributes)], opset=opset), kinds="Softmax")
    assert net.layers[0].params.softmax_param.axis == used


@pytest.mark.parametrize("opset", [7, 11, 12])
@pytest.mark.parametrize(
    ("axis", "kinds"),
    [
        (0, "Reshape Softmax Reshape"),
        (1, "Reshape Softmax Reshape"),
        (None, "Reshape Softmax Reshape"),
        (2, "Reshape Softmax Reshape"),
        (3, "Softmax"),
    ],
)
@pytest.mark.parametrize("shape", [MAP, (1, 2, 8, 9)])
def test_softmax_before_opset_13(
    axis: int | None, kinds: str, shape: tuple[int, ...], opset: int
) -> None:
    attributes: dict[str, Any] = {} if axis is None else {"axis": axis}
    agree(
        model([node("Softmax", "x", **attributes)], inputs={"x": shape}, opset=opset), kinds=kinds
    )


@pytest.mark.parametrize("opset", [7, 12, 13, NEWEST])
def test_softmax_of_a_vector(opset: int) -> None:
    agree(model([FLATTEN, node("Softmax", "a", axis=1)], opset=opset), kinds="Reshape Softmax")


@pytest.mark.parametrize("opset", [9, 13])
def test_softmax_of_one_pixel_a_channel(opset: int) -> None:
    source = model([node("Softmax", "x", axis=1)], inputs={"x": (1, 7, 1, 1)}, opset=opset)
    agree(source, kinds="Softmax")


@pytest.mark.parametrize(("opset", "axis"), [(9, 1), (9, 2), (13, 2), (13, 1)])
def test_softmax_with_three_axes(opset: int, axis: int) -> None:
    shape = helper.make_tensor("s", TensorProto.INT64, [3], [1, 120, 2])
    nodes = [
        helper.make_node("Constant", [], ["s"], value=shape),
        node("Reshape", "x s", "a"),
        node("Softmax", "a", axis=axis),
    ]
    agree(model(nodes, opset=opset))


def test_softmax_of_large_scores() -> None:
    def draw(rng: np.random.Generator, shape: tuple[int, ...]) -> npt.NDArray[Any]:
        return rng.normal(0, 300, shape)

    agree(model([node("Softmax", "x", axis=1)]), draw)


# --------------------------------------------------------------------------------- without a layer


@pytest.mark.parametrize("opset", OPSETS)
def test_identity_dropout_and_cast_make_no_layer(opset: int) -> None:
    nodes = [
        node("Identity", "x", "a"),
        node("Dropout", "a", "b unused"),
        node("Cast", "b", "c", to=TensorProto.DOUBLE),
        node("Cast", "c", "d", to=TensorProto.FLOAT),
        node("Relu", "d"),
    ]
    agree(model(nodes, opset=opset), kinds="ReLU")


def test_dropout_in_inference_mode() -> None:
    nodes = [node("Dropout", "x ratio mode", "a"), node("Relu", "a")]
    agree(model(nodes, {"ratio": 0.5, "mode": np.array(False)}), kinds="ReLU")


def test_constants_are_folded_before_an_activation() -> None:
    nodes = [
        node("Relu", "k", "a"),
        node("Softplus", "a", "b"),
        node("Clip", "b low", "c"),
        node("Identity", "c", "d"),
        node("Mul", "x d"),
    ]
    constants = {"k": np.array([-1, 0.5, 2], np.float32).reshape(3, 1, 1), "low": 0.7}
    agree(model(nodes, constants), kinds="Scale")


def test_blobs_keep_the_names_of_the_model() -> None:
    nodes = [node("Clip", "x low high", "kept"), node("Add", "kept c", "sum")]
    net = agree(model(nodes, {"low": 0, "high": 6, "c": 1}, outputs="sum"))
    names = [x.name for x in net.layers]
    assert names[-1] == "sum"
    assert names[-2] == "kept"
    assert all(x.startswith("kept_") for x in names[:-2])
    assert len(set(names)) == len(names)
    assert all(x.tops == [x.name] for x in net.layers)


# ---------------------------------------------------------------------------------------- refusals


@pytest.mark.parametrize(
    ("source", "words"),
    [
        (
            model([node("Gelu", "x")], opset=20),
            "ONNX node Gelu_y (Gelu, [1, 3, 8, 10] -> [1, 3, 8, 10]): NNIE has no layer for the "
            'error function (erf); use torch.nn.GELU(approximate="tanh")',
        ),
        (model([node("Erf", "x")]), "Erf_y (Erf, [1, 3, 8, 10] -> [1, 3, 8, 10]): NNIE has no"),
        (
            model([node("LogSoftmax", "x", axis=1)]),
            "LogSoftmax_y (LogSoftmax, [1, 3, 8, 10] -> [1, 3, 8, 10]): NNIE has no LogSoftmax, "
            "and Log behind Softmax is infinite where Softmax rounds to 0; export Softmax",
        ),
        (
            model([node("Celu", "x", alpha=-1.0)]),
            "its alpha is -1, no positive number; use a positive alpha",
        ),
        (
            model([node("Softmax", "x", axis=0)], opset=13),
            "it goes along the batch axis, NNIE's Softmax along channels, rows or columns; use",
        ),
        (
            model([node("PRelu", "x z")], inputs={"x": MAP, "z": MAP}),
            "its input z is computed by the network, Caffe needs it as a constant; export",
        ),
        (
            model([node("Clip", "x - high")], {"high": np.nan}),
            "its bound max is not a number; use a number",
        ),
        (
            model([node("Clip", "x low")], {"low": np.inf}),
            "its bound min of inf leaves no value; remove the bound",
        ),
        (
            model([node("Cast", "x", "a", to=TensorProto.INT64), node("Cast", "a", to=1)]),
            "(Cast, [1, 3, 8, 10] -> [1, 3, 8, 10]): it rounds to INT64, Caffe computes in float32 "
            "throughout; export the model in float32",
        ),
        (
            model([node("Dropout", "x r t")], {"r": 0.5, "t": np.array(True)}, opset=13),
            "it is in training mode; export the model after model.eval()",
        ),
    ],
)
def test_refusals(source: onnx.ModelProto, words: str) -> None:
    assert words in refusal(source)

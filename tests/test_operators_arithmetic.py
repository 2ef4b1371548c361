"""Arithmetic operators of ONNX against their Caffe layers."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
from onnx import TensorProto, helper

from nnie_pipeline.caffe.net import Net
from nnie_pipeline.errors import NotExpressibleError
from nnie_pipeline.onnx2caffe.graph import CONVERTERS, Graph, Node
from tests.small_onnx import (
    NEWEST,
    agree,
    away_from_zero,
    model,
    node,
    normal,
    positive,
    refusal,
)

MAP = (1, 3, 8, 10)
OPSETS = (7, 13, NEWEST)
CHANNELS = np.array([0.5, -2, 3], np.float32).reshape(3, 1, 1)
RNG = np.random.default_rng(3)
FULL = RNG.normal(1, 2, MAP[1:]).astype(np.float32)


def two(*shapes: tuple[int, ...]) -> dict[str, tuple[int, ...]]:
    return dict(zip("xz", shapes, strict=True))


def kinds_of(net: Net) -> str:
    return " ".join(x.type for x in net.layers)


@pytest.mark.parametrize("opset", OPSETS)
@pytest.mark.parametrize("shape", [MAP, (1, 5, 11, 8)])
@pytest.mark.parametrize(
    ("operator", "kinds"),
    [
        ("Add", "Eltwise"),
        ("Sub", "Eltwise"),
        ("Mul", "Eltwise"),
        ("Div", "Power Eltwise"),
        ("Max", "Eltwise"),
        ("Min", "Power Power Eltwise Power"),
        ("Sum", "Eltwise"),
        ("Mean", "Eltwise"),
    ],
)
def test_two_values_of_one_shape(
    operator: str, kinds: str, shape: tuple[int, ...], opset: int
) -> None:
    source = model([node(operator, "x z")], inputs=two(shape, shape), opset=opset)
    agree(source, away_from_zero if operator == "Div" else normal, kinds)


@pytest.mark.parametrize("operator", ["Add", "Sub", "Mul", "Div", "Max", "Min", "Mean"])
def test_vectors(operator: str) -> None:
    nodes = [node("Flatten", "x", "a"), node("Flatten", "z", "b"), node(operator, "a b")]
    agree(model(nodes, inputs=two(MAP, MAP)), away_from_zero)


@pytest.mark.parametrize("operator", ["Sum", "Mean", "Max", "Min"])
@pytest.mark.parametrize("count", [1, 3, 7])
def test_several_values(operator: str, count: int) -> None:
    names = [f"x{i}" for i in range(count)]
    nodes = [node(operator, " ".join(names), "a"), node("Abs", "a")]
    net = agree(model(nodes, inputs=dict.fromkeys(names, MAP)))
    if operator == "Mean" and count == 3:
        assert list(net.layers[0].params.eltwise_param.coeff) == pytest.approx([1 / 3] * 3)


def joined(operator: str, count: int) -> Any:
    """`operator` of so many multiples of x (a segment has at most 16 inputs)."""
    multiples = [node("Mul", f"x c{i}", f"x{i}") for i in range(count)]
    names = " ".join(f"x{i}" for i in range(count))
    constants = {f"c{i}": 0.25 * i - 4.125 for i in range(count)}
    return model([*multiples, node(operator, names)], constants)


@pytest.mark.parametrize("operator", ["Sum", "Mean", "Max"])
def test_more_values_than_a_layer_takes(operator: str) -> None:
    net = agree(joined(operator, 35))
    joins = [x for x in net.layers if x.type == "Eltwise"]
    assert [len(x.bottoms) for x in joins] == [32, 4]


def test_a_mean_of_31_has_its_share_behind_the_sum() -> None:
    # 1/31 is 132.13 / 4096: a coefficient of 20.12 would be off by 0.1 percent.
    assert kinds_of(agree(joined("Mean", 31))).split()[31:] == ["Eltwise", "Scale"]


@pytest.mark.parametrize(
    ("nodes", "kinds"),
    [
        ([node("Add", "x x")], "Power"),
        ([node("Mul", "x x")], "Power"),
        ([node("Max", "x x"), node("Relu", "y", "out")], "ReLU"),
        ([node("Min", "x x"), node("Relu", "y", "out")], "ReLU"),
        ([node("Sum", "x z x")], "Eltwise"),
        ([node("Mean", "x x z x")], "Eltwise"),
        ([node("Div", "x x")], "Power Eltwise"),
        ([node("Max", "x z x")], "Eltwise"),
    ],
)
def test_one_value_twice(nodes: list[Any], kinds: str) -> None:
    last = nodes[-1].output[0]
    inputs = two(MAP, MAP) if any("z" in x.input for x in nodes) else None
    agree(model(nodes, inputs=inputs, outputs=last), away_from_zero, kinds)


@pytest.mark.parametrize(
    ("operator", "kinds"),
    [("Add", "Power"), ("Mul", "Power"), ("Max", ""), ("Min", ""), ("Sub", "Power")],
)
def test_one_value_under_two_names(operator: str, kinds: str) -> None:
    nodes = [node("Add", "x zero", "a"), node(operator, "a x", "b"), node("Add", "b z")]
    agree(model(nodes, {"zero": 0}, two(MAP, MAP)), kinds=f"{kinds} Eltwise".strip())


def test_a_value_minus_itself_is_zero() -> None:
    nodes = [node("Sub", "x x", "a"), node("Add", "a z")]
    agree(model(nodes, inputs=two(MAP, MAP)))


CONSTANTS: dict[str, npt.NDArray[Any]] = {
    "scalar": np.array(2.5, np.float32),
    "one element": np.full((1, 1, 1), -1.5, np.float32),
    "channels": CHANNELS,
    "channels with batch": CHANNELS.reshape(1, 3, 1, 1),
    "rows": FULL[:1, :, :1],
    "columns": FULL[0, 0],
    "one map": FULL[0],
    "full": FULL,
    "full with batch": FULL[None],
}


@pytest.mark.parametrize("name", CONSTANTS)
@pytest.mark.parametrize("operator", ["Add", "Sub", "Mul", "Div", "Max", "Min"])
@pytest.mark.parametrize("first", [False, True])
def test_a_constant(operator: str, name: str, first: bool) -> None:
    inputs = "k x" if first else "x k"
    net = agree(model([node(operator, inputs)], {"k": CONSTANTS[name]}), away_from_zero)
    assert not any(x.params.power_param.shift for x in net.layers)


@pytest.mark.parametrize(
    ("operator", "inputs", "name", "kinds"),
    [
        ("Add", "x k", "scalar", "Bias"),
        ("Sub", "x k", "scalar", "Bias"),
        ("Sub", "k x", "scalar", "Scale"),
        ("Sub", "k x", "channels", "Scale"),
        ("Sub", "k x", "full", "Power Bias"),
        ("Mul", "x k", "scalar", "Power"),
        ("Mul", "x k", "channels", "Scale"),
        ("Mul", "k x", "full", "Scale"),
        ("Div", "x k", "scalar", "Power"),
        ("Div", "x k", "channels", "Scale"),
        ("Div", "k x", "channels", "Power Scale"),
        ("Add", "x k", "channels", "Bias"),
        ("Add", "x k", "columns", "Bias"),
        ("Max", "x k", "scalar", "Scale Eltwise"),
        ("Max", "x k", "full", "Power Bias Eltwise"),
        ("Min", "k x", "channels", "Power Scale Eltwise Power"),
    ],
)
def test_the_layers_of_a_constant(operator: str, inputs: str, name: str, kinds: str) -> None:
    net = agree(model([node(operator, inputs)], {"k": CONSTANTS[name]}), away_from_zero, kinds)
    for layer in net.layers:
        if layer.type in ("Scale", "Bias"):
            param = layer.params.scale_param if layer.type == "Scale" else layer.params.bias_param
            assert param.num_axes == (-1 if layer.weights[0].ndim == 3 else 1)


@pytest.mark.parametrize("operator", ["Add", "Sub", "Mul", "Div", "Max", "Min"])
@pytest.mark.parametrize("shape", [(), (1,), (240,), (1, 240)])
def test_a_constant_with_a_vector(operator: str, shape: tuple[int, ...]) -> None:
    constant = np.asarray(np.random.default_rng(1).normal(0, 2, shape), np.float32)
    nodes = [node("Flatten", "x", "a"), node(operator, "a k", "b"), node(operator, "k b")]
    agree(model(nodes, {"k": constant}), away_from_zero)


@pytest.mark.parametrize("operator", ["Add", "Mul", "Max"])
def test_a_constant_with_three_axes(operator: str) -> None:
    shape = helper.make_tensor("s", TensorProto.INT64, [3], [1, 3, 80])
    nodes = [
        helper.make_node("Constant", [], ["s"], value=shape),
        node("Reshape", "x s", "a"),
        node(operator, "a k", "b"),
        node(operator, "b c"),
    ]
    agree(model(nodes, {"k": FULL.reshape(3, 80), "c": CHANNELS.reshape(3, 1)}))


@pytest.mark.parametrize(
    ("attribute", "opset"),
    [
        ({"value": helper.make_tensor("k", TensorProto.FLOAT, [], [2.5])}, 7),
        ({"value": helper.make_tensor("k", TensorProto.FLOAT, [], [2.5])}, NEWEST),
        ({"value_float": 2.5}, 12),
        ({"value_floats": [2.5]}, NEWEST),
    ],
)
def test_a_constant_node(attribute: dict[str, Any], opset: int) -> None:
    made = helper.make_node("Constant", [], ["k"], **attribute)
    agree(model([made, node("Sub", "k x")], opset=opset), kinds="Scale")


@pytest.mark.parametrize("operator", ["Add", "Mul", "Div"])
def test_double_and_integer_constants(operator: str) -> None:
    nodes = [
        node("Cast", "x", "wide", to=TensorProto.DOUBLE),
        node("Cast", "n", "m", to=TensorProto.DOUBLE),
        node(operator, "wide k", "a"),
        node(operator, "a m", "b"),
        node("Cast", "b", "y", to=TensorProto.FLOAT),
    ]
    constants = {"k": np.array(1 / 3), "n": np.array([2, 3, 5]).reshape(3, 1, 1)}
    net = agree(model(nodes, constants))
    assert all(w.dtype == np.float32 for x in net.layers for w in x.weights)


@pytest.mark.parametrize("operator", ["Sum", "Mean", "Max", "Min"])
def test_values_and_several_constants(operator: str) -> None:
    source = model(
        [node(operator, "k x c z s")],
        {"k": CHANNELS, "c": FULL, "s": 0.75},
        two(MAP, MAP),
    )
    agree(source)


@pytest.mark.parametrize(
    ("operator", "inputs", "constant"),
    [
        ("Add", "x k", 0),
        ("Add", "k x", np.zeros((3, 1, 1), np.float32)),
        ("Sub", "x k", np.zeros(MAP, np.float32)),
        ("Mul", "x k", 1),
        ("Mul", "k x", np.ones(MAP[1:], np.float32)),
        ("Div", "x k", np.ones((1, 3, 1, 1), np.float32)),
        ("Pow", "x k", 1),
    ],
)
def test_a_neutral_constant_makes_no_layer(operator: str, inputs: str, constant: Any) -> None:
    nodes = [node(operator, inputs, "a"), node("Relu", "a")]
    agree(model(nodes, {"k": constant}), kinds="ReLU")


@pytest.mark.parametrize(
    ("factor", "kind"),
    [(0.5, "Power"), (-3.0, "Power"), (0.93, "Power"), (1 / 255, "Scale"), (1e6, "Scale")],
)
def test_a_factor_that_fixed_point_spoils_is_a_scale(factor: float, kind: str) -> None:
    agree(model([node("Mul", "x k")], {"k": factor}), kinds=kind)


def test_multiplying_by_zero() -> None:
    nodes = [node("Mul", "x k", "a"), node("Add", "a z")]
    agree(model(nodes, {"k": 0}, two(MAP, MAP)))


SMALL = [(1, 3, 1, 1), (1, 1, 1, 1), (1, 1, 8, 10), (1, 3, 8, 1), (1, 3, 1, 10), (1, 1, 8, 1)]


@pytest.mark.parametrize("shape", SMALL)
@pytest.mark.parametrize("operator", ["Add", "Sub", "Mul", "Div", "Max", "Min", "Mean"])
@pytest.mark.parametrize("first", [False, True])
def test_computed_values_broadcast(operator: str, shape: tuple[int, ...], first: bool) -> None:
    inputs = "z x" if first else "x z"
    agree(model([node(operator, inputs)], inputs=two(MAP, shape)), away_from_zero)


@pytest.mark.parametrize(
    ("operator", "inputs", "kinds"),
    [
        ("Mul", "x z", "Flatten Scale"),
        ("Mul", "z x", "Flatten Scale"),
        ("Add", "x z", "Flatten Bias"),
        ("Sub", "x z", "Power Flatten Bias"),
        ("Sub", "z x", "Power Flatten Bias"),
        ("Div", "x z", "Power Flatten Scale"),
        ("Div", "z x", "Power Flatten Scale"),
        ("Sum", "x z x", "Power Flatten Bias"),
    ],
)
def test_a_computed_number_a_channel(operator: str, inputs: str, kinds: str) -> None:
    source = model([node(operator, inputs)], inputs=two(MAP, (1, 3, 1, 1)))
    net = agree(source, away_from_zero, kinds)
    last = net.layers[-1]
    assert len(last.bottoms) == 2
    assert (last.params.scale_param.axis, last.params.bias_param.axis) == (1, 1)


@pytest.mark.parametrize("size", [(8, 8), (9, 16)])
def test_squeeze_and_excitation(size: tuple[int, int]) -> None:
    weight = np.random.default_rng(5).normal(0, 1, (4, 4, 1, 1)).astype(np.float32)
    nodes = [
        node("GlobalAveragePool", "x", "a"),
        node("Conv", "a w", "b"),
        node("Sigmoid", "b", "c"),
        node("Mul", "x c"),
    ]
    agree(model(nodes, {"w": weight}, {"x": (1, 4, *size)}))


@pytest.mark.parametrize("operator", ["Add", "Mul", "Max", "Sum"])
@pytest.mark.parametrize(
    ("a", "b"),
    [((1, 3, 1, 1), (1, 1, 8, 10)), ((1, 3, 8, 1), (1, 3, 1, 10)), ((1, 1, 8, 1), (1, 3, 1, 10))],
)
def test_no_value_has_the_full_shape(operator: str, a: tuple[int, ...], b: tuple[int, ...]) -> None:
    agree(model([node(operator, "x z")], inputs=two(a, b)))


@pytest.mark.parametrize("operator", ["Add", "Sub", "Mul", "Div", "Max", "Pow"])
def test_a_constant_larger_than_the_value(operator: str) -> None:
    nodes = [node(operator, "x k")]
    constant = np.full((3, 8, 10), 2, np.float32) if operator == "Pow" else FULL
    for shape in ((1, 3, 1, 1), (1, 1, 8, 10), (1, 1, 1, 1)):
        agree(model(nodes, {"k": constant}, {"x": shape}))


def test_a_computed_scalar_and_a_vector() -> None:
    nodes = [node("Flatten", "x", "a"), node("Flatten", "z", "b"), node("Mul", "a b")]
    agree(model(nodes, inputs=two(MAP, (1, 1, 1, 1))))


def test_a_computed_scalar_of_two_axes_and_a_map() -> None:
    nodes = [node("Flatten", "z", "b"), node("Sub", "x b")]
    agree(model(nodes, inputs=two(MAP, (1, 1, 1, 1))))


@pytest.mark.parametrize(
    ("operator", "draw", "kinds"),
    [
        ("Neg", normal, "Power"),
        ("Abs", normal, "AbsVal"),
        ("Sqrt", positive, "Power"),
        ("Reciprocal", away_from_zero, "Power"),
        ("Exp", normal, "Exp"),
        ("Log", positive, "Log"),
    ],
)
@pytest.mark.parametrize("opset", OPSETS)
@pytest.mark.parametrize("flat", [False, True])
def test_functions(operator: str, draw: Any, kinds: str, opset: int, flat: bool) -> None:
    nodes = [node("Flatten", "x", "a"), node(operator, "a")] if flat else [node(operator, "x")]
    net = agree(model(nodes, opset=opset), draw)
    assert kinds_of(net).split()[-1] == kinds


@pytest.mark.parametrize("exponent", [-3, -2, -1, -0.5, 0.5, 2, 3])
@pytest.mark.parametrize("opset", OPSETS)
def test_powers(exponent: float, opset: int) -> None:
    draw = positive if exponent % 1 else away_from_zero
    net = agree(model([node("Pow", "x k")], {"k": exponent}, opset=opset), draw, "Power")
    assert net.layers[0].params.power_param.power == exponent


@pytest.mark.parametrize("exponent", [4, 6, 9, 0.25, 1.5, -1.5, -4, 0])
def test_powers_in_two_steps(exponent: float) -> None:
    draw = positive if exponent % 1 else away_from_zero
    kinds = "Power Power" if exponent else "Scale"
    agree(model([node("Pow", "x k")], {"k": exponent}), draw, kinds)


@pytest.mark.parametrize("shape", [(), (1,), (3, 1, 1), MAP])
def test_an_integer_exponent(shape: tuple[int, ...]) -> None:
    agree(model([node("Pow", "x k")], {"k": np.full(shape, 3, np.int64)}), kinds="Power")


@pytest.mark.parametrize("base", [2.0, 10.0, 0.5, 1.0])
def test_a_constant_to_a_computed_exponent(base: float) -> None:
    agree(model([node("Pow", "k x")], {"k": base}), kinds="Exp")


def test_the_square_root_of_a_variance() -> None:
    nodes = [
        node("Pow", "x two", "a"),
        node("Add", "a eps", "b"),
        node("Sqrt", "b", "c"),
        node("Div", "x c"),
    ]
    agree(model(nodes, {"two": 2, "eps": 1e-5}), away_from_zero, "Power Bias Power Power Eltwise")


@pytest.mark.parametrize(
    ("source", "words"),
    [
        (
            model([node("Pow", "x k")], {"k": 2.5}),
            "Pow_y (Pow, [1, 3, 8, 10] [] -> [1, 3, 8, 10]): its exponent is 2.5, NNIE's Power "
            "knows -3, -2, -1, -1/2, 1/2, 1, 2 and 3; use one of these",
        ),
        (
            model([node("Pow", "x k")], {"k": [[[1]], [[2]], [[3]]]}),
            "its exponent differs from channel to channel",
        ),
        (
            model([node("Pow", "x z")], inputs=two(MAP, MAP)),
            "its exponent is computed by the network, NNIE's Power has a constant one; export",
        ),
        (
            model([node("Pow", "k x")], {"k": -2}),
            "its base is -2, NNIE's Exp has one positive base; use a single",
        ),
        (model([node("Pow", "k x")], {"k": CHANNELS}), "its base is several numbers"),
        (
            model([node("Div", "x k")], {"k": [[[1]], [[0]], [[2]]]}),
            "Div_y (Div, [1, 3, 8, 10] [3, 1, 1] -> [1, 3, 8, 10]): it divides by 0; remove",
        ),
        (
            model([node("Add", "x k")], {"k": [[[1]], [[-np.inf]], [[2]]]}),
            "its constant holds infinity or a value that is no float32; use finite",
        ),
        (model([node("Mul", "x k")], {"k": np.nan}), "its constant holds infinity or a value"),
        (
            model([node("Add", "x z")], inputs=two(MAP, (1, 3, 300, 1)) | {"x": (1, 3, 300, 300)}),
            "its input [1, 3, 300, 1] is repeated to [1, 3, 300, 300], NNIE repeats by a "
            "Deconvolution of at most 255x255; choose a smaller input size",
        ),
        (
            model(
                [node("Flatten", "z", "b"), node("Add", "x b")],
                inputs=two((1, 3, 8, 8), (1, 8, 1, 1)),
            ),
            "its inputs have different shapes and [1, 8] does not become [1, 3, 8, 8] by layers "
            "that NNIE has: Eltwise takes equal shapes, Scale and Bias one number a channel; "
            "choose an input size at which the shapes agree",
        ),
    ],
)
def test_refusals(source: Any, words: str) -> None:
    assert words in refusal(source)


@pytest.mark.parametrize("operator", ["Add", "Mul", "Min"])
def test_constants_alone_are_refused(operator: str) -> None:
    # Straight to the converter: constant folding leaves no such node.
    constant = np.ones(2, np.float32)
    graph = Graph(13, {"y": (2,)}, {"a": constant, "b": constant}, Net("small", {}, [], []))
    with pytest.raises(NotExpressibleError, match="all its inputs are constants"):
        CONVERTERS[operator](graph, Node.of(node(operator, "a b")))


def test_a_constant_that_varies_over_the_batch_is_refused() -> None:
    text = refusal(model([node("Add", "x k")], {"k": np.arange(6.0).reshape(2, 3, 1, 1)}))
    assert "varies along the batch axis" in text or "different shapes" in text

"""Conversion as a user meets it: written files against onnxruntime, and every refusal.

Random models of each operator are converted, written as prototxt and caffemodel, read back and
run by the engine. Each output equals onnxruntime's, or the node is refused in one line that
names it, its shapes, the reason and the remedy. Nothing in between.
"""

from __future__ import annotations

import re
import tempfile
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto, helper

from nnie_pipeline.caffe.files import read_net, write_net
from nnie_pipeline.engine.onnxruntime_engine import Session, open_session
from nnie_pipeline.errors import InputError, NotExpressibleError
from nnie_pipeline.onnx2caffe.convert import Conversion, convert
from tests.small_onnx import model, node

TOLERANCE = 1e-5
EXAMPLES = 30
REFUSAL = re.compile(r"ONNX node (\S+) \((\w+), (.+) -> (.+)\): (.+); (.+)")

draws = settings(max_examples=EXAMPLES, deadline=None, derandomize=True, database=None)


def weights(*shape: int, seed: int = 0) -> npt.NDArray[np.float32]:
    return np.random.default_rng(seed).normal(0, 0.7, shape).astype(np.float32)


def through_files(source: onnx.ModelProto, **arguments: Any) -> Conversion:
    """Convert, write, read, run, and compare every output with onnxruntime's."""
    conversion = convert(source, "net", **arguments)
    with tempfile.TemporaryDirectory() as folder:
        paths = Path(folder) / "net.prototxt", Path(folder) / "net.caffemodel"
        write_net(conversion.net, *paths)
        net = read_net(*paths)
    rng = np.random.default_rng(4)
    blobs = [rng.normal(0, 2, x).astype(np.float32) for x in net.inputs.values()]
    names = list(conversion.outputs)
    reference = open_session(conversion.fixed.reference.SerializeToString())
    expected = reference.run(names, dict(zip(conversion.fixed.inputs, blobs, strict=True)))
    found = Session(net).run(dict(zip(net.inputs, blobs, strict=True)))
    assert set(found) == set(conversion.outputs.values())
    for name, array in zip(names, expected, strict=True):
        other = found[conversion.outputs[name]]
        assert other.shape == array.shape
        assert np.isfinite(array).all()
        assert np.abs(array - other).max(initial=0) <= TOLERANCE * max(1, np.abs(array).max())
    return conversion


def is_runnable(source: onnx.ModelProto) -> bool:
    """Whether onnxruntime itself takes the drawn model."""
    try:
        session = open_session(source.SerializeToString())
        feed = {x.name: np.zeros(x.shape, np.float32) for x in session.get_inputs()}
        return all(x.size for x in session.run(None, feed))
    except Exception:  # onnxruntime's own kinds
        return False


def equal_or_refused(source: onnx.ModelProto, must: bool = False) -> None:
    """Converted and proven equal, or refused properly; with `must` only the first will do."""
    if not is_runnable(source):
        return
    try:
        through_files(source)
    except NotExpressibleError as error:
        refused = str(error)
    else:
        return
    assert not must, refused
    assert "\n" not in refused
    parts = REFUSAL.fullmatch(refused)
    assert parts, refused
    name, operator, inputs, outputs, reason, remedy = parts.groups()
    # A node that onnxslim makes has no name and is called after its output.
    assert name in {y for x in source.graph.node for y in (x.name, *x.output)}
    assert operator in {x.op_type for x in source.graph.node}
    assert "[" in inputs
    assert "[" in outputs
    assert min(len(reason), len(remedy)) > 10


sizes = st.integers(4, 9)
pads4 = st.lists(st.integers(0, 3), min_size=4, max_size=4)
pair = st.lists(st.integers(1, 3), min_size=2, max_size=2)
auto_pads = st.sampled_from(["NOTSET", "NOTSET", "NOTSET", "VALID", "SAME_UPPER", "SAME_LOWER"])


@st.composite
def convolutions(draw: st.DrawFn) -> tuple[onnx.ModelProto, bool]:
    group = draw(st.sampled_from([1, 1, 2, 3]))
    inside, outside = group * draw(st.integers(1, 2)), group * draw(st.integers(1, 2))
    kernel = [draw(st.integers(1, 4)), draw(st.integers(1, 4))]
    dilations = [draw(st.sampled_from([1, 1, 2])) for _ in (0, 1)]
    attributes: dict[str, Any] = {"strides": draw(pair), "dilations": dilations, "group": group}
    auto = draw(auto_pads)
    must = True
    if auto == "NOTSET":
        pads = draw(pads4)
        attributes["pads"] = pads
        must = all((pads[i] - pads[i + 2]) % dilations[i] == 0 for i in (0, 1))
    else:
        attributes["auto_pad"] = auto
        must = dilations == [1, 1]
    values = {"w": weights(outside, inside // group, *kernel)}
    if draw(st.booleans()):
        values["b"] = weights(outside)
    inputs = "x w b" if "b" in values else "x w"
    shape = (1, inside, draw(sizes), draw(sizes))
    return model([node("Conv", inputs, **attributes)], values, {"x": shape}), must


@given(convolutions())
@draws
def test_convolution(both: tuple[onnx.ModelProto, bool]) -> None:
    source, must = both
    equal_or_refused(source, must)


@st.composite
def transposed(draw: st.DrawFn) -> onnx.ModelProto:
    group = draw(st.sampled_from([1, 1, 2]))
    inside, outside = group * draw(st.integers(1, 2)), draw(st.integers(1, 2))
    kernel = [draw(st.integers(1, 4)), draw(st.integers(1, 4))]
    strides = draw(pair)
    attributes: dict[str, Any] = {"strides": strides, "group": group}
    attributes["dilations"] = [draw(st.sampled_from([1, 1, 2])) for _ in (0, 1)]
    kind = draw(st.sampled_from(["even", "even", "uneven", "auto", "shape", "output padding"]))
    if kind == "even":
        p = [draw(st.integers(0, 1)), draw(st.integers(0, 1))]
        attributes["pads"] = p + p
    elif kind == "uneven":
        attributes["pads"] = [draw(st.integers(0, 1)) for _ in range(4)]
    elif kind == "auto":
        attributes["auto_pad"] = draw(st.sampled_from(["SAME_UPPER", "SAME_LOWER", "VALID"]))
    elif kind == "output padding":
        attributes["output_padding"] = [draw(st.integers(0, x - 1)) for x in strides]
    shape = (1, inside, draw(st.integers(2, 5)), draw(st.sampled_from([2, 4, 5])))
    if kind == "shape":
        attributes["output_shape"] = [x * s for x, s in zip(shape[2:], strides, strict=True)]
    values = {"w": weights(inside, outside, *kernel), "b": weights(outside * group)}
    inputs = draw(st.sampled_from(["x w", "x w b"]))
    return model([node("ConvTranspose", inputs, **attributes)], values, {"x": shape})


@given(transposed())
@draws
def test_transposed_convolution(source: onnx.ModelProto) -> None:
    attributes = {x.name: helper.get_attribute_value(x) for x in source.graph.node[0].attribute}
    pads = attributes.get("pads", [0] * 4)
    plain = {"auto_pad", "output_shape", "output_padding"}.isdisjoint(attributes)
    equal_or_refused(source, must=plain and list(pads[:2]) == list(pads[2:]))


@st.composite
def pools(draw: st.DrawFn) -> onnx.ModelProto:
    operator = draw(st.sampled_from(["MaxPool", "AveragePool"]))
    kernel = [draw(st.integers(1, 4)), draw(st.integers(1, 4))]
    attributes: dict[str, Any] = {"kernel_shape": kernel, "strides": draw(pair)}
    attributes["ceil_mode"] = draw(st.integers(0, 1))
    auto = draw(auto_pads)
    if auto == "NOTSET":
        attributes["pads"] = [draw(st.integers(0, kernel[i % 2] - 1)) for i in range(4)]
    else:
        attributes["auto_pad"] = auto
    if operator == "AveragePool":
        attributes["count_include_pad"] = draw(st.integers(0, 1))
    before = draw(st.sampled_from(["Relu", "Neg"]))
    nodes = [node(before, "x", "r"), node(operator, "r", **attributes)]
    shape = (1, draw(st.integers(1, 3)), draw(sizes), draw(sizes))
    return model(nodes, {}, {"x": shape}, opset=draw(st.sampled_from([11, 17])))


@given(pools())
@settings(draws, max_examples=2 * EXAMPLES)
def test_pooling(source: onnx.ModelProto) -> None:
    equal_or_refused(source)


@st.composite
def resizes(draw: st.DrawFn) -> onnx.ModelProto:
    opset = draw(st.sampled_from([9, 10, 11, 13, 17]))
    # A width of 3 would be taken for the channels of N x H x W x C.
    shape = (1, draw(st.integers(1, 2)), draw(st.integers(1, 5)), draw(st.sampled_from([1, 2, 5])))
    factor = st.sampled_from([1.0, 2.0, 2.0, 3.0, 4.0, 0.5, 1.5, 2.1])
    scales = np.array([1, 1, draw(factor), draw(factor)], np.float32)
    mode = draw(st.sampled_from(["nearest", "nearest", "linear"]))
    first = node("Relu", "x", "r")
    if opset < 11:
        operator = "Upsample" if opset == 9 else "Resize"
        if opset == 9:
            scales = np.maximum(scales, 1)
        nodes = [first, node(operator, "r s", mode=mode)]
        return model(nodes, {"s": scales}, {"x": shape}, opset=opset)
    places = ["half_pixel", "asymmetric", "align_corners", "pytorch_half_pixel"]
    attributes: dict[str, Any] = {"mode": mode}
    attributes["coordinate_transformation_mode"] = draw(st.sampled_from(places))
    if mode == "nearest":
        roundings = ["round_prefer_floor", "round_prefer_ceil", "floor", "ceil"]
        attributes["nearest_mode"] = draw(st.sampled_from(roundings))
    if draw(st.booleans()):
        target = [max(1, int(a * b)) for a, b in zip(shape, scales, strict=True)]
        values = {"t": np.array(target, np.int64)}
        nodes = [first, node("Resize", "r - - t", **attributes)]
        return model(nodes, values, {"x": shape}, opset=opset)
    nodes = [first, node("Resize", "r - s", **attributes)]
    return model(nodes, {"s": scales}, {"x": shape}, opset=opset)


@given(resizes())
@settings(draws, max_examples=2 * EXAMPLES)
def test_resizing(source: onnx.ModelProto) -> None:
    equal_or_refused(source)


def test_the_resizing_that_exporters_write_is_converted() -> None:
    scales = np.array([1, 1, 2, 2], np.float32)
    for attributes in (
        {"coordinate_transformation_mode": "asymmetric", "nearest_mode": "floor"},
        {"coordinate_transformation_mode": "half_pixel"},
        {"coordinate_transformation_mode": "pytorch_half_pixel"},
        {"coordinate_transformation_mode": "half_pixel", "nearest_mode": "round_prefer_ceil"},
    ):
        source = model([node("Resize", "x - s", mode="nearest", **attributes)], {"s": scales})
        assert [x.type for x in through_files(source).net.layers] == ["Deconvolution"]
    source = model([node("Upsample", "x s", mode="nearest")], {"s": scales}, opset=9)
    assert [x.type for x in through_files(source).net.layers] == ["Deconvolution"]


@st.composite
def products(draw: st.DrawFn) -> tuple[onnx.ModelProto, bool]:
    features, outputs = draw(st.integers(2, 30)), draw(st.integers(1, 6))
    turned = draw(st.booleans())
    attributes: dict[str, Any] = {"transB": int(turned)}
    attributes["alpha"] = draw(st.sampled_from([1.0, 0.5, -2.0]))
    attributes["beta"] = draw(st.sampled_from([1.0, 0.25, 0.0]))
    shapes = [(outputs,), (1, outputs), (1,), (), (1, 1), None]
    bias = draw(st.sampled_from(shapes))
    values = {"w": weights(outputs, features) if turned else weights(features, outputs)}
    if bias is not None:
        values["b"] = weights(*bias)
    inputs = "f w" if bias is None else "f w b"
    nodes = [node("Flatten", "x", "f"), node("Gemm", inputs, **attributes)]
    return model(nodes, values, {"x": (1, features, 1, 1)}), True


@given(products())
@draws
def test_fully_connected(both: tuple[onnx.ModelProto, bool]) -> None:
    equal_or_refused(*both)


@st.composite
def arithmetic(draw: st.DrawFn) -> onnx.ModelProto:
    operator = draw(st.sampled_from(["Add", "Sub", "Mul", "Div", "Max", "Min"]))
    shape = tuple(draw(st.sampled_from([1, 2, 5])) for _ in range(3))
    own = tuple(draw(st.sampled_from([1, x])) for x in shape)[draw(st.integers(0, 3)) :]
    value = np.abs(weights(*own)) + np.float32(0.5) if operator == "Div" else weights(*own)
    first = draw(st.booleans()) and operator != "Div"
    nodes = [node("Abs", "x", "a"), node(operator, "c a" if first else "a c")]
    return model(nodes, {"c": value}, {"x": (1, *shape)})


@given(arithmetic())
@settings(draws, max_examples=2 * EXAMPLES)
def test_arithmetic_with_a_constant(source: onnx.ModelProto) -> None:
    equal_or_refused(source)


@st.composite
def moves(draw: st.DrawFn) -> onnx.ModelProto:
    """A few operators that only move numbers, between two convolutions."""
    nodes = [node("Conv", "x w", "v0")]
    values: dict[str, Any] = {"w": weights(4, 3, 1, 1)}
    shape = [1, 4, 6, 4]
    for i in range(draw(st.integers(1, 3))):
        kind = draw(
            st.sampled_from(["Transpose", "Reshape", "Slice", "Concat", "Pad", "Unsqueeze"])
        )
        before, after = f"v{i}", f"v{i + 1}"
        if kind == "Transpose":
            order = [0, *draw(st.permutations(range(1, len(shape))))]
            nodes.append(node(kind, before, after, perm=order))
            shape = [shape[x] for x in order]
        elif kind == "Reshape":
            total = int(np.prod(shape))
            factors = [x for x in (2, 3, 4, 6) if total % x == 0]
            first = draw(st.sampled_from(factors or [1]))
            values[f"t{i}"] = np.array([1, first, -1], np.int64)
            nodes.append(node(kind, f"{before} t{i}", after))
            shape = [1, first, total // first]
        elif kind == "Slice":
            axis = draw(st.integers(1, len(shape) - 1))
            step = draw(st.sampled_from([1, 1, 2, -1]))
            ends = (0, 1 << 40) if step > 0 else (-1, -(1 << 40))
            for name, x in (("b", ends[0]), ("e", ends[1]), ("a", axis), ("s", step)):
                values[f"{name}{i}"] = np.array([x], np.int64)
            nodes.append(node(kind, f"{before} b{i} e{i} a{i} s{i}", after))
            shape[axis] = -(-shape[axis] // abs(step))
        elif kind == "Concat":
            axis = draw(st.integers(1, len(shape) - 1))
            nodes.append(node(kind, f"{before} {before}", after, axis=axis - len(shape)))
            shape[axis] *= 2
        elif kind == "Pad":
            margins = [0] * (2 * len(shape))
            margins[draw(st.sampled_from([x for x in range(len(margins)) if x % len(shape)]))] = 1
            values[f"p{i}"] = np.array(margins, np.int64)
            nodes.append(node(kind, f"{before} p{i}", after))
            shape = [a + b + c for a, b, c in zip(
                shape, margins[: len(shape)], margins[len(shape) :], strict=True)]  # fmt: skip
        elif len(shape) < 5:
            values[f"u{i}"] = np.array([draw(st.integers(1, len(shape)))], np.int64)
            nodes.append(node(kind, f"{before} u{i}", after))
            shape.insert(int(values[f"u{i}"][0]), 1)
        else:
            nodes.append(node("Relu", before, after))
    last = nodes[-1].output[0]
    if len(shape) == 4 and draw(st.booleans()):
        values["q"] = weights(2, shape[1], 1, 1, seed=2)
        nodes.append(node("Conv", f"{last} q", "y"))
    else:
        nodes.append(node("Relu", last, "y"))
    return model(nodes, values, {"x": (1, 3, 6, 4)})


@given(moves())
@settings(draws, max_examples=2 * EXAMPLES)
def test_moving_numbers(source: onnx.ModelProto) -> None:
    equal_or_refused(source)


@pytest.mark.parametrize("opset", [7, 9, 11, 13, 17])
def test_a_small_network_of_every_age(opset: int) -> None:
    nodes = [
        node("Conv", "x w", "c", pads=[1, 1, 1, 1], strides=[2, 2]),
        node("BatchNormalization", "c g h m v", "n", epsilon=0.01),
        node("LeakyRelu", "n", "r", alpha=0.1),
        node("MaxPool", "r", "p", kernel_shape=[2, 2], strides=[2, 2]),
        node("GlobalAveragePool", "p", "a"),
        node("Flatten", "a", "f"),
        node("Gemm", "f k l", "z", transB=1),
        node("Softmax", "z", "y"),
    ]
    values = {
        "w": weights(8, 3, 3, 3), "g": weights(8) + 1, "h": weights(8, seed=1),
        "m": weights(8, seed=2), "v": np.abs(weights(8, seed=3)) + np.float32(0.1),
        "k": weights(5, 8), "l": weights(5),
    }  # fmt: skip
    done = through_files(model(nodes, values, {"x": (1, 3, 16, 12)}, opset=opset))
    assert done.outputs == {"y": "y"}


def two_heads() -> onnx.ModelProto:
    nodes = [
        node("Conv", "x w", "trunk"),
        node("Relu", "trunk", "mid"),
        node("Conv", "mid v", "box"),
        node("Conv", "mid v", "class"),
        node("Sigmoid", "class", "score"),
    ]
    values = {"w": weights(4, 3, 1, 1), "v": weights(2, 4, 1, 1)}
    return model(nodes, values, outputs="score box")


def test_outputs_are_cut_where_they_are_asked_for() -> None:
    done = through_files(two_heads(), outputs=["class", "box"])
    assert list(done.outputs) == ["class", "box"]
    assert done.net.outputs == list(done.outputs.values())
    assert "Sigmoid" not in [x.type for x in done.net.layers]
    done = through_files(two_heads(), outputs=["mid"])
    assert [x.type for x in done.net.layers] == ["Convolution", "ReLU"]


def test_kept_tensors_may_be_read_by_others() -> None:
    done = through_files(two_heads(), outputs=["mid", "score", "trunk"])
    assert list(done.outputs) == ["mid", "score", "trunk"]
    assert done.outputs["mid"].endswith("_report")
    assert not done.outputs["score"].endswith("_report")
    done = through_files(model(
        [node("Relu", "x", "a"), node("Sigmoid", "a", "b")], outputs="a b"
    ))  # fmt: skip
    assert done.net.outputs == ["a_report", "b"]


def test_outputs_that_are_one_value() -> None:
    nodes = [node("Relu", "x", "a"), node("Identity", "a", "b"), node("Identity", "a", "c")]
    done = through_files(model(nodes, outputs="b c"))
    assert done.outputs["b"] == done.outputs["c"]
    assert len(done.net.outputs) == 1


def test_an_input_that_no_kept_output_needs_is_left_out() -> None:
    nodes = [node("Relu", "x", "a"), node("Relu", "other", "b")]
    shapes = {"x": (1, 3, 4, 4), "other": (1, 2, 4, 4)}
    done = through_files(model(nodes, {}, shapes, outputs="a b"), outputs=["b"])
    assert list(done.net.inputs.values()) == [(1, 2, 4, 4)]


def one_line(call: Callable[[], object], kind: type[Exception] = InputError) -> str:
    with pytest.raises(kind) as caught:
        call()
    message = str(caught.value)
    assert "\n" not in message
    return message


@pytest.mark.parametrize("name", ["nope", "", "x", "w"])
def test_outputs_that_the_model_does_not_make(name: str) -> None:
    message = one_line(lambda: convert(two_heads(), "net", outputs=["box", name]))
    assert f"no tensor {name};" in message
    assert "score, box" in message


def test_an_output_that_is_the_input() -> None:
    source = model([node("Identity", "x")])
    assert "output y is the network's input" in one_line(
        lambda: convert(source, "net"), NotExpressibleError
    )


def sized(*dims: int | str | None) -> onnx.ModelProto:
    """A model whose input has these sides; words and None are open."""
    source = two_heads()
    shape = source.graph.input[0].type.tensor_type.shape
    del shape.dim[:]
    for side in dims:
        dim = shape.dim.add()
        if isinstance(side, int):
            dim.dim_value = side
        elif side:
            dim.dim_param = side
    return source


@pytest.mark.parametrize(
    ("dims", "size", "shape", "assumed"),
    [
        ((1, 3, 8, 10), None, (1, 3, 8, 10), []),
        ((1, 3, 8, 10), (12, 6), (1, 3, 12, 6), []),
        (("n", 3, "h", "w"), None, (1, 3, 640, 640), ["N=1", "H=640", "W=640"]),
        (("n", 3, "h", "w"), (12, 6), (1, 3, 12, 6), ["N=1"]),
        ((None, 3, 8, "w"), None, (1, 3, 8, 640), ["N=1", "W=640"]),
        ((-1, 3, -1, -1), (8, 8), (1, 3, 8, 8), ["N=1"]),
        ((0, 3, 0, 0), (8, 8), (1, 3, 8, 8), ["N=1"]),
    ],
)
def test_sizes(
    dims: Sequence[int | str | None],
    size: tuple[int, int] | None,
    shape: tuple[int, ...],
    assumed: list[str],
) -> None:
    done = through_files(sized(*dims), size=size)
    assert list(done.net.inputs.values()) == [shape]
    said = done.fixed.assumed
    assert re.findall(r"[NCHW]=\d+", said) == assumed
    assert "\n" not in said


@pytest.mark.parametrize(
    ("dims", "words"),
    [
        ((1, 3, 8), "3 axes"), ((3,), "1 axes"), ((), "0 axes"), ((1, 3, 8, 8, 8), "5 axes"),
        ((1, "c", 8, 8), "channels open"), ((1, -1, 8, 8), "channels open"),
    ],
)  # fmt: skip
def test_inputs_that_are_no_pictures(dims: Sequence[int | str], words: str) -> None:
    message = one_line(lambda: convert(sized(*dims), "net"))
    assert words in message
    assert "input x" in message


def test_a_size_at_which_the_graph_does_not_hold() -> None:
    """Up and down again: only even sides come back to what they were."""
    nodes = [
        node("MaxPool", "x", "p", kernel_shape=[2, 2], strides=[2, 2]),
        node("Resize", "p - s", "u", mode="nearest"),
        node("Add", "x u"),
    ]
    source = model(nodes, {"s": np.array([1, 1, 2, 2], np.float32)})
    through_files(source, size=(8, 6))
    for size in ((8, 7), (5, 6)):
        message = one_line(lambda size=size: convert(source, "net", size), Exception)
        assert "size" in message or "shape" in message
        assert "Traceback" not in message


def test_operators_of_others_are_refused() -> None:
    source = model([node("Relu", "x", "a"), node("Relu", "a")])
    source.graph.node[1].domain = "com.example"
    source.graph.node[1].op_type = "Secret"
    source.opset_import.append(helper.make_opsetid("com.example", 1))
    message = one_line(lambda: convert(source, "net"), Exception)
    assert "Secret" in message


def test_the_shape_that_depends_on_the_data() -> None:
    nodes = [
        node("NonZero", "x", "i"), node("Cast", "i", "f", to=TensorProto.FLOAT),
        node("ReduceSum", "f", "y", keepdims=1),
    ]  # fmt: skip
    message = one_line(lambda: convert(model(nodes), "net"), NotExpressibleError)
    assert "NonZero" in message

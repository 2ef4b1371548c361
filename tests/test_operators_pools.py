"""MaxPool, AveragePool, the global poolings and the reductions against onnxruntime."""

from __future__ import annotations

import itertools
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import pytest

from nnie_pipeline.caffe.net import Net
from nnie_pipeline.chips.check import check
from nnie_pipeline.onnx2caffe.convert import convert
from nnie_pipeline.onnx2caffe.operators.pool_windows import PoolWindows, fit_pool
from nnie_pipeline.rewrite import global_pooling
from tests.small_onnx import agree, by_definition, model, node, refusal


def negative(rng: np.random.Generator, shape: tuple[int, ...]) -> npt.NDArray[Any]:
    """So that a maximum shows whether padding counts as 0."""
    return -rng.uniform(0.5, 2, shape)


def pooled(
    operator: str, size: tuple[int, int], opset: int = 17, kinds: str | None = None, **a: Any
) -> Net:
    a.setdefault("strides", [1, 1])
    return agree(
        model([node(operator, "x", **a)], inputs={"x": (1, 3, *size)}, opset=opset),
        negative,
        kinds,
    )


WINDOWS = [
    ([2, 2], [2, 2], [0, 0, 0, 0]),
    ([3, 3], [2, 2], [0, 0, 0, 0]),
    ([3, 3], [2, 2], [1, 1, 1, 1]),
    ([3, 3], [2, 2], [0, 0, 1, 1]),
    ([3, 3], [1, 1], [1, 1, 1, 1]),
    ([5, 5], [1, 1], [2, 2, 2, 2]),
    ([2, 2], [1, 1], [0, 0, 1, 1]),
    ([3, 2], [3, 2], [1, 0, 0, 1]),
    ([2, 3], [3, 4], [0, 0, 0, 0]),
    ([4, 3], [3, 2], [3, 0, 1, 2]),
    ([1, 1], [2, 3], [0, 0, 0, 0]),
]
SIZES = list(itertools.product((6, 7), (8, 9)))


@pytest.mark.parametrize(("kernel", "stride", "pads"), WINDOWS)
@pytest.mark.parametrize("ceil", [0, 1])
@pytest.mark.parametrize("opset", [10, 22])
def test_max_pools(kernel: Any, stride: Any, pads: Any, ceil: int, opset: int) -> None:
    windows = {"kernel_shape": kernel, "strides": stride, "pads": pads, "ceil_mode": ceil}
    for size in SIZES:
        source = model([node("MaxPool", "x", **windows)], inputs={"x": (1, 3, *size)}, opset=opset)
        if windows_are_told_differently(source, size):
            assert "onnxruntime makes" in refusal(source)
        else:
            agree(source, negative)


@pytest.mark.parametrize(("kernel", "stride", "pads"), WINDOWS)
@pytest.mark.parametrize("ceil", [0, 1])
@pytest.mark.parametrize("counted", [0, 1])
@pytest.mark.parametrize("opset", [10, 19, 22])
def test_average_pools(
    kernel: Any, stride: Any, pads: Any, ceil: int, counted: int, opset: int
) -> None:
    windows = {"kernel_shape": kernel, "strides": stride, "pads": pads, "ceil_mode": ceil}
    windows["count_include_pad"] = counted
    for size in SIZES[:: 1 + counted]:
        source = model(
            [node("AveragePool", "x", **windows)], inputs={"x": (1, 3, *size)}, opset=opset
        )
        if windows_are_told_differently(source, size):
            assert "onnxruntime makes" in refusal(source)
        else:
            agree(source, negative)


def windows_are_told_differently(source: onnx.ModelProto, size: tuple[int, int]) -> bool:
    """Whether the last window begins in the padding behind: dropped since opset 22."""
    if source.opset_import[0].version >= 22:
        return False
    a = {x.name: onnx.helper.get_attribute_value(x) for x in source.graph.node[0].attribute}
    if not a["ceil_mode"]:
        return False
    for i in (0, 1):
        span = size[i] + a["pads"][i] + a["pads"][i + 2] - a["kernel_shape"][i]
        last = -(-span // a["strides"][i]) * a["strides"][i]
        if last >= size[i] + a["pads"][i]:
            return True
    return False


@pytest.mark.parametrize("operator", ["MaxPool", "AveragePool"])
@pytest.mark.parametrize("auto", ["SAME_UPPER", "SAME_LOWER", "VALID"])
@pytest.mark.parametrize("opset", [7, 12])
@pytest.mark.parametrize(("kernel", "stride"), [([3, 2], [2, 1]), ([2, 4], [1, 3])])
def test_automatic_pads(operator: str, auto: str, opset: int, kernel: Any, stride: Any) -> None:
    for size in SIZES:
        pooled(operator, size, opset, kernel_shape=kernel, strides=stride, auto_pad=auto)


def test_never_a_rounding_field_and_no_slice() -> None:
    window = {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 1, 1, 1]}
    net = pooled("MaxPool", (8, 8), kinds="Pooling Convolution", **window)
    fields = {x.name for x, _ in net.layers[0].params.pooling_param.ListFields()}
    assert not fields & {"ceil_mode", "round_mode"}
    cut = net.layers[1].params.convolution_param
    assert (cut.group, list(cut.kernel_size), cut.bias_term) == (3, [2], False)
    assert net.layers[1].weights[0].sum() == 3
    same = pooled("MaxPool", (8, 8), kinds="Pooling", ceil_mode=1, **window)
    assert not {x.name for x, _ in same.layers[0].params.pooling_param.ListFields()} & {
        "ceil_mode", "round_mode",
    }  # fmt: skip


def test_layers_are_added_only_where_needed() -> None:
    even = {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1]}
    pooled("MaxPool", (8, 9), kinds="Pooling", **even)
    pooled("AveragePool", (8, 9), kinds="Pooling", count_include_pad=1, **even)
    pooled("AveragePool", (8, 9), kinds="Pooling Scale", **even)
    pooled("AveragePool", (8, 8), kinds="Pooling", kernel_shape=[2, 2], strides=[2, 2])
    pooled("MaxPool", (8, 9), kinds="Convolution", kernel_shape=[1, 1], strides=[2, 2])
    # Caffe would begin a window outside of the map: the rows between are cut before.
    pooled("MaxPool", (9, 9), kinds="Convolution Pooling", kernel_shape=[2, 2], strides=[3, 3])


def test_a_convolution_takes_the_cut_where_that_is_cheaper() -> None:
    nodes = [node("MaxPool", "x", "p", kernel_shape=[3, 3], strides=[2, 2], pads=[1, 1, 1, 1]),
             node("Conv", "p w", "y")]  # fmt: skip
    one, many = (np.random.default_rng(1).normal(size=(n, 3, 1, 1)).astype(np.float32)
                 for n in (1, 8))  # fmt: skip
    agree(model(nodes, {"w": one}), kinds="Pooling Convolution")
    agree(model(nodes, {"w": many}), kinds="Pooling Convolution Convolution")


@pytest.mark.parametrize("operator", ["MaxPool", "AveragePool"])
@pytest.mark.parametrize("counted", [0, 1])
@pytest.mark.parametrize("size", [(7, 8), (8, 9)])
def test_a_pad_before(operator: str, counted: int, size: tuple[int, int]) -> None:
    """The Pad is an output as well: onnxruntime 1.31 fuses it wrongly where values are negative."""
    window: dict[str, Any] = {"kernel_shape": [3, 3], "strides": [2, 2], "pads": [1, 0, 0, 1]}
    if operator == "AveragePool":
        window["count_include_pad"] = counted
    pads = {"p": np.array([0, 0, 1, 1, 0, 0, 0, 1])}
    for first in ([], [node("Relu", "x", "r")]):
        nodes = [*first, node("Pad", "r p" if first else "x p", "q"), node(operator, "q", **window)]
        agree(model(nodes, pads, {"x": (1, 3, *size)}, "q y"))


def test_a_pad_before_a_maximum_is_its_own_only_behind_values_from_0_on() -> None:
    window = {"kernel_shape": [3, 3], "strides": [2, 2]}
    pads = {"p": np.array([0, 0, 1, 1, 0, 0, 1, 1])}
    shape = {"x": (1, 3, 9, 11)}
    free = [node("Pad", "x p", "q"), node("MaxPool", "q", **window)]
    net = convert(model(free, pads, shape), "net").net
    assert [x.type for x in net.layers] == ["Convolution", "Pooling"]
    x = negative(np.random.default_rng(2), shape["x"]).astype(np.float32)
    padded = np.pad(x, ((0, 0), (0, 0), (1, 1), (1, 1)))
    wanted = np.max(
        np.lib.stride_tricks.sliding_window_view(padded, (3, 3), (2, 3))[:, :, ::2, ::2], (4, 5)
    )
    assert wanted.max() == 0
    np.testing.assert_array_equal(by_definition(net, {"x": x})[net.outputs[0]], wanted)
    kept = [node("Relu", "x", "r"), node("Pad", "r p", "q"), node("MaxPool", "q", **window)]
    agree(model(kept, pads, shape), kinds="ReLU Pooling")
    leaky = [node("LeakyRelu", "x", "r"), *kept[1:]]
    kinds = [x.type for x in convert(model(leaky, pads, shape), "net").net.layers]
    assert kinds == ["ReLU", "Convolution", "Pooling"]


def test_refused_poolings() -> None:
    two = {"kernel_shape": [2, 2], "strides": [2, 2]}
    text = refusal(model([node("MaxPool", "x", dilations=[2, 2], **two)]))
    assert "ONNX node MaxPool_y (MaxPool, [1, 3, 8, 10] -> [1, 3, 3, 4])" in text
    assert "dilated" in text
    assert "depthwise convolution" in text
    text = refusal(model([node("AveragePool", "x", dilations=[2, 2], **two)], opset=19))
    assert "dilated" in text
    same = {"kernel_shape": [1, 2], "strides": [3, 2], "auto_pad": "SAME_UPPER"}
    text = refusal(model([node("MaxPool", "x", **same)], inputs={"x": (1, 3, 9, 8)}))
    assert "runtimes disagree" in text
    assert "explicit pads" in text
    nodes = [node("Reshape", "x s", "z"), node("MaxPool", "z", **two)]
    text = refusal(model(nodes, {"s": np.array([3, 1, 8, 10])}))
    assert "[3, 1, 8, 10]" in text
    assert "one map" in text


def lines() -> Iterator[tuple[int, int, int, int, int, int]]:
    """Size, kernel, stride, pads and number of windows of one axis: all small ones."""
    for n, k, s in itertools.product(range(1, 8), range(1, 5), range(1, 6)):
        for a, b, up in itertools.product(range(k), range(k), (0, 1)):
            span = n + a + b - k
            if span >= 0:
                count = (-(-span // s) if up else span // s) + 1
                yield n, k, s, a, b, count - ((count - 1) * s >= n + a)


def test_every_pooling_that_onnx_has_has_a_caffe_one() -> None:
    for x, y in itertools.product(set(lines()), [(5, 2, 2, 0, 0, 2), (6, 3, 2, 1, 1, 3)]):
        size, kernel, stride, count = ((x[i], y[i]) for i in (0, 1, 2, 5))
        pads = (x[3], y[3], x[4], y[4])
        used = tuple(
            min(n, (c - 1) * s + k - p)
            for n, c, s, k, p in zip(size, count, stride, kernel, pads, strict=False)
        )
        fits = [fit_pool(PoolWindows(m, kernel, stride, pads, count)) for m in (size, used)]
        assert any(fits), (x, y)


def test_places_of_the_maxima() -> None:
    pool = node("MaxPool", "x", "y i", kernel_shape=[2, 2], strides=[2, 2], storage_order=1)
    agree(model([pool]), kinds="Pooling")
    read = [pool, node("Cast", "i", "j", to=1), node("Add", "y j", "z")]
    text = refusal(model(read, outputs="z"))
    assert "its second output i (the places of the maxima) is read" in text
    assert "return_indices" in text


@pytest.mark.parametrize("operator", ["GlobalAveragePool", "GlobalMaxPool"])
@pytest.mark.parametrize("size", [(1, 1), (7, 5), (60, 80)])
def test_global_poolings(operator: str, size: tuple[int, int]) -> None:
    if size == (1, 1):
        relu = [node("Relu", "x", "r"), node(operator, "r", "y")]
        agree(model(relu, inputs={"x": (1, 3, *size)}), kinds="ReLU Pooling")
        return
    agree(model([node(operator, "x")], inputs={"x": (1, 3, *size)}), negative, "Pooling")


@pytest.mark.parametrize("operator", ["GlobalAveragePool", "GlobalMaxPool"])
def test_a_global_pooling_beyond_the_window_limit_is_split_by_the_rewrite(operator: str) -> None:
    net = convert(model([node(operator, "x")], inputs={"x": (1, 3, 234, 310)}), "net").net
    assert {x.id for x in check(net) if x.severity == "error"} == {"window-rows", "window-kernel"}
    x = negative(np.random.default_rng(3), (1, 3, 234, 310)).astype(np.float32)
    before = by_definition(net, {"x": x})[net.outputs[0]]
    global_pooling.apply(net)
    assert not [x for x in check(net) if x.severity == "error"]
    after = by_definition(net, {"x": x})[net.outputs[0]]
    np.testing.assert_allclose(after, before, rtol=1e-12)


REDUCTIONS = ["ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin"]


@pytest.mark.parametrize("operator", REDUCTIONS)
@pytest.mark.parametrize("axes", [[2, 3], [-1, -2], [2], [3]])
@pytest.mark.parametrize("keep", [0, 1])
@pytest.mark.parametrize("opset", [11, 18])
def test_reductions(operator: str, axes: list[int], keep: int, opset: int) -> None:
    net = agree(reduction(operator, axes, keep, opset), negative)
    kinds = {
        "ReduceMean": "Pooling",
        "ReduceSum": "Pooling Power",
        "ReduceMax": "Pooling",
        "ReduceMin": "Power Pooling Power",
    }[operator]
    assert " ".join(x.type for x in net.layers) == kinds + ("" if keep else " Reshape")


def reduction(operator: str, axes: list[int], keep: int, opset: int) -> onnx.ModelProto:
    """Axes are an attribute before opset 18 (ReduceSum: 13)."""
    if opset < 13 or (opset < 18 and operator != "ReduceSum"):
        return model([node(operator, "x", axes=axes, keepdims=keep)], opset=opset)
    return model([node(operator, "x a", keepdims=keep)], {"a": np.array(axes)}, opset=opset)


@pytest.mark.parametrize("operator", REDUCTIONS[:2])
def test_reductions_over_channels(operator: str) -> None:
    agree(reduction(operator, [1], 1, 13), kinds="Convolution")
    agree(reduction(operator, [1, 2, 3], 1, 13), bound=1e-4)


def test_a_reduction_before_a_product_needs_no_reshape() -> None:
    nodes = [node("ReduceMean", "x", "m", axes=[2, 3], keepdims=0), node("Gemm", "m w", "y")]
    weight = np.random.default_rng(4).normal(size=(3, 4)).astype(np.float32)
    agree(model(nodes, {"w": weight}, opset=13), kinds="Pooling InnerProduct")


def test_no_axes() -> None:
    source = model([node("Relu", "x", "r"), node("ReduceSum", "r", noop_with_empty_axes=1)])
    agree(source, kinds="ReLU")
    text = refusal(model([node("ReduceMax", "x", keepdims=1)], opset=13))
    assert "reduces the axes [1, 2, 3]" in text


def test_refused_reductions() -> None:
    text = refusal(reduction("ReduceMax", [1], 1, 13))
    assert "it reduces the axes [1]" in text
    assert "dim=(2, 3)" in text
    text = refusal(reduction("ReduceMean", [0], 0, 13))
    assert "it leaves [3, 8, 10]" in text
    assert "keepdims=True" in text

"""Conv, ConvTranspose, Gemm and MatMul against onnxruntime."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import pytest

from nnie_pipeline.caffe.net import Layer, Net
from tests.small_onnx import agree, model, node, refusal


def weights(*shape: int, seed: int = 3) -> np.ndarray:
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def convolved(
    shape: tuple[int, int, int],
    kernel: tuple[int, int],
    outputs: int = 6,
    opset: int = 17,
    bias: bool = True,
    **attributes: Any,
) -> Net:
    """A Conv over 1 x `shape`, converted and compared; one Convolution."""
    constants = {"w": weights(outputs, shape[0] // attributes.get("group", 1), *kernel)}
    if bias:
        constants["b"] = weights(outputs)
    source = model(
        [node("Conv", " ".join(["x", *constants]), **attributes)],
        constants,
        {"x": (1, *shape)},
        opset=opset,
    )
    return agree(source, kinds="Convolution")


def window(layer: Layer) -> tuple[Any, ...]:
    """Kernel, stride and pad of a square convolution."""
    p = layer.params.convolution_param
    return list(p.kernel_size), list(p.stride), list(p.pad)


@pytest.mark.parametrize("opset", [7, 11, 22])
@pytest.mark.parametrize("group", [1, 2, 4])
@pytest.mark.parametrize("bias", [True, False])
def test_groups_with_and_without_bias(opset: int, group: int, bias: bool) -> None:
    net = convolved((4, 9, 8), (3, 3), 8, opset, bias, group=group, pads=[1, 1, 1, 1])
    assert net.layers[0].params.convolution_param.bias_term is bias
    assert len(net.layers[0].weights) == 1 + bias


PADS = list(itertools.product((0, 1, 2), repeat=2))


@pytest.mark.parametrize(("before", "behind"), PADS)
@pytest.mark.parametrize("stride", [1, 2, 3])
@pytest.mark.parametrize("size", [8, 9])
def test_uneven_pads(before: int, behind: int, stride: int, size: int) -> None:
    convolved((2, size, 10), (3, 2), strides=[stride, 1], pads=[before, behind, behind, before])


@pytest.mark.parametrize("dilation", [2, 3])
@pytest.mark.parametrize(("before", "behind"), [(0, 1), (2, 0), (1, 3), (2, 2)])
def test_uneven_pads_with_dilation(dilation: int, before: int, behind: int) -> None:
    convolved(
        (2, 13, 12), (3, 2), strides=[2, 1], dilations=[dilation, 1],
        pads=[before, 0, behind, 0],
    )  # fmt: skip


def test_a_dilation_stays_where_the_pads_allow_it() -> None:
    net = convolved((2, 13, 12), (3, 3), dilations=[2, 2], pads=[2, 2, 4, 2])
    param = net.layers[0].params.convolution_param
    assert list(param.dilation) == [2]
    assert (param.kernel_h, param.kernel_w) == (4, 3)


@pytest.mark.parametrize("auto", ["SAME_UPPER", "SAME_LOWER", "VALID"])
@pytest.mark.parametrize("opset", [7, 11, 22])
@pytest.mark.parametrize("size", [(8, 9), (11, 12)])
@pytest.mark.parametrize(("kernel", "stride"), [((3, 2), (2, 2)), ((1, 4), (3, 1))])
def test_automatic_pads(auto: str, opset: int, size: Any, kernel: Any, stride: Any) -> None:
    convolved((2, *size), kernel, opset=opset, auto_pad=auto, strides=stride)


def test_zeros_widen_a_kernel_only_where_they_must() -> None:
    pads_before = convolved((3, 8, 8), (3, 3), strides=[2, 2], pads=[1, 1, 0, 0])
    assert window(pads_before.layers[0]) == ([3], [2], [1])
    pads_behind = convolved((3, 8, 8), (3, 3), strides=[2, 2], pads=[0, 0, 1, 1])
    assert window(pads_behind.layers[0]) == ([4], [2], [1])


@pytest.mark.parametrize("kernel", [(1, 255), (255, 1), (7, 1)])
def test_long_kernels(kernel: tuple[int, int]) -> None:
    convolved((1, kernel[0] + 2, kernel[1] + 1), kernel, 2)


def test_one_weight_for_two_nodes() -> None:
    shared = [node("Conv", "x w", "a", pads=[1, 1, 1, 1]), node("Conv", "a w", "y")]
    agree(model(shared, {"w": weights(3, 3, 3, 3)}), kinds="Convolution Convolution")


def test_refused_convolutions() -> None:
    row = [node("Reshape", "x r", "a"), node("Conv", "a w", "y")]
    text = refusal(model(row, {"r": np.array([1, 3, 80]), "w": weights(4, 3, 3)}))
    assert "ONNX node Conv_y (Conv, [1, 3, 80] [4, 3, 3] -> [1, 4, 78])" in text
    assert "rows and columns (1 x C x H x W)" in text
    assert "2-D form" in text
    text = refusal(model([node("Conv", "x r")], inputs={"x": (1, 3, 8, 8), "r": (4, 3, 3, 3)}))
    assert "its input r is computed by the network" in text


def transposed(
    size: tuple[int, int], kernel: tuple[int, int], opset: int = 17, **attributes: Any
) -> Net:
    """A ConvTranspose of 4 channels to 6, converted and compared; one Deconvolution."""
    group = attributes.get("group", 1)
    constants = {"w": weights(4, 6 // group, *kernel), "b": weights(6)}
    source = model(
        [node("ConvTranspose", "x w b", **attributes)], constants, {"x": (1, 4, *size)},
        opset=opset,
    )  # fmt: skip
    return agree(source, kinds="Deconvolution")


@pytest.mark.parametrize("opset", [7, 11, 22])
@pytest.mark.parametrize("group", [1, 2])
@pytest.mark.parametrize("pads", [[0, 0, 0, 0], [1, 0, 0, 2], [2, 1, 1, 1]])
@pytest.mark.parametrize("extra", [[0, 0], [1, 0], [1, 2]])
def test_deconvolutions(opset: int, group: int, pads: list[int], extra: list[int]) -> None:
    transposed((5, 6), (4, 3), opset, group=group, strides=[2, 3], pads=pads, output_padding=extra)


@pytest.mark.parametrize("pads", [[0, 0, 1, 0], [3, 2, 1, 0], [1, 1, 1, 1]])
def test_dilated_deconvolutions(pads: list[int]) -> None:
    transposed((6, 5), (3, 2), dilations=[2, 3], strides=[1, 2], pads=pads)


@pytest.mark.parametrize("auto", ["NOTSET", "SAME_UPPER", "SAME_LOWER"])
@pytest.mark.parametrize("shape", [[11, 12], [12, 13]])
def test_deconvolutions_to_a_given_shape(auto: str, shape: list[int]) -> None:
    transposed((6, 6), (3, 4), strides=[2, 2], output_shape=shape, auto_pad=auto)


@pytest.mark.parametrize("auto", ["SAME_UPPER", "SAME_LOWER", "VALID"])
@pytest.mark.parametrize("kernel", [(3, 3), (4, 5), (2, 1)])
def test_deconvolutions_with_automatic_pads(auto: str, kernel: tuple[int, int]) -> None:
    transposed((5, 6), kernel, strides=[2, 3], auto_pad=auto)


def test_refused_deconvolutions() -> None:
    constants = {"w": weights(3, 4, 3, 3)}
    same = node("ConvTranspose", "x w", auto_pad="SAME_UPPER", strides=[2, 2],
                output_padding=[1, 1])  # fmt: skip
    text = refusal(model([same], constants))
    assert "disagree on the size of its output" in text
    assert "explicit pads" in text
    row = [node("Reshape", "x r", "a"), node("ConvTranspose", "a v", "y")]
    text = refusal(model(row, {"r": np.array([1, 3, 80]), "v": weights(3, 4, 3)}))
    assert "rows and columns (1 x C x H x W)" in text


@pytest.mark.parametrize("opset", [7, 11, 13])
@pytest.mark.parametrize("transposed_weight", [0, 1])
@pytest.mark.parametrize("bias", [(5,), (1, 5), (1,), None])
def test_gemm(opset: int, transposed_weight: int, bias: tuple[int, ...] | None) -> None:
    shape = (5, 240) if transposed_weight else (240, 5)
    constants = {"w": weights(*shape)}
    names = "f w"
    if bias is not None:
        constants["b"] = weights(*bias)
        names = "f w b"
    gemm = node("Gemm", names, "y", transB=transposed_weight, alpha=0.5, beta=3.0)
    if opset < 11 and bias is None:
        return
    agree(model([node("Flatten", "x", "f"), gemm], constants, opset=opset), kinds="InnerProduct")


def test_the_order_of_a_flattened_map_goes_into_the_weights() -> None:
    last = [
        node("Transpose", "x", "t", perm=[0, 2, 3, 1]),
        node("Flatten", "t", "f"),
        node("MatMul", "f w", "y"),
    ]
    agree(model(last, {"w": weights(240, 5)}), kinds="InnerProduct")


def test_a_vector_with_more_axes_is_multiplied() -> None:
    nodes = [
        node("GlobalAveragePool", "x", "p"),
        node("Transpose", "p", "t", perm=[0, 2, 3, 1]),
        node("MatMul", "t w", "y"),
    ]
    agree(model(nodes, {"w": weights(3, 5)}), kinds="Pooling InnerProduct Reshape")


def test_a_part_of_a_vector_is_multiplied() -> None:
    nodes = [
        node("Flatten", "x", "f"),
        node("Gather", "f i", "g", axis=1),
        node("MatMul", "g w", "y"),
    ]
    constants = {"i": np.arange(40, 100), "w": weights(60, 5)}
    agree(model(nodes, constants), kinds="Reshape Slice InnerProduct")


def test_refused_products() -> None:
    text = refusal(model([node("MatMul", "x w")], {"w": weights(10, 4)}))
    assert "multiplies 24 rows of 10 numbers" in text
    assert "1x1 convolution" in text
    text = refusal(model([node("MatMul", "w x")], {"w": weights(4, 8)}))
    assert "the weight stands on the left" in text
    assert "torch.nn.Linear" in text
    text = refusal(model([node("MatMul", "x w")], {"w": weights(3, 10, 4)}))
    assert "its weight has the shape [3, 10, 4]" in text
    tall = [
        node("Reshape", "x r", "a"), node("Gemm", "a w", "y", transA=1),
    ]  # fmt: skip
    text = refusal(model(tall, {"r": np.array([240, 1]), "w": weights(240, 4)}))
    assert "transA" in text

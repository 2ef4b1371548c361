"""Kernel, stride and pads as ONNX gives them and as Caffe's parameters take them."""

from __future__ import annotations

from collections.abc import Sequence

from nnie_pipeline.caffe.caffe_pb2 import ConvolutionParameter
from nnie_pipeline.caffe.net import Shape
from nnie_pipeline.caffe.windows import Pair
from nnie_pipeline.onnx2caffe.graph import Graph, Node


def pair(node: Node, attribute: str) -> Pair:
    """An attribute of two numbers, (1, 1) when it is left out."""
    values = node.get(attribute, [1, 1])
    return values[0], values[1]


def window_pads(
    node: Node, size: Shape, kernel: Shape, strides: Sequence[int], dilations: Sequence[int]
) -> list[int]:
    """[top, left, bottom, right], with auto_pad worked out for this map size."""
    auto = node.get("auto_pad", "NOTSET")
    if auto == "NOTSET":
        return list(node.get("pads", [0, 0, 0, 0]))
    if auto == "VALID":
        return [0, 0, 0, 0]
    total = [
        max(
            (-(-size[i] // strides[i]) - 1) * strides[i] + (kernel[i] - 1) * dilations[i] + 1
            - size[i],
            0,
        )
        for i in (0, 1)
    ]  # fmt: skip
    small = [x // 2 for x in total]
    large = [x - y for x, y in zip(total, small, strict=True)]
    return small + large if auto == "SAME_UPPER" else large + small


def set_window(
    param: ConvolutionParameter,
    kernel: Shape,
    strides: Pair,
    pads: Pair,
    dilations: Pair,
    num_output: int,
    group: int,
    bias: bool,
) -> None:
    """Write a convolution's parameters, leaving out what is Caffe's default."""
    param.num_output = num_output
    param.bias_term = bias
    if kernel[0] == kernel[1]:
        param.kernel_size.append(kernel[0])
    else:
        param.kernel_h, param.kernel_w = kernel
    if pads[0] != pads[1]:
        param.pad_h, param.pad_w = pads
    elif pads[0]:
        param.pad.append(pads[0])
    if strides[0] != strides[1]:
        param.stride_h, param.stride_w = strides
    else:
        param.stride.append(strides[0])
    if dilations != (1, 1):
        param.dilation.extend(dilations if dilations[0] != dilations[1] else dilations[:1])
    if group != 1:
        param.group = group


def need_picture(graph: Graph, node: Node, shape: Shape) -> None:
    """End the conversion where a window does not slide over rows and columns.

    Raises:
        NotExpressibleError: the shape has other than four axes, or a batch.
    """
    if len(shape) != 4 or shape[0] != 1:
        graph.refuse(
            node,
            f"its input has the shape {list(shape)}, NNIE's windows slide over one map of "
            "rows and columns (1 x C x H x W)",
            "use the 2-D form of the layer on a picture at a time",
        )

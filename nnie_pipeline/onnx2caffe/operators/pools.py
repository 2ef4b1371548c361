"""MaxPool, AveragePool and their global forms, with NNIE's rounding.

NNIE's Caffe always rounds the number of windows up and has no field to say otherwise. Where
ONNX makes fewer, Caffe's pooling makes its one row or column more and a convolution behind
it drops that: one group a channel, a single 1 in a kernel of 2x2. A Slice would cut as well,
but the piece that nobody reads would be one of the 16 outputs that a network can have.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from nnie_pipeline.caffe.caffe_pb2 import LayerParameter, PoolingParameter
from nnie_pipeline.caffe.net import Shape
from nnie_pipeline.caffe.windows import Pair, Window
from nnie_pipeline.onnx2caffe import moves
from nnie_pipeline.onnx2caffe.graph import Graph, Move, Node, converts
from nnie_pipeline.onnx2caffe.operators.moving import express, place, rearrange
from nnie_pipeline.onnx2caffe.operators.pool_windows import (
    PoolFit,
    PoolWindows,
    divisor_ratio,
    fit_pool,
)
from nnie_pipeline.onnx2caffe.operators.windows import need_picture, pair, window_pads

_NOT_NEGATIVE = frozenset({"ReLU", "Sigmoid", "Softmax", "AbsVal", "Exp"})
_KEEPS_SIGN = frozenset({"Pooling", "Concat", "Dropout", "Reshape", "Flatten", "Slice", "Split"})


@converts("MaxPool", "AveragePool")
def pool(graph: Graph, node: Node) -> None:
    """Pooling; a Convolution behind cuts what rounding up adds, a Scale sets other divisors.

    Two axes, no dilation, no places of the maxima. Pads are smaller than the window.
    """
    name = node.inputs[0]
    shape = graph.shape(node, name)
    need_picture(graph, node, shape)
    _refuse_more_than_a_pooling(graph, node)
    windows = _windows(graph, node, (shape[2], shape[3]))
    if windows.kernel == (1, 1) and not any(windows.pads):
        rows, columns = windows.stride
        refusal = (f"its stride {rows}x{columns} is too large", "use a stride of at most 255")
        rearrange(graph, node, lambda x: x[:, :, ::rows, ::columns], refusal)
        return
    blob, source, outer = _source(graph, node, windows)
    fit = fit_pool(outer)
    # Every pooling that onnxruntime takes has one: its pads are smaller than its windows.
    assert fit is not None
    ratio = None
    if node.operator == "AveragePool":
        ratio = divisor_ratio(windows, outer, fit, bool(node.get("count_include_pad", 0)))
    _add(graph, node, blob, source, fit, ratio)


def _refuse_more_than_a_pooling(graph: Graph, node: Node) -> None:
    if any(x != 1 for x in node.get("dilations", [1, 1])):
        graph.refuse(
            node,
            "its window is dilated, NNIE's pooling has no dilation",
            "use a plain pooling, or (AveragePool) a depthwise convolution",
        )
    if len(node.outputs) > 1 and node.outputs[1] in graph.read:
        graph.refuse(
            node,
            f"its second output {node.outputs[1]} (the places of the maxima) is read, NNIE's "
            "pooling gives out the maxima only",
            "do not use return_indices; upsample by ConvTranspose instead of MaxUnpool",
        )


def _windows(graph: Graph, node: Node, size: Pair) -> PoolWindows:
    kernel, stride = pair(node, "kernel_shape"), pair(node, "strides")
    pads = tuple(window_pads(node, size, kernel, stride, (1, 1)))
    _refuse_negative_same(graph, node, size)
    target = graph.shape(node, node.outputs[0])[2:]
    made = []
    for i in (0, 1):
        span = size[i] + pads[i] + pads[i + 2] - kernel[i]
        count = (-(-span // stride[i]) if node.get("ceil_mode", 0) else span // stride[i]) + 1
        # A window that begins in the padding behind is dropped (ONNX, MaxPool 22; onnxruntime
        # does so for every version, ONNX's shape inference for the newest only).
        if (count - 1) * stride[i] >= size[i] + pads[i]:
            count -= 1
        made.append(count)
    if tuple(made) != target:
        graph.refuse(
            node,
            f"ONNX's shape inference expects {list(target)} windows, onnxruntime makes {made}",
            "export with opset 22 or newer, or with ceil_mode=False",
        )
    return PoolWindows(size, kernel, stride, pads, (made[0], made[1]))


def _refuse_negative_same(graph: Graph, node: Node, size: Pair) -> None:
    """Where the windows of a SAME pooling end before the map, onnxruntime pads by less than
    nothing and so begins inside the map; TensorFlow begins at its border."""
    kernel, stride = pair(node, "kernel_shape"), pair(node, "strides")
    if node.get("auto_pad", "NOTSET").startswith("SAME") and any(
        (-(-n // s) - 1) * s + k - n < 0 for n, k, s in zip(size, kernel, stride, strict=True)
    ):
        graph.refuse(
            node,
            f"its stride {list(stride)} leaves pixels out and runtimes disagree where automatic "
            "padding then begins",
            "export it with explicit pads",
        )


def _source(graph: Graph, node: Node, windows: PoolWindows) -> tuple[str, Shape, PoolWindows]:
    """Blob, its shape and the windows over it; a Pad before becomes the pooling's own where
    that is exact, and rows that no window reads are cut where Caffe would begin one there."""
    name = node.inputs[0]
    padded = _without_pad(graph, node, windows)
    if padded is not None and fit_pool(padded[1]) is not None:
        move, outer = padded
        return move.blob, move.shape, outer
    shape = graph.shape(node, name)
    used = [
        min(n, (c - 1) * s + k - p)
        for n, c, s, k, p in zip(
            windows.size, windows.count, windows.stride, windows.kernel, windows.pads, strict=False
        )
    ]
    if fit_pool(windows) is not None or tuple(used) == windows.size:
        return graph.blob(node, name), shape, windows
    cut, source = f"{node.outputs[0]}_cut", graph.move(node, name)
    index = source.index[:, :, : used[0], : used[1]]
    if not express(graph, node, cut, Move(source.blob, source.shape, index)):
        blob = graph.blob(node, name)
        index = Move.of(blob, shape).index[:, :, : used[0], : used[1]]
        express(graph, node, cut, Move(blob, shape, index))
    size = (used[0], used[1])
    less = PoolWindows(size, windows.kernel, windows.stride, windows.pads, windows.count)
    return graph.blobs[cut], (*shape[:2], *size), less


def _without_pad(graph: Graph, node: Node, windows: PoolWindows) -> tuple[Move, PoolWindows] | None:
    """The blob before a Pad with zeros, and the windows over it.

    For a maximum, zeros around the map do what Caffe's pad does (nothing) only when no value
    is negative.
    """
    if not graph.is_moved(node.inputs[0]):
        return None
    move = graph.move(node, node.inputs[0])
    margins = moves.margins(move)
    if margins is None or (node.operator == "MaxPool" and not _is_never_negative(graph, move.blob)):
        return None
    pads = tuple(a + b for a, b in zip(windows.pads, margins, strict=True))
    size = (move.shape[2], move.shape[3])
    return move, PoolWindows(size, windows.kernel, windows.stride, pads, windows.count)


def _is_never_negative(graph: Graph, blob: str) -> bool:
    maker = next((x for x in graph.net.layers if blob in x.tops), None)
    if maker is None:
        return False
    if maker.type in _KEEPS_SIGN:
        return all(_is_never_negative(graph, x) for x in maker.bottoms)
    return maker.type in _NOT_NEGATIVE and not maker.params.relu_param.negative_slope


def _add(
    graph: Graph, node: Node, blob: str, source: Shape, fit: PoolFit,
    ratio: npt.NDArray[np.float64] | None,
) -> None:  # fmt: skip
    target = graph.shape(node, node.outputs[0])
    full = (*source[:2], *fit.made)
    param = pooling(node.operator == "AveragePool", fit.window)
    if full == target and ratio is None:
        graph.add(node, "Pooling", [blob], params=param)
        return
    made = graph.add(node, "Pooling", [blob], params=param, suffix="windows")
    if ratio is not None:
        scale = LayerParameter()
        scale.scale_param.axis = 1
        scale.scale_param.num_axes = -1
        weight = np.broadcast_to(ratio, full[1:]).astype(np.float32)
        suffix = "" if full == target else "scaled"
        made = graph.add(node, "Scale", [made], [weight], scale, suffix=suffix)
    if full == target:
        return
    (top, left), (height, width) = fit.skip, target[2:]
    index = Move.of(made, full).index[:, :, top : top + height, left : left + width]
    result = Move(made, full, index)

    def make() -> None:
        if not express(graph, node, node.outputs[0], result):
            graph.refuse(
                node,
                f"it makes {height}x{width} windows, NNIE rounds up to {fit.made[0]}x"
                f"{fit.made[1]} and no convolution cuts the rest",
                "choose an input size at which the stride divides",
            )

    place(graph, node.outputs[0], result, make)


def pooling(average: bool, window: Window) -> LayerParameter:
    """Parameters of a Pooling with this window."""
    param = LayerParameter()
    pooling_param = param.pooling_param
    pooling_param.pool = PoolingParameter.AVE if average else PoolingParameter.MAX
    pooling_param.kernel_h, pooling_param.kernel_w = window.kernel
    pooling_param.stride_h, pooling_param.stride_w = window.stride
    if any(window.pad):
        pooling_param.pad_h, pooling_param.pad_w = window.pad
    return param


@converts("GlobalAveragePool", "GlobalMaxPool")
def global_pool(graph: Graph, node: Node) -> None:
    """Pooling over the whole map.

    `nnie rewrite` splits it where NNIE's window is too small.
    """
    need_picture(graph, node, graph.shape(node, node.inputs[0]))
    param = LayerParameter()
    average = node.operator == "GlobalAveragePool"
    param.pooling_param.pool = PoolingParameter.AVE if average else PoolingParameter.MAX
    param.pooling_param.global_pooling = True
    graph.add(node, "Pooling", [graph.blob(node, node.inputs[0])], params=param)

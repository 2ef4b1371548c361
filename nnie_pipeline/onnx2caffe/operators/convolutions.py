"""Conv, ConvTranspose, BatchNormalization."""

from __future__ import annotations

import math

import numpy as np

from nnie_pipeline.caffe.caffe_pb2 import LayerParameter
from nnie_pipeline.caffe.net import Array, Shape
from nnie_pipeline.caffe.windows import Pair
from nnie_pipeline.onnx2caffe import moves
from nnie_pipeline.onnx2caffe.filters import Filter, fold
from nnie_pipeline.onnx2caffe.graph import Graph, Move, Node, converts
from nnie_pipeline.onnx2caffe.moves import Selection
from nnie_pipeline.onnx2caffe.operators.moving import add_filter, selecting
from nnie_pipeline.onnx2caffe.operators.windows import (
    need_picture,
    pair,
    set_window,
    window_pads,
)


@converts("Conv")
def conv(graph: Graph, node: Node) -> None:
    """Convolution, which takes Pad, strided Slices and Concats of them into its kernel.

    Two axes, a batch of 1, constant weights. Pads that differ on two sides
    widen the kernel by zeros.
    """
    weight = graph.weight(node, 1)
    bias = graph.weight(node, 2)
    assert weight is not None
    name, target = node.inputs[0], graph.shape(node, node.outputs[0])
    need_picture(graph, node, graph.shape(node, name))
    size = _size(graph.shape(node, name))
    strides, dilations = pair(node, "strides"), pair(node, "dilations")
    pads = window_pads(node, size, weight.shape[2:], strides, dilations)
    window = (size, _size(target), strides, (pads[0], pads[1]), dilations)
    group = node.get("group", 1)

    def over(found: Selection, shape: Shape) -> Filter | None:
        return fold(weight, group, found, shape, *window)

    plain = over(moves.whole(weight.shape[1] * group), (1, weight.shape[1] * group, *size))
    assert plain is not None
    if graph.is_moved(name):
        source = graph.move(node, name)
        found = moves.selection(source)
        folded = None if found is None else over(found, source.shape)
        if folded is not None and _is_cheaper(folded, plain, source, _size(target)):
            add_filter(graph, node, source.blob, folded, bias)
            return
    add_filter(graph, node, graph.blob(node, name), plain, bias)


def _is_cheaper(folded: Filter, plain: Filter, source: Move, output: Pair) -> bool:
    """Whether one convolution of the source takes no more multiplications than two layers.

    Zeros around the source are always its own.
    """
    if not folded.fits(source.shape[3]):
        return False
    first = None if moves.margins(source) else selecting(source)
    if first is None or not first.fits(source.shape[3]):
        return True
    size = _size(source.index.shape)
    return folded.cost(output) <= plain.cost(output) + first.cost(size)


@converts("ConvTranspose")
def conv_transpose(graph: Graph, node: Node) -> None:
    """Deconvolution.

    Two axes, a batch of 1, constant weights. Pads that differ on two sides, output_padding and
    output_shape widen the kernel by zeros; automatic padding together with output_padding is
    refused.
    """
    weight = graph.weight(node, 1)
    bias = graph.weight(node, 2)
    assert weight is not None
    source, target = (graph.shape(node, x) for x in (node.inputs[0], node.outputs[0]))
    need_picture(graph, node, source)
    same = node.get("auto_pad", "NOTSET").startswith("SAME")
    if len(target) != 4 or (same and any(node.get("output_padding", [0, 0]))):
        graph.refuse(
            node,
            "ONNX's shape inference and onnxruntime disagree on the size of its output",
            "export it with explicit pads",
        )
    strides, dilations = pair(node, "strides"), pair(node, "dilations")
    before = _pads_before(node, weight.shape[2:], _size(source), _size(target))
    pads, steps = [], []
    for i in (0, 1):
        extent = (weight.shape[2 + i] - 1) * dilations[i] + 1
        behind = (source[2 + i] - 1) * strides[i] + extent - before[i] - target[2 + i]
        # The kernel grows by zeros in front and behind, which Caffe's one pad cuts off again.
        pads.append(max(before[i], behind, 0))
        zeros = (pads[i] - before[i], pads[i] - behind)
        steps.append(math.gcd(dilations[i], *zeros))
        weight = _spread_taps(weight, 2 + i, dilations[i] // steps[i])
        margins = [(0, 0)] * 4
        margins[2 + i] = (zeros[0] // steps[i], zeros[1] // steps[i])
        weight = np.pad(weight, margins)
    group = node.get("group", 1)
    param = LayerParameter()
    set_window(
        param.convolution_param, weight.shape[2:], strides, (pads[0], pads[1]),
        (steps[0], steps[1]), weight.shape[1] * group, group, bias is not None,
    )  # fmt: skip
    weights = [weight] if bias is None else [weight, bias]
    graph.add(node, "Deconvolution", [graph.blob(node, node.inputs[0])], weights, param)


def _spread_taps(weight: Array, axis: int, distance: int) -> Array:
    """The kernel with zeros between its taps, for a dilation that is so much smaller."""
    shape = list(weight.shape)
    shape[axis] = (shape[axis] - 1) * distance + 1
    wide = np.zeros(shape, np.float32)
    places = [slice(None)] * weight.ndim
    places[axis] = slice(None, None, distance)
    wide[tuple(places)] = weight
    return wide


@converts("BatchNormalization")
def batch_normalization(graph: Graph, node: Node) -> None:
    """BatchNorm (mean and variance) followed by Scale (gamma and beta)."""
    gamma, beta, mean, variance = (graph.weight(node, i) for i in (1, 2, 3, 4))
    assert gamma is not None
    assert beta is not None
    assert mean is not None
    assert variance is not None
    if node.get("training_mode", 0):
        graph.refuse(node, "it is in training mode", "export the model after model.eval()")
    normal = LayerParameter()
    normal.batch_norm_param.use_global_stats = True
    normal.batch_norm_param.eps = node.get("epsilon", 1e-5)
    bottom = graph.blob(node, node.inputs[0])
    one = np.ones(1, np.float32)
    middle = graph.add(node, "BatchNorm", [bottom], [mean, variance, one], normal, suffix="bn")
    scale = LayerParameter()
    scale.scale_param.bias_term = True
    graph.add(node, "Scale", [middle], [gamma, beta], scale)


def _pads_before(node: Node, kernel: Shape, size: Pair, target: Pair) -> list[int]:
    """Rows and columns cut off above and left.

    With a given output_shape or automatic padding ONNX splits what is too much; the odd one
    stands behind for SAME_UPPER and in front otherwise (ONNX, ConvTranspose; onnxruntime,
    ComputeTransposePadAndOutputShape).
    """
    auto = node.get("auto_pad", "NOTSET")
    if auto in ("NOTSET", "VALID") and "output_shape" not in node.attributes:
        return list(node.get("pads", [0, 0, 0, 0]))[:2] if auto == "NOTSET" else [0, 0]
    strides, dilations = pair(node, "strides"), pair(node, "dilations")
    extra = node.get("output_padding", [0, 0])
    before = []
    for i in (0, 1):
        extent = (kernel[i] - 1) * dilations[i] + 1
        total = max(0, (size[i] - 1) * strides[i] + extent + extra[i] - target[i])
        before.append(total // 2 if auto == "SAME_UPPER" else total - total // 2)
    return before


def _size(shape: Shape) -> Pair:
    return shape[2], shape[3]

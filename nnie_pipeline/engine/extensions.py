"""Layers that HiSilicon's mapper and Caffe's forks add, and rarer ones of Caffe, as ONNX nodes."""

from __future__ import annotations

import math

import numpy as np
from onnx import TensorProto

from nnie_pipeline.caffe.axes import axis_of
from nnie_pipeline.caffe.caffe_pb2 import ReductionParameter
from nnie_pipeline.caffe.extension_shapes import interp_part
from nnie_pipeline.caffe.net import Layer
from nnie_pipeline.engine.onnx_graph import Emit, Graph, require_weights
from nnie_pipeline.errors import InputError


def _crelu(graph: Graph, layer: Layer) -> None:
    """PVANet's form, the only one that NNIE has: ReLU(Scale([x, -x])) along the channels."""
    require_weights(layer)
    bottom = layer.bottoms[0]
    both = graph.add("Concat", [bottom, graph.add("Neg", [bottom])], axis=1)
    shape = (1, -1, *(1,) * (len(graph.shapes[bottom]) - 2))
    both = graph.add("Mul", [both, graph.constant(layer.weights[0].reshape(shape))])
    if len(layer.weights) > 1:
        both = graph.add("Add", [both, graph.constant(layer.weights[1].reshape(shape))])
    graph.add("Relu", [both], layer.tops[0])


def _pass_through(graph: Graph, layer: Layer) -> None:
    """Blocks of the map become channels: the pixel (y, x) of each block is a group of C
    channels, the groups row by row (reorg of yolo-v2 as NNIE has it)."""
    param = layer.params.pass_through_param
    n, c, h, w = graph.shapes[layer.bottoms[0]]
    high, wide = param.block_height, param.block_width
    blocks = graph.reshape(layer.bottoms[0], (n, c, h // high, high, w // wide, wide))
    order = graph.add("Transpose", [blocks], perm=(0, 3, 5, 1, 2, 4))
    graph.reshape(order, graph.shapes[layer.tops[0]], layer.tops[0])


def _mat_mul(graph: Graph, layer: Layer) -> None:
    """The first matrix times the transposed second (HiSVP development guide, table 3-2)."""
    rank = len(graph.shapes[layer.bottoms[1]])
    order = [*range(rank - 2), rank - 1, rank - 2]
    second = graph.add("Transpose", layer.bottoms[1:], perm=order)
    graph.add("MatMul", [layer.bottoms[0], second], layer.tops[0])


def _upsample(graph: Graph, layer: Layer) -> None:
    bottom, top = graph.shapes[layer.bottoms[0]], graph.shapes[layer.tops[0]]
    if len(layer.bottoms) > 1:
        _unpool(graph, layer)
        return
    if any(b % a for a, b in zip(bottom, top, strict=True)):
        raise InputError(
            f"layer {layer.name} (Upsample): {bottom[2]}x{bottom[3]} to {top[2]}x{top[3]} is no "
            "whole factor"
        )
    scales = [b // a for a, b in zip(bottom, top, strict=True)]
    graph.add(
        "Resize", [layer.bottoms[0], "", graph.constant(scales)], layer.tops[0],
        mode="nearest", coordinate_transformation_mode="asymmetric", nearest_mode="floor",
    )  # fmt: skip


def _unpool(graph: Graph, layer: Layer) -> None:
    """SegNet's Caffe, upsample_layer: every number goes to the place in its channel's map that
    the mask names, all others are 0."""
    n, c, h, w = graph.shapes[layer.bottoms[0]]
    top = graph.shapes[layer.tops[0]]
    values = graph.reshape(layer.bottoms[0], (n, c, h * w))
    places = graph.reshape(layer.bottoms[1], (n, c, h * w))
    whole = graph.add("Cast", [places], to=TensorProto.INT64)
    room = graph.constant((n, c, top[2] * top[3]), np.int64)
    empty = graph.add("Expand", [graph.constant(np.zeros((1, 1, 1))), room])
    filled = graph.add("ScatterElements", [empty, whole, values], axis=2)
    graph.reshape(filled, top, layer.tops[0])


_REDUCTIONS = {
    ReductionParameter.SUM: "ReduceSum",
    ReductionParameter.ASUM: "ReduceL1",
    ReductionParameter.SUMSQ: "ReduceSumSquare",
    ReductionParameter.MEAN: "ReduceMean",
}


def _reduction(graph: Graph, layer: Layer) -> None:
    """Caffe 1.0, reduction_layer: over its axis and all behind, times coeff."""
    param = layer.params.reduction_param
    bottom = graph.shapes[layer.bottoms[0]]
    axes = range(axis_of(param.axis, bottom), len(bottom))
    made = graph.reduce(_REDUCTIONS[param.operation], layer.bottoms[0], axes, False)
    graph.add("Mul", [made, graph.constant(param.coeff)], layer.tops[0])


def _tile(graph: Graph, layer: Layer) -> None:
    param = layer.params.tile_param
    bottom = graph.shapes[layer.bottoms[0]]
    repeats = [1] * len(bottom)
    repeats[axis_of(param.axis, bottom)] = param.tiles
    graph.add("Tile", [layer.bottoms[0], graph.constant(repeats, np.int64)], layer.tops[0])


def _arg_max(graph: Graph, layer: Layer) -> None:
    """Caffe 1.0, argmax_layer: among equal numbers the last comes first."""
    param = layer.params.argmax_param
    bottom, top = graph.shapes[layer.bottoms[0]], graph.shapes[layer.tops[0]]
    value, axis, length = layer.bottoms[0], 1, math.prod(bottom[1:])
    if param.HasField("axis"):
        axis = axis_of(param.axis, bottom)
        length = bottom[axis]
    else:
        value = graph.reshape(value, (bottom[0], length))
    # Backwards, because TopK gives the first of equal numbers.
    turn = [graph.constant([x], np.int64) for x in (-1, -length - 1, axis, -1)]
    turned = graph.add("Slice", [value, *turn])
    largest, places = graph.name_temporary(), graph.name_temporary()
    count = graph.constant([param.top_k], np.int64)
    graph.add_several("TopK", [turned, count], [largest, places], axis=axis)
    forward = graph.add("Sub", [graph.constant(length - 1, np.int64), places])
    indices = graph.add("Cast", [forward], to=TensorProto.FLOAT)
    if not param.out_max_val:
        graph.reshape(indices, top, layer.tops[0])
    elif param.HasField("axis"):
        graph.reshape(largest, top, layer.tops[0])
    else:
        joined = graph.add("Concat", [indices, largest], axis=1)
        graph.reshape(joined, top, layer.tops[0])


def _interp(graph: Graph, layer: Layer) -> None:
    """DeepLab's Caffe, interp_layer: bilinear with the corners of both maps on each other,
    after negative pads have cut the borders off."""
    param = layer.params.interp_param
    bottom, top = graph.shapes[layer.bottoms[0]], graph.shapes[layer.tops[0]]
    part = interp_part(param, bottom)
    starts, ends = (-param.pad_beg,) * 2, tuple(-param.pad_beg + x for x in part)
    limits = [graph.constant(x, np.int64) for x in (starts, ends, (2, 3))]
    cut = graph.add("Slice", [layer.bottoms[0], *limits])
    graph.add(
        "Resize", [cut, "", "", graph.constant(top, np.int64)], layer.tops[0],
        mode="linear", coordinate_transformation_mode="align_corners",
    )  # fmt: skip


def _parameter(graph: Graph, layer: Layer) -> None:
    """Caffe 1.0, parameter_layer: the blob of the caffemodel itself."""
    require_weights(layer)
    shape = graph.shapes[layer.tops[0]]
    graph.add("Identity", [graph.constant(layer.weights[0].reshape(shape))], layer.tops[0])


def _nothing(graph: Graph, layer: Layer) -> None:
    """Silence makes nothing."""


EXTENSIONS: dict[str, Emit] = {
    "ArgMax": _arg_max,
    "CReLU": _crelu,
    "Interp": _interp,
    "MatMul": _mat_mul,
    "Parameter": _parameter,
    "PassThrough": _pass_through,
    "Reduction": _reduction,
    "Silence": _nothing,
    "Tile": _tile,
    "Upsample": _upsample,
}
"""How each of these layer types becomes ONNX nodes."""

"""A Caffe `Net` as an ONNX model: Caffe's semantics spelled out in ONNX operators."""

from __future__ import annotations

import itertools
import math
from collections.abc import Sequence

import numpy as np
import onnx
from onnx import TensorProto, helper

from nnie_pipeline.caffe.axes import (
    axis_of,
    concat_axis,
    crop_offsets,
    permute_order,
    slice_axis,
    slice_points,
)
from nnie_pipeline.caffe.caffe_pb2 import EltwiseParameter
from nnie_pipeline.caffe.net import Layer, Net, Shape
from nnie_pipeline.caffe.shapes import infer
from nnie_pipeline.engine.elementwise import ELEMENTWISE
from nnie_pipeline.engine.extensions import EXTENSIONS
from nnie_pipeline.engine.normalise import NORMALISE
from nnie_pipeline.engine.onnx_graph import Emit, Graph, require_weights
from nnie_pipeline.engine.recurrent import RECURRENT
from nnie_pipeline.engine.regions import REGIONS
from nnie_pipeline.engine.windows import WINDOWS
from nnie_pipeline.errors import InputError

_LARGEST = 1 << 29
_OPSET = 17
_IR_VERSION = 8


def to_onnx(net: Net, values: Sequence[str] | None = None) -> onnx.ModelProto:
    """The ONNX model that computes `values` (default: the outputs of `net`).

    Raises:
        InputError: a layer that this engine cannot run, shapes that do not fit, or a value
            that the network does not make.
    """
    graph = Graph(infer(net))
    for value, shape in graph.shapes.items():
        if math.prod(shape) > _LARGEST:
            raise InputError(
                f"the value {value} has the shape {list(shape)}, more than the engine's {_LARGEST} "
                "numbers a value (2 GiB); use a smaller input"
            )
    for layer in net.layers:
        emit = _EMITTERS.get(layer.type)
        if emit is None:
            raise InputError(
                f"layer {layer.name}: the onnxruntime engine cannot run the type {layer.type}; cut "
                "the network in front of it, or use --engine pycaffe if your Caffe has the type"
            )
        emit(graph, layer)
    wanted = list(net.outputs if values is None else values)
    made = {x for node in graph.nodes for x in node.output}
    for value in wanted:
        if value not in made:
            raise InputError(
                f"the network makes no value {value}; its outputs are {', '.join(net.outputs)}"
            )
    model = helper.make_model(
        helper.make_graph(
            graph.nodes,
            net.name or "net",
            [_value(x, shape) for x, shape in net.inputs.items()],
            [_value(x, graph.shapes[x]) for x in wanted],
            graph.constants,
        ),
        opset_imports=[helper.make_opsetid("", _OPSET)],
    )
    model.ir_version = _IR_VERSION
    return model


def _value(name: str, shape: Shape) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)


def _broadcast(graph: Graph, layer: Layer, axis: int, shape: Shape) -> Shape:
    """The shape that lays a parameter of `shape` along the bottom from `axis` on."""
    bottom = graph.shapes[layer.bottoms[0]]
    start = axis_of(axis, bottom)
    if not shape:
        return (1,) * len(bottom)
    return (1,) * start + shape + (1,) * (len(bottom) - start - len(shape))


def _parameter(graph: Graph, layer: Layer, axis: int, num_axes: int, blob: int) -> str:
    """The multiplier or addend of a Scale or Bias: a weight, or the second bottom."""
    if len(layer.bottoms) > 1 and blob == 0:
        shape = _broadcast(graph, layer, axis, graph.shapes[layer.bottoms[1]])
        return graph.add("Reshape", [layer.bottoms[1], graph.constant(shape, np.int64)])
    require_weights(layer)
    array = layer.weights[blob - (len(layer.bottoms) > 1)]
    bottom = graph.shapes[layer.bottoms[0]]
    start = axis_of(axis, bottom)
    end = len(bottom) if num_axes == -1 else start + num_axes
    shape = _broadcast(graph, layer, axis, bottom[start:end])
    return graph.constant(array.reshape(shape))


def _scale(graph: Graph, layer: Layer) -> None:
    param = layer.params.scale_param
    factor = _parameter(graph, layer, param.axis, param.num_axes, 0)
    if not param.bias_term:
        graph.add("Mul", [layer.bottoms[0], factor], layer.tops[0])
        return
    product = graph.add("Mul", [layer.bottoms[0], factor])
    num_axes = len(graph.shapes[layer.bottoms[1]]) if len(layer.bottoms) > 1 else param.num_axes
    addend = _parameter(graph, layer, param.axis, num_axes, 1)
    graph.add("Add", [product, addend], layer.tops[0])


def _bias(graph: Graph, layer: Layer) -> None:
    param = layer.params.bias_param
    addend = _parameter(graph, layer, param.axis, param.num_axes, 0)
    graph.add("Add", [layer.bottoms[0], addend], layer.tops[0])


def _eltwise(graph: Graph, layer: Layer) -> None:
    param = layer.params.eltwise_param
    if param.operation == EltwiseParameter.SUM:
        coefficients = list(param.coeff) or [1.0] * len(layer.bottoms)
        terms = [
            x if c == 1 else graph.add("Mul", [x, graph.constant(c)])
            for x, c in zip(layer.bottoms, coefficients, strict=True)
        ]
        _chain(graph, "Add", terms, layer.tops[0])
    elif param.operation == EltwiseParameter.PROD:
        _chain(graph, "Mul", layer.bottoms, layer.tops[0])
    else:
        graph.add("Max", layer.bottoms, layer.tops[0])


def _chain(graph: Graph, operator: str, terms: Sequence[str], top: str) -> None:
    total = terms[0]
    for i, term in enumerate(terms[1:], 2):
        total = graph.add(operator, [total, term], top if i == len(terms) else None)
    if len(terms) == 1:
        graph.add("Identity", [total], top)


def _concat(graph: Graph, layer: Layer) -> None:
    axis = concat_axis(layer)
    graph.add("Concat", layer.bottoms, layer.tops[0], axis=axis)


def _slice(graph: Graph, layer: Layer) -> None:
    bottom = graph.shapes[layer.bottoms[0]]
    axis = axis_of(slice_axis(layer), bottom)
    points = slice_points(layer, bottom[axis])
    for top, (start, end) in zip(layer.tops, itertools.pairwise(points), strict=True):
        _cut(graph, layer.bottoms[0], [start], [end], [axis], top)


def _cut(
    graph: Graph, value: str, starts: list[int], ends: list[int], axes: list[int], top: str
) -> None:
    limits = [graph.constant(x, np.int64) for x in (starts, ends, axes)]
    graph.add("Slice", [value, *limits], top)


def _crop(graph: Graph, layer: Layer) -> None:
    bottom, like = (graph.shapes[x] for x in layer.bottoms)
    starts = crop_offsets(layer, bottom, like)
    top = graph.shapes[layer.tops[0]]
    ends = [a + b for a, b in zip(starts, top, strict=True)]
    _cut(graph, layer.bottoms[0], starts, ends, list(range(len(bottom))), layer.tops[0])


def _reshape(graph: Graph, layer: Layer) -> None:
    graph.reshape(layer.bottoms[0], graph.shapes[layer.tops[0]], layer.tops[0])


def _permute(graph: Graph, layer: Layer) -> None:
    order = permute_order(layer, len(graph.shapes[layer.bottoms[0]]))
    graph.add("Transpose", layer.bottoms, layer.tops[0], perm=order)


def _softmax(graph: Graph, layer: Layer) -> None:
    graph.add("Softmax", layer.bottoms, layer.tops[0], axis=layer.params.softmax_param.axis)


def _copy(graph: Graph, layer: Layer) -> None:
    for top in layer.tops:
        graph.add("Identity", layer.bottoms[:1], top)


_EMITTERS: dict[str, Emit] = {
    **WINDOWS,
    **ELEMENTWISE,
    **NORMALISE,
    **RECURRENT,
    **REGIONS,
    **EXTENSIONS,
    "Bias": _bias,
    "Concat": _concat,
    "Crop": _crop,
    "Dropout": _copy,
    "Eltwise": _eltwise,
    "Flatten": _reshape,
    "Permute": _permute,
    "Reshape": _reshape,
    "Scale": _scale,
    "Slice": _slice,
    "Softmax": _softmax,
    "Split": _copy,
}

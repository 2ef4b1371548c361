"""ReduceMean, ReduceSum, ReduceMax and ReduceMin."""

from __future__ import annotations

import math

import numpy as np

from nnie_pipeline.caffe.caffe_pb2 import LayerParameter
from nnie_pipeline.caffe.compose import Value
from nnie_pipeline.caffe.windows import Window
from nnie_pipeline.onnx2caffe.graph import Graph, Move, Node, converts
from nnie_pipeline.onnx2caffe.operators.compose import Composer
from nnie_pipeline.onnx2caffe.operators.moving import place
from nnie_pipeline.onnx2caffe.operators.pools import pooling
from nnie_pipeline.onnx2caffe.operators.windows import set_window


@converts("ReduceMean", "ReduceSum", "ReduceMax", "ReduceMin")
def reduce(graph: Graph, node: Node) -> None:
    """Pooling over rows and columns; a sum is the mean times the count.

    Channels only as mean or sum, by a 1x1 Convolution; the batch axis never.
    """
    source = graph.shape(node, node.inputs[0])
    axes = _axes(graph, node, len(source))
    axes = {x for x in axes if source[x] != 1}
    extremum = node.operator in ("ReduceMax", "ReduceMin")
    if axes and (len(source) != 4 or source[0] != 1 or (1 in axes and extremum)):
        graph.refuse(
            node,
            f"it reduces the axes {sorted(axes)}, NNIE pools over rows and columns of a map "
            "(1 x C x H x W) and sums channels by a convolution",
            "reduce over rows and columns (dim=(2, 3)), or on the CPU",
        )
    c = Composer(graph, node)
    value = c.input(0)
    if node.operator == "ReduceMin" and axes:
        value = c.negate(value)
    if axes & {2, 3}:
        value = _pool(c, value, axes, not extremum)
    if 1 in axes:
        value = _add_channels(c, value, node.operator == "ReduceMean")
    if node.operator == "ReduceSum":
        value = c.affine(value, float(math.prod(source[x] for x in axes & {2, 3})))
    if node.operator == "ReduceMin" and axes:
        value = c.negate(value)
    _name(c, value)


def _pool(c: Composer, value: Value, axes: set[int], average: bool) -> Value:
    height, width = value.shape[2:]
    window = (height if 2 in axes else 1, width if 3 in axes else 1)
    size = (*value.shape[:2], height // window[0], width // window[1])
    return c.layer("Pooling", [value], params=pooling(average, Window(window, window)), shape=size)


def _add_channels(c: Composer, value: Value, average: bool) -> Value:
    channels = value.shape[1]
    param = LayerParameter()
    set_window(param.convolution_param, (1, 1), (1, 1), (0, 0), (1, 1), 1, 1, False)
    weight = np.full((1, channels, 1, 1), 1 / channels if average else 1.0)
    shape = (1, 1, *value.shape[2:])
    return c.layer("Convolution", [value], [weight], param, shape)


def _axes(graph: Graph, node: Node, rank: int) -> set[int]:
    """The axes that are reduced: an attribute, or an input of newer versions."""
    given = node.attributes.get("axes")
    if given is None:
        value = graph.constant(node, 1)
        given = None if value is None else value.reshape(-1).tolist()
    if not given:
        return set() if node.get("noop_with_empty_axes", 0) else set(range(rank))
    return {int(x) % rank for x in given}


def _name(c: Composer, value: Value) -> None:
    """`value` is the node's output, reshaped where keepdims is 0."""
    target = c.target()
    if target == value.shape:
        c.done(value)
        return
    index = Move.of(value.blob, value.shape).index.reshape(target)

    def make() -> None:
        if not 2 <= len(target) <= 4 or target[0] != value.shape[0]:
            c.graph.refuse(
                c.node,
                f"it leaves {list(target)}, NNIE's blobs begin with the batch axis",
                "use keepdims=True",
            )
        param = LayerParameter()
        param.reshape_param.shape.dim.extend((0, *target[1:]))
        c.graph.add(c.node, "Reshape", [value.blob], params=param)

    place(c.graph, c.node.outputs[0], Move(value.blob, value.shape, index), make)

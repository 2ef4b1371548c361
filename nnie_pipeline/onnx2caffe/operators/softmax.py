"""Softmax and LogSoftmax."""

from __future__ import annotations

import math

from nnie_pipeline.caffe.caffe_pb2 import LayerParameter
from nnie_pipeline.caffe.compose import Value
from nnie_pipeline.caffe.net import Shape
from nnie_pipeline.onnx2caffe.graph import Graph, Node, converts
from nnie_pipeline.onnx2caffe.operators.compose import Composer


@converts("Softmax")
def softmax(graph: Graph, node: Node) -> None:
    """Softmax along one axis; along several together (before opset 13) between two Reshapes.

    Not along the batch axis.
    """
    c = Composer(graph, node)
    value = c.input(0)
    shape = value.shape
    axis = node.get("axis", -1 if graph.opset >= 13 else 1) % len(shape)
    joined = graph.opset < 13 and any(x != 1 for x in shape[axis + 1 :])
    if joined and axis == 0 and shape[0] == 1:
        axis = 1
    if axis == 0:
        graph.refuse(
            node,
            "it goes along the batch axis, NNIE's Softmax along channels, rows or columns",
            "use the axis of the classes (dim=1)",
        )
    flat = _joined(shape, axis) if joined else shape
    c.done(_reshape(c, _softmax(c, _reshape(c, value, flat), axis), shape))


def _joined(shape: Shape, axis: int) -> Shape:
    """`shape` with everything from `axis` on as one axis, filled up to four axes."""
    if axis == len(shape) - 1:
        return shape
    flat = (*shape[:axis], math.prod(shape[axis:]))
    return (*flat, *(1,) * (4 - len(flat)))


def _softmax(c: Composer, value: Value, axis: int) -> Value:
    param = LayerParameter()
    param.softmax_param.axis = axis
    return c.layer("Softmax", [value], params=param)


def _reshape(c: Composer, value: Value, shape: Shape) -> Value:
    if value.shape == shape:
        return value
    param = LayerParameter()
    param.reshape_param.shape.dim.extend((0, *shape[1:]))
    return c.layer("Reshape", [value], params=param, shape=shape)


@converts("LogSoftmax")
def log_softmax(graph: Graph, node: Node) -> None:
    """Refused: the logarithm of a Softmax that rounded to 0 is infinite."""
    graph.refuse(
        node,
        "NNIE has no LogSoftmax, and Log behind Softmax is infinite where Softmax rounds to 0",
        "export Softmax or the scores before it, and take the logarithm on the CPU",
    )

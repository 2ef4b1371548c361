"""Gemm and MatMul."""

from __future__ import annotations

import math

import numpy as np

from nnie_pipeline.caffe.caffe_pb2 import LayerParameter
from nnie_pipeline.caffe.net import Array
from nnie_pipeline.onnx2caffe import moves
from nnie_pipeline.onnx2caffe.graph import Graph, Move, Node, converts
from nnie_pipeline.onnx2caffe.operators.moving import place


@converts("Gemm")
def gemm(graph: Graph, node: Node) -> None:
    """InnerProduct, with alpha and beta in its weights.

    One vector, a constant matrix, no transA. A Reshape or Transpose before it only changes the
    order of the weights.
    """
    weight = _matrix(graph, node)
    bias = graph.weight(node, 2)
    if node.get("transA", 0):
        graph.refuse(
            node,
            "it transposes its input (transA), InnerProduct does not",
            "export a plain fully connected layer (torch.nn.Linear)",
        )
    weight = weight if node.get("transB", 0) else weight.T
    weight = weight * np.float32(node.get("alpha", 1.0))
    if bias is not None:
        bias = np.broadcast_to(bias, (1, weight.shape[0])).reshape(-1)
        bias = bias * np.float32(node.get("beta", 1.0))
    _inner_product(graph, node, weight, bias)


@converts("MatMul")
def mat_mul(graph: Graph, node: Node) -> None:
    """InnerProduct.

    The right factor is a constant matrix, the left one vector.
    """
    if not graph.is_constant(node.inputs[1]):
        graph.refuse(
            node,
            "its factors are both computed or the weight stands on the left, NNIE's InnerProduct "
            "multiplies a vector by a weight",
            "use torch.nn.Linear, or do the product on the CPU",
        )
    _inner_product(graph, node, _matrix(graph, node).T, None)


def _matrix(graph: Graph, node: Node) -> Array:
    weight = graph.weight(node, 1)
    assert weight is not None
    if weight.ndim != 2:
        graph.refuse(
            node,
            f"its weight has the shape {list(weight.shape)}, InnerProduct takes a matrix",
            "use torch.nn.Linear",
        )
    return weight


def _inner_product(graph: Graph, node: Node, weight: Array, bias: Array | None) -> None:
    """Caffe flattens the blob itself; a moved input's order goes into the weight's columns."""
    source = graph.shape(node, node.inputs[0])
    target = graph.shape(node, node.outputs[0])
    if math.prod(source) != weight.shape[1] or len(source) < 2:
        graph.refuse(
            node,
            f"it multiplies {math.prod(source) // weight.shape[1]} rows of {weight.shape[1]} "
            "numbers, NNIE's InnerProduct takes one vector",
            "flatten the map before it, or write it as a 1x1 convolution",
        )
    blob, weight = _ordered(graph, node, weight)
    param = LayerParameter()
    param.inner_product_param.num_output = weight.shape[0]
    param.inner_product_param.bias_term = bias is not None
    weights = [weight] if bias is None else [weight, bias]
    flat = (1, weight.shape[0])
    if target == flat:
        graph.add(node, "InnerProduct", [blob], weights, param)
        return
    made = graph.add(node, "InnerProduct", [blob], weights, param, suffix="product")
    result = Move(made, flat, Move.of(made, flat).index.reshape(target))

    def make() -> None:
        shape = LayerParameter()
        shape.reshape_param.shape.dim.extend((0, *target[1:]))
        graph.add(node, "Reshape", [made], params=shape)

    place(graph, node.outputs[0], result, make)


def _ordered(graph: Graph, node: Node, weight: Array) -> tuple[str, Array]:
    """The blob that holds the node's input, and the weight in that blob's order."""
    name = node.inputs[0]
    if graph.is_moved(name):
        move = graph.move(node, name)
        places, size = move.index.reshape(-1), math.prod(move.shape)
        if move.shape[0] == 1 and moves.keeps_order(move):
            return move.blob, weight
        if move.shape[0] == 1 and size <= places.size:
            columns = np.zeros((size, weight.shape[0]), np.float32)
            np.add.at(columns, places[places >= 0], weight.T[places >= 0])
            return move.blob, columns.T
    return graph.blob(node, name), weight

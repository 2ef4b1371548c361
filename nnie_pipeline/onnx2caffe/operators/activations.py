"""Activations: the ones that NNIE has, and those that its layers compose."""

from __future__ import annotations

import math

import numpy as np

from nnie_pipeline.caffe.caffe_pb2 import LayerParameter
from nnie_pipeline.caffe.compose import PROD, SUM, Value
from nnie_pipeline.onnx2caffe.graph import Graph, Node, converts
from nnie_pipeline.onnx2caffe.operators.compose import Composer
from nnie_pipeline.onnx2caffe.operators.constants import canonical


@converts("Relu")
def relu(graph: Graph, node: Node) -> None:
    """ReLU."""
    c = Composer(graph, node)
    c.done(c.relu(c.input(0)))


@converts("Sigmoid")
def sigmoid(graph: Graph, node: Node) -> None:
    """Sigmoid."""
    c = Composer(graph, node)
    c.done(c.layer("Sigmoid", [c.input(0)]))


@converts("Tanh")
def tanh(graph: Graph, node: Node) -> None:
    """TanH."""
    c = Composer(graph, node)
    c.done(c.layer("TanH", [c.input(0)]))


@converts("LeakyRelu")
def leaky_relu(graph: Graph, node: Node) -> None:
    """ReLU with a negative slope."""
    c = Composer(graph, node)
    param = LayerParameter()
    param.relu_param.negative_slope = node.get("alpha", 0.01)
    c.done(c.layer("ReLU", [c.input(0)], params=param))


@converts("PRelu")
def prelu(graph: Graph, node: Node) -> None:
    """PReLU with a slope a channel or one for all; slopes that vary over the map by Scale.

    Those are relu(x) - slope * relu(-x): the parts never overlap, so nothing is rounded twice.
    Computed slopes are refused.
    """
    c = Composer(graph, node)
    value = c.input(0)
    slope = graph.constant(node, 1)
    assert slope is not None
    slopes = canonical(graph, node, slope, value.shape)
    if slopes.ndim > 1:
        negative = c.affine(c.relu(c.negate(value)), slopes)
        c.done(c.eltwise(SUM, [c.relu(value), negative], [1, -1]))
        return
    param = LayerParameter()
    param.prelu_param.channel_shared = slope.size == 1
    count = 1 if slope.size == 1 else value.shape[1]
    c.done(c.layer("PReLU", [value], [np.broadcast_to(slopes, (count,))], param))


@converts("Elu")
def elu(graph: Graph, node: Node) -> None:
    """ELU."""
    c = Composer(graph, node)
    c.done(_elu(c, c.input(0), node.get("alpha", 1.0)))


def _elu(c: Composer, value: Value, alpha: float) -> Value:
    param = LayerParameter()
    param.elu_param.alpha = alpha
    return c.layer("ELU", [value], params=param)


@converts("Selu")
def selu(graph: Graph, node: Node) -> None:
    """ELU times gamma."""
    c = Composer(graph, node)
    alpha, gamma = node.get("alpha", 1.6732632423543772), node.get("gamma", 1.0507009873554805)
    c.done(c.affine(_elu(c, c.input(0), alpha), gamma))


@converts("Celu")
def celu(graph: Graph, node: Node) -> None:
    """alpha * ELU(x / alpha), for a positive alpha."""
    c = Composer(graph, node)
    alpha = node.get("alpha", 1.0)
    if alpha <= 0:
        graph.refuse(node, f"its alpha is {alpha:.6g}, no positive number", "use a positive alpha")
    c.done(c.affine(_elu(c, c.affine(c.input(0), 1 / alpha), 1.0), alpha))


@converts("Softplus")
def softplus(graph: Graph, node: Node) -> None:
    """BNLL, which is the same function."""
    c = Composer(graph, node)
    c.done(c.layer("BNLL", [c.input(0)]))


@converts("Softsign")
def softsign(graph: Graph, node: Node) -> None:
    """x times (|x| + 1) to the power -1: AbsVal, Bias, Power, Eltwise PROD."""
    c = Composer(graph, node)
    value = c.input(0)
    inverse = c.power(c.affine(c.layer("AbsVal", [value]), 1.0, 1.0), -1)
    c.done(c.eltwise(PROD, [value, inverse]))


@converts("Mish")
def mish(graph: Graph, node: Node) -> None:
    """x times TanH of BNLL."""
    c = Composer(graph, node)
    value = c.input(0)
    c.done(c.eltwise(PROD, [value, c.layer("TanH", [c.layer("BNLL", [value])])]))


@converts("Swish")
def swish(graph: Graph, node: Node) -> None:
    """x times Sigmoid of alpha * x."""
    c = Composer(graph, node)
    c.done(c.swish(c.input(0), node.get("alpha", 1.0)))


@converts("Gelu")
def gelu(graph: Graph, node: Node) -> None:
    """With approximate="tanh": x times Sigmoid of a cubic polynomial; the exact one is refused.

    0.5 * (1 + tanh(y)) = sigmoid(2 y), here with y = sqrt(2 / pi) * (x + 0.044715 x^3).
    """
    if node.get("approximate", "none") != "tanh":
        refuse_erf(graph, node)
    c = Composer(graph, node)
    value = c.input(0)
    cubic = c.affine(c.power(value, 3), 0.044715)
    double = c.affine(c.eltwise(SUM, [value, cubic]), 2 * math.sqrt(2 / math.pi))
    c.done(c.eltwise(PROD, [value, c.layer("Sigmoid", [double])]))


@converts("Erf")
def refuse_erf(graph: Graph, node: Node) -> None:
    """Refused: NNIE has no error function."""
    graph.refuse(
        node,
        "NNIE has no layer for the error function (erf)",
        'use torch.nn.GELU(approximate="tanh"), or another activation, and train with it',
    )


@converts("ThresholdedRelu")
def thresholded_relu(graph: Graph, node: Node) -> None:
    """x times Threshold (1 where x > alpha, else 0)."""
    c = Composer(graph, node)
    value = c.input(0)
    param = LayerParameter()
    param.threshold_param.threshold = node.get("alpha", 1.0)
    c.done(c.eltwise(PROD, [value, c.layer("Threshold", [value], params=param)]))

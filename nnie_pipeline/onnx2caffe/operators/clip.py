"""Clip, HardSigmoid and HardSwish: values kept between two bounds (forms: `caffe.compose`)."""

from __future__ import annotations

import math

from nnie_pipeline.onnx2caffe.graph import Graph, Node, converts
from nnie_pipeline.onnx2caffe.operators.compose import Composer
from nnie_pipeline.onnx2caffe.operators.constants import LARGEST


@converts("Clip")
def clip(graph: Graph, node: Node) -> None:
    """ReLU6 as ReLU, Bias and ReLU, Eltwise SUM with coefficients 1 and -1: relu(x) - relu(x - 6).

    A lower bound above 0 is taken off before and added behind (Bias); one below 0 makes it
    x + relu(low - x) - relu(x - high). A single bound is ReLU or Eltwise MAX with a constant
    blob (Scale by 0 and Bias), of the negated value (Power) for an upper one. Computed bounds
    are refused.
    """
    c = Composer(graph, node)
    low, high = _bound(graph, node, 1, "min"), _bound(graph, node, 2, "max")
    c.done(c.clip(c.input(0), low, high))


def _bound(graph: Graph, node: Node, index: int, attribute: str) -> float:
    """A bound: an attribute before opset 11, an input that may be missing from then on."""
    missing = -math.inf if attribute == "min" else math.inf
    given = node.get(attribute, None)
    constant = graph.constant(node, index) if given is None else None
    if constant is not None:
        if constant.size != 1:
            graph.refuse(node, f"its bound {attribute} is no single number", "use a single number")
        given = float(constant.reshape(-1)[0])
    if given is None:
        return missing
    if math.isnan(given):
        graph.refuse(node, f"its bound {attribute} is not a number", "use a number")
    if abs(given) < LARGEST:
        return float(given)
    # The operator's own defaults are the largest float32 values.
    if (given > 0) != (missing > 0):
        graph.refuse(
            node, f"its bound {attribute} of {given:.6g} leaves no value", "remove the bound"
        )
    return missing


@converts("HardSigmoid")
def hard_sigmoid(graph: Graph, node: Node) -> None:
    """Scale with bias (alpha, beta), kept in 0..1 by ReLU and Eltwise MAX with a constant blob."""
    c = Composer(graph, node)
    c.done(c.hard_sigmoid(c.input(0), node.get("alpha", 0.2), node.get("beta", 0.5)))


@converts("HardSwish")
def hard_swish(graph: Graph, node: Node) -> None:
    """x times HardSigmoid with alpha 1/6 and beta 1/2."""
    c = Composer(graph, node)
    c.done(c.hard_swish(c.input(0)))

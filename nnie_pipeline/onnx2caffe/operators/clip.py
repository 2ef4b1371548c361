"""Clip, HardSigmoid and HardSwish: values kept between two bounds.

Why ReLU6 is relu(x) - relu(x - 6): it needs no Power with a shift, which users report failing
on the mapper (public article on ReLU6 for NNIE), and no blob of constants, which nobody has
reported from a board and which the mapper warns of as data containing only zeros. It has the
smallest error in the number format at the output of ReLU6. Rms errors measured at 8 bits on
Laplace activations (scale 2.5, up to 20, 4 percent above 6), when only Eltwise and convolutions
quantise what they read / when every layer does; at the output of ReLU6, behind the quantisation
of the next layer, and of x * ReLU6(x + 3) / 6:

    relu(x) - relu(x - 6)      0.024 / 0.023   0.029 / 0.029   0.088 / 0.073
    -max(-relu(x), -6)         0.029 / 0.029   0.029 / 0.029   0.037 / 0.040
    6 - relu(6 - relu(x))      0.021 / 0.078   0.029 / 0.081   0.037 / 0.063

The last form has no Eltwise, so the first view quantises nothing in it; the article measured
0.056 for it, and 0.025 for the chosen one. The products of HardSwish carry the error of a
difference of large numbers, so HardSigmoid and HardSwish keep the maximum.

Why a lower bound below 0 is not relu(x - low) - relu(x - high) + low: the format is fine near 0,
and the shift takes the values away from there (rms of Clip(-10..10) 0.138 against 0.040 for
x + relu(low - x) - relu(x - high), of Clip(-100..100) 1.27 against 0.045); with bounds such as
those of float16 even float32 rounds them. The sum changes no value between the bounds.
"""

from __future__ import annotations

import math

from nnie_pipeline.onnx2caffe.graph import Graph, Node, converts
from nnie_pipeline.onnx2caffe.operators.compose import PROD, SUM, Composer, Value
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
    bounded = _difference if -math.inf < low < high < math.inf else between
    c.done(bounded(c, c.input(0), low, high))


def _difference(c: Composer, value: Value, low: float, high: float) -> Value:
    """min(max(value, low), high) for low < high; numbers far above `high` round in float32."""
    if low < 0:
        below = c.relu(c.affine(value, -1.0, low))
        above = c.relu(c.affine(value, 1.0, -high))
        return c.eltwise(SUM, [value, below, above], (1, 1, -1))
    risen = c.relu(c.affine(value, 1.0, -low))
    above = c.relu(c.affine(value, 1.0, -high))
    return c.affine(c.eltwise(SUM, [risen, above], (1, -1)), 1.0, low)


def between(c: Composer, value: Value, low: float, high: float) -> Value:
    """min(max(value, low), high), bit for bit; an infinite bound is none."""
    if low > -math.inf:
        value = c.at_least(value, low)
    if high < math.inf:
        value = c.at_most(value, high)
    return value


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
    c.done(_hard_sigmoid(c, c.input(0), node.get("alpha", 0.2), node.get("beta", 0.5)))


def _hard_sigmoid(c: Composer, value: Value, alpha: float, beta: float) -> Value:
    return between(c, c.affine(value, alpha, beta), 0.0, 1.0)


@converts("HardSwish")
def hard_swish(graph: Graph, node: Node) -> None:
    """x times HardSigmoid with alpha 1/6 and beta 1/2."""
    c = Composer(graph, node)
    value = c.input(0)
    c.done(c.eltwise(PROD, [value, _hard_sigmoid(c, value, 1 / 6, 0.5)]))

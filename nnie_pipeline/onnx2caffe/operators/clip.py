"""Clip, HardSigmoid and HardSwish: values kept between two bounds.

Why ReLU6 is -max(-relu(x), -6): no number is rounded, whatever its size; no Power has a
shift, which users report failing (public article on ReLU6 for NNIE); and of the exact forms
it has the smallest error in the number format. Rms errors measured at 8 bits on Laplace
activations (scale 2.5, up to 20, 4 percent above 6), behind the quantisation of the next
layer, when only Eltwise and convolutions quantise what they read / when every layer does; of
ReLU6, and of the exported x * ReLU6(x + 3) / 6:

    -max(-relu(x), -6)         0.029 / 0.029   0.037 / 0.040
    relu(x) - relu(x - 6)      0.029 / 0.029   0.088 / 0.073
    6 - relu(6 - relu(x))      0.029 / 0.081   0.037 / 0.063

The difference of two large numbers has their error. At the output of ReLU6 itself it is 0.024
against 0.029, as 6 is no level of the format; the next layer rounds 6 all the same. In a
MobileFaceNet with 32 ReLU6 the forms do equally well (cosine 0.950 to 0.951).
"""

from __future__ import annotations

import math

from nnie_pipeline.onnx2caffe.graph import Graph, Node, converts
from nnie_pipeline.onnx2caffe.operators.compose import PROD, Composer, Value
from nnie_pipeline.onnx2caffe.operators.constants import LARGEST


@converts("Clip")
def clip(graph: Graph, node: Node) -> None:
    """ReLU or Eltwise MAX with a constant blob below; the same of the negated value above.

    ReLU6 is -max(-relu(x), -6): ReLU, Power (scale -1), Eltwise MAX with a blob of -6 (Scale
    by 0 and Bias), Power (scale -1). Computed bounds are refused.
    """
    c = Composer(graph, node)
    low, high = _bound(graph, node, 1, "min"), _bound(graph, node, 2, "max")
    c.done(between(c, c.input(0), low, high))


def between(c: Composer, value: Value, low: float, high: float) -> Value:
    """min(max(value, low), high); an infinite bound is none."""
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
    """Scale with bias (alpha, beta), then kept between 0 and 1 as Clip is."""
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

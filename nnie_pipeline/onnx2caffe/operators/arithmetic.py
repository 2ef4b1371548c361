"""Add, Sub, Sum, Mean, Mul, Div, Max and Min of computed values and constants."""

from __future__ import annotations

import math

import numpy as np

from nnie_pipeline.caffe.compose import MAX, SUM, Value, stored_well
from nnie_pipeline.onnx2caffe.graph import Graph, Node, converts
from nnie_pipeline.onnx2caffe.operators import broadcast
from nnie_pipeline.onnx2caffe.operators.broadcast import expand
from nnie_pipeline.onnx2caffe.operators.compose import Composer
from nnie_pipeline.onnx2caffe.operators.constants import canonical, fold


@converts("Add", "Sub", "Sum", "Mean")
def add(graph: Graph, node: Node) -> None:
    """Eltwise SUM with coefficients; Bias with a constant or with one computed number a channel.

    Mean has the coefficients 1/n. c - x is a Scale by -1 with the bias c. A value added to
    itself is a Power; adding 0 is nothing. Computed maps that broadcast in another way
    (1 x 1 x H x W, 1 x C x H x 1, ...) are repeated first, at most 255 times a side.
    """
    c = Composer(graph, node)
    target = c.target()
    share = 1 / len(node.inputs) if node.operator == "Mean" else 1.0
    # A coefficient that 20.12 does not hold well becomes a layer of its own.
    inside, after = (share, 1.0) if stored_well(share) else (1.0, share)
    terms: dict[Value, float] = {}
    offsets = []
    computed = iter(_computed(c))
    for i, name in enumerate(node.inputs):
        sign = -1.0 if node.operator == "Sub" and i else 1.0
        if graph.is_constant(name):
            offsets.append(graph.constants[name].astype(np.float64) * sign * share)
        else:
            value = next(computed)
            terms[value] = terms.get(value, 0.0) + sign * inside
    offset = canonical(graph, node, fold(np.add, offsets, 0.0), target)
    if len(terms) == 1:
        value, factor = next(iter(terms.items()))
        total, after = expand(c, value, target), after * factor
    else:
        total = _sum(c, terms)
    c.done(c.affine(total, after, offset))


def _sum(c: Composer, terms: dict[Value, float]) -> Value:
    """The sum of the values times their factors, those of the full shape first."""
    target = c.target()
    largest = max(terms, key=lambda x: math.prod(x.shape))
    full = {x: y for x, y in terms.items() if x.shape == target or x == largest}
    total = c.eltwise(SUM, [expand(c, x, target) for x in full], list(full.values()))
    for value, factor in terms.items():
        if value not in full:
            total = broadcast.add(c, total, c.affine(value, factor), target)
    return total


@converts("Mul")
def multiply(graph: Graph, node: Node) -> None:
    """Eltwise PROD; with a constant Power or Scale; Scale with one computed number a channel.

    A single constant number is the scale of a Power, several are a Scale; x * x is a Power;
    multiplying by 1 is nothing. Computed maps that broadcast in another way are repeated
    first, as for Add.
    """
    c = Composer(graph, node)
    target = c.target()
    constants = [graph.constants[x] for x in node.inputs if graph.is_constant(x)]
    values = _computed(c)
    if constants:
        factor = canonical(graph, node, fold(np.multiply, constants, 1.0), target)
        c.done(c.affine(expand(c, values[0], target), factor))
    elif values[0] == values[1]:
        c.done(c.power(values[0], 2))
    else:
        c.done(broadcast.multiply(c, values[0], values[1], target))


@converts("Div")
def divide(graph: Graph, node: Node) -> None:
    """Multiplication by the reciprocal: of a constant, or of a computed divisor by Power -1.

    A constant divisor must not hold 0.
    """
    c = Composer(graph, node)
    target = c.target()
    dividend, divisor = node.inputs
    if graph.is_constant(divisor):
        value = graph.constants[divisor].astype(np.float64)
        if not value.all():
            graph.refuse(node, "it divides by 0", "remove the division from the model")
        c.done(
            c.affine(
                expand(c, c.value(dividend), target), canonical(graph, node, 1 / value, target)
            )
        )
        return
    inverse = c.power(c.value(divisor), -1)
    if graph.is_constant(dividend):
        factor = canonical(graph, node, graph.constants[dividend], target)
        c.done(c.affine(expand(c, inverse, target), factor))
    else:
        c.done(broadcast.multiply(c, c.value(dividend), inverse, target))


@converts("Max", "Min")
def extreme(graph: Graph, node: Node) -> None:
    """Eltwise MAX, a constant as a blob (Scale by 0 and Bias); ReLU for max(x, 0).

    min(a, b) is -max(-a, -b), with a Power of scale -1 before and behind. The smaller of
    several shapes is repeated first.
    """
    c = Composer(graph, node)
    target = c.target()
    sign = -1.0 if node.operator == "Min" else 1.0
    constants = [
        sign * graph.constants[x].astype(np.float64) for x in node.inputs if graph.is_constant(x)
    ]
    values = [expand(c, x, target) for x in dict.fromkeys(_computed(c))]
    turned = sign < 0 and len(values) + len(constants) > 1
    result = c.eltwise(MAX, [c.negate(x) for x in values] if turned else values)
    if constants:
        bound = canonical(graph, node, fold(np.maximum, constants, -math.inf), target)
        result = c.at_least(result, bound)
    c.done(c.negate(result) if turned else result)


def _computed(c: Composer) -> list[Value]:
    """The inputs that are no constants.

    Raises:
        NotExpressibleError: there is none.
    """
    values = [c.value(x) for x in c.node.inputs if not c.graph.is_constant(x)]
    if not values:
        c.graph.refuse(
            c.node,
            "all its inputs are constants, Caffe's layers take computed blobs",
            "simplify the model first (onnxslim model.onnx simplified.onnx)",
        )
    return values

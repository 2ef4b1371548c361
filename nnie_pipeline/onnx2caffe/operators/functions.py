"""Neg, Abs, Sqrt, Reciprocal, Pow, Exp and Log."""

from __future__ import annotations

import itertools

import numpy.typing as npt

from nnie_pipeline.caffe.caffe_pb2 import LayerParameter
from nnie_pipeline.onnx2caffe.graph import Graph, Node, converts
from nnie_pipeline.onnx2caffe.operators.broadcast import expand
from nnie_pipeline.onnx2caffe.operators.compose import Composer
from nnie_pipeline.onnx2caffe.operators.constants import canonical

_EXPONENTS = (1.0, 2.0, 3.0, 0.5, -0.5, -1.0, -2.0, -3.0)
"""What NNIE's Power knows (HiSVP development guide, table 3-2)."""


@converts("Neg")
def negative(graph: Graph, node: Node) -> None:
    """Power with scale -1."""
    c = Composer(graph, node)
    c.done(c.negate(c.input(0)))


@converts("Abs")
def absolute(graph: Graph, node: Node) -> None:
    """AbsVal."""
    c = Composer(graph, node)
    c.done(c.layer("AbsVal", [c.input(0)]))


@converts("Sqrt")
def square_root(graph: Graph, node: Node) -> None:
    """Power with exponent 1/2."""
    c = Composer(graph, node)
    c.done(c.power(c.input(0), 0.5))


@converts("Reciprocal")
def reciprocal(graph: Graph, node: Node) -> None:
    """Power with exponent -1."""
    c = Composer(graph, node)
    c.done(c.power(c.input(0), -1))


@converts("Exp")
def exponential(graph: Graph, node: Node) -> None:
    """Exp with base e."""
    c = Composer(graph, node)
    c.done(c.layer("Exp", [c.input(0)]))


@converts("Log")
def logarithm(graph: Graph, node: Node) -> None:
    """Log with base e."""
    c = Composer(graph, node)
    c.done(c.layer("Log", [c.input(0)]))


@converts("Pow")
def power(graph: Graph, node: Node) -> None:
    """Power with the exponent, where it is -3, -2, -1, -1/2, 1/2, 1, 2, 3 or a product of two.

    A positive constant to a computed exponent is Exp with that base; a computed value to a
    computed exponent is refused.
    """
    c = Composer(graph, node)
    base, exponent = node.inputs
    if graph.is_constant(base) and not graph.is_constant(exponent):
        _constant_to_the(c, graph.constants[base], exponent)
        return
    if not graph.is_constant(exponent):
        graph.refuse(
            node,
            "its exponent is computed by the network, NNIE's Power has a constant one",
            "export the model with a constant exponent",
        )
    wanted = canonical(graph, node, graph.constants[exponent], c.target())
    steps = None if wanted.ndim else _steps(float(wanted))
    if steps is None:
        given = "differs from channel to channel" if wanted.ndim else f"is {float(wanted):.6g}"
        graph.refuse(
            node,
            f"its exponent {given}, NNIE's Power knows -3, -2, -1, -1/2, 1/2, 1, 2 and 3",
            "use one of these exponents or a product of two of them",
        )
    value = expand(c, c.value(base), c.target())
    for step in steps:
        value = c.affine(value, 0.0, 1.0) if step == 0 else c.power(value, step)
    c.done(value)


def _steps(exponent: float) -> tuple[float, ...] | None:
    """The exponents of the Power layers, one behind the other, that make `exponent`."""
    if exponent == 1:
        return ()
    if exponent in (0.0, *_EXPONENTS):
        return (exponent,)
    return next(
        (x for x in itertools.product(_EXPONENTS, repeat=2) if x[0] * x[1] == exponent), None
    )


def _constant_to_the(c: Composer, base: npt.ArrayLike, exponent: str) -> None:
    number = canonical(c.graph, c.node, base, c.target())
    if number.ndim or number <= 0:
        given = "several numbers" if number.ndim else f"{float(number):.6g}"
        c.graph.refuse(
            c.node,
            f"its base is {given}, NNIE's Exp has one positive base",
            "use a single positive base",
        )
    param = LayerParameter()
    param.exp_param.base = float(number)
    value = expand(c, c.value(exponent), c.target())
    c.done(c.layer("Exp", [value], params=param))

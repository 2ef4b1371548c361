"""Caffe layers that together compute one ONNX node.

A converter takes its inputs as `Value`s, makes further ones and ends with `done`, which gives
the last of them the name of the node's output.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from nnie_pipeline.caffe.caffe_pb2 import EltwiseParameter, LayerParameter
from nnie_pipeline.caffe.net import Array, Shape
from nnie_pipeline.onnx2caffe.graph import Graph, Node
from nnie_pipeline.onnx2caffe.operators.constants import Constant, stored_well

SUM = EltwiseParameter.SUM
PROD = EltwiseParameter.PROD
MAX = EltwiseParameter.MAX
_MOST_BOTTOMS = 32


@dataclass(frozen=True)
class Value:
    """A Caffe blob and its shape."""

    blob: str
    shape: Shape


@dataclass(frozen=True)
class Composer:
    """Appends the layers of `node` to `graph`."""

    graph: Graph
    node: Node

    def input(self, index: int) -> Value:
        """The node's input as a computed value."""
        return self.value(self.node.inputs[index])

    def value(self, name: str) -> Value:
        """The value with this ONNX name."""
        return Value(self.graph.blob(self.node, name), self.graph.shape(self.node, name))

    def target(self) -> Shape:
        """The shape of the node's output."""
        return self.graph.shape(self.node, self.node.outputs[0])

    def done(self, value: Value) -> None:
        """Make `value` the node's output; one that has an ONNX name already keeps it."""
        output = self.node.outputs[0]
        if value.blob in self.graph.blobs.values():
            self.graph.blobs[output] = value.blob
            return
        layer = next(x for x in self.graph.net.layers if value.blob in x.tops)
        name = self.graph.name_for(output)
        layer.name = name
        layer.tops = [name]
        self.graph.blobs[output] = name

    def layer(
        self,
        kind: str,
        bottoms: Sequence[Value],
        weights: Sequence[npt.NDArray[np.floating]] = (),
        params: LayerParameter | None = None,
        shape: Shape | None = None,
    ) -> Value:
        """A layer of type `kind`; its top has the first bottom's shape unless `shape` is given."""
        stored: list[Array] = [np.asarray(x, dtype=np.float32) for x in weights]
        blobs = [x.blob for x in bottoms]
        blob = self.graph.add(self.node, kind, blobs, stored, params, suffix=kind.lower())
        return Value(blob, bottoms[0].shape if shape is None else shape)

    def power(self, value: Value, exponent: float = 1, scale: float = 1, shift: float = 0) -> Value:
        """(shift + scale * value) ** exponent."""
        param = LayerParameter()
        for name, number, neutral in (
            ("power", exponent, 1), ("scale", scale, 1), ("shift", shift, 0)
        ):  # fmt: skip
            if number != neutral:
                setattr(param.power_param, name, number)
        return self.layer("Power", [value], params=param)

    def negate(self, value: Value) -> Value:
        """-value."""
        return self.power(value, scale=-1)

    def affine(
        self, value: Value, factor: Constant | float = 1.0, addend: Constant | float = 0.0
    ) -> Value:
        """factor * value + addend, both in the form of `constants.canonical`.

        A factor alone is a Power, all else a Scale or Bias: users report that NNIE does not
        add the shift of a Power (public article on ReLU6 for NNIE). Power keeps its factor in
        20.12 fixed point (HiSVP development guide, table 3-2), so one that suffers from that
        is a Scale too. Nothing is made where nothing changes.
        """
        a, b = np.asarray(factor, np.float64), np.asarray(addend, np.float64)
        scaled, shifted = bool((a != 1).any()), bool((b != 0).any())
        if not scaled and not shifted:
            return value
        if len(value.shape) < 2:
            return self._affine_without_channels(value, a, b)
        if scaled and not shifted and a.ndim == 0 and stored_well(float(a)):
            return self.power(value, scale=float(a))
        if scaled and shifted and max(a.ndim, b.ndim) > 1:
            return self.affine(self.affine(value, a), 1.0, b)
        varies = max(a.ndim, b.ndim) > 1
        weights = [
            np.array(x if varies else np.broadcast_to(x, value.shape[1:2]))
            for x, wanted in ((a, scaled), (b, shifted))
            if wanted
        ]
        param = LayerParameter()
        chosen = param.scale_param if scaled else param.bias_param
        chosen.axis = 1
        if varies:
            chosen.num_axes = -1
        if scaled and shifted:
            param.scale_param.bias_term = True
        return self.layer("Scale" if scaled else "Bias", [value], weights, param)

    def _affine_without_channels(self, value: Value, a: Constant, b: Constant) -> Value:
        if a.ndim or b.ndim:
            self.graph.refuse(
                self.node,
                "NNIE's Scale and Bias lie along the channel axis, its input has none",
                "keep the batch axis in front (shape 1 x C)",
            )
        return self.power(value, scale=float(a), shift=float(b))

    def eltwise(
        self, operation: int, values: Sequence[Value], coeff: Sequence[float] = ()
    ) -> Value:
        """Sum (with coefficients), product or maximum of values of one shape.

        More than 32 values, the limit of a layer (HiSVP development guide, table 3-2), are
        joined step by step.
        """
        coefficients = list(coeff) or [1.0] * len(values)
        if len(values) == 1:
            return self.affine(values[0], coefficients[0])
        head, rest = values[:_MOST_BOTTOMS], values[_MOST_BOTTOMS:]
        param = LayerParameter()
        param.eltwise_param.operation = operation  # type: ignore[assignment]
        if any(x != 1 for x in coefficients):
            param.eltwise_param.coeff.extend(coefficients[:_MOST_BOTTOMS])
        joined = self.layer("Eltwise", head, params=param)
        if not rest:
            return joined
        return self.eltwise(operation, [joined, *rest], [1.0, *coefficients[_MOST_BOTTOMS:]])

    def relu(self, value: Value) -> Value:
        """max(value, 0)."""
        return self.layer("ReLU", [value])

    def at_least(self, value: Value, bound: Constant | float) -> Value:
        """max(value, bound) for a constant bound, bit for bit.

        The bound becomes a blob (Scale by 0 and Bias), because relu(x - b) + b rounds.
        """
        if not np.any(bound):
            return self.relu(value)
        return self.eltwise(MAX, [value, self.affine(value, 0.0, bound)])

    def at_most(self, value: Value, bound: Constant | float) -> Value:
        """min(value, bound) for a constant bound, bit for bit: NNIE's Eltwise knows MAX only."""
        return self.negate(self.at_least(self.negate(value), -np.asarray(bound, np.float64)))

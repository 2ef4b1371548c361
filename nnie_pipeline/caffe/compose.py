"""Values composed of several layers that NNIE has, and the functions that are made this way.

`Composition` says how a layer is added: the converter does it to the network it makes, a
rewrite pass to the layers that take another's place.

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
from abc import ABC, abstractmethod
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NoReturn

import numpy as np
import numpy.typing as npt

from nnie_pipeline.caffe.caffe_pb2 import EltwiseParameter, LayerParameter
from nnie_pipeline.caffe.net import Shape

Constant = npt.NDArray[np.float64]

SUM = EltwiseParameter.SUM
PROD = EltwiseParameter.PROD
MAX = EltwiseParameter.MAX
_MOST_BOTTOMS = 32
_Q12 = 4096.0
_Q12_LIMIT = 2.0**19
_TOLERANCE = 2.0**-11


@dataclass(frozen=True)
class Value:
    """A Caffe blob and its shape."""

    blob: str
    shape: Shape


def stored_well(value: float) -> bool:
    """Whether 20.12 fixed point changes `value` by less than 0.05 percent.

    That is a fifth of the largest rounding error of NNIE's 16-bit numbers (0.27 percent).
    """
    stored = round(value * _Q12) / _Q12
    return abs(value) < _Q12_LIMIT and abs(stored - value) <= abs(value) * _TOLERANCE


class Composition(ABC):
    """Layers added one behind the other."""

    @abstractmethod
    def layer(
        self,
        kind: str,
        bottoms: Sequence[Value],
        weights: Sequence[npt.NDArray[np.floating]] = (),
        params: LayerParameter | None = None,
        shape: Shape | None = None,
    ) -> Value:
        """A layer of type `kind`; its top has the first bottom's shape unless `shape` is given."""

    @abstractmethod
    def refuse_without_channels(self) -> NoReturn:
        """Raise: a value a channel is asked for where there is no channel axis."""

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
        """factor * value + addend, both one number, (C,), or of the value's shape[1:].

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
            self.refuse_without_channels()
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

    def clip(self, value: Value, low: float, high: float) -> Value:
        """min(max(value, low), high) as a sum of ReLUs; numbers far above `high` round in float32.

        With one infinite bound, or two that leave one number, as `between`.
        """
        if not -math.inf < low < high < math.inf:
            return self.between(value, low, high)
        if low < 0:
            below = self.relu(self.affine(value, -1.0, low))
            above = self.relu(self.affine(value, 1.0, -high))
            return self.eltwise(SUM, [value, below, above], (1, 1, -1))
        risen = self.relu(self.affine(value, 1.0, -low))
        above = self.relu(self.affine(value, 1.0, -high))
        return self.affine(self.eltwise(SUM, [risen, above], (1, -1)), 1.0, low)

    def between(self, value: Value, low: float, high: float) -> Value:
        """min(max(value, low), high), bit for bit; an infinite bound is none."""
        if low > -math.inf:
            value = self.at_least(value, low)
        if high < math.inf:
            value = self.at_most(value, high)
        return value

    def hard_sigmoid(self, value: Value, alpha: float, beta: float) -> Value:
        """alpha * value + beta, kept in 0..1."""
        return self.between(self.affine(value, alpha, beta), 0.0, 1.0)

    def hard_swish(self, value: Value) -> Value:
        """value times its hard_sigmoid with 1/6 and 1/2."""
        return self.eltwise(PROD, [value, self.hard_sigmoid(value, 1 / 6, 0.5)])

    def swish(self, value: Value, beta: float = 1.0) -> Value:
        """value times the Sigmoid of beta * value."""
        gate = self.layer("Sigmoid", [self.affine(value, beta)])
        return self.eltwise(PROD, [value, gate])

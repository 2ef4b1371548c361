"""One convolution of the chip with its followers, computed in whole numbers."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np

from nnie_pipeline.caffe.net import Array, Net, Shape
from nnie_pipeline.engine.onnxruntime_engine import Session
from nnie_pipeline.quant.assumptions import Assumptions
from nnie_pipeline.quant.fixed import FixedConvolution
from nnie_pipeline.quant.operations import WEIGHTED, Operation
from nnie_pipeline.quant.ranges import Ranges, offsets
from nnie_pipeline.quant.stored import with_coefficients
from nnie_pipeline.quant.unit import Quantised, as_levels, as_outputs
from nnie_pipeline.quant.widths import FLOAT
from nnie_pipeline.quant.words import WordsOf, affine_behind


def is_fixed(step: Operation, bits: int) -> bool:
    """Whether an operation's arithmetic is known down to whole numbers.

    That of an InnerProduct is not: no compiled file tells how its sums are scaled.
    """
    leader = step.leader
    weighted = leader.type in WEIGHTED and leader.type != "InnerProduct" and bool(leader.weights)
    return bits != FLOAT and step.quantises and weighted


class FixedUnit:
    """As `Unit`, for an operation that `is_fixed`.

    The tops before the last affine layer are what the sum stands for on its way, rounded to
    Q20.12; the chip never stores them. Activations read the result in Q20.12, and what they
    make is rounded again.
    """

    def __init__(
        self,
        step: Operation,
        bits: int,
        ranges: Ranges,
        shapes: Mapping[str, Shape],
        assumptions: Assumptions,
        words_of: WordsOf,
    ) -> None:
        self.step = step
        self.bits = bits
        self.bottoms = list(step.leader.bottoms)
        self._outputs = assumptions.outputs
        self._z = offsets(step, bits, ranges, assumptions.picture == "fixed", False)[0]
        words = words_of(step, bits, [self._z], shapes, assumptions)
        assert words is not None
        bottom = shapes[self.bottoms[0]]
        self._convolution = FixedConvolution(step.leader, words, bits, bottom, assumptions)
        self._affine = affine_behind(step, shapes)
        rest = step.layers[1 + len(self._affine) :]
        self._rest: Session | None = None
        if rest:
            first = rest[0].bottoms[0]
            tops = [x for layer in rest for x in layer.tops]
            layers = [with_coefficients(x, assumptions) for x in rest]
            self._rest = Session(Net("part", {first: shapes[first]}, layers, tops[-1:]), tops)

    def run(self, values: Mapping[str, Array], quantised: Quantised) -> dict[str, Array]:
        """All tops, made of `values`; `quantised` keeps what is quantised on the way."""
        name = self.bottoms[0]
        levels = as_levels(name, values[name], self.bits, self._z, quantised)
        value, result = self._convolution.run(levels)
        last = self.step.leader.tops[0]
        made = {last: value}
        for layer, (factor, addend) in self._affine:
            along = (1, -1, 1, 1)
            value = (value * factor.reshape(along) + addend.reshape(along)).astype(np.float32)
            last = layer.tops[0]
            made[last] = as_outputs(value, self._outputs)
        made[last] = result
        if self._rest is not None:
            found = self._rest.run({last: result})
            made.update((k, as_outputs(v, self._outputs)) for k, v in found.items())
        return made

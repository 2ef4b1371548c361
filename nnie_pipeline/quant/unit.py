"""One operation of the chip, ready to run."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from nnie_pipeline.caffe.net import Array, Net, Shape
from nnie_pipeline.engine.onnxruntime_engine import Session
from nnie_pipeline.quant import gfpq
from nnie_pipeline.quant.assumptions import USUAL, Assumptions
from nnie_pipeline.quant.operations import Operation
from nnie_pipeline.quant.ranges import Ranges, offsets
from nnie_pipeline.quant.stored import as_stored
from nnie_pipeline.quant.widths import FLOAT
from nnie_pipeline.quant.words import WordsOf, own_words

Quantised = dict[tuple[str, int, int], Array]
"""Values quantised before, by name, bits and z."""


class Unit:
    """An operation with its numbers of `bits`; `wanted` are the tops to give back (all)."""

    def __init__(
        self,
        step: Operation,
        bits: int,
        ranges: Ranges,
        shapes: Mapping[str, Shape],
        assumptions: Assumptions = USUAL,
        wanted: Sequence[str] | None = None,
        words_of: WordsOf = own_words,
    ) -> None:
        self.step = step
        self.bits = bits
        self.bottoms = list(dict.fromkeys(step.leader.bottoms))
        self._outputs = assumptions.outputs
        self._z: dict[str, int] = {}
        found: list[int] = []
        if bits != FLOAT and step.quantises:
            shared = step.leader.type == "Concat" or (
                step.leader.type == "Eltwise" and assumptions.eltwise == "shared"
            )
            found = offsets(step, bits, ranges, assumptions.picture == "fixed", shared)
            self._z = dict(zip(step.leader.bottoms, found, strict=True))
        layers = as_stored(step, bits, found, shapes, assumptions, words_of)
        part = Net("part", {x: shapes[x] for x in self.bottoms}, layers, step.tops[-1:])
        self._session = Session(part, step.tops if wanted is None else wanted)

    def run(self, values: Mapping[str, Array], quantised: Quantised) -> dict[str, Array]:
        """The wanted tops, made of `values`; `quantised` keeps what is quantised on the way."""
        feed = {
            x: as_levels(x, values[x], self.bits, self._z[x], quantised)
            if x in self._z
            else values[x]
            for x in self.bottoms
        }
        made = self._session.run(feed)
        if self.bits == FLOAT:
            return made
        return {k: as_outputs(v, self._outputs) for k, v in made.items()}


def as_levels(name: str, array: Array, bits: int, z: int, done: Quantised) -> Array:
    """The value `name` quantised with `z`, as `done` has it or will have it from now on."""
    key = (name, bits, z)
    if key not in done:
        result = np.empty_like(array, order="C")
        gfpq.quantize_into(np.ascontiguousarray(array), bits, z, result)
        done[key] = result
    return done[key]


def as_outputs(array: Array, rule: str) -> Array:
    """What an operation makes, in Q20.12 by the switch `outputs`."""
    if rule == "exact":
        return array
    if rule == "down":
        array = array - np.float32(1 / 8192)
    return gfpq.round_q20_12(array)

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
from nnie_pipeline.quant.stored import Store, as_stored
from nnie_pipeline.quant.widths import FLOAT

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
        store: Store = as_stored,
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
        layers = store(step, bits, found, shapes, assumptions)
        part = Net("part", {x: shapes[x] for x in self.bottoms}, layers, step.tops[-1:])
        self._session = Session(part, step.tops if wanted is None else wanted)

    def run(self, values: Mapping[str, Array], quantised: Quantised) -> dict[str, Array]:
        """The wanted tops, made of `values`; `quantised` keeps what is quantised on the way."""
        feed = {
            x: self._quantise(x, values[x], quantised) if x in self._z else values[x]
            for x in self.bottoms
        }
        made = self._session.run(feed)
        if self.bits == FLOAT:
            return made
        return {k: self._stored(v) for k, v in made.items()}

    def _quantise(self, name: str, array: Array, done: Quantised) -> Array:
        key = (name, self.bits, self._z[name])
        if key not in done:
            result = np.empty_like(array, order="C")
            gfpq.quantize_into(np.ascontiguousarray(array), self.bits, self._z[name], result)
            done[key] = result
        return done[key]

    def _stored(self, array: Array) -> Array:
        if self._outputs == "exact":
            return array
        if self._outputs == "down":
            array = array - np.float32(1 / 8192)
        return gfpq.round_q20_12(array)

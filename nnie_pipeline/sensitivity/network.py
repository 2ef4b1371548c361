"""A network whose operations can run in float or in the chip's numbers, one by one."""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Mapping
from dataclasses import dataclass, field

from nnie_pipeline.caffe.net import Array, Net
from nnie_pipeline.caffe.shapes import infer
from nnie_pipeline.chips.cost import macs
from nnie_pipeline.quant.assumptions import USUAL, Assumptions
from nnie_pipeline.quant.operations import Operation, operations
from nnie_pipeline.quant.ranges import Ranges
from nnie_pipeline.quant.unit import Quantised, Unit
from nnie_pipeline.quant.widths import FLOAT


@dataclass(frozen=True)
class Study:
    """A network, the width that is studied (8 or 16), its ranges and the switches. Picklable."""

    net: Net
    bits: int
    ranges: Ranges
    assumptions: Assumptions = USUAL


@dataclass
class Work:
    """How much was computed: layers run, and their multiplications."""

    layers: int = 0
    macs: int = 0


@dataclass
class Counted:
    """The values of a run, and what computing them took."""

    values: dict[str, Array]
    work: Work = field(default_factory=Work)


class StudyNetwork:
    """All operations of a study at each of `widths` (`FLOAT`, 8, 16), ready to run.

    Operations on the CPU are always float. `steps` are the operations in execution order,
    `studied` the numbers of those whose inputs are quantised.
    """

    def __init__(self, study: Study, widths: tuple[int, ...]) -> None:
        net = study.net
        shapes = infer(net)
        self.net = net
        self.steps: list[Operation] = operations(net, study.assumptions)
        self.studied = [i for i, x in enumerate(self.steps) if x.quantises]
        self._units = {
            bits: [
                Unit(
                    x, FLOAT if x.on_cpu else bits, study.ranges, shapes, study.assumptions,
                    x.layers[-1].tops,
                )
                for x in self.steps
            ]
            for bits in widths
        }  # fmt: skip
        self._macs = [
            sum(
                int(macs(y, [shapes[b] for b in y.bottoms], [shapes[t] for t in y.tops]))
                for y in x.layers
            )
            for x in self.steps
        ]
        self._last_reader = {name: i for i, x in enumerate(self.steps) for name in x.leader.bottoms}

    @property
    def whole(self) -> Work:
        """What one forward pass takes."""
        return Work(sum(len(x.layers) for x in self.steps), sum(self._macs))

    def run(self, feed: Mapping[str, Array], bits: list[int]) -> Counted:
        """What every operation stores, each at its bits (a number for each of `steps`)."""
        return self._from(0, feed, bits, keep=True)

    def outputs(self, feed: Mapping[str, Array], bits: list[int]) -> dict[str, Array]:
        """The outputs of a run with each operation at its bits."""
        values = {**feed, **self._from(0, feed, bits, keep=False, all_run=True).values}
        return {x: values[x] for x in self.net.outputs}

    def changed(self, base: Mapping[str, Array], start: int, bits: list[int]) -> Counted:
        """The outputs that change when the operations from `start` on run with `bits`.

        `base` are the values of a run in which only operations from `start` on had other bits,
        `start` itself among them. Nothing runs that does not depend on operation `start`.
        """
        return self._from(start, base, bits, keep=False)

    def _from(
        self,
        start: int,
        base: Mapping[str, Array],
        bits: list[int],
        keep: bool,
        all_run: bool = False,
    ) -> Counted:
        found: dict[str, Array] = {}
        values = ChainMap(found, base)  # type: ignore[arg-type]
        quantised: Quantised = {}
        work = Work()
        outputs = set(self.net.outputs)
        for i in range(start, len(self.steps)):
            unit = self._units[bits[i]][i]
            if not (keep or all_run or i == start) and not any(x in found for x in unit.bottoms):
                continue
            found.update(unit.run(values, quantised))
            work.layers += len(unit.step.layers)
            work.macs += self._macs[i]
            for name in unit.bottoms:
                if self._last_reader[name] == i:
                    for key in [x for x in quantised if x[0] == name]:
                        del quantised[key]
                    if not keep and name not in outputs:
                        found.pop(name, None)
        if not keep:
            found = {k: v for k, v in found.items() if k in outputs}
        return Counted(found, work)

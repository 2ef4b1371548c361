"""BatchNorm layers whose dump looks broken although what their operation ends with is not."""

from __future__ import annotations

from dataclasses import dataclass

from nnie_pipeline.report.plot import ORANGE, spread
from nnie_pipeline.report.runs import Run
from nnie_pipeline.report.study_records import BatchNorm, NetworkDrawn

_WORSE = 1.25
"""An angle this much larger than that of the operation's end is no accident."""


@dataclass(frozen=True)
class Misleading:
    """A BatchNorm with the cosines of its operation's first layer, of itself and of the end."""

    layer: BatchNorm
    before: float | None
    cosine: float
    end: float


def misleading(network: NetworkDrawn, run: Run) -> list[Misleading]:
    """Those of the run, the worst first.

    Named is a BatchNorm inside an operation whose cosine RuyiStudio colours, and whose angle to
    float is larger than that of the operation's first layer, and by a quarter than that of its
    end: what the chip stores is the end.
    """
    cosines = {x.name: x.cosine for x in run.layers}
    found = []
    for layer in network.batch_norms:
        own, end = cosines.get(layer.layer), cosines.get(layer.behind or "")
        before = cosines.get(layer.before or "")
        angle, last, first = (-(spread(x) or 0.0) for x in (own, end, before))
        if own is None or end is None or own >= ORANGE:
            continue
        if angle > _WORSE * last and angle > first:
            found.append(Misleading(layer, before, own, end))
    return sorted(found, key=lambda x: x.cosine)

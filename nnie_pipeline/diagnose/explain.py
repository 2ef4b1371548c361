"""Which cause explains a dump best.

Every hypothesis is recomputed and scored by its distance to the dump (`distance.score`). The
dump is healthy where the right run lies as near as float rounding, or as the number format
costs and no cause comes clearly nearer. A cause explains it where it comes clearly nearer than
the right run and leaves little unexplained.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

from nnie_pipeline.caffe.net import Array
from nnie_pipeline.diagnose.case import FLOAT, Case
from nnie_pipeline.diagnose.causes import CAUSES
from nnie_pipeline.diagnose.distance import FLOOR, UNLIKE, distance, score
from nnie_pipeline.diagnose.hypothesis import Cause, Hypothesis, UnjudgedError, Values
from nnie_pipeline.diagnose.predict import HEALTHY

SAME = 0.01
"""Distances of all blobs below are no difference: float rounding, 20.12's of small blobs."""

SMALL = 0.02
"""A distance that other calibration pictures make, and no outcome notices (cosine 0.9996)."""

EXACT = 3 * FLOOR
"""Nothing is left to explain where a cause brings the score down to this."""

BAD = 0.1
"""A distance above is a cosine below 0.99, RuyiStudio's red, for blobs of one length."""

CLEARLY = 0.6
"""A cause has to bring the score down to this share of the right run's; where the dump lies
further from float than its numbers cost, both are taken above that cost."""

EXPLAINS = 0.35
"""A cause that leaves a larger score explains too little to be named."""

TIE = 1.25
"""Scores within this factor fit equally well."""

NOISE, NOISE_OF_ONE = 1.6, 2.5
"""How much further from float than its simulation a healthy dump of the same width may lie, in
the mean of its blobs and in each of them."""

_NEAR, _MOST_NEAR = 1.2, 2
"""Variants of one cause are simulated if they lie this near to its best in float, so many."""

_REFINED = 3
"""Hypotheses that are tried again with ranges of their own."""

Predict = Callable[[Hypothesis, int, bool], Values | None]
State = Literal["healthy", "explained", "unexplained"]


@dataclass(frozen=True)
class Explanation:
    """A cause's best variant: its score, and the largest distance of a blob and of an output."""

    cause: Cause
    variant: str
    bits: int
    score: float
    worst: float
    outputs: float


@dataclass(frozen=True)
class Diagnosis:
    """What was found. `right` is the score of the right run, at `bits`.

    `ranked` holds every cause that could be tried, the best first; `tied` those of its first
    that explain the dump equally well; `unjudged` why others could not be tried (by name).
    `costs` is the score of float against the right run at `bits`: what the numbers cost.
    `first_bad` is the first value of the dump that is not near the right run's.
    """

    state: State
    bits: int
    right: float
    outputs: float
    from_float: float
    costs: float
    ranked: tuple[Explanation, ...]
    tied: tuple[Explanation, ...]
    unjudged: Mapping[str, str]
    blobs: int
    first_bad: str | None = None

    @property
    def cause(self) -> Explanation | None:
        """The best explanation, if one explains the dump."""
        return self.ranked[0] if self.state == "explained" else None


def explain(case: Case, dump: Mapping[str, Array], predict: Predict) -> Diagnosis:
    """Diagnose `dump`: values of the case's network by name, float32.

    `predict` is a `Predictor` (or one that remembers) for at least these values.
    """
    right = {x: _required(predict(HEALTHY, x, False)) for x in case.bits}
    scores = {x: score(y, dump) for x, y in right.items()}
    bits = min(scores, key=lambda x: scores[x])
    plain = _required(predict(HEALTHY, FLOAT, False))
    expected = {x: y for x, y in right[bits].items() if x in dump}
    causes, unjudged = _variants(case)
    trial = _Trial(case, dump, predict)
    worst = _worst(right[bits], dump)
    ranked = () if worst <= SAME else trial.ranked(causes)
    for cause in causes if ranked else ():
        if not any(x.cause is cause for x in ranked):
            unjudged[cause.name] = "it would change nothing here"
    from_float, costs = score(plain, dump), score(plain, expected)
    within = from_float <= max(NOISE * costs, SMALL) and all(
        distance(plain[x], y) <= NOISE_OF_ONE * distance(plain[x], expected[x]) + 2 * SMALL
        for x, y in dump.items()
    )
    state = judged(scores[bits], worst, within, costs, ranked)
    tied = _tied(ranked) if state == "explained" else ()
    return Diagnosis(
        state, bits, scores[bits], _outputs(case, right[bits], dump), from_float, costs, ranked,
        tied, unjudged, len(dump),
        next((x for x, y in dump.items() if distance(right[bits][x], y) > BAD), None),
    )  # fmt: skip


def judged(
    right: float, worst: float, within: bool, costs: float, ranked: tuple[Explanation, ...]
) -> State:
    """What the scores say: of the right run, with its worst blob, and of the causes, best first.

    `within` says that the dump lies as far from float as its numbers cost, `costs` how far.
    """
    if worst <= SAME:
        return "healthy"
    best = ranked[0] if ranked else None
    if best is not None and best.score <= EXPLAINS:
        clearly = best.score <= CLEARLY * right
        # A mistake near the end touches few blobs, which the mean hides.
        if clearly or (best.score < right and best.worst <= CLEARLY * worst):
            return "explained"
        # Two runs of unequal input round differently: no cause comes nearer than that noise.
        excess = _above(right, costs)
        if not within and excess and _above(best.score, costs) <= CLEARLY * excess:
            return "explained"
    return "healthy" if within else "unexplained"


def _above(distance_: float, noise: float) -> float:
    """What is left of a distance where `noise` is independent of the rest."""
    return math.sqrt(max(0.0, distance_ * distance_ - noise * noise))


def _tied(ranked: tuple[Explanation, ...]) -> tuple[Explanation, ...]:
    limit = max(ranked[0].score, FLOOR) * TIE
    found = tuple(x for x in ranked if x.score <= limit)
    return found if len(found) > 1 else ()


def _variants(case: Case) -> tuple[dict[Cause, list[Hypothesis]], dict[str, str]]:
    """The hypotheses of each cause that the case can tell about, and why it cannot of others."""
    causes: dict[Cause, list[Hypothesis]] = {}
    unjudged: dict[str, str] = {}
    for cause in CAUSES:
        try:
            causes[cause] = list(cause.variants(case))
        except UnjudgedError as error:
            unjudged[cause.name] = str(error)
    return causes, unjudged


@dataclass(frozen=True)
class _Trial:
    """Hypotheses tried on one dump."""

    case: Case
    dump: Mapping[str, Array]
    predict: Predict

    def ranked(self, causes: Mapping[Cause, Sequence[Hypothesis]]) -> tuple[Explanation, ...]:
        """The best variant of each cause, the best first."""
        found = [
            (result, hypothesis)
            for cause, hypotheses in causes.items()
            for hypothesis in self._likely(cause, hypotheses)
            for bits in hypothesis.bits or self.case.bits
            if (result := self._one(cause, hypothesis, bits)) is not None
        ]
        found.sort(key=lambda x: x[0].score)
        if found and found[0][0].score > EXACT and self.case.ranges is not None:
            found += [
                (result, hypothesis)
                for cause, hypothesis in self._nearest_in_float(found)
                for bits in self.case.bits
                if bits != FLOAT
                if (result := self._one(cause, hypothesis, bits, True)) is not None
            ]
        best: dict[str, Explanation] = {}
        for result, _ in sorted(found, key=lambda x: x[0].score):
            best.setdefault(result.cause.name, result)
        return tuple(best.values())

    def _nearest_in_float(
        self, found: Sequence[tuple[Explanation, Hypothesis]]
    ) -> list[tuple[Cause, Hypothesis]]:
        """What could be meant if the mapper calibrated with the mistake: nothing is clipped."""
        tried = {
            hypothesis.variant: (x.cause, hypothesis)
            for x, hypothesis in found
            if hypothesis.feed or hypothesis.net
        }
        scores = {
            name: result.score
            for name, (cause, hypothesis) in tried.items()
            if (result := self._one(cause, hypothesis, FLOAT)) is not None
        }
        return [tried[x] for x in sorted(scores, key=lambda x: scores[x])[:_REFINED]]

    def _likely(self, cause: Cause, hypotheses: Sequence[Hypothesis]) -> Sequence[Hypothesis]:
        """Of hypotheses that change the network those nearest in float: simulating is slow."""
        changed = [x for x in hypotheses if x.net is not None]
        if FLOAT in self.case.bits or len(changed) < 2:
            return hypotheses
        scores = [
            (result.score, number)
            for number, x in enumerate(changed)
            if (result := self._one(cause, x, FLOAT)) is not None
        ]
        near = min(scores, default=(0.0, 0))[0] * _NEAR
        kept = [changed[number] for value, number in sorted(scores)[:_MOST_NEAR] if value <= near]
        return [*(x for x in hypotheses if x.net is None), *kept]

    def _one(
        self, cause: Cause, hypothesis: Hypothesis, bits: int, own_ranges: bool = False
    ) -> Explanation | None:
        values = self.predict(hypothesis, bits, own_ranges)
        if values is None:
            return None
        if hypothesis.read is not None:
            values = hypothesis.read(values, self.dump)
        return Explanation(
            cause, hypothesis.variant, bits, score(values, self.dump),
            _worst(values, self.dump), _outputs(self.case, values, self.dump),
        )  # fmt: skip


def _outputs(case: Case, values: Values, dump: Mapping[str, Array]) -> float:
    """The largest distance of an output in the dump (of any value where none is)."""
    outputs = {x: dump[x] for x in case.net.outputs if x in dump}
    return _worst(values, outputs or dump)


def _worst(values: Values, dump: Mapping[str, Array]) -> float:
    return max(
        (distance(values[x], y) if x in values else UNLIKE for x, y in dump.items()), default=0.0
    )


def _required(values: Values | None) -> Values:
    assert values is not None
    return values

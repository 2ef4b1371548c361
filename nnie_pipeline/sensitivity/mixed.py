"""Which layers to give 16 bits: the fewest that reach a cosine, within a slowdown.

Layers are taken by how much error they cause alone for the time that 16 bits would add (and, as
a second try, by the error alone), each set is then simulated as it is, and layers that turn out
not to be needed are taken out again.
The time is the estimate of `chips.cost`, in which an operation takes twice as long with 16 bits
(RetinaFace at 640x640 on Hi3516DV300: 17 ms with 8 bits, 34 ms with 16; README of
hanson-young/nniefacelib).
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Any

from nnie_pipeline.caffe.net import Array, Net
from nnie_pipeline.caffe.shapes import infer
from nnie_pipeline.chips.chip import Chip
from nnie_pipeline.chips.cost import macs, milliseconds
from nnie_pipeline.chips.cost import operations as count_operations
from nnie_pipeline.errors import InputError
from nnie_pipeline.sensitivity.executors import results
from nnie_pipeline.sensitivity.mixes import MixTask, run_mixes
from nnie_pipeline.sensitivity.network import Study, StudyNetwork
from nnie_pipeline.sensitivity.study import LayerEffect, Measured, Summed

Feeds = Callable[[], Iterator[Mapping[str, Array]]]
Place = tuple[Executor, int] | None
Progress = Callable[[int, int], None]

_FINEST = 8
"""Up to so many sizes between two points of the curve are all simulated."""


@dataclass(frozen=True)
class Mix:
    """A set of 16-bit layers: the cosine of the worst output, and the time over that of 8 bit."""

    layers: tuple[str, ...]
    cosine: float
    slowdown: float

    def to_json(self) -> dict[str, Any]:
        """As mixed.json has it."""
        return {"layers": list(self.layers), "cosine": self.cosine, "slowdown": self.slowdown}


@dataclass(frozen=True)
class Plan:
    """What was found. `curve` goes from no 16-bit layer to all of them, by number of layers.

    `met`: whether `chosen` reaches the target within the slowdown; if not, it is the best mix
    within it.
    """

    chosen: Mix
    met: bool
    curve: tuple[Mix, ...]
    simulations: int


@dataclass(frozen=True)
class Costs:
    """Estimated milliseconds of each studied layer's operation with 8 bits, and of all."""

    layers: Mapping[str, float]
    total: float

    def slowdown(self, chosen: Sequence[str]) -> float:
        """Time with `chosen` at 16 bits over the time with 8 bits."""
        return 1 + sum(self.layers[x] for x in chosen) / self.total if self.total else 1.0


def costs_of(study: Study, chip: Chip) -> Costs:
    """The cost model's share of every operation of a network."""
    shapes = infer(study.net)
    network = StudyNetwork(study, ())
    found, total = {}, 0.0
    for i, step in enumerate(network.steps):
        part = Net("part", {}, list(step.layers), [])
        blocks = sum(
            int(
                macs(x, [shapes[b] for b in x.bottoms], [shapes[t] for t in x.tops], in_blocks=True)
            )
            for x in step.layers
        )
        time = 0.0
        if not step.on_cpu:
            time = float(milliseconds(blocks, count_operations(part, dict(shapes)), chip, 8))
        total += time
        if i in network.studied:
            found[step.leader.name] = time
    return Costs(found, total)


def plan(
    study: Study,
    effects: Sequence[LayerEffect],
    costs: Costs,
    feeds: Feeds,
    target: float,
    most: float,
    place: Place = None,
    progress: Progress | None = None,
) -> Plan:
    """The smallest set found whose cosine reaches `target` at a slowdown of at most `most`.

    Args:
        study: the network with 8 bits.
        effects: what each layer does alone (`study.measure`).
        costs: `costs_of` the same network.
        feeds: gives the pictures anew at every call.
        target: cosine with float that every output has to reach, above 0, below 1.
        most: slowdown, 1 to 2.
        place: where simulations run (`executors`), None for this process.
        progress: called with simulations done and expected.

    Raises:
        InputError: a target or slowdown out of range, or no picture.
    """
    if not 0 < target < 1:
        raise InputError(f"--target-cosine {target:g}: a cosine is above 0 and below 1")
    if not 1 <= most <= 2:
        raise InputError(f"--max-slowdown {most:g}: from 1 (8 bit) to 2 (16 bit)")
    search = Search(study, costs, feeds, place, progress)
    curve: list[Mix] = []
    reached: list[Mix] = []
    for order in _orders(effects, costs):
        within = _within(order, costs, most)
        rest = [x for x in order if x not in within]
        inside = search.mixes([within[:k] for k in _sizes(len(within))])
        curve += inside
        curve += search.mixes([[*within, *rest[:k]] for k in _sizes(len(rest))[1:]])
        first = next((i for i, x in enumerate(inside) if x.cosine >= target), None)
        if first is not None:
            low = len(inside[first - 1].layers) if first else -1
            chosen = search.fewest(within, low, inside[first], target)
            reached.append(search.without_needless(chosen, target))
    curve += reached
    unique = {frozenset(x.layers): x for x in sorted(curve, key=lambda x: x.slowdown)}
    ordered = tuple(sorted(unique.values(), key=lambda x: (len(x.layers), x.slowdown)))
    if reached:
        best = min(reached, key=lambda x: (len(x.layers), x.slowdown))
        return Plan(best, True, ordered, search.done)
    allowed = [x for x in ordered if x.slowdown <= most + 1e-9]
    best = max(allowed, key=lambda x: (x.cosine, -len(x.layers)))
    return Plan(best, False, ordered, search.done)


def _orders(effects: Sequence[LayerEffect], costs: Costs) -> list[list[str]]:
    """Layers by the error they cause alone for the time that 16 bits add, and by the error.

    The second finds what the first misses: many cheap layers may leave no time for a dear one
    that counts more than all of them.
    """
    least = min((x for x in costs.layers.values() if x > 0), default=1.0)
    worth = {x.name: x.only.error / max(costs.layers[x.name], least) for x in effects}
    error = {x.name: x.only.error for x in effects}
    return [sorted(x, key=lambda name: -x[name]) for x in (worth, error)]


def _within(order: Sequence[str], costs: Costs, most: float) -> list[str]:
    """The layers of `order` that fit into the time, each if it still does."""
    found: list[str] = []
    for name in order:
        if costs.slowdown([*found, name]) <= most + 1e-9:
            found.append(name)
    return found


def _sizes(most: int) -> list[int]:
    """0, 1, 2, 3, 4, 6, 8, 12, 16 ... and `most`."""
    found, step = [0], 1
    while found[-1] + step < most:
        found.append(found[-1] + step)
        size = found[-1]
        step = max(1, 1 << max(0, size.bit_length() - 2))
    return found if found[-1] == most else [*found, most]


class Search:
    """Simulates mixes on all pictures."""

    def __init__(
        self, study: Study, costs: Costs, feeds: Feeds, place: Place, progress: Progress | None
    ) -> None:
        self._study = study
        self._costs = costs
        self._feeds = feeds
        self._place = place
        self._progress = progress
        self._key = uuid.uuid4().hex
        self.done = 0
        """Simulations of the whole network, pictures times mixes."""

    def mixes(self, sets: Sequence[Sequence[str]]) -> list[Mix]:
        """Each set of 16-bit layers, simulated."""
        if not sets:
            return []
        sums = [Summed() for _ in sets]
        chosen = tuple(tuple(x) for x in sets)
        tasks = (
            MixTask(self._key, self._study, number, feed, chosen)
            for number, feed in enumerate(self._feeds())
        )
        pictures = 0
        for found in results(run_mixes, tasks, self._place):
            pictures += 1
            for total, errors in zip(sums, found, strict=True):
                total.add(errors)
            self.done += len(sets)
            if self._progress is not None:
                self._progress(self.done, self.done)
        if not pictures:
            raise InputError("no picture was run; a plan needs at least one")
        means: list[Measured] = [x.mean(pictures) for x in sums]
        return [
            Mix(tuple(x), 1 - y.error, self._costs.slowdown(x))
            for x, y in zip(chosen, means, strict=True)
        ]

    def fewest(self, order: Sequence[str], low: int, mix: Mix, target: float) -> Mix:
        """The shortest beginning of `order` between `low` layers, too few, and `mix`."""
        while len(mix.layers) - low > 1:
            high = len(mix.layers)
            step = max(1, (high - low) // _FINEST)
            between = self.mixes([order[:k] for k in range(low + step, high, step)])
            mix = next((x for x in between if x.cosine >= target), mix)
            low = max([low, *(len(x.layers) for x in between if len(x.layers) < len(mix.layers))])
            if step == 1:
                break
        return mix

    def without_needless(self, mix: Mix, target: float) -> Mix:
        """`mix` without layers, until it misses the target without any one of those left.

        Those that came last go first.
        """
        before = None
        while mix != before:
            before = mix
            for name in reversed(before.layers):
                (fewer,) = self.mixes([[x for x in mix.layers if x != name]])
                if fewer.cosine >= target:
                    mix = fewer
        return mix

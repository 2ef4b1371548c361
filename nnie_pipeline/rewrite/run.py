"""Run the passes, and after each compare the outputs with those before it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from nnie_pipeline.caffe.files import caffe_names
from nnie_pipeline.caffe.net import Array, Net
from nnie_pipeline.errors import CheckError
from nnie_pipeline.rewrite.passes import PASSES

TOLERANCE = 5e-4
"""Largest difference that a pass may make, as a share of the output's maximum.

Merging in float64 still moves outputs by about 1e-4 of their maximum, because float32 sums
run in another order.
"""

Runner = Callable[[Net], Sequence[Sequence[Array]]]
"""Runs a network on each test input and gives its outputs in order."""


@dataclass(frozen=True)
class Applied:
    """One pass that was run: what it changed, and how far outputs moved."""

    name: str
    reason: str
    changed: list[str]
    difference: float


@dataclass(frozen=True)
class Rewritten:
    """The new network, old to new names of blobs and layers, and the passes."""

    net: Net
    names: dict[str, str]
    passes: list[Applied]


def rewrite(net: Net, run: Runner, skip: Collection[str] = ()) -> Rewritten:
    """Apply every pass but those in `skip` to a copy of `net`.

    Raises:
        CheckError: a pass moved the outputs further than it may.
    """
    work = net.copy()
    for layer in work.layers:
        layer.in_place = False
    first_names = caffe_names(net)
    current = {x: x for x in work.values()}
    layer_names = {x.name: x.name for x in work.layers}
    before = run(work)
    applied = []
    for item in PASSES:
        if item.name in skip:
            continue
        changes = item.apply(work)
        after = run(work)
        difference = max_difference(before, after)
        limit = TOLERANCE if item.arithmetic else 0.0
        if not difference <= limit:
            raise CheckError(
                f"pass {item.name} moves an output by {difference:.3g} of its maximum, more "
                f"than {limit:g}; leave it out with --skip {item.name} and report the network"
            )
        before = after
        current = {x: changes.values.get(y, y) for x, y in current.items()}
        layer_names = {x: changes.layers.get(y, y) for x, y in layer_names.items()}
        applied.append(Applied(item.name, item.reason, changes.lines, difference))
    return Rewritten(work, _table(work, first_names, current, layer_names), applied)


def max_difference(left: Sequence[Sequence[Array]], right: Sequence[Sequence[Array]]) -> float:
    """The largest difference of two sets of outputs, as a share of each output's maximum."""
    worst = 0.0
    for one, other in zip(left, right, strict=True):
        if len(one) != len(other):
            return float("inf")
        for a, b in zip(one, other, strict=True):
            if a.shape != b.shape:
                return float("inf")
            largest = float(np.abs(a).max(initial=0.0))
            moved = float(np.abs(a - b).max(initial=0.0))
            if moved:
                worst = max(worst, moved / largest if largest else float("inf"))
            if not np.isfinite(moved):
                return float("inf")
    return worst


def _table(
    net: Net,
    first: Mapping[str, str],
    current: Mapping[str, str],
    layers: Mapping[str, str],
) -> dict[str, str]:
    """Old to new names in the files: blobs that still exist, and renamed layers.

    A blob that is worked on in place stands for its last value, in both networks.
    """
    last = caffe_names(net)
    table = {
        old: new
        for old, new in current.items()
        if old != new and first[old] == old and last.get(new) == new
    }
    for old, new in layers.items():
        if old != new:
            table.setdefault(old, new)
    return table

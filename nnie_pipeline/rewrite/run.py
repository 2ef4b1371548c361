"""Run the passes, and after each compare the outputs with those before it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np

from nnie_pipeline.caffe.files import caffe_names
from nnie_pipeline.caffe.net import Array, Net
from nnie_pipeline.errors import CheckError
from nnie_pipeline.rewrite import order
from nnie_pipeline.rewrite.base import Changes, Pass
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


def rewrite(
    net: Net,
    run: Runner,
    skip: Collection[str] = (),
    tolerance: float = TOLERANCE,
    order_like: Sequence[str] = (),
) -> Rewritten:
    """Apply every pass but those in `skip` to a copy of `net`.

    After each pass the outputs are compared with the same values before it; `tolerance` is
    what a pass that changes weights may move them, as a share of their maximum. `order_like`
    names the layers of a network whose order is known to work; it takes the place of the
    canonical order.

    Raises:
        CheckError: a pass moved the outputs further than it may.
        NotExpressibleError: a pass found what NNIE's Caffe cannot express.
    """
    work = net.copy()
    for layer in work.layers:
        layer.in_place = False
    first_names = caffe_names(net)
    current = {x: x for x in work.values()}
    layer_names = {x.name: x.name for x in work.layers}
    applied = []
    before: tuple[list[str], Sequence[Sequence[Array]]] | None = None
    for item in _passes(order_like):
        if item.name in skip:
            continue
        previous = work.copy()
        changes = item.apply(work)
        names = _before(work.outputs, changes)
        if before is None or before[0] != names:
            before = (names, run(_only(previous.copy(), names)))
        after = run(work)
        kept = dict.fromkeys(changes.values.get(x, x) for x in previous.outputs)
        if item.new_outputs or list(kept) == work.outputs:
            difference = max_difference(before[1], after)
        else:
            difference = float("inf")
        limit = tolerance if item.arithmetic else 0.0
        if not difference <= limit:
            raise CheckError(
                f"pass {item.name} moves an output by {difference:.3g} of its maximum, more "
                f"than {limit:g}; leave it out with --skip {item.name} and report the network"
            )
        before = (list(work.outputs), after)
        current = {x: changes.values.get(y, y) for x, y in current.items()}
        layer_names = {x: changes.layers.get(y, y) for x, y in layer_names.items()}
        applied.append(Applied(item.name, item.reason, changes.lines, difference))
    return Rewritten(work, _table(work, first_names, current, layer_names), applied)


def _passes(order_like: Sequence[str]) -> tuple[Pass, ...]:
    if not order_like:
        return PASSES
    as_known = Pass(
        "canonical-order",
        partial(order.like, names=order_like),
        arithmetic=False,
        reason="the order of a network that is known to work",
        new_outputs=True,
    )
    return tuple(as_known if x.name == as_known.name else x for x in PASSES)


def _before(outputs: Sequence[str], changes: Changes) -> list[str]:
    """The names that the outputs had before the pass."""
    old = {new: old for old, new in changes.values.items()}
    return [old.get(x, x) for x in outputs]


def _only(net: Net, outputs: list[str]) -> Net:
    """`net` with these outputs and what they need; what no pass keeps is never run."""
    net.outputs = outputs
    net.drop_unused()
    return net


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

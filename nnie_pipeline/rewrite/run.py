"""Run the passes, and after each compare the outputs with those before it."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from types import MappingProxyType

import numpy as np

from nnie_pipeline.caffe.files import caffe_names
from nnie_pipeline.caffe.net import Array, Net
from nnie_pipeline.errors import CheckError, NotExpressibleError
from nnie_pipeline.rewrite import in_place, order
from nnie_pipeline.rewrite.base import Apply, Changes, InputForm, Pass
from nnie_pipeline.rewrite.marks import REASON as WHY_MARKS
from nnie_pipeline.rewrite.marks import Marks
from nnie_pipeline.rewrite.marks import apply as add_marks
from nnie_pipeline.rewrite.passes import PASSES

TOLERANCE = 5e-4
"""Largest difference that a pass may make, as a share of the output's maximum.

Merging in float64 still moves outputs by about 1e-4 of their maximum, because float32 sums
run in another order.
"""

NO_MARKS = Marks()

_FUSING = 1e-5
"""What fusing layers moves at most; more than that is no rounding."""

Runner = Callable[[Net], Sequence[Sequence[Array]]]
"""Runs a network on each test input and gives its outputs in order."""


@dataclass(frozen=True)
class Applied:
    """One pass that was run: what it changed, and how far outputs moved.

    `before` is the network that it was given, `renamed` maps old to new names of layers.
    """

    name: str
    reason: str
    changed: list[str]
    difference: float
    before: Net
    renamed: dict[str, str]


def _as_it_is(net: Net) -> Net:
    return net


@dataclass(frozen=True)
class Rewritten:
    """The new network, old to new names of blobs and layers, and the passes.

    `input` is what stays to be done with pixels in front of it, where that was said. `values`
    maps the values of the old network to those of the new one, gone ones to themselves, and
    `as_before` gives the new network the inputs of the old one.
    """

    net: Net
    names: dict[str, str]
    passes: list[Applied]
    input: InputForm | None = None
    values: Mapping[str, str] = field(default_factory=dict)
    as_before: Callable[[Net], Net] = _as_it_is


def rewrite(
    net: Net,
    run: Runner,
    skip: Collection[str] = (),
    tolerance: float = TOLERANCE,
    order_like: Sequence[str] = (),
    apart: bool = False,
    marks: Marks = NO_MARKS,
    instead: Mapping[str, Apply] = MappingProxyType({}),
    run_apart: Runner | None = None,
) -> Rewritten:
    """Apply every pass but those in `skip` to a copy of `net`.

    After each pass the outputs are compared with the same values before it; `tolerance` is
    what a pass that changes weights may move them, as a share of their maximum. `order_like`
    names the layers of a network whose order is known to work; it takes the place of the
    canonical order. With `apart` no layer works in place. `marks` names layers to mark.
    `instead` has functions that run in place of those of the passes called so, with options set.
    `run_apart` runs every layer alone: it decides where `run`, which may fuse layers, gives other
    bits after a pass that only moves layers.

    Raises:
        InputError: a layer to mark is not there.
        CheckError: a pass moved the outputs further than it may.
        NotExpressibleError: a pass found what NNIE's Caffe cannot express.
    """
    marks.check(net)
    in_place_before = frozenset(x.name for x in net.layers if x.in_place)
    work = net.copy()
    for layer in work.layers:
        layer.in_place = False
        layer.weights = [_read_only(x) for x in layer.weights]
    first_names = caffe_names(net)
    current = {x: x for x in work.values()}
    layer_names = {x.name: x.name for x in work.layers}
    applied = []
    before: tuple[list[str], Sequence[Sequence[Array]]] | None = None
    left: InputForm | None = None
    as_before: Callable[[Net], Net] = _as_it_is
    for item in _passes(order_like, apart, marks, in_place_before):
        if item.name in skip:
            continue
        previous = work.copy()
        changes = instead.get(item.name, item.apply)(work)
        left = changes.input or left
        if _same(previous, work):
            applied.append(Applied(item.name, item.reason, changes.lines, 0.0, previous, {}))
            continue
        names = _before(work.outputs, changes)
        if before is None or before[0] != names:
            before = (names, run(_only(previous.copy(), names)))
        if changes.as_before is not None:
            as_before = changes.as_before
            run = _as_before(run, as_before)
            run_apart = run_apart and _as_before(run_apart, as_before)
        unchanged = _same_values(previous, work, changes.values, names)
        after = before[1] if unchanged else run(work)
        kept = dict.fromkeys(changes.values.get(x, x) for x in previous.outputs)
        if item.new_outputs or list(kept) == work.outputs:
            difference = max_difference(before[1], after)
        else:
            difference = float("inf")
        limit = tolerance if item.arithmetic else 0.0
        if limit < difference <= _FUSING and run_apart is not None:
            apart_before = run_apart(_only(previous.copy(), names))
            difference = max_difference(apart_before, run_apart(work))
        if not difference <= limit:
            raise CheckError(
                f"pass {item.name} moves an output by {difference:.3g} of its maximum, more "
                f"than {limit:g}; leave it out with --skip {item.name} and report the network"
            )
        before = (list(work.outputs), after)
        current = {x: changes.values.get(y, y) for x, y in current.items()}
        layer_names = {x: changes.layers.get(y, y) for x, y in layer_names.items()}
        applied.append(
            Applied(item.name, item.reason, changes.lines, difference, previous, changes.layers)
        )
    if not work.layers:
        raise NotExpressibleError(
            "nothing is left of the network that NNIE could run; name other outputs"
        )
    table = _table(work, first_names, current, layer_names)
    # A blob that is an input and overwritten stands for the input.
    for value in net.inputs:
        table.pop(first_names[value], None)
        if first_names[value] != current[value]:
            table[first_names[value]] = current[value]
    return Rewritten(work, table, applied, left, current, as_before)


def _as_before(run: Runner, change: Callable[[Net], Net]) -> Runner:
    """`run` for networks that take other inputs than those it has."""
    return lambda net: run(change(net))


def _passes(
    order_like: Sequence[str], apart: bool, marks: Marks, in_place_before: Collection[str]
) -> list[Pass]:
    """`PASSES` as they are asked for."""
    chosen = []
    for item in PASSES:
        if item.name == "canonical-order" and order_like:
            chosen.append(
                replace(
                    item,
                    apply=partial(order.like, names=order_like),
                    reason="the order of a network that is known to work",
                    new_outputs=True,
                )
            )
        elif item.name == "in-place-activations":
            if marks:
                # Before in place: what is reported must not be overwritten.
                chosen.append(
                    Pass("add-marks", partial(add_marks, marks=marks), False, WHY_MARKS, True)
                )
            if apart:
                chosen.append(Pass("own-tops", in_place.apart, False, in_place.REASON_APART))
            else:
                together = partial(in_place.apply, already=in_place_before)
                chosen.append(replace(item, apply=together))
        else:
            chosen.append(item)
    return chosen


def _same(before: Net, after: Net) -> bool:
    """Whether a pass left everything as it was, so that there is nothing to compare."""

    def named(net: Net) -> list[object]:
        return [(x.name, x.in_place) for x in net.layers]

    return named(before) == named(after) and _same_values(before, after, {}, before.outputs)


def _same_values(
    before: Net, after: Net, renamed: Mapping[str, str], outputs: Sequence[str]
) -> bool:
    """Whether `after` computes what `before` does, value for value, some of them `renamed`.

    Names of layers and what works in place are not looked at: they change no value.
    """

    def parts(net: Net, names: Mapping[str, str]) -> list[object]:
        def named(values: Iterable[str]) -> list[str]:
            return [names.get(x, x) for x in values]

        return [
            dict(zip(named(net.inputs), net.inputs.values(), strict=True)),
            [(x.type, named(x.bottoms), named(x.tops), x.params) for x in net.layers],
            [[id(y) for y in x.weights] for x in net.layers],
        ]

    same_outputs = [renamed.get(x, x) for x in outputs] == after.outputs
    return same_outputs and parts(before, renamed) == parts(after, {})


def _read_only(array: Array) -> Array:
    """`array` so that a pass can only replace it."""
    view: Array = array.view()
    view.flags.writeable = False
    return view


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
            if np.array_equal(a, b) and np.isfinite([a.min(initial=0.0), a.max(initial=0.0)]).all():
                continue
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

    A blob that is worked on in place stands for its last value, in both networks. A layer's new
    name stands here only when no blob goes by its old one.
    """
    last = caffe_names(net)
    table = {
        old: new
        for old, new in current.items()
        if old != new and first[old] == old and last.get(new) == new
    }
    for old, new in layers.items():
        if old != new and (old not in last or current.get(old) != old):
            table.setdefault(old, new)
    return table

"""Layers in canonical order, outputs in the order that is asked for.

A producer, then its followers, a branch kept together until its end, and what belongs to
one output only (head convolutions, Reshape and Softmax tails) last, output by output. Caffe
and the mapper list outputs in the order in which the layers make them.

Hypothesis: the author of "RetinaFace on NNIE" (zhihu p/111399987) cured wrong results on the
board by reordering layers alone and never learnt the rule. The published repair put each
context branch together, most ReLUs behind their producers, and the outputs grouped by kind
at the end; this pass does the same. Only hand-made orders are proven on a board.
"""

from __future__ import annotations

from nnie_pipeline.caffe.net import Layer, Net
from nnie_pipeline.rewrite.base import Changes

REASON = (
    "the mapper compiled the same layers in another order into a network with wrong results "
    "(hypothesis: keep branches together, output tails last)"
)


def apply(net: Net) -> Changes:
    """Sort the layers; a layer that no output needs is left out."""
    old = [x.name for x in net.layers]
    shared = _shared(net)
    needed = _depth_first(net)
    first = [x for x in needed if id(x) in shared]
    net.layers = first + [x for x in needed if id(x) not in shared]
    new = [x.name for x in net.layers]
    moved = [x for x, y in zip(new, old, strict=False) if x != y]
    return Changes([f"{x} moved" for x in moved])


def _shared(net: Net) -> set[int]:
    """Layers that more than one output depends on."""
    needed_by: dict[str, set[str]] = {x: {x} for x in net.outputs}
    shared = set()
    for layer in reversed(net.layers):
        outputs = set().union(*(needed_by.get(x, set()) for x in layer.tops))
        if len(outputs) > 1:
            shared.add(id(layer))
        for bottom in layer.bottoms:
            needed_by.setdefault(bottom, set()).update(outputs)
    return shared


def _depth_first(net: Net) -> list[Layer]:
    """Every layer that an output needs, each behind what it reads, bottoms in their order."""
    producers = net.producers()
    ordered: list[Layer] = []
    seen: set[int] = set()
    done: set[int] = set()
    # A stack instead of recursion: networks may be deeper than Python's call stack.
    stack = [(x, False) for x in reversed(net.outputs)]
    while stack:
        value, bottoms_done = stack.pop()
        layer = producers.get(value)
        if layer is None:
            continue
        if bottoms_done and id(layer) not in done:
            done.add(id(layer))
            ordered.append(layer)
        elif id(layer) not in seen:
            seen.add(id(layer))
            stack.append((value, True))
            stack.extend((x, False) for x in reversed(layer.bottoms))
    return ordered

"""Layers in canonical order, outputs in the order that is asked for.

Given:   trunk, branch a1, branch b1, a2 reads a1, b2 reads b1, join reads a2 and b2
Result:  trunk, a1, a2, b1, b2, join

The order is a hypothesis. The author of "RetinaFace on NNIE" (hanson-young, zhihu p/111399987)
had a network that pycaffe ran rightly; the mapper compiled it without an error, and the board's
results were wrong. Reordering the layers in the prototxt alone cured it, and he never learnt the
rule. Measured on that network, as exported (Charrin/RetinaFace-Cpp) and as it ran on the board
(nniefacelib, mnet.prototxt), the repair changed three things, which this pass does to any network:

- a context branch that stood torn apart stands in one block, before the upsampling behind it:
  here a layer stands right behind what it reads, and a branch is finished before the next begins;
- most in-place ReLUs directly follow their producers (14 stood apart before, 7 after, so being
  neighbours is not the whole rule): here all do;
- the outputs are grouped by kind instead of by stride, and what belongs to one output only (head
  convolutions, Reshape and Softmax tails) stands last, output by output. Caffe and the mapper
  list outputs in the order in which the layers make them, and the compiled file has that order.

Only hand-made orders are proven on a board; `like` takes one of those.
"""

from __future__ import annotations

import difflib
from collections.abc import Sequence

from nnie_pipeline.caffe.net import Layer, Net
from nnie_pipeline.caffe.shapes import infer
from nnie_pipeline.errors import InputError
from nnie_pipeline.rewrite.base import Changes

REASON = (
    "the mapper compiled the same layers in another order into a network with wrong results on the "
    "board (a hypothesis: followers behind their producers, branches together, output tails last)"
)

_TAILS = frozenset({"Flatten", "Permute", "Reshape", "Softmax"})


def apply(net: Net) -> Changes:
    """Sort the layers; a layer that no output needs is left out."""
    old = [x.name for x in net.layers]
    shared = _shared(net)
    needed = _depth_first(net)
    first = [x for x in needed if id(x) in shared]
    net.layers = first + [x for x in needed if id(x) not in shared]
    return Changes(_moves(old, net))


def like(net: Net, names: Sequence[str]) -> Changes:
    """Sort the layers as another network has them: `names` are its layers in order.

    A layer that is not named there stands behind the last of those it reads. The outputs then
    come in the order in which the layers make them.

    Raises:
        InputError: no layer is named there, or a layer would stand before one it reads.
    """
    place = {name: (i, 0) for i, name in enumerate(names)}
    producers = net.producers()
    if not any(x.name in place for x in net.layers):
        raise InputError("the network to order like has no layer of this network's names")
    for layer in net.layers:
        if layer.name not in place:
            makers = [producers[x].name for x in layer.bottoms if x in producers]
            behind = max((place[x] for x in makers), default=(-1, 0))
            place[layer.name] = (behind[0], behind[1] + 1)
    old = [x.name for x in net.layers]
    net.layers.sort(key=lambda x: place[x.name])
    made = set(net.inputs)
    for layer in net.layers:
        early = [x for x in layer.bottoms if x not in made]
        if early:
            raise InputError(
                f"in the network to order like, layer {layer.name} stands before "
                f"{producers[early[0]].name}, which it reads"
            )
        made.update(layer.tops)
    net.outputs.sort(key=list(net.values()).index)
    return Changes(_moves(old, net))


def in_order(old: Sequence[str], new: Sequence[str]) -> set[str]:
    """The names of `new` that need no move to get there from the order of `old`."""
    blocks = difflib.SequenceMatcher(None, old, new, autojunk=False).get_matching_blocks()
    return {x for block in blocks for x in new[block.b : block.b + block.size]}


def _moves(old: Sequence[str], net: Net) -> list[str]:
    """One line for each layer that moved or that no output needs."""
    new = [x.name for x in net.layers]
    stayed = in_order(old, new)
    places = ["the inputs", *new]
    moved = [f"{x} moved behind {places[i]}" for i, x in enumerate(new) if x not in stayed]
    kept = set(new)
    return moved + [f"{x} is gone: no output needs it" for x in old if x not in kept]


def by_kind(net: Net) -> list[str]:
    """The outputs grouped by kind: those without a Reshape or Softmax tail first, then by
    channel count in order of first appearance.

    For the public RetinaFace mnet.25 this is the order of its compiled file.
    """
    shapes = infer(net)
    producers = net.producers()
    kinds: dict[tuple[bool, int], list[str]] = {}
    for output in net.outputs:
        maker = producers.get(output)
        shape = shapes[output]
        kind = (maker is not None and maker.type in _TAILS, shape[1] if len(shape) > 1 else 0)
        kinds.setdefault(kind, []).append(output)
    return [x for tail in (False, True) for kind in kinds if kind[0] == tail for x in kinds[kind]]


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

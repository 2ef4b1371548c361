"""Parts of a network as networks of their own."""

from __future__ import annotations

import difflib
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from nnie_pipeline.caffe.files import caffe_names
from nnie_pipeline.caffe.net import REPORT_MARKER, Layer, Net, Shape
from nnie_pipeline.caffe.shapes import infer
from nnie_pipeline.errors import InputError


@dataclass(frozen=True)
class SubNetwork:
    """A part of a network; `original` names for each of its values that of the whole network."""

    net: Net
    original: Mapping[str, str]


def between(net: Net, to: Sequence[str] = (), since: str | None = None) -> SubNetwork:
    """The layers that lead from the layer `since` to the layers `to`.

    Without `to` they lead to the network's outputs, without `since` from its inputs. What they
    read from elsewhere becomes an input.

    Raises:
        InputError: a layer that is not there, or one of `to` does not depend on `since`.
    """
    targets = [_find(net, x) for x in to]
    wanted = [top for x in targets for top in x.tops] or list(net.outputs)
    kept = list(net.layers)
    if since is not None:
        start = _find(net, since)
        reached = set(start.tops)
        kept = [start]
        for layer in net.layers:
            if layer is not start and reached.intersection(layer.bottoms):
                reached.update(layer.tops)
                kept.append(layer)
        wanted = [x for x in wanted if x in reached] if not targets else wanted
        for layer in targets:
            if not reached.intersection(layer.tops):
                raise InputError(
                    f"layer {layer.name} does not depend on layer {since}; choose a --from that "
                    "leads to it"
                )
    return _part(net, kept, wanted)


def first_layers(net: Net, count: int) -> SubNetwork:
    """The first `count` layers of a network; every value that none of them reads is an output."""
    kept = net.layers[:count]
    read = {x for layer in kept for x in layer.bottoms}
    return _part(net, kept, [x for layer in kept for x in layer.tops if x not in read])


def _find(net: Net, name: str) -> Layer:
    try:
        return net.find(name)
    except KeyError:
        near = difflib.get_close_matches(name, [x.name for x in net.layers], n=3, cutoff=0.4)
        hint = f"; near in name: {', '.join(near)}" if near else ""
        raise InputError(f"the network {net.name} has no layer {name}{hint}") from None


def _part(net: Net, kept: Sequence[Layer], wanted: Sequence[str]) -> SubNetwork:
    shapes = infer(net)
    made = {top for x in kept for top in x.tops}
    needed = set(wanted)
    layers: list[Layer] = []
    for layer in reversed(kept):
        if needed.intersection(layer.tops):
            needed.update(layer.bottoms)
            layers.append(layer.copy())
    layers.reverse()
    inputs: dict[str, Shape] = {
        x: shapes[x] for layer in layers for x in layer.bottoms if x not in made
    }
    outputs = [
        top for x in layers for top in x.tops if top in wanted or top.endswith(REPORT_MARKER)
    ]
    part = Net(net.name, inputs, layers, outputs)
    for layer in part.layers:
        # An input or an output has to be there as it is.
        if layer.in_place and (layer.bottoms[0] in inputs or layer.bottoms[0] in outputs):
            layer.in_place = False
    original = {x: x for x in part.values()}
    for old, new in part.mark_outputs().items():
        original[new] = original.pop(old)
    for value, name in caffe_names(part).items():
        if value == name and re.search(r"[^A-Za-z0-9_.-]", value):
            free = _free(value, part)
            part.rename(value, free)
            original[free] = original.pop(value)
    return SubNetwork(part, original)


def _free(value: str, net: Net) -> str:
    """A plain name for a value that was called BLOB@LAYER because it was overwritten."""
    taken = set(net.values())
    names = [value.partition("@")[0], re.sub(r"[^A-Za-z0-9_.-]", "_", value)]
    for name in names:
        if name and name not in taken and not re.search(r"[^A-Za-z0-9_.-]", name):
            return name
    number = 2
    while f"{names[1]}_{number}" in taken:
        number += 1
    return f"{names[1]}_{number}"

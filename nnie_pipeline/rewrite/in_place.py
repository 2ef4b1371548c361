"""Activations behind a producer of their own work in place.

Given:   a = Convolution(x);  b = ReLU(a)
Result:  a = Convolution(x);  a = ReLU(a)

The mapper merges an activation with bottom == top into the layer before it; otherwise it
runs as a layer of its own (HiSVP development guide, sections 3.1.7 and 3.2).
"""

from __future__ import annotations

from nnie_pipeline.caffe.net import Net
from nnie_pipeline.rewrite.base import Changes

REASON = "the mapper merges in-place activations into the layer before them (HiSVP guide 3.2)"

_TYPES = frozenset(
    {"AbsVal", "BatchNorm", "Bias", "PReLU", "RReLU", "ReLU", "Scale", "Sigmoid", "TanH"}
)


def apply(net: Net) -> Changes:
    """Mark every activation that is the only reader of its bottom."""
    changes = Changes()
    consumers = net.consumers()
    producers = net.producers()
    for layer in net.layers:
        if layer.in_place or layer.type not in _TYPES or len(layer.bottoms) != 1:
            continue
        bottom, top = layer.bottoms[0], layer.tops[0]
        if bottom not in producers or bottom in net.outputs or len(consumers[bottom]) != 1:
            continue
        # The blob keeps its producer's name, but an output of the network keeps its own.
        name = top if top in net.outputs else bottom.split("@", maxsplit=1)[0]
        before = f"{name}@{producers[bottom].name}"
        layer.in_place = True
        for old, new in ((bottom, before), (top, name)):
            if old != new:
                net.rename(old, new)
                changes.rename(old, new)
        consumers = net.consumers()
        producers = net.producers()
        changes.lines.append(f"{layer.name} ({layer.type}) works in place of {name}")
    return changes

"""Activations behind a producer of their own work in place.

Given:   a = Convolution(x);  b = ReLU(a)
Result:  b = Convolution(x);  b = ReLU(b)

The mapper merges an activation with bottom == top into the layer before it; otherwise it
runs as a layer of its own (HiSVP development guide, sections 3.1.7 and 3.2). The blob has the
name of its last value, so a name never stands for another value than before.
"""

from __future__ import annotations

from nnie_pipeline.caffe.files import caffe_names
from nnie_pipeline.caffe.net import Net
from nnie_pipeline.rewrite.base import Changes

REASON = "the mapper merges in-place activations into the layer before them (HiSVP guide 3.2)"

_TYPES = frozenset(
    {"AbsVal", "BatchNorm", "Bias", "PReLU", "RReLU", "ReLU", "Scale", "Sigmoid", "TanH"}
)
_SHARING = frozenset({"Flatten", "Reshape", "Split"})
"""Caffe gives their tops the memory of the bottom, which others may read."""


def apply(net: Net) -> Changes:
    """Mark every activation that is the only reader of its bottom."""
    changes = Changes()
    consumers = net.consumers()
    producers = net.producers()
    for layer in net.layers:
        if layer.in_place or layer.type not in _TYPES or len(layer.bottoms) != 1:
            continue
        bottom = layer.bottoms[0]
        producer = producers.get(bottom)
        if producer is None or producer.type in _SHARING:
            continue
        if bottom in net.outputs or len(consumers[bottom]) != 1:
            continue
        layer.in_place = True
        changes.lines.append(f"{layer.name} ({layer.type}) works in place behind {producer.name}")
    for value, blob in caffe_names(net).items():
        if value != blob and value in producers:
            new = f"{blob}@{producers[value].name}"
            net.rename(value, new)
            changes.rename(value, new)
    return changes

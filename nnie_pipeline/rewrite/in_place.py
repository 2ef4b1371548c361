"""Activations behind a producer of their own work in place; or none does.

Given:   a = Convolution(x);  b = ReLU(a)
Result:  b = Convolution(x);  b = ReLU(b)

The mapper merges an activation with bottom == top into the layer before it; otherwise it
runs as a layer of its own (HiSVP development guide, sections 3.1.7 and 3.2). The blob has the
name of its last value, so a name never stands for another value than before.

The reverse, `apart`, gives every layer a top of its own. It is for comparing layer by layer: the
mapper and Caffe dump a blob only as the last in-place layer leaves it, so what the convolution
itself gave is in no dump (RuyiStudio has "Un-inplace" for this; HiSVP guide, section 4.5.6).
"""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

from nnie_pipeline.caffe.files import caffe_names
from nnie_pipeline.caffe.memory import shares_memory
from nnie_pipeline.caffe.net import Layer, Net
from nnie_pipeline.rewrite.base import Changes

REASON = "the mapper merges in-place activations into the layer before them (HiSVP guide 3.2)"
REASON_APART = (
    "a dump shows an in-place blob only as its last layer leaves it (HiSVP guide 4.5.6): for "
    "comparing layer by layer every layer has a top of its own"
)

_TYPES = frozenset(
    {"AbsVal", "BatchNorm", "Bias", "PReLU", "RReLU", "ReLU", "Scale", "Sigmoid", "TanH"}
)


def apply(net: Net, already: Collection[str] = ()) -> Changes:
    """Mark every activation that is the only reader of its bottom.

    `already` are the layers that worked in place in the file; they are no change.
    """
    changes = Changes()
    for layer, producer in _followers(net):
        layer.in_place = True
        if layer.name not in already:
            changes.lines.append(f"{layer.name} ({layer.type}) works in place behind {producer}")
    producers = net.producers()
    changes.lines += [
        f"{x.name} ({x.type}) has a top of its own: {_why_apart(x, producers)}"
        for x in net.layers
        if x.name in already and not x.in_place
    ]
    for value, blob in caffe_names(net).items():
        if value != blob and value in producers:
            new = f"{blob}@{producers[value].name}"
            net.rename(value, new)
            changes.rename(value, new)
    return changes


def apart(net: Net) -> Changes:
    """Give every layer that could work in place a top of its own, and its bottom a plain name.

    What a file overwrites is called BLOB@LAYER on reading; here it takes its layer's name, or
    BLOB_LAYER where a blob has that name.
    """
    changes = Changes()
    taken = set(net.values())
    for layer, producer in list(_followers(net)):
        changes.lines.append(
            f"{layer.name} ({layer.type}) has a top of its own, {layer.tops[0]}, behind {producer}"
        )
        bottom = layer.bottoms[0]
        if "@" in bottom:
            new = producer if producer not in taken else bottom.replace("@", "_")
            while new in taken:
                new += "_"
            taken.add(new)
            net.rename(bottom, new)
            changes.rename(bottom, new)
    return changes


def _why_apart(layer: Layer, producers: Mapping[str, Layer]) -> str:
    producer = producers.get(layer.bottoms[0])
    if producer is None:
        return "its bottom is the input"
    if shares_memory(producer):
        return f"its bottom has the memory of what {producer.name} ({producer.type}) reads"
    if layer.type not in _TYPES:
        return f"the mapper merges no {layer.type} into the layer before it"
    return "its bottom has another use"


def _followers(net: Net) -> Iterator[tuple[Layer, str]]:
    """Each layer that may overwrite its bottom, and the name of the bottom's producer."""
    consumers = net.consumers()
    producers = net.producers()
    for layer in net.layers:
        if layer.in_place or layer.type not in _TYPES or len(layer.bottoms) != 1:
            continue
        bottom = layer.bottoms[0]
        producer = producers.get(bottom)
        # What shares memory with the bottom may have other readers.
        if producer is None or shares_memory(producer):
            continue
        if bottom not in net.outputs and len(consumers[bottom]) == 1:
            yield layer, producer.name

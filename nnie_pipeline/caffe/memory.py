"""Which values of a network have the same memory in Caffe, and who overwrites what others read."""

from __future__ import annotations

from collections.abc import Iterator

from nnie_pipeline.caffe.net import Layer, Net


def shares_memory(layer: Layer) -> bool:
    """Whether Caffe gives the layer's tops the memory of its first bottom.

    Split, Reshape and Flatten always do, a Concat of one bottom, a Slice with one top and a
    Permute that moves nothing as well (Caffe 1.0 and its SSD branch, the calls of
    `Blob::ShareData`); Dropout copies.
    """
    if layer.type == "Concat":
        return len(layer.bottoms) == 1
    if layer.type == "Slice":
        return len(layer.tops) == 1
    if layer.type == "Permute":
        # Axes that are not named follow in their old order.
        order = list(layer.params.permute_param.order)
        return order == list(range(len(order)))
    return layer.type in ("Flatten", "Reshape", "Split")


def overwritten(net: Net) -> Iterator[tuple[Layer, str, str]]:
    """Each in-place layer that destroys a value which is read after it, or is an output.

    Gives the layer, the destroyed value, and the name of a layer that reads it ("" for an
    output). Only memory that several values share counts: of a blob that has another reader
    itself, a copy is meant.
    """
    readers = net.consumers()
    place = {id(x): i for i, x in enumerate(net.layers)}
    together: dict[str, list[str]] = {x: [x] for x in net.inputs}
    for i, layer in enumerate(net.layers):
        shared = together.get(layer.bottoms[0], []) if layer.bottoms else []
        if layer.in_place:
            for value in shared:
                late = [x for x in readers.get(value, []) if place[id(x)] > i]
                if value != layer.bottoms[0] and (late or value in net.outputs):
                    yield layer, value, late[0].name if late else ""
        if not (layer.in_place or shares_memory(layer)):
            shared = []
        shared.extend(layer.tops)
        together.update(dict.fromkeys(layer.tops, shared))

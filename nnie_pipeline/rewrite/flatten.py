"""Flatten goes where it does nothing, or where InnerProduct does it itself.

Given:   f = Flatten(x);  y = InnerProduct(f)
Result:  y = InnerProduct(x)

InnerProduct takes all axes from the channels on as one vector, in the same order (Caffe 1.0,
inner_product_layer); the public Caffe networks that ran on boards have none before it. A Reshape
to the same vector goes too. The mapper refuses a Flatten of one axis, which changes nothing
(HiSVP development guide, table 3-2: end_axis is greater than axis).
"""

from __future__ import annotations

import math

from nnie_pipeline.caffe.axes import axis_of
from nnie_pipeline.caffe.net import Layer, Net
from nnie_pipeline.caffe.shapes import infer
from nnie_pipeline.rewrite.base import Changes

REASON = "InnerProduct flattens by itself, and NNIE refuses a Flatten of one axis (table 3-2)"


def apply(net: Net) -> Changes:
    """Take out every Flatten, or Reshape to a vector, that is not needed."""
    changes = Changes()
    shapes = infer(net)
    for layer in list(net.layers):
        if layer.type not in ("Flatten", "Reshape"):
            continue
        bottom, top = shapes[layer.bottoms[0]], shapes[layer.tops[0]]
        if layer.type == "Flatten" and top == bottom:
            why = "changes nothing"
        elif top == (bottom[0], math.prod(bottom[1:])) and _only_products(net, layer, len(top)):
            why = "is left to InnerProduct"
            for reader in net.consumers()[layer.tops[0]]:
                reader.params.inner_product_param.ClearField("axis")
        else:
            continue
        for old, new in net.bypass(layer).items():
            changes.rename(old, new)
        changes.lines.append(f"{layer.name} ({layer.type}) {why} and is gone")
    return changes


def _only_products(net: Net, layer: Layer, rank: int) -> bool:
    """Whether only InnerProducts along axis 1 read the layer's top."""
    readers = net.consumers().get(layer.tops[0], [])
    return (
        bool(readers)
        and layer.tops[0] not in net.outputs
        and all(
            x.type == "InnerProduct"
            and axis_of(x.params.inner_product_param.axis, (1,) * rank) == 1
            for x in readers
        )
    )

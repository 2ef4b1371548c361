"""BatchNorm, Scale, Bias and linear Power next to a layer with weights go into those weights.

Given:   y = Convolution(x) {w, b};  z = BatchNorm(y) {mean, var, eps};  s = Scale(z) {g, h}
Result:  s = Convolution(x) {w * f, (b - mean) * f + h},  f = g / sqrt(var + eps)

Given:   s = Scale(x) {g, h};  y = Convolution(s) {w, b}, without pads or with h = 0
Result:  y = Convolution(x) {w * g, b + sum of w * h}

On the chip the convolution and its BatchNorm are one operation already, but unmerged the
dump between them misleads and very small variances make the mapper slow (nniefacelib issue
29); every public guide advises to merge. In front of a convolution with pads an addend stays:
the zeros around the map would have to become its value. All sums are float64 and rounded to
float32 once.

A BatchNorm that stays, here or with --skip merge-batch-norm, keeps its eps: the HiSVP
development guide calls 1e-5 fixed (table 3-2), but in the public compiled file
mnet_640_inst.wk of nniefacelib (mapper 1.2.1.0, BatchNorm not merged) all 3568 stored
channel factors are those of the prototxt's own eps, 1e-5 in 27 layers and 2e-5 in 20.
"""

from __future__ import annotations

from nnie_pipeline.caffe.net import Layer, Net, Shape
from nnie_pipeline.caffe.shapes import infer
from nnie_pipeline.rewrite.affine import (
    WEIGHTED,
    Affine,
    affine_of,
    has_channel_outputs,
    joined,
    only_reader,
    scale_inputs,
    scale_outputs,
    takes_addend,
)
from nnie_pipeline.rewrite.base import Changes

REASON = (
    "BatchNorm and Scale belong into the weights: what is quantised are then the weights the "
    "chip multiplies with, and no dump lies between"
)


def apply(net: Net) -> Changes:
    """Fold every chain of such layers into the layer with weights before it, else behind it.

    A value that two layers read, or that is an output, stays, and so do the layers before it.
    """
    changes = Changes()
    shapes = infer(net)
    readers = net.consumers()
    for layer in _weighted(net):
        _note(net, layer, _behind(net, layer, shapes, readers), changes)
    readers, makers = net.consumers(), net.producers()
    for layer in _weighted(net):
        _note(net, layer, _before(net, layer, shapes, readers, makers), changes)
    return changes


def _weighted(net: Net) -> list[Layer]:
    return [x for x in net.layers if x.type in WEIGHTED and x.weights]


def _note(net: Net, layer: Layer, chain: list[Layer], changes: Changes) -> None:
    if not chain:
        return
    gone = {id(x) for x in chain}
    net.layers = [x for x in net.layers if id(x) not in gone]
    layer.origin = (*layer.origin, *(f"merged {x.name}" for x in chain))
    changes.lines.append(f"{' and '.join(x.name for x in chain)} merged into {layer.name}")


def _behind(
    net: Net, layer: Layer, shapes: dict[str, Shape], readers: dict[str, list[Layer]]
) -> list[Layer]:
    """Merge the chain behind `layer`; gives its layers."""
    if not has_channel_outputs(layer, shapes[layer.bottoms[0]]):
        return []
    chain: list[Layer] = []
    total: Affine | None = None
    value = layer.tops[0]
    while (follower := only_reader(net, readers, value)) is not None:
        affine = affine_of(follower, shapes[value])
        if affine is None:
            break
        total = affine if total is None else joined(total, affine)
        chain.append(follower)
        value = follower.tops[0]
    if total is None or not scale_outputs(layer, total):
        return []
    layer.tops = [value]
    return chain


def _before(
    net: Net,
    layer: Layer,
    shapes: dict[str, Shape],
    readers: dict[str, list[Layer]],
    makers: dict[str, Layer],
) -> list[Layer]:
    """Merge as much of the chain in front of `layer` as is exact; gives its layers."""
    bottom = shapes[layer.bottoms[0]]
    if not has_channel_outputs(layer, bottom):
        return []
    chain: list[Layer] = []
    exact = 0
    total: Affine | None = None
    found: Affine | None = None
    value = layer.bottoms[0]
    while only_reader(net, readers, value) is not None and value in makers:
        affine = affine_of(makers[value], bottom)
        if affine is None:
            break
        total = affine if total is None else joined(affine, total)
        chain.insert(0, makers[value])
        if takes_addend(layer) or not total[1].any():
            exact, found = len(chain), total
        value = makers[value].bottoms[0]
    if found is None or not scale_inputs(layer, found, bottom):
        return []
    chain = chain[len(chain) - exact :]
    layer.bottoms = [chain[0].bottoms[0]]
    return chain

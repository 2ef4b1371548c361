"""A convolution of more groups than the chip takes becomes several.

Given:   y = Convolution(x) {num_output: 3072 group: 3072}
Result:  a, b = Slice(x) {2048};  p = Convolution(a) {group: 2048};
         q = Convolution(b) {group: 1024};  y = Concat(p, q)

The later HiSVP development guide allows 2048 groups (256 are proven by the public compiled file
mnet_640_inst.wk of nniefacelib). The 128 of the older guide only warn on mapper 1.1, and nothing
is split for them.
"""

from __future__ import annotations

from itertools import pairwise

import numpy as np

from nnie_pipeline.caffe.caffe_pb2 import LayerParameter
from nnie_pipeline.caffe.net import Array, Layer, Net
from nnie_pipeline.caffe.shapes import infer
from nnie_pipeline.errors import NotExpressibleError
from nnie_pipeline.rewrite.base import Changes
from nnie_pipeline.rewrite.free_names import FreeNames

REASON = "a convolution has at most 2048 groups (later HiSVP guide)"

GROUPS = 2048
_MOST_PARTS = 32


def apply(net: Net, limit: int = GROUPS) -> Changes:
    """Split every Convolution and Deconvolution with more groups than `limit`.

    Raises:
        NotExpressibleError: more than 32 parts, the most that a Slice makes.
    """
    changes = Changes()
    shapes = infer(net)
    names = FreeNames(net)
    layers: list[Layer] = []
    for layer in net.layers:
        group = layer.params.convolution_param.group
        if layer.type not in ("Convolution", "Deconvolution") or group <= limit:
            layers.append(layer)
            continue
        bounds = [*range(0, group, limit), group]
        if len(bounds) - 1 > _MOST_PARTS:
            raise NotExpressibleError(
                f"layer {layer.name} ({layer.type}): {group} groups are more than {_MOST_PARTS} "
                f"times {limit}, the most that NNIE's Slice and convolutions take; use fewer groups"
            )
        layers += _split(layer, shapes[layer.bottoms[0]][1], bounds, names)
        changes.lines.append(
            f"{layer.name}: {group} groups are now {len(bounds) - 1} {layer.type}s of at most "
            f"{limit}"
        )
    net.layers = layers
    return changes


def _split(layer: Layer, channels: int, bounds: list[int], names: FreeNames) -> list[Layer]:
    param = layer.params.convolution_param
    group = param.group
    inputs, outputs = channels // group, param.num_output // group
    origin = (*layer.origin, "split")
    cut = LayerParameter()
    cut.slice_param.axis = 1
    cut.slice_param.slice_point.extend(x * inputs for x in bounds[1:-1])
    slices = [names.take(f"{layer.name}_slice{i}") for i in range(1, len(bounds))]
    made = [
        Layer(names.take(f"{layer.name}_slice"), "Slice", layer.bottoms, slices, cut, origin=origin)
    ]
    parts: list[Layer] = []
    for value, (start, end) in zip(slices, pairwise(bounds), strict=True):
        part = layer.copy()
        part.name = names.take(f"{layer.name}_part{len(parts) + 1}")
        part.bottoms, part.tops, part.origin = [value], [part.name], origin
        part.params.convolution_param.group = end - start
        part.params.convolution_param.num_output = (end - start) * outputs
        if layer.weights:
            rows = outputs if layer.type == "Convolution" else inputs
            part.weights = [_rows(layer.weights[0], start * rows, end * rows)]
            part.weights += [
                _rows(x.reshape(-1), start * outputs, end * outputs) for x in layer.weights[1:]
            ]
        parts.append(part)
    join = LayerParameter()
    join.concat_param.axis = 1
    bottoms = [x.name for x in parts]
    return [*made, *parts, Layer(layer.name, "Concat", bottoms, layer.tops, join, origin=origin)]


def _rows(array: Array, start: int, end: int) -> Array:
    return np.ascontiguousarray(array[start:end])

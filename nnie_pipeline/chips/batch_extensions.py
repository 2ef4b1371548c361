"""The batch rules of the layers that HiSilicon's mapper and well-known forks add to Caffe."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from nnie_pipeline.caffe.net import Layer
from nnie_pipeline.chips.batch_rules import Candidates, axis_in, require, size_in
from nnie_pipeline.chips.quantities import Dim, Dims

_MOST_LEVELS = 16


def _crelu(_: Layer, bottoms: list[Dims], __: Candidates) -> list[Dims]:
    return [(bottoms[0][0], 2 * bottoms[0][1], *bottoms[0][2:])]


def _upsample(layer: Layer, bottoms: list[Dims], _: Candidates) -> list[Dims]:
    param = layer.params.upsample_param
    size = size_in(bottoms[0])
    height = param.upsample_h or size[0] * (param.scale_h or param.scale)
    width = param.upsample_w or size[1] * (param.scale_w or param.scale)
    return [(*bottoms[0][:2], height, width)]


def _pass_through(layer: Layer, bottoms: list[Dims], found: Candidates) -> list[Dims]:
    param = layer.params.pass_through_param
    n, c, h, w = bottoms[0]
    require(found, np.asarray(h) % param.block_height == 0)
    require(found, np.asarray(w) % param.block_width == 0)
    channels = c * param.block_height * param.block_width
    return [(n, channels, h // param.block_height, w // param.block_width)]


def _spp(layer: Layer, bottoms: list[Dims], found: Candidates) -> list[Dims]:
    levels = layer.params.spp_param.pyramid_height
    if not 1 <= levels <= _MOST_LEVELS:
        raise ValueError(f"pyramid_height {levels}")
    n, c, *size = bottoms[0]
    total: Dim = 0
    for bins in (1 << x for x in range(levels)):
        kernel = [-(-x // bins) for x in size]
        pad = [(k * bins - x + 1) // 2 for k, x in zip(kernel, size, strict=True)]
        padded = (pad[0] > 0) | (pad[1] > 0)
        area: Any = 1
        for x, k, p in zip(size, kernel, pad, strict=True):
            require(found, p < k)
            count = -(-(x + 2 * p - k) // k) + 1
            area = area * (count - (padded & ((count - 1) * k >= x + p)))
        total = total + area
    return [(n, c, 1, 1) if levels == 1 else (n, c * total)]


def _roi_pooling(layer: Layer, bottoms: list[Dims], _: Candidates) -> list[Dims]:
    param = layer.params.roi_pooling_param
    return [(bottoms[1][0], bottoms[0][1], param.pooled_h, param.pooled_w)]


def _psroi_pooling(layer: Layer, bottoms: list[Dims], _: Candidates) -> list[Dims]:
    param = layer.params.psroi_pooling_param
    return [(bottoms[1][0], param.output_dim, param.group_size, param.group_size)]


def _recurrent(layer: Layer, bottoms: list[Dims], _: Candidates) -> list[Dims]:
    width = layer.params.recurrent_param.num_output
    tops: list[Dims] = [(*bottoms[0][:2], width)]
    return tops + [(1, bottoms[0][1], width)] * (len(layer.tops) - 1)


def _mat_mul(_: Layer, bottoms: list[Dims], __: Candidates) -> list[Dims]:
    return [(*bottoms[0][:-1], bottoms[1][-2])]


def _custom(layer: Layer, _: list[Dims], __: Candidates) -> list[Dims]:
    return [(1, *x.dim) for x in layer.params.custom_param.shape]


def _tile(layer: Layer, bottoms: list[Dims], _: Candidates) -> list[Dims]:
    axis = axis_in(layer.params.tile_param.axis, bottoms[0])
    tiles = layer.params.tile_param.tiles
    return [tuple(x * tiles if i == axis else x for i, x in enumerate(bottoms[0]))]


def _map_of_four(_: Layer, bottoms: list[Dims], __: Candidates) -> list[Dims]:
    if len(bottoms[0]) > 4:
        raise ValueError("it takes at most 4 axes")
    return [bottoms[0] + (1,) * (4 - len(bottoms[0]))]


def _interp(layer: Layer, bottoms: list[Dims], found: Candidates) -> list[Dims]:
    param = layer.params.interp_param
    if param.pad_beg > 0 or param.pad_end > 0:
        raise ValueError("pads of an Interp are 0 or negative")
    part = [x + param.pad_beg + param.pad_end for x in bottoms[0][2:]]
    for side in part:
        require(found, np.asarray(side) >= 1)
    zoom, shrink = param.HasField("zoom_factor"), param.HasField("shrink_factor")
    if zoom == shrink and param.height and param.width:
        return [(*bottoms[0][:2], param.height, param.width)]
    if not (zoom or shrink) or min(param.zoom_factor, param.shrink_factor) < 1:
        raise ValueError("no size, and no zoom_factor or shrink_factor of at least 1")
    small = [(x - 1) // param.shrink_factor + 1 for x in part]
    height, width = (x + (x - 1) * (param.zoom_factor - 1) for x in small)
    return [(*bottoms[0][:2], height, width)]


def _nothing(_: Layer, __: list[Dims], ___: Candidates) -> list[Dims]:
    return []


def _parameter(layer: Layer, _: list[Dims], __: Candidates) -> list[Dims]:
    return [tuple(layer.params.parameter_param.shape.dim)]


EXTENSIONS: dict[str, Callable[[Layer, list[Dims], Candidates], list[Dims]]] = {
    "CReLU": _crelu,
    "Custom": _custom,
    "Interp": _interp,
    "LSTM": _recurrent,
    "MVN": _map_of_four,
    "MatMul": _mat_mul,
    "PSROIPooling": _psroi_pooling,
    "Parameter": _parameter,
    "PassThrough": _pass_through,
    "RNN": _recurrent,
    "ROIPooling": _roi_pooling,
    "SPP": _spp,
    "Silence": _nothing,
    "Tile": _tile,
    "Upsample": _upsample,
}

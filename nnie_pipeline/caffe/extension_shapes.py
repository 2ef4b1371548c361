"""Shapes of the layers that HiSilicon's mapper and well-known forks add to Caffe."""

from __future__ import annotations

from collections.abc import Callable

from nnie_pipeline.caffe.net import Layer, Shape

Rule = Callable[[Layer, list[Shape]], list[Shape]]


def _crelu(layer: Layer, bottoms: list[Shape]) -> list[Shape]:
    return [(bottoms[0][0], 2 * bottoms[0][1], *bottoms[0][2:])]


def _upsample(layer: Layer, bottoms: list[Shape]) -> list[Shape]:
    param = layer.params.upsample_param
    height = param.upsample_h or bottoms[0][2] * (param.scale_h or param.scale)
    width = param.upsample_w or bottoms[0][3] * (param.scale_w or param.scale)
    return [(*bottoms[0][:2], height, width)]


def _pass_through(layer: Layer, bottoms: list[Shape]) -> list[Shape]:
    param = layer.params.pass_through_param
    n, c, h, w = bottoms[0]
    if h % param.block_height or w % param.block_width:
        raise ValueError(f"blocks of {param.block_height}x{param.block_width} do not divide it")
    channels = c * param.block_height * param.block_width
    return [(n, channels, h // param.block_height, w // param.block_width)]


def _spp(layer: Layer, bottoms: list[Shape]) -> list[Shape]:
    height = layer.params.spp_param.pyramid_height
    if height > 16:
        raise ValueError(f"pyramid_height {height} is more than 16 levels")
    bins = sum(4**i for i in range(height))
    return [(bottoms[0][0], bottoms[0][1] * bins)]


def _roi_pooling(layer: Layer, bottoms: list[Shape]) -> list[Shape]:
    param = layer.params.roi_pooling_param
    return [(bottoms[1][0], bottoms[0][1], param.pooled_h, param.pooled_w)]


def _psroi_pooling(layer: Layer, bottoms: list[Shape]) -> list[Shape]:
    param = layer.params.psroi_pooling_param
    return [(bottoms[1][0], param.output_dim, param.group_size, param.group_size)]


def _recurrent(layer: Layer, bottoms: list[Shape]) -> list[Shape]:
    width = layer.params.recurrent_param.num_output
    tops: list[Shape] = [(*bottoms[0][:2], width)]
    return tops + [(1, bottoms[0][1], width)] * (len(layer.tops) - 1)


def _mat_mul(layer: Layer, bottoms: list[Shape]) -> list[Shape]:
    return [(*bottoms[0][:-1], bottoms[1][-2])]


def _custom(layer: Layer, bottoms: list[Shape]) -> list[Shape]:
    return [(1, *x.dim) for x in layer.params.custom_param.shape]


EXTENSIONS: dict[str, Rule] = {
    "CReLU": _crelu,
    "Custom": _custom,
    "LSTM": _recurrent,
    "MatMul": _mat_mul,
    "PSROIPooling": _psroi_pooling,
    "PassThrough": _pass_through,
    "RNN": _recurrent,
    "ROIPooling": _roi_pooling,
    "SPP": _spp,
    "Upsample": _upsample,
}
"""The shape rule of each such layer type."""

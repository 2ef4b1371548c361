"""Shapes of the layers that HiSilicon's mapper and well-known forks add to Caffe, and of the
rarer ones of Caffe itself."""

from __future__ import annotations

import math
from collections.abc import Callable

from nnie_pipeline.caffe.axes import axis_of
from nnie_pipeline.caffe.caffe_pb2 import InterpParameter
from nnie_pipeline.caffe.net import Layer, Shape
from nnie_pipeline.caffe.windows import Pair, check_window, pool_output, spp_window

Rule = Callable[[Layer, list[Shape]], list[Shape]]


def _crelu(layer: Layer, bottoms: list[Shape]) -> list[Shape]:
    return [(bottoms[0][0], 2 * bottoms[0][1], *bottoms[0][2:])]


def _upsample(layer: Layer, bottoms: list[Shape]) -> list[Shape]:
    param = layer.params.upsample_param
    if len(bottoms) > 2 or bottoms[-1] != bottoms[0]:
        raise ValueError("it takes a map, and to un-pool a mask of the same shape")
    n, c, h, w = bottoms[0]
    height = param.upsample_h or h * (param.scale_h or param.scale)
    width = param.upsample_w or w * (param.scale_w or param.scale)
    return [(n, c, height, width)]


def interp_part(param: InterpParameter, bottom: Shape) -> Pair:
    """(height, width) of what an Interp scales: its map without what negative pads cut off.

    Raises:
        ValueError: a positive pad, or no map.
    """
    if param.pad_beg > 0 or param.pad_end > 0:
        raise ValueError("pad_beg and pad_end of an Interp cut off, they are 0 or negative")
    _, _, h, w = bottom
    cut = param.pad_beg + param.pad_end
    return h + cut, w + cut


def _interp(layer: Layer, bottoms: list[Shape]) -> list[Shape]:
    """DeepLab's Caffe, interp_layer: which of its fields decide."""
    param = layer.params.interp_param
    part = interp_part(param, bottoms[0])
    zoom, shrink = param.HasField("zoom_factor"), param.HasField("shrink_factor")
    if zoom != shrink or not (param.height and param.width):
        if not (zoom or shrink):
            raise ValueError("give height and width, zoom_factor or shrink_factor")
        if min(param.zoom_factor, param.shrink_factor) < 1:
            raise ValueError("zoom_factor and shrink_factor are at least 1")
        small = [(x - 1) // param.shrink_factor + 1 for x in part]
        height, width = (x + (x - 1) * (param.zoom_factor - 1) for x in small)
    else:
        height, width = param.height, param.width
    if min(part) < 1:
        raise ValueError("its pads cut the whole map off")
    return [(*bottoms[0][:2], height, width)]


def _pass_through(layer: Layer, bottoms: list[Shape]) -> list[Shape]:
    param = layer.params.pass_through_param
    n, c, h, w = bottoms[0]
    if not (param.block_height and param.block_width):
        raise ValueError("write block_height and block_width")
    if h % param.block_height or w % param.block_width:
        raise ValueError(f"blocks of {param.block_height}x{param.block_width} do not divide it")
    channels = c * param.block_height * param.block_width
    return [(n, channels, h // param.block_height, w // param.block_width)]


def _spp(layer: Layer, bottoms: list[Shape]) -> list[Shape]:
    height = layer.params.spp_param.pyramid_height
    if not 1 <= height <= 16:
        raise ValueError(f"pyramid_height {height} is not 1 to 16 levels")
    n, c, h, w = bottoms[0]
    bins = 0
    for level in range(height):
        window = spp_window(level, (h, w))
        try:
            bins += math.prod(pool_output(check_window(window, pooling=True), (h, w)))
        except ValueError as error:
            raise ValueError(f"at level {level}, {error}; use a lower pyramid_height") from error
    return [(n, c, 1, 1) if height == 1 else (n, c * bins)]


def _regions(bottoms: list[Shape]) -> int:
    if len(bottoms) != 2 or math.prod(bottoms[1][1:]) != 5:
        raise ValueError("it takes a map and regions R x 5")
    return bottoms[1][0]


def _roi_pooling(layer: Layer, bottoms: list[Shape]) -> list[Shape]:
    param = layer.params.roi_pooling_param
    _, c, _, _ = bottoms[0]
    return [(_regions(bottoms), c, param.pooled_h, param.pooled_w)]


def _psroi_pooling(layer: Layer, bottoms: list[Shape]) -> list[Shape]:
    param = layer.params.psroi_pooling_param
    _, c, _, _ = bottoms[0]
    if c != param.output_dim * param.group_size**2:
        raise ValueError(f"{c} channels are not output_dim x group_size x group_size")
    return [(_regions(bottoms), param.output_dim, param.group_size, param.group_size)]


def _proposal(layer: Layer, bottoms: list[Shape]) -> list[Shape]:
    """At most so many regions; which ones, the CPU decides."""
    rows = bottoms[0][0] * (layer.params.proposal_param.post_nms_topn or 300)
    return [(rows, 5), (rows,)][: len(layer.tops)]


def _recurrent(layer: Layer, bottoms: list[Shape]) -> list[Shape]:
    param = layer.params.recurrent_param
    states = 2 if layer.type == "LSTM" else 1
    exposed = states if param.expose_hidden else 0
    if len(bottoms) - exposed not in (2, 3):
        raise ValueError(
            f"it takes x, cont{', the state to start from' if exposed else ''} and perhaps a "
            "static input"
        )
    steps, streams = bottoms[0][:2]
    if bottoms[1] != (steps, streams):
        raise ValueError(f"cont must be {steps}x{streams}, a number for each step and stream")
    if len(bottoms) - exposed == 3 and bottoms[2][0] != streams:
        raise ValueError(f"the static input must have {streams} rows, one for each stream")
    state = (1, streams, param.num_output)
    if any(x != state for x in bottoms[len(bottoms) - exposed :]):
        raise ValueError(f"a state is {_text(state)}")
    return [(steps, streams, param.num_output), *[state] * exposed]


def _mat_mul(layer: Layer, bottoms: list[Shape]) -> list[Shape]:
    if len(bottoms) != 2 or bottoms[0][-1] != bottoms[1][-1] or bottoms[0][:-2] != bottoms[1][:-2]:
        raise ValueError("it takes two matrices with rows of one length (the second transposed)")
    return [(*bottoms[0][:-1], bottoms[1][-2])]


def _custom(layer: Layer, bottoms: list[Shape]) -> list[Shape]:
    return [(1, *x.dim) for x in layer.params.custom_param.shape]


def _parameter(layer: Layer, bottoms: list[Shape]) -> list[Shape]:
    return [tuple(layer.params.parameter_param.shape.dim)]


def _nothing(layer: Layer, bottoms: list[Shape]) -> list[Shape]:
    return []


def _map_of_four(layer: Layer, bottoms: list[Shape]) -> list[Shape]:
    """MVN gives four axes whatever it gets."""
    if len(bottoms[0]) > 4:
        raise ValueError("it takes at most 4 axes")
    return [bottoms[0] + (1,) * (4 - len(bottoms[0]))]


def _lrn(layer: Layer, bottoms: list[Shape]) -> list[Shape]:
    n, c, h, w = bottoms[0]
    if layer.params.lrn_param.local_size % 2 == 0:
        raise ValueError(f"local_size {layer.params.lrn_param.local_size} must be odd")
    return [(n, c, h, w)]


def _reduction(layer: Layer, bottoms: list[Shape]) -> list[Shape]:
    return [bottoms[0][: axis_of(layer.params.reduction_param.axis, bottoms[0])]]


def _tile(layer: Layer, bottoms: list[Shape]) -> list[Shape]:
    axis = axis_of(layer.params.tile_param.axis, bottoms[0])
    tiles = layer.params.tile_param.tiles
    return [tuple(x * tiles if i == axis else x for i, x in enumerate(bottoms[0]))]


def _arg_max(layer: Layer, bottoms: list[Shape]) -> list[Shape]:
    param, bottom = layer.params.argmax_param, bottoms[0]
    if param.HasField("axis"):
        axis = axis_of(param.axis, bottom)
        length, shape = bottom[axis], (*bottom[:axis], param.top_k, *bottom[axis + 1 :])
    else:
        length = math.prod(bottom[1:])
        rest = (1,) * max(0, len(bottom) - 3)
        shape = (bottom[0], 2 if param.out_max_val else 1, param.top_k, *rest)
    if param.top_k > length:
        raise ValueError(f"top_k {param.top_k} of {length} values")
    return [shape]


def _text(shape: Shape) -> str:
    return "x".join(map(str, shape))


EXTENSIONS: dict[str, Rule] = {
    "ArgMax": _arg_max,
    "CReLU": _crelu,
    "Custom": _custom,
    "Interp": _interp,
    "LRN": _lrn,
    "LSTM": _recurrent,
    "MVN": _map_of_four,
    "MatMul": _mat_mul,
    "PSROIPooling": _psroi_pooling,
    "Parameter": _parameter,
    "PassThrough": _pass_through,
    "Proposal": _proposal,
    "RNN": _recurrent,
    "ROIPooling": _roi_pooling,
    "Reduction": _reduction,
    "SPP": _spp,
    "Silence": _nothing,
    "Tile": _tile,
    "Upsample": _upsample,
}
"""The shape rule of each such layer type."""

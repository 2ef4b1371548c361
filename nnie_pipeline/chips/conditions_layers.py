"""Conditions on element-wise, shape and CPU layers, and the hints on efficiency."""

from __future__ import annotations

import math
from collections.abc import Iterable
from dataclasses import dataclass

from nnie_pipeline.chips.conditions import Values, layer_rule
from nnie_pipeline.chips.conditions_types import text_of
from nnie_pipeline.chips.quantities import Dims, UnknownShapeError, blocks
from nnie_pipeline.chips.segments import on_cpu
from nnie_pipeline.chips.view import Place, View

_LEGAL_PAIRS = frozenset({("map", "map"), ("map", "vector"), ("vector", "vector")})


@layer_rule("scale-combination")
def _scale_combination(_: View, place: Place) -> Iterable[Values]:
    param = place.layer.params.scale_param
    feature, parameter = _combination(place, param.axis, param.num_axes)
    map_by_map = (feature.kind, parameter.kind) == ("map", "map")
    if (feature.kind, parameter.kind) not in _LEGAL_PAIRS or (map_by_map and param.bias_term):
        bias = " with bias" if param.bias_term else ""
        yield {"feature": feature, "parameter": parameter, "bias": bias}


@layer_rule("bias-combination")
def _bias_combination(_: View, place: Place) -> Iterable[Values]:
    param = place.layer.params.bias_param
    feature, parameter = _combination(place, param.axis, param.num_axes)
    if (feature.kind, parameter.kind) not in _LEGAL_PAIRS:
        yield {"feature": feature, "parameter": parameter}


@dataclass(frozen=True)
class _Operand:
    """One side of a Scale or Bias: "map" (CxHxW), "vector" (C) or "blob" (neither)."""

    kind: str
    shape: Dims

    def __str__(self) -> str:
        return f"{self.kind} {text_of(self.shape) or 'of one value'}"


def _combination(place: Place, axis: int, num_axes: int) -> tuple[_Operand, _Operand]:
    """What is scaled, and by what."""
    feature = place.site.bottom()
    if len(feature) < 2:
        raise UnknownShapeError
    if len(place.layer.bottoms) > 1:
        parameter = place.site.bottom(1)
    else:
        start = axis % len(feature)
        parameter = feature[start:] if num_axes == -1 else feature[start : start + num_axes]
    return _operand(feature, feature), _operand(parameter, feature)


def _operand(shape: Dims, feature: Dims) -> _Operand:
    size, channels = math.prod(int(x) for x in shape), feature[1]
    if size == channels and channels in shape:
        return _Operand("vector", shape)
    elements = math.prod(int(x) for x in feature[1:])
    return _Operand("map" if size == elements else "blob", shape)


@layer_rule("crelu-weights")
def _crelu_weights(view: View, place: Place) -> Iterable[Values]:
    weights_are_loaded = any(x.weights for x in view.net.layers)
    if weights_are_loaded and len(place.layer.weights) < 2:
        yield {"count": len(place.layer.weights)}


@layer_rule("exp-base")
def _exp_base(_: View, place: Place) -> Iterable[Values]:
    return _base(place.layer.params.exp_param.base)


@layer_rule("log-base")
def _log_base(_: View, place: Place) -> Iterable[Values]:
    return _base(place.layer.params.log_param.base)


def _base(value: float) -> Iterable[Values]:
    return [] if value == -1 or value > 0 else [{"value": f"{value:.6g}"}]


@layer_rule("power-shift")
def _power_shift(_: View, place: Place) -> Iterable[Values]:
    if shift := place.layer.params.power_param.shift:
        yield {"value": f"{shift:.6g}"}


@layer_rule("slice-unused-top")
def _slice_unused_top(view: View, place: Place) -> Iterable[Values]:
    unread = [x for x in place.layer.tops if x not in view.consumers]
    if unread:
        yield {"count": len(unread), "tops": len(place.layer.tops), "blobs": ", ".join(unread)}


@layer_rule("reshape-first-dim")
def _reshape_first_dim(_: View, place: Place) -> Iterable[Values]:
    param = place.layer.params.reshape_param
    dims = list(param.shape.dim)
    # A negative axis of Reshape counts from behind the last one: -1 is "after all axes".
    start = param.axis if param.axis >= 0 else len(place.site.bottom()) + param.axis + 1
    if start == 0 and dims and dims[0] != 0:
        yield {"value": dims[0]}


@layer_rule("reshape-not-4d")
def _reshape_not_4d(_: View, place: Place) -> Iterable[Values]:
    param = place.layer.params.reshape_param
    rank = len(place.site.top())
    if param.axis == 0 and rank < 4:
        yield {"rank": rank}


@layer_rule("flatten-order")
def _flatten_order(_: View, place: Place) -> Iterable[Values]:
    param = place.layer.params.flatten_param
    # NNIE's blobs have four axes.
    if param.axis % 4 >= param.end_axis % 4:
        yield {"axis": param.axis, "end": param.end_axis}


@layer_rule("permute-order")
def _permute_order(_: View, place: Place) -> Iterable[Values]:
    order = list(place.layer.params.permute_param.order)
    full = order + [x for x in range(4) if x not in order]
    if full != [0, 2, 3, 1]:
        yield {"order": ", ".join(map(str, full))}


@layer_rule("passthrough-num-output")
def _passthrough_num_output(_: View, place: Place) -> Iterable[Values]:
    param = place.layer.params.pass_through_param
    wanted = place.site.map()[1] * param.block_height * param.block_width
    if param.num_output != wanted:
        value = param.num_output if param.HasField("num_output") else "not written"
        yield {"value": value, "wanted": wanted}


@layer_rule("custom-dims")
def _custom_dims(_: View, place: Place) -> Iterable[Values]:
    shapes = [len(x.dim) for x in place.layer.params.custom_param.shape]
    if len(shapes) != len(place.layer.tops):
        yield {"problem": f"{len(shapes)} shapes for {len(place.layer.tops)} tops"}
    for index, rank in enumerate(shapes):
        if rank < 2:
            yield {"problem": f"shape {index} has {rank} dims; it needs at least 2"}


@layer_rule("custom-fields")
def _custom_fields(_: View, place: Place) -> Iterable[Values]:
    for field, _value in place.layer.params.ListFields():
        if field.name != "custom_param":
            yield {"field": field.name}


@layer_rule("custom-ends")
def _custom_ends(view: View, place: Place) -> Iterable[Values]:
    if all(x in view.net.inputs for x in place.layer.bottoms):
        yield {"place": "first"}
    if all(x not in view.consumers for x in place.layer.tops):
        yield {"place": "last"}


@layer_rule("cpu-layer")
def _cpu_layer(view: View, place: Place) -> Iterable[Values]:
    if on_cpu(place.layer):
        yield {"segments": len(view.segments)}


@layer_rule("in-place")
def _in_place(view: View, place: Place) -> Iterable[Values]:
    for blob in [] if place.layer.in_place else place.layer.bottoms[:1]:
        only_reader = len(view.consumers[blob]) == 1
        if only_reader and blob in view.producers and len(place.layer.bottoms) == 1:
            yield {"type": place.layer.type}


@layer_rule("in-place-apart")
def _in_place_apart(view: View, place: Place) -> Iterable[Values]:
    maker = view.producers.get(place.layer.bottoms[0]) if place.layer.bottoms else None
    if not place.layer.in_place or maker is None:
        return
    between = place.index - next(i for i, x in enumerate(view.net.layers) if x is maker) - 1
    if between:
        yield {"layers": between, "maker": maker.name}


@layer_rule("slow-type")
def _slow_type(_: View, place: Place) -> Iterable[Values]:
    yield {"type": place.layer.type, "shape": text_of(place.site.bottom())}


@layer_rule("small-map")
def _small_map(_: View, place: Place) -> Iterable[Values]:
    shape = place.site.map()
    if shape[2] < 16 or shape[3] < 16:
        yield {"height": shape[2], "width": shape[3]}


@layer_rule("input-channel-blocks")
def _input_channel_blocks(_: View, place: Place) -> Iterable[Values]:
    channels, _outputs = _channels_of_group(place)
    if channels % 16:
        yield {"channels": channels, "used": blocks(channels, 16) * 16}


@layer_rule("output-channel-blocks")
def _output_channel_blocks(_: View, place: Place) -> Iterable[Values]:
    _inputs, channels = _channels_of_group(place)
    if channels % 4:
        yield {"channels": channels, "used": blocks(channels, 4) * 4}


@layer_rule("output-width-blocks")
def _output_width_blocks(_: View, place: Place) -> Iterable[Values]:
    shape = place.site.top()
    if len(shape) == 4 and shape[3] % 16:
        yield {"width": shape[3], "used": blocks(shape[3], 16) * 16}


@layer_rule("conv-depthwise")
def _conv_depthwise(_: View, place: Place) -> Iterable[Values]:
    group = place.layer.params.convolution_param.group
    if group > 1:
        into, out = place.site.map()[1] // group, place.site.top()[1] // group
        yield {"group": group, "into": into, "out": out}


def _channels_of_group(place: Place) -> tuple[int, int]:
    """Input and output channels; layers in groups have a hint of their own and raise."""
    bottom, top = place.site.bottom(), place.site.top()
    if place.layer.type == "InnerProduct":
        return math.prod(int(x) for x in bottom[1:]), int(top[-1])
    if place.layer.params.convolution_param.group != 1:
        raise UnknownShapeError
    return int(place.site.map()[1]), int(top[1])

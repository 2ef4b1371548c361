"""Conditions on inputs, on layer types, and on convolution, pooling and normalisation."""

from __future__ import annotations

from collections.abc import Iterable

from nnie_pipeline.caffe.axes import crop_offsets
from nnie_pipeline.caffe.windows import pool_output
from nnie_pipeline.chips.conditions import Values, layer_rule
from nnie_pipeline.chips.quantities import Dims, UnknownShapeError, coefficients
from nnie_pipeline.chips.rule import Rule, rules
from nnie_pipeline.chips.view import Place, View

_Q12_HALF_STEP = 2.0**-13


def text_of(shape: Dims) -> str:
    """A shape as it stands in messages: 1x3x640x640."""
    return "x".join(str(x) for x in shape)


def rule_of(rule_id: str) -> Rule:
    """The rule with this id."""
    return next(x for x in rules() if x.id == rule_id)


@layer_rule("input-even")
def _input_even(_: View, place: Place) -> Iterable[Values]:
    shape = place.site.top()
    if len(shape) == 4 and shape[1] == 3 and (shape[2] % 2 or shape[3] % 2):
        yield {"height": shape[2], "width": shape[3]}


@layer_rule("input-gray")
def _input_gray(_: View, place: Place) -> Iterable[Values]:
    shape = place.site.top()
    if len(shape) == 4 and shape[1] == 1:
        yield {}


@layer_rule("unsupported-type")
def _unsupported_type(_: View, place: Place) -> Iterable[Values]:
    rule = rule_of("unsupported-type")
    if place.layer.type not in rule.known:
        remedy = rule.remedies.get(place.layer.type, rule.remedy)
        yield {"type": place.layer.type, "detail": _crop_detail(place), "remedy": remedy}


def _crop_detail(place: Place) -> str:
    bottoms = [x for x in place.site.bottoms if x is not None]
    if place.layer.type != "Crop" or len(bottoms) != 2:
        return ""
    bottom, like = (tuple(int(n) for n in x) for x in bottoms)
    try:
        offsets = crop_offsets(place.layer, bottom, like)
    except (ValueError, IndexError):
        return ""
    if bottom == like and not any(offsets):
        return f"; this one cuts nothing at this size ({text_of(bottom)})"
    return f"; this one cuts {text_of(bottom)} to {text_of(like)}"


@layer_rule("shape-mismatch")
def _shape_mismatch(_: View, place: Place) -> Iterable[Values]:
    if place.problem:
        yield {"problem": place.problem}


@layer_rule("rrelu-unlisted")
def _rrelu_unlisted(_: View, place: Place) -> Iterable[Values]:
    yield {"slope": f"{coefficients(place.site)['slope']:.6g}"}


@layer_rule("dropout")
def _dropout(_: View, __: Place) -> Iterable[Values]:
    yield {}


@layer_rule("depthwise-type")
def _depthwise_type(_: View, place: Place) -> Iterable[Values]:
    yield {"channels": place.site.map()[1]}


@layer_rule("depthwise-num-output")
def _depthwise_num_output(_: View, place: Place) -> Iterable[Values]:
    channels = place.site.map()[1]
    param = place.layer.params.convolution_param
    if not param.HasField("num_output") or param.num_output != channels:
        value = param.num_output if param.HasField("num_output") else "not written"
        yield {"value": value, "channels": channels}


@layer_rule("upsample-nearest-old")
@layer_rule("upsample-nearest")
def _upsample_nearest(_: View, place: Place) -> Iterable[Values]:
    if len(place.layer.bottoms) < 2:
        yield {"bottoms": len(place.layer.bottoms)}


@layer_rule("upsample-factor")
def _upsample_factor(_: View, place: Place) -> Iterable[Values]:
    into, out = place.site.map(), place.site.top()
    if (out[2], out[3]) != (2 * into[2], 2 * into[3]):
        yield {"into": text_of(into[2:]), "out": text_of(out[2:])}


@layer_rule("upsample-mask")
def _upsample_mask(view: View, place: Place) -> Iterable[Values]:
    for blob in place.layer.bottoms[1:2]:
        maker = view.producers.get(blob)
        if maker is None:
            yield {"blob": blob, "maker": "no layer (it is an input)"}
        elif (
            maker.type != "Pooling"
            or maker.tops.index(blob) != 1
            or maker.params.pooling_param.pool != maker.params.pooling_param.MAX
        ):
            yield {"blob": blob, "maker": f"{maker.name} ({maker.type})"}


@layer_rule("pool-ceil")
def _pool_ceil(_: View, place: Place) -> Iterable[Values]:
    size, up, down = _pool_sizes(place)
    if up != down:
        yield {"into": text_of(size), "ceil": text_of(up), "floor": text_of(down)}


@layer_rule("pool-border")
def _pool_border(_: View, place: Place) -> Iterable[Values]:
    size, up, _down = _pool_sizes(place)
    caffe = pool_output(place.site.window(), size)
    if caffe != up:
        yield {"into": text_of(size), "caffe": text_of(caffe), "ceil": text_of(up)}


def _pool_sizes(place: Place) -> tuple[tuple[int, int], tuple[int, int], tuple[int, int]]:
    """Size of the map, and of the output rounded up and rounded down."""
    shape, window = place.site.map(), place.site.window()
    size = int(shape[2]), int(shape[3])
    stride = window.stride
    if min(stride) < 1:
        raise UnknownShapeError
    span = [size[i] + 2 * window.pad[i] - window.kernel[i] for i in (0, 1)]
    up = -(-span[0] // stride[0]) + 1, -(-span[1] // stride[1]) + 1
    return size, up, (span[0] // stride[0] + 1, span[1] // stride[1] + 1)


@layer_rule("ip-axis")
def _ip_axis(view: View, place: Place) -> Iterable[Values]:
    maker = view.producers.get(place.layer.bottoms[0]) if place.layer.bottoms else None
    wanted = 2 if maker is not None and maker.type == "LSTM" else 1
    value = place.layer.params.inner_product_param.axis
    if value != wanted:
        yield {"value": value, "wanted": wanted}


@layer_rule("batchnorm-global-stats")
def _global_stats(_: View, place: Place) -> Iterable[Values]:
    param = place.layer.params.batch_norm_param
    if param.HasField("use_global_stats") and not param.use_global_stats:
        yield {}


@layer_rule("batchnorm-global-stats-unset")
def _global_stats_unset(_: View, place: Place) -> Iterable[Values]:
    if not place.layer.params.batch_norm_param.HasField("use_global_stats"):
        yield {}


@layer_rule("batchnorm-eps")
def _batchnorm_eps(_: View, place: Place) -> Iterable[Values]:
    value = place.layer.params.batch_norm_param.eps
    if abs(value - 1e-5) > 1e-8:
        yield {"value": f"{value:.6g}"}


@layer_rule("batchnorm-stands")
def _batchnorm_stands(view: View, place: Place) -> Iterable[Values]:
    maker = view.producers.get(place.layer.bottoms[0]) if place.layer.bottoms else None
    if maker is not None and maker.type in {
        "Convolution", "Deconvolution", "DepthwiseConv", "InnerProduct"
    }:  # fmt: skip
        yield {"maker": maker.name}


@layer_rule("normalize-eps")
def _normalize_eps(_: View, place: Place) -> Iterable[Values]:
    value = place.layer.params.norm_param.eps
    if abs(value - 1e-10) > 1e-13:
        yield {"value": f"{value:.6g}"}


@layer_rule("normalize-sqrt-a")
def _normalize_sqrt_a(_: View, place: Place) -> Iterable[Values]:
    value = place.layer.params.norm_param.sqrt_a
    if value <= 0:
        yield {"value": f"{value:.6g}"}


@layer_rule("coefficient-small")
def _coefficient_small(_: View, place: Place) -> Iterable[Values]:
    values = coefficients(place.site)
    small = {k: x for k, x in values.items() if x and abs(x) < _Q12_HALF_STEP}
    if not small:
        return
    name, least = min(small.items(), key=lambda x: abs(x[1]))
    if len(values) == 1:
        yield {"what": f"{name} is {least:.3g},", "becomes": "becomes"}
    else:
        are = "is" if len(small) == 1 else "are"
        what = f"{len(small)} of {len(values)} values ({name}: {least:.3g}, the smallest) {are}"
        yield {"what": what, "becomes": "becomes" if len(small) == 1 else "become"}


@layer_rule("passthrough-focus")
def _passthrough_focus(view: View, place: Place) -> Iterable[Values]:
    for blob in place.layer.bottoms[:1]:
        if blob in view.net.inputs:
            yield {"blob": blob}

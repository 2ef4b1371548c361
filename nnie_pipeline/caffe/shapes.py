"""Shape inference with Caffe's own rounding, one small function a layer type."""

from __future__ import annotations

import itertools
import math

from nnie_pipeline.caffe.axes import (
    axis_of,
    concat_axis,
    crop_offsets,
    permute_order,
    slice_axis,
    slice_points,
)
from nnie_pipeline.caffe.caffe_pb2 import PoolingParameter
from nnie_pipeline.caffe.extension_shapes import EXTENSIONS, Rule
from nnie_pipeline.caffe.net import DEPTHWISE, Layer, Net, Shape
from nnie_pipeline.caffe.weights import check_weights
from nnie_pipeline.caffe.windows import (
    Pair,
    check_window,
    conv_output,
    conv_window,
    deconv_output,
    pool_output,
    pool_window,
    rounds_up,
)
from nnie_pipeline.errors import InputError

_LARGEST = 2**31 - 1
"""Values in a blob: Caffe 1.0 counts them in an int (blob.cpp, Blob::Reshape)."""


class ShapeError(InputError):
    """A layer cannot take the shapes of its bottoms."""


def infer(net: Net, inputs: dict[str, Shape] | None = None) -> dict[str, Shape]:
    """The shape of every value of `net`, with other input shapes when given.

    Raises:
        ShapeError: names the layer, the shapes and what does not fit.
    """
    shapes: dict[str, Shape] = dict(inputs or net.inputs)
    for layer in net.layers:
        bottoms = [shapes[x] for x in layer.bottoms]
        shapes.update(zip(layer.tops, layer_shapes(layer, bottoms), strict=True))
    return shapes


def layer_shapes(layer: Layer, bottoms: list[Shape]) -> list[Shape]:
    """The shapes of the layer's tops.

    Raises:
        ShapeError: as `infer`.
    """
    rule = _RULES.get(layer.type)
    if rule is None:
        raise ShapeError(f"layer {layer.name}: the type {layer.type} is not known")
    try:
        if len(bottoms) != 1 and layer.type not in _SEVERAL:
            raise ValueError(f"it takes 1 bottom, not {len(bottoms)}")
        tops = rule(layer, bottoms)
        check_weights(layer, bottoms)
        if len(tops) != len(layer.tops):
            raise ValueError(f"it makes {len(tops)} top, not {len(layer.tops)}")
    except (ValueError, IndexError, ZeroDivisionError) as error:
        described = " and ".join(_text(x) for x in bottoms) or "nothing"
        raise ShapeError(
            f"layer {layer.name} ({layer.type}) cannot take {described}: {error}"
        ) from error
    for shape in tops:
        if any(x < 1 for x in shape):
            raise ShapeError(
                f"layer {layer.name} ({layer.type}) makes {_text(shape)} of "
                f"{' and '.join(_text(x) for x in bottoms)}: the map is smaller than the window; "
                "use a larger input size"
            )
        if math.prod(shape) > _LARGEST:
            raise ShapeError(
                f"layer {layer.name} ({layer.type}) makes {_text(shape)} of "
                f"{' and '.join(_text(x) for x in bottoms)}: a blob holds at most {_LARGEST} values"
            )
    return tops


def _text(shape: Shape) -> str:
    return "x".join(map(str, shape))


def _map_size(shape: Shape) -> Pair:
    if len(shape) != 4:
        raise ValueError("it needs a map N x C x H x W")
    return shape[2], shape[3]


def _same(layer: Layer, bottoms: list[Shape]) -> list[Shape]:
    return [bottoms[0]]


def _split(layer: Layer, bottoms: list[Shape]) -> list[Shape]:
    return [bottoms[0]] * len(layer.tops)


def _convolution(layer: Layer, bottoms: list[Shape]) -> list[Shape]:
    param = layer.params.convolution_param
    size, channels = _map_size(bottoms[0]), bottoms[0][1]
    outputs = param.num_output or channels
    group = channels if layer.type in DEPTHWISE else param.group
    if group < 1:
        raise ValueError(f"its group {group} must be at least 1")
    for count, what in ((channels, "channels"), (outputs, "outputs")):
        if count % group:
            raise ValueError(f"{count} {what} do not split into {group} groups")
    rounding = deconv_output if layer.type == "Deconvolution" else conv_output
    return [(bottoms[0][0], outputs, *rounding(check_window(conv_window(param)), size))]


def _pooling(layer: Layer, bottoms: list[Shape]) -> list[Shape]:
    param, size = layer.params.pooling_param, _map_size(bottoms[0])
    window = check_window(pool_window(param, size), pooling=True)
    output = pool_output(window, size, rounds_up(param))
    for i in (0, 1):
        if (output[i] - 1) * window.stride[i] - window.pad[i] >= size[i]:
            raise ValueError(
                "its last window lies outside of the map (Caffe rounds up); choose a size at "
                "which the stride leaves a rest"
            )
    # The second top, where there is one, is the mask of a later un-pooling.
    masked = param.pool == PoolingParameter.MAX and len(layer.tops) == 2
    return [(*bottoms[0][:2], *output)] * (2 if masked else 1)


def _inner_product(layer: Layer, bottoms: list[Shape]) -> list[Shape]:
    param = layer.params.inner_product_param
    axis = axis_of(param.axis, bottoms[0])
    return [(*bottoms[0][:axis], param.num_output)]


def _eltwise(layer: Layer, bottoms: list[Shape]) -> list[Shape]:
    if any(x != bottoms[0] for x in bottoms):
        raise ValueError("the bottoms of an Eltwise must have one shape")
    given = len(layer.params.eltwise_param.coeff)
    if given not in (0, len(bottoms)):
        raise ValueError(f"{given} coefficients for {len(bottoms)} bottoms")
    return [bottoms[0]]


def _concat(layer: Layer, bottoms: list[Shape]) -> list[Shape]:
    axis = axis_of(concat_axis(layer), bottoms[0])
    rest = [x[:axis] + x[axis + 1 :] for x in bottoms]
    if any(x != rest[0] for x in rest):
        raise ValueError(f"the bottoms of a Concat may differ along axis {axis} only")
    total = sum(x[axis] for x in bottoms)
    return [(*bottoms[0][:axis], total, *bottoms[0][axis + 1 :])]


def _slice(layer: Layer, bottoms: list[Shape]) -> list[Shape]:
    axis = axis_of(slice_axis(layer), bottoms[0])
    points = slice_points(layer, bottoms[0][axis])
    return [
        (*bottoms[0][:axis], end - start, *bottoms[0][axis + 1 :])
        for start, end in itertools.pairwise(points)
    ]


def _reshape(layer: Layer, bottoms: list[Shape]) -> list[Shape]:
    param = layer.params.reshape_param
    bottom = bottoms[0]
    start = param.axis if param.axis >= 0 else len(bottom) + param.axis + 1
    end = len(bottom) if param.num_axes == -1 else start + param.num_axes
    if not 0 <= start <= end <= len(bottom):
        raise ValueError(f"axis {param.axis} and num_axes {param.num_axes}")
    dims = list(param.shape.dim)
    if min(dims, default=0) < -1:
        raise ValueError(f"dim {min(dims)}")
    if dims.count(-1) > 1:
        raise ValueError("more than one -1")
    if any(x == 0 and start + i >= len(bottom) for i, x in enumerate(dims)):
        raise ValueError("a dim of 0 copies an axis that it does not have")
    target = [bottom[start + i] if x == 0 else x for i, x in enumerate(dims)]
    if target.count(-1) == 1:
        known = math.prod(x for x in target if x != -1)
        inner = math.prod(bottom[start:end])
        if known == 0 or inner % known:
            raise ValueError(f"{inner} values do not divide by {known}")
        target[target.index(-1)] = inner // known
    shape = (*bottom[:start], *target, *bottom[end:])
    if math.prod(shape) != math.prod(bottom):
        raise ValueError(f"{math.prod(bottom)} values do not fill {_text(shape)}")
    return [shape]


def _flatten(layer: Layer, bottoms: list[Shape]) -> list[Shape]:
    param = layer.params.flatten_param
    start = axis_of(param.axis, bottoms[0])
    end = axis_of(param.end_axis, bottoms[0])
    if end < start:
        raise ValueError(f"end_axis {param.end_axis} lies before axis {param.axis}")
    inner = math.prod(bottoms[0][start : end + 1])
    return [(*bottoms[0][:start], inner, *bottoms[0][end + 1 :])]


def _permute(layer: Layer, bottoms: list[Shape]) -> list[Shape]:
    return [tuple(bottoms[0][x] for x in permute_order(layer, len(bottoms[0])))]


def _crop(layer: Layer, bottoms: list[Shape]) -> list[Shape]:
    bottom, like = bottoms
    crop_offsets(layer, bottom, like)
    axis = axis_of(layer.params.crop_param.axis, bottom)
    return [(*bottom[:axis], *like[axis:])]


def _softmax(layer: Layer, bottoms: list[Shape]) -> list[Shape]:
    axis_of(layer.params.softmax_param.axis, bottoms[0])
    return [bottoms[0]]


_SEVERAL = frozenset(
    {"Bias", "Concat", "Crop", "Custom", "Eltwise", "LSTM", "MatMul", "PSROIPooling", "Parameter",
     "Proposal", "RNN", "ROIPooling", "Scale", "Silence", "Upsample"}
)  # fmt: skip
"""Layers that may have another number of bottoms than one."""

_RULES: dict[str, Rule] = {
    **EXTENSIONS,
    "Convolution": _convolution,
    **dict.fromkeys(DEPTHWISE, _convolution),
    "Deconvolution": _convolution,
    "Pooling": _pooling,
    "InnerProduct": _inner_product,
    "Eltwise": _eltwise,
    "Concat": _concat,
    "Slice": _slice,
    "Split": _split,
    "Reshape": _reshape,
    "Flatten": _flatten,
    "Permute": _permute,
    "Crop": _crop,
    "Softmax": _softmax,
    **dict.fromkeys(
        ("AbsVal", "BNLL", "BatchNorm", "Bias", "Clip", "Dropout", "ELU", "Exp", "HardSigmoid",
         "HardSwish", "Log", "Normalize", "PReLU", "Power", "RReLU", "ReLU", "ReLU6", "Scale",
         "Sigmoid", "Swish", "TanH", "Threshold"),
        _same,
    ),
}  # fmt: skip

"""Caffe's layers written down from their definition: slow, plain, float64.

Shares no code with the engine; only the schema's messages are the same. Windows are
enumerated as Caffe's loops do instead of computed by a formula.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from nnie_pipeline.caffe.caffe_pb2 import (
    ConvolutionParameter,
    EltwiseParameter,
    LayerParameter,
    LRNParameter,
    NetParameter,
    PoolingParameter,
)
from tests.caffe_reference_extensions import EXTENSIONS, unpool

Array = npt.NDArray[np.float64]
Function = Callable[[LayerParameter, Sequence[Array], Sequence[Array]], list[Array]]


def conv_starts(size: int, kernel: int, stride: int, pad: int, dilation: int = 1) -> list[int]:
    """Where the windows of a convolution start: as long as they end on the padded map."""
    last = (kernel - 1) * dilation
    return [x for x in range(-pad, size + pad, stride) if x + last < size + pad]


def pool_starts(size: int, kernel: int, stride: int, pad: int, any_pad: bool) -> list[int]:
    """Where the windows of a pooling start: on until one reaches the end of the padded map.

    With padding on any axis Caffe drops one last window that starts behind map and pad.
    """
    starts = [-pad]
    while starts[-1] + kernel < size + pad:
        starts.append(starts[-1] + stride)
    if any_pad and starts[-1] + pad >= size + pad:
        starts.pop()
    return starts


def deconv_size(size: int, kernel: int, stride: int, pad: int, dilation: int = 1) -> int:
    """How many positions all taps of all inputs reach, without the pad on both sides."""
    reached = {i * stride + k * dilation for i in range(size) for k in range(kernel)}
    return max(reached) + 1 - 2 * pad


def conv_settings(param: ConvolutionParameter) -> tuple[tuple[int, int], ...]:
    """(kernel, stride, pad, dilation), each (height, width)."""

    def pair(values: Sequence[int], default: int, named: tuple[str, str] | None) -> tuple[int, int]:
        if named and (param.HasField(named[0]) or param.HasField(named[1])):
            return getattr(param, named[0]), getattr(param, named[1])
        given = list(values) or [default]
        return given[0], given[-1]

    return (
        pair(param.kernel_size, 0, ("kernel_h", "kernel_w")),
        pair(param.stride, 1, ("stride_h", "stride_w")),
        pair(param.pad, 0, ("pad_h", "pad_w")),
        pair(param.dilation, 1, None),
    )


def convolution(
    p: LayerParameter, bottoms: Sequence[Array], weights: Sequence[Array]
) -> list[Array]:
    x, w = bottoms[0], weights[0]
    kernel, stride, pad, dilation = conv_settings(p.convolution_param)
    group = x.shape[1] if p.type == "DepthwiseConv" else p.convolution_param.group
    rows = conv_starts(x.shape[2], kernel[0], stride[0], pad[0], dilation[0])
    columns = conv_starts(x.shape[3], kernel[1], stride[1], pad[1], dilation[1])
    y = np.zeros((x.shape[0], w.shape[0], len(rows), len(columns)))
    outs, ins = w.shape[0] // group, x.shape[1] // group
    for (i, row), (j, column), ky, kx in itertools.product(
        enumerate(rows), enumerate(columns), range(kernel[0]), range(kernel[1])
    ):
        r, c = row + ky * dilation[0], column + kx * dilation[1]
        if not (0 <= r < x.shape[2] and 0 <= c < x.shape[3]):
            continue
        for g in range(group):
            taps = w[g * outs : (g + 1) * outs, :, ky, kx]
            y[:, g * outs : (g + 1) * outs, i, j] += x[:, g * ins : (g + 1) * ins, r, c] @ taps.T
    if p.convolution_param.bias_term:
        y += weights[1].reshape(1, -1, 1, 1)
    return [y]


def deconvolution(
    p: LayerParameter, bottoms: Sequence[Array], weights: Sequence[Array]
) -> list[Array]:
    x, w = bottoms[0], weights[0]
    kernel, stride, pad, dilation = conv_settings(p.convolution_param)
    group = p.convolution_param.group
    size = [deconv_size(x.shape[2 + a], kernel[a], stride[a], pad[a], dilation[a]) for a in (0, 1)]
    outs, ins = w.shape[1], x.shape[1] // group
    y = np.zeros((x.shape[0], outs * group, *size))
    for i, j, ky, kx in itertools.product(
        range(x.shape[2]), range(x.shape[3]), range(kernel[0]), range(kernel[1])
    ):
        r = i * stride[0] + ky * dilation[0] - pad[0]
        c = j * stride[1] + kx * dilation[1] - pad[1]
        if not (0 <= r < size[0] and 0 <= c < size[1]):
            continue
        for g in range(group):
            taps = w[g * ins : (g + 1) * ins, :, ky, kx]
            y[:, g * outs : (g + 1) * outs, r, c] += x[:, g * ins : (g + 1) * ins, i, j] @ taps
    if p.convolution_param.bias_term:
        y += weights[1].reshape(1, -1, 1, 1)
    return [y]


def pooling(p: LayerParameter, bottoms: Sequence[Array], _: Sequence[Array]) -> list[Array]:
    x, param = bottoms[0], p.pooling_param
    size = x.shape[2], x.shape[3]
    if param.global_pooling:
        kernel, stride, pad = size, (1, 1), (0, 0)
    else:
        named = param.HasField("kernel_h")
        kernel = (param.kernel_h, param.kernel_w) if named else (param.kernel_size,) * 2
        named = param.HasField("stride_h")
        stride = (param.stride_h, param.stride_w) if named else (param.stride,) * 2
        named = param.HasField("pad_h")
        pad = (param.pad_h, param.pad_w) if named else (param.pad,) * 2
    starts = [pool_starts(size[a], kernel[a], stride[a], pad[a], any(pad)) for a in (0, 1)]
    y = np.zeros((*x.shape[:2], len(starts[0]), len(starts[1])))
    mask = y.copy()
    for (i, top), (j, left) in itertools.product(enumerate(starts[0]), enumerate(starts[1])):
        bottom = min(top + kernel[0], size[0] + pad[0])
        right = min(left + kernel[1], size[1] + pad[1])
        count = (bottom - top) * (right - left)
        inside = x[:, :, max(top, 0) : min(bottom, size[0]), max(left, 0) : min(right, size[1])]
        if param.pool == PoolingParameter.MAX:
            y[:, :, i, j] = inside.max(axis=(2, 3))
            for n, c in np.ndindex(*x.shape[:2]):
                row, column = np.unravel_index(inside[n, c].argmax(), inside.shape[2:])
                mask[n, c, i, j] = (max(top, 0) + row) * size[1] + max(left, 0) + column
        else:
            y[:, :, i, j] = inside.sum(axis=(2, 3)) / count
    return [y, mask][: max(len(p.top), 1)]


def inner_product(
    p: LayerParameter, bottoms: Sequence[Array], weights: Sequence[Array]
) -> list[Array]:
    x, param = bottoms[0], p.inner_product_param
    axis = param.axis % x.ndim
    flat = x.reshape(math.prod(x.shape[:axis]), -1)
    w = weights[0].reshape(weights[0].shape[-2:])
    y = flat @ (w if param.transpose else w.T)
    if param.bias_term:
        y = y + weights[1].reshape(1, -1)
    return [y.reshape(*x.shape[:axis], param.num_output)]


def batch_norm(
    p: LayerParameter, bottoms: Sequence[Array], weights: Sequence[Array]
) -> list[Array]:
    factor = weights[2].ravel()[0]
    factor = 0 if factor == 0 else 1 / factor
    shape = (1, -1, *(1,) * (bottoms[0].ndim - 2))
    mean, variance = (weights[i].reshape(shape) * factor for i in (0, 1))
    return [(bottoms[0] - mean) / np.sqrt(variance + p.batch_norm_param.eps)]


def _laid_out(parameter: Array, bottom: Array, axis: int) -> Array:
    """`parameter` repeated over the axes of `bottom` before and behind its own."""
    start = axis % bottom.ndim
    behind = bottom.ndim - start - parameter.ndim
    return parameter.reshape((1,) * start + parameter.shape + (1,) * behind)


def _own_shape(bottom: Array, axis: int, num_axes: int) -> tuple[int, ...]:
    start = axis % bottom.ndim
    return bottom.shape[start:] if num_axes == -1 else bottom.shape[start : start + num_axes]


def scale(p: LayerParameter, bottoms: Sequence[Array], weights: Sequence[Array]) -> list[Array]:
    x, param, stored = bottoms[0], p.scale_param, list(weights)
    if len(bottoms) > 1:
        factor = bottoms[1]
    else:
        factor = stored.pop(0).reshape(_own_shape(x, param.axis, param.num_axes))
    y = x * (factor if factor.ndim == 0 else _laid_out(factor, x, param.axis))
    if param.bias_term:
        y = y + _laid_out(stored[0].reshape(factor.shape), x, param.axis)
    return [y]


def bias(p: LayerParameter, bottoms: Sequence[Array], weights: Sequence[Array]) -> list[Array]:
    x, param = bottoms[0], p.bias_param
    own = bottoms[1] if len(bottoms) > 1 else weights[0]
    if len(bottoms) == 1:
        own = own.reshape(_own_shape(x, param.axis, param.num_axes))
    return [x + _laid_out(own, x, param.axis)]


def eltwise(p: LayerParameter, bottoms: Sequence[Array], _: Sequence[Array]) -> list[Array]:
    param = p.eltwise_param
    y = bottoms[0] * 0
    if param.operation == EltwiseParameter.SUM:
        for c, x in zip(list(param.coeff) or [1.0] * len(bottoms), bottoms, strict=True):
            y = y + c * x
    elif param.operation == EltwiseParameter.PROD:
        y = y + 1
        for x in bottoms:
            y = y * x
    else:
        y = y - math.inf
        for x in bottoms:
            y = np.where(x > y, x, y)
    return [y]


def prelu(p: LayerParameter, bottoms: Sequence[Array], weights: Sequence[Array]) -> list[Array]:
    x = bottoms[0]
    slopes = weights[0].ravel()
    if p.prelu_param.channel_shared:
        slopes = np.repeat(slopes, x.shape[1])
    y = x.copy()
    for c in range(x.shape[1]):
        y[:, c] = np.where(x[:, c] > 0, x[:, c], slopes[c] * x[:, c])
    return [y]


def _leaky(x: Array, slope: float) -> Array:
    return np.maximum(x, 0) + slope * np.minimum(x, 0)


def relu(p: LayerParameter, bottoms: Sequence[Array], _: Sequence[Array]) -> list[Array]:
    return [_leaky(bottoms[0], p.relu_param.negative_slope)]


def rrelu(p: LayerParameter, bottoms: Sequence[Array], _: Sequence[Array]) -> list[Array]:
    return [_leaky(bottoms[0], (p.rrelu_param.lower + p.rrelu_param.upper) / 2)]


def elu(p: LayerParameter, bottoms: Sequence[Array], _: Sequence[Array]) -> list[Array]:
    x = bottoms[0]
    return [np.where(x > 0, x, p.elu_param.alpha * (np.exp(np.minimum(x, 0)) - 1))]


def power(p: LayerParameter, bottoms: Sequence[Array], _: Sequence[Array]) -> list[Array]:
    param = p.power_param
    return [(param.shift + param.scale * bottoms[0]) ** param.power]


def exp(p: LayerParameter, bottoms: Sequence[Array], _: Sequence[Array]) -> list[Array]:
    param = p.exp_param
    base = math.e if param.base == -1 else param.base
    return [base ** (param.shift + param.scale * bottoms[0])]


def log(p: LayerParameter, bottoms: Sequence[Array], _: Sequence[Array]) -> list[Array]:
    param = p.log_param
    base = math.e if param.base == -1 else param.base
    return [np.log(param.shift + param.scale * bottoms[0]) / math.log(base)]


def threshold(p: LayerParameter, bottoms: Sequence[Array], _: Sequence[Array]) -> list[Array]:
    return [np.where(bottoms[0] > p.threshold_param.threshold, 1.0, 0.0)]


def bnll(_: LayerParameter, bottoms: Sequence[Array], __: Sequence[Array]) -> list[Array]:
    x = bottoms[0]
    small = np.log1p(np.exp(np.minimum(x, 0)))
    return [np.where(x > 0, x + np.log1p(np.exp(-np.maximum(x, 0))), small)]


def lrn(p: LayerParameter, bottoms: Sequence[Array], _: Sequence[Array]) -> list[Array]:
    param, x = p.lrn_param, bottoms[0]
    y = x.copy()
    half = (param.local_size - 1) // 2
    if param.norm_region == LRNParameter.WITHIN_CHANNEL:
        # The mean is that of an average pooling with padding: the padding counts.
        for i, j in itertools.product(range(x.shape[2]), range(x.shape[3])):
            near = x[:, :, max(i - half, 0) : i + half + 1, max(j - half, 0) : j + half + 1]
            mean = (near**2).sum(axis=(2, 3)) / param.local_size**2
            y[:, :, i, j] *= (1 + param.alpha * mean) ** -param.beta
        return [y]
    for c in range(x.shape[1]):
        near = x[:, max(c - half, 0) : c + half + 1]
        squares = (near**2).sum(axis=1)
        y[:, c] *= (param.k + param.alpha / param.local_size * squares) ** -param.beta
    return [y]


def concat(p: LayerParameter, bottoms: Sequence[Array], _: Sequence[Array]) -> list[Array]:
    param = p.concat_param
    axis = param.concat_dim if param.HasField("concat_dim") else param.axis
    return [np.concatenate(bottoms, axis=axis)]


def slice_(p: LayerParameter, bottoms: Sequence[Array], _: Sequence[Array]) -> list[Array]:
    param = p.slice_param
    axis = param.slice_dim if param.HasField("slice_dim") else param.axis
    points = list(param.slice_point) or len(p.top)
    return np.split(bottoms[0], points, axis=axis)


def reshape(p: LayerParameter, bottoms: Sequence[Array], _: Sequence[Array]) -> list[Array]:
    param, x = p.reshape_param, bottoms[0]
    axis = param.axis if param.axis >= 0 else x.ndim + param.axis + 1
    end = x.ndim if param.num_axes == -1 else axis + param.num_axes
    dims = [x.shape[axis + i] if d == 0 else d for i, d in enumerate(param.shape.dim)]
    return [x.reshape(*x.shape[:axis], *dims, *x.shape[end:])]


def flatten(p: LayerParameter, bottoms: Sequence[Array], _: Sequence[Array]) -> list[Array]:
    x, param = bottoms[0], p.flatten_param
    start, end = param.axis % x.ndim, param.end_axis % x.ndim
    return [x.reshape(*x.shape[:start], -1, *x.shape[end + 1 :])]


def permute(p: LayerParameter, bottoms: Sequence[Array], _: Sequence[Array]) -> list[Array]:
    order = list(p.permute_param.order)
    order += [x for x in range(bottoms[0].ndim) if x not in order]
    return [bottoms[0].transpose(order)]


def crop(p: LayerParameter, bottoms: Sequence[Array], _: Sequence[Array]) -> list[Array]:
    x, like = bottoms
    axis = p.crop_param.axis % x.ndim
    offsets = list(p.crop_param.offset) or [0]
    offsets = offsets * (x.ndim - axis) if len(offsets) == 1 else offsets
    for i, offset in enumerate(offsets):
        x = x.take(range(offset, offset + like.shape[axis + i]), axis=axis + i)
    return [x]


def softmax(p: LayerParameter, bottoms: Sequence[Array], _: Sequence[Array]) -> list[Array]:
    axis = p.softmax_param.axis
    e = np.exp(bottoms[0] - bottoms[0].max(axis=axis, keepdims=True))
    return [e / e.sum(axis=axis, keepdims=True)]


def upsample(p: LayerParameter, bottoms: Sequence[Array], _: Sequence[Array]) -> list[Array]:
    param, x = p.upsample_param, bottoms[0]
    height = param.upsample_h or x.shape[2] * (param.scale_h or param.scale)
    width = param.upsample_w or x.shape[3] * (param.scale_w or param.scale)
    if len(bottoms) > 1:
        return [unpool(x, bottoms[1], height, width)]
    return [x.repeat(height // x.shape[2], axis=2).repeat(width // x.shape[3], axis=3)]


def copies(p: LayerParameter, bottoms: Sequence[Array], _: Sequence[Array]) -> list[Array]:
    return [bottoms[0].copy() for _ in p.top]


def _plain(function: Callable[[Array], Array]) -> Function:
    return lambda _, bottoms, __: [function(bottoms[0])]


LAYERS: dict[str, Function] = {
    "AbsVal": _plain(np.abs),
    "BNLL": bnll,
    "BatchNorm": batch_norm,
    "Bias": bias,
    "Concat": concat,
    "Convolution": convolution,
    "Crop": crop,
    "Deconvolution": deconvolution,
    "DepthwiseConv": convolution,
    "Dropout": copies,
    "ELU": elu,
    "Eltwise": eltwise,
    "Exp": exp,
    "Flatten": flatten,
    "InnerProduct": inner_product,
    "LRN": lrn,
    "Log": log,
    "PReLU": prelu,
    "Permute": permute,
    "Pooling": pooling,
    "Power": power,
    "RReLU": rrelu,
    "ReLU": relu,
    "Reshape": reshape,
    "Scale": scale,
    "Sigmoid": _plain(lambda x: 1 / (1 + np.exp(-x))),
    "Slice": slice_,
    "Softmax": softmax,
    "Split": copies,
    "TanH": _plain(np.tanh),
    "Threshold": threshold,
    "Upsample": upsample,
    **EXTENSIONS,
}


def run_layer(
    p: LayerParameter, bottoms: Sequence[npt.ArrayLike], weights: Sequence[npt.ArrayLike] = ()
) -> list[Array]:
    """The tops of one layer."""
    return LAYERS[p.type](
        p,
        [np.asarray(x, np.float64) for x in bottoms],
        [np.asarray(x, np.float64) for x in weights],
    )


def run_net(
    proto: NetParameter,
    weights: Mapping[str, Sequence[npt.ArrayLike]],
    inputs: Mapping[str, npt.ArrayLike],
) -> dict[str, Array]:
    """Every blob as Caffe leaves it: layers in file order, in-place layers overwrite."""
    blobs = {x: np.asarray(y, np.float64) for x, y in inputs.items()}
    for p in proto.layer:
        if p.type == "Input":
            continue
        tops = run_layer(p, [blobs[x] for x in p.bottom], weights.get(p.name, ()))
        blobs.update(zip(p.top, tops, strict=True))
    return blobs

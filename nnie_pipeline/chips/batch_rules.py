"""The rules of the batch shape inference, one small function a layer type.

A rule gives the shapes of a layer's tops and notes in the `Candidates` at which sizes the
layer does not fit. What does not depend on the size (groups, numbers of bottoms, weights) is
left to `nnie_pipeline.caffe.shapes`, which the size search asks about one valid size.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, cast

import numpy as np
import numpy.typing as npt

from nnie_pipeline.caffe.axes import axis_of, concat_axis, permute_order, slice_axis
from nnie_pipeline.caffe.net import DEPTHWISE, Layer
from nnie_pipeline.caffe.windows import (
    Window,
    check_window,
    conv_output,
    conv_window,
    deconv_output,
    pool_window,
    rounds_up,
)
from nnie_pipeline.chips.quantities import Dim, Dims

Mask = npt.NDArray[np.bool_]


@dataclass
class Candidates:
    """Input sizes and what is known of each; index 0 is the size that stands in the file.

    `shapes` has every value's shape; `ok` says where all layers fit together; `divides` and
    `ends_flush` say, for rows and columns, where every stride divides its map, and where
    every window at least ends on the map's last pixel.
    """

    shapes: dict[str, Dims]
    ok: Mask
    divides: tuple[Mask, Mask]
    ends_flush: tuple[Mask, Mask]


def require(found: Candidates, condition: Any) -> None:
    """Note where `condition` (of one value, or of one a candidate) does not hold."""
    found.ok &= condition


def _same(layer: Layer, bottoms: list[Dims], _: Candidates) -> list[Dims]:
    return [bottoms[0] for _ in layer.tops]


def size_in(shape: Dims) -> tuple[int, int]:
    """Height and width, typed as the window functions want them; they work on arrays too."""
    if len(shape) != 4:
        raise ValueError(f"a blob of {len(shape)} axes is not a map")
    return cast("tuple[int, int]", shape[2:])


def _note_strides(window: Window, size: Sequence[Dim], found: Candidates) -> None:
    for axis in (0, 1):
        stride = window.stride[axis]
        divided = np.asarray(size[axis]) % stride == 0
        rest = (size[axis] + 2 * window.pad[axis] - window.extent[axis]) % stride
        found.divides[axis][:] &= divided
        found.ends_flush[axis][:] &= divided | (np.asarray(rest) == 0)


def _convolution(layer: Layer, bottoms: list[Dims], found: Candidates) -> list[Dims]:
    param = layer.params.convolution_param
    window, size = check_window(conv_window(param)), size_in(bottoms[0])
    channels: Dim = param.num_output or bottoms[0][1]
    if layer.type == "Deconvolution":
        return [(bottoms[0][0], channels, *deconv_output(window, size))]
    _note_strides(window, size, found)
    return [(bottoms[0][0], channels, *conv_output(window, size))]


def _pooling(layer: Layer, bottoms: list[Dims], found: Candidates) -> list[Dims]:
    param = layer.params.pooling_param
    size = size_in(bottoms[0])
    window = pool_window(param, size)
    if not param.global_pooling:
        check_window(window, pooling=True)
        _note_strides(window, size, found)
    out: list[Dim] = list(conv_output(window, size))
    if rounds_up(param):
        out = [_rounded_up(window, size, axis) for axis in (0, 1)]
    for axis in (0, 1):
        last = (out[axis] - 1) * window.stride[axis] - window.pad[axis]
        require(found, np.asarray(last) < size[axis])
    return [(*bottoms[0][:2], *out)] * min(len(layer.tops), 2)


def _rounded_up(window: Window, size: Sequence[Dim], axis: int) -> Dim:
    stride, pad = window.stride[axis], window.pad[axis]
    count: Dim = -(-(size[axis] + 2 * pad - window.kernel[axis]) // stride) + 1
    if any(window.pad):
        count = count - ((np.asarray(count) - 1) * stride >= size[axis] + pad)
    return count


def _inner_product(layer: Layer, bottoms: list[Dims], found: Candidates) -> list[Dims]:
    param = layer.params.inner_product_param
    axis = axis_in(param.axis, bottoms[0])
    count = math.prod(bottoms[0][axis:])
    if isinstance(count, np.ndarray):
        require(found, count == count[0])
    return [(*bottoms[0][:axis], param.num_output)]


def _eltwise(_: Layer, bottoms: list[Dims], found: Candidates) -> list[Dims]:
    for other in bottoms[1:]:
        _require_equal(other, bottoms[0], found)
    return [bottoms[0]]


def _require_equal(left: Dims, right: Dims, found: Candidates) -> None:
    if len(left) != len(right):
        raise ValueError(f"{len(left)} axes and {len(right)} axes")
    for a, b in zip(left, right, strict=True):
        require(found, a == b)


def axis_in(value: int, shape: Dims) -> int:
    """The axis from 0, as Caffe reads a negative one."""
    return axis_of(value, (1,) * len(shape))


def _concat(layer: Layer, bottoms: list[Dims], found: Candidates) -> list[Dims]:
    axis = axis_in(concat_axis(layer), bottoms[0])
    rest = [x[:axis] + x[axis + 1 :] for x in bottoms]
    for other in rest[1:]:
        _require_equal(other, rest[0], found)
    total = sum((x[axis] for x in bottoms[1:]), bottoms[0][axis])
    return [(*bottoms[0][:axis], total, *bottoms[0][axis + 1 :])]


def _slice(layer: Layer, bottoms: list[Dims], found: Candidates) -> list[Dims]:
    axis = axis_in(slice_axis(layer), bottoms[0])
    length = bottoms[0][axis]
    points: list[Dim] = list(layer.params.slice_param.slice_point)
    if not points:
        require(found, np.asarray(length) % len(layer.tops) == 0)
        points = [length // len(layer.tops) * i for i in range(1, len(layer.tops))]
    ends = itertools.pairwise([0, *points, length])
    return [(*bottoms[0][:axis], end - start, *bottoms[0][axis + 1 :]) for start, end in ends]


def _reshape(layer: Layer, bottoms: list[Dims], found: Candidates) -> list[Dims]:
    param = layer.params.reshape_param
    bottom = bottoms[0]
    start = param.axis if param.axis >= 0 else len(bottom) + param.axis + 1
    end = len(bottom) if param.num_axes == -1 else start + param.num_axes
    if not 0 <= start <= end <= len(bottom):
        raise ValueError(f"axis {param.axis} and num_axes {param.num_axes}")
    wanted = list(param.shape.dim)
    target: list[Dim] = [bottom[start + i] if x == 0 else x for i, x in enumerate(wanted)]
    if wanted.count(-1) == 1:
        known = math.prod(x for x, y in zip(target, wanted, strict=True) if y != -1)
        target[wanted.index(-1)] = math.prod(bottom[start:end]) // np.maximum(known, 1)
    shape = (*bottom[:start], *target, *bottom[end:])
    require(found, np.asarray(math.prod(shape)) == math.prod(bottom))
    return [shape]


def _flatten(layer: Layer, bottoms: list[Dims], _: Candidates) -> list[Dims]:
    param = layer.params.flatten_param
    start, end = axis_in(param.axis, bottoms[0]), axis_in(param.end_axis, bottoms[0])
    if end < start:
        raise ValueError(f"end_axis {param.end_axis} lies before axis {param.axis}")
    inner = math.prod(bottoms[0][start : end + 1])
    return [(*bottoms[0][:start], inner, *bottoms[0][end + 1 :])]


def _permute(layer: Layer, bottoms: list[Dims], _: Candidates) -> list[Dims]:
    return [tuple(bottoms[0][x] for x in permute_order(layer, len(bottoms[0])))]


def _crop(layer: Layer, bottoms: list[Dims], found: Candidates) -> list[Dims]:
    param = layer.params.crop_param
    if any(param.offset):
        require(found, False)
    axis = axis_in(param.axis, bottoms[0])
    _require_equal(bottoms[0][axis:], bottoms[1][axis:], found)
    return [(*bottoms[0][:axis], *bottoms[1][axis:])]


def _softmax(layer: Layer, bottoms: list[Dims], _: Candidates) -> list[Dims]:
    axis_in(layer.params.softmax_param.axis, bottoms[0])
    return [bottoms[0]]


def _reduction(layer: Layer, bottoms: list[Dims], _: Candidates) -> list[Dims]:
    return [bottoms[0][: axis_in(layer.params.reduction_param.axis, bottoms[0])]]


RULES: dict[str, Callable[[Layer, list[Dims], Candidates], list[Dims]]] = {
    "Convolution": _convolution,
    **dict.fromkeys(DEPTHWISE, _convolution),
    "Deconvolution": _convolution,
    "Pooling": _pooling,
    "InnerProduct": _inner_product,
    "Eltwise": _eltwise,
    "Concat": _concat,
    "Slice": _slice,
    "Reshape": _reshape,
    "Flatten": _flatten,
    "Permute": _permute,
    "Crop": _crop,
    "Softmax": _softmax,
    "Reduction": _reduction,
    **dict.fromkeys(
        ("AbsVal", "BNLL", "BatchNorm", "Bias", "Dropout", "ELU", "Exp", "LRN", "Log",
         "Normalize", "PReLU", "Power", "RReLU", "ReLU", "Scale", "Sigmoid", "Split", "TanH",
         "Threshold"),
        _same,
    ),
}  # fmt: skip

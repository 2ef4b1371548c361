"""More of Caffe's layers from their definition: recurrent ones, regions, the forks' and NNIE's.

Loops over single numbers wherever a formula could hide the same mistake as the engine's.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from nnie_pipeline.caffe.caffe_pb2 import LayerParameter, ReductionParameter, SPPParameter

Array = npt.NDArray[np.float64]
Function = Callable[[LayerParameter, Sequence[Array], Sequence[Array]], list[Array]]


def mvn(p: LayerParameter, bottoms: Sequence[Array], _: Sequence[Array]) -> list[Array]:
    x = bottoms[0].reshape(bottoms[0].shape + (1,) * (4 - bottoms[0].ndim))
    y = x.copy()
    whole = p.mvn_param.across_channels
    groups = [(n,) for n in range(x.shape[0])]
    if not whole:
        groups = list(itertools.product(range(x.shape[0]), range(x.shape[1])))  # type: ignore[arg-type]
    for group in groups:
        y[group] -= x[group].mean()
        if p.mvn_param.normalize_variance:
            y[group] /= math.sqrt((y[group] ** 2).mean()) + p.mvn_param.eps
    return [y]


def normalize(p: LayerParameter, bottoms: Sequence[Array], weights: Sequence[Array]) -> list[Array]:
    x, param = bottoms[0], p.norm_param
    y = x.copy()
    scale = weights[0].ravel()
    for n in range(x.shape[0]):
        if param.across_spatial:
            y[n] /= math.sqrt((x[n] ** 2).sum() + param.eps)
        else:
            for place in itertools.product(*(range(s) for s in x.shape[2:])):
                column = (n, slice(None), *place)
                y[column] /= math.sqrt((x[column] ** 2).sum() + param.eps)
        for c in range(x.shape[1]):
            y[n, c] *= scale[0] if param.channel_shared else scale[c]
    return [y]


def reduction(p: LayerParameter, bottoms: Sequence[Array], _: Sequence[Array]) -> list[Array]:
    x, param = bottoms[0], p.reduction_param
    kept = x.shape[: param.axis % x.ndim]
    rows = x.reshape(math.prod(kept), -1)
    if param.operation == ReductionParameter.ASUM:
        rows = np.abs(rows)
    if param.operation == ReductionParameter.SUMSQ:
        rows = rows**2
    share = rows.shape[1] if param.operation == ReductionParameter.MEAN else 1
    return [np.array([x.sum() * param.coeff / share for x in rows]).reshape(kept)]


def tile(p: LayerParameter, bottoms: Sequence[Array], _: Sequence[Array]) -> list[Array]:
    return [np.concatenate([bottoms[0]] * p.tile_param.tiles, axis=p.tile_param.axis)]


def arg_max(p: LayerParameter, bottoms: Sequence[Array], _: Sequence[Array]) -> list[Array]:
    x, param = bottoms[0], p.argmax_param
    if param.HasField("axis"):
        axis = param.axis
    else:
        x, axis = x.reshape(x.shape[0], -1), 1
    rows = np.moveaxis(x, axis, -1)
    places = np.empty((*rows.shape[:-1], param.top_k))
    values = places.copy()
    for at in np.ndindex(*rows.shape[:-1]):
        pairs = sorted(((v, i) for i, v in enumerate(rows[at])), reverse=True)[: param.top_k]
        values[at], places[at] = zip(*pairs, strict=True)
    if param.HasField("axis"):
        return [np.moveaxis(values if param.out_max_val else places, -1, axis)]
    both = [places, values] if param.out_max_val else [places]
    joined = np.stack(both, axis=1)
    return [joined.reshape(joined.shape + (1,) * max(0, bottoms[0].ndim - 3))]


def crelu(p: LayerParameter, bottoms: Sequence[Array], weights: Sequence[Array]) -> list[Array]:
    x = bottoms[0]
    y = np.empty((x.shape[0], 2 * x.shape[1], *x.shape[2:]))
    for c in range(2 * x.shape[1]):
        part = x[:, c] if c < x.shape[1] else -x[:, c - x.shape[1]]
        y[:, c] = np.maximum(weights[0][c] * part + (weights[1][c] if len(weights) > 1 else 0), 0)
    return [y]


def pass_through(p: LayerParameter, bottoms: Sequence[Array], _: Sequence[Array]) -> list[Array]:
    x, param = bottoms[0], p.pass_through_param
    high, wide = param.block_height, param.block_width
    groups = [x[:, :, y::high, z::wide] for y in range(high) for z in range(wide)]
    return [np.concatenate(groups, axis=1)]


def mat_mul(_: LayerParameter, bottoms: Sequence[Array], __: Sequence[Array]) -> list[Array]:
    return [np.einsum("...ij,...kj->...ik", *bottoms)]


def unpool(x: Array, mask: Array, height: int, width: int) -> Array:
    y = np.zeros((*x.shape[:2], height * width))
    for n, c, i, j in np.ndindex(*x.shape):
        y[n, c, int(mask[n, c, i, j])] = x[n, c, i, j]
    return y.reshape(*x.shape[:2], height, width)


def spp(p: LayerParameter, bottoms: Sequence[Array], _: Sequence[Array]) -> list[Array]:
    """Each bin covers an equal part of the map with its borders widened evenly."""
    x, param = bottoms[0], p.spp_param
    n, c, h, w = x.shape
    levels = []
    for level in range(param.pyramid_height):
        kernel = [math.ceil(s / 2**level) for s in (h, w)]
        pad = [math.ceil((k * 2**level - s) / 2) for k, s in zip(kernel, (h, w), strict=True)]
        starts = [
            [v for v in range(-a, s, k) if v < s]
            for a, s, k in zip(pad, (h, w), kernel, strict=True)
        ]
        bins = []
        for top, left in itertools.product(*starts):
            bottom, right = min(top + kernel[0], h + pad[0]), min(left + kernel[1], w + pad[1])
            inside = x[:, :, max(top, 0) : bottom, max(left, 0) : right]
            if param.pool == SPPParameter.MAX:
                bins.append(inside.max(axis=(2, 3)))
            else:
                bins.append(inside.sum(axis=(2, 3)) / ((bottom - top) * (right - left)))
        levels.append(np.stack(bins, axis=2).reshape(n, -1))
    return [levels[0].reshape(n, c, 1, 1) if len(levels) == 1 else np.concatenate(levels, axis=1)]


def _rounded(value: float) -> float:
    return math.copysign(math.floor(abs(value) + 0.5), value)


def roi_pooling(p: LayerParameter, bottoms: Sequence[Array], _: Sequence[Array]) -> list[Array]:
    (x, regions), param = bottoms, p.roi_pooling_param
    _, c, h, w = x.shape
    y = np.zeros((len(regions), c, param.pooled_h, param.pooled_w))
    for r, region in enumerate(regions.reshape(-1, 5)):
        x1, y1, x2, y2 = (int(_rounded(v * param.spatial_scale)) for v in region[1:])
        high, wide = max(y2 - y1 + 1, 1) / param.pooled_h, max(x2 - x1 + 1, 1) / param.pooled_w
        for i, j in np.ndindex(param.pooled_h, param.pooled_w):
            top, bottom = (min(max(math.floor(i * high) + y1, 0), h),
                           min(max(math.ceil((i + 1) * high) + y1, 0), h))  # fmt: skip
            left, right = (min(max(math.floor(j * wide) + x1, 0), w),
                           min(max(math.ceil((j + 1) * wide) + x1, 0), w))  # fmt: skip
            if top < bottom and left < right:
                y[r, :, i, j] = x[int(region[0]), :, top:bottom, left:right].max(axis=(1, 2))
    return [y]


def psroi_pooling(p: LayerParameter, bottoms: Sequence[Array], _: Sequence[Array]) -> list[Array]:
    (x, regions), param = bottoms, p.psroi_pooling_param
    h, w, group = x.shape[2], x.shape[3], param.group_size
    y = np.zeros((len(regions), param.output_dim, group, group))
    for r, region in enumerate(regions.reshape(-1, 5)):
        x1, y1 = (_rounded(v) * param.spatial_scale for v in region[1:3])
        x2, y2 = ((_rounded(v) + 1) * param.spatial_scale for v in region[3:5])
        high, wide = max(y2 - y1, 0.1) / group, max(x2 - x1, 0.1) / group
        for i, j, d in np.ndindex(group, group, param.output_dim):
            top, bottom = max(math.floor(i * high + y1), 0), math.ceil((i + 1) * high + y1)
            left, right = max(math.floor(j * wide + x1), 0), math.ceil((j + 1) * wide + x1)
            part = x[int(region[0]), (d * group + i) * group + j, top : min(bottom, h),
                     left : min(right, w)] if bottom > 0 and right > 0 else x[:0]  # fmt: skip
            y[r, d, i, j] = part.mean() if part.size else 0
    return [y]


def _sigmoid(x: Array) -> Array:
    return 1 / (1 + np.exp(-x))


def _inputs(bottoms: Sequence[Array], weights: Sequence[Array], has_static: bool) -> Array:
    steps, streams = bottoms[0].shape[:2]
    x = bottoms[0].reshape(steps, streams, -1) @ weights[0].T + weights[1]
    return x + bottoms[2].reshape(streams, -1) @ weights[2].T if has_static else x


def lstm(p: LayerParameter, bottoms: Sequence[Array], weights: Sequence[Array]) -> list[Array]:
    param = p.recurrent_param
    has_static = len(bottoms) > 2 + 2 * param.expose_hidden
    sums, width = _inputs(bottoms, weights, has_static), param.num_output
    streams = bottoms[0].shape[1]
    hidden = np.zeros((streams, width))
    cell = hidden.copy()
    if param.expose_hidden:
        hidden, cell = bottoms[-2][0].copy(), bottoms[-1][0].copy()
    outputs = []
    for t, cont in enumerate(bottoms[1]):
        new_hidden = np.empty_like(hidden)
        for n in range(streams):
            gates = sums[t, n] + weights[-1] @ (cont[n] * hidden[n])
            i, f, o, g = gates.reshape(4, width)
            cell[n] = cont[n] * _sigmoid(f) * cell[n] + _sigmoid(i) * np.tanh(g)
            new_hidden[n] = _sigmoid(o) * np.tanh(cell[n])
        hidden = new_hidden
        outputs.append(hidden)
    tops = [np.stack(outputs)]
    return [*tops, hidden[None], cell[None]] if param.expose_hidden else tops


def rnn(p: LayerParameter, bottoms: Sequence[Array], weights: Sequence[Array]) -> list[Array]:
    param = p.recurrent_param
    has_static = len(bottoms) > 2 + param.expose_hidden
    sums = _inputs(bottoms, weights, has_static)
    hidden = np.zeros((bottoms[0].shape[1], param.num_output))
    if param.expose_hidden:
        hidden = bottoms[-1][0]
    outputs = []
    for t, cont in enumerate(bottoms[1]):
        hidden = np.tanh(sums[t] + (cont[:, None] * hidden) @ weights[-3].T)
        outputs.append(np.tanh(hidden @ weights[-2].T + weights[-1]))
    tops = [np.stack(outputs)]
    return [*tops, hidden[None]] if param.expose_hidden else tops


def interp(p: LayerParameter, bottoms: Sequence[Array], _: Sequence[Array]) -> list[Array]:
    x, param = bottoms[0], p.interp_param
    x = x[
        :,
        :,
        -param.pad_beg : x.shape[2] + param.pad_end,
        -param.pad_beg : x.shape[3] + param.pad_end,
    ]
    h, w = x.shape[2:]
    size = [param.height, param.width]
    if not param.height:
        size = [(s - 1) // param.shrink_factor + 1 for s in (h, w)]
        size = [s + (s - 1) * (param.zoom_factor - 1) for s in size]
    y = np.empty((*x.shape[:2], *size))
    for i, j in np.ndindex(*size):
        v = i * (h - 1) / (size[0] - 1) if size[0] > 1 else 0
        u = j * (w - 1) / (size[1] - 1) if size[1] > 1 else 0
        i0, j0 = min(int(v), h - 1), min(int(u), w - 1)
        i1, j1 = min(i0 + 1, h - 1), min(j0 + 1, w - 1)
        a, b = v - i0, u - j0
        y[:, :, i, j] = (1 - a) * ((1 - b) * x[:, :, i0, j0] + b * x[:, :, i0, j1]) + a * (
            (1 - b) * x[:, :, i1, j0] + b * x[:, :, i1, j1]
        )
    return [y]


def clip(p: LayerParameter, bottoms: Sequence[Array], _: Sequence[Array]) -> list[Array]:
    x, low, high = bottoms[0], p.clip_param.min, p.clip_param.max
    return [np.where(x < low, low, np.where(x > high, high, x))]


def relu6(p: LayerParameter, bottoms: Sequence[Array], _: Sequence[Array]) -> list[Array]:
    x, param = bottoms[0], p.relu6_param
    leaky = np.where(x > 0, x, param.negative_slope * x)
    return [np.where(leaky > param.threshold, param.threshold, leaky)]


def hard_sigmoid(p: LayerParameter, bottoms: Sequence[Array], _: Sequence[Array]) -> list[Array]:
    line = p.hardsigmoid_param.alpha * bottoms[0] + p.hardsigmoid_param.beta
    return [np.where(line < 0, 0, np.where(line > 1, 1, line))]


def hard_swish(_: LayerParameter, bottoms: Sequence[Array], __: Sequence[Array]) -> list[Array]:
    x = bottoms[0]
    return [np.where(x < -3, 0, np.where(x > 3, x, x * (x + 3) / 6))]


def swish(p: LayerParameter, bottoms: Sequence[Array], _: Sequence[Array]) -> list[Array]:
    return [bottoms[0] * _sigmoid(p.swish_param.beta * bottoms[0])]


def parameter(p: LayerParameter, _: Sequence[Array], weights: Sequence[Array]) -> list[Array]:
    return [weights[0].reshape(tuple(p.parameter_param.shape.dim))]


def silence(_: LayerParameter, __: Sequence[Array], ___: Sequence[Array]) -> list[Array]:
    return []


EXTENSIONS: dict[str, Function] = {
    "ArgMax": arg_max,
    "CReLU": crelu,
    "Clip": clip,
    "HardSigmoid": hard_sigmoid,
    "HardSwish": hard_swish,
    "Interp": interp,
    "LSTM": lstm,
    "MVN": mvn,
    "MatMul": mat_mul,
    "Normalize": normalize,
    "PSROIPooling": psroi_pooling,
    "Parameter": parameter,
    "PassThrough": pass_through,
    "RNN": rnn,
    "ROIPooling": roi_pooling,
    "ReLU6": relu6,
    "Reduction": reduction,
    "SPP": spp,
    "Silence": silence,
    "Swish": swish,
    "Tile": tile,
}

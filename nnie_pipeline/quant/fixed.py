"""A convolution in whole numbers, as the words of a compiled file tell it.

    sum    = bias + sum of products 2^((c_w + c_x)/n), in units U of the accumulator
    result = sum * scale / 2^30 + shift, in 1/4096

c_w and c_x are the codes of weight and input, the words those of `words`. All of it is int64
and exact, but for two points that no public source tells: how a product, which is no whole
number, enters the sum (switch `products`), and how the scaled sum becomes Q20.12 (`outputs`).
"""

from __future__ import annotations

import numpy as np

from nnie_pipeline.caffe.net import Array, Layer, Shape
from nnie_pipeline.caffe.windows import conv_window
from nnie_pipeline.errors import InputError
from nnie_pipeline.quant import gfpq
from nnie_pipeline.quant.assumptions import Assumptions
from nnie_pipeline.quant.fixed_kernels import Indices, Sums, convolve
from nnie_pipeline.quant.gfpq_format import number_format
from nnie_pipeline.quant.words import Words

_FINE = 16
_Q30 = 30
_LARGEST_SCALE = 2.0**42
_LARGEST = 2**31 - 128
"""The largest word that float32 holds: values are handed on in float32."""


class FixedConvolution:
    """A Convolution, Deconvolution or depthwise one of `bits` with the chip's numbers.

    `bottom` is the shape of its input.
    """

    def __init__(
        self, layer: Layer, words: Words, bits: int, bottom: Shape, assumptions: Assumptions
    ) -> None:
        self._bits, self._words, self._z = bits, words, words.z_in
        self._fraction = _FINE if assumptions.products == "exact" else 0
        self._half = assumptions.outputs == "nearest"
        self._table = _products(bits, assumptions.products)
        window = conv_window(layer.params.convolution_param)
        self._stride, self._pad = window.stride, window.pad
        self._dilation, self._extent = window.dilation, window.extent
        self._spread = (1, 1)
        group = layer.params.convolution_param.group
        codes = words.codes(bits)
        if layer.type not in ("Convolution", "Deconvolution"):
            group = bottom[1]
        if layer.type == "Deconvolution":
            # The convolution it equals: zeros between the inputs, the kernel turned round.
            codes = codes.reshape(group, -1, *codes.shape[1:]).swapaxes(1, 2)
            codes = codes.reshape(-1, *codes.shape[2:])[:, :, ::-1, ::-1]
            self._spread, self._stride = window.stride, (1, 1)
            (extent_y, extent_x), (pad_y, pad_x) = self._extent, self._pad
            self._pad = (extent_y - 1 - pad_y, extent_x - 1 - pad_x)
        self._group, self._codes = group, np.ascontiguousarray(codes)
        self._bias = np.rint(words.bias).astype(np.int64) << self._fraction
        scale = np.clip(np.rint(words.scale), -_LARGEST_SCALE, _LARGEST_SCALE)
        self._scale = scale.astype(np.int64).reshape(-1, 1, 1)
        self._shift = np.rint(words.shift).astype(np.int64).reshape(-1, 1, 1)

    def run(self, values: Array) -> tuple[Array, Array]:
        """The sums as real numbers, and the results in Q20.12; both float32 (N, C, H, W).

        `values` (N, C, H, W) are levels of the input's z.
        """
        sums, results = [], []
        for picture in values:
            found = self._convolved(self._places(picture))
            unit = self._words.unit.reshape(-1, 1, 1) / (1 << self._fraction)
            sums.append(gfpq.round_q20_12((found * unit).astype(np.float32)))
            results.append((self._scaled(found) / 4096).astype(np.float32))
        return np.stack(sums), np.stack(results)

    def _places(self, values: Array) -> Indices:
        """The place in the table of products of every number, zeros inserted and padded."""
        region = 2 * number_format(self._bits).top + 1
        steps = number_format(self._bits).steps
        size = np.abs(values)
        used = size > 0
        code = np.rint(steps * np.log2(np.where(used, size, 1))).astype(np.int16) - self._z
        found = np.where(used, code + region * (values < 0), 2 * region).astype(np.int16)
        channels, height, width = values.shape
        (sy, sx), (py, px) = self._spread, self._pad
        shape = ((height - 1) * sy + 1, (width - 1) * sx + 1)
        before = (max(py, 0), max(px, 0))
        full = (channels, shape[0] + 2 * before[0], shape[1] + 2 * before[1])
        padded = np.full(full, 2 * region, np.int16)
        y, x = before
        padded[:, y : y + shape[0] : sy, x : x + shape[1] : sx] = found
        cut_y, cut_x = before[0] - py, before[1] - px  # a deconvolution may pad less than nothing
        return np.ascontiguousarray(padded[:, cut_y : full[1] - cut_y, cut_x : full[2] - cut_x])

    def _convolved(self, places: Indices) -> Sums:
        height, width = (
            (size - extent) // stride + 1
            for size, extent, stride in zip(
                places.shape[1:], self._extent, self._stride, strict=True
            )
        )
        return convolve(
            places, self._codes, self._table, self._bias, (height, width), self._stride,
            self._dilation, self._group,
        )  # fmt: skip

    def _scaled(self, sums: Sums) -> Sums:
        """sums * scale / 2^30 + shift, rounded and saturated, without ever needing 64 bits more."""
        near = sums.astype(np.float64) * self._scale / 2.0 ** (_Q30 + self._fraction)
        small = np.where(np.abs(near) < 2.0**31, sums, 0)
        whole, rest = small >> self._fraction, small & ((1 << self._fraction) - 1)
        total = whole * self._scale + ((rest * self._scale) >> self._fraction)
        if self._half:
            total += 1 << (_Q30 - 1)
        words = np.where(small == sums, total >> _Q30, np.where(near > 0, _LARGEST, -(2**31)))
        return np.asarray(np.clip(words + self._shift, -(2**31), _LARGEST), np.int64)


def _products(bits: int, rule: str) -> Sums:
    """2^(k/n) for k = 0 .. 2 L, the same negative, and zeros that a code may be added to."""
    form = number_format(bits)
    exact = np.exp2(np.arange(2 * form.top + 1) / form.steps)
    if rule == "exact":
        exact = np.rint(exact * (1 << _FINE))
    table = np.asarray(np.floor(exact) if rule == "down" else np.rint(exact), np.int64)
    return np.concatenate([table, -table, np.zeros(form.top + 1, np.int64)])


def require_words(assumptions: Assumptions) -> None:
    """Refuse switches that whole numbers cannot follow.

    Raises:
        InputError: bias, scale, shift or outputs are to be exact.
    """
    for name in ("bias", "scale", "shift", "outputs"):
        if getattr(assumptions, name) == "exact":
            raise InputError(
                f"--assume {name}=exact: mode fixed computes in whole numbers; use --mode float"
            )

"""HiSilicon's logarithmic number format: 8 or 16 bits, one z for a whole array.

With n = 16, L = 127 (8 bits) or n = 128, L = 1407 (16 bits) an array of offset z holds 0,
+2^((k+z)/n) for k = 0..L and -2^((k+z)/n) for k = 1..L, each rounded to float32:

    z = floor(n*log2(max|x|)) - L                     within +-511 (8 bits), +-4095 (16 bits)
    x >  2^((z-n)/n)    ->   2^((clip(round(n*log2(x))  - z, 0, L) + z)/n)
    x < -2^((z+1-n)/n)  ->  -2^((clip(round(n*log2(-x)) - z, 1, L) + z)/n)
    anything else       ->   0

Measured with HiSilicon's libgfpq 1.1.5 (in the package nnieqat 0.1.0b0 on PyPI), which this
equals bit for bit: all boundaries are those of the exact real functions. Its edge cases:
the largest magnitude of an array without any but 0 and NaN counts as 1e-6; NaN becomes 0; an
infinity sets z to its upper limit and becomes the smallest level of its sign; -0 becomes 0.

All functions are thread-safe and use every processor for large arrays.
"""

from __future__ import annotations

import operator
from typing import Any

import numpy as np
import numpy.typing as npt

from nnie_pipeline.errors import InputError
from nnie_pipeline.quant import gfpq_kernels as kernels
from nnie_pipeline.quant.gfpq_format import (
    BitArray,
    level_bits,
    limits,
    number_format,
    require_z,
    z_of,
)
from nnie_pipeline.quant.gfpq_kernels import FloatArray

EQUAL_WEIGHTS = np.float32(1e-6)
"""Weights whose magnitudes differ by no more are stored as one value (see `quantize_weights`)."""


def range_z(x: npt.ArrayLike, bits: int) -> int:
    """The z that suits the largest magnitude in `x` (any shape, also empty; float32).

    Raises:
        InputError: wrong `bits`, or `x` is not real numbers.
    """
    form = number_format(bits)
    return z_of(kernels.largest_magnitude(_as_float32(x)), form)


def largest_magnitude(x: npt.ArrayLike) -> float:
    """The largest magnitude in `x` (any shape, float32), NaN left out; 0 of an empty array.

    Raises:
        InputError: `x` is not real numbers.
    """
    bits = kernels.largest_magnitude(_as_float32(x))
    return float(np.array(bits, np.int32).view(np.float32))


def quantize(x: npt.ArrayLike, bits: int, z: int | None = None) -> tuple[FloatArray, int]:
    """`x` (any shape, taken as float32) rounded to what the chip can hold, and the z used.

    Without `z` it is `range_z` (the library's mode 0); with it, larger values are clipped to
    the largest level (mode 2). The result is a new array.

    Raises:
        InputError: wrong `bits`, `z` outside the format's limits, or `x` is not real numbers.
    """
    values = _as_float32(x)
    used = range_z(values, bits) if z is None else operator.index(z)
    out = np.empty(values.shape, np.float32)
    kernels.round_to_levels(values, out, bits, limits(number_format(bits), used))
    return out, used


def update(x: npt.ArrayLike, bits: int, z: int) -> int:
    """The larger range of `z` and that of `x`, as the library's mode 1 keeps it.

    Raises:
        InputError: as `quantize`.
    """
    form = number_format(bits)
    return max(require_z(form, z), range_z(x, bits))


def quantize_into(x: FloatArray, bits: int, z: int, out: FloatArray) -> None:
    """Write `quantize(x, bits, z)` into `out`, without a new array.

    Both are C-contiguous float32 arrays of one shape. `out` may be `x` itself, but must not
    overlap it otherwise.

    Raises:
        InputError: as `quantize`, or the arrays are not such.
    """
    _require_pair(x, out)
    kernels.round_to_levels(x, out, bits, limits(number_format(bits), z))


def quantize_channels(w: npt.ArrayLike, bits: int) -> tuple[FloatArray, BitArray]:
    """`w` (channels first) quantised with one z for each channel: `(y, z)`, z int32 (channels,).

    This is what chip files hold for depthwise convolutions (seen in public .wk files).

    Raises:
        InputError: wrong `bits`, or `w` is not an array of real numbers with a first axis.
    """
    return _each_channel(_as_float32(w), bits, quantize)


def quantize_weights(
    w: npt.ArrayLike, bits: int, per_channel: bool
) -> tuple[FloatArray, int | BitArray]:
    """Weights (output channels first) as the compiled network holds them: `(y, z)`.

    `per_channel` is for depthwise convolutions: each channel is treated by itself and z is an
    int32 array (channels,); else z is one int.

    Where the magnitudes of all weights lie within 1e-6 (absolute) of each other, every one is
    stored exactly, as the magnitude a of the first with its own sign. Seen in public 8 and
    16 bit .wk files: upsampling deconvolutions (all ones) and dead channels, whose weights
    are all tiny. The chip then counts from z = n*log2(a) - n, which is no integer; the z
    returned is that of `range_z` for the result.

    Raises:
        InputError: as `quantize_channels`.
    """
    values = _as_float32(w)
    if per_channel:
        return _each_channel(values, bits, _quantize_tensor)
    return _quantize_tensor(values, bits)


def levels(bits: int, z: int) -> FloatArray:
    """All values that an array of offset `z` can hold, ascending: 256 or 2816 of them.

    Raises:
        InputError: wrong `bits`, or `z` outside the format's limits.
    """
    form = number_format(bits)
    start = require_z(form, z)
    codes = np.arange(start, start + form.top + 1)
    positive = level_bits(form, codes).astype(np.int32).view(np.float32)
    return np.concatenate([-positive[:0:-1], np.zeros(1, np.float32), positive])


def round_q20_12(x: npt.ArrayLike, out: FloatArray | None = None) -> FloatArray:
    """`x` rounded to multiples of 1/4096: the 20.12 fixed point of layer outputs.

    Saturates at -2^31/4096 and at (2^31-128)/4096, the largest float32 that still fits into
    the int32 word. Halves are rounded up (towards +infinity); that rule is assumed, public
    documents only name the format. NaN, which the word cannot hold, stays NaN.

    The result is `out`, a C-contiguous float32 array of the shape of `x` (may be `x` itself),
    or else a new array.

    Raises:
        InputError: `x` is not real numbers, or `out` is not such an array.
    """
    values = _as_float32(x)
    if out is None:
        out = np.empty(values.shape, np.float32)
    _require_pair(values, out)
    kernels.round_q20_12(values, out)
    return out


def _quantize_tensor(values: FloatArray, bits: int) -> tuple[FloatArray, int]:
    magnitudes = np.abs(values).reshape(-1)
    if magnitudes.size and np.ptp(magnitudes) <= EQUAL_WEIGHTS:
        y = np.copysign(magnitudes[0], values) + np.float32(0)  # + 0 turns -0 into 0
        return y, range_z(y, bits)
    return quantize(values, bits)


def _each_channel(values: FloatArray, bits: int, function: Any) -> tuple[FloatArray, BitArray]:
    number_format(bits)
    if values.ndim == 0:
        raise InputError("weights of one z a channel need a first axis; found a single number")
    y = np.empty(values.shape, np.float32)
    z = np.empty(len(values), np.int32)
    for channel, weights in enumerate(values):
        y[channel], z[channel] = function(weights, bits)
    return y, z


def _as_float32(x: npt.ArrayLike) -> FloatArray:
    array = np.asarray(x)
    if array.dtype.kind not in "fiub":
        raise InputError(f"the number format holds real numbers; found an array of {array.dtype}")
    return np.require(array, np.float32, ["C", "A"])


def _require_pair(x: FloatArray, out: FloatArray) -> None:
    for name, array in (("x", x), ("out", out)):
        ready = array.flags.c_contiguous and array.flags.aligned
        if array.dtype != np.float32 or not ready:
            raise InputError(f"{name} has to be a C-contiguous array of float32")
    if x.shape != out.shape or not out.flags.writeable:
        raise InputError(f"out has to be a writable array of shape {x.shape}; found {out.shape}")

"""The constants of the number format: where its levels lie and which z an array gets."""

from __future__ import annotations

import bisect
import functools
import operator
from dataclasses import dataclass
from decimal import ROUND_CEILING, ROUND_HALF_EVEN, Decimal, localcontext
from typing import Literal

import numpy as np
import numpy.typing as npt

from nnie_pipeline.errors import InputError

BitArray = npt.NDArray[np.int32]

MANTISSA_BITS = 23
_BIAS = 127
_DEFAULT_LARGEST = int(np.float32(1e-6).view(np.int32))


@dataclass(frozen=True)
class Format:
    """The constants of a width: `steps` an octave (n), codes up to `top` (L), |z| <= `z_limit`."""

    bits: int
    steps: int
    top: int
    z_limit: int


_FORMATS = {8: Format(8, 16, 127, 511), 16: Format(16, 128, 1407, 4095)}


def number_format(bits: int) -> Format:
    """The constants of the 8 or 16 bit format.

    Raises:
        InputError: `bits` is neither 8 nor 16.
    """
    try:
        return _FORMATS[bits]
    except (KeyError, TypeError):
        raise InputError(f"the number format has no width of {bits} bits; use 8 or 16") from None


def require_z(form: Format, z: int) -> int:
    """`z` as an int, if it is one that an array of this format can have.

    Raises:
        InputError: it is not.
    """
    if abs(operator.index(z)) > form.z_limit:
        raise InputError(
            f"z is {z}, outside -{form.z_limit}..{form.z_limit} of the {form.bits} bit format; "
            "take it from range_z or update"
        )
    return int(z)


def z_of(largest: int, form: Format) -> int:
    """floor(steps*log2(max)) - top, within the limits; `largest` is max as float32 bits."""
    bits = largest or _DEFAULT_LARGEST
    octave, mantissa = (bits >> MANTISSA_BITS) - _BIAS, bits & ((1 << MANTISSA_BITS) - 1)
    step = bisect.bisect_right(_first_not_below(form.steps), mantissa) - 1
    z = octave * form.steps + step - form.top
    return max(-form.z_limit, min(form.z_limit, z))


def mantissas(steps: int, offset: Literal["0", "0.5"], rounded: bool) -> list[int]:
    """2^((j+offset)/steps) for j = 0..steps-1 as float32 mantissa bits, 0..2^23.

    Rounded to nearest, or else up to the first float32 that is not below. The decimals carry
    50 digits; no value is closer than 1e-10 (relative) to where the result would change.
    """
    with localcontext() as context:
        context.prec = 50
        exact = [
            (Decimal(2) ** ((j + Decimal(offset)) / steps) - 1) * (1 << MANTISSA_BITS)
            for j in range(steps)
        ]
        rounding = ROUND_HALF_EVEN if rounded else ROUND_CEILING
        return [int(value.to_integral_value(rounding)) for value in exact]


@functools.cache
def limits(form: Format, z: int) -> BitArray:
    """What `gfpq_kernels.round_to_levels` takes, for offset `z`.

    Raises:
        InputError: `z` outside the format's limits.
    """
    z = require_z(form, z)
    top, smallest, second = level_bits(form, np.array([z + form.top, z, z + 1]))
    return np.array(
        [
            top,
            smallest,
            second,
            _last_not_above(form, z - form.steps),
            _last_not_above(form, z + 1 - form.steps),
        ],
        np.int32,
    )


def level_bits(form: Format, codes: npt.NDArray[np.int64]) -> npt.NDArray[np.int64]:
    """The bits of 2^(code/steps) rounded to float32, for each of `codes`."""
    octave, step = np.divmod(codes, form.steps)
    return ((octave + _BIAS) << MANTISSA_BITS) + _nearest(form.steps)[step]


def _last_not_above(form: Format, code: int) -> int:
    """The bits of the largest float32 that is not above 2^(code/steps)."""
    octave, step = divmod(code, form.steps)
    exact = step == 0
    return ((octave + _BIAS) << MANTISSA_BITS) + _first_not_below(form.steps)[step] - (not exact)


@functools.cache
def _nearest(steps: int) -> npt.NDArray[np.int64]:
    return np.array(mantissas(steps, "0", rounded=True))


@functools.cache
def _first_not_below(steps: int) -> list[int]:
    return mantissas(steps, "0", rounded=False)

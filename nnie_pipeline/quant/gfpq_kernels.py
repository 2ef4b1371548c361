"""The compiled inner loops of the number format, on the bits of float32 values.

Rounding to the nearest level does not depend on z, which only says where the levels end.
Within an octave the levels are 2^(j/steps) and a value moves up to the next one at
2^((j+1/2)/steps). None of those boundaries is a float32, and all are compared exactly:
a cell is the top 8 bits of the mantissa, it holds at most one boundary (they lie at least
2^(1/128)-1 > 1/256 apart), and the whole mantissa is compared with that.

The loops run on several threads of this module's own pool: numba's parallel loops would need
a threading layer that not every machine has, and the fallback is not thread-safe.
"""

from __future__ import annotations

import functools
import os
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any

import numba
import numpy as np
import numpy.typing as npt

from nnie_pipeline.quant.gfpq_format import MANTISSA_BITS, BitArray, mantissas

FloatArray = npt.NDArray[np.float32]

_CELL_SHIFT = 15
_CELLS = 1 << (MANTISSA_BITS - _CELL_SHIFT)
_CHUNK = 1 << 17
"""Values below which a second thread costs more than it brings."""

_SIGN = np.int32(-(1 << 31))
_MAGNITUDE = np.int32(0x7FFFFFFF)
_EXPONENT = np.int32(0x7F800000)  # also the bits of infinity; those of NaN are larger
_MANTISSA = np.int32(0x7FFFFF)
_ZERO = np.int32(0)


def _boundaries(steps: int) -> list[int]:
    """For each cell the first mantissa that rounds up; beyond the cell if it has none."""
    cells = [1 << MANTISSA_BITS] * _CELLS
    for boundary in mantissas(steps, "0.5", rounded=False):
        cells[boundary >> _CELL_SHIFT] = boundary
    return cells


def _levels(steps: int) -> list[int]:
    """For each cell the level below and the level from its boundary on, as mantissas.

    The octave's last boundary leads to 1 << 23: a carry into the exponent.
    """
    nearest = [*mantissas(steps, "0", rounded=True), 1 << MANTISSA_BITS]
    cells: list[int] = []
    passed = 0
    for cell, boundary in enumerate(_boundaries(steps)):
        inside = boundary >> _CELL_SHIFT == cell
        cells += [nearest[passed], nearest[passed + inside]]
        passed += inside
    return cells


# Row 0 for 8 bits, row 1 for 16. The compiled code is kept on disk until this file changes,
# so what it takes as constants has to stand here.
_BOUNDARY = np.array([_boundaries(16), _boundaries(128)], np.int32)
_LEVEL = np.array([_levels(16), _levels(128)], np.int32)


def compiled(function: Callable[..., Any]) -> Callable[..., Any]:
    """`function` compiled by numba at its first call; the code is kept on disk where possible."""
    result: Callable[..., Any]
    try:
        result = numba.njit(cache=True, nogil=True)(function)
    except RuntimeError:  # no folder can be written to keep the compiled code
        result = numba.njit(nogil=True)(function)
    return result


@compiled
def _nearest_level(bits: Any, row: Any, limits: Any) -> Any:
    # numba widens every result to 64 bits; the casts keep the loop at full vector width.
    magnitude = np.int32(bits & _MAGNITUDE)
    mantissa = np.int32(magnitude & _MANTISSA)
    cell = np.int32(mantissa >> _CELL_SHIFT)
    up = np.int32(mantissa >= _BOUNDARY[row, np.uint32(cell)])
    level = _LEVEL[row, np.uint32(np.int32(cell + cell) + up)]
    value = np.int32(np.int32(magnitude & _EXPONENT) + level)
    negative = bits < _ZERO
    lowest = limits[2] if negative else limits[1]
    zero = limits[4] if negative else limits[3]
    value = value if value < limits[0] else limits[0]
    value = value if value > lowest else lowest
    value = value if magnitude < _EXPONENT else lowest
    value = np.int32(value | np.int32(bits & _SIGN))
    return value if (magnitude > zero) & (magnitude <= _EXPONENT) else _ZERO


@compiled
def _round_to_levels(values: Any, out: Any, row: Any, limits: Any, in_place: Any) -> None:
    top, lowest, lowest_negative = limits[0], limits[1], limits[2]
    zero, zero_negative = limits[3], limits[4]
    bounds = (top, lowest, lowest_negative, zero, zero_negative)
    if in_place:  # one array, so that the compiler sees there is no other overlap
        for i in range(out.size):
            out[i] = _nearest_level(out[i], row, bounds)
    else:
        for i in range(values.size):
            out[i] = _nearest_level(values[i], row, bounds)


@compiled
def _largest_magnitude(values: Any) -> Any:
    largest = _ZERO
    for i in range(values.size):
        magnitude = np.int32(values[i] & _MAGNITUDE)
        magnitude = magnitude if magnitude <= _EXPONENT else _ZERO
        largest = magnitude if magnitude > largest else largest
    return largest


@compiled
def _round_q20_12(values: Any, out: Any) -> None:
    for i in range(values.size):
        scaled = values[i] * np.float32(4096)
        whole = np.float32(np.floor(scaled))
        whole = whole + np.float32(1) if scaled - whole >= np.float32(0.5) else whole
        whole = np.float32(2147483520) if whole > np.float32(2147483520) else whole
        whole = np.float32(-2147483648) if whole < np.float32(-2147483648) else whole
        out[i] = whole / np.float32(4096) + np.float32(0)  # + 0 turns -0 into 0


def round_to_levels(values: FloatArray, out: FloatArray, bits: int, limits: BitArray) -> None:
    """Round C-contiguous `values` to levels, into `out` of the same shape (may be `values`).

    `limits` holds the float32 bits of the largest level, the smallest positive, the smallest
    negative (its magnitude), and of the largest magnitude that becomes zero, for positive and
    for negative values. NaN becomes 0, an infinity the smallest level of its sign.
    """
    source, target = _flat_bits(values), out.reshape(-1).view(np.int32)
    in_place = values.ctypes.data == out.ctypes.data
    row = int(bits == 16)

    def work(part: slice) -> None:
        _round_to_levels(source[part], target[part], row, limits, in_place)

    _each_chunk(source.size, work)


def largest_magnitude(values: FloatArray) -> int:
    """The float32 bits of the largest magnitude in C-contiguous `values`, NaN ignored."""
    source = _flat_bits(values)
    found = _each_chunk(source.size, lambda part: int(_largest_magnitude(source[part])))
    return int(max(found))


def round_q20_12(values: FloatArray, out: FloatArray) -> None:
    """Round C-contiguous `values` to multiples of 1/4096, into `out` (may be `values`)."""
    source, target = _read_only(values.reshape(-1)), out.reshape(-1)
    _each_chunk(source.size, lambda part: _round_q20_12(source[part], target[part]))


def _flat_bits(values: FloatArray) -> BitArray:
    return _read_only(values.reshape(-1).view(np.int32))


def _read_only(values: npt.NDArray[Any]) -> npt.NDArray[Any]:
    view = values[:]
    view.flags.writeable = False  # one signature to compile, whatever the caller has
    return view


def _each_chunk(size: int, work: Callable[[slice], Any]) -> list[Any]:
    threads = _threads() if size > _CHUNK else 1
    if threads == 1:
        return [work(slice(0, size))]
    chunk = max(_CHUNK, -(-size // (4 * threads)))
    parts = [slice(start, start + chunk) for start in range(0, size, chunk)]
    return list(pool().map(work, parts))


def pool() -> ThreadPoolExecutor:
    """The threads of this process that the compiled loops run on."""
    return _pool(os.getpid(), _threads())


@functools.cache
def _pool(_process: int, threads: int) -> ThreadPoolExecutor:
    # A forked child inherits the pool but not its threads, so each process has its own.
    return ThreadPoolExecutor(threads, thread_name_prefix="gfpq")


def _threads() -> int:
    if hasattr(os, "sched_getaffinity"):
        return len(os.sched_getaffinity(0))
    return os.cpu_count() or 1

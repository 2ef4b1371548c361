"""The bit streams of many blocks, decoded side by side.

A stream has to be read field by field, but streams do not depend on each other: each step here
reads one field of every stream, so that a whole file takes as many steps as its longest stream
has fields. Where few streams are left, a step costs more than its fields: then the field behind
every bit is looked up at once, and each stream's own are found by going from one to the next.
No compiler is needed, and none has to be loaded.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from nnie_pipeline.wk.code_table import (
    END,
    END_FIELD,
    LITERAL,
    LONGEST,
    MARKER_FIRST,
    MARKER_STEP,
    SYMBOLS,
    code_table,
)

Bytes = npt.NDArray[np.uint8]
Ints = npt.NDArray[np.int64]
_Fields = npt.NDArray[np.int16]
_Flags = npt.NDArray[np.bool_]
_Ints32 = npt.NDArray[np.int32]

_WINDOWS = 1 << LONGEST
_LAST_BITS = 7
_STEPS = 32
"""Fields that every stream reads before those that have ended are taken out."""

_FEW = 24
"""From this many streams on a step for all of them is quicker than each stream alone."""

_OUTSIDE = 1 << 30
"""More than the bits of any stream."""

_BEHIND = 64
"""Zero bytes behind the area: a wrong stream reads that far, `_STEPS` fields, before it is seen."""

_AT_ONCE = 64 << 20
_MOST_STREAMS = 8192
"""Bytes of streams, and streams, decoded side by side, which bounds the memory that takes."""


@dataclass(frozen=True)
class Streams:
    """Where the streams lie: arrays with one entry a stream, in the order of the area.

    `begin` and `end` are bits of the area, `run_mode` which code each has, `table` (streams, 37)
    its symbols, `start` and `sizes` the bytes that it decodes to.
    """

    begin: Ints
    end: Ints
    run_mode: npt.NDArray[np.bool_]
    table: Bytes
    start: Ints
    sizes: Ints

    def __len__(self) -> int:
        return len(self.begin)

    def part(self, chosen: slice | Ints) -> Streams:
        """Some of them."""
        return Streams(*(x[chosen] for x in vars(self).values()))


def decode_streams(area: Bytes, streams: Streams, out: Bytes) -> int | None:
    """Decode each stream of `area` into its place in `out`; the first that is wrong, else None.

    A stream is right if its end field comes where its bytes are complete and leaves less than
    a byte of it.
    """
    first = 0
    while first < len(streams):
        limit = streams.begin[first] + 8 * _AT_ONCE
        last = max(first + 1, int(np.searchsorted(streams.end, limit)))
        last = min(last, first + _MOST_STREAMS)
        right = _decode(area, streams.part(slice(first, last)), out)
        if not right.all():
            return first + int(np.argmin(right))
        first = last
    return None


def _decode(area: Bytes, streams: Streams, out: Bytes) -> _Flags:
    """Which streams are right; their bytes are in `out`."""
    origin = int(streams.begin[0]) // 16 * 2
    windows = _windows(area[origin : -(-int(streams.end[-1]) // 8)])
    begin, end = streams.begin - 8 * origin, streams.end - 8 * origin
    step, place, _ = _code()
    right = np.zeros(len(streams), np.bool_)
    done = np.zeros(len(streams), np.int64)
    live = np.arange(len(streams))
    position, grid = begin + 1, begin + MARKER_FIRST
    mode = np.where(streams.run_mode, _WINDOWS, 0)
    while len(live) >= _FEW:
        fields = np.empty((_STEPS, len(live)), np.int16)
        for row in fields:
            field = windows[position >> 4] >> (~position & 15)
            field &= _WINDOWS - 1
            field += mode
            row[:] = field
            position += step[field]
            reached = position >= grid
            position += reached
            grid += reached * MARKER_STEP
        fits = _put(np.ascontiguousarray(fields.T), streams, live, done, out)
        ended = place[fields[-1]] == END
        rest = end[live] - position - END_FIELD[1]
        right[live] = ended & fits & (rest >= 0) & (rest <= _LAST_BITS)
        going = ~ended & fits & (position < end[live])
        live, mode, position, grid = live[going], mode[going], position[going], grid[going]
    for stream, own, at in zip(live, mode, position, strict=True):
        found, last = _followed(windows, int(at), int(begin[stream]), int(end[stream]), int(own))
        left = int(end[stream]) - last - END_FIELD[1]
        fits = _put(found[None], streams, np.array([stream]), done, out)
        right[stream] = fits[0] and place[found[-1]] == END and 0 <= left <= _LAST_BITS
    right &= done == streams.sizes
    return right


def _put(fields: _Fields, streams: Streams, chosen: Ints, done: Ints, out: Bytes) -> _Flags:
    """Write what fields (chosen streams, steps) stand for behind the bytes that are `done`.

    Tells which streams have room for it; `done` counts the bytes of those on. An ended stream
    repeats its end field, which stands for none.
    """
    _, place, count = _code()
    times = count[fields]
    total = times.sum(axis=1, dtype=np.int64)
    fits: _Flags = done[chosen] + total <= streams.sizes[chosen]
    if not fits.all():
        fields, times, total, chosen = fields[fits], times[fits], total[fits], chosen[fits]
    symbol = place[fields]
    known = streams.table.reshape(-1)[symbol + (chosen * SYMBOLS)[:, None]]
    value = np.where(symbol == LITERAL, fields.astype(np.uint8), known)
    first = streams.start[chosen] + done[chosen] - (np.cumsum(total) - total)
    where = np.repeat(first, total)
    where += np.arange(len(where))
    out[where] = np.repeat(value.reshape(-1), times.reshape(-1))
    done[chosen] += total
    return fits


def _followed(windows: _Ints32, at: int, begin: int, end: int, mode: int) -> tuple[_Fields, int]:
    """The fields of one stream from the bit `at` on, and the bit where the last of them lies."""
    step, place, _ = _code()
    count = max(end - at, 1)
    position = np.arange(at, at + count, dtype=np.int32)
    fields = windows[position >> 4]
    fields >>= ~position & 15
    fields &= _WINDOWS - 1
    fields += mode
    following = np.where(place == END, _OUTSIDE, step).astype(np.int32)[fields]
    left = (begin + MARKER_FIRST - at - np.arange(MARKER_STEP)) % MARKER_STEP
    following += following >= np.resize(left, count)
    following += np.arange(count, dtype=np.int32)
    path, here, table = [], 0, following.tolist()
    while here < count:
        path.append(here)
        here = table[here]
    return fields[path].astype(np.int16), at + path[-1]


def _windows(area: Bytes) -> _Ints32:
    """The 27 bits that begin at each second byte, first bit first, as one number."""
    turned = np.packbits(np.unpackbits(np.arange(256, dtype=np.uint8), bitorder="little"))
    padded = np.zeros(len(area) + len(area) % 2 + _BEHIND, np.uint8)
    padded[: len(area)] = turned[area]
    pairs = padded.view(">u2")
    windows = pairs[:-1].astype(np.int32)
    windows <<= LONGEST - 1
    windows |= pairs[1:] >> np.uint16(16 - (LONGEST - 1))
    return windows


@functools.cache
def _code() -> tuple[Ints, npt.NDArray[np.int8], npt.NDArray[np.int8]]:
    """Bits to go on, place and count of each field in normal mode, then in run mode."""
    codes = [code_table(x) for x in (False, True)]
    length, place, count = (
        np.concatenate([x.length for x in codes]),
        np.concatenate([x.symbol for x in codes]),
        np.concatenate([x.count for x in codes]),
    )
    step = np.where(place == END, 0, length)
    return step.astype(np.int64), place.astype(np.int8), count.astype(np.int8)

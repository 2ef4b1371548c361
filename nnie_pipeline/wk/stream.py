"""The bit streams of many blocks, decoded side by side.

A stream has to be read field by field, but streams do not depend on each other: each step here
reads one field of every stream, so that a whole file takes as many steps as its longest stream
has fields. No compiler is needed, and none has to be loaded.
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

_BEHIND = 64
"""Zero bytes behind the area: a wrong stream reads that far, `_STEPS` fields, before it is seen."""

_AT_ONCE = 4 << 20
"""Bytes of streams decoded side by side, which bounds the memory that takes."""


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
        part = streams.part(slice(first, last))
        wrong = _decode(area, part, out)
        if wrong is not None:
            return first + wrong
        first = last
    return None


def _decode(area: Bytes, streams: Streams, out: Bytes) -> int | None:
    origin = int(streams.begin[0]) // 8
    # Long streams first, so that those side by side end at about the same time.
    order = np.argsort(streams.begin - streams.end, kind="stable")
    parts, rest = _read(
        _windows(area[origin : -(-int(streams.end[-1]) // 8)]),
        (streams.begin[order] - 8 * origin).astype(np.int32),
        (streams.end[order] - 8 * origin).astype(np.int32),
        streams.run_mode[order],
        int(streams.sizes.max()),
    )
    right = np.zeros(len(streams), np.bool_)
    right[order] = (rest >= 0) & (rest <= _LAST_BITS)
    fields, rows = _in_order([(order[x], y) for x, y in parts], len(streams))
    _, place, count = _code()
    times = count[fields]
    first = np.cumsum(rows) - rows
    right &= np.add.reduceat(times.sum(axis=1, dtype=np.int64), first) == streams.sizes
    if not right.all():
        return int(np.argmin(right))
    symbol = place[fields]
    own = np.repeat(np.arange(0, len(streams) * SYMBOLS, SYMBOLS, dtype=np.int32), rows)
    known = streams.table.reshape(-1)[symbol + own[:, None]]
    value = np.where(symbol == LITERAL, fields.astype(np.uint8), known)
    begin, end = int(streams.start[0]), int(streams.start[-1] + streams.sizes[-1])
    edges = np.zeros(end - begin + 1, np.int8)
    edges[streams.start - begin] = 1
    edges[streams.start + streams.sizes - begin] -= 1
    mine = np.cumsum(edges[:-1], dtype=np.int8).view(np.bool_)
    out[begin:end][mine] = np.repeat(value.reshape(-1), times.reshape(-1))
    return None


def _read(
    windows: _Ints32, begin: _Ints32, end: _Ints32, run_mode: _Flags, most: int
) -> tuple[list[tuple[Ints, _Fields]], Ints]:
    """All fields, in parts of `_STEPS`: which streams, and (streams, steps) of fields.

    An ended stream repeats its end field. Besides, how many bits each leaves behind that; -1
    where it does not end within its bits or `most` fields.
    """
    step, place, _ = _code()
    live = np.arange(len(begin))
    position, grid = begin + np.int32(1), begin + np.int32(MARKER_FIRST)
    mode = np.where(run_mode, _WINDOWS, 0).astype(np.int32)
    rest = np.full(len(begin), -1)
    parts = []
    for _ in range(most // _STEPS + 2):
        fields = np.empty((_STEPS, len(live)), np.int16)
        for row in fields:
            field = windows[position >> 3]
            field >>= LONGEST - (position & 7)
            field &= _WINDOWS - 1
            field += mode
            row[:] = field
            position += step[field]
            reached = position >= grid
            position += reached
            grid += reached * np.int32(MARKER_STEP)
        parts.append((live, np.ascontiguousarray(fields.T)))
        ended = place[fields[-1]] == END
        rest[live[ended]] = end[ended] - position[ended] - END_FIELD[1]
        going = ~ended & (position < end)
        live, mode = live[going], mode[going]
        position, grid, end = position[going], grid[going], end[going]
        if not len(live):
            break
    return parts, rest


def _in_order(parts: list[tuple[Ints, _Fields]], count: int) -> tuple[_Fields, Ints]:
    """The fields of stream after stream, (rows, steps), and the rows that each has."""
    rows = np.zeros(count, np.int64)
    for chosen, _ in parts:
        rows[chosen] += 1
    first = np.cumsum(rows) - rows
    fields = np.empty((int(rows.sum()), _STEPS), np.int16)
    for number, (chosen, part) in enumerate(parts):
        fields[first[chosen] + number] = part
    return fields, rows


def _windows(area: Bytes) -> _Ints32:
    """The three bytes that begin at each byte, first bit first, as one number."""
    turned = np.packbits(np.unpackbits(np.arange(256, dtype=np.uint8), bitorder="little"))
    padded = np.concatenate([turned[area], np.zeros(_BEHIND, np.uint8)]).astype(np.int32)
    return padded[:-2] << 16 | padded[1:-1] << 8 | padded[2:]


@functools.cache
def _code() -> tuple[_Ints32, npt.NDArray[np.int8], npt.NDArray[np.int8]]:
    """Bits to go on, place and count of each field in normal mode, then in run mode."""
    codes = [code_table(x) for x in (False, True)]
    length, place, count = (
        np.concatenate([x.length for x in codes]),
        np.concatenate([x.symbol for x in codes]),
        np.concatenate([x.count for x in codes]),
    )
    step = np.where(place == END, 0, length)
    return step.astype(np.int32), place.astype(np.int8), count.astype(np.int8)

"""Parameter blocks of a compiled network, taken apart and decompressed.

A block is: 1 byte of flags (bit 0 compressed, bit 4 a symbol table follows, bit 6 run mode);
u16 length n of its data; the symbol table of 37 bytes where flagged, else the last one stays
in force; the data, or the bit stream of `code_table`; u16 xor of the 16-bit words of the data.
The stream begins with a marker bit, and further markers follow the fields that reach a grid of
bits; behind its end field zero bits fill the last byte. Measured on two public compiled files,
mnet_640_inst.wk and mnet_mergebn_640L_inst.wk.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from nnie_pipeline.errors import InputError
from nnie_pipeline.wk.code_table import (
    END,
    LITERAL,
    LONGEST,
    MARKER_FIRST,
    MARKER_STEP,
    SYMBOLS,
    code_table,
)

Bytes = npt.NDArray[np.uint8]
Ints = npt.NDArray[np.int64]

COMPRESSED, TABLE, RUN_MODE = 1, 16, 64
"""Flags in the first byte of a block."""

HEAD = 3
CHECK = 2
_KNOWN_FLAGS = (0, COMPRESSED, COMPRESSED | TABLE, COMPRESSED | TABLE | RUN_MODE)
_MOST_DATA = 512 << 20
_BYTES_A_BYTE = 12
"""A byte of stream holds at most 8 bits, and 6 bits (the longest run) make 9 bytes."""
_BETWEEN_CHECKS = 16
_LONGEST_RUN = 9
_ROW = 64
_AHEAD = 4 + _BETWEEN_CHECKS * (LONGEST + 1) // 8
"""Bytes that may be read behind the area before a stream that never ends is noticed."""


@dataclass(frozen=True)
class Blocks:
    """The blocks of a file in order, empty places left out.

    `slot` is the place in the index, `offset` and `stored` where the block lies in the
    parameter area and its length there, `flags` its first byte, `start` where its data begins
    in `data` (one entry more than blocks), `table` the symbol table in force (blocks, 37).
    """

    slot: Ints
    offset: Ints
    stored: Ints
    flags: Ints
    start: Ints
    data: Bytes
    table: Bytes

    def __len__(self) -> int:
        return len(self.slot)

    @property
    def sizes(self) -> Ints:
        """The length of each block's data."""
        return np.diff(self.start)

    def body(self, number: int) -> Bytes:
        """The data of one block."""
        return self.data[self.start[number] : self.start[number + 1]]


def read_blocks(area: Bytes, index: Ints) -> Blocks:
    """The blocks in the parameter area; `index` (places, 2) are their offsets and lengths.

    Raises:
        InputError: a block does not lie where it may, does not decode to its length, or its
            check word is wrong. The text begins with the place of the block in the index.
    """
    slot = np.flatnonzero(index[:, 1])
    offset, stored = index[slot, 0], index[slot, 1]
    _require_places(area, slot, offset, stored)
    flags = area[offset].astype(np.int64)
    sizes = area[offset + 1].astype(np.int64) | area[offset + 2].astype(np.int64) << 8
    body = HEAD + np.where(flags & TABLE, SYMBOLS, 0)
    _require(np.isin(flags, _KNOWN_FLAGS), slot, flags, "begins with {}, an unknown kind")
    room = stored - body - CHECK
    packed = (flags & COMPRESSED).astype(bool)
    fits = np.where(packed, (sizes <= room * _BYTES_A_BYTE) & (room > 0), sizes == room)
    fits &= (sizes > 0) & (sizes % 2 == 0)
    _require(fits, slot, sizes, "says it holds {} bytes, which cannot be")
    if int(sizes.sum()) > _MOST_DATA:
        raise InputError(f"the blocks hold {int(sizes.sum())} bytes, more than {_MOST_DATA}")
    start = np.concatenate([[0], np.cumsum(sizes)])
    data = np.empty(int(start[-1]), np.uint8)
    for number in np.flatnonzero(~packed):
        first = offset[number] + HEAD
        data[start[number] : start[number + 1]] = area[first : first + sizes[number]]
    table = _tables(area, offset, flags, slot)
    begin, end = (offset + body) * 8, (offset + stored - CHECK) * 8
    chosen = np.flatnonzero(packed)
    _decompress(
        area, begin[chosen], end[chosen], (flags[chosen] & RUN_MODE) != 0, table[chosen],
        data, start[chosen], sizes[chosen], slot[chosen],
    )  # fmt: skip
    last = offset + stored
    check = area[last - 2].astype(np.int64) | area[last - 1].astype(np.int64) << 8
    if len(slot):
        found = np.bitwise_xor.reduceat(data.view("<u2"), start[:-1] // 2)
        _require(found == check, slot, found, "has the wrong check word; its data give {}")
    return Blocks(slot, offset, stored, flags, start, data, table)


def _require_places(area: Bytes, slot: Ints, offset: Ints, stored: Ints) -> None:
    end = offset + stored
    before = np.concatenate([[0], end[:-1]])
    fits = (offset >= before) & (end <= len(area)) & (stored > HEAD + CHECK)
    _require(fits, slot, offset, "lies at {}, over another block or outside the parameters")


def _require(fits: npt.NDArray[np.bool_], slot: Ints, found: Ints, what: str) -> None:
    if not fits.all():
        first = int(np.argmin(fits))
        raise InputError(f"parameter block {slot[first]} {what.format(found[first])}")


def _tables(area: Bytes, offset: Ints, flags: Ints, slot: Ints) -> Bytes:
    """The symbol table in force in each block."""
    own = (flags & TABLE) != 0
    last = np.maximum.accumulate(np.where(own, np.arange(len(own)), -1))
    _require((last >= 0) | (flags & COMPRESSED == 0), slot, flags, "has no symbol table")
    places = offset[np.maximum(last, 0)][:, None] + HEAD + np.arange(SYMBOLS)
    return np.where(last[:, None] >= 0, area[np.minimum(places, len(area) - 1)], 0).astype(np.uint8)


def _packed_code() -> Ints:
    """Both modes by 13 bits (mode, next 12 bits): bits | count << 4 | symbol << 8.

    Symbol 0..36 is a place in the table; the two rows above stand for a literal and the end.
    """
    rows = []
    for run_mode in (False, True):
        code = code_table(run_mode)
        symbol = np.where(code.symbol == LITERAL, SYMBOLS, code.symbol)
        symbol = np.where(code.symbol == END, SYMBOLS + 1, symbol)
        rows.append(code.length | code.count << 4 | symbol << 8)
    return np.concatenate(rows).astype(np.int64)


def _decompress(
    area: Bytes,
    position: Ints,
    end: Ints,
    run_mode: npt.NDArray[np.bool_],
    table: Bytes,
    data: Bytes,
    start: Ints,
    sizes: Ints,
    slot: Ints,
) -> None:
    """Decode all streams side by side, one field of each in a step.

    `position` and `end` are the first bit and the one behind the last, in the whole area.
    """
    if not len(slot):
        return
    code = _packed_code()
    reverse = np.packbits(np.unpackbits(np.arange(256, dtype=np.uint8), bitorder="little"))
    flipped = np.concatenate([reverse[area], np.zeros(_AHEAD, np.uint8)]).astype(np.int32)
    window = flipped[:-2] << 16 | flipped[1:-1] << 8 | flipped[2:]
    values = np.zeros((len(slot), _ROW), np.uint8)
    values[:, :SYMBOLS] = table
    flat = values.reshape(-1)
    out = np.zeros(len(data) + _LONGEST_RUN * _BETWEEN_CHECKS, np.uint8)
    out[: len(data)] = data
    filled = np.repeat(table[:, 0], sizes)
    where = np.repeat(start - np.concatenate([[0], np.cumsum(sizes)[:-1]]), sizes)
    out[where + np.arange(len(filled))] = filled  # runs of the first symbol stand there already

    row = np.arange(len(slot)) * _ROW
    mode = run_mode.astype(np.int64) << LONGEST
    grid = position + MARKER_FIRST
    position = position + 1
    target = start.copy()
    limit = start + sizes
    while len(row):
        for _ in range(_BETWEEN_CHECKS):
            bits = window[position >> 3] >> (LONGEST - (position & 7)) & 0xFFF
            field = code[mode | bits]
            symbol = field >> 8
            count = field >> 4 & 15
            byte = np.where(symbol == SYMBOLS, bits & 0xFF, flat[row + symbol])
            writes = count > 0
            out[target[writes]] = byte[writes]
            target += count
            moved = position + np.where(writes, field & 15, 0)
            passed = moved >= grid
            grid += MARKER_STEP * (passed & writes)
            position = np.where(writes, moved + passed, position)
        done = ~writes
        wrong = (target > limit) | (position > end)
        if done.any():
            tail = position[done] + 9
            unused = end[done] - tail
            wrong[done] |= (target[done] != limit[done]) | (unused < 0) | (unused > 7)
        if wrong.any():
            raise InputError(f"parameter block {slot[int(np.argmax(wrong))]} does not decode")
        left = ~done
        row, mode, grid, position = row[left], mode[left], grid[left], position[left]
        target, limit, end, slot = target[left], limit[left], end[left], slot[left]
    data[:] = out[: len(data)]

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
from nnie_pipeline.wk.code_table import SYMBOLS
from nnie_pipeline.wk.stream import Streams, decode_streams

Bytes = npt.NDArray[np.uint8]
Ints = npt.NDArray[np.int64]

COMPRESSED, TABLE, RUN_MODE = 1, 16, 64
"""Flags in the first byte of a block."""

HEAD = 3
CHECK = 2
_KNOWN_FLAGS = (0, COMPRESSED, COMPRESSED | TABLE, COMPRESSED | TABLE | RUN_MODE)
_MOST_DATA = 64 << 20
"""Bytes of all data; the largest networks of these chips have less. It bounds time and memory."""

_MOST_PLACES = 1 << 20
_BYTES_A_BYTE = 12
"""A byte of stream holds at most 8 bits, and 6 bits (the longest run) make 9 bytes."""

_BYTES_FOR_A_BYTE, _BYTES_BESIDES = 2, 8
"""A byte takes at most 12 bits and a marker, besides the end field and the markers around it."""


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
    if len(index) > _MOST_PLACES:
        raise InputError(f"its block index has {len(index)} places, more than {_MOST_PLACES}")
    slot = np.flatnonzero(index[:, 1])
    offset, stored = index[slot, 0], index[slot, 1]
    _require_places(area, slot, offset, stored)
    flags = area[offset].astype(np.int64)
    sizes = area[offset + 1].astype(np.int64) | area[offset + 2].astype(np.int64) << 8
    body = HEAD + np.where(flags & TABLE, SYMBOLS, 0)
    _require(np.isin(flags, _KNOWN_FLAGS), slot, flags, "begins with {}, an unknown kind")
    room = stored - body - CHECK
    packed = (flags & COMPRESSED).astype(bool)
    fits = np.where(
        packed,
        (sizes <= room * _BYTES_A_BYTE)
        & (room > 0)
        & (room <= sizes * _BYTES_FOR_A_BYTE + _BYTES_BESIDES),
        sizes == room,
    )
    fits &= (sizes > 0) & (sizes % 2 == 0)
    _require(fits, slot, sizes, "says it holds {} bytes, which cannot be")
    if int(sizes.sum()) > _MOST_DATA:
        raise InputError(
            f"its blocks say they hold {int(sizes.sum()):,} bytes of parameters, more than the "
            f"{_MOST_DATA:,} that are read"
        )
    start = np.concatenate([[0], np.cumsum(sizes)])
    data = np.empty(int(start[-1]), np.uint8)
    for number in np.flatnonzero(~packed):
        first = offset[number] + HEAD
        data[start[number] : start[number + 1]] = area[first : first + sizes[number]]
    table = _tables(area, offset, flags, slot)
    chosen = np.flatnonzero(packed)
    begin, end = (offset + body) * 8, (offset + stored - CHECK) * 8
    run_mode = (flags & RUN_MODE) != 0
    streams = Streams(begin, end, run_mode, table, start[:-1], sizes)
    wrong = decode_streams(area, streams.part(chosen), data)
    if wrong is not None:
        raise InputError(f"parameter block {slot[chosen[wrong]]} does not decode to its length")
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

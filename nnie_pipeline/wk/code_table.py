"""The code of a compressed block: which fields of bits stand for which bytes.

Fields are written with their first bit as the most significant; the stream fills bytes from
their least significant bit. A block in normal mode ends runs of the first symbol in twos, one
in run mode in runs of 1, 2, 3, 4 or 9. Measured on two public compiled files,
mnet_640_inst.wk and mnet_mergebn_640L_inst.wk: all 4684 compressed blocks decode, and encode
again to the same bytes.
"""

from __future__ import annotations

import functools
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

SYMBOLS = 37
"""Places of a block's symbol table; the most frequent byte comes first."""

RUN_SYMBOLS = 34
"""Places that a block in run mode can name."""

LONGEST = 12
"""Bits of the longest field: a literal byte."""

END, LITERAL = -1, -2
"""What `CodeTable.symbol` holds for the end of the data and for a literal byte."""

MARKER_FIRST, MARKER_STEP = 34, 43
"""Behind the field that reaches bit 34 + 43 i of the stream lies a marker bit."""


@dataclass(frozen=True)
class CodeTable:
    """The code of one mode, by the next 12 bits of the stream (arrays of 4096).

    `length` is the number of bits, `symbol` the place in the symbol table (or `END`,
    `LITERAL`), `count` how often the byte stands there. `single` are (value, bits) of each
    place, `runs` the (count, value, bits) of runs of the first symbol, longest first.
    """

    length: npt.NDArray[np.int64]
    symbol: npt.NDArray[np.int64]
    count: npt.NDArray[np.int64]
    single: tuple[tuple[int, int], ...]
    runs: tuple[tuple[int, int, int], ...]


@functools.cache
def code_table(run_mode: bool) -> CodeTable:
    """The code of normal or run mode."""
    length = np.zeros(1 << LONGEST, np.int64)
    symbol = np.zeros(1 << LONGEST, np.int64)
    count = np.zeros(1 << LONGEST, np.int64)
    single: dict[int, tuple[int, int]] = {}
    runs = []
    for value, bits, place, times in _fields(run_mode):
        rows = slice(value << (LONGEST - bits), (value + 1) << (LONGEST - bits))
        length[rows], symbol[rows], count[rows] = bits, place, times
        if place == 0:
            runs.append((times, value, bits))
        if place >= 0 and times == 1:
            single[place] = (value, bits)
    length[0b1111 << 8 :], symbol[0b1111 << 8 :], count[0b1111 << 8 :] = LONGEST, LITERAL, 1
    runs.sort(reverse=True)
    places = tuple(single[x] for x in range(len(single)))
    return CodeTable(length, symbol, count, places, tuple(runs))


END_FIELD = (0b111_01_1111, 9)
"""(value, bits) of the end of the data."""


def literal_field(byte: int) -> tuple[int, int]:
    """(value, bits) of a byte that has no place in the symbol table."""
    return 0b1111 << 8 | byte, LONGEST


def _fields(run_mode: bool) -> list[tuple[int, int, int, int]]:
    """(value, bits, place, times) of all fields but the literals."""
    if run_mode:
        short = [(0, 0, 1), (1, 0, 2), (2, 0, 3), (3, 0, 4), (4, 1, 1)]
        longer = [0, *range(2, RUN_SYMBOLS)]
        times = [9] + [1] * 32
    else:
        short = [(0, 0, 1), (1, 0, 2), (2, 1, 1), (3, 2, 1), (4, 3, 1)]
        longer = list(range(4, SYMBOLS))
        times = [1] * 33
    fields = [(value, 3, place, count) for value, place, count in short]
    heads = [(0b101 << 3 | x, 6) for x in range(8)] + [(0b110 << 3 | x, 6) for x in range(8)]
    heads += [(0b11100 << 1 | x, 6) for x in range(2)] + [(0b11101 << 4 | x, 9) for x in range(15)]
    fields += [(v, b, p, t) for (v, b), p, t in zip(heads, longer, times, strict=True)]
    return [*fields, (*END_FIELD, END, 0)]

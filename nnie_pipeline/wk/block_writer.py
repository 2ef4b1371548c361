"""Parameter blocks, compressed as the mapper does it.

With the symbol table that the mapper chose, every compressed block of two public compiled
files (mnet_640_inst.wk and mnet_mergebn_640L_inst.wk) comes out byte for byte. How it orders
symbols of equal frequency is not known, so own tables may differ in those places.
"""

from __future__ import annotations

import functools
from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from nnie_pipeline.errors import InputError
from nnie_pipeline.wk.blocks import CHECK, COMPRESSED, HEAD, RUN_MODE, TABLE, Bytes
from nnie_pipeline.wk.code_table import (
    END_FIELD,
    MARKER_FIRST,
    MARKER_STEP,
    RUN_SYMBOLS,
    SYMBOLS,
    CodeTable,
    code_table,
    literal_field,
)

Ints = npt.NDArray[np.int64]
ALIGNMENT = 16
PAGE = 256
_LARGEST = 0xFFFF


def compress(body: Bytes, table: Bytes, with_table: bool, run_mode: bool = False) -> bytes:
    """The compressed block of `body` (uint8, an even number of bytes up to 65534).

    `table` are the 37 symbols in force, written into the block with `with_table`.

    Raises:
        InputError: a length that a block cannot have.
    """
    _require_length(body)
    value, bits = _fields(body, table, run_mode)
    flags = COMPRESSED | TABLE * with_table | RUN_MODE * run_mode
    head = bytes([flags]) + len(body).to_bytes(2, "little")
    symbols = table.tobytes() if with_table else b""
    return head + symbols + _stream(value, bits) + _check_word(body)


def store(body: Bytes) -> bytes:
    """The block that holds `body` as it is.

    Raises:
        InputError: as `compress`.
    """
    _require_length(body)
    return b"\0" + len(body).to_bytes(2, "little") + body.tobytes() + _check_word(body)


def encode_block(body: Bytes, table: Bytes, with_table: bool, run_mode: bool = False) -> bytes:
    """The shorter of `compress` and `store`.

    So do the two files but for 8 of their 5486 blocks, which are compressed though that
    makes them up to 4 bytes longer; the reason is not known.
    """
    packed, stored = compress(body, table, with_table, run_mode), store(body)
    return packed if len(packed) <= len(stored) else stored


def choose_table(bodies: Sequence[Bytes], run_mode: bool) -> Bytes:
    """Symbols by falling frequency in all `bodies`; free places hold the smallest others."""
    counts = np.bincount(np.concatenate(bodies), minlength=256)
    order = np.argsort(-counts, kind="stable")  # the bytes that never occur come last, ascending
    table = np.zeros(SYMBOLS, np.uint8)
    places = RUN_SYMBOLS if run_mode else SYMBOLS
    table[:places] = order[:places]
    return table


def encode_layer(bodies: Sequence[Bytes]) -> list[bytes]:
    """The blocks of one layer: a table in the first, and the mode that makes them shorter."""
    table, run_mode, _ = _planned(bodies)
    return [encode_block(x, table, i == 0, run_mode) for i, x in enumerate(bodies)]


def layer_lengths(bodies: Sequence[Bytes]) -> list[int]:
    """The lengths of the blocks that `encode_layer` makes."""
    return _planned(bodies)[2]


def _planned(bodies: Sequence[Bytes]) -> tuple[Bytes, bool, list[int]]:
    """Symbol table, run mode or not, and lengths of a layer's blocks.

    Run mode is tried where most bytes are one and the same.
    """
    counts = np.bincount(np.concatenate(bodies))
    plans = []
    for run_mode in (False, True) if counts.max() * 2 > counts.sum() else (False,):
        table = choose_table(bodies, run_mode)
        plans.append((table, run_mode, _lengths(bodies, table, run_mode)))
    return min(plans, key=lambda x: sum(x[2]))


def _lengths(bodies: Sequence[Bytes], table: Bytes, run_mode: bool) -> list[int]:
    """The lengths of the blocks, the first with `table` in it: fields counted, none written."""
    code = code_table(run_mode)
    _, bits = _of_each_byte(table, code)
    data = np.concatenate(bodies)
    sizes = np.array([len(x) for x in bodies])
    start = np.cumsum(sizes) - sizes
    is_fill = data == table[0]
    before = np.concatenate([[False], is_fill[:-1]])
    behind = np.concatenate([is_fill[1:], [False]])
    before[start] = behind[start[1:] - 1] = False  # no run goes on into the next block
    left = np.flatnonzero(is_fill & ~before)
    run = np.flatnonzero(is_fill & ~behind) + 1 - left
    cost = sum(times * width for times, _, _, width in _run_fields(run, code, run_mode))
    owner = np.searchsorted(start, left, side="right") - 1
    total = np.add.reduceat(np.where(is_fill, 0, bits[data]), start)
    total += np.bincount(owner, cost, len(bodies)).astype(np.int64)
    # As `_marked`: every grid point up to the end of the last field before the end field.
    markers = np.maximum((total - (MARKER_FIRST - 1)) // (MARKER_STEP - 1) + 1, 0)
    packed = HEAD + CHECK + -(-(1 + total + END_FIELD[1] + markers) // 8)
    packed[0] += SYMBOLS
    return [int(x) for x in np.minimum(packed, HEAD + CHECK + sizes)]


def place_blocks(lengths: Sequence[int]) -> list[int]:
    """Where blocks of these lengths begin, and behind them the end of the area.

    A block begins on 16 bytes; one of up to 256 bytes does not cross a multiple of 256, a
    longer one begins on one. Seen for every block of the two files.
    """
    places, end = [], 0
    for length in lengths:
        begin = -(-end // ALIGNMENT) * ALIGNMENT
        if length > PAGE or begin // PAGE != (begin + length - 1) // PAGE:
            begin = -(-end // PAGE) * PAGE
        places.append(begin)
        end = begin + length
    return [*places, -(-end // PAGE) * PAGE]


def _require_length(body: Bytes) -> None:
    if not 0 < len(body) <= _LARGEST or len(body) % 2:
        raise InputError(f"a block holds an even number of bytes up to 65534, not {len(body)}")


def _check_word(body: Bytes) -> bytes:
    return int(np.bitwise_xor.reduce(body.view("<u2"))).to_bytes(2, "little")


def _fields(body: Bytes, table: Bytes, run_mode: bool) -> tuple[Ints, Ints]:
    """The fields that spell `body`: their values and bits, the end field last."""
    code = code_table(run_mode)
    value, bits = _of_each_byte(table, code)
    fill = table[0]
    is_fill = body == fill
    edges = np.flatnonzero(np.diff(np.concatenate([[0], is_fill.view(np.int8), [0]])))
    left, right = edges[::2], edges[1::2]
    place = [np.flatnonzero(~is_fill)]
    values, widths = [value[body[place[0]]]], [bits[body[place[0]]]]
    at = left.copy()
    for times, count, field, width in _run_fields(right - left, code, run_mode):
        repeated = np.repeat(np.arange(len(at)), times)
        order = np.arange(len(repeated)) - np.repeat(np.cumsum(times) - times, times)
        place.append(at[repeated] + order * count)
        values.append(np.full(len(repeated), field))
        widths.append(np.full(len(repeated), width))
        at += times * count
    where = np.argsort(np.concatenate(place), kind="stable")
    end_value, end_bits = END_FIELD
    return (
        np.append(np.concatenate(values)[where], end_value),
        np.append(np.concatenate(widths)[where], end_bits),
    )


def _run_fields(
    remaining: Ints, code: CodeTable, run_mode: bool
) -> Iterator[tuple[Ints, int, int, int]]:
    """For each run field: how often it stands in runs of these lengths, its count, value, bits.

    Long runs first, then what is left; equal to trying the longest that fits each time.
    """
    for count, field, width in code.runs:
        times = remaining // count
        if count == code.runs[0][0] and run_mode:
            times = np.maximum(remaining - 1, 0) // count  # nine only while more than nine remain
        yield times, count, field, width
        remaining = remaining - times * count


def _of_each_byte(table: Bytes, code: CodeTable) -> tuple[Ints, Ints]:
    value, bits = _literals().copy()
    # The first place of a symbol counts.
    value[table[: len(code.single)][::-1]] = [x for x, _ in reversed(code.single)]
    bits[table[: len(code.single)][::-1]] = [x for _, x in reversed(code.single)]
    return value, bits


@functools.cache
def _literals() -> Ints:
    value, bits = zip(*(literal_field(x) for x in range(256)), strict=True)
    return np.array([value, bits], np.int64)


def _stream(value: Ints, bits: Ints) -> bytes:
    """The bit stream of the fields, with its markers, up to the last byte."""
    ends = np.cumsum(bits)
    behind = _marked(ends)
    marked = np.zeros(len(ends) + 1, np.int64)
    marked[behind + 1] = 1
    marked[0] = 1
    begin = np.concatenate([[0], ends[:-1]]) + np.cumsum(marked[:-1])
    total = int(begin[-1] + bits[-1])
    stream = np.zeros(-(-total // 8) * 8, np.uint8)
    owner = np.repeat(np.arange(len(bits)), bits)
    inside = np.arange(len(owner)) - np.repeat(ends - bits, bits)
    stream[begin[owner] + inside] = value[owner] >> (bits[owner] - 1 - inside) & 1
    markers = np.concatenate([[0], begin[behind] + bits[behind]]).astype(np.int64)
    reach = MARKER_FIRST + MARKER_STEP * np.arange(len(markers))
    stream[markers] = _marker_values(begin, bits, reach)
    return np.packbits(stream, bitorder="little").tobytes()


def _marked(ends: Ints) -> Ints:
    """The fields that a marker follows; `ends` count the bits of fields only."""
    # In the stream the field that reaches the grid ends one bit later for the marker at the
    # start and for each marker before.
    grid = np.arange(MARKER_FIRST - 1, ends[-1] + MARKER_STEP, MARKER_STEP - 1)
    behind = np.searchsorted(ends[:-1], grid)
    return behind[behind < len(ends) - 1]


def _marker_values(begin: Ints, bits: Ints, reach: Ints) -> Ints:
    """A marker tells by how many threes of bits the field passes the next grid point.

    1 where that number is even, 0 where it is odd, 0 before the end field.
    """
    ends = begin + bits
    crossing = np.searchsorted(ends[:-1], reach)
    last = crossing >= len(ends) - 1
    over = (ends[np.minimum(crossing, len(ends) - 1)] - reach) // 3
    return np.where(last, 0, 1 - over % 2)

"""The compiled inner loop that decodes the bit streams of blocks."""

from __future__ import annotations

from typing import Any

from nnie_pipeline.quant.gfpq_kernels import compiled

# The compiled code is kept on disk until this file changes: what may change elsewhere comes as
# an argument.
_LAST_BITS = 7


@compiled
def decode_streams(
    flipped: Any,
    begin: Any,
    end: Any,
    run_mode: Any,
    table: Any,
    length: Any,
    symbol: Any,
    count: Any,
    out: Any,
    start: Any,
    sizes: Any,
    constants: Any,
) -> Any:
    """Decode each stream into `out`; the number of the first that is wrong, else -1.

    `flipped` are bytes with their bits turned round and two bytes more; `begin` and `end` the
    bits of each stream; `length`, `symbol` and `count` (8192,) the code of normal, then run
    mode; `start` and `sizes` the places in `out`; `constants` the bits of a window, `END`,
    `LITERAL`, `MARKER_FIRST` and `MARKER_STEP`. All other arrays have a row for each stream.
    """
    longest, end_of_data, literal, marker_first, marker_step = constants
    windows = 1 << longest
    for i in range(begin.size):
        position, grid = begin[i] + 1, begin[i] + marker_first
        at, last = start[i], start[i] + sizes[i]
        mode = run_mode[i] * windows
        while True:
            if position >= end[i]:
                return i
            byte = position >> 3
            window = flipped[byte] << 16 | flipped[byte + 1] << 8 | flipped[byte + 2]
            window = window >> (longest - (position & 7)) & (windows - 1)
            field = mode + window
            position += length[field]
            place = symbol[field]
            if place == end_of_data:
                break
            value = window & 0xFF if place == literal else table[i, place]
            if at + count[field] > last:
                return i
            for _ in range(count[field]):
                out[at] = value
                at += 1
            if position >= grid:
                position += 1
                grid += marker_step
        if at != last or not 0 <= end[i] - position <= _LAST_BITS:
            return i
    return -1

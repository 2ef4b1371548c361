"""What the instructions of a compiled network tell: where each row reads and writes.

An instruction has 8 bytes: bit 63 makes the number of ones even, the lowest 12 bits say what it
is, the others carry its value. The layer table says where the instructions of each row begin.
What is read here was found by comparing the instructions of mnet_640_inst.wk and
mnet_mergebn_640L_inst.wk with their layer tables and the network, and holds for every row of
both: addresses of inputs and output in the temporary memory, their z, and of a convolution the
blocks and whether it ends with ReLU. All other instructions stay unread.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from nnie_pipeline.wk.model import WkRecord

Words = npt.NDArray[np.uint64]
Ints = npt.NDArray[np.int64]
Flags = npt.NDArray[np.bool_]

BEGIN = 0x0400_0000_080B
"""The first instruction of a row, without its parity bit."""

WORD = 8
_PARITY = 1 << 63
_KIND = 0xFFF
_VALUE = 12
_Z, _Z_MASK, _Z_SIGN = 50, 0x1FFF, 0x1000
_ENDING, _ENDING_MASK = 34, 7
_RELU, _NO_RELU = 0b110, 0b001
"""How the instruction that ends a convolution spells with and without ReLU."""

_CONV_OUTPUT, _CONV_INPUT, _CONV_Z, _CONV_END = 0x609, 0x109, 0x784, 0x585
_CONV_BLOCKS = 0x689
_OTHER_Z_IN, _OTHER_Z_OUT = 0x084, 0x305
# By type of row: place and kind of the instruction with the address of the output, of the inputs.
_PLACES: dict[int, tuple[tuple[int, int] | None, tuple[tuple[int, int], ...]]] = {
    7: ((2, 0x309), ((7, 0x189),)),
    16: ((8, 0x109), ((9, 0x189),)),
    27: ((2, 0x309), ((7, 0x809), (8, 0x889))),
    39: ((2, 0x309), ((7, 0x189),)),
    45: (None, ((22, 0x809),)),
}
_CONVOLUTIONS = (0, 1)


@dataclass(frozen=True)
class Program:
    """What the instructions of one row tell; None, or nothing, where they do not.

    `output` and `inputs` are addresses in the temporary memory; a convolution without an input
    address reads what the row before has just made. `z_in` and `z_out` count 1/128 octave;
    `z_in` are the different ones in their order. `relu` is whether a convolution ends with ReLU,
    `index` where the entry of its first block lies, in bytes from the base.
    """

    output: int | None
    inputs: tuple[int, ...]
    z_in: tuple[int, ...]
    z_out: int | None
    relu: bool | None
    index: int | None = None

    @property
    def from_chip(self) -> bool:
        """Whether a convolution reads what the row before has just made."""
        return self.relu is not None and not self.inputs


def instructions(data: bytes, area: slice) -> Words | None:
    """The instructions in this part of the file; None where a parity bit is wrong."""
    part = data[area]
    words = np.frombuffer(part[: len(part) // WORD * WORD], "<u8")
    folded = words.copy()
    for shift in (32, 16, 8, 4, 2, 1):
        folded ^= folded >> np.uint64(shift)
    return None if (folded & np.uint64(1)).any() or not len(words) else words


def begins(words: Words, records: Sequence[WkRecord]) -> Flags:
    """Whether the instructions of each row begin where the layer table says."""
    place = np.array([x.instruction for x in records], np.int64)
    inside = place < len(words)
    first = words[np.where(inside, place, 0)] & np.uint64(_PARITY - 1)
    later = np.concatenate([np.diff(place) > 0, [True]])
    return np.asarray(inside & (first == BEGIN) & later, np.bool_)


def read_programs(words: Words, records: Sequence[WkRecord]) -> tuple[Program | None, ...]:
    """What is known of each row; None for rows of other types, or that look otherwise.

    `begins` has to hold for all rows.
    """
    words = words & np.uint64(_PARITY - 1)
    starts = np.array([*(x.instruction for x in records), len(words)], np.int64)
    found: list[Program | None] = []
    convolutions = _convolutions(words, starts)
    for number, row in enumerate(records):
        if row.type in _CONVOLUTIONS:
            found.append(convolutions[number])
        else:
            found.append(_other(words[starts[number] : starts[number + 1]], row.type))
    return tuple(found)


def _convolutions(words: Words, starts: Ints) -> list[Program | None]:
    """Every row read as if it were a convolution."""
    outputs, output, _ = _values(words, starts, _CONV_OUTPUT)
    inputs, source, _ = _values(words, starts, _CONV_INPUT)
    loads, z_in, one_z_in = _values(words, starts, _CONV_Z, _Z_MASK, _Z)
    ends, ending, one_ending = _values(words, starts, _CONV_END, _ENDING_MASK, _ENDING)
    blocks, index, _ = _values(words, starts, _CONV_BLOCKS)
    _, z_out, one_z_out = _values(words, starts, _CONV_END, _Z_MASK, _Z)
    known = (outputs == 1) & (inputs <= 1) & (ends > 0) & one_ending & one_z_out
    known &= (ending == _RELU) | (ending == _NO_RELU)
    return [
        Program(
            int(output[i]),
            (int(source[i]),) if inputs[i] else (),
            (_signed(int(z_in[i])),) if loads[i] and one_z_in[i] else (),
            _signed(int(z_out[i])),
            bool(ending[i] == _RELU),
            int(index[i]) if blocks[i] == 1 else None,
        )
        if known[i]
        else None
        for i in range(len(starts) - 1)
    ]


def _values(
    words: Words, starts: Ints, kind: int, mask: int = (1 << 51) - 1, shift: int = _VALUE
) -> tuple[Ints, Ints, Flags]:
    """For each row: the instructions of a kind, the value of the first, whether all have it."""
    count = len(starts) - 1
    places = np.flatnonzero((words & np.uint64(_KIND)) == kind)
    places = places[places >= starts[0]]
    rows = np.searchsorted(starts, places, side="right") - 1
    values = (words[places] >> np.uint64(shift) & np.uint64(mask)).astype(np.int64)
    first = np.zeros(count, np.int64)
    first[rows[::-1]] = values[::-1]
    differ = np.bincount(rows[values != first[rows]], minlength=count)
    return np.bincount(rows, minlength=count), first, differ == 0


def _other(words: Words, kind: int) -> Program | None:
    if kind not in _PLACES:
        return None
    own, sources = _PLACES[kind]
    output = None if own is None else _at(words, *own)
    inputs = [_at(words, *x) for x in sources]
    if (own is not None and output is None) or None in inputs:
        return None
    z_in = dict.fromkeys(_z_of(words, _OTHER_Z_IN))
    z_out = set(_z_of(words, _OTHER_Z_OUT))
    return Program(
        output, tuple(x for x in inputs if x is not None), tuple(z_in),
        z_out.pop() if len(z_out) == 1 else None, None,
    )  # fmt: skip


def _at(words: Words, place: int, kind: int) -> int | None:
    if place >= len(words) or int(words[place]) & _KIND != kind:
        return None
    return int(words[place]) >> _VALUE


def _z_of(words: Words, kind: int) -> list[int]:
    chosen = words[(words & np.uint64(_KIND)) == kind] >> np.uint64(_Z) & np.uint64(_Z_MASK)
    return [_signed(int(x)) for x in chosen]


def _signed(value: int) -> int:
    return value - 2 * _Z_SIGN if value & _Z_SIGN else value

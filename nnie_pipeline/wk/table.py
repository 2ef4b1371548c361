"""The layer table of a compiled network, and what has to hold in it.

The header's checksum ends where the table begins, so damage in the table shows only where its
rows contradict themselves or the instructions. These rules hold for every row of
mnet_640_inst.wk and mnet_mergebn_640L_inst.wk:

* an element has 1, 2 or 4 bytes; bytes 24, 25 and 40 to 47 are 0;
* z is a whole step of the row's width, 0 for 4 bytes (Q20.12);
* bytes of a row = width times bytes of an element, up to a multiple of 16; four channels side
  by side (flag) make it four times as wide; size = bytes of a row * height * channels;
* rows lie in the temporary memory; an output of the network lies outside and has size 0;
* no other flags are set; a row marked to be read from the chip stands before one that reads no
  memory, and no other does;
* ids and the places of instructions rise; instructions begin there;
* the instructions write to the row's place, with its z, and read from places of rows before;
  those of the rows that read it take the same z, or one a step beside it (so in one row of each
  file: a reader's z is its own); a picture's readers take exactly its z.

Another mapper may do otherwise: a rule is in force where most rows of the file follow it.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence

import numpy as np
import numpy.typing as npt

from nnie_pipeline.errors import InputError
from nnie_pipeline.wk.memory import Memory
from nnie_pipeline.wk.model import FROM_CHIP, OUTPUT, PACKED, WkRecord
from nnie_pipeline.wk.programs import Program, Words, begins, read_programs
from nnie_pipeline.wk.rows import INPUT

Flags = npt.NDArray[np.bool_]

ROW = struct.Struct("<BBIHIIIIHHIiIII")
_ALWAYS_0 = (8, 13, 14)
"""Fields of no known use: bytes 24, 25 and 40 to 47."""

BITS = {1: 8, 2: 16}
"""Bits of the number format by bytes of an element."""

_Z_STEPS = 128
_STEPS = {1: 16, 2: 128}
_FIXED_POINT = 4
_OUTPUT_ROW = 45
_ALIGNMENT = 16
_FLAGS = FROM_CHIP | OUTPUT | PACKED


def z_step(element: int) -> int:
    """How many of the table's 1/128 octaves a step of the format has (element in bytes)."""
    return _Z_STEPS // _STEPS.get(element, _Z_STEPS)


def read_table(table: bytes) -> tuple[WkRecord, ...]:
    """The rows of the table.

    Raises:
        InputError: a z that no row of this width can have, or another width; something in a
            field that is 0 in most rows.
    """
    found, unknown = [], []
    for number, row in enumerate(ROW.iter_unpack(table)):
        unknown.append(not any(row[x] for x in _ALWAYS_0))
        kind, size, width, height, channels, offset, flags, stride, _, place, program, z = row[:12]
        step = z_step(size)
        record = WkRecord(
            kind, size, height, width, channels, offset, flags, stride, place, program,
            z // step if size in BITS else None, row[12],
        )  # fmt: skip
        if size not in (*BITS, _FIXED_POINT):
            raise InputError(f"{said(number, record)} has elements of {size} bytes, not 1, 2 or 4")
        if size in BITS and z % step:
            raise InputError(f"{said(number, record)} has z {z}, no whole step at {BITS[size]} bit")
        if size == _FIXED_POINT and z:
            raise InputError(f"{said(number, record)} has z {z}, though it is Q20.12")
        found.append(record)
    _check(found, np.array(unknown, np.bool_), lambda x: "has a byte that is 0 in other rows")
    return tuple(found)


def said(number: int, row: WkRecord) -> str:
    """A row in words."""
    return f"row {number} of its layer table ({row.type_name})"


def check_table(records: Sequence[WkRecord], temporary: int) -> None:
    """Hold the rows against each other and against `temporary`, the bytes of that memory.

    Raises:
        InputError: a row breaks a rule that most rows follow.
    """
    _check(
        records,
        np.array([x.flags & ~_FLAGS == 0 for x in records], np.bool_),
        lambda x: f"has flags {x.flags:#x}, of which only {_FLAGS:#x} are known",
    )
    _check(
        records,
        np.array([_stride(x) == x.stride for x in records], np.bool_),
        lambda x: f"has {x.stride} bytes a row, its width of {x.width} makes {_stride(x)}",
    )
    _check(
        records,
        np.array([_size(x) == x.size for x in records], np.bool_),
        lambda x: f"has size {x.size}, its height, channels and bytes a row make {_size(x)}",
    )
    _check(
        records,
        np.array([x.offset + x.size <= temporary for x in records], np.bool_),
        lambda x: f"ends at {x.offset + x.size} of {temporary} bytes of temporary memory",
    )
    ids = np.array([x.id for x in records], np.int64)
    _check(records, np.diff(ids, prepend=-1) > 0, lambda x: f"has id {x.id}, out of order")


def checked_programs(
    records: Sequence[WkRecord], words: Words | None
) -> tuple[Program | None, ...]:
    """What the instructions tell of each row; empty where this file's are not understood.

    Raises:
        InputError: a row contradicts its instructions.
    """
    if words is None or not records:
        return ()
    known = begins(words, records)
    _check(records, known, lambda x: f"has its instructions at {x.instruction}, where none begin")
    if not known.all():
        return ()
    programs = read_programs(words, records)
    for what, ours, theirs in (
        ("place", [x.offset for x in records], [x and x.output for x in programs]),
        ("z", [_raw_z(x) for x in records], [x and x.z_out for x in programs]),
    ):
        told = np.array([x is not None for x in theirs], np.bool_)
        same = np.array([a == b for a, b in zip(ours, theirs, strict=True)], np.bool_)
        if same[told].sum() * 2 <= told.sum():
            return ()
        if not same[told].all():
            number = int(np.argmax(told & ~same))
            raise InputError(
                f"{said(number, records[number])} has {what} {ours[number]}, its instructions "
                f"{theirs[number]}"
            )
    direct = [x is not None and x.from_chip for x in programs]
    marked = np.array([x.flags & FROM_CHIP != 0 for x in records], np.bool_)
    _check(
        records,
        marked == np.array([*direct[1:], False], np.bool_),
        lambda x: f"has flags {x.flags:#x}, the instructions of the row behind it say otherwise",
    )
    _check_readers(records, programs)
    return programs


def _check_readers(records: Sequence[WkRecord], programs: Sequence[Program | None]) -> None:
    memory = Memory(records)
    pairs = [
        (number, memory.writer(number, program.inputs[0]), program.z_in[0])
        for number, program in enumerate(programs)
        if program is not None and len(program.inputs) == len(program.z_in) == 1
    ]
    lost = [x for x in pairs if x[1] < 0]
    if 0 < len(lost) * 2 < len(pairs):
        number, reader = lost[0][0], programs[lost[0][0]]
        raise InputError(
            f"{said(number, records[number])} reads at {reader and reader.inputs[0]} of the "
            "temporary memory, where no row before it has its place"
        )
    pairs = [x for x in pairs if x[1] >= 0]
    far = [
        abs(_raw_z(x) - z) > (0 if x.type == INPUT else z_step(x.bytes))
        for x, z in ((records[writer], z) for _, writer, z in pairs)
    ]
    if 0 < sum(far) * 2 < len(far):
        number, writer, z = pairs[far.index(True)]
        raise InputError(
            f"{said(writer, records[writer])} has z {_raw_z(records[writer])}, row {number} reads "
            f"it with z {z} in 1/{_Z_STEPS} octave"
        )


def _check(records: Sequence[WkRecord], holds: Flags, what: Callable[[WkRecord], str]) -> None:
    if holds.all() or int(holds.sum()) * 2 <= len(holds):
        return
    number = int(np.argmin(holds))
    raise InputError(f"{said(number, records[number])} {what(records[number])}")


def _stride(row: WkRecord) -> int:
    row_bytes = row.width * row.bytes * (4 if row.flags & PACKED else 1)
    return -(-row_bytes // _ALIGNMENT) * _ALIGNMENT


def _size(row: WkRecord) -> int:
    if row.type == _OUTPUT_ROW or row.flags & OUTPUT:
        return 0
    channels = row.channels // 4 if row.flags & PACKED else row.channels
    return row.stride * row.height * channels


def _raw_z(row: WkRecord) -> int:
    return 0 if row.z is None else row.z * z_step(row.bytes)

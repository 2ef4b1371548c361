"""Everything in a compiled network that can be decoded."""

from __future__ import annotations

from itertools import pairwise
from pathlib import Path

import numpy as np

from nnie_pipeline.errors import InputError
from nnie_pipeline.wk.blocks import Blocks, read_blocks
from nnie_pipeline.wk.codes import cells_of, read_layer
from nnie_pipeline.wk.header import WkHeader, parse_header, read_bytes
from nnie_pipeline.wk.layout import OUTPUTS
from nnie_pipeline.wk.model import Undecoded, WkLayer, WkModel, WkRecord
from nnie_pipeline.wk.programs import Program, instructions
from nnie_pipeline.wk.table import BITS, ROW, check_table, checked_programs, read_table

_BASE = 0x34
_ENTRY = 8
_REST, _PARAMETERS, _INDEX, _LAYERS = 0x40, 0x50, 0x60, 0xB0
_FUNCTIONS = {
    0x70: "table of the sigmoid, 512 int16",
    0x80: "table of the hyperbolic tangent, 512 int16",
    0x90: "table of an unknown function",
    0xA0: "table of another unknown function",
}
_INSTRUCTIONS = "instructions"
_READ_FROM_THEM = ", of which only addresses, z and ReLU are read"
_BETWEEN = "between the parts that the header names"
_UNKNOWN = "part behind the instructions that the header names at 64"
_WITH_BLOCKS = {0: "Convolution", 1: "Deconvolution"}
_INNER_PRODUCT = 5
_MOST_ROWS = 1 << 16
"""Each row has another id, and an id has 16 bits."""


def decode(path: Path) -> WkModel:
    """Read a `.wk` and decompress its parameters.

    Every parameter block's length and check word is verified. What is not known is listed in
    `undecoded`, never guessed. A file for the functional simulation has no such blocks.

    Raises:
        InputError: the file cannot be read, is no `.wk`, is truncated or damaged.
    """
    data = read_bytes(path)
    header = parse_header(data, path)
    if header.kind != "chip":
        parts = (Undecoded("all behind the header of a functional simulation", 48, len(data) - 48),)
        return WkModel(header, len(data), None, (), (), 0, parts)
    try:
        return _chip(data, header)
    except InputError as error:
        raise InputError(f"{path} is damaged: {error}; copy or compile it again") from error


def _chip(data: bytes, header: WkHeader) -> WkModel:
    base = _u32(data, _BASE)
    parameters = _area(data, base, _PARAMETERS, "parameters")
    index = _area(data, base, _INDEX, "block index")
    table = _area(data, base, _LAYERS, "layer table")
    if (index.stop - index.start) % _ENTRY or (table.stop - table.start) % ROW.size:
        raise InputError("its block index or its layer table ends within an entry")
    if table.stop - table.start > _MOST_ROWS * ROW.size:
        raise InputError(f"its layer table has more than {_MOST_ROWS} rows")
    everything = np.frombuffer(data, np.uint8)
    places = np.frombuffer(data[index], "<u4").reshape(-1, 2).astype(np.int64)
    blocks = read_blocks(everything[parameters], places)
    records = read_table(data[table])
    check_table(records, header.temporary_bytes)
    bits, layers, open_parts = _layers(records, blocks, parameters.start)
    known = [slice(0, base), parameters, index, table]
    functions = [(_area(data, base, at, name), name) for at, name in _FUNCTIONS.items()]
    rest = _area(data, base, _REST, "part behind the instructions")
    first = max(x.stop for x in (parameters, index, *(x for x, _ in functions)))
    code = slice(first, max(first, rest.start if rest.start < rest.stop else table.start))
    programs = checked_programs(records, instructions(data, code))
    right = _named(layers, programs, blocks, index.start - base)
    if right < len(layers):
        what = f"parameters from row {layers[right].records[0]} of the layer table on"
        (behind,) = _rest(blocks, layers[right].blocks[0], parameters.start, what)
        open_parts = [x for x in open_parts if x.offset < behind.offset] + [behind]
    functions += [(code, _INSTRUCTIONS + _READ_FROM_THEM * bool(programs)), (rest, _UNKNOWN)]
    open_parts += [Undecoded(name, x.start, x.stop - x.start) for x, name in functions]
    known += [slice(x.offset, x.offset + x.size) for x in open_parts]
    open_parts += _gaps(known, len(data))
    order = sorted((x for x in open_parts if x.size), key=lambda x: x.offset)
    return WkModel(
        header, len(data), bits, records, tuple(layers[:right]), len(blocks), tuple(order), programs
    )


def _area(data: bytes, base: int, at: int, what: str) -> slice:
    offset, length = _u32(data, at), _u32(data, at + 4)
    if base + offset + length > len(data):
        raise InputError(f"its {what} would end at {base + offset + length} of {len(data)} bytes")
    return slice(base + offset, base + offset + length)


def _layers(
    records: tuple[WkRecord, ...], blocks: Blocks, start: int
) -> tuple[int | None, list[WkLayer], list[Undecoded]]:
    """Deal the blocks to the rows that have weights; both stand in the order of running."""
    widths = sorted({BITS[x.bytes] for x in records if x.bytes in BITS})
    if len(widths) != 1:
        what = f"parameters of layers of {' and '.join(map(str, widths)) or 'unknown'} bits"
        return None, [], _rest(blocks, 0, start, what)
    bits = widths[0]
    layers: list[WkLayer] = []
    open_parts: list[Undecoded] = []
    at = 0
    for first, last in _groups(records):
        row = records[first]
        depthwise = last - first > 1
        outputs = last - first if depthwise else row.channels
        count = outputs if depthwise else -(-outputs // OUTPUTS[bits])
        end = at + count
        sizes = blocks.sizes[at:end]
        if row.type == _INNER_PRODUCT:
            what = "parameters of InnerProduct and of what follows it"
            return bits, layers, open_parts + _rest(blocks, at, start, what)
        fits = 0 < count == len(sizes) and (sizes == sizes[0]).all()
        if not fits or cells_of(int(sizes[0]), bits) is None:
            what = f"parameters from row {first} ({row.type_name}) of the layer table on"
            return bits, layers, open_parts + _rest(blocks, at, start, what)
        bodies = blocks.data[blocks.start[at] : blocks.start[end]].reshape(count, -1)
        parameters = read_layer(bodies, outputs, depthwise, bits)
        stored = int(blocks.stored[at:end].sum())
        if isinstance(parameters, str):
            where = int(blocks.offset[at])
            size = int(blocks.offset[end - 1] + blocks.stored[end - 1]) - where
            what = f"parameters of row {first} ({row.type_name}): {parameters}"
            open_parts.append(Undecoded(what, start + where, size))
        else:
            layers.append(
                WkLayer(
                    len(layers), _WITH_BLOCKS[row.type], depthwise, outputs, row.height, row.width,
                    bits, row.z, (first, last), (at, end), stored, int(sizes.sum()), parameters,
                )
            )  # fmt: skip
        at = end
    return bits, layers, open_parts + _rest(blocks, at, start, "parameters that no layer claims")


def _named(
    layers: list[WkLayer], programs: tuple[Program | None, ...], blocks: Blocks, index: int
) -> int:
    """How many layers have the blocks that their instructions name, where these are understood."""
    for layer in layers if programs else []:
        for number, row in enumerate(range(*layer.records)):
            program = programs[row]
            if program is None or program.index is None:
                continue
            slot = blocks.slot[layer.blocks[0] + number]
            if program.index != index + _ENTRY * slot:
                return layer.number
    return len(layers)


def _groups(records: tuple[WkRecord, ...]) -> list[tuple[int, int]]:
    """The rows with weights; those of a depthwise layer's channels together."""
    edges = [0]
    for number, (one, two) in enumerate(pairwise(records), start=1):
        same = one.type == two.type and one.channels == two.channels == 1 and two.id == one.id + 1
        shape = (one.height, one.width, one.z, one.bytes)
        if not (same and shape == (two.height, two.width, two.z, two.bytes)):
            edges.append(number)
    edges.append(len(records))
    chosen = {*_WITH_BLOCKS, _INNER_PRODUCT}
    return [(a, b) for a, b in pairwise(edges) if b > a and records[a].type in chosen]


def _rest(blocks: Blocks, at: int, start: int, what: str) -> list[Undecoded]:
    if at >= len(blocks):
        return []
    first = int(blocks.offset[at])
    return [Undecoded(what, start + first, int(blocks.offset[-1] + blocks.stored[-1]) - first)]


def _gaps(known: list[slice], size: int) -> list[Undecoded]:
    found, end = [], 0
    for area in sorted(known, key=lambda x: x.start):
        if area.start - end > 16:
            found.append(Undecoded(_BETWEEN, end, area.start - end))
        end = max(end, area.stop)
    if end < size:
        found.append(Undecoded("bytes behind the layer table", end, size - end))
    return found


def _u32(data: bytes, at: int) -> int:
    return int.from_bytes(data[at : at + 4], "little")

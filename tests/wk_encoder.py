"""A `.wk` file for a small network, written place by place; nothing here is fast or shared.

The network is a chain of convolutions. Codes, words, cells, blocks and streams are made with
loops and strings of bits, so that the decoder is held against another way to say the same.
"""

from __future__ import annotations

import math
import struct
from collections.abc import Iterable, Sequence

import numpy as np

from nnie_pipeline.caffe.net import Layer, Net
from nnie_pipeline.caffe.shapes import infer
from tests.test_wk_header import sealed, segment_bytes

FORMAT = {8: (16, 127), 16: (128, 1407)}
Z_DATA = {8: 0, 16: -384}


def encode(net: Net, bits: int, z_of: Sequence[int], run_mode: bool = False) -> bytes:
    """A chip file that holds `net`; `z_of` are the offsets of the layers' results."""
    shapes = infer(net)
    slots: list[bytes] = []
    steps = 128 // FORMAT[bits][0]
    size = bits // 8
    (name, (_, channels, height, width)) = next(iter(net.inputs.items()))
    rows = [record(44, size, height, width, channels, 0, Z_DATA[bits] * steps)]
    z_in, ident, place = Z_DATA[bits], 1, _bytes(rows[0])
    for layer, z_out in zip(net.layers, z_of, strict=True):
        _, outputs, height, width = shapes[layer.tops[0]]
        kind = int(layer.type == "Deconvolution")
        blocks = bodies(layer, bits, z_in)
        if depthwise(layer):
            ident += 1  # the split in front of the channels
            for body in blocks:
                rows.append(record(kind, size, height, width, 1, ident, z_out * steps, place))
                slots += [block(body, [body], True, run_mode), b""]
                ident += 1
                place += _bytes(rows[-1])
            ident += 1  # and what joins them
        else:
            rows.append(record(kind, size, height, width, outputs, ident, z_out * steps, place))
            slots += [block(x, blocks, i == 0, False) for i, x in enumerate(blocks)]
            ident += 1
            place += _bytes(rows[-1])
        z_in = z_out
    last = net.layers[-1].tops[0]
    rows.append(record(45, 4, height, width, outputs, ident, 0))
    segment = (
        [(name, *_size(net.inputs[name]), 1)],
        [(last[:31], *_size(shapes[last]), 0)],
    )
    return assemble(segment, slots, rows)


def _size(shape: Sequence[int]) -> tuple[int, int, int]:
    return shape[2], shape[3], shape[1]


def assemble(
    segment: tuple[list[object], list[object]], slots: list[bytes], rows: list[bytes]
) -> bytes:
    """Header, parameter area, index, four tables, some instructions, layer table."""
    area, index = bytearray(), b""
    for data in slots:
        if not data:
            index += struct.pack("<II", 0, 0)
            continue
        area += bytes(-len(area) % 16)
        if len(data) > 256 or len(area) // 256 != (len(area) + len(data) - 1) // 256:
            area += bytes(-len(area) % 256)
        index += struct.pack("<II", len(area), len(data))
        area += data
    area += bytes(-len(area) % 256)
    nodes = segment_bytes((segment,))  # type: ignore[arg-type]
    base = 192 + len(nodes)
    index_room = index + bytes(-len(index) % 16)
    tables = bytes(4 * 1024)
    body = area + index_room + tables + bytes(range(256))
    header = bytearray(192)
    struct.pack_into("<III", header, 4, 0, 192, 1 << 20)
    header[16:32] = bytes([1, 1, 1, 2, 0, 0, 0, 0, 1, 2, 2, 9, 60, 0, 0, 0])
    header[32:48] = b"2007011200001122"
    header[49] = 1
    struct.pack_into("<II", header, 52, base, len(body))
    struct.pack_into("<II", header, 0x50, 0, len(area))
    struct.pack_into("<II", header, 0x60, len(area), len(index))
    for number in range(4):
        place = len(area) + len(index_room) + 1024 * number
        struct.pack_into("<II", header, 0x70 + 16 * number, place, 1024)
    table = b"".join(rows)
    struct.pack_into("<II", header, 176, len(body), len(table))
    return sealed(bytes(header) + nodes + body, table)


def record(
    kind: int, size: int, height: int, width: int, channels: int, ident: int, z: int, place: int = 0
) -> bytes:
    stride = -(-width * size // 16) * 16
    flags, room = (0x100, 0) if kind == 45 else (0, stride * height * channels)
    return struct.pack(
        "<BBIHIIIIHHIiIII", kind, size, width, height, channels, place, flags, stride, 0, ident,
        77 + ident, z, room, 0, 0,
    )  # fmt: skip


def _bytes(row: bytes) -> int:
    return int(struct.unpack_from("<I", row, 36)[0])


def depthwise(layer: Layer) -> bool:
    return layer.params.convolution_param.group > 1


def z_and_codes(weights: Iterable[float], bits: int) -> tuple[int, list[int]]:
    """The offset of these weights and their codes: +-(1 + step), 0 for zero."""
    steps, top = FORMAT[bits]
    values = [float(x) for x in weights]
    z = math.floor(steps * math.log2(max(abs(x) for x in values))) - top
    codes = []
    for value in values:
        limit = 2 ** ((z - steps + (value < 0)) / steps)
        if abs(value) <= limit:
            codes.append(0)
            continue
        step = math.floor(steps * math.log2(abs(value)) - z + 0.5)
        least = 1 if value < 0 else 0
        codes.append((1 if value > 0 else -1) * (1 + min(max(step, least), top)))
    return z, codes


def stored_code(code: int, bits: int) -> bytes:
    sign = 0x80 if bits == 8 else 0x8000
    value = sign if code == 0 else (abs(code) - 1) << (0 if bits == 8 else 2)
    return (value | (sign if code < 0 else 0)).to_bytes(bits // 8, "little")


def bodies(layer: Layer, bits: int, z_in: int) -> list[bytes]:
    """The data of the layer's blocks."""
    steps, _ = FORMAT[bits]
    kernel, outputs = codes_of(layer, bits)
    result = []
    heads, cells = [], []
    for number, (z, codes) in enumerate(outputs):
        unit = 2.0 ** ((z + z_in) / steps)
        bias = float(layer.weights[1][number]) if len(layer.weights) > 1 else 0.0
        scale = unit * 2.0**42
        if scale >= 2**31:
            scale = unit * 2.0**31
        heads.append(struct.pack("<iiii", round(bias / unit), round(scale), 0, 0))
        cells.append(cells_8(codes, kernel, layer) if bits == 8 else cells_16(codes, kernel))
    if bits == 16:
        return [head + bytes(48) + b"".join(c) for head, c in zip(heads, cells, strict=True)]
    zero = b"\x80"
    if depthwise(layer):
        for head, one in zip(heads, cells, strict=True):
            units = [b"".join(one[i : i + 16]) + zero * 48 for i in range(0, len(one), 16)]
            result.append(head + zero * 48 + b"".join(units))
        return result
    for first in range(0, len(heads), 4):
        group = cells[first : first + 4]
        head = b"".join(heads[first : first + 4]).ljust(64, b"\0")
        data = b""
        for unit_at in range(0, len(group[0]), 16):
            row = b"".join(b"".join(x[unit_at : unit_at + 16]) for x in group)
            data += row.ljust(64, zero)
        result.append(head + data)
    return result


def codes_of(
    layer: Layer, bits: int
) -> tuple[tuple[int, int], list[tuple[int, list[list[list[int]]]]]]:
    """Kernel, and for each output (z, codes as [input][row][column])."""
    weights = layer.weights[0]
    if layer.type == "Deconvolution":
        weights = weights[:, :, ::-1, ::-1]
        if not depthwise(layer):
            weights = weights.swapaxes(0, 1)
    count, inputs, height, width = weights.shape
    whole = None if depthwise(layer) else z_and_codes(weights.reshape(-1), bits)
    found = []
    for output in range(count):
        if whole is None:
            z, codes = z_and_codes(weights[output].reshape(-1), bits)
        else:
            many = inputs * height * width
            z, codes = whole[0], whole[1][output * many : (output + 1) * many]
        found.append((z, np.reshape(codes, (inputs, height, width)).tolist()))
    return (height, width), found


def cells_8(codes: list[list[list[int]]], kernel: tuple[int, int], layer: Layer) -> list[bytes]:
    """The cells of an output, 16 a unit."""
    stride = list(layer.params.convolution_param.stride) or [1]
    units: list[list[int]] = []
    if kernel == (3, 3) and stride[0] == 2 and len(codes) <= 8:
        for first_row in (0, 2):
            for column in range(3):
                unit = [0] * 16
                for channel, plane in enumerate(codes):
                    for row in range(first_row, min(first_row + 2, 3)):
                        unit[2 * channel + row % 2] = plane[row][column]
                units.append(unit)
    else:
        units = plain_units(codes, kernel, 16)
    return [stored_code(x, 8) for unit in units for x in unit]


def plain_units(
    codes: list[list[list[int]]], kernel: tuple[int, int], lanes: int
) -> list[list[int]]:
    units = []
    for row in range(kernel[0]):
        for column in range(kernel[1]):
            for first in range(0, len(codes), lanes):
                unit = [plane[row][column] for plane in codes[first : first + lanes]]
                units.append(unit + [0] * (lanes - len(unit)))
    return units


def cells_16(codes: list[list[list[int]]], kernel: tuple[int, int]) -> list[bytes]:
    units = plain_units(codes, kernel, 8)
    while len(units) % 4:
        units.append([0] * 8)
    quarter = len(units) // 4
    order = [lane * quarter + t for t in range(quarter) for lane in range(4)]
    return [stored_code(x, 16) for u in order for x in units[u]]


def block(body: bytes, of_layer: list[bytes], with_table: bool, run_mode: bool) -> bytes:
    """A compressed block, or the stored one where that is shorter."""
    everything = b"".join(of_layer)
    places = 34 if run_mode else 37
    table = sorted(range(256), key=lambda x: (-everything.count(x), x))[:places]
    check = 0
    for i in range(0, len(body), 2):
        check ^= body[i] | body[i + 1] << 8
    length, end = struct.pack("<H", len(body)), struct.pack("<H", check)
    flags = 1 | (16 if with_table else 0) | (64 if run_mode else 0)
    head = bytes([flags]) + length
    if with_table:
        head += bytes(table).ljust(37, b"\0")
    packed = head + stream(list(spell(body, table, run_mode))) + end
    # The first block carries the table for the others.
    return packed if with_table or len(packed) <= len(body) + 5 else b"\0" + length + body + end


def spell(body: bytes, table: list[int], run_mode: bool) -> Iterable[str]:
    """The fields of the stream."""
    at = 0
    while at < len(body):
        run = 0
        while at + run < len(body) and body[at + run] == table[0]:
            run += 1
        if run:
            if run_mode:
                taken = 9 if run > 9 else min(run, 4)
                yield {1: "000", 2: "001", 3: "010", 4: "011", 9: "101000"}[taken]
            else:
                taken = min(run, 2)
                yield {1: "000", 2: "001"}[taken]
            at += taken
            continue
        yield field(table.index(body[at]) if body[at] in table else None, body[at], run_mode)
        at += 1
    yield "111011111"


def field(place: int | None, byte: int, run_mode: bool) -> str:
    if place is None:
        return f"1111{byte:08b}"
    if run_mode:
        place += 3  # where normal mode has it, but for the runs
        if place == 4:
            return "100"
    elif place <= 3:
        return {1: "010", 2: "011", 3: "100"}[place]
    if place < 12:
        return f"101{place - 4:03b}"
    if place < 20:
        return f"110{place - 12:03b}"
    if place < 22:
        return f"11100{place - 20:b}"
    return f"11101{place - 22:04b}"


def stream(fields: list[str]) -> bytes:
    """Bits with markers behind the fields that reach bits 34, 77, 120, ..."""
    text, grid = "1", 34
    for one in fields[:-1]:
        text += one
        if len(text) >= grid:
            text += "1"
            grid += 43
    text += fields[-1]
    text += "0" * (-len(text) % 8)
    return bytes(int(text[i : i + 8][::-1], 2) for i in range(0, len(text), 8))

"""The header of a compiled network (`.wk`).

No vendor document describes the file; the layout is the one that OpenIPC/openhisilicon has
published, checked on public files of mapper 1.1 and 1.2. All numbers are little endian.

A chip file begins with 192 bytes: 0 checksum over the bytes from 4 to the end of the
instructions; 8 size of the header; 12 temporary memory; 16 format; 24 mapper version; 28 its
build number; 32 build stamp; 48 run mode; 49 segments; 52 and 56 offset and length of the
instructions; 176 and 180 offset (behind the first) and length of the layer table. A file for the
functional simulation begins with 48 bytes: 0 checksum over all from 4; 8 and 12 as above; 16
stamp; 32 run mode; 33 segments; 44 file size. Each segment follows with 16 bytes (network type,
number of inputs, outputs and ROI layers) and 64 bytes a blob: height, width, channels, type,
name.
"""

from __future__ import annotations

import re
import struct
import zlib
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from nnie_pipeline.errors import InputError

BLOB_TYPES = ("S32", "U8", "YVU420SP", "YVU422SP", "VEC_S32", "SEQ_S32")
"""Blob types by number (HiSVP API reference)."""

_CHIP_HEADER = 192
_FUNC_HEADER = 48
_SEGMENT = 16
_BLOB = 64
_NAME = slice(16, 48)
_MOST_SEGMENTS = 8
_MOST_BLOBS = 16
_LARGEST_FILE = 128 << 20
_LARGEST_SIDE = 1 << 20
_GIVE = "give a file that nnie_mapper wrote"
_OLD_VERSION = re.compile(r"V100R001C003\w*")


@dataclass(frozen=True)
class WkBlob:
    """An input or output of a segment; a name is cut to 31 bytes by the mapper."""

    name: str
    height: int
    width: int
    channels: int
    type: str


@dataclass(frozen=True)
class WkSegment:
    """One NNIE segment. `net_type` is 0 (convolutional), 1 (with ROI layers) or 2 (recurrent)."""

    net_type: int
    roi_layers: int
    inputs: tuple[WkBlob, ...]
    outputs: tuple[WkBlob, ...]


@dataclass(frozen=True)
class WkHeader:
    """The header of a `.wk`.

    `kind` is "chip" (inst) or "func" (functional simulation); `mapper` is the mapper's version
    where the file tells it, `nnie` the generation of the chip ("1.1", "1.2") where the version
    tells that, `stamp` the mapper's build stamp; `temporary_bytes` the memory that the board
    needs besides the file.
    """

    kind: str
    mapper: str | None
    nnie: str | None
    stamp: str
    temporary_bytes: int
    segments: tuple[WkSegment, ...]

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it; `inputs` and `outputs` are those of all segments, in order."""
        return {
            "inputs": [asdict(x) for segment in self.segments for x in segment.inputs],
            "outputs": [asdict(x) for segment in self.segments for x in segment.outputs],
            **asdict(self),
        }


def read_header(path: Path) -> WkHeader:
    """The header of a compiled network.

    Raises:
        InputError: the file cannot be read, is no `.wk`, is truncated or damaged.
    """
    return parse_header(read_bytes(path), path)


def parse_header(data: bytes, path: Path) -> WkHeader:
    """The header in `data`, the content of `path`.

    Raises:
        InputError: as `read_header`.
    """
    if len(data) < _FUNC_HEADER:
        raise InputError(f"{path} is not a .wk file: it has {len(data)} bytes; {_GIVE}")
    size = _u32(data, 8)
    if size == _CHIP_HEADER:
        return _chip_header(data, path)
    if size == _FUNC_HEADER:
        return _func_header(data, path)
    raise InputError(
        f"{path} is not a .wk file: its header size is {size}, not {_CHIP_HEADER} (chip) or "
        f"{_FUNC_HEADER} (functional simulation); {_GIVE}"
    )


def _chip_header(data: bytes, path: Path) -> WkHeader:
    _require_length(data, _CHIP_HEADER, path)
    begin, length = _u32(data, 52), _u32(data, 56)
    _require_length(data, begin + length, path)
    _require_checksum(data, begin + length, path)
    _require_length(data, begin + _u32(data, 176) + _u32(data, 180), path)
    segments, end = _segments(data, _CHIP_HEADER, data[49], path)
    if data[48] != 0 or end > begin:
        raise _damaged(path, f"run mode {data[48]}, blobs up to {end}, instructions from {begin}")
    old = _OLD_VERSION.fullmatch(_ascii(data[16:32]))
    mapper, nnie = (old[0], "1.1") if old else _new_version(data)
    return WkHeader("chip", mapper, nnie, _ascii(data[32:48]), _u32(data, 12), segments)


def _new_version(data: bytes) -> tuple[str | None, str | None]:
    """Mapper version and NNIE generation of a file of mapper 1.2, None where unclear."""
    number, build = data[24:28], _u32(data, 28)
    generation = f"{number[0]}.{number[1]}"
    if generation not in {"1.1", "1.2"} or build > 999:
        return None, None
    return f"{'.'.join(str(x) for x in number)}_B{build:03}", generation


def _func_header(data: bytes, path: Path) -> WkHeader:
    _require_length(data, _u32(data, 44), path)
    _require_checksum(data, len(data), path)
    segments, _ = _segments(data, _FUNC_HEADER, data[33], path)
    if data[32] != 1:
        raise _damaged(path, f"run mode {data[32]} in the header of a functional simulation")
    stamp = _ascii(data[16:32])
    old = _OLD_VERSION.fullmatch(stamp)
    return WkHeader(
        "func", stamp if old else None, "1.1" if old else None, stamp, _u32(data, 12), segments
    )


def _segments(data: bytes, at: int, count: int, path: Path) -> tuple[tuple[WkSegment, ...], int]:
    """The segments and where they end."""
    if not 1 <= count <= _MOST_SEGMENTS:
        raise _damaged(path, f"{count} segments; there are 1 to {_MOST_SEGMENTS}")
    found = []
    for _ in range(count):
        _require_length(data, at + _SEGMENT, path)
        net_type, inputs, outputs, roi_layers = data[at : at + 4]
        at += _SEGMENT
        if not (1 <= inputs <= _MOST_BLOBS and 1 <= outputs <= _MOST_BLOBS):
            raise _damaged(path, f"{inputs} inputs and {outputs} outputs; there are 1 to 16")
        end = at + _BLOB * (inputs + outputs)
        _require_length(data, end, path)
        blobs = tuple(_blob(data[i : i + _BLOB], path) for i in range(at, end, _BLOB))
        found.append(WkSegment(net_type, roi_layers, blobs[:inputs], blobs[inputs:]))
        at = end
    return tuple(found), at


def _blob(entry: bytes, path: Path) -> WkBlob:
    height, width, channels = struct.unpack_from("<3I", entry)
    kind, raw = entry[14], entry[_NAME].split(b"\0", maxsplit=1)[0]
    if max(height, width, channels) > _LARGEST_SIDE or kind >= len(BLOB_TYPES):
        raise _damaged(path, f"a blob of {height}x{width}x{channels} and type {kind}")
    name = raw.decode("utf-8", errors="backslashreplace")
    if not name or not name.isprintable():
        raise _damaged(path, f"a blob called {name!r}")
    return WkBlob(name, height, width, channels, BLOB_TYPES[kind])


def read_bytes(path: Path) -> bytes:
    """The content of a file that may be a `.wk`.

    Raises:
        InputError: it cannot be read, or is larger than 128 MiB.
    """
    try:
        if path.stat().st_size > _LARGEST_FILE:
            raise InputError(f"{path} is larger than {_LARGEST_FILE} bytes, no .wk file; {_GIVE}")
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"cannot read .wk file {path}: {error.strerror}") from error


def _u32(data: bytes, at: int) -> int:
    return int.from_bytes(data[at : at + 4], "little")


def _ascii(data: bytes) -> str:
    text = data.split(b"\0", maxsplit=1)[0].decode("ascii", errors="replace")
    return text if text.isprintable() and text.isascii() else ""


def _require_length(data: bytes, length: int, path: Path) -> None:
    if len(data) < length:
        raise InputError(
            f"{path} is truncated: it has {len(data)} bytes, its header needs {length}; copy it "
            "again"
        )


def _require_checksum(data: bytes, end: int, path: Path) -> None:
    # The mapper's CRC-32 begins with 0; zlib's second argument is the complement of that.
    actual = zlib.crc32(memoryview(data)[4:end], 0xFFFFFFFF)
    if actual != _u32(data, 0):
        raise _damaged(path, f"checksum {actual:08x}, the header says {_u32(data, 0):08x}")


def _damaged(path: Path, what: str) -> InputError:
    return InputError(f"{path} is damaged or no .wk file: {what}; copy or compile it again")

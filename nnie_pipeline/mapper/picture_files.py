"""What a picture file says of itself, read without decoding it."""

from __future__ import annotations

import mmap
from pathlib import Path
from typing import Literal

from nnie_pipeline.errors import InputError

Size = tuple[int, int]

_PNG = b"\x89PNG\r\n\x1a\n"
_PNG_END = b"IEND\xaeB`\x82"
_JPEG = b"\xff\xd8\xff"
_NO_FRAME = frozenset({0xC4, 0xC8, 0xCC})
_CORE_HEADER = 12


def picture_size(path: Path) -> Size:
    """(height, width) of the picture in `path`, in pixels.

    Of BMP, PNG and JPEG only headers and ends are looked at (Windows' BITMAPINFOHEADER; ISO/IEC
    15948, chunks IHDR and IEND; ITU-T T.81, frame header and EOI); other types are decoded.

    Raises:
        InputError: a few words: why it is none, behind "is".
    """
    try:
        with path.open("rb") as file:
            if not file.read(1):
                raise InputError("empty")
            with mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as data:
                found = _from_header(data)
    except (OSError, ValueError) as error:
        raise InputError(f"unreadable ({error})") from error
    size = _decoded(path) if found is None else found
    if min(size) < 1:
        raise InputError("damaged")
    return size


def _from_header(data: mmap.mmap) -> Size | None:
    """The size, None for another type."""
    if data[:2] == b"BM":
        return _bmp(data)
    if data[: len(_PNG)] == _PNG:
        if data.rfind(_PNG_END) < 0:
            raise InputError("cut off")
        return _number(data, 20, 4, "big"), _number(data, 16, 4, "big")
    if data[: len(_JPEG)] == _JPEG:
        return _jpeg(data)
    return None


def _bmp(data: mmap.mmap) -> Size:
    if len(data) < 30:
        raise InputError("cut off")
    if _number(data, 14, 4) == _CORE_HEADER:
        height, width, bits, packed = *(_number(data, x, 2) for x in (20, 18, 24)), 0
    else:
        height, width, bits = (_number(data, x, y) for x, y in ((22, 4), (18, 4), (28, 2)))
        height = min(height, (1 << 32) - height)  # below 0: rows from top to bottom
        packed = _number(data, 30, 4)
    pixels = 0 if packed else (width * bits + 31) // 32 * 4 * height
    if len(data) < _number(data, 10, 4) + pixels:
        raise InputError("cut off")
    return height, width


def _jpeg(data: mmap.mmap) -> Size:
    place = 2
    while place + 9 <= len(data) and data[place] == 0xFF:
        kind = data[place + 1]
        if kind == 0xFF:  # fill
            place += 1
        elif 0xC0 <= kind <= 0xCF and kind not in _NO_FRAME:
            # What stands in front of the frame (a thumbnail) has an end of its own.
            if data.rfind(b"\xff\xd9") < place:
                raise InputError("cut off")
            return _number(data, place + 5, 2, "big"), _number(data, place + 7, 2, "big")
        else:
            place += 2 + max(2, _number(data, place + 2, 2, "big"))
    raise InputError("damaged")


def _decoded(path: Path) -> Size:
    from nnie_pipeline.calibration.pictures import UnreadableError, read_picture

    try:
        height, width = read_picture(path)[0].shape[:2]
    except UnreadableError as error:
        raise InputError(error.reason) from error
    return height, width


def _number(
    data: mmap.mmap, place: int, size: int, order: Literal["little", "big"] = "little"
) -> int:
    return int.from_bytes(data[place : place + size], order)

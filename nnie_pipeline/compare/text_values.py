"""Text files of numbers, one a line, as the vendor's tools write them."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import numpy.typing as npt

from nnie_pipeline.errors import InputError

LARGEST_FILE = 1 << 30
"""Bytes; a blob of 100 million values."""

Words = npt.NDArray[np.uint32]
_HEX = re.compile(rb"(?:0[xX])?([0-9a-fA-F]{1,8})")
_NEWLINE, _RETURN = 10, 13
_DIGIT = np.full(256, 255, np.uint8)
for _digits in (b"0123456789abcdef", b"0123456789ABCDEF"):
    for _value, _byte in enumerate(_digits):
        _DIGIT[_byte] = _value


def read_hex(path: Path) -> tuple[Words, int]:
    """The words of a file with one hexadecimal number of at most 8 digits a line.

    Returns:
        The words as uint32 (n,), and the digits of the longest: 2 and 4 are 8 and 16 bit codes.

    Raises:
        InputError: it cannot be read, is too large, empty, or holds anything else.
    """
    data = _read(path)
    words = _even_lines(data)
    if words is not None:
        return words
    found = []
    longest = 0
    for number, token in enumerate(data.split(), 1):
        match = _HEX.fullmatch(token)
        if match is None:
            raise InputError(
                f"{path}: number {number}, {_short(token)}, is no hexadecimal number of up to 8 "
                "digits; give the file as the mapper, simulator or board wrote it"
            )
        longest = max(longest, len(match[1]))
        found.append(int(match[1], 16))
    return np.array(found, np.uint32), longest


def read_q20_12(path: Path) -> npt.NDArray[np.float32]:
    """The values of a file of 20.12 fixed point: int32 in two's complement over 4096.

    Raises:
        InputError: as `read_hex`.
    """
    words, _ = read_hex(path)
    values: npt.NDArray[np.float32] = words.view(np.int32).astype(np.float32)
    values /= np.float32(4096)
    return values


def read_floats(path: Path) -> npt.NDArray[np.float32]:
    """The values of a file of decimal numbers, one a line (n,), float32.

    Raises:
        InputError: it cannot be read, is too large, empty, or holds anything else.
    """
    data = _read(path)
    try:
        values = np.array(data.split(), np.float64)
    except ValueError as error:
        raise InputError(
            f"{path} holds something that is no number ({error}); give the file as the tool "
            "wrote it"
        ) from error
    with np.errstate(over="ignore"):
        return values.astype(np.float32)


def _read(path: Path) -> bytes:
    try:
        if path.stat().st_size > LARGEST_FILE:
            raise InputError(f"{path} is larger than {LARGEST_FILE} bytes; give a smaller dump")
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}; dump again") from error
    if not data.strip():
        raise InputError(f"{path} is empty; dump again")
    return data


def _even_lines(data: bytes) -> tuple[Words, int] | None:
    """The words, if all lines are equally long and nothing but digits."""
    width = data.find(b"\n")
    if width <= 0:
        return None
    if not data.endswith(b"\n"):
        data += b"\r\n" if data[width - 1] == _RETURN else b"\n"
    if len(data) % (width + 1):
        return None
    lines = np.frombuffer(data, np.uint8).reshape(-1, width + 1)
    if not (lines[:, width] == _NEWLINE).all():
        return None
    if (lines[:, width - 1] == _RETURN).all():
        width -= 1
    if not 1 <= width <= 8:
        return None
    words: Words = np.zeros(len(lines), np.uint32)
    for column in range(width):
        digits = _DIGIT[lines[:, column]]
        if digits.max() > 15:
            return None
        words <<= np.uint32(4)
        words |= digits
    return words, width


def _short(token: bytes) -> str:
    return repr(token[:20].decode("latin-1"))

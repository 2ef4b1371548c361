"""The bytes of a file that somebody else wrote."""

from __future__ import annotations

from pathlib import Path

from nnie_pipeline.errors import InputError


def read_bytes(path: Path, what: str, largest: int) -> bytes:
    """All of `path`.

    Args:
        path: the file.
        what: what it should be, for the message.
        largest: the most bytes that are read.

    Raises:
        InputError: it cannot be read or is larger.
    """
    try:
        if path.stat().st_size > largest:
            raise InputError(f"{what} {path} is larger than {largest} bytes")
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"cannot read {what} {path}: {error.strerror}") from error

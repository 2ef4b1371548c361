"""Reading single members out of archives: nothing is unpacked, imported or executed.

Zip bombs, endless headers, links and paths that lead outside are no danger here, because a
member is found by its exact name, read into memory up to a bound, and never written under a
name from the archive.
"""

from __future__ import annotations

import ast
import bz2
import gzip
import io
import lzma
import tarfile
import warnings
import zipfile
import zlib
from collections.abc import Mapping
from pathlib import Path

from nnie_pipeline.errors import InputError

MOST_MEMBERS = 50_000
"""Members of an archive; the largest that the zoo names has 1,200."""

LARGEST_UNPACKED = 512 * 1024 * 1024
"""Bytes a tar archive may come to while it is searched (a zip archive is not searched)."""

_CHUNK = 1 << 16


def read_members(archive: Path, name: str, wanted: Mapping[str, int]) -> dict[str, bytes]:
    """The bytes of each member of `wanted`, which gives the most bytes it may have.

    `name` is the archive's file name: .whl and .zip are zip archives, all else tar; errors
    speak of it.

    Raises:
        InputError: not such an archive, damaged, out of bounds, or a member is missing, is
            not a file, or occurs twice.
    """
    try:
        if name.lower().endswith((".whl", ".zip")):
            found = _from_zip(archive, name, wanted)
        else:
            found = _from_tar(archive, name, wanted)
    except (
        zipfile.BadZipFile,
        tarfile.TarError,
        EOFError,
        zlib.error,
        lzma.LZMAError,
        gzip.BadGzipFile,
        NotImplementedError,
        RuntimeError,  # an encrypted zip member
        ValueError,
    ) as error:
        raise InputError(f"{name} is not a readable archive: {error}; fetch it again") from error
    for member in wanted:
        if member not in found:
            raise InputError(f"{name} has no member {member}; correct member in the spec")
    return found


def read_literal(source: bytes, member: str, variable: str) -> bytes:
    """The bytes literal that Python `source` assigns to `variable` at its top level.

    The source is parsed, never run. `member` is named in errors.

    Raises:
        InputError: not Python, no such variable, or its value is not one bytes literal.
    """
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of escapes in somebody else's source
            tree = ast.parse(source)
    except (SyntaxError, ValueError, RecursionError, MemoryError) as error:
        raise InputError(f"{member} is not Python source: {type(error).__name__}") from error
    values = [
        statement.value
        for statement in tree.body
        if isinstance(statement, ast.Assign)
        and [t.id for t in statement.targets if isinstance(t, ast.Name)] == [variable]
    ]
    if len(values) != 1:
        count = "no" if not values else "more than one"
        raise InputError(f"{member} has {count} assignment to {variable}; correct the spec")
    value = values[0]
    if not isinstance(value, ast.Constant) or not isinstance(value.value, bytes):
        raise InputError(f"{variable} in {member} is not a bytes literal; correct the spec")
    return value.value


def _from_zip(archive: Path, name: str, wanted: Mapping[str, int]) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    with zipfile.ZipFile(archive) as opened:
        members = opened.infolist()
        if len(members) > MOST_MEMBERS:
            raise InputError(f"{name} has more than {MOST_MEMBERS} members; not read")
        for member in members:
            if member.filename not in wanted:
                continue
            _first(name, member.filename, found)
            if member.is_dir():
                raise InputError(f"{name}: {member.filename} is not a file")
            limit = wanted[member.filename]
            _bounded(name, member.filename, member.file_size, limit)
            with opened.open(member) as file:
                data = file.read(limit + 1)
            _bounded(name, member.filename, len(data), limit)
            found[member.filename] = data
    return found


def _from_tar(archive: Path, name: str, wanted: Mapping[str, int]) -> dict[str, bytes]:
    found: dict[str, bytes] = {}
    with (
        archive.open("rb") as packed,
        _unpacked(packed) as stream,
        tarfile.open(fileobj=_Counted(stream, name), mode="r|") as opened,
    ):
        for count, member in enumerate(opened):
            if count >= MOST_MEMBERS:
                raise InputError(f"{name} has more than {MOST_MEMBERS} members; not read")
            if member.name not in wanted:
                continue
            _first(name, member.name, found)
            file = opened.extractfile(member) if member.isreg() else None
            if file is None:
                raise InputError(f"{name}: {member.name} is not a file")
            _bounded(name, member.name, member.size, wanted[member.name])
            found[member.name] = file.read()
    return found


def _unpacked(packed: io.BufferedReader) -> io.BufferedIOBase:
    start = packed.read(6)
    packed.seek(0)
    if start.startswith(b"\x1f\x8b"):
        return gzip.GzipFile(fileobj=packed)
    if start.startswith(b"BZh"):
        return bz2.BZ2File(packed)
    if start == b"\xfd7zXZ\x00":
        return lzma.LZMAFile(packed)
    return packed


class _Counted(io.RawIOBase):
    """Reads from `stream` and refuses to go on beyond `LARGEST_UNPACKED` bytes."""

    def __init__(self, stream: io.BufferedIOBase, name: str) -> None:
        self._stream = stream
        self._name = name
        self._done = 0

    def read(self, size: int = -1) -> bytes:
        data = self._stream.read(min(size, _CHUNK) if size >= 0 else _CHUNK)
        self._done += len(data)
        if self._done > LARGEST_UNPACKED:
            raise InputError(
                f"{self._name} unpacks to more than {LARGEST_UNPACKED} bytes; not read"
            )
        return data


def _first(name: str, member: str, found: Mapping[str, bytes]) -> None:
    if member in found:
        raise InputError(f"{name} has two members {member}; which one is meant cannot be known")


def _bounded(name: str, member: str, size: int, limit: int) -> None:
    if size > limit:
        raise InputError(
            f"{name}: {member} has {size} bytes, more than the {limit} expected at most; not read"
        )

"""Writing files so that an earlier good result is never lost.

Everything is written to a temporary name beside its place and renamed at the end, so
that a full disk, an error or Ctrl-C leaves what was there before.
"""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from nnie_pipeline.errors import InputError


@contextlib.contextmanager
def replaced_folder(folder: Path) -> Iterator[Path]:
    """Yield an empty folder that takes the place of `folder` when the block succeeds.

    Raises:
        InputError: the place cannot be written (a file in its place, no permission,
            device full).
    """
    with _reported(folder):
        _require_folder(folder)
        folder.parent.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=f".{folder.name}.", dir=folder.parent))
        try:
            yield temporary
            temporary.chmod(0o777 & ~_umask())
            old = temporary.with_name(temporary.name + ".old")
            if folder.exists():
                folder.rename(old)
            temporary.rename(folder)
            shutil.rmtree(old, ignore_errors=True)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


@contextlib.contextmanager
def added_files(folder: Path) -> Iterator[Path]:
    """Yield an empty folder whose files move into `folder` when the block succeeds.

    Files already in `folder` stay, except those of the same names.

    Raises:
        InputError: as `replaced_folder`.
    """
    with _reported(folder):
        _require_folder(folder)
        folder.mkdir(parents=True, exist_ok=True)
        temporary = Path(tempfile.mkdtemp(prefix=".tmp.", dir=folder))
        try:
            yield temporary
            for path in sorted(temporary.rglob("*")):
                place = folder / path.relative_to(temporary)
                if path.is_dir():
                    place.mkdir(exist_ok=True)
                else:
                    path.replace(place)
        finally:
            shutil.rmtree(temporary, ignore_errors=True)


def write_text(path: Path, text: str) -> None:
    """Write `text` to `path` as UTF-8 in one step.

    Raises:
        InputError: as `replaced_folder`.
    """
    with added_files(path.parent) as folder:
        (folder / path.name).write_text(text, encoding="utf-8")


def to_json(value: Any) -> str:
    """`value` as the JSON text that every stage writes."""
    return json.dumps(value, indent=1, ensure_ascii=False) + "\n"


def read_json(path: Path, what: str) -> Any:
    """The JSON value in `path`; `what` says in an error what the file should be.

    Raises:
        InputError: no such file, or not JSON.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"cannot read {what} {path}: {error.strerror}") from error
    except ValueError as error:
        raise InputError(f"{path} is not {what}: {error}") from error


@contextlib.contextmanager
def _reported(folder: Path) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        where = error.filename or folder
        raise InputError(
            f"cannot write {where}: {error.strerror}; choose another folder or make room"
        ) from error


def _require_folder(folder: Path) -> None:
    for place in (folder, *folder.parents):
        if place.exists():
            if not place.is_dir():
                raise InputError(
                    f"cannot write into {folder}: {place} is a file; move it away or choose "
                    "another folder"
                )
            if not os.access(place, os.W_OK | os.X_OK):
                raise InputError(
                    f"cannot write into {folder}: no permission for {place}; choose another folder"
                )
            return


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask

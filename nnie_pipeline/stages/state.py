"""Which stages of a build are up to date.

A stage's key is a hash of all that its result follows from: its settings, the files it reads
from outside, the keys of the stages before it, and this program. It is up to date when its
key is the recorded one and the files it wrote are as it left them.
"""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from nnie_pipeline import __version__, files
from nnie_pipeline.resources import data_folder

RECORD = ".state.json"
"""The file in a build folder that says which stages it holds."""

_DATA = ("calibration", "mapper_cfg", "prototxt_templates")


class State:
    """The record of a build folder."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._stages: dict[str, dict[str, Any]] = {}
        try:
            stages = json.loads((folder / RECORD).read_text(encoding="utf-8"))
            self._stages = stages if isinstance(stages, dict) else {}
        except (OSError, ValueError):
            pass  # no record, or a damaged one: every stage runs

    def has(self, stage: str) -> bool:
        """Whether `stage` was ever run."""
        return stage in self._stages

    def is_current(self, stage: str, key: str) -> bool:
        """Whether `stage` was run with this key and its files are untouched."""
        entry = self._stages.get(stage)
        try:
            return (
                entry is not None
                and entry["key"] == key
                and all(_stamp(self._folder / x) == y for x, y in entry["files"].items())
            )
        except (OSError, KeyError, TypeError, AttributeError):
            return False

    def record(self, stage: str, key: str, written: Iterable[Path]) -> None:
        """Note that `stage` wrote these files with this key."""
        stamps = {x.relative_to(self._folder).as_posix(): _stamp(x) for x in written}
        self._stages[stage] = {"key": key, "files": stamps}
        files.write_text(self._folder / RECORD, files.to_json(self._stages))


def key_of(*parts: Any) -> str:
    """A key out of values that JSON can hold."""
    text = json.dumps(parts, sort_keys=True, default=str)
    return hashlib.sha256(text.encode()).hexdigest()


def program_key() -> str:
    """A key that changes when this program does."""
    package = Path(__file__).resolve().parents[1]
    folders = (package, *(data_folder(x) for x in _DATA))
    stamps = [
        (str(x.relative_to(folder)), _stamp(x))
        for folder in folders
        for x in sorted(folder.rglob("*"))
        if x.is_file() and "__pycache__" not in x.parts
    ]
    return key_of(__version__, sys.version, stamps)


def file_key(path: Path) -> str:
    """A key of a file's content."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def folder_key(paths: Iterable[Path]) -> str:
    """A key of the names, sizes and times of files."""
    return key_of([(str(x), _stamp(x)) for x in paths])


def _stamp(path: Path) -> list[int]:
    status = path.stat()
    return [status.st_size, status.st_mtime_ns]

"""Reading a build folder of which any part may be missing or from another version."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from pydantic import ValidationError

from nnie_pipeline import files
from nnie_pipeline.errors import InputError
from nnie_pipeline.report.records import Record

R = TypeVar("R", bound=Record)

_LARGEST_TEXT = 1 << 20


@dataclass(frozen=True)
class Missing:
    """A part of the build that cannot be shown.

    `stage` is the subcommand that writes it; `problem` says what is wrong with the file, and is
    empty when it is not there.
    """

    place: str
    stage: str
    problem: str = ""


class MissingError(Exception):
    """A section cannot do without `missing`."""

    def __init__(self, missing: Missing) -> None:
        super().__init__(missing.place)
        self.missing = missing


@dataclass(frozen=True)
class Build:
    """A build folder."""

    folder: Path

    @property
    def label(self) -> str:
        """The folder's last two names: the page tells nothing of the machine."""
        folder = self.folder.resolve()
        return f"{folder.parent.name}/{folder.name}".lstrip("/")

    def find(self, kind: type[R], place: str = "") -> R | Missing:
        """The record of this kind, at `place` in the build or its usual one, or why not."""
        place = place or kind.PLACE
        path = self.folder / place
        if not path.exists():
            return Missing(place, kind.STAGE)
        try:
            return kind.model_validate(files.read_json(path, "a record"))
        except ValidationError as error:
            first = error.errors()[0]
            where = ".".join(map(str, first["loc"]))
            return Missing(place, kind.STAGE, f"{where}: {first['msg']}".lstrip(": "))
        except InputError as error:
            return Missing(place, kind.STAGE, str(error.__cause__ or error))

    def read(self, kind: type[R]) -> R:
        """The record of this kind.

        Raises:
            MissingError: it is not there, or not as this version writes it.
        """
        found = self.find(kind)
        if isinstance(found, Missing):
            raise MissingError(found)
        return found

    def first(self, kind: type[R], *places: str) -> R | Missing:
        """The record of this kind at the first of `places` where a file is."""
        there = [x for x in places if (self.folder / x).exists()]
        return self.find(kind, there[0] if there else "")

    def text(self, place: str) -> str | None:
        """A small text file of the build; None when it is not there or is no such file."""
        path = self.folder / place
        try:
            if path.stat().st_size > _LARGEST_TEXT:
                return None
            return path.read_text(encoding="utf-8", errors="replace")
        except OSError:
            return None

"""The default calibration pictures, read out of published packages like weights are."""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from pydantic import Field

from nnie_pipeline.resources import data_folder
from nnie_pipeline.zoo.fetch import obtain
from nnie_pipeline.zoo.model import Model, read_model
from nnie_pipeline.zoo.source import Packaged
from nnie_pipeline.zoo.transfer import Progress

_BY_HAND = "give a folder of your own pictures: IMAGES=FOLDER"


@dataclass(frozen=True)
class Picture:
    """A picture in a file of this machine (its format is told by its content, not its name).

    `faces` counts the faces in it that a person would mark.
    """

    name: str
    path: Path
    sha256: str
    licence: str
    faces: int


class _Entry(Model):
    name: Annotated[str, Field(pattern=r"^[a-z0-9][a-z0-9_-]*$")]
    source: Packaged
    licence: Annotated[str, Field(min_length=1)]
    faces: Annotated[int, Field(ge=0)]


class _List(Model):
    pictures: tuple[_Entry, ...] = Field(min_length=1)


def default_pictures(
    progress: Progress | None = None, only: Collection[str] | None = None
) -> list[Picture]:
    """The pictures of calibration/pictures.yaml, fetched or from the cache, in its order.

    `only` names the pictures that are wanted (default: all).

    Raises:
        InputError: one cannot be fetched, or its hash is not the list's.
    """
    listed = read_model(data_folder("calibration") / "pictures.yaml", _List, "list of pictures")
    entries = [x for x in listed.pictures if only is None or x.name in only]
    paths = obtain([entry.source for entry in entries], _BY_HAND, progress)
    return [
        Picture(entry.name, path, entry.source.sha256, entry.licence, entry.faces)
        for entry, path in zip(entries, paths, strict=True)
    ]

"""What was built, from what, and where it lies."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nnie_pipeline.report.build import Build
from nnie_pipeline.report.records import Calibrated, Checked, Fetched
from nnie_pipeline.report.texts import Texts

_PLACES = (
    "model", "convert", "rewrite", "check", "calibration", "mapper", "dump", "simulate",
    "compare", "evaluate",
)  # fmt: skip


@dataclass(frozen=True)
class Place:
    """A folder of the build: what it holds, how many files and bytes."""

    name: str
    holds: str
    files: int
    size: int


def context(build: Build, t: Texts) -> dict[str, Any]:
    """The records of the source and of the size, and the folders."""
    return {
        "label": build.label,
        "fetched": build.find(Fetched),
        "calibrated": build.find(Calibrated),
        "checked": build.find(Checked),
        "places": [_place(build.folder / x, t) for x in _PLACES if (build.folder / x).is_dir()],
    }


def _place(folder: Path, t: Texts) -> Place:
    sizes = [x.stat().st_size for x in folder.rglob("*") if x.is_file()]
    return Place(folder.name, t(f"built.{folder.name}"), len(sizes), sum(sizes))

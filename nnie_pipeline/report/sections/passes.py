"""What the rewriting passes changed."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from nnie_pipeline.report.build import Build
from nnie_pipeline.report.records import Rewritten
from nnie_pipeline.report.rewrite_page import PAGE
from nnie_pipeline.report.texts import Texts


def context(build: Build, t: Texts) -> dict[str, Any]:
    """The record of rewrite, and the page beside it that shows both networks."""
    page = Path(Rewritten.PLACE).with_name(PAGE).as_posix()
    there = (build.folder / page).is_file()
    return {"rewritten": build.read(Rewritten), "page": page if there else ""}

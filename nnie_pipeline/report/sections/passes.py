"""What the rewriting passes changed."""

from __future__ import annotations

from typing import Any

from nnie_pipeline.report.build import Build
from nnie_pipeline.report.records import Rewritten
from nnie_pipeline.report.texts import Texts


def context(build: Build, t: Texts) -> dict[str, Any]:
    """The record of rewrite."""
    return {"rewritten": build.read(Rewritten)}

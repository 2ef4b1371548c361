"""How far calibration is from the ranges of a compiled file."""

from __future__ import annotations

from typing import Any

from nnie_pipeline.report.build import Build, Missing
from nnie_pipeline.report.study_records import CompiledRanges
from nnie_pipeline.report.texts import Texts


def context(build: Build, t: Texts) -> dict[str, Any]:
    """The record, and the inputs of layers whose z the file tells."""
    found = build.first(CompiledRanges, CompiledRanges.PLACE, "simulate/wk.json")
    absent = isinstance(found, Missing) and not found.problem
    rows = [] if isinstance(found, Missing) else [x for x in found.layers if x.file is not None]
    return {"compiled": found, "absent": absent, "rows": rows, "label": build.label}

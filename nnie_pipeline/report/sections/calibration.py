"""The calibration pictures as the network sees them."""

from __future__ import annotations

from typing import Any

from nnie_pipeline.report import pictures
from nnie_pipeline.report.build import Build
from nnie_pipeline.report.records import Calibrated
from nnie_pipeline.report.texts import Texts


def context(build: Build, t: Texts) -> dict[str, Any]:
    """The record of the set and its contact sheet."""
    return {
        "calibrated": build.read(Calibrated),
        "sheet": pictures.data_uri(build.folder / "calibration", "contact.png"),
    }

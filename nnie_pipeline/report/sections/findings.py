"""The rules that layers break."""

from __future__ import annotations

from typing import Any

from nnie_pipeline.report.build import Build
from nnie_pipeline.report.records import Checked
from nnie_pipeline.report.texts import Texts

MOST = 1000
"""Findings of one severity that are listed; the page has to stay small."""


def context(build: Build, t: Texts) -> dict[str, Any]:
    """The findings by severity."""
    checked = build.read(Checked)
    kinds = {
        kind: [x for x in checked.findings if x.severity == kind]
        for kind in ("error", "warning", "hint")
    }
    return {"checked": checked, "kinds": kinds, "most": MOST}

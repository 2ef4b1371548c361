"""The rules that layers break."""

from __future__ import annotations

from typing import Any

from nnie_pipeline.report.build import Build
from nnie_pipeline.report.records import Checked, Finding
from nnie_pipeline.report.texts import Texts

MOST = 1000
"""Findings of one severity that are listed; the page has to stay small."""

MANY = 25
"""Errors or warnings up to this number are listed openly; more are counted by rule first."""


def context(build: Build, t: Texts) -> dict[str, Any]:
    """The findings by severity, and those of each by their rule."""
    checked = build.read(Checked)
    kinds = {
        kind: [x for x in checked.findings if x.severity == kind]
        for kind in ("error", "warning", "hint")
    }
    rules: dict[str, dict[str, list[Finding]]] = {kind: {} for kind in kinds}
    for finding in checked.findings:
        rules[finding.severity].setdefault(finding.id, []).append(finding)
    return {"checked": checked, "kinds": kinds, "rules": rules, "most": MOST, "many": MANY}

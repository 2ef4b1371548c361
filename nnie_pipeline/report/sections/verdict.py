"""What every reader wants first: is the network ready, and in a few numbers why."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from nnie_pipeline.report import formats
from nnie_pipeline.report.build import Build, Missing
from nnie_pipeline.report.plot import ORANGE, RED
from nnie_pipeline.report.records import (
    Checked,
    Compared,
    Compared8,
    Compared16,
    Evaluated,
    Judged,
)
from nnie_pipeline.report.texts import Texts


@dataclass(frozen=True)
class Tile:
    """A number with its name; `level` colours it: good, warning, bad, or nothing."""

    name: str
    value: str
    note: str
    level: str = ""
    link: str = ""


def context(build: Build, t: Texts) -> dict[str, Any]:
    """Tiles out of the records that are there."""
    tiles = [*_findings(build, t), *_bars(build, t)]
    tiles += _cosine(build.find(Compared8), "8", t) + _cosine(build.find(Compared16), "16", t)
    return {"tiles": tiles}


def _findings(build: Build, t: Texts) -> list[Tile]:
    record = build.find(Checked)
    if isinstance(record, Missing):
        return []
    found = [x.severity for x in record.findings]
    errors, warnings, hints = (found.count(x) for x in ("error", "warning", "hint"))
    level = "bad" if errors else "good"
    note = t("verdict.findings_note", warnings=warnings, hints=hints)
    return [Tile(t("verdict.errors"), formats.count(errors), note, level, "findings")]


def _bars(build: Build, t: Texts) -> list[Tile]:
    record = build.find(Evaluated)
    if isinstance(record, Missing) or not (record.bars or record.cosine_bars):
        return []
    bars: list[Judged] = [*record.bars, *record.cosine_bars]
    held = sum(x.passed for x in bars)
    level = "good" if held == len(bars) else "bad"
    note = t("verdict.bars_note", pictures=len({x.picture for x in bars}))
    return [Tile(t("verdict.bars"), f"{held} / {len(bars)}", note, level, "detections")]


def _cosine(record: Compared | Missing, bits: str, t: Texts) -> list[Tile]:
    if isinstance(record, Missing):
        return []
    worst = min((x.cosine for x in record.layers if x.cosine is not None), default=None)
    if worst is None:
        return []
    below = sum(x.cosine is not None and x.cosine < ORANGE for x in record.layers)
    # A layer's cosine never decides; at 8 bit low ones are normal, so they are not coloured.
    level = "" if bits == "8" else "good" if worst >= ORANGE else "warning"
    level = "bad" if bits != "8" and worst < RED else level
    note = t("verdict.cosine_note", below=below, layers=len(record.layers), limit=ORANGE)
    if bits == "8" and below:
        note += t("verdict.normal")
    return [Tile(t("verdict.cosine", bits=bits), formats.cosine(worst)[:6], note, level, "layers")]

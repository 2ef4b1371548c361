"""What every reader wants first: is the network ready, and in a few numbers why."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from nnie_pipeline.report import formats
from nnie_pipeline.report.build import Build, Missing
from nnie_pipeline.report.misleading import misleading
from nnie_pipeline.report.plot import ORANGE, RED
from nnie_pipeline.report.records import Checked, Evaluated, Judged
from nnie_pipeline.report.runs import Run, find_runs
from nnie_pipeline.report.study_records import NetworkDrawn
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
    network = build.find(NetworkDrawn)
    for run in find_runs(build, t)[0]:
        if run.key in ("8", "16"):
            misled = () if isinstance(network, Missing) else misleading(network, run)
            tiles += _cosine(run, {x.layer.layer for x in misled}, t)
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


def _cosine(run: Run, misled: set[str], t: Texts) -> list[Tile]:
    layers = [x for x in run.layers if x.name not in misled]
    worst = min((x.cosine for x in layers if x.cosine is not None), default=None)
    if worst is None:
        return []
    eight = run.key == "8"
    below = sum(x.cosine is not None and x.cosine < ORANGE for x in layers)
    # A layer's cosine never decides; at 8 bit low ones are normal, so they are not coloured.
    level = "" if eight else "good" if worst >= ORANGE else "warning"
    level = "bad" if not eight and worst < RED else level
    note = t("verdict.cosine_note", below=below, layers=len(layers), limit=ORANGE)
    if eight and below:
        note += t("verdict.normal")
    if misled:
        note += t("verdict.misled", count=len(misled))
    link = "diagnosis" if misled else "layers"
    return [Tile(t("verdict.cosine", bits=run.key), formats.cosine(worst)[:6], note, level, link)]

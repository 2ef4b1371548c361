"""Float against simulated, layer by layer: the plot, the worst layers, all layers."""

from __future__ import annotations

import math
from typing import Any

from nnie_pipeline.report.build import Build, Missing, MissingError
from nnie_pipeline.report.plot import ORANGE, RED, cosine_figure
from nnie_pipeline.report.records import Compared, LayerDifference
from nnie_pipeline.report.runs import find_runs
from nnie_pipeline.report.texts import Texts

WORST = 15
"""Layers in the table of the worst."""


def context(build: Build, t: Texts) -> dict[str, Any]:
    """The figure, and the layers of each run in both orders."""
    runs, missing = find_runs(build, t)
    if not runs:
        raise MissingError(missing[0] if missing else Missing(Compared.PLACE, Compared.STAGE))
    return {
        "figure": cosine_figure(runs, t),
        "orange": ORANGE,
        "red": RED,
        "runs": [
            {
                "name": run.name,
                "key": run.key,
                "record": run.record,
                "worst": sorted(enumerate(run.layers, 1), key=lambda x: _rank(x[1]))[:WORST],
                "coloured": sum(level(x.cosine) != "" for x in run.layers),
                "red": sum(level(x.cosine) == "red" for x in run.layers),
            }
            for run in runs
        ],
        "missing": missing,
        "label": build.label,
        "net": _net(build),
    }


def _net(build: Build) -> str:
    """The name of the network's files; empty where it is not known."""
    found = sorted((build.folder / "rewrite").glob("*.prototxt"))
    return found[0].stem if len(found) == 1 else ""


def level(value: float | None) -> str:
    """RuyiStudio's colour of a cosine: red, orange or none."""
    if value is None or math.isnan(value) or value <= RED:
        return "red"
    return "orange" if value < ORANGE else ""


def _rank(layer: LayerDifference) -> float:
    return -2.0 if layer.cosine is None or math.isnan(layer.cosine) else layer.cosine

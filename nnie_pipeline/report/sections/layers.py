"""Float against simulated, layer by layer: the plot, the worst layers, all layers."""

from __future__ import annotations

import math
from typing import Any

from nnie_pipeline.report.build import Build, Missing, MissingError
from nnie_pipeline.report.plot import ORANGE, RED, cosine_figure
from nnie_pipeline.report.records import Compared8, Compared16, LayerDifference
from nnie_pipeline.report.texts import Texts

WORST = 15
"""Layers in the table of the worst."""


def context(build: Build, t: Texts) -> dict[str, Any]:
    """The figure, and the layers of each width in both orders."""
    found = {"8": build.find(Compared8), "16": build.find(Compared16)}
    runs = {bits: x for bits, x in found.items() if not isinstance(x, Missing) and x.layers}
    missing = [x for x in found.values() if isinstance(x, Missing)]
    if not runs:
        raise MissingError(missing[0] if missing else Missing(Compared8.PLACE, Compared8.STAGE))
    return {
        "figure": cosine_figure(runs, t),
        "orange": ORANGE,
        "red": RED,
        "runs": [
            {
                "bits": bits,
                "record": run,
                "worst": sorted(enumerate(run.layers, 1), key=lambda x: _rank(x[1]))[:WORST],
                "coloured": sum(level(x.cosine) != "" for x in run.layers),
                "red": sum(level(x.cosine) == "red" for x in run.layers),
            }
            for bits, run in runs.items()
        ],
        "missing": missing,
    }


def level(value: float | None) -> str:
    """RuyiStudio's colour of a cosine: red, orange or none."""
    if value is None or math.isnan(value) or value <= RED:
        return "red"
    return "orange" if value < ORANGE else ""


def _rank(layer: LayerDifference) -> float:
    return -2.0 if layer.cosine is None or math.isnan(layer.cosine) else layer.cosine

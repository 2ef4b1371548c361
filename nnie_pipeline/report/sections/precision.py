"""What each layer's numbers cost the outputs, and which layers to give 16 bits."""

from __future__ import annotations

from typing import Any

from nnie_pipeline.report.build import Build, Missing
from nnie_pipeline.report.precision_plot import mixed_figure, sensitivity_figure
from nnie_pipeline.report.study_records import Mixed, Sensitivity
from nnie_pipeline.report.texts import Texts

WORST = 15
"""Layers in the table of the worst."""

_STUDIES = (Sensitivity.PLACE, "mixed/sensitivity.json", "sensitivity.json")
_PLANS = (Mixed.PLACE, "mixed.json")


def context(build: Build, t: Texts) -> dict[str, Any]:
    """Both records, where they are, with their figures."""
    sensitivity = build.first(Sensitivity, *_STUDIES)
    mixed = build.first(Mixed, *_PLANS)
    studied = not isinstance(sensitivity, Missing) and bool(sensitivity.layers)
    planned = not isinstance(mixed, Missing)
    layers = [] if isinstance(sensitivity, Missing) else list(enumerate(sensitivity.layers, 1))
    return {
        "sensitivity": sensitivity,
        "mixed": mixed,
        "studied": studied,
        "planned": planned,
        "sensitivity_figure": sensitivity_figure(sensitivity, t)
        if not isinstance(sensitivity, Missing) and studied
        else None,
        "mixed_figure": mixed_figure(mixed, t) if not isinstance(mixed, Missing) else None,
        "layers": layers,
        "worst": sorted(layers, key=lambda x: -x[1].only.error)[:WORST],
        "label": build.label,
    }

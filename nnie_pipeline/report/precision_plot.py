"""The plots of sensitivity and mixed precision as figures of plotly.js (see `report.plot`)."""

from __future__ import annotations

from collections.abc import Sequence
from html import escape
from typing import Any

from nnie_pipeline.report import formats
from nnie_pipeline.report.plot import base_layout
from nnie_pipeline.report.study_records import Mix, Mixed, Sensitivity
from nnie_pipeline.report.texts import Texts

_LEAST = 1e-9


def sensitivity_figure(found: Sensitivity, t: Texts) -> dict[str, Any]:
    """1 - cosine of the worst output, on a logarithmic axis, with each layer alone quantised."""
    numbers = list(range(1, len(found.layers) + 1))
    bars = {
        "type": "bar",
        "name": str(t("precision.only", bits=found.bits)),
        "x": numbers,
        "y": [max(x.only.error, _LEAST) for x in found.layers],
        # plotly.js reads markup in hover texts, links included.
        "text": [f"{escape(x.name)}<br>{formats.exponent(x.only.error)}" for x in found.layers],
        "textposition": "none",
        "hoverinfo": "text",
        "marker": {"color": "var(--run-8)"},
    }
    whole = {
        "name": str(t("precision.everything", bits=found.bits)),
        "x": [0.5, len(found.layers) + 0.5],
        "y": [max(found.everything.error, _LEAST)] * 2,
        "hoverinfo": "skip",
        "mode": "lines",
        "line": {"color": "var(--red-line)", "width": 1.5, "dash": "dash"},
    }
    layout = base_layout(str(t("precision.x_layer")), str(t("precision.y_error")))
    layout["yaxis"].update(type="log", exponentformat="power")
    return {"traces": [bars, whole], "layout": layout}


def mixed_figure(found: Mixed, t: Texts) -> dict[str, Any]:
    """1 - cosine of the worst output against the slowdown; the chosen mix is marked."""
    line = {
        "name": str(t("precision.curve")),
        **_points(_front(found.curve), t),
        "mode": "lines",
        "line": {"color": "var(--run-mixed)", "width": 1.5},
    }
    mixes = {
        "name": str(t("precision.mixes")),
        **_points(found.curve, t),
        "mode": "markers",
        "marker": {"color": "var(--run-mixed)", "size": 7},
    }
    chosen = {
        "name": str(t("precision.chosen")),
        **_points([found.chosen], t),
        "mode": "markers",
        "marker": {
            "color": "var(--red-line)",
            "size": 14,
            "symbol": "circle-open",
            "line": {"color": "var(--red-line)", "width": 2.5},
        },
    }
    layout = base_layout(str(t("precision.x_slowdown")), str(t("precision.y_error")))
    layout["yaxis"].update(type="log", exponentformat="power")
    return {"traces": [line, mixes, chosen], "layout": layout}


def _front(mixes: Sequence[Mix]) -> list[Mix]:
    """Those that no faster one equals, by time."""
    kept: list[Mix] = []
    for mix in sorted(mixes, key=lambda x: (x.slowdown, -x.cosine)):
        if not kept or mix.cosine > kept[-1].cosine:
            kept.append(mix)
    return kept


def _points(mixes: Sequence[Mix], t: Texts) -> dict[str, Any]:
    return {
        "x": [x.slowdown for x in mixes],
        "y": [max(1 - x.cosine, _LEAST) for x in mixes],
        "text": [
            str(t("precision.point", count=len(x.layers), cosine=formats.cosine(x.cosine)))
            for x in mixes
        ],
        "hoverinfo": "text+x",
    }

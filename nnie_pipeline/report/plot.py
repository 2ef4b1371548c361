"""The per-layer plot as a figure of plotly.js.

A colour is written `var(--name)`: the page's script puts the value of that CSS property in
its place, so that one figure serves the light, the dark and the printed page. A figure has
views: what another choice of the reader replaces in its traces and its layout.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from html import escape
from typing import Any

from nnie_pipeline.report import formats
from nnie_pipeline.report.records import LayerDifference
from nnie_pipeline.report.runs import Run, plain
from nnie_pipeline.report.texts import Texts

ORANGE, RED = 0.99, 0.95
"""Where RuyiStudio's network graph begins to colour a layer: below 0.99 orange, up to 0.95
red (RuyiStudio user guide, vector comparison)."""

_TICKS = (1, 0.99, 0.95, 0.9, 0.8, 0.999, 0, 0.5, 0.97, 0.98, 0.995, 0.93, 0.85, 0.7, -0.5, -1)
"""The most welcome first: those that would touch one of these are left out."""

_GAP = 0.045
_MARKERS = {"8": "diamond", "16": "circle"}


def plotly_script() -> str:
    """plotly.js itself, to be put into the page: the page loads nothing."""
    from plotly.offline import get_plotlyjs

    script: str = get_plotlyjs()
    # A browser reads any line end as \n, and the page's policy holds a hash of the script.
    return script.replace("\r\n", "\n").replace("\r", "\n")


def spread(value: float | None) -> float | None:
    """A cosine on an axis that is even in the angle between both outputs, in degrees below 0.

    0.8 lies at -37, 0.9 at -26, 0.99 at -8, 0.999 at -3: near 1 a cosine itself hardly moves.
    """
    if value is None or not math.isfinite(value):
        return None
    return -math.degrees(math.acos(min(1.0, max(-1.0, value))))


def cosine_figure(runs: Sequence[Run], t: Texts) -> dict[str, Any]:
    """Cosine of each layer in execution order, one line for each of `runs`.

    The layers of the first run are numbered; those of the others stand where it has them.
    """
    places = [_places(runs[0], x) for x in runs]
    longest = math.ceil(max(max(x) for x in places))
    lines = [_line(x, y, t) for x, y in zip(runs, places, strict=True)]
    values = [[_plain(x.cosine) for x in run.layers] for run in runs]
    limits = ((ORANGE, "orange"), (RED, "red"))
    for limit, colour in limits:
        lines.append(_limit(limit, colour, longest, t))
        values.append([limit, limit])
    known = [y for x in values for y in x if y is not None]
    lowest = min(known)
    margin = 0.03 * (1 - lowest)
    low = spread(lowest) or 0.0
    ticks = _ticks(low)
    return {
        "traces": lines,
        "layout": _layout(longest, t),
        "views": {
            "spread": {
                "y": [[spread(y) for y in x] for x in values],
                "layout": {
                    "yaxis.tickmode": "array",
                    "yaxis.tickvals": [spread(x) for x in ticks],
                    "yaxis.ticktext": [f"{x:g}" for x in ticks],
                    "yaxis.range": [1.03 * low, -0.03 * low],
                },
            },
            "linear": {
                "y": values,
                "layout": {
                    "yaxis.tickmode": "auto",
                    "yaxis.tickformat": ".3~f",
                    "yaxis.range": [lowest - margin, 1 + margin],
                },
            },
        },
    }


def _ticks(low: float) -> list[float]:
    kept: list[float] = []
    for tick in _TICKS:
        place = spread(tick) or 0.0
        if place >= low and all(abs(place - (spread(x) or 0.0)) >= -_GAP * low for x in kept):
            kept.append(tick)
    return kept


def _places(first: Run, run: Run) -> list[float]:
    """The number of each of a run's layers among those of the first; between them if new."""
    free: dict[str, list[int]] = {}
    for number, layer in enumerate(first.layers, 1):
        free.setdefault(plain(layer.name), []).append(number)
    places: list[float] = []
    for layer in run.layers:
        numbers = free.get(plain(layer.name))
        places.append(numbers.pop(0) if numbers else (places[-1] if places else 0.0) + 0.5)
    return places


def _line(run: Run, places: Sequence[float], t: Texts) -> dict[str, Any]:
    colour = f"var(--{run.colour})"
    return {
        "name": escape(run.name),
        "x": list(places),
        "customdata": [_hover(x) for x in run.layers],
        "hovertemplate": str(t("layers.hover", run=run.name)),
        "mode": "lines+markers",
        "line": {"color": colour, "width": 1.5},
        "marker": {"color": colour, "size": 6, "symbol": _MARKERS.get(run.key, "square")},
    }


def _hover(layer: LayerDifference) -> list[str]:
    # plotly.js reads markup in hover texts, links included.
    return [
        escape(x)
        for x in (
            layer.name,
            layer.type,
            formats.shape(layer.shape),
            formats.cosine(layer.cosine),
            formats.number(layer.max_abs, 4),
            formats.number(layer.rel_euclid, 4),
        )
    ]


def _limit(value: float, colour: str, longest: int, t: Texts) -> dict[str, Any]:
    return {
        "name": str(t("layers.limit", limit=value)),
        "x": [0.5, longest + 0.5],
        "hoverinfo": "skip",
        "mode": "lines",
        "line": {"color": f"var(--{colour}-line)", "width": 1.5, "dash": "dash"},
    }


def _layout(longest: int, t: Texts) -> dict[str, Any]:
    layout = base_layout(str(t("layers.x")), str(t("layers.y")))
    layout["xaxis"]["range"] = [0.5, longest + 0.5]
    return layout


def base_layout(x: str, y: str) -> dict[str, Any]:
    """The look of all plots, with the titles of both axes."""
    axis = {
        "gridcolor": "var(--line)",
        "linecolor": "var(--line)",
        "zeroline": False,
        "automargin": True,
    }
    return {
        "font": {"family": "var(--font)", "size": 13, "color": "var(--ink)"},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "margin": {"l": 10, "r": 10, "t": 10, "b": 10},
        "hovermode": "closest",
        "hoverlabel": {
            "align": "left",
            "namelength": -1,
            "bgcolor": "var(--card)",
            "bordercolor": "var(--line)",
            "font": {"color": "var(--ink)"},
        },
        "modebar": {
            "bgcolor": "rgba(0,0,0,0)",
            "color": "var(--soft)",
            "activecolor": "var(--ink)",
        },
        "legend": {"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom"},
        "xaxis": {**axis, "title": {"text": x}},
        "yaxis": {**axis, "title": {"text": y, "standoff": 12}},
    }


def _plain(value: float | None) -> float | None:
    return value if value is not None and math.isfinite(value) else None

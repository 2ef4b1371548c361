"""The page of one comparison: every layer of two dumps, one HTML file that loads nothing."""

from __future__ import annotations

from html import escape
from typing import Any

from markupsafe import Markup

from nnie_pipeline import __version__
from nnie_pipeline.report import formats
from nnie_pipeline.report.environment import asset, environment, policy
from nnie_pipeline.report.plot import ORANGE, RED, plotly_script, spread
from nnie_pipeline.report.sections.layers import level

_AXIS = {
    "gridcolor": "var(--line)",
    "linecolor": "var(--line)",
    "zeroline": False,
    "automargin": True,
}


def comparison_page(found: dict[str, Any]) -> str:
    """The page of what `Comparison.to_json` holds, as one HTML text."""
    templates = environment()
    templates.filters["level"] = level
    scripts = [plotly_script(), asset("page.js")]
    return templates.get_template("comparison.html").render(
        found=found,
        figure=_figure(found["layers"]),
        orange=ORANGE,
        red=RED,
        policy=policy(scripts),
        style=Markup(asset("page.css")),
        scripts=[Markup(x) for x in scripts],
        version=__version__,
    )


def _figure(layers: list[dict[str, Any]]) -> dict[str, Any]:
    cosines = [x["cosine"] for x in layers]
    low = min(1.05 * (spread(min(cosines)) or 0), -9.0)
    ticks = [x for x in (1, 0.999, 0.99, 0.95, 0.9, 0.8, 0.5, 0, -1) if (spread(x) or 0) >= low]
    numbers = list(range(1, len(layers) + 1))
    line = {
        "x": numbers,
        "y": [spread(x) for x in cosines],
        # plotly.js reads markup in hover texts, links included.
        "text": [f"{escape(x['name'])}<br>{formats.cosine(x['cosine'])}" for x in layers],
        "hoverinfo": "text",
        "mode": "lines+markers",
        "line": {"color": "var(--run-8)", "width": 1.5},
        "marker": {"color": "var(--run-8)", "size": 6},
        "showlegend": False,
    }
    limits = [
        {
            "x": [0.5, len(layers) + 0.5],
            "y": [spread(limit)] * 2,
            "name": f"{limit:g}",
            "hoverinfo": "skip",
            "mode": "lines",
            "line": {"color": f"var(--{colour}-line)", "width": 1.5, "dash": "dash"},
        }
        for limit, colour in ((ORANGE, "orange"), (RED, "red"))
    ]
    layout = {
        "font": {"family": "var(--font)", "size": 13, "color": "var(--ink)"},
        "paper_bgcolor": "rgba(0,0,0,0)",
        "plot_bgcolor": "rgba(0,0,0,0)",
        "margin": {"l": 10, "r": 10, "t": 10, "b": 10},
        "hovermode": "closest",
        "modebar": {"bgcolor": "rgba(0,0,0,0)", "color": "var(--soft)"},
        "legend": {"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom"},
        "xaxis": {**_AXIS, "title": {"text": "layer, in execution order"}},
        "yaxis": {
            **_AXIS,
            "title": {"text": "cosine", "standoff": 12},
            "tickmode": "array",
            "tickvals": [spread(x) for x in ticks],
            "ticktext": [f"{x:g}" for x in ticks],
            "range": [low, -0.03 * low],
        },
    }
    return {"traces": [line, *limits], "layout": layout}

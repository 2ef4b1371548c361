"""The plots of the input sizes as figures of plotly.js (see `report.plot` for their form)."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from nnie_pipeline.report.plot import base_layout
from nnie_pipeline.report.records import Sized, SizeRow
from nnie_pipeline.report.texts import Texts

Rows = Sequence[SizeRow]
Value = Callable[[SizeRow], float | None]


def time_figure(rows: Rows, sized: Sized, t: Texts) -> dict[str, Any]:
    """Estimated milliseconds a picture against the width, for both precisions."""
    lines = [
        _line(rows, lambda x: x.ms_8, str(t("sizes.bits", bits="8")), "run-8", t),
        _line(rows, lambda x: x.ms_16, str(t("sizes.bits", bits="16")), "run-16", t),
    ]
    marks = _marks(rows, sized, lambda x: x.ms_8, t)
    return {"traces": [*lines, *marks], "layout": _layout(str(t("sizes.y_time")), t)}


def anchor_figure(rows: Rows, sized: Sized, t: Texts) -> dict[str, Any] | None:
    """Smallest and largest anchor in pixels of the camera picture; None without such anchors."""
    if not any(x.smallest_anchor for x in rows):
        return None
    lines = [
        _line(rows, lambda x: x.smallest_anchor, str(t("sizes.smallest")), "run-8", t),
        _line(rows, lambda x: x.largest_anchor, str(t("sizes.largest")), "run-16", t),
    ]
    marks = _marks(rows, sized, lambda x: x.smallest_anchor, t)
    height, width = sized.source
    layout = _layout(str(t("sizes.y_anchor", height=height, width=width)), t)
    layout["yaxis"]["type"] = "log"
    layout["yaxis"]["tickvals"] = [x * 10**n for n in range(5) for x in (1, 2, 5)]
    return {"traces": [*lines, *marks], "layout": layout}


def _line(rows: Rows, value: Value, name: str, colour: str, t: Texts) -> dict[str, Any]:
    return {
        "name": name,
        "x": [x.width for x in rows],
        "y": [value(x) for x in rows],
        "customdata": [_hover(x) for x in rows],
        "hovertemplate": str(t("sizes.hover")),
        "mode": "lines+markers",
        "line": {"color": f"var(--{colour})", "width": 1.5},
        "marker": {"color": f"var(--{colour})", "size": 6},
    }


def _hover(row: SizeRow) -> list[str]:
    return [
        f"{row.height}×{row.width}",
        f"{row.ms_8:.1f}",
        f"{row.ms_16:.1f}",
        f"{row.macs / 1e6:,.0f}",
    ]


def _marks(rows: Rows, sized: Sized, value: Value, t: Texts) -> list[dict[str, Any]]:
    """The sizes that are known from publications, and the build's own."""
    known = [x for x in rows if x.note]
    own = [x for x in rows if (x.height, x.width) == sized.own]
    marks = []
    for found, name, colour, symbol in (
        (known, t("sizes.known"), "orange-line", "diamond-open"),
        (own, t("sizes.own"), "red-line", "circle-open"),
    ):
        if found:
            marks.append(
                {
                    "name": str(name),
                    "x": [x.width for x in found],
                    "y": [value(x) for x in found],
                    # A size that is both is named once.
                    "text": [str(x.width) if found is known or not x.note else "" for x in found],
                    "textposition": "top center",
                    "hoverinfo": "skip",
                    "mode": "markers+text",
                    "marker": {
                        "color": f"var(--{colour})",
                        "size": 13,
                        "symbol": symbol,
                        "line": {"color": f"var(--{colour})", "width": 2.5},
                    },
                }
            )
    return marks


def _layout(y: str, t: Texts) -> dict[str, Any]:
    layout = base_layout(str(t("sizes.x")), y)
    layout["yaxis"]["rangemode"] = "tozero"
    return layout

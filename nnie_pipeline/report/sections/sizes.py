"""Input sizes: estimated time and anchors against the size, and all valid sizes."""

from __future__ import annotations

from typing import Any

from nnie_pipeline.report.build import Build
from nnie_pipeline.report.records import Sized
from nnie_pipeline.report.size_plot import anchor_figure, time_figure
from nnie_pipeline.report.texts import Texts


def context(build: Build, t: Texts) -> dict[str, Any]:
    """The figures of the sizes of the network's own shape, and the rows of each shape."""
    sized = build.read(Sized)
    rows = sized.aspect or sized.square
    return {
        "sized": sized,
        "rows": rows,
        "time": time_figure(rows, sized, t) if len(rows) > 1 else None,
        "anchor": anchor_figure(rows, sized, t) if len(rows) > 1 else None,
        "groups": [
            (name, found)
            for name, found in (("aspect", sized.aspect), ("square", sized.square))
            if found
        ],
        "has_anchors": any(x.smallest_anchor for x in rows),
    }

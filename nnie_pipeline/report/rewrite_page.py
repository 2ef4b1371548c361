"""The page of one rewrite: two networks side by side, one HTML file that loads nothing."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

from markupsafe import Markup

from nnie_pipeline import __version__
from nnie_pipeline.report.environment import asset, environment, policy
from nnie_pipeline.rewrite.rows import Row

PAGE = "rewrite.html"
"""The page's name, beside rewrite.json."""

_FOLDED = 2
"""So many layers that stay as they are, one behind the other, are folded."""


@dataclass(frozen=True)
class _Block:
    """Rows that are shown together: `kind` is "rows", "folded" or "left"."""

    kind: str
    rows: list[tuple[int, Row]]


def rewrite_page(name: str, record: dict[str, Any], rows: Sequence[Row]) -> str:
    """The page as one HTML text.

    `name` heads it; `record` is what rewrite.json holds; `rows` are those of
    `rewrite.rows.side_by_side`.
    """
    places = {row.name: i for i, row in enumerate(rows) if row.kind == "moved"}
    kinds = [row.kind for row in rows]
    return (
        environment()
        .get_template("rewrite.html")
        .render(
            name=name,
            record=record,
            blocks=_blocks(rows),
            places=places,
            counts={x: kinds.count(x) for x in ("removed", "added", "changed", "moved", "same")},
            did=[x for x in record["passes"] if x["changed"]],
            idle=[x["name"] for x in record["passes"] if not x["changed"]],
            policy=policy([]),
            style=Markup(asset("page.css") + asset("rewrite.css")),
            version=__version__,
        )
    )


def _blocks(rows: Sequence[Row]) -> list[_Block]:
    blocks = []
    kinds = {"same": "folded", "left": "left"}
    for kind, group in groupby(enumerate(rows), lambda x: kinds.get(x[1].kind, "rows")):
        members = list(group)
        small = kind == "folded" and len(members) < _FOLDED
        blocks.append(_Block("rows" if small else kind, members))
    return blocks

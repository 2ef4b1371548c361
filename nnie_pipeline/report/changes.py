"""What a rewrite changed, as Markdown that reads well in a terminal."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape
from typing import Any

from nnie_pipeline.report.formats import exponent
from nnie_pipeline.rewrite.rows import Row


def changes_text(name: str, record: dict[str, Any], rows: Sequence[Row]) -> str:
    """The text; the arguments are those of `rewrite_page.rewrite_page`."""
    return "\n".join([*_head(name, record), *_passes(record), *_names(record), *_diff(rows)]) + "\n"


def _head(name: str, record: dict[str, Any]) -> Iterator[str]:
    yield f"# {_plain(name)}: what nnie rewrite changed"
    yield ""
    yield f"- layers: {record['layers_before']} before, {record['layers']} after"
    yield f"- order of the layers: {_plain(record['order'])}. {record['order_note']}"
    yield f"- outputs, in this order: {', '.join(map(_plain, record['outputs']))}"
    passes = any(x["changed"] for x in record["passes"])
    yield (
        f"- compared on the picture {_plain(record['picture'])}: the written files with those "
        f"given, difference {exponent(record['files_difference'])}"
        f"{'; and after every pass that changed something' if passes else ''}"
    )
    yield f"- tolerance: {record['tolerance_note']}"
    yield from (f"- on reading: {_plain(x)}" for x in record["reading"])
    if record["skipped"]:
        yield f"- left out with --skip: {', '.join(record['skipped'])}; what they do is not done"
    yield ""


def _passes(record: dict[str, Any]) -> Iterator[str]:
    yield "## What changed, and why"
    yield ""
    for item in record["passes"]:
        if item["changed"]:
            yield (
                f"### {item['name']}: {item['changed']} changes, "
                f"difference {exponent(item['difference'])}"
            )
            yield ""
            reason = _plain(item["reason"])
            yield f"{reason[:1].upper()}{reason[1:]}."
            yield ""
            yield from (f"- {_plain(x)}" for x in item["changes"])
            yield ""
    idle = [x["name"] for x in record["passes"] if not x["changed"]]
    if idle:
        yield f"Nothing to do: {', '.join(idle)}."
        yield ""


def _names(record: dict[str, Any]) -> Iterator[str]:
    if not record["names"]:
        return
    yield "## Names"
    yield ""
    yield "| before | now |"
    yield "|---|---|"
    yield from (f"| {_plain(old)} | {_plain(new)} |" for old, new in record["names"].items())
    yield ""


def _diff(rows: Sequence[Row]) -> Iterator[str]:
    yield "## Side by side"
    yield ""
    yield "Layers that stay as they are are left out. Both networks are written alike."
    yield ""
    yield "```diff"
    for row in rows:
        if row.kind in ("same", "left"):
            continue
        passes = ", ".join(x.name for x in row.why)
        place = f", {row.place}" if row.place else ""
        yield _printable(f"@@ {row.name}: {row.kind}{place} ({passes}) @@")
        yield from _lines(row)
    yield "```"


def _lines(row: Row) -> Iterator[str]:
    """Both sides as one: equal lines once, what is gone before what is new."""
    left, right = list(row.before), list(row.after)
    while left or right:
        if left and left[0].changed:
            yield _printable(f"- {left.pop(0).text}")
        elif right and right[0].changed:
            yield _printable(f"+ {right.pop(0).text}")
        else:
            yield _printable(f"  {right.pop(0).text}")
            left.pop(0)


def _plain(text: str) -> str:
    """`text` on one line, without anything that Markdown or a terminal would act on."""
    for sign in "\\`*|[]":
        text = text.replace(sign, f"\\{sign}")
    return escape(_printable(text), quote=False)


def _printable(text: str) -> str:
    return "".join(x if x.isprintable() else "?" for x in text)

"""The pages of the documentation as the tests read them: blocks, links and headings."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[1]
PAGES = (
    *(ROOT / x for x in ("README.md", "README.zh-CN.md", "ARCHITECTURE.md")),
    *sorted((ROOT / "docs").glob("*.md")),
)

_BLOCK = re.compile(
    r"^(?:[ ]*(?:<!-- (?P<mark>[^\n]+?) -->|\*Not executed: (?P<why>[^\n]+)\.\*)\n)?"
    r"(?P<indent>[ ]*)```(?P<language>\w+)\n(?P<text>.*?)^(?P=indent)```$",
    re.DOTALL | re.MULTILINE,
)
_LINK = re.compile(r"!?\[[^\]\[]*\]\((?P<target>[^)\s]+)\)")
_HEADING = re.compile(r"^#{1,6} (?P<text>.+)$", re.MULTILINE)
_CODE = re.compile(r"`[^`\n]+`")


@dataclass(frozen=True)
class Block:
    """A fenced block: the mark above it, its language and its text without indentation."""

    page: Path
    line: int
    mark: str
    language: str
    text: str


def blocks(page: Path) -> Iterator[Block]:
    """All fenced blocks of a page."""
    whole = page.read_text(encoding="utf-8")
    for found in _BLOCK.finditer(whole):
        indent = found["indent"]
        lines = [x.removeprefix(indent) for x in found["text"].splitlines()]
        line = whole[: found.start("language")].count("\n") + 1
        mark = f"not run: {found['why']}" if found["why"] else found["mark"] or ""
        yield Block(page, line, mark, found["language"], "\n".join(lines) + "\n")


def commands(block: Block) -> Iterator[str]:
    """The lines of a shell block, without comments, continued lines joined."""
    for line in block.text.replace("\\\n", " ").splitlines():
        command = line.split(" #")[0].strip()
        if command and not command.startswith("#"):
            yield command


def links(page: Path) -> Iterator[str]:
    """The targets of all links and pictures, those in code left out."""
    text = _CODE.sub("`", _BLOCK.sub("", page.read_text(encoding="utf-8")))
    yield from (x["target"] for x in _LINK.finditer(text))


def inline(page: Path) -> Iterator[str]:
    """What stands in backquotes in running text."""
    text = _BLOCK.sub("", page.read_text(encoding="utf-8"))
    yield from (" ".join(x[0].strip("`").split()) for x in re.finditer(r"`[^`]+`", text))


def anchors(page: Path) -> set[str]:
    """The anchors of a page's headings, as both GitHub and mkdocs make them of ASCII."""
    text = _BLOCK.sub("", page.read_text(encoding="utf-8"))
    return {_slug(x["text"]) for x in _HEADING.finditer(text)}


def _slug(heading: str) -> str:
    plain = re.sub(r"[`*]|\[([^\]]*)\]\([^)]*\)", r"\1", heading).strip().lower()
    return re.sub(r"[^\w\- ]", "", plain).replace(" ", "-")

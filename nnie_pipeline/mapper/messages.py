"""nnie_mapper's words and exit statuses explained: `messages.yaml` beside this file."""

from __future__ import annotations

import bisect
import functools
import re
from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

import yaml

READ_LOG = "read the end of its log"
"""What there is to do where nothing is known."""

UNKNOWN = frozenset({"other", "unknown", "other-warning"})
"""Messages in the mapper's form that nobody has published with a cause."""

_LONGEST = 300
_MOST = 200
_NOT_NAMED = "(not named)"
_EDGE = re.compile(r"(?m)^[ \t]{0,9}(?:begin|end)[ \t][^\n]{0,200}$")

Edge = tuple[str, str]
"""("begin" or "end", name of a stage)."""


@dataclass(frozen=True)
class Explanation:
    """One thing that a log says: how often, the first place in it, why, and what to do."""

    id: str
    severity: str
    text: str
    cause: str
    fix: str
    source: str
    count: int = 1

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        return asdict(self)


@dataclass(frozen=True)
class Version:
    """The mapper that wrote a log; `nnie` is its generation, None for builds of 2018."""

    text: str
    nnie: str | None


def explain(log: str) -> list[Explanation]:
    """What a log of the mapper or a board says, errors first (`rank`), then in its order.

    The same thing about the same layer stands once. What is in the form of an error or warning
    but not known is there too, with an id of `UNKNOWN`.
    """
    edges = _edges(log)
    taken: list[tuple[int, int]] = []
    made: dict[tuple[str, ...], Explanation] = {}
    found: dict[tuple[str, str], tuple[int, int, Explanation]] = {}
    for key, (pattern, entry) in _messages().items():
        for match in pattern.finditer(log):
            after = bisect.bisect_left(taken, match.span())
            if any(
                match.start() < end and begin < match.end()
                for begin, end in taken[max(0, after - 1) : after + 1]
            ):
                continue
            taken.insert(after, match.span())
            last = bisect.bisect_left(edges, match.start(), key=lambda x: x[0]) - 1
            words = {x: (y or _NOT_NAMED).strip() for x, y in match.groupdict().items()}
            words["during"] = during(edges[last][1] if last >= 0 else None)
            same = (key, *words.values())
            if same not in made:
                made[same] = _explanation(key, entry, match.group(), words)
            group = (key, made[same].cause)
            if group in found or len(found) < _MOST:
                place, count, first = found.get(group, (match.start(), 0, made[same]))
                found[group] = (place, count + 1, first)
    shown = sorted(found.values(), key=lambda x: (*rank(x[2]), x[0]))
    return [replace(x, count=count) for _, count, x in shown]


def rank(message: Explanation) -> tuple[bool, bool]:
    """For sorting: errors first, of these the ones that the mapper names a reason in."""
    entry = _messages().get(message.id)
    vague = message.id in UNKNOWN or entry is None or entry[1]["from"] == "system"
    return message.severity != "error", vague


def explain_end(status: int, last: Edge | None) -> Explanation:
    """What an exit status other than 0 says.

    Args:
        status: as a shell says it (128 and the number of a signal), or below 0 that signal.
        last: where the last stage that the mapper named began or ended, as `follow` has it.
    """
    where = during(last)
    shown = 128 - status if status < 0 else status
    for key, (_, entry) in _messages().items():
        if shown in entry.get("statuses", ()):
            text = f"{entry['says']} (exit status {shown})"
            return _explanation(key, entry, text, {"during": where})
    what = f"signal {-status}" if status < 0 else f"exit status {status}"
    return Explanation(
        "ended", "error", what, f"the mapper ended with {what} {where}",
        READ_LOG, "derived",
    )  # fmt: skip


def during(last: Edge | None) -> str:
    """Where a mapper was whose last words about a stage are `last`."""
    if last is None:
        return "before its first stage"
    edge, name = last
    return f"during {name}" if edge == "begin" else f"after {name}, before another stage began"


def follow(last: Edge | None, edge: Edge) -> Edge:
    """The edge to remember: an end takes the name that its stage began with."""
    if edge[0] == "end" and last is not None and last[0] == "begin":
        return ("end", last[1])
    return edge


def stage_of(line: str) -> Edge | None:
    """The edge of a stage that a line says."""
    match = _stages().fullmatch(line) if len(line) <= _LONGEST else None
    return (match["edge"], match["name"].strip()) if match else None


def version_of(log: str) -> Version | None:
    """The mapper's version in a log."""
    data = _data()
    match = re.search(data["version"], log)
    if match:
        return Version(match["version"], match["nnie"])
    old = re.search(data["old_version"], log)
    return Version(old["version"], None) if old else None


def _edges(log: str) -> list[tuple[int, Edge]]:
    """(place in the log, edge) of all stages, in order."""
    found: list[tuple[int, Edge]] = []
    last: Edge | None = None
    for match in _EDGE.finditer(log):
        edge = stage_of(match.group())
        if edge is not None:
            last = follow(last, edge)
            found.append((match.start(), last))
    return found


def _explanation(
    key: str, entry: Mapping[str, Any], text: str, words: Mapping[str, str]
) -> Explanation:
    filled = {x: plain(y) for x, y in words.items()}
    code = filled.get("code", "").lower()
    filled["meaning"] = _data()["codes"].get(code, f"code {code}")
    return Explanation(
        key, entry["severity"], plain(text),
        entry["cause"].format(**filled), entry["fix"].format(**filled), entry["source"],
    )  # fmt: skip


def plain(text: str) -> str:
    """At most 300 characters in a line that a terminal can show as they are."""
    line = " ".join(text[: 2 * _LONGEST].split())[:_LONGEST]
    return "".join(x if x.isprintable() else "?" for x in line)


@functools.lru_cache(maxsize=1)
def _data() -> dict[str, Any]:
    text = Path(__file__).with_name("messages.yaml").read_text(encoding="utf-8")
    data: dict[str, Any] = yaml.safe_load(text)
    return data


@functools.lru_cache(maxsize=1)
def _messages() -> dict[str, tuple[re.Pattern[str], Mapping[str, Any]]]:
    return {key: (re.compile(x["pattern"]), x) for key, x in _data()["messages"].items()}


@functools.lru_cache(maxsize=1)
def _stages() -> re.Pattern[str]:
    return re.compile(_data()["stages"])

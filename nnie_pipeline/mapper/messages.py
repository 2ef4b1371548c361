"""nnie_mapper's words explained: `messages.yaml` beside this file."""

from __future__ import annotations

import bisect
import functools
import re
import signal
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import yaml

_LONGEST = 300
_MOST = 200
_UNKNOWN = "(not named)"


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
    """What a log of the mapper or a board says, errors first, then in its order.

    The same thing about the same layer stands once.
    """
    taken: list[tuple[int, int]] = []
    found: dict[tuple[str, str], tuple[int, Explanation]] = {}
    for key, (pattern, entry) in _messages().items():
        for match in pattern.finditer(log):
            after = bisect.bisect_left(taken, match.span())
            if any(
                match.start() < end and begin < match.end()
                for begin, end in taken[max(0, after - 1) : after + 1]
            ):
                continue
            taken.insert(after, match.span())
            made = _explanation(key, entry, match)
            earlier = found.get((key, made.cause))
            if earlier is not None:
                place, first = earlier
                again = {**asdict(first), "count": first.count + 1}
                found[key, made.cause] = (min(place, match.start()), Explanation(**again))
            elif len(found) < _MOST:
                found[key, made.cause] = (match.start(), made)
    # The mapper puts a line with the place in front of what it says; that says no more then.
    known = [x for x in found.values() if x[1].id != "other"]
    shown = [
        (place, x)
        for place, x in found.values()
        if x.id != "other" or not any(y.severity == "error" for _, y in known)
    ]
    return [x for _, x in sorted(shown, key=lambda y: (y[1].severity != "error", y[0]))]


def explain_end(status: int, stage: str | None) -> Explanation:
    """What an exit status other than 0 says; below 0 is a signal."""
    during = f"during {stage}" if stage else "before its first stage"
    if status == -signal.SIGSEGV:
        return Explanation(
            "crash", "error", "Segmentation fault", f"the mapper crashed {during}",
            "find the layer with nnie bisect; seen at optimising with yolov3 on mapper 1.1 and "
            "with MobileNet v2, where a later mapper may help",
            "rinetd; mobilenet-caffe-90",
        )  # fmt: skip
    if status == -signal.SIGKILL:
        return Explanation(
            "killed", "error", "Killed", f"something ended the mapper {during}, most often the "
            "system because memory ran out",
            "run it on a machine with more memory, or with log_level 0 and fewer pictures",
            "derived",
        )  # fmt: skip
    what = f"signal {-status}" if status < 0 else f"exit status {status}"
    return Explanation(
        "ended", "error", what, f"the mapper ended with {what} {during}",
        "read the end of its log", "derived",
    )  # fmt: skip


def stage_of(line: str) -> tuple[str, str] | None:
    """("begin" or "end", name) of a line that says so."""
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


def _explanation(key: str, entry: Mapping[str, str], match: re.Match[str]) -> Explanation:
    words = {x: (y or _UNKNOWN).strip()[:_LONGEST] for x, y in match.groupdict().items()}
    code = words.get("code", "").lower()
    words["meaning"] = _data()["codes"].get(code, f"code {code}")
    return Explanation(
        key, entry["severity"], " ".join(match.group().split())[:_LONGEST],
        entry["cause"].format(**words), entry["fix"].format(**words), entry["source"],
    )  # fmt: skip


@functools.lru_cache(maxsize=1)
def _data() -> dict[str, Any]:
    text = Path(__file__).with_name("messages.yaml").read_text(encoding="utf-8")
    data: dict[str, Any] = yaml.safe_load(text)
    return data


@functools.lru_cache(maxsize=1)
def _messages() -> dict[str, tuple[re.Pattern[str], Mapping[str, str]]]:
    return {key: (re.compile(x["pattern"]), x) for key, x in _data()["messages"].items()}


@functools.lru_cache(maxsize=1)
def _stages() -> re.Pattern[str]:
    return re.compile(_data()["stages"])

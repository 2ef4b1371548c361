"""The rules as they stand in `rules.yaml`."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

ANY = "any"
INPUT = "Input"
SEVERITIES = ("error", "warning", "hint")

_KEYS = frozenset(
    {"id", "severity", "types", "nnie", "cpu", "text", "limit", "absent", "follow", "message",
     "fix", "source", "known", "remedies", "remedy"}
)  # fmt: skip


@dataclass(frozen=True)
class Limit:
    """Quantities or parameter fields and what they may be; a `largest` that is a word is a
    limit of the chip or a formula."""

    of: tuple[str, ...]
    smallest: float | str | None = None
    largest: float | str | None = None
    one_of: tuple[Any, ...] | None = None


@dataclass(frozen=True)
class Rule:
    """One rule; `types` is empty for a rule on the whole network, `only` and `forbid` are the
    layer types that may and may not follow."""

    id: str
    severity: str
    types: tuple[str, ...]
    text: str
    fix: str
    source: str
    message: str = ""
    nnie: tuple[str, ...] = ()
    cpu: bool = False
    limit: Limit | None = None
    absent: tuple[str, ...] = ()
    forbid: tuple[str, ...] = ()
    only: tuple[str, ...] = ()
    known: frozenset[str] = frozenset()
    remedies: Mapping[str, str] = field(default_factory=dict)
    remedy: str = ""

    def concerns(self, layer_type: str) -> bool:
        """Whether the rule looks at layers of this type."""
        if layer_type in self.types:
            return True
        return ANY in self.types and layer_type != INPUT

    def holds_for(self, nnie: str) -> bool:
        """Whether the rule is one of this NNIE generation."""
        return not self.nnie or nnie in self.nnie


@functools.lru_cache(maxsize=1)
def rules() -> tuple[Rule, ...]:
    """All rules, in the order of the file."""
    return tuple(_rule(entry) for entry in _data()["rules"])


@functools.lru_cache(maxsize=1)
def sources() -> dict[str, str]:
    """What the short names in the rules' sources stand for."""
    return {key: str(value) for key, value in _data()["sources"].items()}


@functools.lru_cache(maxsize=1)
def _data() -> dict[str, Any]:
    text = Path(__file__).with_name("rules.yaml").read_text(encoding="utf-8")
    data: dict[str, Any] = yaml.safe_load(text)
    return data


def _rule(entry: dict[str, Any]) -> Rule:
    unknown = set(entry) - _KEYS
    if unknown or entry["severity"] not in SEVERITIES:
        raise ValueError(f"rule {entry['id']}: {', '.join(sorted(unknown)) or entry['severity']}")
    follow = entry.get("follow", {})
    return Rule(
        id=entry["id"],
        severity=entry["severity"],
        types=tuple(entry.get("types", ())),
        text=entry["text"],
        fix=entry["fix"],
        source=entry["source"],
        message=entry.get("message", ""),
        nnie=tuple(entry.get("nnie", ())),
        cpu=bool(entry.get("cpu", False)),
        limit=_limit(entry["limit"]) if "limit" in entry else None,
        absent=tuple(entry.get("absent", ())),
        forbid=tuple(follow.get("forbid", ())),
        only=tuple(follow.get("only", ())),
        known=frozenset(entry.get("known", ())),
        remedies=entry.get("remedies", {}),
        remedy=entry.get("remedy", ""),
    )


def _limit(entry: dict[str, Any]) -> Limit:
    of = entry["of"]
    return Limit(
        of=(of,) if isinstance(of, str) else tuple(of),
        smallest=entry.get("min"),
        largest=entry.get("max"),
        one_of=tuple(entry["one_of"]) if "one_of" in entry else None,
    )

"""The table of nnie_mapper's options: `mapper_cfg/options.yaml`."""

from __future__ import annotations

import functools
import math
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

import yaml

from nnie_pipeline.resources import data_folder

Kind = Literal["file", "list", "mean", "output", "integer", "number", "choice"]

PATHS = ("file", "list", "mean", "output")
"""The kinds of options that are paths."""

PREFERRED = {"instructions_name": "instruction_name"}
"""The guide's tables say instructions_name; its figures and all working files the other."""

UNUSED_MEANS = ("null", "ignore", "none")
"""What stands in mean_file where no means are read."""

_INTEGER = re.compile(r"[0-9]{1,9}")
_NUMBER = re.compile(r"[+-]?[0-9.]{1,400}(?:[eE][+-]?[0-9]{1,4})?")


@dataclass(frozen=True)
class Option:
    """One option; `group`: once for every input, `many`: as often as one likes.

    `values` are the legal ones with their meaning, `older` those of earlier mappers only,
    `nnie` the generations whose mappers know the option.
    """

    key: str
    kind: Kind
    meaning: str
    source: str
    values: Mapping[str, str] = field(default_factory=dict)
    older: Mapping[str, str] = field(default_factory=dict)
    low: float = 0.0
    high: float = math.inf
    open: bool = False
    longest: int = 4096
    default: str | None = None
    needed: bool = False
    group: bool = False
    many: bool = False
    nnie: tuple[str, ...] = ("1.1", "1.2")

    @property
    def range(self) -> str:
        """The legal values in words."""
        if self.kind == "choice":
            return ", ".join(self.values)
        if self.kind in ("integer", "number"):
            words = "above {} and below {}" if self.open else "{} to {}"
            return words.format(f"{self.low:.10g}", f"{self.high:.10g}")
        if self.kind == "output":
            return f"a path of at most {self.longest} characters"
        return "a path"

    def problem(self, value: str) -> str | None:
        """What is wrong with `value` by itself; None if nothing is."""
        if not value:
            return "has no value"
        if self.kind == "choice":
            return None if value in self.values else self._out_of_range(value)
        if self.kind == "integer":
            fits = _INTEGER.fullmatch(value) and self.low <= int(value) <= self.high
            return None if fits else self._out_of_range(value)
        if self.kind == "number":
            return None if self._number_fits(value) else self._out_of_range(value)
        if len(value) > self.longest:
            return f"is {len(value)} characters long; the mapper takes {self.longest}"
        return None

    def _number_fits(self, value: str) -> bool:
        if not _NUMBER.fullmatch(value):
            return False
        try:
            number = float(value)
        except ValueError:
            return False
        if self.open:
            return self.low < number < self.high
        return self.low <= number <= self.high

    def _out_of_range(self, value: str) -> str:
        return f"is {value[:60]}; it can be {self.range}"


@functools.lru_cache(maxsize=1)
def _table() -> dict[str, Any]:
    text = (data_folder("mapper_cfg") / "options.yaml").read_text(encoding="utf-8")
    table: dict[str, Any] = yaml.safe_load(text)
    return table


def sources() -> Mapping[str, str]:
    """What the table names as sources, by their short names."""
    found: dict[str, str] = _table()["sources"]
    return found


def undocumented() -> tuple[str, ...]:
    """Options that cfg files are seen with and no document describes."""
    return tuple(_table()["undocumented"])


@functools.lru_cache(maxsize=1)
def options() -> Mapping[str, Option]:
    """All options by their key, in the order of the table."""
    found = {}
    for key, given in _table()["options"].items():
        entry = dict(given)
        for table in ("values", "older"):
            entry[table] = {str(x): y for x, y in entry.get(table, {}).items()}
        entry["nnie"] = tuple(entry.get("nnie", ("1.1", "1.2")))
        found[key] = Option(key, **entry)
    return found


def grouped() -> tuple[str, ...]:
    """The options that are repeated for every input."""
    return tuple(key for key, option in options().items() if option.group)

"""The chips: NNIE generation, mapper, cores and limits, read from `chips.yaml`."""

from __future__ import annotations

import difflib
import functools
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from nnie_pipeline.errors import InputError

DEFAULT_CHIP = "hi3516dv300"


@dataclass(frozen=True)
class Chip:
    """One chip.

    `nnie` is the generation of its NNIE ("1.1" or "1.2"), `tops` its 8-bit tera-operations
    a second over all `cores`, `limits` what the rules name. The sources of all values stand
    in `chips.yaml`.
    """

    name: str
    nnie: str
    mapper: str
    cores: int
    tops: float
    limits: Mapping[str, int]


def chip_names() -> list[str]:
    """The names of all chips, in the order of the file."""
    return list(_chips())


def find_chip(name: str) -> Chip:
    """The chip called `name`; upper and lower case are the same.

    Raises:
        InputError: there is none; names the known ones, the nearest first.
    """
    chips = _chips()
    wanted = name.strip().lower()
    if wanted not in chips:
        order = sorted(chips, key=lambda x: -difflib.SequenceMatcher(a=wanted, b=x).ratio())
        raise InputError(f"the chip {name!r} is not known; write one of {', '.join(order)}")
    return chips[wanted]


def chip_data() -> dict[str, Any]:
    """The chips as they stand in the file, with the source of every value."""
    chips: dict[str, Any] = _data()["chips"]
    return chips


def chip_sources() -> dict[str, str]:
    """What the short names of the sources stand for."""
    return {key: str(value) for key, value in _data()["sources"].items()}


@functools.lru_cache(maxsize=1)
def _data() -> dict[str, Any]:
    text = Path(__file__).with_name("chips.yaml").read_text(encoding="utf-8")
    data: dict[str, Any] = yaml.safe_load(text)
    return data


@functools.lru_cache(maxsize=1)
def _chips() -> dict[str, Chip]:
    return {name: _chip(name, entry) for name, entry in chip_data().items()}


def _chip(name: str, entry: dict[str, Any]) -> Chip:
    limits = {key: int(limit["value"]) for key, limit in entry["limits"].items()}
    return Chip(
        name, entry["nnie"], entry["mapper"], int(entry["cores"]), float(entry["tops"]), limits
    )

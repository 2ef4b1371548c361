"""The cfg files of nnie_mapper."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any

from nnie_pipeline.report.build import Build, Missing, MissingError
from nnie_pipeline.report.texts import Texts

_OPTION = re.compile(r"^\[(\w+)\][ \t]*(.*?)[ \t]*$", re.MULTILINE)
_PRECISIONS = {"0": "eight", "1": "sixteen", "2": "mixed"}
_TARGETS = {"0": "inst", "1": "func"}


@dataclass(frozen=True)
class CfgFile:
    """A cfg file, and in words what it compiles for."""

    name: str
    target: str
    precision: str
    result: str
    text: str


def context(build: Build, t: Texts) -> dict[str, Any]:
    """Every cfg file of the mapper folder."""
    names = sorted(x.name for x in (build.folder / "mapper").glob("*.cfg"))
    if not names:
        raise MissingError(Missing("mapper/*.cfg", "cfg"))
    return {"cfgs": [_cfg(name, build.text(f"mapper/{name}") or "", t) for name in names]}


def _cfg(name: str, text: str, t: Texts) -> CfgFile:
    options = dict(_OPTION.findall(text))
    target = _TARGETS.get(options.get("is_simulation", ""), "unknown")
    precision = _PRECISIONS.get(options.get("compile_mode", ""), "unknown")
    result = options.get("instruction_name", "").removeprefix("./")
    return CfgFile(
        name, t(f"mapper.{target}"), t(f"mapper.{precision}"), result and f"{result}.wk", text
    )

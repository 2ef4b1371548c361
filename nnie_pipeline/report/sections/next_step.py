"""The commands that the reader runs next, out of the mapper folder's README.txt."""

from __future__ import annotations

import re
from itertools import groupby
from typing import Any

from nnie_pipeline.report.build import Build, Missing, MissingError
from nnie_pipeline.report.texts import Texts

README = "mapper/README.txt"
_COMMAND = re.compile(r"^ {4}(nnie_mapper\S* .+)$", re.MULTILINE)


def context(build: Build, t: Texts) -> dict[str, Any]:
    """The README and the commands in it."""
    readme = build.text(README)
    if readme is None:
        raise MissingError(Missing(README, "cfg"))
    commands = groupby(_COMMAND.findall(readme), _kind)
    return {"readme": readme, "commands": [(kind, list(group)) for kind, group in commands]}


def _kind(command: str) -> str:
    """What a command compiles for, by the name of its cfg file."""
    return next((x for x in ("func", "inst") if f"_{x}_" in command), "")

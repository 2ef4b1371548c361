"""The runs of the mapper that cfg files are written for, and their commands."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from nnie_pipeline.chips.chip import find_chip


@dataclass(frozen=True)
class Run:
    """One run of the mapper; `kind` is what its cfg and its .wk are called after the name."""

    kind: str
    compile_mode: int
    is_simulation: int
    log_level: int


RUNS = (
    Run("func_8bit", 0, 1, 3),
    Run("func_16bit", 1, 1, 3),
    Run("inst_8bit", 0, 0, 0),
    Run("inst_16bit", 1, 0, 0),
)
"""Functional simulation first: it is made faster and finds what the chip run would find.
Only log_level 3 writes the mapper_quant dumps; it is slow, so the chip runs go without."""

MIXED_RUNS = (Run("func_mixed", 2, 1, 3), Run("inst_mixed", 2, 0, 0))
"""Layers named `*_hp` with 16 bits, the others with 8."""


def mapper_commands(folder: Path, name: str, chip: str) -> list[str]:
    """The commands to run inside `folder` on the mapper's machine, for the cfg files in it."""
    program = find_chip(chip).mapper
    runs = [x for x in (*RUNS, *MIXED_RUNS) if (folder / f"{name}_{x.kind}.cfg").is_file()]
    return [command(program, name, x) for x in runs]


def command(program: str, name: str, run: Run) -> str:
    """The command of one run; what it dumps is moved to a folder of its own."""
    stem = f"{name}_{run.kind}"
    command = f"{program} {stem}.cfg"
    if run.log_level == 3:
        dump = f"dump_{stem}"
        command += f" && rm -rf {dump} && mkdir {dump} && mv mapper_quant {dump}/"
    return command

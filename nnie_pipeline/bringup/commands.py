"""What to type to run the kit of a build on a board."""

from __future__ import annotations

import shlex
from pathlib import Path


def kit_name(name: str, size: tuple[int, int]) -> str:
    """The folder inside the archive, for a model at (height, width)."""
    return f"{name}-{size[0]}x{size[1]}-bringup"


def board_commands(
    name: str, size: tuple[int, int], build: Path, folder: Path | None = None
) -> list[str]:
    """The commands on the host, from the archive to the verdict, for the 16 bit network.

    BOARD stands for the board's address; the sample program of the SDK lies in its home folder.
    `folder` is the kit's, where it is not `bringup` in the build. What an earlier run left on the
    host goes first, because its files may have other layer numbers.
    """
    kit = build / "bringup" if folder is None else folder
    archive = kit.with_name(f"{kit.name}.tar.gz")
    pulled = kit.with_name(f"{kit.name}-pulled")
    wk = f"{name}_inst_16bit.wk"
    inside = kit_name(name, size)
    script = f"sh {inside}/run_on_board.sh ./sample_nnie_main {wk}"
    parts = f"{inside}/inputs {inside}/run_on_board.sh"  # all of it is ten times as large
    run = f"tar xzf {shlex.quote(archive.name)} {parts} && {script}"
    return [
        f"scp {_word(archive)} {_word(build / 'mapper' / wk)} root@BOARD:",
        f"ssh root@BOARD {shlex.quote(run)}",
        f"rm -rf {_word(pulled)} && scp -r root@BOARD:{inside}/pulled {_word(pulled)}",
        f"python3 {_word(kit / 'check.py')} {_word(pulled)}",
    ]


def board_notes(name: str) -> list[str]:
    """What the commands do not say."""
    return [
        "BOARD is the board's address; the SDK's sample_nnie_main lies in its home folder",
        f"then the same with {name}_inst_8bit.wk; the kit's CHECKLIST.en.md has the rest",
    ]


def _word(path: Path) -> str:
    return shlex.quote(str(path))

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
    `folder` is the kit's, where it is not `bringup` in the build.
    """
    kit = build / "bringup" if folder is None else folder
    archive = kit.with_name(f"{kit.name}.tar.gz")
    wk = f"{name}_inst_16bit.wk"
    inside = kit_name(name, size)
    pulled = kit.with_name("pulled")
    return [
        f"scp {_word(archive)} {_word(build / 'mapper' / wk)} root@BOARD:",
        f"ssh root@BOARD 'tar xzf {shlex.quote(archive.name)} && sh {inside}/run_on_board.sh "
        f"./sample_nnie_main {wk}'",
        f"scp -r root@BOARD:{inside}/pulled {_word(kit.parent)}",
        f"python3 {_word(kit / 'check.py')} {_word(pulled)}",
    ]


def _word(path: Path) -> str:
    return shlex.quote(str(path))

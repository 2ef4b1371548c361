"""`nnie bringup`: the kit that goes to the board."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from nnie_pipeline.cli.common import console, reported


@reported
def command(
    build: Annotated[Path, typer.Argument(help="the folder that nnie run wrote")],
    out: Annotated[
        Path | None, typer.Option(help="folder for the kit (default: bringup in the build)")
    ] = None,
    count: Annotated[
        int, typer.Option(help="how many pictures of the calibration set, from its end")
    ] = 3,
) -> None:
    """Write the kit for the board, a folder and a .tar.gz: inputs, golden outputs, C, check.py."""
    from nnie_pipeline.bringup.commands import board_commands, board_notes
    from nnie_pipeline.cli.progress import progress_bar
    from nnie_pipeline.stages.bringup import write_kit

    say = partial(console().print, markup=False)
    with progress_bar("inputs") as progress:
        kit = write_kit(build, out, count, progress)
    said = f"{len(kit.pictures)} inputs with {kit.outputs} outputs in float, 16 and 8 bit"
    say(f"{said}: {kit.folder}, {kit.archive.name}")
    say(f"with the .wk of nnie_mapper in {build / 'mapper'}:")
    for line in [*board_commands(kit.name, kit.size, build, kit.folder), *board_notes(kit.name)]:
        say(f"  {line}")

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
    if not kit.decoder:
        say("no nnie_decoder.c: the model's spec names no head")
    for run, names in kit.blurred.items():
        if names:
            few = run != "16bit"
            outputs = ", ".join(
                f"{x} ({y} of {len(kit.pictures)} inputs)" for x, y in names.items()
            )
            say(
                f"{run.replace('bit', ' bit')} blurs outputs so far that check.py cannot compare "
                f"them with the board's: {outputs}; remedy: {'16 bit, ' if few else ''}more "
                f"calibration pictures{' or nnie mixed' if few else ''}"
            )
    say(f"with the .wk of nnie_mapper in {build / 'mapper'}:")
    for line in [*board_commands(kit.name, kit.size, build, kit.folder), *board_notes(kit.name)]:
        say(f"  {line}")

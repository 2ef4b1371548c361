"""`nnie mixed`: the fewest 16-bit layers that reach a cosine within a slowdown."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from nnie_pipeline.cli.common import console, reported


@reported
def command(
    net: Annotated[
        Path, typer.Argument(help="an NNIE-ready prototxt, or the folder that nnie run made")
    ],
    caffemodel: Annotated[Path | None, typer.Argument(help="the prototxt's weights")] = None,
    calibration: Annotated[
        Path | None, typer.Option(help="folder written by nnie calibrate; default: the build's")
    ] = None,
    out: Annotated[
        Path | None,
        typer.Option(help="folder for the marked network and its cfg files; default: BUILD/mixed"),
    ] = None,
    target_cosine: Annotated[
        float, typer.Option(help="what every output's cosine with float has to reach")
    ] = 0.99,
    max_slowdown: Annotated[
        float, typer.Option(help="estimated time over that of 8 bit, 1 to 2")
    ] = 1.3,
    chip: Annotated[
        str | None, typer.Option(help="the chip it is for; default: the build's, or hi3516dv300")
    ] = None,
    pictures: Annotated[int, typer.Option(help="pictures to simulate, spread over the set")] = 4,
    ranges: Annotated[Path | None, typer.Option(help="ranges.json instead of calibrating")] = None,
    name: Annotated[str | None, typer.Option(help="name of the files, ASCII")] = None,
    jobs: Annotated[int, typer.Option(help="processes")] = 1,
    scheduler: Annotated[
        str | None, typer.Option(help="address of a Dask scheduler to use instead: tcp://host:8786")
    ] = None,
    assume: Annotated[
        list[str] | None, typer.Option(help="NAME=VALUE, see docs/simulation.md; repeatable")
    ] = None,
) -> None:
    """Mark the layers that need 16 bits; ends with 1 when the target cannot be reached."""
    from nnie_pipeline.calibration.sets import ascii_name
    from nnie_pipeline.chips.chip import find_chip
    from nnie_pipeline.cli.progress import progress_bar
    from nnie_pipeline.cli.studies import opened_study, place_of
    from nnie_pipeline.errors import CheckError
    from nnie_pipeline.sensitivity.study import measure
    from nnie_pipeline.stages.sensitivity import write_mixed

    opened = opened_study(
        net, caffemodel, calibration, out, "mixed", 8, pictures, ranges, assume or ()
    )
    wanted = find_chip(chip or opened.subject.chip)
    study, chosen = opened.study, opened.pictures
    with place_of(jobs, scheduler) as place:
        with progress_bar("layers") as progress:
            found = measure(study, chosen.feeds(), chosen.count, place, progress)
        with progress_bar("simulations") as progress:
            done = write_mixed(
                study, found, chosen, wanted, target_cosine, max_slowdown, opened.calibration,
                name or ascii_name(opened.subject.name), opened.out, place, progress,
            )  # fmt: skip
    say = partial(console().print, markup=False)
    say("16-bit layers, least cosine of the outputs, estimated slowdown:")
    for mix in done.plan.curve:
        mark = "  <- written" if mix.layers == done.plan.chosen.layers else ""
        say(f"  {len(mix.layers):4}  {mix.cosine:.5f}  {mix.slowdown:.2f}{mark}")
    say(f"marked _hp: {', '.join(done.layers) or 'none'}")
    say(f"from the written files: {done.verified:.5f}; {opened.out}, inside mapper/ run:")
    commands = done.mapper.commands
    for line in [x for x in commands if "_mixed.cfg" in x] or commands:
        say(f"  {line}")
    if not done.plan.met:
        best = done.plan.chosen
        full = max(done.plan.curve, key=lambda x: len(x.layers))
        raise CheckError(
            f"no set of 16-bit layers within {max_slowdown:g} times the 8-bit time reaches cosine "
            f"{target_cosine:g}: {len(best.layers)} layers reach {best.cosine:.5f} at "
            f"{best.slowdown:.2f}, all in 16 bit {full.cosine:.5f} at {full.slowdown:.2f}; "
            f"the best is in {opened.out}"
        )

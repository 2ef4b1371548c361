"""`nnie sensitivity`: what each layer's numbers cost the outputs."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from nnie_pipeline.cli.common import console, reported


@reported
def command(
    net: Annotated[Path, typer.Argument(help="a prototxt, or the folder that nnie run made")],
    caffemodel: Annotated[Path | None, typer.Argument(help="the prototxt's weights")] = None,
    calibration: Annotated[
        Path | None, typer.Option(help="folder written by nnie calibrate; default: the build's")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="folder for sensitivity.json; default: BUILD/sensitivity")
    ] = None,
    bits: Annotated[int, typer.Option(help="8 or 16")] = 8,
    pictures: Annotated[int, typer.Option(help="pictures to study, spread over the set")] = 4,
    ranges: Annotated[Path | None, typer.Option(help="ranges.json instead of calibrating")] = None,
    jobs: Annotated[int, typer.Option(help="processes")] = 1,
    scheduler: Annotated[
        str | None, typer.Option(help="address of a Dask scheduler to use instead: tcp://host:8786")
    ] = None,
    assume: Annotated[
        list[str] | None, typer.Option(help="NAME=VALUE, see docs/simulation.md; repeatable")
    ] = None,
) -> None:
    """Quantise one layer at a time and all but one; the error of the outputs for each."""
    from nnie_pipeline.cli.progress import progress_bar
    from nnie_pipeline.cli.studies import opened_study, place_of
    from nnie_pipeline.files import added_files, to_json
    from nnie_pipeline.sensitivity.study import measure, ranked
    from nnie_pipeline.stages.sensitivity import SENSITIVITY

    opened = opened_study(
        net, caffemodel, calibration, out, "sensitivity", bits, pictures, ranges, assume or ()
    )
    with place_of(jobs, scheduler) as place, progress_bar("layers") as progress:
        found = measure(
            opened.study, opened.pictures.feeds(), opened.pictures.count, place, progress
        )
    with added_files(opened.out, keep=[] if ranges is None else [ranges]) as folder:
        (folder / SENSITIVITY).write_text(to_json(found.to_json()), encoding="utf-8")
        text = to_json(opened.study.ranges.to_json())
        (folder / "ranges.json").write_text(text, encoding="utf-8")
    say = partial(console().print, markup=False)
    say(
        f"all layers in {bits} bit: 1 - cosine of the worst output {found.everything.error:.2e}, "
        f"{found.everything.sqnr_db:.1f} dB"
    )
    say("1 - cosine with this layer alone, and with all but this layer:")
    for layer in ranked(found.layers)[:10]:
        say(f"  {layer.name:<32} {layer.only.error:.2e}  {layer.without.error:.2e}")
    say(
        f"{len(found.layers)} layers with numbers of their own, of the network's "
        f"{len(opened.study.net.layers)}, on {found.pictures} pictures: {found.passes:.1f} forward "
        f"passes of all {len(opened.study.net.layers)} a picture: {opened.out / SENSITIVITY}"
    )

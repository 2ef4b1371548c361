"""`nnie simulate`: every layer's output in NNIE's number format."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from nnie_pipeline.cli.common import console, existing_file, reported


@reported
def command(
    prototxt: Annotated[Path, typer.Argument(help="the network")],
    caffemodel: Annotated[Path, typer.Argument(help="its weights")],
    bits: Annotated[str, typer.Option(help="8, 16, or mixed: 16 for layers named *_hp")],
    out: Annotated[Path, typer.Option(help="folder for the dump")],
    input_file: Annotated[
        Path | None, typer.Option("--input", help="float32 N x C x H x W .npy, after preprocessing")
    ] = None,
    calibration: Annotated[
        Path | None,
        typer.Option(help="folder of nnie calibrate: ranges from all its pictures, input the last"),
    ] = None,
    ranges: Annotated[
        Path | None, typer.Option(help="ranges.json; without it the input calibrates itself")
    ] = None,
    clip: Annotated[
        float | None, typer.Option(help="ranges that cover this percentile of the values: 99.99")
    ] = None,
    clip_table: Annotated[
        Path | None, typer.Option(help="clip values to import: a gfpq_param_file")
    ] = None,
    assume: Annotated[
        list[str] | None, typer.Option(help="NAME=VALUE, see docs/simulation.md; repeatable")
    ] = None,
) -> None:
    """Run the network with NNIE's 8 or 16 bit numbers and dump every blob."""
    from nnie_pipeline.caffe.files import read_net
    from nnie_pipeline.cli.progress import progress_bar
    from nnie_pipeline.errors import InputError
    from nnie_pipeline.files import added_files, read_json, to_json
    from nnie_pipeline.quant.assumptions import parse_assumptions
    from nnie_pipeline.quant.ranges import Ranges
    from nnie_pipeline.quant.widths import parse_bits
    from nnie_pipeline.stages.alternatives import FILE, compare_ranges
    from nnie_pipeline.stages.dump import dump_simulated
    from nnie_pipeline.stages.inputs import calibrated, chosen_input

    width = parse_bits(bits)
    switches = parse_assumptions(assume or ())
    if ranges is not None and clip is not None:
        raise InputError("--ranges holds finished ranges; --clip needs pictures: leave one out")
    net = read_net(existing_file(prototxt, "prototxt"), existing_file(caffemodel, "caffemodel"))
    feed = chosen_input(net, input_file, calibration)
    say = partial(console().print, markup=False)
    table = None if clip_table is None else read_json(clip_table, "a clip table")
    if ranges is not None:
        existing_file(ranges, "ranges file")
        given = Ranges.from_json(read_json(ranges, "a ranges file"), str(ranges))
    else:
        given = None
        if calibration is None:
            say("no --ranges given: the input is its own calibration")
    with progress_bar("ranges") as progress:
        choices = calibrated(net, feed, calibration, given, clip, table, str(clip_table), progress)
    keep = [x for x in (input_file, ranges, clip_table) if x is not None]
    with added_files(out, keep=keep) as folder:
        dump_simulated(net, feed, width, choices[-1], folder, switches)
        (folder / "ranges.json").write_text(to_json(choices[-1].to_json()), encoding="utf-8")
        if len(choices) > 1:
            compared = compare_ranges(net, feed, choices, width, switches)
            (folder / FILE).write_text(to_json(compared), encoding="utf-8")
            for rule, cosine in compared["outputs"].items():
                say(f"ranges by {rule}: least cosine of the outputs {cosine:.5f}")
    if switches.changed():
        say(f"assumed: {', '.join(f'{k}={v}' for k, v in switches.changed().items())}")
    said = f"{width} bit" if isinstance(width, int) else "8 and 16 bit"
    say(f"{len(net.layers)} layers in {said}: {out}")

"""`nnie simulate`: every layer's output in NNIE's number format."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nnie_pipeline.cli.common import console, existing_file, reported


@reported
def command(
    prototxt: Annotated[Path, typer.Argument(help="the network")],
    caffemodel: Annotated[Path, typer.Argument(help="its weights")],
    input_file: Annotated[
        Path, typer.Option("--input", help="float32 N x C x H x W .npy, after preprocessing")
    ],
    bits: Annotated[int, typer.Option(help="8 or 16")],
    out: Annotated[Path, typer.Option(help="folder for the dump")],
    ranges: Annotated[
        Path | None, typer.Option(help="ranges.json; without it the input calibrates itself")
    ] = None,
) -> None:
    """Run the network with NNIE's 8 or 16 bit numbers and dump every blob."""
    from nnie_pipeline.caffe.files import read_net
    from nnie_pipeline.errors import InputError
    from nnie_pipeline.files import added_files, read_json, to_json
    from nnie_pipeline.quant.ranges import WIDTHS, Ranges
    from nnie_pipeline.stages.dump import dump_simulated, read_input, record_ranges

    if bits not in WIDTHS:
        raise InputError(f"--bits {bits}: NNIE computes with 8 or 16 bits")
    net = read_net(existing_file(prototxt, "prototxt"), existing_file(caffemodel, "caffemodel"))
    feed = read_input(existing_file(input_file, "input"), net)
    say = console()
    if ranges is None:
        say.print("no --ranges given: the input is its own calibration")
        found = record_ranges(net, [feed])
    else:
        existing_file(ranges, "ranges file")
        found = Ranges.from_json(read_json(ranges, "a ranges file"), str(ranges))
    with added_files(out, keep=[input_file]) as folder:
        dump_simulated(net, feed, bits, found, folder)
        (folder / "ranges.json").write_text(to_json(found.to_json()), encoding="utf-8")
    say.print(f"{len(net.layers)} layers in {bits} bit: {out}", markup=False)

"""`nnie export-onnx`: a Caffe network as ONNX."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nnie_pipeline.cli.common import console, existing_file, parse_size, reported


@reported
def command(
    prototxt: Annotated[Path, typer.Argument(help="the network")],
    caffemodel: Annotated[Path, typer.Argument(help="its weights")],
    out: Annotated[Path, typer.Option(help="the ONNX file to write")],
    size: Annotated[str | None, typer.Option(help="640 or 480x640 (height x width)")] = None,
    all_layers: Annotated[
        bool, typer.Option("--all-layers", help="make every layer's top an output")
    ] = False,
) -> None:
    """Write a Caffe network as ONNX, with Caffe's own rounding and borders."""
    from nnie_pipeline.errors import InputError
    from nnie_pipeline.stages.export_onnx import export_onnx

    existing_file(prototxt, "prototxt")
    existing_file(caffemodel, "caffemodel")
    if out.suffix != ".onnx":
        raise InputError(f"--out {out}: name a file that ends in .onnx")
    chosen = None if size is None else parse_size(size)
    net, outputs = export_onnx(prototxt, caffemodel, out, chosen, all_layers)
    say = console()
    inputs = ", ".join(f"{k} {'x'.join(map(str, v))}" for k, v in net.inputs.items())
    say.print(
        f"{len(net.layers)} layers, input {inputs}, {len(outputs)} outputs: {out}", markup=False
    )
    say.print(f"next: nnie inspect {out}", markup=False)

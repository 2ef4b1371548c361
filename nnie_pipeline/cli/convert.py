"""`nnie convert`: ONNX to Caffe, verified."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from nnie_pipeline.cli.common import console, existing_file, names_of, parse_size, reported


@reported
def command(
    model: Annotated[Path, typer.Argument(help="the ONNX file")],
    out: Annotated[Path, typer.Option(help="folder for STEM.prototxt and STEM.caffemodel")],
    size: Annotated[str | None, typer.Option(help="640 or 480x640 (height x width)")] = None,
    outputs: Annotated[
        str | None, typer.Option(help="tensors to keep, in order, with commas between")
    ] = None,
    cut: Annotated[
        bool, typer.Option("--cut", help="end the network where NNIE's layers end, and say why")
    ] = False,
) -> None:
    """Convert an ONNX model to Caffe; every kept output is compared with onnxruntime's."""
    from nnie_pipeline.errors import InputError
    from nnie_pipeline.files import added_files
    from nnie_pipeline.stages.convert import convert_files
    from nnie_pipeline.stages.probe import default_probe

    existing_file(model, "ONNX model")
    chosen = None if size is None else parse_size(size)
    kept = names_of(outputs, "--outputs")
    if cut and kept:
        raise InputError("--cut and --outputs exclude each other; --cut finds the outputs")
    with added_files(out, keep=[model]) as folder:
        done = convert_files(model, model.stem, folder, chosen, kept, default_probe(), cut)
    say = console()
    for line in done.lines():
        say.print(line, markup=False)
    say.print(f"{done.layers} layers, {len(done.outputs)} outputs: {out / done.prototxt.name}")
    say.print(
        f"equal to onnxruntime within {max(done.errors.values()):.1e} of each output's maximum "
        f"on {done.picture}",
        markup=False,
    )
    say.print(
        f"next: nnie rewrite {out / done.prototxt.name} {out / done.caffemodel.name} --out DIR"
    )

"""`nnie dump`: every layer's output of the float network."""

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
    out: Annotated[Path, typer.Option(help="folder for the dump")],
    engine: Annotated[
        str, typer.Option(help="what runs the network: onnxruntime or pycaffe")
    ] = "onnxruntime",
) -> None:
    """Write every blob of the float network as .npy, with dump.json in execution order."""
    from nnie_pipeline.caffe.files import read_net
    from nnie_pipeline.engine.choice import check_engine
    from nnie_pipeline.files import added_files
    from nnie_pipeline.stages.dump import dump_float, read_input

    check_engine(engine)
    net = read_net(existing_file(prototxt, "prototxt"), existing_file(caffemodel, "caffemodel"))
    feed = read_input(existing_file(input_file, "input"), net)
    with added_files(out, keep=[input_file]) as folder:
        dump_float(net, feed, folder, engine)
    console().print(f"{len(net.layers)} layers of the float network: {out}", markup=False)

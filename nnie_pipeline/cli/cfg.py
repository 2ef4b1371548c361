"""`nnie cfg`: the folder with everything nnie_mapper needs."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from nnie_pipeline.cli.common import console, existing_file, reported
from nnie_pipeline.errors import InputError


@reported
def command(
    prototxt: Annotated[Path, typer.Argument(help="NNIE-ready network (.prototxt)")],
    caffemodel: Annotated[Path, typer.Argument(help="its weights (.caffemodel)")],
    calibration: Annotated[Path, typer.Option(help="folder written by nnie calibrate")],
    out: Annotated[Path, typer.Option(help="folder for network, pictures and cfg files")],
    name: Annotated[str | None, typer.Option(help="name of the files, ASCII")] = None,
) -> None:
    """Write cfg files for 8 and 16 bit, chip and functional simulation."""
    from nnie_pipeline.cli.progress import progress_bar
    from nnie_pipeline.mapper.folder import write_mapper_folder

    existing_file(prototxt, "network")
    existing_file(caffemodel, "weights")
    with progress_bar("pictures") as progress:
        result = write_mapper_folder(prototxt, caffemodel, calibration, out, name, progress)
    say = partial(console().print, markup=False)
    say(f"{out}: copy it to the mapper's machine and run there, inside it (README.txt):")
    for line in result.commands:
        say(f"  {line}")
    say(_expected(prototxt, caffemodel))


def _expected(prototxt: Path, caffemodel: Path) -> str:
    """How large the parameters of the `.wk` will be, or why that cannot be told."""
    from nnie_pipeline.caffe.files import read_net
    from nnie_pipeline.wk.size import expected_size

    try:
        net = read_net(prototxt, caffemodel)
        sizes = {x: expected_size(net, x) for x in (8, 16)}
    except InputError as error:
        return f"how large the .wk will be is not known: {error}"
    text = " and ".join(f"{size.parameters:,} bytes at {x} bits" for x, size in sizes.items())
    rest = dict.fromkeys(y for x in sizes.values() for y in x.not_counted)
    left_out = f"; not counted: {'; '.join(rest)}" if rest else ""
    return f"parameters in the .wk will take {text}; instructions come on top{left_out}"

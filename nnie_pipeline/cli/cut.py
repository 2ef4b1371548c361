"""`nnie cut`: a part of a network, ready for the mapper and for a comparison."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from nnie_pipeline.cli.common import console, names_of, reported


@reported
def command(
    net: Annotated[Path, typer.Argument(help="prototxt, or the build folder of nnie run")],
    caffemodel: Annotated[
        Path | None, typer.Argument(help="its weights; a build folder has them")
    ] = None,
    to: Annotated[
        str | None, typer.Option(help="the last layer, or several with commas between")
    ] = None,
    since: Annotated[str | None, typer.Option("--from", help="the first layer")] = None,
    out: Annotated[
        Path | None, typer.Option(help="folder for the part; a build has cut/ for it")
    ] = None,
    input_file: Annotated[
        Path | None, typer.Option("--input", help="float32 N x C x H x W .npy of the whole network")
    ] = None,
    calibration: Annotated[
        Path | None, typer.Option(help="folder of nnie calibrate; a build has its own")
    ] = None,
    pictures: Annotated[
        int, typer.Option(help="how many of the set's last pictures, a tensor each")
    ] = 1,
    chip: Annotated[str | None, typer.Option(help="the chip whose mapper runs")] = None,
) -> None:
    """Cut a part out of a network: prototxt, weights, inputs as text, cfg files and dumps."""
    from nnie_pipeline.caffe.files import read_net
    from nnie_pipeline.caffe.sub_network import between
    from nnie_pipeline.calibration.sets import ascii_name
    from nnie_pipeline.chips.chip import find_chip
    from nnie_pipeline.errors import InputError
    from nnie_pipeline.files import added_files
    from nnie_pipeline.stages.cut import cut_files
    from nnie_pipeline.stages.subject import feeds_for, open_subject

    last = names_of(to, "--to") or []
    if not last and since is None:
        raise InputError("nothing to cut: give --to LAYER, --from LAYER or both")
    if pictures < 1:
        raise InputError(f"--pictures {pictures}: write 1 or more")
    subject = open_subject(net, caffemodel)
    part_name = "-".join(ascii_name(x) for x in ([f"from_{since}"] if since else []) + last)[:60]
    if out is None:
        if subject.build is None:
            raise InputError("give --out FOLDER for the part")
        out = subject.build / "cut" / part_name
    if out.resolve() == subject.prototxt.resolve().parent:
        raise InputError(f"--out {out} holds the network itself; choose another folder")
    target = find_chip(chip or subject.chip)
    whole = read_net(subject.prototxt, subject.caffemodel)
    part = between(whole, last, since)
    feeds = feeds_for(whole, subject, input_file, calibration, pictures)
    with added_files(out) as folder:
        done = cut_files(whole, part, feeds, folder, ascii_name(subject.name), target.name)
    say = partial(console().print, markup=False)
    say(f"{len(done.net.layers)} of {len(whole.layers)} layers: {out}")
    for kind, blobs in (("input", list(done.net.inputs)), ("output", done.net.outputs)):
        say(f"{kind}{'s' if len(blobs) > 1 else ''}: {', '.join(blobs)}")
    say(f"next: {target.mapper} there as {out / 'mapper' / 'README.txt'} says, or: nnie map {out}")
    first = done.mapper.runs[0]
    say(f"then: nnie compare {out / 'simulate' / '8'} {out / 'mapped' / first / 'mapper_quant'}")

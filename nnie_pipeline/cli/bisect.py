"""`nnie bisect`: the first layer that makes the mapper fail."""

from __future__ import annotations

import os
import shlex
from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from nnie_pipeline.cli.common import console, fail, reported


@reported
def command(
    net: Annotated[Path, typer.Argument(help="prototxt, or the build folder of nnie run")],
    caffemodel: Annotated[
        Path | None, typer.Argument(help="its weights; a build folder has them")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="folder for the parts; a build has bisect/ for them")
    ] = None,
    input_file: Annotated[
        Path | None, typer.Option("--input", help="float32 N x C x H x W .npy of the network")
    ] = None,
    calibration: Annotated[
        Path | None, typer.Option(help="folder of nnie calibrate; a build has its own")
    ] = None,
    pictures: Annotated[int, typer.Option(help="how many of the set's last pictures")] = 1,
    bits: Annotated[str, typer.Option(help="8 or 16")] = "8",
    min_cosine: Annotated[
        float, typer.Option(help="a dump holds when no layer's cosine lies below")
    ] = 0.99,
    after: Annotated[str | None, typer.Option(help="a layer up to which all is well")] = None,
    until: Annotated[str | None, typer.Option(help="a layer up to which it fails")] = None,
    mapper: Annotated[
        str | None, typer.Option(help="the mapper or its folder; else the variable NNIE_MAPPER")
    ] = None,
    docker: Annotated[
        str | None, typer.Option(help="a docker image with it; else NNIE_MAPPER_IMAGE")
    ] = None,
    timeout: Annotated[
        float | None, typer.Option(help="seconds after which a run is ended")
    ] = None,
    count: Annotated[int, typer.Option(help="without a mapper: how many parts to write")] = 15,
    chip: Annotated[str | None, typer.Option(help="the chip whose mapper runs")] = None,
) -> None:
    """Halve a network to the layer that makes the mapper fail; without a mapper, prepare that."""
    from nnie_pipeline.caffe.files import read_net
    from nnie_pipeline.calibration.sets import ascii_name
    from nnie_pipeline.chips.chip import find_chip
    from nnie_pipeline.errors import InputError
    from nnie_pipeline.mapper.program import find_program
    from nnie_pipeline.quant.widths import Bits
    from nnie_pipeline.stages.bisect import CHECKLIST, bisect, mapper_holds, parts_of, write_set
    from nnie_pipeline.stages.subject import feeds_for, open_subject

    width: Bits = 8 if bits == "8" else 16
    if bits not in ("8", "16"):
        raise InputError(f"--bits {bits}: write 8 or 16")
    if count < 1 or pictures < 1:
        raise InputError("--count and --pictures: write 1 or more")
    if not -1 <= min_cosine <= 1:
        raise InputError(f"--min-cosine {min_cosine:g}: a cosine lies between -1 and 1; try 0.99")
    subject = open_subject(net, caffemodel)
    if out is None:
        if subject.build is None:
            raise InputError("give --out FOLDER for the parts")
        out = subject.build / "bisect"
    target = find_chip(chip or subject.chip)
    whole = read_net(subject.prototxt, subject.caffemodel)
    feeds = list(feeds_for(whole, subject, input_file, calibration, pictures))
    name = ascii_name(subject.name)
    parts = parts_of(whole, feeds, out, name, target.name, width, after, until)
    say = partial(console().print, markup=False)
    try:
        program = find_program(target.mapper, mapper, docker, os.environ)
    except InputError:
        if mapper or docker or os.environ.get("NNIE_MAPPER") or os.environ.get("NNIE_MAPPER_IMAGE"):
            raise
        words = ["nnie", "bisect", net, *([caffemodel] if caffemodel else []), "--out", out]
        for option, value in (("--input", input_file), ("--calibration", calibration)):
            words += [option, value] if value else []
        words += ["--pictures", pictures, "--bits", bits, "--min-cosine", min_cosine]
        words += ["--count", count, "--chip", target.name]
        again = shlex.join(map(str, words))
        places = write_set(parts, count, min_cosine, target.mapper, again, say)
        say(f"no mapper here (NNIE_MAPPER names one): {len(places)} parts to try on its machine")
        say(f"what to do with them: {out / CHECKLIST}")
        return
    say(f"mapper: {program}")
    judge = mapper_holds(
        program, target.nnie, width, min_cosine, timeout, lambda text: say(f"    {text}")
    )
    found = bisect(parts, judge, say)
    if found.layer is None:
        say(f"nothing fails up to {parts.whole.layers[parts.until - 1].name}")
        return
    fail(
        f"the first layer that makes it fail is {found.layer} ({found.type}): {found.why}; the "
        f"parts that were tried: {out}",
        1,
    )

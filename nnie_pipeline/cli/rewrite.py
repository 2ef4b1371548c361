"""`nnie rewrite`: a Caffe network made ready for NNIE."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, get_args

import typer

from nnie_pipeline.cli.common import (
    console,
    existing_file,
    names_of,
    numbers_of,
    parse_size,
    reported,
)


@reported
def command(
    prototxt: Annotated[Path, typer.Argument(help="the network")],
    caffemodel: Annotated[Path, typer.Argument(help="its weights")],
    out: Annotated[Path, typer.Option(help="folder for the new network")],
    size: Annotated[str | None, typer.Option(help="640 or 480x640 (height x width)")] = None,
    outputs: Annotated[
        str | None, typer.Option(help="the outputs in the order you want, commas between")
    ] = None,
    skip: Annotated[list[str] | None, typer.Option(help="leave out a pass")] = None,
    order_like: Annotated[
        Path | None, typer.Option(help="a prototxt whose order of layers is known to work")
    ] = None,
    tolerance: Annotated[
        float, typer.Option(help="what a pass on weights may move, as a share of the maximum")
    ] = 5e-4,
    apart: Annotated[
        bool, typer.Option("--apart", help="no layer in place: every one has a dump of its own")
    ] = False,
    report: Annotated[
        str | None, typer.Option(help="layers whose tops get _report: given out as well")
    ] = None,
    hp: Annotated[
        str | None, typer.Option(help="layers that get _hp: 16-bit input with compile_mode 2")
    ] = None,
    cpu: Annotated[str | None, typer.Option(help="layers that get _cpu: run on the CPU")] = None,
    mean: Annotated[
        str | None, typer.Option(help="what pictures enter minus, one number or one a channel")
    ] = None,
    scale: Annotated[
        str | None, typer.Option(help="what they are multiplied by then, in the same order")
    ] = None,
    mean_in_network: Annotated[
        bool,
        typer.Option("--mean-in-network", help="what weights cannot take in becomes a first layer"),
    ] = False,
    depthwise: Annotated[
        str, typer.Option(help="the form of depthwise layers: leave, convolution or depthwiseconv")
    ] = "leave",
    chip: Annotated[str, typer.Option(help="the chip whose limits hold")] = "hi3516dv300",
    engine: Annotated[
        str, typer.Option(help="what runs the network: onnxruntime or pycaffe")
    ] = "onnxruntime",
) -> None:
    """Rewrite a Caffe network for NNIE; the outputs are compared after every pass."""
    from nnie_pipeline.chips.chip import find_chip
    from nnie_pipeline.engine.choice import check_engine
    from nnie_pipeline.errors import InputError
    from nnie_pipeline.files import added_files
    from nnie_pipeline.report.rewrite_page import PAGE
    from nnie_pipeline.rewrite.depthwise import Form
    from nnie_pipeline.rewrite.marks import Marks
    from nnie_pipeline.rewrite.run import TOLERANCE
    from nnie_pipeline.stages.probe import default_probe
    from nnie_pipeline.stages.rewrite import CHANGES, rewrite_files
    from nnie_pipeline.stages.rewrite_options import RewriteOptions

    check_engine(engine)
    existing_file(prototxt, "prototxt")
    existing_file(caffemodel, "caffemodel")
    chosen = None if size is None else parse_size(size)
    if out.resolve() == prototxt.resolve().parent:
        raise InputError(f"--out {out} holds the network itself; choose another folder")
    order = names_of(outputs, "--outputs") or []
    marks = Marks(
        report=tuple(names_of(report, "--report") or ()),
        hp=tuple(names_of(hp, "--hp") or ()),
        cpu=tuple(names_of(cpu, "--cpu") or ()),
    )
    form = next((x for x in get_args(Form) if x == depthwise), None)
    if form is None:
        raise InputError(
            f"--depthwise {depthwise!r} is not known; write {', '.join(get_args(Form))}"
        )
    options = RewriteOptions(
        form,
        find_chip(chip).limits["group"],
        numbers_of(mean, "--mean"),
        numbers_of(scale, "--scale"),
        "network" if mean_in_network else "all",
    )
    if mean_in_network and not (options.mean or options.scale):
        raise InputError("--mean-in-network needs --mean (and --scale): say what pictures enter as")
    with added_files(out, keep=[prototxt, caffemodel]) as folder:
        done = rewrite_files(
            prototxt, caffemodel, prototxt.stem, folder, chosen, default_probe(), skip or (),
            order, order_like, tolerance, engine, apart, marks, options,
        )  # fmt: skip
    say = console()
    if tolerance != TOLERANCE:
        say.print(f"tolerance {tolerance:g} instead of {TOLERANCE:g}")
    if skip:
        say.print(f"left out: {', '.join(dict.fromkeys(skip))}", markup=False)
    for item in done.passes:
        say.print(
            f"{item.name:<26} {len(item.changed):4} changes, difference {item.difference:.1e}"
        )
    if mean or scale:
        left = done.input or options.input_form(done.net)
        say.print(f"the network now reads {left}", markup=False)
    say.print(f"{len(done.net.layers)} layers: {out / prototxt.name}", markup=False)
    say.print(f"outputs: {', '.join(done.net.outputs)}", markup=False)
    say.print(f"what changed, side by side: {out / PAGE}", markup=False)
    say.print(f"the same as text: {out / CHANGES}", markup=False)
    say.print(f"next: nnie check {out / prototxt.name}", markup=False)

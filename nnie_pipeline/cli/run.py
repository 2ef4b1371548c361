"""`nnie run`: what `make nnie` calls."""

from __future__ import annotations

from contextlib import ExitStack
from functools import cache, partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nnie_pipeline.cli.common import console, reported

if TYPE_CHECKING:
    from nnie_pipeline.calibration.sources import Source


@reported
def command(
    model: Annotated[
        str, typer.Argument(help="name in the zoo, or a spec (.yaml), .onnx or .prototxt file")
    ] = "",
    size: Annotated[str | None, typer.Option(help="640 or 480x640 (height x width)")] = None,
    images: Annotated[
        Path | None, typer.Option(help="your own pictures: a folder, a list (.txt) or a video")
    ] = None,
    count: Annotated[
        int | None, typer.Option(help="choose so many that differ (default: all; of a video 30)")
    ] = None,
    every: Annotated[
        int | None, typer.Option(help="of a video, look at every so many frames (default: 25)")
    ] = None,
    colour: Annotated[
        str | None,
        typer.Option(help="what the network takes: BGR, RGB or GRAY (default: its spec)"),
    ] = None,
    weights: Annotated[Path | None, typer.Option(help="your own file of the weights")] = None,
    outputs: Annotated[
        str | None, typer.Option(help="tensors to keep in place of the spec's, with commas between")
    ] = None,
    chip: Annotated[str, typer.Option(help="the chip to check for")] = "hi3516dv300",
    engine: Annotated[
        str, typer.Option(help="what runs the float network: onnxruntime or pycaffe")
    ] = "onnxruntime",
    build: Annotated[Path, typer.Option(help="folder for all builds")] = Path("build"),
    allow_gray: Annotated[
        bool, typer.Option("--allow-gray", help="calibrate on gray pictures only")
    ] = False,
    skip: Annotated[
        list[str] | None, typer.Option(help="a pass of nnie rewrite to leave out; repeatable")
    ] = None,
    geometry: Annotated[
        str | None, typer.Option(help="in place of the spec's: letterbox, stretch or crop")
    ] = None,
    anchor: Annotated[
        str | None, typer.Option(help="of letterbox and crop: top-left or centre")
    ] = None,
    fill: Annotated[
        str | None, typer.Option(help="of letterbox: 114, or a number a channel: 104,117,123")
    ] = None,
    yuv: Annotated[
        str | None, typer.Option(help="the board feeds YVU420SP: by bt601 or bt709")
    ] = None,
    value_range: Annotated[
        str | None, typer.Option("--range", help="of YVU420SP: full (default) or limited")
    ] = None,
    mean_in_network: Annotated[
        bool, typer.Option("--mean-in-network", help="norm_type 0: mean and scale in the network")
    ] = False,
    lang: Annotated[str, typer.Option(help="language of the report: en or zh")] = "en",
) -> None:
    """Run every stage, from weights to the report; stages that are up to date are left out."""
    from shlex import quote

    from nnie_pipeline.bringup.commands import board_commands, board_notes
    from nnie_pipeline.calibration.yuv import check_yuv
    from nnie_pipeline.chips.chip import find_chip
    from nnie_pipeline.cli import translate
    from nnie_pipeline.cli.common import existing_file, fail, names_of
    from nnie_pipeline.cli.progress import progress_bar
    from nnie_pipeline.engine.choice import check_engine
    from nnie_pipeline.errors import InputError
    from nnie_pipeline.mapper.runs import mapper_commands
    from nnie_pipeline.report.texts import check_language
    from nnie_pipeline.rewrite.passes import check_passes
    from nnie_pipeline.stages.run import Job, run_all
    from nnie_pipeline.zoo.spec import load_spec, zoo_names

    if not model:
        raise InputError(
            f"no model given; write make nnie MODEL=NAME SIZE=640 with {', '.join(zoo_names())}, "
            "or the path of an .onnx file, a .prototxt or a spec (.yaml)"
        )
    spec = load_spec(model)
    kept = names_of(outputs, "--outputs")
    if kept and tuple(kept) != spec.outputs:
        # The head reads the spec's own outputs.
        spec = spec.model_copy(update={"outputs": tuple(kept), "head": None})
    find_chip(chip)
    check_engine(engine)
    check_language(lang)
    passes = tuple(dict.fromkeys(skip or ()))
    check_passes(passes)
    form = translate.board_form(yuv, value_range)
    step = translate.frames_every(images, every)
    if weights is not None:
        existing_file(weights, "weights")
    say = console()
    tell = partial(say.print, markup=False)
    own = translate.input_spec(spec)
    spec = translate.laid_out(spec, geometry, anchor, fill, tell, colour)
    unproven = "assumed: the model has no spec" if translate.is_bare(model) else ""
    if not unproven and spec.input.colour != own.colour:
        unproven = f"--colour {colour}, the model's own: {own.colour}"
    chosen = translate.size_of(spec, size, weights, tell)
    if form is not None:
        check_yuv(spec.input.colour, chosen)

    if images is not None:
        from nnie_pipeline.calibration.sources import check_apart, files_of

        check_apart(images, build)
        files_of(images)
    # Frames of a video lie in a folder of their own as long as the run lasts.
    stack = ExitStack()

    @cache
    def source() -> Source:
        from nnie_pipeline.calibration.sources import chosen_of, opened

        if images is None:
            return chosen_of(translate.default_pictures(), count)
        return stack.enter_context(opened(images, count, step))

    folder = build / f"{spec.name}-{chosen[0]}x{chosen[1]}"
    tell(f"{spec.name} at {chosen[0]}x{chosen[1]} (height x width) in {folder}")
    options = {"colour": colour, "geometry": geometry, "anchor": anchor, "fill": fill}
    for line in translate.assumed_lines(model, spec, options):
        tell(line)
    job = Job(
        spec, lambda: translate.input_spec(spec), chosen, folder, chip, weights, images,
        source, lambda: translate.head(spec), tell, progress_bar,
        allow_gray, engine, passes, lang, mean_in_network, (count, step), form, unproven,
    )  # fmt: skip
    with stack:
        found, worked = run_all(job)
    if not worked:
        say.print("everything is up to date")
    say.print(f"verdict: {found.status}", style="bold")
    for reason in found.reasons[:8]:
        tell(f"  {reason}")
    tell(f"report:  {folder / 'report.html'}")
    program = find_chip(chip).mapper
    tell(f"next:    on the machine with the mapper of {find_chip(chip).name}:")
    tell(f"         NNIE_MAPPER=/path/to/{program} nnie map {quote(str(folder))}")
    tell(f"         or, without nnie there, copy {folder / 'mapper'} to it and run inside:")
    for line in mapper_commands(folder / "mapper", spec.name, chip):
        tell(f"         {line}")
    tell(f"         and copy the .wk files back into {folder / 'mapper'}")
    tell(f"board:   nnie bringup {quote(str(folder))}")
    for line in [*board_commands(spec.name, chosen, folder), *board_notes(spec.name)]:
        tell(f"         {line}")
    if found.failed:
        fail(f"{spec.name} is not ready for the board; see the reasons above and the report", 1)

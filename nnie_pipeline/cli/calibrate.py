"""`nnie calibrate`: pictures to what the mapper and the board read."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nnie_pipeline.cli.common import console, numbers_of, reported
from nnie_pipeline.words import counted

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nnie_pipeline.calibration.network_input import InputSpec
    from nnie_pipeline.calibration.pictures import Dropped
    from nnie_pipeline.calibration.sets import CalibrationSet

_ADVISED = 20
_SHOWN = 12
_CHOICE = 30


@reported
def command(
    model: Annotated[str, typer.Argument(help="name in the zoo, or a spec (.yaml) or .onnx file")],
    out: Annotated[Path, typer.Option(help="folder for the set")],
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
    mean: Annotated[
        str | None, typer.Option(help="what rewriting left of the mean (0: it is in the network)")
    ] = None,
    scale: Annotated[str | None, typer.Option(help="what it left of the scale")] = None,
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
    align: Annotated[
        int, typer.Option(help="fill rows of raw files to so many bytes: 1, 16, 32 to 256")
    ] = 16,
    allow_gray: Annotated[bool, typer.Option("--allow-gray", help="gray pictures only")] = False,
) -> None:
    """Write calibration pictures at network size, with lists and raw planes."""
    from contextlib import ExitStack

    from nnie_pipeline.calibration.sets import write_set
    from nnie_pipeline.calibration.sources import check_apart, chosen_of, opened
    from nnie_pipeline.calibration.stored import RawForm
    from nnie_pipeline.cli import translate
    from nnie_pipeline.cli.progress import progress_bar
    from nnie_pipeline.zoo.spec import load_spec

    say = partial(console().print, markup=False)
    given = load_spec(model)
    spec = translate.laid_out(given, geometry, anchor, fill, say, colour)
    step = translate.frames_every(images, every)
    form = RawForm(align, translate.board_form(yuv, value_range))
    wanted = _left(translate.input_spec(spec), mean, scale)
    chosen = translate.size_of(spec, size, None, say)
    options = {
        "colour": colour, "mean": mean, "scale": scale, "geometry": geometry, "anchor": anchor,
        "fill": fill,
    }  # fmt: skip
    for line in translate.assumed_lines(model, spec, options):
        say(line)
    if translate.is_bare(model):
        unproven = "assumed or given on the command line: the model has no spec"
    else:
        unproven = _other_numbers(wanted, translate.input_spec(given))
        if unproven:
            say(f"warning: {unproven}; right only where the network itself does the rest")
    if images is not None:
        check_apart(images, out)
    own = translate.default_pictures() if images is None else []
    with ExitStack() as stack:
        with progress_bar("choosing") as looking:
            if images is None:
                found = chosen_of(own, count, looking)
            else:
                found = stack.enter_context(opened(images, count, step, looking))
        with progress_bar("pictures") as progress:
            result = write_set(
                found.pictures, wanted, chosen, out,
                allow_gray=allow_gray, progress=progress, raw=form, choice=found.choice,
                dropped=found.dropped, unproven=unproven,
            )  # fmt: skip
    for line in set_lines(result, out):
        say(line)
    if len(result.pictures) < _ADVISED:
        say("HiSilicon's guide advises 20 to 50 typical pictures of your own scenes (--images)")


def set_lines(result: CalibrationSet, out: Path) -> list[str]:
    """What is to be known of a new set in `out`."""
    from nnie_pipeline.stages.input_proof import mean_order

    source = result.input
    lines = dropped_lines(result.dropped, "left out")
    number = counted(len(result.pictures), "picture")
    if result.choice is not None:
        dropped = result.choice.dropped
        chosen = f"{len(result.pictures)} of {counted(result.choice.found, 'picture')} chosen"
        lines += dropped_lines(dropped, f"{chosen}, dropped beforehand") or [chosen]
    else:
        said = f"--count {_CHOICE} leaves them out"
        lines += dropped_lines(
            result.useless, f"warning: nothing for ranges to learn from ({said})"
        )
    placed: str = source.geometry
    if placed != "stretch":
        placed += f" {source.anchor}"
    if source.geometry == "letterbox":
        placed += f", fill {', '.join(map(str, source.fill))} ({source.colour})"
    lines.append(f"{number} at {result.height}x{result.width}, {placed}: {out}")
    if result.gray:
        lines.append(
            f"{len(result.gray)} of them gray (cannot reveal swapped channels): "
            f"{', '.join(result.gray[:5])}{', ...' if len(result.gray) > 5 else ''}"
        )
    if result.stride is not None and result.stride != result.width:
        lines.append(
            f"rows of raw files are filled from {result.width} to {result.stride} bytes, the "
            "board's stride; --align 1 writes them as they are"
        )
    if result.yuv is not None and result.yuv_error is not None:
        lines.append(
            f"{result.yuv.said}; back to B, G, R it is off "
            f"by {result.yuv_error.mean:.2f} of 255 in the mean, {result.yuv_error.largest} at most"
        )
    return [*lines, *mean_order(source)]


def dropped_lines(dropped: Sequence[Dropped], what: str) -> list[str]:
    """`what` happened to how many pictures, and each with its reason; nothing where none is."""
    if not dropped:
        return []
    lines = [f"{what}: {len(dropped)}", *(f"  {x.source}: {x.reason}" for x in dropped[:_SHOWN])]
    if len(dropped) > _SHOWN:
        lines.append(f"  and {len(dropped) - _SHOWN} more, all in calibration.json")
    return lines


def _other_numbers(wanted: InputSpec, own: InputSpec) -> str:
    """What the command line says otherwise than the model's spec; empty where nothing."""
    names = [x for x in ("colour", "mean", "scale") if getattr(wanted, x) != getattr(own, x)]
    if not names:
        return ""
    given, said = (
        ", ".join(f"{x} {_number_words(getattr(y, x))}" for x in names) for y in (wanted, own)
    )
    return f"given on the command line: {given}; the model's own: {said}"


def _number_words(value: str | tuple[float, ...]) -> str:
    if isinstance(value, str):
        return value
    return ", ".join(f"{x:.9g}" for x in (value[:1] if len(set(value)) == 1 else value))


def _left(wanted: InputSpec, mean: str | None, scale: str | None) -> InputSpec:
    """`wanted` with the means and scales that the options give, one number or one a channel."""
    for name, text in (("mean", mean), ("scale", scale)):
        numbers = numbers_of(text, f"--{name}")
        if len(numbers) == 1:
            numbers *= wanted.channels
        if numbers:
            wanted = replace(wanted, **{name: numbers})  # type: ignore[arg-type]
    return wanted

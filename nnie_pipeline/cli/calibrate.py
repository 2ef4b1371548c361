"""`nnie calibrate`: pictures to what the mapper and the board read."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nnie_pipeline.cli.common import console, numbers_of, reported

if TYPE_CHECKING:
    from collections.abc import Sequence

    from nnie_pipeline.calibration.network_input import InputSpec
    from nnie_pipeline.calibration.pictures import Dropped
    from nnie_pipeline.calibration.sets import CalibrationSet

_ADVISED = 20
_SHOWN = 12


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
    every: Annotated[int, typer.Option(help="of a video, look at every so many frames")] = 25,
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
        str, typer.Option("--range", help="of YVU420SP: full or limited")
    ] = "full",
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
    from nnie_pipeline.calibration.yuv import yuv_form
    from nnie_pipeline.cli import translate
    from nnie_pipeline.cli.progress import progress_bar
    from nnie_pipeline.zoo.spec import load_spec

    say = partial(console().print, markup=False)
    spec = translate.laid_out(load_spec(model), geometry, anchor, fill, say)
    chosen = translate.size_of(spec, size, None, say)
    form = RawForm(align, None if yuv is None else yuv_form(yuv, value_range))
    wanted = _left(translate.input_spec(spec), mean, scale)
    if images is not None:
        check_apart(images, out)
    own = translate.default_pictures() if images is None else []
    with ExitStack() as stack:
        with progress_bar("choosing") as looking:
            if images is None:
                found = chosen_of(own, count, looking)
            else:
                found = stack.enter_context(opened(images, count, every, looking))
        with progress_bar("pictures") as progress:
            result = write_set(
                found.pictures, wanted, chosen, out,
                allow_gray=allow_gray, progress=progress, raw=form, choice=found.choice,
                dropped=found.dropped,
            )  # fmt: skip
    for line in set_lines(result, out):
        say(line)
    if len(result.pictures) < _ADVISED:
        say("HiSilicon's guide advises 20 to 50 typical pictures of your own scenes (--images)")


def set_lines(result: CalibrationSet, out: Path) -> list[str]:
    """What is to be known of a new set in `out`."""
    source = result.input
    lines = dropped_lines(result.dropped, "left out")
    if result.choice is not None:
        dropped = result.choice.dropped
        chosen = f"{len(result.pictures)} of {result.choice.found} pictures chosen"
        lines += dropped_lines(dropped, f"{chosen}, dropped beforehand") or [chosen]
    placed: str = source.geometry
    if placed != "stretch":
        placed += f" {source.anchor}"
    if source.geometry == "letterbox":
        placed += f", fill {', '.join(map(str, source.fill))} ({source.colour})"
    lines.append(
        f"{len(result.pictures)} pictures at {result.height}x{result.width}, {placed}: {out}"
    )
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
    if source.colour != "GRAY" and len(set(source.mean)) > 1:
        lines.append(unequal_means(source))
    return lines


def dropped_lines(dropped: Sequence[Dropped], what: str) -> list[str]:
    """`what` happened to how many pictures, and each with its reason; nothing where none is."""
    if not dropped:
        return []
    lines = [f"{what}: {len(dropped)}", *(f"  {x.source}: {x.reason}" for x in dropped[:_SHOWN])]
    if len(dropped) > _SHOWN:
        lines.append(f"  and {len(dropped) - _SHOWN} more, all in calibration.json")
    return lines


def unequal_means(source: InputSpec) -> str:
    """The warning about the order of mean.txt."""
    means = ", ".join(f"{x:.9g}" for x in source.mean)
    return (
        f"warning: means {means}: no document says how the lines of mean.txt go with RGB_order; "
        f"they are in the network's order ({source.colour}). probe/ tells the readings apart on a "
        "board; --mean-in-network (nnie run, nnie rewrite) needs no mean.txt"
    )


def _left(wanted: InputSpec, mean: str | None, scale: str | None) -> InputSpec:
    """`wanted` with the means and scales that the options give, one number or one a channel."""
    for name, text in (("mean", mean), ("scale", scale)):
        numbers = numbers_of(text, f"--{name}")
        if len(numbers) == 1:
            numbers *= wanted.channels
        if numbers:
            wanted = replace(wanted, **{name: numbers})  # type: ignore[arg-type]
    return wanted

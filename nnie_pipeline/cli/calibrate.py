"""`nnie calibrate`: pictures to what the mapper and the board read."""

from __future__ import annotations

from functools import partial
from pathlib import Path
from typing import Annotated

import typer

from nnie_pipeline.cli.common import console, reported

_ADVISED = 20


@reported
def command(
    model: Annotated[str, typer.Argument(help="name in the zoo, or a spec (.yaml) or .onnx file")],
    out: Annotated[Path, typer.Option(help="folder for the set")],
    size: Annotated[str | None, typer.Option(help="640 or 480x640 (height x width)")] = None,
    images: Annotated[Path | None, typer.Option(help="folder of your own pictures")] = None,
    allow_gray: Annotated[bool, typer.Option("--allow-gray", help="gray pictures only")] = False,
) -> None:
    """Write calibration pictures at network size, with lists and raw planes."""
    from nnie_pipeline.calibration.pictures import find_pictures
    from nnie_pipeline.calibration.sets import write_set
    from nnie_pipeline.cli import translate
    from nnie_pipeline.cli.progress import progress_bar
    from nnie_pipeline.zoo.spec import load_spec

    spec = load_spec(model)
    say = partial(console().print, markup=False)
    chosen = translate.size_of(spec, size, None, say)
    pictures = translate.default_pictures() if images is None else find_pictures(images)
    with progress_bar("pictures") as progress:
        result = write_set(
            pictures,
            translate.input_spec(spec),
            chosen,
            out,
            allow_gray=allow_gray,
            progress=progress,
        )
    source = result.input
    placed: str = source.geometry
    if placed != "stretch":
        placed += f" {source.anchor}"
    if source.geometry == "letterbox":
        placed += f", fill {', '.join(map(str, source.fill))} ({source.colour})"
    say(f"{len(result.pictures)} pictures at {result.height}x{result.width}, {placed}: {out}")
    if result.gray:
        say(
            f"{len(result.gray)} of them gray (cannot reveal swapped channels): "
            f"{', '.join(result.gray[:5])}{', ...' if len(result.gray) > 5 else ''}"
        )
    if len(result.pictures) < _ADVISED:
        say("HiSilicon's guide advises 20 to 50 typical pictures of your own scenes (--images)")

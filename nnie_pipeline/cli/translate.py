"""From a spec of the zoo to the plain values that the stages take."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from pathlib import Path

    from nnie_pipeline.calibration.network_input import InputSpec
    from nnie_pipeline.calibration.pictures import PictureFile
    from nnie_pipeline.calibration.yuv import YuvForm
    from nnie_pipeline.heads.registry import Head
    from nnie_pipeline.zoo.spec import Spec

_EVERY = 25
"""Frames of a video from one that is looked at to the next: one a second."""


def input_spec(spec: Spec) -> InputSpec:
    """How a picture becomes the model's input."""
    from nnie_pipeline.stages.model_input import input_spec as of_spec

    return of_spec(spec)


def laid_out(
    spec: Spec,
    geometry: str | None,
    anchor: str | None,
    fill: str | None,
    say: Callable[[str], None],
    colour: str | None = None,
) -> Spec:
    """`spec` with what the options --geometry, --anchor, --fill and --colour say.

    Where the spec itself says something else, `say` is told.

    Raises:
        InputError: a word that is not known, or one that says nothing with this geometry.
    """
    from pydantic import ValidationError

    from nnie_pipeline.cli.common import numbers_of
    from nnie_pipeline.errors import InputError
    from nnie_pipeline.zoo.spec import Input

    asked = {
        "colour": colour,
        "geometry": geometry,
        "anchor": anchor,
        "fill": numbers_of(fill, "--fill") or None,
    }
    given = {name: value for name, value in asked.items() if value is not None}
    try:
        # What nobody said takes its default, which for a gray network is shorter.
        laid = Input.model_validate({**spec.input.model_dump(exclude_unset=True), **given})
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0])
        said = first["msg"].removeprefix("Input ").removeprefix("Value error, ")
        if name not in given:
            raise InputError(f"--colour {colour}: the {name} of the spec {said}") from error
        raise InputError(f"--{name} {fill if name == 'fill' else given[name]}: {said}") from error
    for option, useful in (("anchor", ("letterbox", "crop")), ("fill", ("letterbox",))):
        if option in given and laid.geometry not in useful:
            raise InputError(f"--{option} says nothing with the geometry {laid.geometry}")
    for name in sorted(spec.input.model_fields_set & set(given)):
        before, now = getattr(spec.input, name), getattr(laid, name)
        if before != now:
            then = (
                "is that what the network was trained on?"
                if name == "colour"
                else "lay frames out like that on the board too"
            )
            say(
                f"the spec says {name} {_words(before)}, --{name} {_words(now)} takes its place; "
                f"{then}"
            )
    return spec.model_copy(update={"input": laid})


def _words(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)


def is_bare(model: str) -> bool:
    """Whether `model` is a file without a spec, so that nobody says how pictures enter it."""
    from pathlib import Path

    return Path(model).suffix.lower() in {".onnx", ".prototxt"}


def assumed_lines(model: str, spec: Spec, options: Mapping[str, object]) -> list[str]:
    """What is assumed of a model without a spec; nothing of others.

    `spec` is that of `laid_out`; `options` are those of the command that can say it, None where
    they were not given.
    """
    if not is_bare(model):
        return []
    ways = [f"--{x}" for x in ("colour", "mean", "scale") if x in options and options[x] is None]
    silent = {"colour": spec.input.colour, "mean": "no mean", "scale": "no scale"}
    found = [text for name, text in silent.items() if options.get(name) is None]
    lines = []
    if found:
        who = " or ".join([*([", ".join(ways)] if ways else []), "a spec (.yaml)"])
        lines.append(f"input assumed: {', '.join(found)}, pixels 0 to 255; {who} can say otherwise")
    laid = spec.input
    silent = {"geometry": laid.geometry}
    if laid.geometry != "stretch":
        silent["anchor"] = laid.anchor
    if laid.geometry == "letterbox":
        silent["fill"] = f"fill {_words(tuple(dict.fromkeys(laid.fill)))}"
    found = [text for name, text in silent.items() if options.get(name) is None]
    if found:
        ways = [f"--{name}" for name in silent if options.get(name) is None]
        lines.append(f"geometry assumed: {' '.join(found)}; {', '.join(ways)} can say otherwise")
    return lines


def board_form(yuv: str | None, value_range: str | None) -> YuvForm | None:
    """How the board feeds YVU420SP, by the options --yuv and --range; None: it does not.

    Raises:
        InputError: a word that is not known, or a range without --yuv.
    """
    from nnie_pipeline.calibration.yuv import yuv_form
    from nnie_pipeline.errors import InputError

    if yuv is not None:
        return yuv_form(yuv, value_range or "full")
    if value_range is not None:
        raise InputError(
            f"--range {value_range} says nothing without --yuv: U8 planes are always 0 to 255; "
            "give --yuv bt601 or bt709 too, or leave --range out"
        )
    return None


def frames_every(images: Path | None, every: int | None) -> int:
    """Every how many frames of a video one is looked at, by the option --every.

    Raises:
        InputError: it is given for what is no video.
    """
    from nnie_pipeline.calibration.video import VIDEOS
    from nnie_pipeline.errors import InputError

    if every is None:
        return _EVERY
    if images is None or images.is_dir() or images.suffix.lower() not in VIDEOS:
        found = "the built-in pictures" if images is None else images
        raise InputError(
            f"--every {every} says nothing of {found}: it counts a video's frames; of pictures "
            "--count chooses"
        )
    return every


def head(spec: Spec) -> Head | None:
    """The decoder of the model's outputs; None if the spec names none.

    Raises:
        InputError: the spec's decoder is not known.
    """
    from nnie_pipeline.heads.registry import head as known_head

    if spec.head is None:
        return None
    return known_head(spec.head.decoder, spec.head.parameters)


def size_of(
    spec: Spec, size: str | None, weights: Path | None, say: Callable[[str], None]
) -> tuple[int, int]:
    """(height, width) of the option --size, else of the spec, else of the model's file.

    The last is told to `say`, because nobody chose it.

    Raises:
        InputError: not a size, one the model cannot take, or a file without one.
    """
    from nnie_pipeline.cli.common import parse_size
    from nnie_pipeline.zoo.spec import check_size

    chosen = spec.default_size if size is None else parse_size(size)
    if chosen is None:
        from nnie_pipeline.stages.input_size import caffe_input_size, input_size
        from nnie_pipeline.zoo.fetch import fetch

        if spec.prototxt is not None:
            chosen, assumed = caffe_input_size(spec.prototxt)
        else:
            chosen, assumed = input_size(fetch(spec, weights).path)
        why = f" ({assumed})" if assumed else ", as its file says"
        say(f"no size given: {spec.name} takes {chosen[0]}x{chosen[1]}{why}")
    check_size(spec, chosen)
    return chosen


def default_pictures() -> list[PictureFile]:
    """The project's own calibration pictures, fetched; the first of their list comes last.

    nnie_mapper dumps the last picture, which should be in colour and show one face.
    """
    from nnie_pipeline.calibration.pictures import PictureFile
    from nnie_pipeline.cli.download_bar import download_bar
    from nnie_pipeline.zoo.pictures import default_pictures as fetched

    with download_bar("calibration pictures") as progress:
        first, *others = [PictureFile(x.path, x.name, x.licence) for x in fetched(progress)]
    return [*others, first]

"""From a spec of the zoo to the plain values that the stages take."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from nnie_pipeline.calibration.network_input import InputSpec
    from nnie_pipeline.calibration.pictures import PictureFile
    from nnie_pipeline.heads.registry import Head
    from nnie_pipeline.zoo.spec import Spec


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
) -> Spec:
    """`spec` with what the options --geometry, --anchor and --fill say.

    Where the spec itself says something else, `say` is told.

    Raises:
        InputError: a word that is not known, or one that says nothing with this geometry.
    """
    from pydantic import ValidationError

    from nnie_pipeline.cli.common import numbers_of
    from nnie_pipeline.errors import InputError
    from nnie_pipeline.zoo.spec import Input

    asked = {"geometry": geometry, "anchor": anchor, "fill": numbers_of(fill, "--fill") or None}
    given = {name: value for name, value in asked.items() if value is not None}
    try:
        laid = Input.model_validate({**spec.input.model_dump(), **given})
    except ValidationError as error:
        first = error.errors()[0]
        name = str(first["loc"][0])
        said = first["msg"].removeprefix("Input ").removeprefix("Value error, ")
        raise InputError(f"--{name} {fill if name == 'fill' else given[name]}: {said}") from error
    for option, useful in (("anchor", ("letterbox", "crop")), ("fill", ("letterbox",))):
        if option in given and laid.geometry not in useful:
            raise InputError(f"--{option} says nothing with the geometry {laid.geometry}")
    for name in sorted(spec.input.model_fields_set & set(given)):
        before, now = getattr(spec.input, name), getattr(laid, name)
        if before != now:
            say(
                f"the spec says {name} {_words(before)}, --{name} {_words(now)} takes its place; "
                "lay frames out like that on the board too"
            )
    return spec.model_copy(update={"input": laid})


def _words(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, tuple) else str(value)


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

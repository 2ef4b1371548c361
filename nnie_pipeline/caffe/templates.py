"""Prototxt of known networks, rendered at any size they can take.

For users who have only a `.caffemodel`. The templates lie in the data folder
`prototxt_templates`; their layers have the names of the public caffemodels.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

from jinja2 import Environment, FileSystemLoader, StrictUndefined

from nnie_pipeline.errors import InputError
from nnie_pipeline.resources import data_folder

_SUFFIX = ".prototxt.j2"
_LARGEST = 1 << 16
"""Far above what Caffe or the chip can take; keeps numbers in files sane."""


@dataclass(frozen=True)
class _Template:
    """`options` are the defaults; `check_size(name, height, width)` refuses with InputError."""

    options: Mapping[str, bool | int]
    check_size: Callable[[str, int, int], None]


def template_names() -> list[str]:
    """The names that `render` knows, sorted."""
    return sorted(_TEMPLATES)


def render(name: str, height: int, width: int, **options: bool | int) -> str:
    """The prototxt of template `name` for an input of 1 x 3 x `height` x `width`.

    Options: `merged` (all templates, default False) leaves BatchNorm and Scale out and gives
    the layers before them a bias, for a caffemodel that was merged; `embedding`
    (mobilefacenet, default 128) is the number of values that describe a face.

    Raises:
        InputError: unknown name or option, an option's value, or a size that the network
            cannot take.
    """
    template = _TEMPLATES.get(name)
    if template is None:
        raise InputError(f"template {name!r}: there are {' and '.join(template_names())}")
    for option, value in options.items():
        _check_option(name, option, value, template.options)
    for side, value in (("height", height), ("width", width)):
        if not 1 <= value <= _LARGEST:
            raise InputError(f"template {name}: {side} {value} is not from 1 to {_LARGEST} pixels")
    template.check_size(name, height, width)
    environment = Environment(
        loader=FileSystemLoader(data_folder("prototxt_templates")),
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    values = {"height": height, "width": width, **template.options, **options}
    text = environment.get_template(name + _SUFFIX).render(values)
    return "".join(line + "\n" for line in text.splitlines() if line.strip())


def _check_option(
    name: str, option: str, value: bool | int, defaults: Mapping[str, bool | int]
) -> None:
    default = defaults.get(option)
    if default is None:
        raise InputError(f"template {name} has no option {option!r}; it has {', '.join(defaults)}")
    if type(value) is not type(default):
        wanted = "true or false" if isinstance(default, bool) else "a whole number"
        raise InputError(f"template {name}: option {option} is {value!r}; write {wanted}")
    if not isinstance(value, bool) and not 1 <= value <= _LARGEST:
        raise InputError(f"template {name}: option {option} {value} is not from 1 to {_LARGEST}")


def _multiple_of_32(name: str, height: int, width: int) -> None:
    """At other sizes maps of the pyramid are unequal and a Crop cuts, which NNIE cannot do."""
    if height % 32 == 0 and width % 32 == 0:
        return
    below = (height // 32 * 32, width // 32 * 32)
    above = (-(-height // 32) * 32, -(-width // 32) * 32)
    near = [f"{h}x{w}" for h, w in (below, above) if min(h, w) > 0]
    raise InputError(
        f"template {name}: {height}x{width} is not in multiples of 32, where the network's Crop "
        f"layers have nothing to cut; use {' or '.join(near)}"
    )


def _only_112(name: str, height: int, width: int) -> None:
    """The 7x7 kernel has to cover the whole last map, a sixteenth of the input."""
    if (height, width) != (112, 112):
        raise InputError(
            f"template {name}: {height}x{width} is not the input that its global 7x7 convolution "
            "was trained for; use 112x112"
        )


_TEMPLATES: Mapping[str, _Template] = {
    "mobilefacenet": _Template({"merged": False, "embedding": 128}, _only_112),
    "retinaface-mnet025": _Template({"merged": False}, _multiple_of_32),
}

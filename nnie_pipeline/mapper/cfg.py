"""nnie_mapper's cfg files: reading anybody's, writing ours.

Options, ranges and meanings: HiSVP development guide, table "configuration options of
nnie_mapper", as collected in `mapper_cfg/options.yaml`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

import jinja2

from nnie_pipeline.errors import InputError, NotExpressibleError
from nnie_pipeline.mapper.options import grouped
from nnie_pipeline.resources import data_folder

_LARGEST_SCALE = 3.402823466e38
_SMALLEST_SCALE = 1 / 4096
_LARGEST_CFG = 1 << 20
_END = re.compile(r"\r\n|\r|\n")
_LINE = re.compile(r"\[\s*(\w+)\s*\](.*)")
_COMMENT = re.compile(r"(?:^|\s)#.*")
_OWN_PATH = re.compile(r"\./[A-Za-z0-9_.-]+(/[A-Za-z0-9_.-]+)*")
_PATHS = ("prototxt_file", "caffemodel_file", "instruction_name", "gfpq_param_file")

Value = str | int | float | Sequence[str]


@dataclass(frozen=True)
class Entry:
    """One line `[key] value  # comment` of a cfg file; `line` counts from 1."""

    key: str
    value: str
    line: int
    comment: str = ""


@dataclass(frozen=True)
class Cfg:
    """A cfg file as it stands: every option with its text, in order, nothing judged.

    `foreign` are the lines (number, text) that are no options, comments alone among them.
    """

    entries: tuple[Entry, ...]
    foreign: tuple[tuple[int, str], ...] = ()

    def values(self, key: str) -> list[str]:
        """All values of `key`, in order."""
        return [x.value for x in self.entries if x.key == key]

    def get(self, key: str) -> str | None:
        """The last value of `key`, or None."""
        return next(reversed(self.values(key)), None)

    def inputs(self) -> list[dict[str, str]]:
        """The options of each input: the n-th value of every per-input key."""
        keys = grouped()
        count = max((len(self.values(key)) for key in keys), default=0)
        return [
            {key: self.values(key)[n] for key in keys if n < len(self.values(key))}
            for n in range(count)
        ]


@dataclass(frozen=True)
class InputOptions:
    """The options of one input, as they stand in the cfg."""

    image_list: str
    image_type: int = 1
    norm_type: int = 0
    mean_file: str = "null"


@dataclass(frozen=True)
class Normalisation:
    """`norm_type` 0, 2, 3 or 5, `data_scale` (None where unused), whether means are read."""

    norm_type: Literal[0, 2, 3, 5]
    data_scale: float | None
    uses_mean: bool


def scan_cfg(text: str) -> Cfg:
    """Take a cfg file apart; what is no option is kept as `foreign`.

    Raises:
        InputError: larger than 1 MB.
    """
    if len(text) > _LARGEST_CFG:
        raise InputError(f"the cfg has more than {_LARGEST_CFG} characters; is it a cfg file?")
    entries = []
    foreign = []
    # Not splitlines: a form feed or U+2028 ends no line for the mapper.
    for number, line in enumerate(_END.split(text.lstrip("\ufeff")), start=1):
        found = _COMMENT.search(line)
        content = line[: found.start()] if found else line
        match = _LINE.fullmatch(content.strip())
        if match is None:
            if line.strip():
                foreign.append((number, line.strip()))
            continue
        comment = found.group().strip().lstrip("#").strip() if found else ""
        entries.append(Entry(match[1], match[2].strip(), number, comment))
    return Cfg(tuple(entries), tuple(foreign))


def read_cfg(text: str) -> Cfg:
    """Parse a cfg file; empty values, unknown and repeated keys are kept, not judged.

    Raises:
        InputError: larger than 1 MB, or a line that is not `[key] value`.
    """
    cfg = scan_cfg(text)
    for number, line in cfg.foreign:
        if not line.startswith("#"):
            raise InputError(f"cfg line {number}: {line[:60]!r} is no option; write [key] value")
    return cfg


def normalisation(mean: tuple[float, ...], scale: tuple[float, ...]) -> Normalisation:
    """The options that say (pixel - mean) * scale.

    HiSVP development guide, norm_type: 0 as it is, 2 minus mean, 3 times data_scale,
    5 minus mean, then times data_scale.

    Raises:
        NotExpressibleError: channels with different scales, or a scale out of range.
    """
    if len(set(scale)) > 1:
        raise NotExpressibleError(
            f"input scale {list(scale)}: nnie_mapper's data_scale is one number for all channels; "
            "fold the scales into the first convolution (nnie rewrite --scale), then give scale 1"
        )
    value = scale[0]
    if value != 1 and not _SMALLEST_SCALE < value < _LARGEST_SCALE:
        raise NotExpressibleError(
            f"input scale {value}: nnie_mapper's data_scale is above 1/4096 and below "
            f"{_LARGEST_SCALE:g}; fold it into the first convolution (nnie rewrite --scale)"
        )
    uses_mean = any(mean)
    if value == 1:
        return Normalisation(2 if uses_mean else 0, None, uses_mean)
    return Normalisation(5 if uses_mean else 3, value, uses_mean)


def write_cfg(
    settings: Mapping[str, Value], inputs: Sequence[InputOptions], nnie: str = "1.2"
) -> str:
    """The text of a cfg file for the mapper of an NNIE generation.

    Args:
        settings: the options that stand once, by their names (`roi_coordinate_file`: a list).
        inputs: those of each input, in the prototxt's order.
        nnie: "1.1" or "1.2".

    Raises:
        InputError: an option that this mapper does not know, a value out of its range, values
            that do not go together, or a path that is not relative and ASCII.
    """
    from nnie_pipeline.mapper.cfg_rules import text_findings

    paths = [str(settings[x]) for x in _PATHS if x in settings]
    for item in inputs:
        paths += [item.image_list, *([] if item.mean_file == "null" else [item.mean_file])]
    for path in (*paths, *settings.get("roi_coordinate_file", ())):  # type: ignore[misc]
        if not _OWN_PATH.fullmatch(str(path)):
            raise InputError(
                f"cfg path {str(path)[:80]!r}: write it as ./name with A-Z a-z 0-9 _ . - / only"
            )
    values = {x: _plain(y) if isinstance(y, float) else y for x, y in settings.items()}
    text = render(f"nnie_{nnie}.cfg.j2", inputs=inputs, **values)
    cfg = read_cfg(text)
    for key in settings:
        if cfg.get(key) is None and settings[key] != ():
            raise InputError(
                f"cfg option {key} is not known to the mapper of NNIE {nnie}, or no option; "
                "leave it out, or see nnie cfg --explain"
            )
    wrong = [x for x in text_findings(cfg, nnie) if x.severity == "error"]
    if wrong:
        words = (f"cfg option {x.key}: {x.message}; {x.fix}" for x in wrong)
        raise InputError(". ".join(words))
    return text


def render(template: str, **values: object) -> str:
    """A text template of the shipped folder `mapper_cfg`, filled in."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(data_folder("mapper_cfg")),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # plain text, and every value is checked
    )
    return environment.get_template(template).render(**values)


def _plain(value: float) -> str:
    """The shortest decimal number that reads back as `value`, without an exponent."""
    text = format(Decimal(repr(float(value))), "f")
    return text.rstrip("0").rstrip(".") if "." in text else text

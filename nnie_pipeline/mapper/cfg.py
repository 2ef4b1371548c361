"""nnie_mapper's cfg files: reading anybody's, writing ours.

Options, ranges and meanings: HiSVP development guide, table "configuration options of
nnie_mapper", as collected in the README of the shipped folder `mapper_cfg`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from decimal import Decimal
from typing import Literal

import jinja2
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from nnie_pipeline.errors import InputError, NotExpressibleError
from nnie_pipeline.resources import data_folder

PER_INPUT = ("image_list", "image_type", "norm_type", "mean_file")
"""The options that are repeated for every input of the network, in the prototxt's order."""

_LARGEST_SCALE = 3.402823466e38
_SMALLEST_SCALE = 1 / 4096
_LARGEST_CFG = 1 << 20
_LINE = re.compile(r"\[\s*(\w+)\s*\](.*)")
_COMMENT = re.compile(r"(?:^|\s)#.*")
_RELATIVE = r"\./[A-Za-z0-9_.-]+(/[A-Za-z0-9_.-]+)*"


@dataclass(frozen=True)
class Entry:
    """One line `[key] value  # comment` of a cfg file; `line` counts from 1."""

    key: str
    value: str
    line: int
    comment: str = ""


@dataclass(frozen=True)
class Cfg:
    """A cfg file as it stands: every option with its text, in order, nothing judged."""

    entries: tuple[Entry, ...]

    def values(self, key: str) -> list[str]:
        """All values of `key`, in order."""
        return [x.value for x in self.entries if x.key == key]

    def get(self, key: str) -> str | None:
        """The last value of `key`, or None."""
        return next(reversed(self.values(key)), None)

    def inputs(self) -> list[dict[str, str]]:
        """The options of each input: the n-th value of every per-input key."""
        count = max((len(self.values(key)) for key in PER_INPUT), default=0)
        return [
            {key: self.values(key)[n] for key in PER_INPUT if n < len(self.values(key))}
            for n in range(count)
        ]


class Options(BaseModel):
    """The options of a cfg file of ours, each in its legal range; one image input."""

    model_config = ConfigDict(frozen=True, extra="forbid")

    prototxt_file: str = Field(pattern=f"^{_RELATIVE}$")
    caffemodel_file: str = Field(pattern=f"^{_RELATIVE}$")
    instruction_name: str = Field(pattern=f"^{_RELATIVE}$", max_length=119)
    compile_mode: Literal[0, 1, 2]
    is_simulation: Literal[0, 1]
    log_level: int = Field(ge=0, le=3)
    norm_type: Literal[0, 2, 3, 5]
    data_scale: float | None = Field(default=None, gt=_SMALLEST_SCALE, lt=_LARGEST_SCALE)
    mean_file: str = Field(pattern=f"^({_RELATIVE}|null)$")
    rgb_order: Literal["RGB", "BGR"] = "BGR"
    image_list: str = Field(pattern=f"^{_RELATIVE}$")
    image_type: Literal[1] = 1
    net_type: Literal[0, 1, 2] = 0
    batch_num: int = Field(default=1, ge=0, le=256)
    sparse_rate: float = Field(default=0, ge=0, le=1)
    internal_stride: Literal[16, 32] = 16

    @model_validator(mode="after")
    def _norm_has_its_values(self) -> Options:
        if (self.norm_type in {3, 5}) != (self.data_scale is not None):
            raise ValueError(f"norm_type {self.norm_type} and data_scale do not go together")
        if (self.norm_type in {2, 5}) != (self.mean_file != "null"):
            raise ValueError(f"norm_type {self.norm_type} and mean_file do not go together")
        return self


@dataclass(frozen=True)
class Normalisation:
    """`norm_type` 0, 2, 3 or 5, `data_scale` (None where unused), whether means are read."""

    norm_type: Literal[0, 2, 3, 5]
    data_scale: float | None
    uses_mean: bool


def read_cfg(text: str) -> Cfg:
    """Parse a cfg file; empty values, unknown and repeated keys are kept, not judged.

    Raises:
        InputError: larger than 1 MB, or a line that is not `[key] value`.
    """
    if len(text) > _LARGEST_CFG:
        raise InputError(f"the cfg has more than {_LARGEST_CFG} characters; is it a cfg file?")
    entries = []
    for number, line in enumerate(text.lstrip("\ufeff").splitlines(), start=1):
        found = _COMMENT.search(line)
        content = line[: found.start()] if found else line
        if not content.strip():
            continue
        match = _LINE.fullmatch(content.strip())
        if match is None:
            raise InputError(
                f"cfg line {number}: {content.strip()[:60]!r} is no option; write [key] value"
            )
        comment = found.group().strip().lstrip("#").strip() if found else ""
        entries.append(Entry(match[1], match[2].strip(), number, comment))
    return Cfg(tuple(entries))


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


def checked_options(**values: object) -> Options:
    """`Options` of these values.

    Raises:
        InputError: a value out of its range, named.
    """
    try:
        return Options.model_validate(values)
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"])) or "cfg"
        raise InputError(
            f"cfg option {key}: {first['input'] if first['loc'] else ''} {first['msg']}"
        ) from error


def write_cfg(options: Options) -> str:
    """The text of the cfg file."""
    values = options.model_dump()
    for key in ("data_scale", "sparse_rate"):
        values[key] = None if values[key] is None else _plain(values[key])
    return render("nnie_mapper.cfg.j2", **values)


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

"""The spec of a model: one YAML file that says all the pipeline needs to know of it."""

from __future__ import annotations

import difflib
import re
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import AfterValidator, Field, ValidationInfo, field_validator, model_validator

from nnie_pipeline.errors import InputError
from nnie_pipeline.zoo.head import Head
from nnie_pipeline.zoo.model import Model, read_model
from nnie_pipeline.zoo.source import Given, LocalFile, Source

_MODELS = Path(__file__).resolve().parent / "models"
_LARGEST_SIDE = 4096
_CHANNELS = {"BGR": 3, "RGB": 3, "GRAY": 1}

Side = Annotated[int, Field(ge=1, le=_LARGEST_SIDE)]


def _name(text: str) -> str:
    if re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", text) is None:
        raise ValueError("should be 1 to 64 ASCII letters, digits or . _ - (it names files)")
    return text


Name = Annotated[str, AfterValidator(_name)]
Output = Annotated[str, Field(min_length=1, max_length=1024)]


class Input(Model):
    """How a picture becomes the network's input: y = (x - mean) * scale, x 0 to 255.

    `mean`, `scale` and `fill` hold one value a channel in the order of `colour`, the order
    the network was trained with; one number in the YAML stands for all channels.

    `geometry`: "letterbox" keeps the picture's shape and fills the rest with `fill` (U8;
    `anchor` says where the picture lies), "stretch" fills the size without keeping it, "crop"
    fills it with the largest part of its shape, taken at `anchor`.
    """

    colour: Literal["BGR", "RGB", "GRAY"] = "BGR"
    mean: tuple[float, ...] = Field(default=(0.0,), validate_default=True)
    scale: tuple[float, ...] = Field(default=(1.0,), validate_default=True)
    geometry: Literal["letterbox", "stretch", "crop"] = "letterbox"
    anchor: Literal["top-left", "centre"] = "top-left"
    fill: tuple[Annotated[int, Field(ge=0, le=255)], ...] = Field(
        default=(0,), validate_default=True
    )

    @property
    def channels(self) -> int:
        """3, or 1 for GRAY."""
        return _CHANNELS[self.colour]

    @field_validator("mean", "scale", "fill", mode="before")
    @classmethod
    def _one_for_all(cls, value: Any) -> Any:
        return (value,) if isinstance(value, (int, float)) else value

    @field_validator("mean", "scale", "fill")
    @classmethod
    def _per_channel(cls, value: tuple[Any, ...], info: ValidationInfo) -> tuple[Any, ...]:
        colour = info.data.get("colour")
        if colour is None:  # its own error is reported
            return value
        channels = _CHANNELS[colour]
        if len(value) == 1:
            return value * channels
        if len(value) != channels:
            raise ValueError(f"should be one number, or {channels} for {colour}")
        return value

    @field_validator("scale")
    @classmethod
    def _not_zero(cls, scale: tuple[float, ...]) -> tuple[float, ...]:
        if 0.0 in scale:
            raise ValueError("should not be 0: every input would be the same")
        return scale


class Spec(Model):
    """A model.

    The weights are an ONNX file, or with `prototxt` or `template` a caffemodel: `prototxt` is the
    file of its network (a relative path starts at the spec's folder), `template` the name of a
    network of `prototxt_templates`.

    `licence` holds the word "non-commercial" where that is so. `outputs` are the ONNX tensors
    to keep, in the order the Caffe network gives them; none means the network's own.
    `default_size` is (height, width); None: what the file says. Height and width have to be
    multiples of `multiple_of`, and with `fixed_size` only the default size is right.
    """

    name: Name
    summary: str = ""
    licence: Annotated[str, Field(min_length=1)]
    source: Source
    prototxt: Path | None = None
    template: str | None = None
    input: Input = Input()
    default_size: tuple[Side, Side] | None = None
    multiple_of: Annotated[int, Field(ge=1, le=256)] = 1
    fixed_size: bool = False
    outputs: tuple[Output, ...] = ()
    head: Head | None = None
    notes: str = ""

    @property
    def is_caffe(self) -> bool:
        """Whether the weights are a caffemodel."""
        return self.prototxt is not None or self.template is not None

    @field_validator("prototxt")
    @classmethod
    def _from_spec(cls, path: Path | None, info: ValidationInfo) -> Path | None:
        folder: Path = (info.context or {}).get("folder", Path())
        return None if path is None else folder / path

    @model_validator(mode="after")
    def _consistent(self) -> Spec:
        if self.prototxt is not None and self.template is not None:
            raise ValueError("prototxt and template both name the network; remove one")
        if len(set(self.outputs)) != len(self.outputs):
            raise ValueError("outputs names a tensor twice")
        if self.head is not None and self.outputs and len(self.outputs) != self.head.outputs:
            raise ValueError(
                f"outputs names {len(self.outputs)} tensors, but head {self.head.decoder} with "
                f"these parameters reads {self.head.outputs}"
            )
        if self.fixed_size and self.default_size is None:
            raise ValueError("fixed_size needs a default_size")
        if any(side % self.multiple_of for side in self.default_size or ()):
            raise ValueError(f"default_size is no multiple of multiple_of {self.multiple_of}")
        return self


def zoo_names() -> list[str]:
    """The models of the zoo, sorted."""
    return sorted(path.stem for path in _MODELS.glob("*.yaml"))


def load_spec(model: str) -> Spec:
    """The spec of `model`: a name of the zoo, the path of a spec (.yaml), .onnx or .prototxt file.

    A bare .onnx or .prototxt file gets a spec without outputs and head, BGR, mean 0, scale 1,
    named after the file with ASCII letters. The weights of a .prototxt are the .caffemodel of
    the same name beside it, if it is there.

    Raises:
        InputError: no such model (the message names the nearest of the zoo), no such file, or
            a field of the spec is wrong.
    """
    if model in zoo_names():
        return read_model(_MODELS / f"{model}.yaml", Spec, "spec")
    path = Path(model)
    suffix = path.suffix.lower()
    is_file = _is_file(path)
    if suffix in {".yaml", ".yml", ".onnx", ".prototxt"}:
        if not is_file:
            found = "a folder" if path.is_dir() else "nothing"
            raise InputError(f"model {model}: found {found} there; give the path of the file")
        if suffix in {".yaml", ".yml"}:
            return read_model(path, Spec, "spec")
        return _bare(path) if suffix == ".onnx" else _bare_caffe(path)
    if suffix == ".caffemodel":
        templates = ", ".join(x for x in zoo_names() if load_spec(x).template)
        raise InputError(
            f"model {model}: a caffemodel holds no network; give its prototxt as MODEL and this "
            f"file as WEIGHTS, or as MODEL one of the networks known here: {templates}"
        )
    if is_file:
        raise InputError(
            f"model {model}: nnie reads .onnx weights, a .prototxt or a .yaml spec, not this file"
        )
    raise InputError(f"model {model!r} is not in the zoo; {_advice(model)}")


def check_size(spec: Spec, size: tuple[int, int]) -> None:
    """Refuse a `size` (height, width) that the model cannot take.

    Raises:
        InputError: not a multiple of `spec.multiple_of`, or not the only size of a network of
            fixed size; the message names the nearest that are right.
    """
    if spec.fixed_size and spec.default_size is not None and size != spec.default_size:
        raise InputError(
            f"size {_size(size)}: {spec.name} takes only {_size(spec.default_size)}, another size "
            f"changes the length of its output; use {_size(spec.default_size)}"
        )
    step = spec.multiple_of
    if all(side % step == 0 for side in size):
        return
    below = (size[0] // step * step, size[1] // step * step)
    above = (-(-size[0] // step) * step, -(-size[1] // step) * step)
    near = [_size(s) for s in (below, above) if min(s) > 0 and max(s) <= _LARGEST_SIDE]
    raise InputError(
        f"size {_size(size)}: {spec.name} needs height and width in multiples of {step}; "
        f"use {' or '.join(near)}"
    )


def _is_file(path: Path) -> bool:
    try:
        return path.is_file()
    except OSError:  # a name too long for the file system
        return False


def _bare_caffe(path: Path) -> Spec:
    beside = path.absolute().with_suffix(".caffemodel")
    if beside.is_file():
        source: Given | LocalFile = LocalFile(kind="file", path=beside)
    else:
        source = Given(kind="given", hint=f"no {beside.name} lies beside the prototxt")
    return Spec(
        name=_file_name(path),
        summary="your own Caffe network",
        licence="unknown (your file)",
        source=source,
        prototxt=path.absolute(),
    )


def _file_name(path: Path) -> str:
    return re.sub(r"[^A-Za-z0-9._-]+", "_", path.stem).strip("._-")[:64] or "model"


def _bare(path: Path) -> Spec:
    return Spec(
        name=_file_name(path),
        summary="your own ONNX file",
        licence="unknown (your file)",
        source=LocalFile(kind="file", path=path.absolute()),
    )


def _advice(model: str) -> str:
    names = zoo_names()
    near = difflib.get_close_matches(model.lower(), names, n=3, cutoff=0.6)
    what = f"did you mean {' or '.join(near)}?" if near else f"it has {', '.join(names)}."
    return f"{what} The path of an .onnx file, a .prototxt or a spec (.yaml) works as well"


def _size(size: tuple[int, int]) -> str:
    return str(size[0]) if size[0] == size[1] else f"{size[0]}x{size[1]}"

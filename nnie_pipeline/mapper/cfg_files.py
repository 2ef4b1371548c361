"""The files that a cfg names, and what is wrong with them."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from pathlib import Path

from google.protobuf.message import DecodeError

from nnie_pipeline.caffe.caffe_pb2 import BlobProto
from nnie_pipeline.errors import InputError
from nnie_pipeline.mapper.cfg import Cfg, Entry
from nnie_pipeline.mapper.cfg_rules import MEAN_TYPES, CfgFinding
from nnie_pipeline.mapper.options import UNUSED_MEANS, options

_READ = ("file", "list", "mean")
_PICTURE_TYPES = ("1", "3", "5")
_LARGEST_LIST = 16 << 20
_LARGEST_MEAN = 256 << 20
_MOST_MEANS = 1024


def file_findings(cfg: Cfg, home: Path) -> Iterator[CfgFinding]:
    """Findings on the files of `cfg`, whose relative paths start in `home`.

    Lists of pictures are looked into by `cfg_pictures.list_findings`.
    """
    for entry in cfg.entries:
        option = options().get(entry.key)
        if option is None or not entry.value:
            continue
        if option.kind == "output":
            yield from _place_of_results(entry, home)
        elif option.kind in ("file", "list"):
            yield from _there(entry, home)
    if not str(home).isascii():
        yield CfgFinding(
            0, "", "warning", f"the path of the folder {home} is not ASCII; the mapper takes ASCII "
            "paths only", "run it in a folder that is called with A-Z a-z 0-9 _ . -",
        )  # fmt: skip
    for number, group in enumerate(cfg.inputs()):
        entries = {
            key: [x for x in cfg.entries if x.key == key][number : number + 1] for key in group
        }
        norm = group.get("norm_type", "")
        for entry in entries.get("mean_file", []):
            # A norm_type that is none hides nothing of the file.
            if norm not in ("0", "3") and entry.value.lower() not in ("", *UNUSED_MEANS):
                found = list(_there(entry, home))
                text = "5" if entry.value.lower().endswith(".txt") else "4"
                yield from found or _means(entry, home, norm if norm in MEAN_TYPES else text)


def named_paths(home: Path, cfg: Cfg) -> Iterator[str]:
    """The files that a mapper reads in `home`, as the cfg and its lists of pictures name them.

    Those that are not there are left out.
    """
    for entry in cfg.entries:
        option = options().get(entry.key)
        if option is not None and option.kind in _READ and is_file(home, entry.value):
            yield entry.value
    for group in cfg.inputs():
        listed = group.get("image_list", "")
        if group.get("image_type") in _PICTURE_TYPES and is_file(home, listed):
            with contextlib.suppress(InputError):
                yield from (x for x in list_lines(home, listed) if is_file(home, x))


def read_means(home: Path, value: str) -> list[float] | None:
    """The numbers of a mean file for norm_type 2 and 5, one a line; None if it is none."""
    path = home / value
    try:
        if path.stat().st_size > _LARGEST_LIST:
            return None
        return [float(x) for x in path.read_text(encoding="ascii").split()][:_MOST_MEANS]
    except (OSError, UnicodeDecodeError, ValueError):
        return None


def list_lines(home: Path, value: str) -> list[str]:
    """The lines of a list of pictures that are not empty.

    Raises:
        InputError: it cannot be read, or is too large for a list.
    """
    return [x for x in map(str.strip, list_text(home, value).splitlines()) if x]


def list_text(home: Path, value: str) -> str:
    """A list of pictures as it stands, its line ends kept.

    Raises:
        InputError: it cannot be read, or is too large for a list.
    """
    path = home / value
    try:
        if path.stat().st_size > _LARGEST_LIST:
            raise InputError("is larger than a list of pictures; is it a file of tensors?")
        return path.read_bytes().decode("utf-8")
    except OSError as error:
        raise InputError(f"cannot be read: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise InputError("is no text file") from error


def is_file(home: Path, value: str) -> bool:
    """Whether a cfg's `value` names a file, from `home`."""
    try:
        return (home / value).is_file()
    except (OSError, ValueError):
        return False


def _there(entry: Entry, home: Path) -> Iterator[CfgFinding]:
    if is_file(home, entry.value):
        return
    try:
        found = "a folder" if (home / entry.value).is_dir() else "nothing"
    except (OSError, ValueError):
        found = "nothing"
    yield CfgFinding(
        entry.line, entry.key, "error", f"{entry.value[:200]}: found {found} there, from {home}",
        "write / between folders, not \\" if "\\" in entry.value
        else "name a file, or say with --from in which folder the mapper will run",
    )  # fmt: skip


def _place_of_results(entry: Entry, home: Path) -> Iterator[CfgFinding]:
    folder = (home / entry.value).parent
    if not folder.is_dir():
        yield CfgFinding(
            entry.line, entry.key, "warning", f"the folder {folder} of the .wk is not there",
            "make it before the mapper runs",
        )  # fmt: skip


def _means(entry: Entry, home: Path, norm: str) -> Iterator[CfgFinding]:
    path = home / entry.value
    if MEAN_TYPES[norm] == "text":
        means = read_means(home, entry.value)
        if not means:
            yield CfgFinding(
                entry.line, entry.key, "error", f"{entry.value} is no list of numbers",
                "write one number a line and channel, nothing else",
            )  # fmt: skip
            return
        lines = sum(1 for x in path.read_text(encoding="ascii").splitlines() if x.strip())
        if lines < len(means):
            yield CfgFinding(
                entry.line, entry.key, "warning",
                f"{entry.value} has {len(means)} numbers in {lines} lines: the guide wants one a "
                "line and channel, and no document says that the mapper takes several",
                "write each in a line of its own",
            )  # fmt: skip
        if not all(0 <= x <= 255 for x in means):
            yield CfgFinding(
                entry.line, entry.key, "warning",
                f"{entry.value} has means outside of 0 to 255, the range of pixels",
                "write the mean of the pixels, not divided by 255",
            )  # fmt: skip
        elif any(means) and all(x <= 1 for x in means):
            yield CfgFinding(
                entry.line, entry.key, "warning",
                f"{entry.value} has means of at most 1, but pixels go from 0 to 255: the mean is "
                "subtracted before data_scale multiplies",
                "multiply the means by 255",
            )  # fmt: skip
        return
    try:
        if path.stat().st_size > _LARGEST_MEAN:
            raise DecodeError("too large")
        blob = BlobProto.FromString(path.read_bytes())
    except (OSError, DecodeError):
        blob = BlobProto()
    if not blob.data and not blob.double_data:
        yield CfgFinding(
            entry.line, entry.key, "error", f"{entry.value} is no .binaryproto with a mean picture",
            "make it with Caffe's compute_image_mean",
        )  # fmt: skip

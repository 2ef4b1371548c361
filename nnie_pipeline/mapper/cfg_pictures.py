"""What is wrong with the pictures that a cfg's lists name."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from nnie_pipeline.errors import InputError
from nnie_pipeline.mapper.cfg import Cfg, Entry
from nnie_pipeline.mapper.cfg_files import is_file, list_lines, list_text
from nnie_pipeline.mapper.cfg_rules import CfgFinding
from nnie_pipeline.mapper.picture_files import Size, picture_size

PICTURE_SUFFIXES = frozenset(
    {".bmp", ".dib", ".jpeg", ".jpg", ".jpe", ".jp2", ".png", ".webp", ".pbm", ".pgm", ".ppm",
     ".sr", ".ras", ".tiff", ".tif"}
)  # fmt: skip
"""Pictures that the mapper reads (HiSVP development guide, image_list); capitals too."""

_FEWEST = 20
_SHOWN = 3

Progress = Callable[[int, int], None]


def list_findings(
    cfg: Cfg, home: Path, sizes: Sequence[Size | None], progress: Progress | None = None
) -> Iterator[CfgFinding]:
    """Findings on the lists of pictures of `cfg`, whose relative paths start in `home`.

    Args:
        cfg: the cfg file.
        home: where the mapper runs.
        sizes: (height, width) of the network's inputs, None for what is no picture.
        progress: called with (done, all) for the pictures of a list.
    """
    lists = [x for x in cfg.entries if x.key == "image_list"]
    for number, group in enumerate(cfg.inputs()):
        for entry in lists[number : number + 1]:
            if group.get("image_type") != "0" and is_file(home, entry.value):
                size = sizes[number] if number < len(sizes) else None
                yield from _list(entry, home, size, progress)


def _list(
    entry: Entry, home: Path, size: Size | None, progress: Progress | None
) -> Iterator[CfgFinding]:
    try:
        text = list_text(home, entry.value)
    except InputError as error:
        yield CfgFinding(entry.line, entry.key, "error", f"{entry.value} {error}", "name a list")
        return
    lines = list_lines(home, entry.value)
    if not lines:
        yield CfgFinding(
            entry.line, entry.key, "error", f"{entry.value} names no picture",
            "write the path of a picture in each line",
        )  # fmt: skip
        return
    if "\r" in text:
        yield CfgFinding(
            entry.line, entry.key, "warning",
            f"{entry.value} has the line ends of Windows (CR LF): no document says that a mapper "
            "on Linux takes the CR off the paths",
            "write it with LF, for instance by sed -i 's/\\r$//'",
        )  # fmt: skip
    found, unread = _sizes(lines, home, progress)
    yield from _bad(entry, home, lines, unread)
    other = [f"{x} ({y[0]}x{y[1]})" for x, y in found.items() if y != size]
    if size is not None and other:
        yield CfgFinding(
            entry.line, entry.key, "warning",
            f"{len(other)} of {len(lines)} entries of {entry.value} are not {size[0]}x{size[1]} "
            f"(height x width), the network's size: {_some(other)}; the guide does not say "
            "whether the mapper resizes, a user's README says so, but not how",
            "write them at the network's size (nnie calibrate), so that nothing depends on it",
        )  # fmt: skip
    if len(lines) < _FEWEST:
        yield CfgFinding(
            entry.line, entry.key, "hint", f"{entry.value} names {len(lines)} pictures",
            "the guide advises 20 to 50 typical ones",
        )  # fmt: skip


def _sizes(
    lines: Sequence[str], home: Path, progress: Progress | None
) -> tuple[dict[str, Size], dict[str, str]]:
    """The size of each picture, and of those without one the reason."""
    found: dict[str, Size] = {}
    unread: dict[str, str] = {}
    for done, line in enumerate(lines, 1):
        if line not in found and _is_named_so(line) and is_file(home, line):
            try:
                found[line] = picture_size(home / line)
            except InputError as error:
                unread[line] = str(error)
        if progress:
            progress(done, len(lines))
    return found, unread


def _bad(
    entry: Entry, home: Path, lines: Sequence[str], unread: dict[str, str]
) -> Iterator[CfgFinding]:
    for severity, what, bad, fix in (
        ("error", "not there", [x for x in lines if not is_file(home, x)],
         f"paths start where the mapper runs, here {home}"),
        ("error", "not in ASCII", [x for x in lines if not x.isascii()],
         "rename them with A-Z a-z 0-9 _"),
        ("warning", "paths with a space, which no document says that the mapper takes",
         [x for x in lines if " " in x], "rename them with A-Z a-z 0-9 _ . -"),
        ("error", "no pictures by their names", [x for x in lines if not _is_named_so(x)],
         f"the mapper reads {' '.join(sorted(PICTURE_SUFFIXES))}"),
        ("error", "no whole pictures", [f"{x} is {y}" for x, y in unread.items()],
         "replace them, or take them out of the list"),
    ):  # fmt: skip
        if bad:
            yield CfgFinding(
                entry.line, entry.key, "error" if severity == "error" else "warning",
                f"{len(bad)} of {len(lines)} entries of {entry.value} are {what}: {_some(bad)}",
                fix,
            )  # fmt: skip


def _is_named_so(line: str) -> bool:
    return Path(line).suffix.lower() in PICTURE_SUFFIXES


def _some(names: Sequence[str]) -> str:
    shown = ", ".join(x[:100] for x in names[:_SHOWN])
    return shown if len(names) <= _SHOWN else f"{shown} and {len(names) - _SHOWN} more"

"""Where pictures come from: a folder, a list file or a video, all of them or a choice."""

from __future__ import annotations

import contextlib
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from nnie_pipeline.calibration.choice import Choice, Look, choose, look
from nnie_pipeline.calibration.geometry import Picture
from nnie_pipeline.calibration.pictures import (
    Dropped,
    PictureFile,
    UnreadableError,
    find_pictures,
    none_readable,
    other_pictures,
    read_preview,
    shown,
)
from nnie_pipeline.calibration.stored import workers
from nnie_pipeline.calibration.video import VIDEOS, frames, stated_frames
from nnie_pipeline.errors import InputError

Progress = Callable[[int, int], None]

LISTS = frozenset({".txt", ".lst", ".list"})
DEFAULT_COUNT = 30
"""Frames of a video when nobody says how many (HiSilicon's guide advises 20 to 50 pictures)."""

_LARGEST_LIST = 16 << 20
_WHOLE = 0.95
"""Share of the stated frames that a whole video has; some containers only estimate them."""


@dataclass(frozen=True)
class Source:
    """Pictures ready to be read; `choice` says how they were chosen, None: all are there.

    `dropped` are those that cannot be read, as far as was seen.
    """

    pictures: tuple[PictureFile, ...]
    choice: Choice | None = None
    dropped: tuple[Dropped, ...] = ()


def files_of(path: Path) -> list[Path]:
    """The files that a folder, a list file or a video stands for: what a result follows from.

    Raises:
        InputError: as `opened`, without a look into pictures.
    """
    if path.suffix.lower() in VIDEOS and path.is_file():
        return [path]
    listed = path.suffix.lower() in LISTS and path.is_file()
    found = [path, *(x.path for x in read_list(path)[0])] if listed else []
    return found or [x.path for x in find_pictures(path) if x.path.exists()]


def check_apart(images: Path, out: Path) -> None:
    """Refuse results inside the folder of pictures: they would be pictures the next time.

    Raises:
        InputError: `out` is `images` or lies in it.
    """
    if images.is_dir() and out.resolve().is_relative_to(images.resolve()):
        raise InputError(
            f"{out} lies in the picture folder {images}, so what is written there would be taken "
            "for your pictures the next time; choose a folder outside it"
        )


@contextlib.contextmanager
def opened(
    path: Path, count: int | None = None, every: int = 25, progress: Progress | None = None
) -> Iterator[Source]:
    """The pictures of a folder, a list file (one path a line) or a video.

    Args:
        path: The folder or file.
        count: How many to choose; None takes all, of a video `DEFAULT_COUNT`.
        every: Of a video, every how many frames one is looked at.
        progress: Called with (done, all) while pictures are looked at.

    Yields:
        The pictures, in their own order; frames of a video lie in a folder of their own until
        the block ends.

    Raises:
        InputError: nothing there, no picture in it, or none that can be read.
    """
    if path.suffix.lower() in VIDEOS and path.is_file():
        with tempfile.TemporaryDirectory(prefix="nnie-frames-") as folder:
            yield _from_video(path, DEFAULT_COUNT if count is None else count, every, Path(folder))
        return
    if path.is_file() and path.suffix.lower() in LISTS:
        found, dropped = read_list(path)
    else:
        found, dropped = find_pictures(path), other_pictures(path)
    yield chosen_of(found, count, progress, dropped)


def chosen_of(
    pictures: Sequence[PictureFile],
    count: int | None,
    progress: Progress | None = None,
    dropped: Sequence[Dropped] = (),
) -> Source:
    """`count` of the pictures, or all of them; `dropped` were left out before.

    Raises:
        InputError: none can be read, or none can be used.
    """
    if count is None:
        return Source(tuple(pictures), dropped=tuple(dropped))
    read: list[PictureFile] = []
    looks: list[Look] = []
    unread: list[Dropped] = []
    first_error = None
    with workers() as pool:
        for number, found in enumerate(pool.map(_looked, pictures)):
            if isinstance(found, UnreadableError):
                first_error = first_error or found
                unread.append(Dropped(pictures[number].name, found.reason))
            else:
                read.append(pictures[number])
                looks.append(found)
            if progress:
                progress(number + 1, len(pictures))
    if first_error and not looks:
        raise none_readable(len(pictures), first_error)
    indices, choice = choose(looks, [x.name for x in read], count)
    return Source(tuple(read[n] for n in indices), choice, (*dropped, *unread))


def read_list(path: Path) -> tuple[list[PictureFile], list[Dropped]]:
    """The pictures of a list file, and the lines that name none.

    One path a line, relative ones start at the list's folder; empty lines and those that begin
    with # say nothing.

    Raises:
        InputError: it cannot be read, is no text, or no line names a picture that is there.
    """
    try:
        if path.stat().st_size > _LARGEST_LIST:
            raise InputError(f"list {path} is larger than {_LARGEST_LIST} bytes; is it a list?")
        text = path.read_text(encoding="utf-8-sig")
    except OSError as error:
        raise InputError(f"cannot read list {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise InputError(f"list {path} is not UTF-8 text; write one path a line") from error
    found, absent = [], []
    for number, line in enumerate(text.splitlines(), start=1):
        name = line.strip()
        if not name or name.startswith("#"):
            continue
        picture = path.parent / name
        if _is_there(picture):
            found.append(PictureFile(picture, shown(name)))
        else:
            absent.append(Dropped(shown(name[:200]), f"not there ({path.name}, line {number})"))
    if not found and absent:
        what = "it names one picture, which is not there:"
        if len(absent) > 1:
            what = f"none of the {len(absent)} pictures that it names is there, the first is"
        raise InputError(
            f"list {path}: {what} {absent[0].source!r}; relative paths start at {path.parent}"
        )
    if not found:
        raise InputError(f"list {path} names no picture; write one path a line")
    return found, absent


def _is_there(path: Path) -> bool:
    try:
        return path.is_file()
    except (OSError, ValueError):  # a name that no file can have
        return False


def _looked(found: PictureFile) -> Look | UnreadableError:
    try:
        return look(read_preview(found.path))
    except UnreadableError as error:
        return error


def _from_video(path: Path, count: int, every: int, folder: Path) -> Source:
    """Frames are looked at first and written only when chosen: a film has many."""
    numbers, looks = [], []
    for number, frame in frames(path, every):
        numbers.append(number)
        looks.append(look(frame))
    name = shown(path.name)
    names = [f"{name}/frame_{n:06d}" for n in numbers]
    indices, choice = choose(looks, names, count)
    wanted = {numbers[n]: names[n] for n in indices}
    pictures = []
    for number, frame in frames(path, every, max(wanted)):
        if number in wanted:
            place = folder / f"frame_{number:06d}.bmp"
            _write(place, frame)
            pictures.append(PictureFile(place, wanted[number]))
    stated = stated_frames(path)
    cut = numbers[-1] + every < _WHOLE * stated
    said = f"not whole: it states {stated} frames and ends near frame {numbers[-1]}"
    return Source(tuple(pictures), choice, (Dropped(name, said),) if cut else ())


def _write(place: Path, frame: Picture) -> None:
    done, data = cv2.imencode(".bmp", np.ascontiguousarray(frame))
    if not done:
        raise RuntimeError("OpenCV cannot encode .bmp")
    try:
        place.write_bytes(data.tobytes())
    except OSError as error:
        raise InputError(f"cannot write {place}: {error.strerror}; make room") from error

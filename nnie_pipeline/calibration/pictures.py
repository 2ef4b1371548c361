"""Finding and reading pictures."""

from __future__ import annotations

import hashlib
import stat
import zlib
from collections.abc import Container, Sequence
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from nnie_pipeline.calibration import LARGEST_PIXELS
from nnie_pipeline.calibration.geometry import Picture
from nnie_pipeline.calibration.useless import too_narrow
from nnie_pipeline.errors import InputError

# OpenCV would print lines of its own beside the one error that names the picture.
cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)

SUFFIXES = frozenset(
    {".bmp", ".dib", ".jpeg", ".jpg", ".jpe", ".jp2", ".png", ".webp", ".pbm", ".pgm", ".ppm",
     ".sr", ".ras", ".tiff", ".tif"}
)  # fmt: skip
"""What nnie_mapper accepts in an image list (HiSVP development guide, image_list)."""

OTHER_PICTURES = frozenset(
    {".gif", ".heic", ".heif", ".avif", ".jxl", ".jfif", ".jp2k", ".j2k", ".jxr", ".svg", ".psd",
     ".tga", ".ico", ".pcx", ".exr", ".hdr", ".xcf", ".dng", ".cr2", ".cr3", ".nef", ".arw", ".orf",
     ".rw2", ".raf"}
)  # fmt: skip
"""Pictures by their suffix that are not read; left out, they are named."""

_LARGEST_BYTES = 4 * LARGEST_PIXELS
_LARGE_FILE = 100_000
_PNG = b"\x89PNG\r\n\x1a\n"


@dataclass(frozen=True)
class PictureFile:
    """A picture on disk: `name` and `licence` go into the list of what a set was made from."""

    path: Path
    name: str
    licence: str = "not stated"


@dataclass(frozen=True)
class Dropped:
    """A picture that is left out of a set, and why: words that go behind "is" or a colon."""

    source: str
    reason: str


class UnreadableError(InputError):
    """A picture that cannot be read; `reason` says why in a few words."""

    def __init__(self, where: str, reason: str, fix: str = "remove it or replace it") -> None:
        super().__init__(f"picture {where} is {reason}; {fix}")
        self.reason = reason


def find_pictures(folder: Path) -> list[PictureFile]:
    """All pictures in `folder` and the folders in it, by path; hidden ones are left out.

    Folders that are symbolic links are not entered.

    Raises:
        InputError: no such folder, or no picture in it.
    """
    if not folder.is_dir():
        found = "a file" if folder.exists() else "nothing"
        raise InputError(
            f"picture folder {folder}: found {found} there; give a folder of pictures, a list of "
            "them (.txt) or a video"
        )
    pictures = [PictureFile(folder / x, shown(x.as_posix())) for x in _inside(folder, SUFFIXES)]
    if not pictures:
        others = "".join(f"; {x.source} is {x.reason}" for x in other_pictures(folder)[:3])
        raise InputError(
            f"picture folder {folder} holds no pictures; put some there "
            f"({', '.join(sorted(x[1:] for x in SUFFIXES))}){others}"
        )
    return pictures


def other_pictures(folder: Path) -> list[Dropped]:
    """What in `folder` and the folders in it is a picture by its name, but of no type read here."""
    return [
        Dropped(
            shown(x.as_posix()),
            f"of a type that is not read ({shown(x.suffix)}); convert it to .png",
        )
        for x in _inside(folder, OTHER_PICTURES)
    ]


def shown(name: str) -> str:
    """`name` as it can be printed: control characters and bytes that are no UTF-8 become "?"."""
    return "".join(x if x.isprintable() else "?" for x in name)


def last_readable(pictures: Sequence[PictureFile]) -> PictureFile:
    """The last picture that can be read.

    Raises:
        InputError: none can; the error is that of the last.
    """
    refused = None
    for found in reversed(pictures):
        try:
            read_picture(found.path)
        except UnreadableError as error:
            refused = refused or error
        else:
            return found
    raise refused or InputError("there is no picture; give a folder of pictures")


def none_readable(count: int, first: UnreadableError) -> InputError:
    """The error where none of `count` pictures can be read."""
    return (
        InputError(f"none of the pictures can be read ({count}): {first}") if count > 1 else first
    )


def read_picture(path: Path) -> tuple[Picture, str]:
    """The picture in `path` as (H, W, 3) uint8 in B, G, R, and the file's sha256.

    An EXIF rotation is applied; 16 bit are reduced to 8, transparency is dropped, gray
    becomes three equal channels.

    Raises:
        UnreadableError: cannot be read, is empty, corrupt, or larger than `LARGEST_PIXELS`.
    """
    data = _read_bytes(path)
    return decode_picture(data, str(path)), hashlib.sha256(data).hexdigest()


def read_preview(path: Path) -> Picture:
    """The picture in `path` as `read_picture`, a large file's at a quarter of its size.

    One that would be too narrow to be judged then is read in full.

    Raises:
        UnreadableError: as `read_picture`.
    """
    data = _read_bytes(path)
    if len(data) > _LARGE_FILE:
        quarter = decode_picture(data, str(path), cv2.IMREAD_REDUCED_COLOR_4)
        if not too_narrow((quarter.shape[0], quarter.shape[1])):
            return quarter
    return decode_picture(data, str(path))


def decode_picture(data: bytes, where: str, flags: int = cv2.IMREAD_COLOR) -> Picture:
    """The encoded picture `data` as (H, W, 3) uint8 in B, G, R; `where` names it in errors.

    Raises:
        UnreadableError: as `read_picture`.
    """
    if not data:
        raise UnreadableError(where, "empty")
    corrupt = UnreadableError(where, "corrupt or no picture")
    if data.startswith(_PNG) and not _png_is_whole(data):
        raise corrupt
    try:
        decoded = cv2.imdecode(np.frombuffer(data, np.uint8), flags)
    except cv2.error as error:
        if "MAX_IMAGE" in str(error):
            raise _too_large(where) from error
        raise corrupt from error
    except MemoryError as error:
        raise _too_large(where) from error
    if decoded is None:
        raise corrupt
    if decoded.shape[0] * decoded.shape[1] > LARGEST_PIXELS:
        raise _too_large(where)
    return np.asarray(decoded, np.uint8)


def _png_is_whole(data: bytes) -> bool:
    """Whether the PNG's chunks are complete and their checksums right (ISO/IEC 15948, 5.3).

    libpng reports what it finds on standard error, which no setting of OpenCV prevents.
    """
    place = len(_PNG)
    view = memoryview(data)
    while place + 12 <= len(data):
        end = place + 8 + int.from_bytes(view[place : place + 4], "big")
        if end + 4 > len(data):
            return False
        if zlib.crc32(view[place + 4 : end]) != int.from_bytes(view[end : end + 4], "big"):
            return False
        if data[place + 4 : place + 8] == b"IEND":
            return True
        place = end + 4
    return False


def _inside(folder: Path, suffixes: Container[str]) -> list[Path]:
    """The files with these suffixes, relative to `folder`, by path; hidden ones are left out."""
    files = []
    for path in sorted(folder.rglob("*")):
        inside = path.relative_to(folder)
        hidden = any(part.startswith(".") for part in inside.parts)
        if path.suffix.lower() in suffixes and not hidden and not path.is_dir():
            files.append(inside)
    return files


def _too_large(where: str) -> UnreadableError:
    reason = f"larger than {LARGEST_PIXELS // 1_000_000} million pixels"
    return UnreadableError(where, reason, "make it smaller or remove it")


def _read_bytes(path: Path) -> bytes:
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise UnreadableError(str(path), "not a file", "remove it")
        if status.st_size > _LARGEST_BYTES:
            raise _too_large(str(path))
        return path.read_bytes()
    except OSError as error:
        raise UnreadableError(
            str(path), f"not readable ({error.strerror})", "make it readable or remove it"
        ) from error

"""Finding and reading pictures."""

from __future__ import annotations

import hashlib
import stat
import zlib
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from nnie_pipeline.calibration import LARGEST_PIXELS
from nnie_pipeline.calibration.geometry import Picture
from nnie_pipeline.errors import InputError

# OpenCV would print lines of its own beside the one error that names the picture.
cv2.utils.logging.setLogLevel(cv2.utils.logging.LOG_LEVEL_SILENT)

SUFFIXES = frozenset(
    {".bmp", ".dib", ".jpeg", ".jpg", ".jpe", ".jp2", ".png", ".webp", ".pbm", ".pgm", ".ppm",
     ".sr", ".ras", ".tiff", ".tif"}
)  # fmt: skip
"""What nnie_mapper accepts in an image list (HiSVP development guide, image_list)."""

_LARGEST_BYTES = 4 * LARGEST_PIXELS
_LARGE_JPEG = 100_000
_PNG = b"\x89PNG\r\n\x1a\n"


@dataclass(frozen=True)
class PictureFile:
    """A picture on disk: `name` and `licence` go into the list of what a set was made from."""

    path: Path
    name: str
    licence: str = "not stated"


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
    found_files = []
    for path in sorted(folder.rglob("*")):
        inside = path.relative_to(folder)
        hidden = any(part.startswith(".") for part in inside.parts)
        if path.suffix.lower() in SUFFIXES and not hidden and not path.is_dir():
            found_files.append(PictureFile(path, inside.as_posix()))
    if not found_files:
        raise InputError(
            f"picture folder {folder} holds no pictures; put some there "
            f"({', '.join(sorted(x[1:] for x in SUFFIXES))})"
        )
    return found_files


def read_picture(path: Path) -> tuple[Picture, str]:
    """The picture in `path` as (H, W, 3) uint8 in B, G, R, and the file's sha256.

    An EXIF rotation is applied; 16 bit are reduced to 8, transparency is dropped, gray
    becomes three equal channels.

    Raises:
        InputError: cannot be read, is empty, corrupt, or larger than `LARGEST_PIXELS`.
    """
    data = _read_bytes(path)
    return decode_picture(data, str(path)), hashlib.sha256(data).hexdigest()


def read_preview(path: Path) -> Picture:
    """The picture in `path` as `read_picture`, a large JPEG at a quarter of its size.

    Raises:
        InputError: as `read_picture`.
    """
    data = _read_bytes(path)
    flags = cv2.IMREAD_REDUCED_COLOR_4 if len(data) > _LARGE_JPEG else cv2.IMREAD_COLOR
    return decode_picture(data, str(path), flags)


def decode_picture(data: bytes, where: str, flags: int = cv2.IMREAD_COLOR) -> Picture:
    """The encoded picture `data` as (H, W, 3) uint8 in B, G, R; `where` names it in errors.

    Raises:
        InputError: as `read_picture`.
    """
    if not data:
        raise InputError(f"picture {where} is empty; remove it or replace it")
    corrupt = InputError(f"picture {where} is corrupt or no picture; remove it or replace it")
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


def _too_large(where: str) -> InputError:
    return InputError(
        f"picture {where} has more than {LARGEST_PIXELS // 1_000_000} million pixels; "
        "make it smaller or remove it"
    )


def _read_bytes(path: Path) -> bytes:
    try:
        status = path.stat()
        if not stat.S_ISREG(status.st_mode):
            raise InputError(f"picture {path} is not a file; remove it")
        if status.st_size > _LARGEST_BYTES:
            raise _too_large(str(path))
        return path.read_bytes()
    except OSError as error:
        raise InputError(
            f"cannot read picture {path}: {error.strerror}; make it readable or remove it"
        ) from error

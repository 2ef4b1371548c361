"""What a calibration set keeps of one picture."""

from __future__ import annotations

import contextlib
import os
import struct
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from nnie_pipeline.calibration import contact
from nnie_pipeline.calibration.geometry import Picture, Placement, place
from nnie_pipeline.calibration.network_input import InputSpec, filled, planes_of, stored_pixels
from nnie_pipeline.calibration.pictures import read_picture
from nnie_pipeline.calibration.useless import sampled, useless
from nnie_pipeline.calibration.yuv import RoundTrip, YuvForm, round_trip, to_yvu, yvu_bytes

Counts = npt.NDArray[np.int64]

_BMP_HEADER = 54


@dataclass(frozen=True)
class RawForm:
    """How raw files are written: rows of a multiple of `align` bytes, and .yuv files if `yuv`."""

    align: int = 16
    yuv: YuvForm | None = None


@dataclass(frozen=True)
class Stored:
    """What was written of one picture, and what is collected of the whole set.

    `counts` are (channels, 256), how often each level occurs in the stored pixels; `useless` says
    why the picture teaches nothing, None where it does.
    """

    file: str
    raw: str
    sha256: str
    gray: bool
    useless: str | None
    placement: Placement
    thumbnail: Picture
    counts: Counts
    trip: RoundTrip | None


def store(
    path: Path,
    spec: InputSpec,
    size: tuple[int, int],
    target: Path,
    stem: str,
    cell: int,
    form: RawForm,
) -> Stored:
    """Write the picture in `path` into `target`/pictures and `target`/raw as `stem`.*.

    Raises:
        UnreadableError: it cannot be read.
    """
    source, sha256 = read_picture(path)
    canvas, placement = place(source, size, spec.geometry, spec.anchor, spec.fill_bgr)
    pixels = stored_pixels(canvas, spec.colour)
    planes = planes_of(pixels)
    file = f"pictures/{stem}.bmp"
    raw = f"raw/{stem}.{'bgr' if pixels.ndim == 3 else 'gray'}"
    (target / file).write_bytes(bmp(pixels))
    (target / raw).write_bytes(filled(planes, form.align).data)
    # What the network sees of it, already made smaller.
    inside = sampled(canvas[_inside(placement, spec)])
    reason = useless(inside, (source.shape[0], source.shape[1]))
    trip = None
    if form.yuv is not None:
        luma, chroma = to_yvu(canvas, form.yuv)
        (target / f"raw/{stem}.yuv").write_bytes(yvu_bytes(luma, chroma, form.align))
        trip = round_trip(canvas, luma, chroma, form.yuv)
    return Stored(
        file, raw, sha256, is_gray(source), reason, placement,
        contact.thumbnail(canvas, cell), _levels(planes, placement, spec), trip,
    )  # fmt: skip


@contextlib.contextmanager
def workers() -> Iterator[ThreadPoolExecutor]:
    """Yield as many threads as there are cores, for pictures side by side.

    OpenCV's own threads rest meanwhile: they would take each other's cores, which on two of them
    costs a third of the time.
    """
    _keep_freed_memory()
    earlier = cv2.getNumThreads()
    cv2.setNumThreads(1)
    try:
        with ThreadPoolExecutor(min(8, os.cpu_count() or 1)) as pool:
            yield pool
    finally:
        cv2.setNumThreads(earlier)


def _keep_freed_memory() -> None:
    """Let glibc keep what pictures free, up to 64 MB, in place of giving it back each time.

    Its bounds follow the largest block that was ever freed (mallopt(3), M_MMAP_THRESHOLD, which
    ends at 32 MB). Without this every picture's memory is mapped anew: 2300 page faults each, a
    third of the time.
    """
    block = np.empty((32 << 20) - (1 << 16), np.uint8)
    del block


def lost(stored: Sequence[Stored]) -> RoundTrip | None:
    """What YUV loses of a set: the mean of all pictures, and the largest; None without YUV."""
    trips = [x.trip for x in stored if x.trip is not None]
    if not trips:
        return None
    return RoundTrip(sum(x.mean for x in trips) / len(trips), max(x.largest for x in trips))


def is_gray(picture: Picture) -> bool:
    """Whether the three channels are equal; most pictures are told by a few of their pixels."""
    return all(
        np.array_equal(part[..., :2], part[..., 1:]) for part in (picture[::16, ::16], picture)
    )


def bmp(pixels: Picture) -> memoryview:
    """`pixels` (H, W, 3) in B, G, R, or (H, W), as a .bmp file.

    Of colours the same bytes as OpenCV's, in a third of the time: a header, then the rows from the
    last to the first, each filled with zeros to a multiple of 4 bytes (BITMAPINFOHEADER, 24 bits).
    """
    if pixels.ndim == 2:
        return encoded(".bmp", pixels)
    height, width = pixels.shape[:2]
    row = -(-width * 3 // 4) * 4
    data = np.empty(_BMP_HEADER + height * row, np.uint8)
    size = (data.size, 0, 0, _BMP_HEADER, 40, width, height, 1, 24, 0, 0, 0, 0, 0, 0)
    data[:_BMP_HEADER] = np.frombuffer(struct.pack("<2sI2HI3I2H2I4I", b"BM", *size), np.uint8)
    rows = data[_BMP_HEADER:].reshape(height, row)
    rows[:, : width * 3] = pixels[::-1].reshape(height, width * 3)
    rows[:, width * 3 :] = 0
    return data.data


def encoded(suffix: str, pixels: Picture) -> memoryview:
    """`pixels` as the bytes of a file."""
    done, data = cv2.imencode(suffix, pixels)
    if not done:
        raise RuntimeError(f"OpenCV cannot encode {suffix}")
    return data.data


def _inside(placement: Placement, spec: InputSpec) -> tuple[slice, slice]:
    """The rows and columns of a canvas that are no border."""
    if spec.geometry != "letterbox":
        return slice(None), slice(None)
    top, left = round(placement.top), round(placement.left)
    height = round(placement.height * placement.scale_y)
    return slice(top, top + height), slice(left, left + round(placement.width * placement.scale_x))


def _levels(planes: npt.NDArray[np.uint8], placement: Placement, spec: InputSpec) -> Counts:
    """How often each level occurs; the border, all of one level, is not counted one by one."""
    rows, columns = _inside(placement, spec)
    inside = planes[:, rows, columns]
    # OpenCV counts in float32, which is exact up to 2^24 pixels; NNIE's sides end at 4096.
    counts = np.stack([cv2.calcHist([x], [0], None, [256], [0, 256]).reshape(-1) for x in inside])
    found = counts.astype(np.int64)
    found[np.arange(len(planes)), spec.fill_bgr[: len(planes)]] += planes[0].size - inside[0].size
    return found

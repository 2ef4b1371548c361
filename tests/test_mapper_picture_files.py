"""Sizes out of headers against what OpenCV decodes, and files that are none."""

from __future__ import annotations

import struct
from pathlib import Path

import cv2
import numpy as np
import pytest

from nnie_pipeline.errors import InputError
from nnie_pipeline.mapper.picture_files import picture_size

NOISE = np.random.default_rng(0).integers(0, 256, (37, 50, 3), dtype=np.uint8)


def encoded(suffix: str, channels: int = 3, *parameters: int) -> bytes:
    picture = NOISE if channels == 3 else NOISE[..., 0]
    return bytes(cv2.imencode(suffix, np.ascontiguousarray(picture), parameters)[1])


def written(folder: Path, data: bytes) -> Path:
    path = folder / "picture"
    path.write_bytes(data)
    return path


COLOURED = (".bmp", ".png", ".jpg", ".webp", ".tiff", ".jp2", ".ras")


@pytest.mark.parametrize(
    ("suffix", "channels"),
    [*((x, y) for x in COLOURED for y in (1, 3)), (".pgm", 1), (".ppm", 3)],
)
def test_the_size_is_the_picture_s(tmp_path: Path, suffix: str, channels: int) -> None:
    assert picture_size(written(tmp_path, encoded(suffix, channels))) == (37, 50)


def test_other_forms_of_a_type(tmp_path: Path) -> None:
    progressive = encoded(".jpg", 3, cv2.IMWRITE_JPEG_PROGRESSIVE, 1)
    assert picture_size(written(tmp_path, progressive)) == (37, 50)
    # An application segment, with a thumbnail's end in it, and fill bytes before the next marker.
    exif = b"\xff\xe1" + struct.pack(">H", 12) + b"Exif\0\0\xff\xd9xy" + b"\xff"
    with_exif = progressive[:2] + exif + progressive[2:]
    assert picture_size(written(tmp_path, with_exif)) == (37, 50)
    bmp = bytearray(encoded(".bmp"))
    struct.pack_into("<i", bmp, 22, -37)
    decoded = cv2.imdecode(np.frombuffer(bytes(bmp), np.uint8), cv2.IMREAD_COLOR)
    assert decoded is not None
    assert decoded.shape == (37, 50, 3)
    assert picture_size(written(tmp_path, bytes(bmp))) == (37, 50)
    core = struct.pack("<2sIHHI", b"BM", 0, 0, 0, 26) + struct.pack("<IHHHH", 12, 2, 3, 1, 24)
    assert picture_size(written(tmp_path, core + bytes(24))) == (3, 2)


@pytest.mark.parametrize("suffix", [".bmp", ".png", ".jpg"])
def test_what_is_cut_off_is_refused_wherever(tmp_path: Path, suffix: str) -> None:
    data = encoded(suffix)
    for end in [*range(1, 60), len(data) // 2, len(data) - 2]:
        with pytest.raises(InputError):
            picture_size(written(tmp_path, data[:end]))


def test_the_end_of_a_thumbnail_is_not_the_picture_s(tmp_path: Path) -> None:
    data = encoded(".jpg")
    exif = b"\xff\xe1" + struct.pack(">H", 8) + b"\xff\xd8\xff\xd9ab"
    with pytest.raises(InputError, match="cut off"):
        picture_size(written(tmp_path, data[:2] + exif + data[2:-2]))


@pytest.mark.parametrize(
    ("data", "reason"), [(b"", "empty"), (b"hi\n", "no picture"), (bytes(5000), "no picture")]
)
def test_what_is_no_picture_is_refused(tmp_path: Path, data: bytes, reason: str) -> None:
    with pytest.raises(InputError, match=reason):
        picture_size(written(tmp_path, data))
    with pytest.raises(InputError, match="unreadable"):
        picture_size(tmp_path)

from __future__ import annotations

import hashlib
import os
import struct
import subprocess
import sys
import zlib
from pathlib import Path

import cv2
import numpy as np
import pytest

from nnie_pipeline.calibration.pictures import (
    SUFFIXES,
    find_pictures,
    last_readable,
    other_pictures,
    read_picture,
)
from nnie_pipeline.errors import InputError

LOSSLESS = (".bmp", ".dib", ".png", ".ppm", ".sr", ".ras", ".tiff", ".tif")


def scene() -> np.ndarray:
    y, x = np.indices((40, 56))
    return np.stack((4 * x, 6 * y, 255 - 2 * (x + y)), axis=-1).astype(np.uint8)


def encoded(suffix: str, picture: np.ndarray) -> bytes:
    done, data = cv2.imencode(suffix, picture)
    assert done
    return bytes(data)


def png_of_size(width: int, height: int) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)
    rows = zlib.compress(bytes(1000))
    return (
        b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", rows) + chunk(b"IEND", b"")
    )


@pytest.mark.parametrize("suffix", sorted(SUFFIXES))
def test_every_format_of_the_mapper_is_read(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"picture{suffix.upper()}"
    gray = suffix in {".pgm", ".pbm"}
    source = scene()[..., 1] if gray else scene()
    if suffix == ".pbm":
        source = np.where(source > 128, 255, 0).astype(np.uint8)
    path.write_bytes(encoded(suffix, source))
    picture, sha256 = read_picture(path)
    assert [x.path for x in find_pictures(tmp_path)] == [path]
    assert sha256 == hashlib.sha256(path.read_bytes()).hexdigest()
    assert picture.dtype == np.uint8
    expected = np.repeat(source[..., np.newaxis], 3, axis=-1) if gray else source
    assert picture.shape == expected.shape
    difference = np.abs(picture.astype(int) - expected)
    assert difference.mean() <= (0 if gray or suffix in LOSSLESS else 4)


def test_transparency_and_16_bit_are_reduced(tmp_path: Path) -> None:
    clear = np.concatenate((scene(), np.full((40, 56, 1), 77, np.uint8)), axis=-1)
    (tmp_path / "clear.png").write_bytes(encoded(".png", clear))
    (tmp_path / "deep.png").write_bytes(encoded(".png", scene().astype(np.uint16) * 257))
    for name in ("clear.png", "deep.png"):
        assert np.array_equal(read_picture(tmp_path / name)[0], scene())


def test_exif_rotation_is_honoured(tmp_path: Path) -> None:
    jpeg = encoded(".jpg", scene())
    # One IFD of one entry: tag 0x0112 (orientation), SHORT, 6: turn right by 90 degrees.
    tiff = b"MM\x00\x2a\x00\x00\x00\x08" + struct.pack(">HHHIHHI", 1, 0x0112, 3, 1, 6, 0, 0)
    segment = b"Exif\x00\x00" + tiff
    app1 = b"\xff\xe1" + struct.pack(">H", len(segment) + 2) + segment
    (tmp_path / "plain.jpg").write_bytes(jpeg)
    (tmp_path / "turned.jpg").write_bytes(jpeg[:2] + app1 + jpeg[2:])
    plain, _ = read_picture(tmp_path / "plain.jpg")
    turned, _ = read_picture(tmp_path / "turned.jpg")
    assert np.array_equal(turned, np.rot90(plain, -1))


@pytest.mark.parametrize("suffix", sorted(SUFFIXES))
@pytest.mark.parametrize("share", [0.0, 0.02, 0.5, 0.9])
def test_a_truncated_picture_is_named(
    tmp_path: Path, suffix: str, share: float, capfd: pytest.CaptureFixture[str]
) -> None:
    source = scene()[..., 1] if suffix in {".pgm", ".pbm"} else scene()
    data = encoded(suffix, source)
    path = tmp_path / f"broken{suffix}"
    path.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(InputError, match=r"broken.*(corrupt|empty).*remove it or replace it"):
        read_picture(path)
    assert capfd.readouterr().err == ""


def test_text_with_the_name_of_a_picture_is_named(tmp_path: Path) -> None:
    path = tmp_path / "notes.jpg"
    path.write_text("not a picture at all")
    with pytest.raises(InputError, match=r"notes\.jpg is corrupt or no picture"):
        read_picture(path)


def test_a_flipped_bit_in_a_png_is_found(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    data = bytearray(encoded(".png", scene()))
    data[len(data) // 2] ^= 4
    (tmp_path / "flipped.png").write_bytes(data)
    with pytest.raises(InputError, match=r"flipped\.png is corrupt"):
        read_picture(tmp_path / "flipped.png")
    assert capfd.readouterr().err == ""


def test_a_huge_picture_is_refused_before_it_is_decoded(tmp_path: Path) -> None:
    path = tmp_path / "huge.png"
    path.write_bytes(png_of_size(20_000, 20_000))
    code = (
        "import sys, pathlib\n"
        "from nnie_pipeline.calibration.pictures import read_picture\n"
        "from nnie_pipeline.errors import InputError\n"
        "try:\n"
        "    read_picture(pathlib.Path(sys.argv[1]))\n"
        "except InputError as error:\n"
        "    print(error)\n"
    )
    environment = {k: v for k, v in os.environ.items() if k != "OPENCV_IO_MAX_IMAGE_PIXELS"}
    # A process of its own: OpenCV takes its bound when it is loaded.
    done = subprocess.run(
        [sys.executable, "-c", code, str(path)],
        capture_output=True, text=True, check=True, env=environment,
    )  # fmt: skip
    assert "huge.png is larger than 100 million pixels; make it smaller" in done.stdout


def test_unreadable_and_special_files_are_named(tmp_path: Path) -> None:
    (tmp_path / "gone.jpg").symlink_to(tmp_path / "nowhere.jpg")
    os.mkfifo(tmp_path / "pipe.jpg")
    with pytest.raises(InputError, match=r"gone\.jpg is not readable \(No such file"):
        read_picture(tmp_path / "gone.jpg")
    with pytest.raises(InputError, match=r"pipe\.jpg is not a file"):
        read_picture(tmp_path / "pipe.jpg")


def test_a_folder_is_searched_deep_and_in_order(tmp_path: Path) -> None:
    for name in ("b.png", "a/z.JPG", "a/deep/y.bmp", "notes.txt", ".hidden.png", ".thumbs/x.png",
                 "folder.png/inside.png"):  # fmt: skip
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    (tmp_path / "a" / "loop").symlink_to(tmp_path)
    names = [x.name for x in find_pictures(tmp_path)]
    assert names == ["a/deep/y.bmp", "a/z.JPG", "b.png", "folder.png/inside.png"]


def test_pictures_of_other_types_are_named(tmp_path: Path) -> None:
    for name in ("a.gif", "deep/phone.HEIC", "notes.txt", ".cache/x.gif", "b.gif/readme"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(b"x")
    found = other_pictures(tmp_path)
    assert [x.source for x in found] == ["a.gif", "deep/phone.HEIC"]
    assert found[1].reason == "of a type that is not read (.HEIC); convert it to .png"
    with pytest.raises(InputError, match=r"holds no pictures; .*; a\.gif is of a type that is not"):
        find_pictures(tmp_path)


def test_names_can_be_printed_and_stored(tmp_path: Path) -> None:
    """A terminal gets no control characters, a record no bytes that are not UTF-8."""
    for name in ("a\x1b[31m\n.png", "人.png", "b\udcff.png"):
        (tmp_path / name).write_bytes(b"x")
    assert [x.name for x in find_pictures(tmp_path)] == ["a?[31m?.png", "b?.png", "人.png"]
    (tmp_path / "c\udcff.gif").write_bytes(b"x")
    assert [x.source for x in other_pictures(tmp_path)] == ["c?.gif"]


def test_the_last_picture_that_can_be_read(tmp_path: Path) -> None:
    for name in ("a.png", "b.png"):
        (tmp_path / name).write_bytes(encoded(".png", scene()))
    for name in ("c.png", "d.png"):
        (tmp_path / name).write_bytes(b"no picture")
    assert last_readable(find_pictures(tmp_path)).name == "b.png"
    with pytest.raises(InputError, match=r"d\.png is corrupt"):
        last_readable(find_pictures(tmp_path)[2:])


@pytest.mark.parametrize(
    ("place", "message"),
    [("empty", "holds no pictures; put some there"), ("none", "found nothing there"),
     ("file.txt", "found a file there")],
)  # fmt: skip
def test_a_folder_without_pictures_is_named(tmp_path: Path, place: str, message: str) -> None:
    (tmp_path / "empty").mkdir()
    (tmp_path / "empty" / "readme.txt").write_text("nothing")
    (tmp_path / "file.txt").write_text("nothing")
    with pytest.raises(InputError, match=f"picture folder .*{place}.*{message}"):
        find_pictures(tmp_path / place)

"""Pictures of folders, lists and videos."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from nnie_pipeline.calibration.pictures import read_picture, read_preview
from nnie_pipeline.calibration.sources import check_apart, files_of, opened
from nnie_pipeline.calibration.video import frames
from nnie_pipeline.errors import InputError
from tests.test_calibration_choice import scene


def save(path: Path, picture: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(bytes(cv2.imencode(path.suffix, picture)[1]))
    return path


@pytest.fixture
def film(tmp_path: Path) -> Path:
    """Four scenes of ten frames with a black one in front; frame n has the level of its scene."""
    path = tmp_path / "film.avi"
    writer = cv2.VideoWriter(str(path), cv2.VideoWriter_fourcc(*"MJPG"), 25, (160, 90))
    assert writer.isOpened()
    for number in range(50):
        shown = np.zeros((90, 160, 3), np.uint8) if number < 10 else scene(number // 10)
        writer.write(shown)
    writer.release()
    return path


def test_a_list_is_read_in_its_order(tmp_path: Path) -> None:
    save(tmp_path / "deep" / "b.png", scene(1))
    outside = save(tmp_path / "人.png", scene(2))
    lines = f"\ufeff./deep/b.png\r\n\n{outside}\ndeep/b.png\n"
    (tmp_path / "list.txt").write_bytes(lines.encode())
    with opened(tmp_path / "list.txt") as source:
        assert [x.name for x in source.pictures] == ["./deep/b.png", str(outside), "deep/b.png"]
        assert all(x.path.is_file() for x in source.pictures)
        assert source.choice is None
    with opened(tmp_path / "list.txt", 5) as source:
        assert [x.name for x in source.pictures] == ["./deep/b.png", str(outside)]
        assert source.choice is not None
        assert source.choice.dropped[0].reason == "near-duplicate of ./deep/b.png"


def test_a_list_may_say_more_than_there_is(tmp_path: Path) -> None:
    """Comments and empty lines say nothing; what is not there is named with its line."""
    save(tmp_path / "a.png", scene(1))
    save(tmp_path / "#1.png", scene(2))
    long = "x" * 5000
    lines = f"# faces\n\n  #a.png\na.png\nb.png\n./#1.png\n{long}\n.\n"
    (tmp_path / "list.lst").write_text(lines)
    with opened(tmp_path / "list.lst") as source:
        assert [x.name for x in source.pictures] == ["a.png", "./#1.png"]
        assert [(x.source, x.reason) for x in source.dropped] == [
            ("b.png", "not there (list.lst, line 5)"),
            ("x" * 200, "not there (list.lst, line 7)"),
            (".", "not there (list.lst, line 8)"),
        ]
    assert [x.name for x in files_of(tmp_path / "list.lst")] == ["list.lst", "a.png", "#1.png"]


def test_what_cannot_be_read_is_left_out_of_a_choice(tmp_path: Path) -> None:
    for name, number in (("a.png", 1), ("c.png", 2), ("d.png", 3)):
        save(tmp_path / name, scene(number))
    (tmp_path / "b.png").write_bytes(b"no picture")
    (tmp_path / "e.png").symlink_to(tmp_path / "e.png")
    (tmp_path / "f.gif").write_bytes(b"GIF89a")
    with opened(tmp_path, 3) as source:
        assert [x.name for x in source.pictures] == ["a.png", "c.png", "d.png"]
        assert source.choice is not None
        assert (source.choice.found, source.choice.dropped) == (3, ())
        assert {x.source: x.reason.split(" (")[0] for x in source.dropped} == {
            "f.gif": "of a type that is not read",
            "b.png": "corrupt or no picture",
            "e.png": "not readable",
        }
    assert len(files_of(tmp_path)) == 4
    for name in ("a.png", "c.png", "d.png"):
        (tmp_path / name).write_bytes(b"")
    message = r"none of the pictures can be read \(5\): .*a\.png is empty"
    with pytest.raises(InputError, match=message), opened(tmp_path, 3):
        pass


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"#c\nc.png\nd\0.png\n", r"none of the 2 .* is there, the first is 'c\.png'; relative"),
        (b"# deep/b.png\n", "names no picture"),
        (b"\n\n", "names no picture"),
        (b"\xff\xfe\x00", "is not UTF-8 text"),
    ],
)
def test_a_bad_list_is_named(tmp_path: Path, content: bytes, message: str) -> None:
    save(tmp_path / "deep" / "b.png", scene(1))
    (tmp_path / "list.txt").write_bytes(content)
    with pytest.raises(InputError, match=message), opened(tmp_path / "list.txt"):
        pass


def test_frames_of_a_video_are_looked_at_and_chosen(film: Path) -> None:
    assert [number for number, _ in frames(film, 7)] == [0, 7, 14, 21, 28, 35, 42, 49]
    with opened(film, 9, every=5) as source:
        assert source.choice is not None
        assert source.choice.found == 10
        reasons = {x.source: x.reason for x in source.choice.dropped}
        names = [x.name for x in source.pictures]
        assert names == [f"film.avi/frame_0000{n}" for n in (10, 20, 30, 40)]
        assert reasons["film.avi/frame_000005"].startswith("black")
        assert reasons["film.avi/frame_000025"] == "near-duplicate of film.avi/frame_000020"
        wanted = dict(frames(film, 10))
        for number, picture in zip((10, 20, 30, 40), source.pictures, strict=True):
            assert np.array_equal(read_picture(picture.path)[0], wanted[number])
            assert np.abs(wanted[number].astype(int) - scene(number // 10)).mean() < 6
        place = source.pictures[0].path.parent
    assert not place.exists()
    with opened(film, 2, every=5) as source:
        assert len(source.pictures) == 2


def test_a_video_that_is_cut_off_is_named(film: Path) -> None:
    data = film.read_bytes()
    film.write_bytes(data[: len(data) * 6 // 10])
    with opened(film, 3, every=5) as source:
        assert len(source.pictures) == 3
        assert [x.source for x in source.dropped] == ["film.avi"]
        assert source.dropped[0].reason.startswith("not whole: it states 50 frames and ends near")
    film.write_bytes(data)
    with opened(film, 3, every=20) as source:
        assert source.dropped == ()


def test_results_never_lie_among_the_pictures(tmp_path: Path) -> None:
    """What was written there would be taken for pictures the next time."""
    (tmp_path / "pics").mkdir()
    (tmp_path / "link").symlink_to(tmp_path / "pics")
    for out in ("pics", "pics/deep/set", "link/set", "pics/../pics/x"):
        with pytest.raises(InputError, match="choose a folder outside it"):
            check_apart(tmp_path / "pics", tmp_path / out)
    check_apart(tmp_path / "pics", tmp_path / "pics2" / "set")
    save(tmp_path / "list.png", scene(1))
    check_apart(tmp_path / "list.png", tmp_path / "set")


@pytest.mark.parametrize(
    ("name", "every", "message"),
    [("broken.mp4", 1, r"broken\.mp4 cannot be read: cut off"),
     ("film.avi", 0, "--every 0: write 1"), ("gone.mp4", 1, "found nothing there")],
)  # fmt: skip
def test_a_bad_video_is_named(
    film: Path, name: str, every: int, message: str, capfd: pytest.CaptureFixture[str]
) -> None:
    (film.parent / "broken.mp4").write_bytes(b"no video" * 99)
    with pytest.raises(InputError, match=message), opened(film.parent / name, every=every):
        pass
    assert capfd.readouterr().err == ""


def test_a_preview_shows_a_large_jpeg_smaller(tmp_path: Path) -> None:
    noise = np.random.default_rng(3).integers(0, 256, (400, 600, 3), dtype=np.uint8)
    large = save(tmp_path / "large.jpg", noise)
    assert large.stat().st_size > 100_000
    assert read_preview(large).shape == (100, 150, 3)
    small = save(tmp_path / "small.jpg", scene(1))
    assert np.array_equal(read_preview(small), read_picture(small)[0])

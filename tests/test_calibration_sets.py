from __future__ import annotations

import hashlib
import json
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from nnie_pipeline.calibration.network_input import InputSpec
from nnie_pipeline.calibration.pictures import Dropped, PictureFile, find_pictures
from nnie_pipeline.calibration.sets import (
    ascii_name,
    load_input,
    load_inputs,
    read_set,
    write_set,
)
from nnie_pipeline.calibration.stored import bmp, workers
from nnie_pipeline.errors import InputError

BGR = InputSpec("BGR", (104, 117, 123), (1, 1, 1), "letterbox", "top-left", (104, 117, 123))
RGB = InputSpec("RGB", (1, 2, 3), (0.5, 0.5, 0.5), "letterbox", "centre", (10, 20, 30))
GRAY = InputSpec("GRAY", (127.5,), (1 / 128,), "stretch", fill=(0,))


def save(path: Path, picture: np.ndarray) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    done, data = cv2.imencode(path.suffix, picture)
    assert done
    path.write_bytes(bytes(data))
    return path


@pytest.fixture
def pictures(tmp_path: Path) -> list[PictureFile]:
    noise = np.random.default_rng(1).integers(0, 256, (50, 70, 3), dtype=np.uint8)
    folder = tmp_path / "mine"
    save(folder / "a b.png", noise)
    save(folder / "人脸 été.png", np.ascontiguousarray(noise[:, ::-1]))
    save(folder / "gray.png", noise[..., 0])
    return find_pictures(folder)


@pytest.mark.parametrize("spec", [BGR, RGB, GRAY], ids=lambda x: x.colour)
def test_a_stored_picture_gives_its_raw_planes_and_input(
    tmp_path: Path, pictures: list[PictureFile], spec: InputSpec
) -> None:
    out = tmp_path / "set"
    record = write_set(pictures, spec, (48, 64), out)
    inputs = list(load_inputs(out))
    assert len(inputs) == len(record.pictures) == 3
    for number, entry in enumerate(record.pictures):
        stored = cv2.imdecode(np.fromfile(out / entry.file, np.uint8), cv2.IMREAD_UNCHANGED)
        raw = np.fromfile(out / entry.raw, np.uint8)
        planes = stored[np.newaxis] if stored.ndim == 2 else stored.transpose(2, 0, 1)
        assert planes.shape == (spec.channels, 48, 64)
        assert np.array_equal(raw, planes.ravel())
        order = planes[::-1] if spec.colour == "RGB" else planes
        mean, scale = (np.float32(x)[:, None, None] for x in (spec.mean, spec.scale))
        expected = (order.astype(np.float32) - mean) * scale
        assert np.array_equal(inputs[number][0], expected)
        assert np.array_equal(load_input(out, number), inputs[number])
    assert np.array_equal(load_input(out, -1), inputs[-1])


def test_the_lists_are_ascii_and_relative(tmp_path: Path, pictures: list[PictureFile]) -> None:
    out = tmp_path / "sét"
    write_set(pictures, RGB, (48, 64), out)
    assert (out / "image_list.txt").read_bytes().decode("ascii").splitlines() == [
        "pictures/000_a_b.bmp",
        "pictures/001_gray.bmp",
        "pictures/002_ete.bmp",
    ]
    assert [float(x) for x in (out / "mean.txt").read_text().splitlines()] == [1, 2, 3]
    assert all((out / x).is_file() for x in (out / "image_list.txt").read_text().split())


def test_the_record_says_how_the_set_was_made(tmp_path: Path, pictures: list[PictureFile]) -> None:
    out = tmp_path / "set"
    record = write_set(pictures, BGR, (32, 64), out)
    assert read_set(out) == record
    assert record.gray == ["gray.png"]
    text = json.loads((out / "calibration.json").read_text())
    assert text["input"]["geometry"] == "letterbox"
    assert text["input"]["anchor"] == "top-left"
    assert text["input"]["fill"] == [104, 117, 123]
    assert text["input"]["mean"] == [104, 117, 123]
    assert text["interpolation"] == "area if no side grows, else linear"
    assert (text["height"], text["width"]) == (32, 64)
    first = text["pictures"][0]
    assert first["source"] == "a b.png"
    assert first["licence"] == "not stated"
    assert first["sha256"] == hashlib.sha256(pictures[0].path.read_bytes()).hexdigest()
    assert first["gray"] is False
    assert first["placement"]["width"] == 70
    assert first["placement"]["scale_y"] == 32 / 50


def test_the_letterbox_is_filled_with_the_networks_colour(
    tmp_path: Path, pictures: list[PictureFile]
) -> None:
    write_set(pictures, RGB, (100, 70), tmp_path / "set")
    corner = cv2.imread(str(tmp_path / "set/pictures/000_a_b.bmp"))[0, 0]
    assert corner.tolist() == [30, 20, 10]
    assert load_input(tmp_path / "set", 0)[0, :, 0, 0].tolist() == [4.5, 9, 13.5]


def test_a_contact_sheet_shows_every_picture(tmp_path: Path) -> None:
    colours = [(0, 0, 250), (0, 250, 0), (250, 0, 0), (0, 250, 250), (250, 0, 250)]
    for number, colour in enumerate(colours):
        save(tmp_path / "in" / f"{number}.png", np.full((20, 20, 3), colour, np.uint8))
    write_set(find_pictures(tmp_path / "in"), BGR, (32, 32), tmp_path / "set")
    sheet = cv2.imread(str(tmp_path / "set" / "contact.png"))
    rows, columns = 2, 3
    cell = sheet.shape[0] // rows
    assert sheet.shape[1] == columns * cell
    middles = [
        sheet[n // columns * cell + cell // 2, n % columns * cell + cell // 2].tolist()
        for n in range(6)
    ]
    assert middles == [*map(list, colours), [255, 255, 255]]


def test_only_gray_pictures_are_refused_unless_allowed(tmp_path: Path) -> None:
    for number in range(2):
        save(tmp_path / "in" / f"{number}.png", np.full((9, 9), 40 * number, np.uint8))
    found = find_pictures(tmp_path / "in")
    with pytest.raises(InputError, match=r"all 2 pictures are gray .* --allow-gray"):
        write_set(found, BGR, (32, 32), tmp_path / "set")
    assert not (tmp_path / "set").exists()
    record = write_set(found, BGR, (32, 32), tmp_path / "set", allow_gray=True)
    assert record.gray == ["0.png", "1.png"]
    assert len(write_set(found, GRAY, (32, 32), tmp_path / "gray").pictures) == 2


def test_one_coloured_pixel_makes_a_colour_picture(tmp_path: Path) -> None:
    picture = np.full((40, 40, 3), 90, np.uint8)
    picture[19, 21, 2] = 91
    save(tmp_path / "in" / "almost.png", picture)
    assert write_set(find_pictures(tmp_path / "in"), BGR, (32, 32), tmp_path / "set").gray == []


def test_corrupt_pictures_alone_leave_the_earlier_set(
    tmp_path: Path, pictures: list[PictureFile]
) -> None:
    out = tmp_path / "set"
    write_set(pictures, BGR, (32, 32), out)
    before = {p: p.read_bytes() for p in out.rglob("*") if p.is_file()}
    for picture in pictures:
        picture.path.write_bytes(b"broken")
    message = r"none of the pictures can be read \(3\): picture .*a b\.png is corrupt"
    with pytest.raises(InputError, match=message):
        write_set(pictures, BGR, (64, 64), out)
    with pytest.raises(InputError, match=r"^picture .*gray\.png is corrupt"):
        write_set(pictures[1:2], BGR, (64, 64), out)
    assert {p: p.read_bytes() for p in out.rglob("*") if p.is_file()} == before
    assert [x.name for x in tmp_path.iterdir() if x.name.startswith(".")] == []


def test_a_corrupt_picture_is_left_out_with_its_reason(
    tmp_path: Path, pictures: list[PictureFile]
) -> None:
    """The others keep their numbers, on the contact sheet too."""
    out = tmp_path / "set"
    pictures[1].path.write_bytes(b"broken")
    record = write_set(pictures, BGR, (32, 32), out, dropped=[Dropped("x.gif", "of a type")])
    assert [x.file for x in record.pictures] == ["pictures/000_a_b.bmp", "pictures/002_ete.bmp"]
    assert [x.source for x in record.pictures] == ["a b.png", "人脸 été.png"]
    assert [(x.source, x.reason) for x in record.dropped] == [
        ("x.gif", "of a type"), ("gray.png", "corrupt or no picture"),
    ]  # fmt: skip
    assert read_set(out) == record
    assert len((out / "image_list.txt").read_text().splitlines()) == 2
    assert sorted(x.name for x in (out / "raw").iterdir()) == ["000_a_b.bgr", "002_ete.bgr"]
    assert len(list(load_inputs(out))) == 2
    write_set([pictures[0], pictures[2]], BGR, (32, 32), tmp_path / "two")
    sheets = [cv2.imread(str(x / "contact.png")).astype(int) for x in (out, tmp_path / "two")]
    moved = np.abs(sheets[0] - sheets[1]).any(axis=(0, 2))
    cell = len(sheets[0])
    assert not moved[:cell].any()
    assert moved[cell:].any()


def test_a_new_set_replaces_the_whole_old_one(tmp_path: Path, pictures: list[PictureFile]) -> None:
    out = tmp_path / "set"
    write_set(pictures, BGR, (32, 32), out)
    write_set(pictures[:1], BGR, (32, 32), out)
    assert [x.name for x in (out / "pictures").iterdir()] == ["000_a_b.bmp"]


def test_a_folder_with_other_files_is_never_replaced(
    tmp_path: Path, pictures: list[PictureFile]
) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "thesis.txt").write_text("years of work")
    with pytest.raises(InputError, match=r"holds thesis\.txt.*choose a new folder"):
        write_set(pictures, BGR, (32, 32), tmp_path / "home")
    assert (tmp_path / "home" / "thesis.txt").read_text() == "years of work"


def test_progress_counts_every_picture(tmp_path: Path, pictures: list[PictureFile]) -> None:
    seen: list[tuple[int, int]] = []
    write_set(pictures, BGR, (32, 32), tmp_path / "set", progress=lambda *x: seen.append(x))
    assert seen == [(1, 3), (2, 3), (3, 3)]


def damaged(change: Any) -> Any:
    def apply(path: Path) -> None:
        value = json.loads(path.read_text())
        change(value)
        path.write_text(json.dumps(value))

    return apply


@pytest.mark.parametrize(
    "damage",
    [
        lambda path: path.write_text("{"),
        lambda path: path.write_text("[]"),
        damaged(lambda value: value.pop("pictures")),
        damaged(lambda value: value["pictures"].clear()),
        damaged(lambda value: value["input"].update(colour="CMYK")),
        damaged(lambda value: value["pictures"][0].update(file="../../etc/passwd")),
        damaged(lambda value: value["pictures"][0].update(file="/etc/passwd")),
    ],
)
def test_a_damaged_record_is_named(
    tmp_path: Path, pictures: list[PictureFile], damage: Any
) -> None:
    out = tmp_path / "set"
    write_set(pictures, BGR, (32, 32), out)
    damage(out / "calibration.json")
    with pytest.raises(InputError, match=r"calibration\.json"):
        load_input(out, 0)


def test_a_folder_without_a_set_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds no calibration set; write one with nnie calibrate"):
        read_set(tmp_path)


def test_wrong_numbers_and_changed_pictures_are_named(
    tmp_path: Path, pictures: list[PictureFile]
) -> None:
    out = tmp_path / "set"
    write_set(pictures, BGR, (32, 32), out)
    with pytest.raises(InputError, match="has 3 pictures; there is no number 3"):
        load_input(out, 3)
    save(out / "pictures/000_a_b.bmp", np.zeros((16, 16, 3), np.uint8))
    with pytest.raises(InputError, match="is not 32x32 any more"):
        load_input(out, 0)


@pytest.mark.parametrize(
    ("text", "name"),
    [("a b", "a_b"), ("Ünïcode", "Unicode"), ("人", "picture"), ("", "picture"),
     ("x" * 99, "x" * 40), ("../..", "picture"), ("a\nb", "a_b")],
)  # fmt: skip
def test_ascii_names(text: str, name: str) -> None:
    assert ascii_name(text) == name


@pytest.mark.parametrize("anchor", ["top-left", "centre"])
@pytest.mark.parametrize("geometry", ["letterbox", "stretch", "crop"])
@pytest.mark.parametrize("colour", ["RGB", "GRAY"])
def test_levels_of_all_stored_pixels_are_counted(
    tmp_path: Path, pictures: list[PictureFile], colour: Any, geometry: Any, anchor: Any
) -> None:
    given = (10, 20, 30) if colour == "RGB" else (10,)
    zeros, ones = (0,) * len(given), (1,) * len(given)
    spec = InputSpec(colour, zeros, ones, geometry, anchor, given)
    for size in ((48, 64), (97, 33), (20, 90)):
        record = write_set(pictures, spec, size, tmp_path / "set")
        found = json.loads((tmp_path / "set" / "histograms.json").read_text())
        assert found["channels"] == (["B", "G", "R"] if colour == "RGB" else ["Y"])
        stored = [
            cv2.imread(str(tmp_path / "set" / x.file), cv2.IMREAD_UNCHANGED)
            for x in record.pictures
        ]
        planes = np.stack(stored).reshape(len(stored), *size, -1)
        for channel, counts in enumerate(found["counts"]):
            expected = np.bincount(planes[..., channel].reshape(-1), minlength=256)
            assert counts == expected.tolist()


@pytest.mark.parametrize("size", [(1, 1), (3, 4), (5, 7), (640, 641)])
def test_bmp_files_are_those_of_opencv(size: tuple[int, int]) -> None:
    noise = np.random.default_rng(2).integers(0, 256, (*size, 3), dtype=np.uint8)
    for pixels in (noise, noise[..., 0].copy()):
        assert bytes(bmp(pixels)) == bytes(cv2.imencode(".bmp", pixels)[1])


def test_opencvs_threads_rest_while_pictures_are_made_and_come_back() -> None:
    cv2.setNumThreads(3)
    with workers() as pool:
        assert pool.submit(cv2.getNumThreads).result() == 1
    assert cv2.getNumThreads() == 3

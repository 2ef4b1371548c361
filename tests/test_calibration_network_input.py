from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nnie_pipeline.calibration.network_input import (
    InputSpec,
    planar_bytes,
    stored_pixels,
    to_blob,
)
from nnie_pipeline.calibration.pictures import read_picture
from nnie_pipeline.errors import InputError

BLUE, GREEN, RED = 200, 30, 120
CANVAS = np.full((2, 3, 3), (BLUE, GREEN, RED), np.uint8)


def spec(**values: Any) -> InputSpec:
    return InputSpec(**({"colour": "BGR", "mean": (0, 0, 0), "scale": (1, 1, 1)} | values))


@pytest.mark.parametrize(
    ("colour", "channels"), [("BGR", (BLUE, GREEN, RED)), ("RGB", (RED, GREEN, BLUE))]
)
def test_a_strong_colour_arrives_in_the_networks_order(
    colour: Any, channels: tuple[int, ...]
) -> None:
    blob = to_blob(CANVAS, spec(colour=colour))
    assert blob.shape == (1, 3, 2, 3)
    assert blob.dtype == np.float32
    assert blob.flags.c_contiguous
    assert [set(plane.ravel().tolist()) for plane in blob[0]] == [{x} for x in channels]


def test_mean_is_subtracted_first_in_the_networks_order() -> None:
    rgb = spec(colour="RGB", mean=(120, 20, 100), scale=(0.5, 0.25, 2))
    assert to_blob(CANVAS, rgb)[0, :, 1, 2].tolist() == [0, 2.5, 200]
    bgr = spec(mean=(100, 20, 120), scale=(0.5, 0.5, 0.5))
    assert to_blob(CANVAS, bgr)[0, :, 0, 0].tolist() == [50, 5, 0]


def test_the_board_reads_blue_first_whatever_the_network_wants() -> None:
    assert planar_bytes(CANVAS) == bytes([BLUE] * 6 + [GREEN] * 6 + [RED] * 6)


def test_planes_are_rows_from_left_to_right() -> None:
    canvas = np.arange(2 * 3 * 3, dtype=np.uint8).reshape(2, 3, 3)
    assert list(planar_bytes(canvas)) == [
        0,
        3,
        6,
        9,
        12,
        15,
        1,
        4,
        7,
        10,
        13,
        16,
        2,
        5,
        8,
        11,
        14,
        17,
    ]


def test_a_gray_network_gets_one_plane_of_luma() -> None:
    pixels = stored_pixels(CANVAS, "GRAY")
    luma = round(0.114 * BLUE + 0.587 * GREEN + 0.299 * RED)
    assert planar_bytes(pixels) == bytes([luma] * 6)
    blob = to_blob(pixels, InputSpec("GRAY", (10,), (2,), fill=(0,)))
    assert blob.tolist() == [[[[2 * (luma - 10)] * 3] * 2]]


@pytest.mark.parametrize(
    ("colour", "fill", "bgr"),
    [("BGR", (1, 2, 3), (1, 2, 3)), ("RGB", (1, 2, 3), (3, 2, 1))],
)
def test_fill_is_turned_for_the_canvas(
    colour: Any, fill: tuple[int, ...], bgr: tuple[int, ...]
) -> None:
    assert spec(colour=colour, fill=fill).fill_bgr == bgr
    assert InputSpec("GRAY", (0,), (1,), fill=(7,)).fill_bgr == (7, 7, 7)


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ({"mean": (1, 2)}, "mean has 2 values, but BGR has 3 channels"),
        ({"colour": "GRAY"}, "mean has 3 values, but GRAY has 1 channels"),
        ({"scale": (1, 0, 1)}, "scale .* 0 makes every input the same"),
        ({"scale": (1, float("nan"), 1)}, "finite"),
        ({"fill": (0, 0, 256)}, "fill .* from 0 to 255"),
        ({"fill": (0, 0, 1.5)}, "fill .* whole numbers"),
    ],
)
def test_values_out_of_place_are_refused(values: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        spec(**values)


@pytest.mark.parametrize(
    ("name", "side", "swapped_is"),
    [("det39", 640, 5), ("det41", 640, 15), ("id11", 112, 30), ("pose", 112, 15), ("id10", 112, 0)],
)
def test_raw_planes_equal_those_of_a_board_program(
    shared: Path, name: str, side: int, swapped_is: float
) -> None:
    """Decoders of JPEG differ by a few steps at edges of colour; swapped planes by far more."""
    picture, _ = read_picture(shared / "images" / "rgb_planar" / f"{name}.jpg")
    assert picture.shape == (side, side, 3)
    given = np.fromfile(shared / "images" / "rgb_planar" / f"{name}.bgr", np.uint8).astype(int)
    ours = np.frombuffer(planar_bytes(picture), np.uint8)
    assert ours.shape == given.shape
    assert np.abs(ours - given).mean() < 0.5
    assert (np.abs(ours - given) <= 2).mean() > 0.96
    swapped = np.frombuffer(planar_bytes(picture[..., ::-1]), np.uint8)
    assert np.abs(swapped - given).mean() >= swapped_is


@pytest.mark.parametrize("name", ["det39", "det41", "id10", "id11", "pose"])
def test_planes_of_public_pairs(shared: Path, name: str) -> None:
    """Planes that others made from a JPEG for NNIE; their JPEG decoder rounds differently."""
    folder = shared / "images" / "rgb_planar"
    picture, _ = read_picture(folder / f"{name}.jpg")
    given = np.fromfile(folder / f"{name}.bgr", np.uint8)
    ours = np.frombuffer(planar_bytes(picture, 16), np.uint8)
    assert ours.size == given.size
    difference = np.abs(ours.astype(int) - given)
    assert difference.mean() < 1
    assert np.quantile(difference, 0.99) <= 6
    swapped = np.frombuffer(planar_bytes(picture[..., ::-1]), np.uint8).astype(int)
    if picture.std(axis=2).max() > 5:
        assert np.abs(swapped - given).mean() > 5 * max(difference.mean(), 0.1)

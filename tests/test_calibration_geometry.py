from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from nnie_pipeline.calibration.geometry import Anchor, Geometry, place

FILL = (1, 2, 3)


def flat(height: int, width: int) -> np.ndarray:
    return np.full((height, width, 3), (90, 120, 200), np.uint8)


def spot(height: int, width: int, y: int, x: int, side: int) -> np.ndarray:
    picture = np.zeros((height, width, 3), np.uint8)
    picture[y : y + side, x : x + side] = 255
    return picture


def centre_of_light(canvas: np.ndarray) -> tuple[float, float]:
    weight = canvas[..., 0].astype(float)
    y, x = np.indices(weight.shape) + 0.5
    return (x * weight).sum() / weight.sum(), (y * weight).sum() / weight.sum()


@pytest.mark.parametrize(("anchor", "top", "left"), [("top-left", 0, 0), ("centre", 35, 0)])
def test_letterbox_keeps_the_shape_and_fills_the_rest(anchor: Anchor, top: int, left: int) -> None:
    canvas, placement = place(flat(60, 200), (100, 100), "letterbox", anchor, FILL)
    expected = np.full((100, 100, 3), FILL, np.uint8)
    expected[top : top + 30, left : left + 100] = (90, 120, 200)
    assert np.array_equal(canvas, expected)
    assert (placement.left, placement.top) == (left, top)
    assert (placement.scale_x, placement.scale_y) == (0.5, 0.5)
    assert (placement.height, placement.width) == (60, 200)


def test_letterbox_of_a_tall_picture_is_centred_across() -> None:
    canvas, placement = place(flat(200, 60), (100, 120), "letterbox", "centre", FILL)
    assert (placement.left, placement.top) == (45, 0)
    assert np.array_equal(canvas[:, 44], np.full((100, 3), FILL))
    assert np.array_equal(canvas[:, 45], np.full((100, 3), (90, 120, 200)))


def test_a_picture_of_the_canvas_size_is_untouched() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (48, 64, 3), dtype=np.uint8)
    for geometry in ("letterbox", "stretch", "crop"):
        canvas, _ = place(picture, (48, 64), geometry, "centre")
        assert np.array_equal(canvas, picture)


def test_shrinking_by_a_whole_number_averages() -> None:
    picture = np.random.default_rng(0).integers(0, 256, (40, 60, 3), dtype=np.uint8)
    canvas, _ = place(picture, (10, 15), "stretch")
    mean = picture.reshape(10, 4, 15, 4, 3).mean(axis=(1, 3))
    assert np.abs(canvas - mean).max() <= 0.5


def test_growing_interpolates_between_neighbours() -> None:
    picture = np.zeros((2, 2, 3), np.uint8)
    picture[:, 1] = 200
    canvas, _ = place(picture, (2, 4), "stretch")
    assert canvas[0, :, 0].tolist() == [0, 50, 150, 200]


@pytest.mark.parametrize(("anchor", "left"), [("top-left", 0), ("centre", 50)])
def test_crop_takes_the_largest_part(anchor: Anchor, left: int) -> None:
    picture = np.zeros((100, 200, 3), np.uint8)
    picture[:, left : left + 100] = (9, 8, 7)
    canvas, placement = place(picture, (50, 50), "crop", anchor)
    assert np.array_equal(canvas, np.full((50, 50, 3), (9, 8, 7)))
    assert (placement.left, placement.top) == (-left / 2, 0)


@pytest.mark.parametrize("shape", [(1, 5000), (5000, 1), (1, 1)])
@pytest.mark.parametrize("geometry", ["letterbox", "stretch", "crop"])
def test_extreme_shapes_stay_bounded(shape: tuple[int, int], geometry: Geometry) -> None:
    canvas, _ = place(flat(*shape), (64, 32), geometry)
    assert canvas.shape == (64, 32, 3)
    assert canvas.dtype == np.uint8


@pytest.mark.parametrize("size", [(120, 90), (400, 500), (96, 320)])
@pytest.mark.parametrize("anchor", ["top-left", "centre"])
@pytest.mark.parametrize("geometry", ["letterbox", "stretch", "crop"])
def test_the_placement_says_where_a_spot_went(
    size: tuple[int, int], anchor: Anchor, geometry: Geometry
) -> None:
    picture = spot(211, 307, 66, 90, 20)
    canvas, placement = place(picture, size, geometry, anchor)
    there = placement.to_canvas([100, 76])
    assert centre_of_light(canvas) == pytest.approx(there, abs=0.35)
    assert placement.to_picture(there) == pytest.approx([100, 76])


@given(
    st.integers(1, 80), st.integers(1, 80), st.integers(1, 80), st.integers(1, 80),
    st.sampled_from(["letterbox", "stretch", "crop"]), st.sampled_from(["top-left", "centre"]),
)  # fmt: skip
def test_points_go_there_and_back(
    rows: int, columns: int, height: int, width: int, geometry: Geometry, anchor: Anchor
) -> None:
    canvas, placement = place(flat(rows, columns), (height, width), geometry, anchor, FILL)
    assert canvas.shape == (height, width, 3)
    points = np.array([[[0, 0], [columns, rows]], [[columns / 3, rows / 7], [-4, 900]]])
    assert placement.to_picture(placement.to_canvas(points)) == pytest.approx(points)
    if geometry != "crop":
        corners = placement.to_canvas([[0, 0], [columns, rows]])
        assert (corners >= -1e-9).all()
        assert (corners <= np.array([width, height]) + 1e-9).all()

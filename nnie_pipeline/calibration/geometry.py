"""How a picture is laid onto the network's input size, and back."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
import numpy.typing as npt

Picture = npt.NDArray[np.uint8]
Points = npt.NDArray[np.float64]
Geometry = Literal["letterbox", "stretch", "crop"]
Anchor = Literal["top-left", "centre"]

INTERPOLATION = "area if no side grows, else linear"
"""The one rule for resizing: OpenCV's INTER_AREA to shrink, INTER_LINEAR to grow."""


@dataclass(frozen=True)
class Placement:
    """Where a picture lies on a canvas.

    Coordinates are continuous, in pixels: the first pixel covers 0 to 1. A point (x, y) of
    the picture lies at (x * scale_x + left, y * scale_y + top) of the canvas; `left` and
    `top` are negative where a crop cuts the picture. `height` and `width` are the picture's.
    """

    scale_x: float
    scale_y: float
    left: float
    top: float
    height: int
    width: int

    def to_canvas(self, points: npt.ArrayLike) -> Points:
        """Points (..., 2) as x, y of the picture, on the canvas."""
        return np.asarray(points, np.float64) * self._scale() + self._origin()

    def to_picture(self, points: npt.ArrayLike) -> Points:
        """Points (..., 2) as x, y of the canvas, on the picture; may lie outside it."""
        return (np.asarray(points, np.float64) - self._origin()) / self._scale()

    def _scale(self) -> Points:
        return np.array([self.scale_x, self.scale_y])

    def _origin(self) -> Points:
        return np.array([self.left, self.top])


def place(
    picture: Picture,
    size: tuple[int, int],
    geometry: Geometry,
    anchor: Anchor = "centre",
    fill: tuple[int, int, int] = (0, 0, 0),
) -> tuple[Picture, Placement]:
    """Lay `picture` (H, W, 3) onto a canvas of exactly `size` (height, width).

    letterbox: the whole picture, its shape kept, at `anchor`; the rest is `fill`, in the
    picture's channel order. stretch: the whole picture, its shape not kept. crop: the
    largest part of the canvas's shape (in whole pixels), taken at `anchor`.

    Returns:
        The canvas (height, width, 3) uint8 and where the picture lies on it.
    """
    if geometry == "letterbox":
        return _letterbox(picture, size, anchor, fill)
    if geometry == "crop":
        return _crop(picture, size, anchor)
    return _resize(picture, size), _placement(picture, size, 0, 0)


def _letterbox(
    picture: Picture, size: tuple[int, int], anchor: Anchor, fill: tuple[int, int, int]
) -> tuple[Picture, Placement]:
    height, width = size
    rows, columns = picture.shape[:2]
    scale = min(height / rows, width / columns)
    inner = (max(1, round(rows * scale)), max(1, round(columns * scale)))
    top, left = _offset(size, inner, anchor)
    canvas = _resize(picture, inner)
    if inner != size:
        below, right = height - inner[0] - top, width - inner[1] - left
        border = cv2.copyMakeBorder(
            canvas, top, below, left, right, cv2.BORDER_CONSTANT, value=fill
        )
        canvas = np.asarray(border, np.uint8)
    return canvas, _placement(picture, inner, left, top)


def _crop(picture: Picture, size: tuple[int, int], anchor: Anchor) -> tuple[Picture, Placement]:
    height, width = size
    rows, columns = picture.shape[:2]
    scale = max(height / rows, width / columns)
    part = (min(rows, max(1, round(height / scale))), min(columns, max(1, round(width / scale))))
    top, left = _offset((rows, columns), part, anchor)
    scale_y, scale_x = height / part[0], width / part[1]
    placement = Placement(scale_x, scale_y, -left * scale_x, -top * scale_y, rows, columns)
    return _resize(picture[top : top + part[0], left : left + part[1]], size), placement


def _offset(outer: tuple[int, int], inner: tuple[int, int], anchor: Anchor) -> tuple[int, int]:
    if anchor == "top-left":
        return 0, 0
    return (outer[0] - inner[0]) // 2, (outer[1] - inner[1]) // 2


def _placement(picture: Picture, inner: tuple[int, int], left: int, top: int) -> Placement:
    rows, columns = picture.shape[:2]
    return Placement(inner[1] / columns, inner[0] / rows, left, top, rows, columns)


def _resize(picture: Picture, size: tuple[int, int]) -> Picture:
    rows, columns = picture.shape[:2]
    if (rows, columns) == size:
        return picture
    shrinks = size[0] <= rows and size[1] <= columns
    method = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(picture, (size[1], size[0]), interpolation=method), np.uint8)

"""The contact sheet: a calibration set at a glance."""

from __future__ import annotations

import math
from collections.abc import Mapping

import cv2
import numpy as np

from nnie_pipeline.calibration.geometry import Picture, place

_SHEET = 1600
_SMALLEST, _LARGEST = 48, 240


def cell_size(count: int) -> int:
    """Side in pixels of one picture's square on a sheet of `count` pictures."""
    columns = math.ceil(math.sqrt(count))
    return min(_LARGEST, max(_SMALLEST, _SHEET // columns))


def thumbnail(canvas: Picture, cell: int) -> Picture:
    """`canvas` (H, W, 3) letterboxed into a white (cell, cell, 3) square."""
    # Of a large one a few pixels are enough for the eye, and halving is fastest.
    longest = max(canvas.shape[:2])
    if longest > 2 * cell:
        height, width = (max(1, x * 2 * cell // longest) for x in canvas.shape[:2])
        small = cv2.resize(canvas, (width, height), interpolation=cv2.INTER_NEAREST)
        canvas = np.asarray(small, np.uint8)
    return place(canvas, (cell, cell), "letterbox", "centre", (255, 255, 255))[0]


def sheet(thumbnails: Mapping[int, Picture]) -> Picture:
    """The squares by their number in the set, in rows; (H, W, 3) in B, G, R."""
    cell = len(next(iter(thumbnails.values())))
    columns = math.ceil(math.sqrt(len(thumbnails)))
    rows = math.ceil(len(thumbnails) / columns)
    page = np.full((rows * cell, columns * cell, 3), 255, np.uint8)
    for index, (number, picture) in enumerate(thumbnails.items()):
        top, left = index // columns * cell, index % columns * cell
        page[top : top + cell, left : left + cell] = picture
        for colour, thickness in (((0, 0, 0), 3), ((255, 255, 255), 1)):
            corner = (left + 3, top + 12)
            font = cv2.FONT_HERSHEY_SIMPLEX
            cv2.putText(page, str(number), corner, font, 0.4, colour, thickness, cv2.LINE_AA)
    return page

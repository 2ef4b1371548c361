"""Detections drawn on a picture."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from nnie_pipeline.heads.detections import Detections

Picture = npt.NDArray[np.uint8]
Colour = tuple[int, int, int]

_SUBPIXEL_BITS = 4


def draw(picture: Picture, found: Detections, colour: Colour = (0, 255, 0)) -> Picture:
    """A copy of `picture` (H, W, 3) in B, G, R with boxes, landmarks and scores in `colour`.

    The detections are in the picture's own pixels.
    """
    drawn: Picture = np.ascontiguousarray(picture).copy()
    unit = max(1, round(max(picture.shape[:2]) / 640))
    for box, score, points in zip(found.boxes, found.scores, found.landmarks, strict=True):
        cv2.rectangle(
            drawn, _fixed(box[:2]), _fixed(box[2:]), colour, unit, cv2.LINE_AA, _SUBPIXEL_BITS
        )
        side = float(np.nan_to_num(box[2] - box[0]))
        radius = round(min(2.0 * unit, max(0.7, side / 30)) * (1 << _SUBPIXEL_BITS))
        for point in points:
            cv2.circle(
                drawn, _fixed(point), radius, colour, cv2.FILLED, cv2.LINE_AA, _SUBPIXEL_BITS
            )
        _label(drawn, f"{score:.2f}", box, colour, unit)
    return drawn


def _fixed(point: npt.NDArray[np.float64]) -> tuple[int, int]:
    """A point in pixels (the first pixel covers 0 to 1) as OpenCV's fixed point, whose whole
    numbers are centres of pixels; bounded, because a bad network may give any number.
    """  # fmt: skip
    x, y = np.clip(np.nan_to_num(point) - 0.5, -1e4, 1e4) * (1 << _SUBPIXEL_BITS)
    return round(x), round(y)


def _label(
    drawn: Picture, text: str, box: npt.NDArray[np.float64], colour: Colour, unit: int
) -> None:
    x, y = (value / (1 << _SUBPIXEL_BITS) for value in _fixed(box[:2]))
    height = 14 * unit
    corner = (max(0, round(x)), round(y) - 3 if y >= height else round(y) + height)
    for ink, extra in (((0, 0, 0), 2), (colour, 0)):
        cv2.putText(
            drawn, text, corner, cv2.FONT_HERSHEY_SIMPLEX, 0.45 * unit, ink, unit + extra,
            cv2.LINE_AA,
        )  # fmt: skip

"""Which faces of several sizes are one face."""

from __future__ import annotations

import numpy as np

from nnie_pipeline.heads.detections import Detections, one_class
from nnie_pipeline.stages.found_shares import _count, _joined, _smallest


def boxes(*corners: tuple[float, float, float, float]) -> Detections:
    return one_class(np.array(corners, np.float64).reshape(-1, 4), np.ones(len(corners)))


NEAR = (0.0, 0.0, 100.0, 100.0)
SHIFTED = (0.0, 0.0, 100.0, 50.0)  # overlaps NEAR by one half
FAR = (200.0, 200.0, 210.0, 240.0)


def test_overlapping_faces_of_two_sizes_are_one() -> None:
    joined = _joined(_joined(None, boxes(NEAR)), boxes(SHIFTED, FAR))
    assert joined.boxes.tolist() == [list(NEAR), list(FAR)]
    # a third of NEAR is less than 0.4 of both
    assert len(_joined(boxes(NEAR), boxes((0, 0, 100, 33)))) == 2


def test_faces_are_counted_picture_by_picture() -> None:
    known = [boxes(NEAR, FAR), boxes(NEAR), None]
    assert _count([boxes(SHIFTED), boxes(FAR), boxes()], known) == 1
    assert _count([boxes(NEAR, FAR), boxes(NEAR), boxes()], known) == 3
    # two detections of one face are one face
    assert _count([boxes(NEAR, SHIFTED), boxes(), boxes()], known) == 1


def test_the_smallest_face_is_the_root_of_an_area() -> None:
    assert _smallest([boxes(NEAR), boxes(FAR)]) == 20.0
    assert _smallest([boxes()]) is None

from __future__ import annotations

import numpy as np
import pytest

from nnie_pipeline.heads.detections import Detections, one_class, suppress
from nnie_pipeline.heads.drawing import draw
from nnie_pipeline.heads.matching import intersection_over_union, match


def detections(*boxes: tuple[float, float, float, float], shift: float = 0) -> Detections:
    array = np.array(boxes, np.float64).reshape(-1, 4)
    middles = (array[:, :2] + array[:, 2:]) / 2 + shift
    return one_class(array, np.full(len(array), 0.9), np.repeat(middles[:, np.newaxis], 5, axis=1))


def test_overlap_of_known_boxes() -> None:
    left = np.array([[0, 0, 10, 10], [0, 0, 0, 0]], float)
    right = np.array([[0, 0, 10, 10], [5, 0, 15, 10], [10, 0, 20, 10], [2, 2, 4, 7], [0, 0, 0, 0]])
    assert intersection_over_union(left, right) == pytest.approx(
        np.array([[1, 50 / 150, 0, 10 / 100, 0], [0, 0, 0, 0, 0]])
    )


def test_the_same_faces_match_in_any_order() -> None:
    a, b = (0, 0, 10, 10), (50, 50, 90, 90)
    found = match(detections(a, b), detections((51, 50, 90, 92.5), (0, 0, 10, 10), shift=3))
    assert set(found.pairs) == {(0, 1), (1, 0)}
    assert found.same
    assert found.box_difference == pytest.approx(2.5)
    assert found.landmark_difference == pytest.approx(1.25 + 3)


def test_the_best_overlap_comes_first() -> None:
    """The left box overlaps both right ones by more than half; only the better is its partner."""
    found = match(detections((0, 0, 100, 10)), detections((20, 0, 100, 10), (5, 0, 100, 10)))
    assert found.pairs == ((0, 1),)
    assert (found.only_left, found.only_right) == ((), (0,))
    assert not found.same
    assert found.box_difference == pytest.approx(5)


def test_one_box_is_partner_of_one_only() -> None:
    found = match(detections((0, 0, 10, 10), (0, 0, 10, 10)), detections((0, 0, 10, 10)))
    assert found.pairs == ((0, 0),)
    assert (found.only_left, found.only_right) == ((1,), ())


def test_half_an_overlap_is_not_enough() -> None:
    found = match(detections((0, 0, 10, 10)), detections((0, 0, 10, 5)))
    assert (found.pairs, found.only_left, found.only_right) == ((), (0,), (0,))
    assert found.box_difference is None
    assert found.landmark_difference is None
    assert match(detections((0, 0, 10, 10)), detections((0, 0, 10, 5.01))).same


def test_nothing_matches_nothing() -> None:
    found = match(detections(), detections())
    assert found.same
    assert found.pairs == ()
    assert match(detections(), detections((0, 0, 1, 1))).only_right == (0,)


def test_detections_without_landmarks_match() -> None:
    bare = one_class(np.array([[0.0, 0, 4, 4]]), np.array([0.7]), np.zeros((1, 0, 2)))
    found = match(bare, bare)
    assert found.box_difference == 0
    assert found.landmark_difference is None


def test_a_drawing_marks_box_landmarks_and_score() -> None:
    picture = np.zeros((200, 300, 3), np.uint8)
    marks = np.array([[[120, 80], [160, 80], [140, 100], [125, 130], [155, 130]]], np.float64)
    found = one_class(np.array([[100.0, 50, 180, 150]]), np.array([0.87]), marks)
    drawn = draw(picture, found, (0, 255, 0))
    assert not picture.any()
    assert drawn.shape == picture.shape
    green = drawn[..., 1] > 127
    for x, y in [(100, 100), (179, 100), (140, 50), (140, 149), *marks[0].astype(int)]:
        assert green[y - 1 : y + 2, x - 1 : x + 2].any(), (x, y)
    assert green[30:48, 100:140].any()
    inside = green[55:145, 105:175].sum()
    assert inside < 5 * 40
    assert not green[:, :90].any()


@pytest.mark.parametrize(
    "box", [(-50, -40, 20, 30), (-1e12, 5, 1e12, 40), (float("inf"), 0, float("nan"), 9)]
)
def test_boxes_beyond_the_picture_are_drawn_without_failing(box: tuple[float, ...]) -> None:
    found = one_class(np.array([box]), np.array([0.5]), np.full((1, 5, 2), box[0]))
    assert draw(np.zeros((60, 80, 3), np.uint8), found).shape == (60, 80, 3)


def test_things_of_two_classes_never_match_nor_suppress_each_other() -> None:
    box = np.array([[0.0, 0, 10, 10], [0, 0, 10, 9.9], [0, 0, 10, 9.8]])
    none, scores = np.zeros((3, 0, 2)), np.array([0.7, 0.9, 0.8])
    found = Detections(box, scores, none, np.array([3, 5, 3]))
    best = suppress(found, 0.5, 0.4)
    assert best.classes.tolist() == [5, 3]
    assert best.scores.tolist() == [0.9, 0.8]
    other = Detections(box[:1], scores[:1], none[:1], np.array([3]))
    assert match(best, other).pairs == ((1, 0),)
    assert match(best, other).only_left == (0,)

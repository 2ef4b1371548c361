"""Detections worked out one at a time, for comparing with the heads."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import pytest

from nnie_pipeline.heads.detections import Detections


@dataclass(frozen=True)
class Found:
    """One detection in pixels."""

    score: float
    box: tuple[float, float, float, float]
    points: tuple[tuple[float, float], ...] = ()
    kind: int = 0


def overlap(a: tuple[float, ...], b: tuple[float, ...]) -> float:
    """Intersection over union of two boxes x1, y1, x2, y2."""
    width = max(0.0, min(a[2], b[2]) - max(a[0], b[0]))
    height = max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
    area = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - width * height
    return width * height / area


def best(found: list[Found], limit: float) -> list[Found]:
    """Greedy suppression within each class, best first."""
    kept: list[Found] = []
    for one in sorted(found, key=lambda x: -x.score):
        if all(overlap(one.box, x.box) <= limit for x in kept if x.kind == one.kind):
            kept.append(one)
    return kept


def assert_same(found: Detections, expected: list[Found], pixels: float = 1e-2) -> None:
    """The head found what was worked out, in the same order."""
    assert len(found) == len(expected)
    assert found.scores == pytest.approx([x.score for x in expected], abs=1e-5)
    boxes = np.array([x.box for x in expected]).reshape(-1, 4)
    assert found.boxes == pytest.approx(boxes, abs=pixels)
    assert found.classes.tolist() == [x.kind for x in expected]
    points = [x.points for x in expected]
    assert found.landmarks.shape[:2] == (len(expected), len(points[0]) if points else 0)
    if points and points[0]:
        assert found.landmarks == pytest.approx(np.array(points), abs=pixels)

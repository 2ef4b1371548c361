"""What a detection head gives back."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]
Numbers = npt.NDArray[np.intp]


@dataclass(frozen=True)
class Detections:
    """N detections, best first, in pixels of the network's input.

    `boxes` (N, 4): x1, y1, x2, y2; may reach outside the picture. `scores` (N,).
    `landmarks` (N, K, 2): x, y; K is 0 for a head without landmarks. `classes` (N,): the
    class's number, 0 for a head with one class.
    """

    boxes: Floats
    scores: Floats
    landmarks: Floats
    classes: Numbers

    def __len__(self) -> int:
        return len(self.scores)

    def __getitem__(self, index: Numbers) -> Detections:
        """The detections of these numbers, in this order."""
        return Detections(
            self.boxes[index], self.scores[index], self.landmarks[index], self.classes[index]
        )


def suppress(found: Detections, score: float, overlap: float) -> Detections:
    """Greedy non-maximum suppression within each class.

    Gives the detections over `score` with finite boxes, best first, none of which overlaps a
    better one of its class by more than `overlap` (intersection over union, of boxes as
    continuous rectangles; some implementations add one pixel to every side first).
    """
    found = found[np.flatnonzero(np.isfinite(found.boxes).all(axis=1))]
    kept: list[int] = []
    for number in np.unique(found.classes):
        inside = np.flatnonzero(found.classes == number)
        boxes = found.boxes[inside]
        corners_and_sides = np.concatenate((boxes[:, :2], boxes[:, 2:] - boxes[:, :2]), axis=1)
        best = cv2.dnn.NMSBoxes(
            corners_and_sides.tolist(), found.scores[inside].tolist(), score, overlap
        )
        kept += inside[np.asarray(best, np.intp).reshape(-1)].tolist()
    order = np.asarray(kept, np.intp)
    return found[order[np.argsort(-found.scores[order], kind="stable")]]


def one_class(boxes: Floats, scores: Floats, landmarks: Floats | None = None) -> Detections:
    """Detections of a head that knows one class; without `landmarks` K is 0."""
    if landmarks is None:
        landmarks = np.zeros((len(boxes), 0, 2))
    return Detections(boxes, scores, landmarks, np.zeros(len(boxes), np.intp))

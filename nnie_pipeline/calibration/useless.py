"""Pictures that teach nothing about a network's ranges, and why."""

from __future__ import annotations

import cv2
import numpy as np
import numpy.typing as npt

from nnie_pipeline.calibration.geometry import Picture

SIDE = 128
"""Pictures are judged at this longer side."""

BLACK, WHITE, CLIPPED = 24, 231, 250
"""Luma up to and from which a pixel counts as black, white; level from which it is clipped."""

_TINTED = 48
_LEAST_SIDE = 16
_NARROWEST = 10
_SAME = 8
_NEARLY_ALL = 0.98
_LARGEST_SPREAD = 45.0
"""Standard deviation above which a channel is neither black, white nor of one level.

98 % of it within 24 levels of one and the rest anywhere make 43.
"""

_OVER_EXPOSED = 0.5
_BURNT_OUT = 0.1


def small(picture: Picture) -> Picture:
    """`picture` (H, W, 3) with a longer side of at most `SIDE`."""
    rows, columns = picture.shape[:2]
    scale = min(1.0, SIDE / max(rows, columns))
    if scale == 1:
        return picture
    size = (max(1, round(columns * scale)), max(1, round(rows * scale)))
    return np.asarray(cv2.resize(picture, size, interpolation=cv2.INTER_AREA), np.uint8)


def sampled(picture: Picture) -> Picture:
    """As `small`, of some of the pixels: for where it is done for every picture."""
    rows, columns = picture.shape[:2]
    longest = max(rows, columns)
    if longest > 2 * SIDE:
        size = (max(1, columns * 2 * SIDE // longest), max(1, rows * 2 * SIDE // longest))
        few = cv2.resize(picture, size, interpolation=cv2.INTER_NEAREST)
        picture = np.asarray(few, np.uint8)
    return small(picture)


def too_narrow(sides: tuple[int, int]) -> bool:
    """Whether a picture of this height and width fills next to nothing of a network's input."""
    return min(sides) < _LEAST_SIDE or max(sides) > _NARROWEST * min(sides)


def useless(shown: Picture, sides: tuple[int, int]) -> str | None:
    """Why a picture teaches nothing: words that go behind "is"; None where it does.

    `shown` is the picture at the size of `small`, (H, W, 3) in B, G, R; `sides` are its own height
    and width. Of one colour: nearly all of it within 8 levels of its median colour. Over-exposed:
    half of the pixels clipped in a channel, and a tenth in all. Measured on 1146 photographs of
    faces and crowds: of one colour at most 25 %, clipped in a channel at most 30 %.
    """
    if too_narrow(sides):
        return f"too small or narrow ({sides[0]}x{sides[1]}, height x width)"
    # OpenCV on planes: a tenth of numpy's time on pixels, and this is done for every picture.
    blue, green, red = cv2.split(shown)
    darkest = np.asarray(cv2.min(cv2.min(blue, green), red), np.uint8)
    brightest = np.asarray(cv2.max(cv2.max(blue, green), red), np.uint8)
    if cv2.meanStdDev(shown)[1].max() <= _LARGEST_SPREAD:
        luma = np.asarray(cv2.cvtColor(shown, cv2.COLOR_BGR2GRAY), np.uint8)
        # A pure blue of 200 has a luma of 23, and is not black.
        black = _share((luma <= BLACK) & (brightest <= _TINTED))
        if black >= _NEARLY_ALL:
            return f"black ({black:.0%} of it)"
        white = _share((luma >= WHITE) & (darkest >= 255 - _TINTED))
        if white >= _NEARLY_ALL:
            return f"white ({white:.0%} of it)"
        half = luma.size // 2
        middle = [int(np.partition(x.reshape(-1), half)[half]) for x in (blue, green, red)]
        low, high = ([x + y for x in middle] for y in (-_SAME, _SAME))
        same = _share(np.asarray(cv2.inRange(shown, np.array(low), np.array(high))))
        if same >= _NEARLY_ALL:
            return f"of one colour ({same:.0%} of it)"
    clipped = _share(brightest >= CLIPPED)
    if clipped >= _OVER_EXPOSED and _share(darkest >= CLIPPED) >= _BURNT_OUT:
        return f"over-exposed ({clipped:.0%} of it is clipped)"
    return None


def _share(mask: npt.NDArray[np.bool_] | npt.NDArray[np.uint8]) -> float:
    return np.count_nonzero(mask) / mask.size

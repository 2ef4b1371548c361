"""YVU420SP as the board reads it: a plane of Y, then rows of V and U in turn, V first.

Y = Kr R + (1 - Kr - Kb) G + Kb B; V and U are R - Y and B - Y to their own range, one pair for
2x2 pixels. Kr and Kb of ITU-R BT.601 or BT.709. "full": all from 0 to 255; "limited": Y from
16 to 235, V and U from 16 to 240 (the same recommendations). V before U: HiSVP API reference,
SVP_BLOB_TYPE_YVU420SP. Which matrix the chip turns it back with stands in no public document:
take the one that the camera pipeline is set to.
"""

from __future__ import annotations

import itertools
from dataclasses import dataclass
from typing import Literal, get_args

import cv2
import numpy as np
import numpy.typing as npt

from nnie_pipeline.calibration.geometry import Picture
from nnie_pipeline.calibration.network_input import Colour, filled
from nnie_pipeline.errors import InputError

Matrix = Literal["bt601", "bt709"]
Range = Literal["full", "limited"]
_Rows = npt.NDArray[np.float64]

_WEIGHTS: dict[Matrix, tuple[float, float]] = {
    "bt601": (0.299, 0.114),
    "bt709": (0.2126, 0.0722),
}
"""Kr and Kb."""


@dataclass(frozen=True)
class YuvForm:
    """How colours are written as YUV."""

    matrix: Matrix = "bt601"
    range: Range = "full"

    @property
    def said(self) -> str:
        """The form in words."""
        return f"YVU420SP by {self.matrix}, {self.range} range"


FORMS = tuple(YuvForm(x, y) for x, y in itertools.product(get_args(Matrix), get_args(Range)))
"""Every form."""


@dataclass(frozen=True)
class RoundTrip:
    """How far pixels are off after BGR to YVU420SP and back: mean and largest, 0 to 255."""

    mean: float
    largest: int


def yuv_form(matrix: str, value_range: str) -> YuvForm:
    """The form of two words.

    Raises:
        InputError: a word that is not known.
    """
    for form in FORMS:
        if (form.matrix, form.range) == (matrix, value_range):
            return form
    raise InputError(
        f"YUV {matrix} {value_range}: write --yuv bt601 or bt709 and --range full or limited"
    )


def check_yuv(colour: Colour, size: tuple[int, int]) -> None:
    """Refuse a network's colours or size (height, width) that YVU420SP cannot have.

    Raises:
        InputError: a gray network, or an odd height or width.
    """
    if colour == "GRAY":
        raise InputError("a gray network reads U8 planes of one channel; leave --yuv out")
    if size[0] % 2 or size[1] % 2:
        raise InputError(
            f"size {size[0]}x{size[1]}: YVU420SP has one V and U for 2x2 pixels; use an even size"
        )


def to_yvu(pixels: Picture, form: YuvForm) -> tuple[Picture, Picture]:
    """Y (H, W) and VU (H / 2, W / 2, 2) of a picture (H, W, 3) in B, G, R.

    V and U are those of the mean of 2x2 pixels; height and width are even.
    """
    height, width = pixels.shape[:2]
    rows = _matrix(form)
    luma = cv2.transform(pixels, rows[:1])
    half = cv2.resize(pixels, (width // 2, height // 2), interpolation=cv2.INTER_AREA)
    chroma = cv2.transform(half, rows[1:])
    return np.asarray(luma, np.uint8).reshape(height, width), np.asarray(chroma, np.uint8)


def to_bgr(luma: Picture, chroma: Picture, form: YuvForm) -> Picture:
    """The picture (H, W, 3) in B, G, R of Y (H, W) and VU (H / 2, W / 2, 2), each pair repeated."""
    full = np.repeat(np.repeat(chroma, 2, axis=0), 2, axis=1)
    rows = _matrix(form)
    back = np.linalg.inv(rows[:, :3])
    inverse = np.hstack((back, -back @ rows[:, 3:]))
    return np.asarray(cv2.transform(np.dstack((luma, full)), inverse), np.uint8)


def as_fed(pixels: Picture, form: YuvForm) -> Picture:
    """What is left of a picture (H, W, 3) in B, G, R on its way through YVU420SP."""
    return to_bgr(*to_yvu(pixels, form), form)


def yvu_bytes(luma: Picture, chroma: Picture, align: int = 1) -> bytes:
    """The file that the board reads; each row is filled with zeros to a multiple of `align`."""
    rows = chroma.reshape(len(chroma), -1)
    return filled(luma, align).tobytes() + filled(rows, align).tobytes()


def round_trip(pixels: Picture, luma: Picture, chroma: Picture, form: YuvForm) -> RoundTrip:
    """What YVU420SP loses of `pixels`."""
    difference = cv2.absdiff(pixels, to_bgr(luma, chroma, form))
    return RoundTrip(float(np.mean(difference)), int(np.max(difference)))


def _matrix(form: YuvForm) -> _Rows:
    """(3, 4): Y, V, U of B, G, R and 1."""
    red, blue = _WEIGHTS[form.matrix]
    luma = np.array([blue, 1 - red - blue, red])
    v = (np.array([0, 0, 1]) - luma) / (2 * (1 - red))
    u = (np.array([1, 0, 0]) - luma) / (2 * (1 - blue))
    full = form.range == "full"
    scales = (1.0, 1.0) if full else (219 / 255, 224 / 255)
    rows = np.vstack((luma * scales[0], v * scales[1], u * scales[1]))
    return np.hstack((rows, [[0 if full else 16], [128], [128]]))

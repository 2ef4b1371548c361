"""From a canvas to the values a network computes with and the bytes a board reads."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
import numpy.typing as npt

from nnie_pipeline.calibration.geometry import Anchor, Geometry, Picture
from nnie_pipeline.errors import InputError

Blob = npt.NDArray[np.float32]
Colour = Literal["BGR", "RGB", "GRAY"]


@dataclass(frozen=True)
class InputSpec:
    """What a network wants: (pixel - mean) * scale of each channel, pixels 0 to 255.

    `colour` is the NETWORK's channel order; `mean`, `scale` and `fill` (the letterbox's
    border, whole numbers 0 to 255) hold one value a channel in that order.

    Raises:
        InputError: a count that does not fit the colour, or a value out of its range.
    """

    colour: Colour
    mean: tuple[float, ...]
    scale: tuple[float, ...]
    geometry: Geometry = "letterbox"
    anchor: Anchor = "centre"
    fill: tuple[int, ...] = (0, 0, 0)

    def __post_init__(self) -> None:
        for name in ("mean", "scale", "fill"):
            values = getattr(self, name)
            if len(values) != self.channels:
                raise InputError(
                    f"input {name} has {len(values)} values, but {self.colour} has "
                    f"{self.channels} channels; give one value a channel"
                )
            if not all(math.isfinite(x) for x in values):
                raise InputError(f"input {name} {list(values)}: write finite numbers")
        if not all(self.scale):
            raise InputError(f"input scale {list(self.scale)}: 0 makes every input the same")
        if not all(x == int(x) and 0 <= x <= 255 for x in self.fill):
            raise InputError(f"input fill {list(self.fill)}: write whole numbers from 0 to 255")

    @property
    def channels(self) -> int:
        """1 for a gray network, else 3."""
        return 1 if self.colour == "GRAY" else 3

    @property
    def fill_bgr(self) -> tuple[int, int, int]:
        """`fill` in the order of a canvas: B, G, R."""
        if self.colour == "GRAY":
            return (self.fill[0],) * 3
        first, second, third = self.fill
        return (third, second, first) if self.colour == "RGB" else (first, second, third)


def stored_pixels(canvas: Picture, colour: Colour) -> Picture:
    """What is kept of a canvas (H, W, 3): itself, or (H, W) luma for a gray network.

    Luma is OpenCV's COLOR_BGR2GRAY: 0.299 R + 0.587 G + 0.114 B (ITU-R BT.601).
    """
    if colour != "GRAY":
        return canvas
    return np.asarray(cv2.cvtColor(canvas, cv2.COLOR_BGR2GRAY), np.uint8)


def planar_bytes(pixels: Picture, align: int = 1) -> bytes:
    """The U8 blob that the board reads, each row filled with zeros to a multiple of `align`.

    (H, W, 3) in B, G, R: the B plane, then G, then R (HiSVP API reference: the default
    order of U8 colour blobs), whatever order the network wants. (H, W): the one plane.
    """
    return filled(planes_of(pixels), align).tobytes()


def planes_of(pixels: Picture) -> Picture:
    """(C, H, W) of pixels (H, W, 3) or (H, W)."""
    if pixels.ndim == 2:
        return pixels[np.newaxis]
    planes = np.empty((pixels.shape[2], *pixels.shape[:2]), np.uint8)
    cv2.split(pixels, list(planes))
    return planes


def filled(rows: Picture, align: int) -> Picture:
    """`rows` (..., bytes), each row filled with zeros to a multiple of `align`."""
    short = -rows.shape[-1] % align
    return np.pad(rows, (*[(0, 0)] * (rows.ndim - 1), (0, short))) if short else rows


def to_blob(pixels: Picture, spec: InputSpec) -> Blob:
    """Float32 (1, C, H, W) network input of stored pixels: (pixel - mean) * scale.

    Subtracted first and multiplied then, in float32, as nnie_mapper's norm_type 5 does
    (HiSVP development guide, norm_type).
    """
    planes = pixels[np.newaxis] if pixels.ndim == 2 else pixels.transpose(2, 0, 1)
    if spec.colour == "RGB":
        planes = planes[::-1]
    blob: Blob = planes.astype(np.float32, order="C")
    blob -= np.array(spec.mean, np.float32)[:, np.newaxis, np.newaxis]
    blob *= np.array(spec.scale, np.float32)[:, np.newaxis, np.newaxis]
    return blob[np.newaxis]

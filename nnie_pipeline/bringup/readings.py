"""One strongly coloured picture, and what the network computes if the board reads it otherwise.

Editions of the HiSVP development guide contradict each other on whether RGB_order changes how
U8 planes are read, and none says to which channel the first line of mean.txt belongs. Both are
settled by one run on a picture whose channels differ: its outputs fit one reading only.

A tinted photograph, because a board writes only outputs, which plain patches tell apart less well:
measured on six networks, exchanged channels move the outputs of the photograph by 1.8 to 20 times
as much as 16 bit numbers do, of patches by 1 to 12 times.
"""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from nnie_pipeline.calibration.geometry import Picture
from nnie_pipeline.calibration.network_input import Blob, InputSpec, to_blob

EXPECTED = "expected"
"""The reading of the cfg files: the network gets channels and means as it was trained."""

_GLASS = (0.1, 0.5, 1.0)
"""What is left of B, G and R behind orange glass."""


def coloured(pixels: Picture) -> Picture:
    """`pixels` (H, W, 3) in B, G, R as seen through orange glass: gray ones get a colour too."""
    tinted: Picture = np.rint(pixels * np.array(_GLASS)).astype(np.uint8)
    return tinted


def readings(pixels: Picture, spec: InputSpec) -> dict[str, Blob]:
    """The float32 (1, 3, H, W) inputs of a picture (H, W, 3) by the reading that makes them.

    "swapped": the first and the last channel are exchanged. "means-reversed" and "both" exist
    where means differ: the first mean belongs to the last channel.
    """
    turned = np.ascontiguousarray(pixels[..., ::-1])
    result = {EXPECTED: to_blob(pixels, spec), "swapped": to_blob(turned, spec)}
    if spec.mean[0] != spec.mean[-1]:
        other = replace(spec, mean=spec.mean[::-1])
        result["means-reversed"] = to_blob(pixels, other)
        result["both"] = to_blob(turned, other)
    return result

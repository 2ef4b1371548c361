"""What a diagnosis starts from: the network, its pictures, and what the dump should be."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field

import numpy as np

from nnie_pipeline.caffe.net import Array, Net
from nnie_pipeline.calibration.geometry import Picture, Placement
from nnie_pipeline.calibration.network_input import InputSpec, to_blob
from nnie_pipeline.quant.ranges import Ranges

FLOAT = 0
"""The number of bits that stands for a float run."""

WIDTHS = (8, 16)
"""The widths of NNIE."""


@dataclass(frozen=True)
class CasePicture:
    """A picture of the calibration set: `pixels()` is its canvas, uint8 (H, W, 3) or (H, W).

    `gray` where the picture itself is known to be, whatever stands around it on the canvas.
    """

    name: str
    pixels: Callable[[], Picture]
    placement: Placement
    gray: bool = False


@dataclass(frozen=True)
class Case:
    """A network with one picture input and what its dump should have been made with.

    `index` is the picture that the dump should show. `bits` are the widths the dump may have
    (`FLOAT` for a float run); several where nobody said which. `source` is the network before
    the passes (with its BatchNorm layers) and `names` its names that the passes changed, old
    to new. `ranges` are the calibrated ones, None to take them from the picture itself, with
    `scales`, the data_scale of the input where nnie_mapper scales it as a picture.
    """

    net: Net
    spec: InputSpec
    pictures: tuple[CasePicture, ...]
    index: int = -1
    bits: tuple[int, ...] = (FLOAT,)
    ranges: Ranges | None = None
    source: Net | None = None
    names: Mapping[str, str] = field(default_factory=dict)
    scales: Mapping[str, float] = field(default_factory=dict)

    @property
    def picture(self) -> CasePicture:
        """The picture that the dump should show."""
        return self.pictures[self.index]

    @property
    def input(self) -> str:
        """The name of the network's input."""
        return next(iter(self.net.inputs))

    def blob(self, pixels: Picture | None = None) -> Array:
        """The network input, float32 (1, C, H, W), of `pixels` (default: the case's picture)."""
        return to_blob(self.picture.pixels() if pixels is None else pixels, self.spec)

    @property
    def unmerged(self) -> Net | None:
        """The network that still has its BatchNorm layers, if there is one."""
        for net in (self.net, self.source):
            if net is not None and any(x.type == "BatchNorm" for x in net.layers):
                return net
        return None


def is_gray(pixels: Picture) -> bool:
    """Whether the channels of a picture (H, W, 3) are equal but for the noise of JPEG."""
    if pixels.ndim == 2:
        return True
    small = pixels.astype(np.int16)
    return int(np.abs(small - small[..., :1]).max(initial=0)) <= 3

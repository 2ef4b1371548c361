"""What a network compiled from a cfg reads of a picture: the cfg's own words, computed.

norm_type, data_scale and RGB_order as the HiSVP development guide's table of options defines
them; mean.txt's first line belongs to the network's first channel, the reading this program
writes for (the guide leaves it open).
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from nnie_pipeline.calibration.geometry import Picture
from nnie_pipeline.calibration.network_input import Blob, InputSpec, to_blob
from nnie_pipeline.calibration.probe import probe_picture
from nnie_pipeline.errors import CheckError, InputError
from nnie_pipeline.mapper.cfg import Cfg

_DEFAULT_SCALE = "0.00390625"
_WITH_MEAN = ("2", "5")
_WITH_SCALE = ("3", "5")
_CLOSE = 1e-6
"""Share of an input's maximum that two orders of the same float32 operations may differ by."""


@dataclass(frozen=True)
class Proof:
    """That a cfg feeds the network as it was trained: exactly, or up to `difference`."""

    order: str
    norm_type: str
    difference: float

    def __str__(self) -> str:
        return self.said("as the model was trained")

    def said(self, how: str) -> str:
        """A line; `how` says what the cfg was compared with."""
        equal = "exactly" if self.difference == 0 else f"within {self.difference:.1e}"
        return (
            f"RGB_order {self.order} and norm_type {self.norm_type} feed the first layer "
            f"{how} ({equal}, on a coloured picture)"
        )


def first_input(cfg: Cfg, folder: Path, picture: Picture, number: int = 0) -> Blob:
    """The float32 (1, C, H, W) input that the cfg makes of a picture.

    Args:
        cfg: The cfg file.
        folder: What its paths start at.
        picture: (H, W, 3) in B, G, R, or (H, W) for a gray network; uint8.
        number: Which input of the cfg.

    Raises:
        InputError: a norm_type that this cannot compute (means of every pixel), an input of
            numbers, or means that cannot be read.
    """
    options = cfg.inputs()[number]
    norm = options.get("norm_type", "0")
    if norm not in ("0", *_WITH_MEAN, *_WITH_SCALE) or options.get("image_type") == "0":
        raise InputError(
            f"norm_type {norm} with image_type {options.get('image_type')} cannot be computed "
            "here: means of every pixel (1, 4) or an input of numbers"
        )
    planes: list[npt.NDArray[np.uint8]] = [picture] if picture.ndim == 2 else cv2.split(picture)  # type: ignore[assignment]
    if (cfg.get("RGB_order") or "BGR") == "RGB":
        planes = planes[::-1]
    blob = np.stack(planes).astype(np.float32)
    if norm in _WITH_MEAN:
        means = _means(folder / options.get("mean_file", ""), len(planes))
        blob -= means[:, np.newaxis, np.newaxis]
    if norm in _WITH_SCALE:
        blob *= np.float32(cfg.get("data_scale") or _DEFAULT_SCALE)
    return blob[np.newaxis]


def prove(
    cfg: Cfg, folder: Path, size: tuple[int, int], left: InputSpec, trained: InputSpec
) -> Proof:
    """Compare what the cfg feeds with the preprocessing that the model was trained with.

    Both get the coloured probe picture of `calibration.probe`. `left` is what the rewritten
    network still asks of the cfg, `trained` the model's own; where they differ, the rest was
    taken into the first layer and is put back here.

    Raises:
        CheckError: they differ; the message names the first value that does.
        InputError: as `first_input`.
    """
    picture = probe_picture(size)
    if trained.colour == "GRAY":
        picture = np.asarray(cv2.cvtColor(picture, cv2.COLOR_BGR2GRAY), np.uint8)
    wanted = to_blob(picture, trained)
    found = first_input(cfg, folder, picture)
    if found.shape != wanted.shape:
        raise CheckError(
            f"the cfg feeds {found.shape[1]} channels, the model takes {wanted.shape[1]}; "
            "make the calibration set again"
        )
    exact = (left.mean, left.scale) == (trained.mean, trained.scale)
    if not exact:
        columns = [
            np.array(x, np.float64)[:, np.newaxis, np.newaxis]
            for x in (left.scale, left.mean, trained.mean, trained.scale)
        ]
        found = ((found / columns[0] + columns[1] - columns[2]) * columns[3]).astype(np.float32)
    difference = float(np.abs(found - wanted).max())
    if difference > (0 if exact else _CLOSE * float(np.abs(wanted).max())):
        channel, row, column = (
            int(x[0]) for x in np.nonzero(np.abs(found - wanted)[0] > difference / 2)
        )
        pixel = picture[row, column].tolist()
        raise CheckError(
            f"the cfg (RGB_order {cfg.get('RGB_order')}, norm_type "
            f"{cfg.inputs()[0].get('norm_type')}) makes {found[0, channel, row, column]:.9g} of "
            f"channel {channel} of the pixel B, G, R {pixel}, the model was trained with "
            f"{wanted[0, channel, row, column]:.9g}; see RGB_order, mean_file and data_scale"
        )
    norm = cfg.inputs()[0].get("norm_type", "0")
    return Proof(cfg.get("RGB_order") or "BGR", norm, difference)


def _means(path: Path, channels: int) -> npt.NDArray[np.float32]:
    try:
        with path.open(encoding="ascii") as file:
            means = np.array(file.read(1 << 16).split(), np.float32)
    except (OSError, ValueError) as error:
        raise InputError(f"cannot read the means {path}: {error}; write one a line") from error
    if means.size != channels:
        raise InputError(f"{path} holds {means.size} means for {channels} channels; write one each")
    return means

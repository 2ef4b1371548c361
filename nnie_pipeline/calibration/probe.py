"""A strongly coloured picture, and what the first layer reads of it in every way to read a cfg.

Editions of the HiSVP development guide contradict each other on `RGB_order` with image_type 1:
the older ones say that it names the order of the planes that the board feeds, the newest that
the board feeds B, G, R whatever it says. None says to which channel the first line of mean.txt
belongs. On this picture no two readings give the same values, so that one run settles it.

probe/probe.bmp    the picture; probe/probe.bgr: its planes as the board reads them
probe/input_N.npy  float32 (1, 3, H, W): the first layer's input
probe/probe.json   which reading gives which of them, and their values on every patch
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from nnie_pipeline import files
from nnie_pipeline.calibration.geometry import Picture
from nnie_pipeline.calibration.network_input import Blob, InputSpec, to_blob

FOLDER = "probe"
PICTURE = "probe.bmp"
RECORD = "probe.json"

PATCHES: tuple[tuple[str, tuple[int, int, int]], ...] = (
    ("red", (0, 0, 255)),
    ("green", (0, 255, 0)),
    ("blue", (255, 0, 0)),
    ("orange", (16, 128, 240)),
    ("teal", (160, 144, 16)),
    ("violet", (224, 32, 112)),
)
"""Name and B, G, R of the patches, left to right."""

PLANES = ("always B, G, R", "as RGB_order says")
"""What the board has to feed: by the newest edition of the guide, and by the older ones."""

MEANS = ("first line: the network's first channel", "first line: the network's last channel")
"""The readings of mean.txt; one of them where the means do not tell them apart."""


@dataclass(frozen=True)
class Reading:
    """One way to read a cfg, and what the first layer gets of planes fed as B, G, R.

    `planes` is one of `PLANES`, `means` one of `MEANS`; `trained` says whether the network gets
    the channels and means that it was trained with.
    """

    planes: str
    means: str
    input: Blob
    trained: bool


def probe_picture(size: tuple[int, int]) -> Picture:
    """The picture (height, width, 3) in B, G, R: patches above, a ramp of each channel below."""
    height, width = size
    picture = np.zeros((height, width, 3), np.uint8)
    number = np.arange(width) * len(PATCHES) // width
    picture[:] = np.array([colour for _, colour in PATCHES], np.uint8)[number]
    ramp = (np.arange(width) * 256 // width).astype(np.uint8)
    half, row = height // 2, max(1, height // 6)
    for channel in range(3):
        rows = slice(half + channel * row, height if channel == 2 else half + (channel + 1) * row)
        picture[rows] = 0
        picture[rows, :, channel] = ramp
    return picture


def readings(picture: Picture, spec: InputSpec) -> list[Reading]:
    """What a network of `spec` reads of a picture (H, W, 3), fed as planes B, G, R.

    RGB_order is the network's order. By the older reading planes fed as B, G, R to a cfg that
    says RGB stay as they are: the network's first channel is B.
    """
    turned = np.ascontiguousarray(picture[..., ::-1]) if spec.colour == "RGB" else picture
    forms = [spec, replace(spec, mean=spec.mean[::-1])]
    if spec.mean[0] == spec.mean[-1]:
        forms = forms[:1]
    return [
        Reading(planes, means, to_blob(pixels, form), pixels is picture and form is spec)
        for planes, pixels in zip(PLANES, (picture, turned), strict=True)
        for means, form in zip(MEANS, forms, strict=False)
    ]


def write_probe(spec: InputSpec, size: tuple[int, int], folder: Path) -> None:
    """Write `folder`/probe for a colour network that reads `size` (height, width)."""
    target = folder / FOLDER
    target.mkdir()
    picture = probe_picture(size)
    done, data = cv2.imencode(".bmp", picture)
    if not done:
        raise RuntimeError("OpenCV cannot encode .bmp")
    (target / PICTURE).write_bytes(data.tobytes())
    (target / "probe.bgr").write_bytes(picture.transpose(2, 0, 1).tobytes())
    unique: list[Blob] = []
    entries: list[dict[str, Any]] = []
    columns = [(2 * n + 1) * size[1] // (2 * len(PATCHES)) for n in range(len(PATCHES))]
    for reading in readings(picture, spec):
        number = next((n for n, x in enumerate(unique) if np.array_equal(x, reading.input)), None)
        if number is None:
            number = len(unique)
            unique.append(reading.input)
            np.save(target / f"input_{number}.npy", reading.input)
        entries.append(
            {
                "board_feeds": reading.planes,
                "mean_txt": reading.means,
                "as_trained": reading.trained,
                "file": f"{FOLDER}/input_{number}.npy",
                "patches": {
                    name: reading.input[0, :, 0, column].tolist()
                    for (name, _), column in zip(PATCHES, columns, strict=True)
                },
            }
        )
    record = {
        "what": "feed board to a network compiled from the cfg and compare its first layer's input",
        "picture": f"{FOLDER}/{PICTURE}",
        "board": f"{FOLDER}/probe.bgr",
        "layout": "U8 planes B, G, R, rows not padded",
        "height": size[0],
        "width": size[1],
        "RGB_order": spec.colour,
        "mean": list(spec.mean),
        "scale": list(spec.scale),
        "readings": entries,
    }
    (target / RECORD).write_text(files.to_json(record), encoding="utf-8")

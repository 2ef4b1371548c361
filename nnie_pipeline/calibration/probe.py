"""A strongly coloured picture, and what the first layer reads of it in every way to read a cfg.

Editions of the HiSVP development guide contradict each other on `RGB_order` with image_type 1:
the older ones say that it names the order of the planes that the board feeds, the newest that
the board feeds B, G, R whatever it says. None says to which channel the first line of mean.txt
belongs, none by which matrix the chip turns YUV back. On this picture no two readings give the
same values, so that one run settles it.

probe/probe.bmp    the picture
probe/probe.bgr    its planes as the board reads them (probe.yuv where it reads YVU420SP)
probe/input_N.npy  float32 (1, 3, H, W): the first layer's input
probe/probe.json   which reading gives which of them, and their values on every patch
"""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import cv2
import numpy as np

from nnie_pipeline import files
from nnie_pipeline.calibration.geometry import Picture
from nnie_pipeline.calibration.network_input import Blob, InputSpec, planar_bytes, to_blob
from nnie_pipeline.calibration.yuv import (
    FORMS,
    YuvForm,
    as_fed,
    to_bgr,
    to_yvu,
    yvu_bytes,
)

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


EXPECTED = "expected"
"""The reading of the cfg files: the network gets channels and means as it was trained."""

_GLASS = (0.1, 0.5, 1.0)
"""What is left of B, G and R behind orange glass."""


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


def coloured(pixels: Picture) -> Picture:
    """`pixels` (H, W, 3) in B, G, R as seen through orange glass: gray ones get a colour too.

    For boards that write outputs only, which patches tell apart less well than a photograph:
    measured on six networks, exchanged channels move the outputs of a tinted photograph by 1.8 to
    20 times as much as 16 bit numbers do, of patches by 1 to 12 times.
    """
    tinted: Picture = np.rint(pixels * np.array(_GLASS)).astype(np.uint8)
    return tinted


def readings(pixels: Picture, spec: InputSpec, form: YuvForm | None = None) -> dict[str, Blob]:
    """The float32 (1, 3, H, W) inputs of a picture (H, W, 3) in B, G, R by the reading behind them.

    "swapped": the first and the last channel are exchanged. "means-reversed" and "both" exist
    where means differ: the first mean belongs to the last channel. With `form` the board feeds
    YVU420SP of that form; "u-first" and "MATRIX-RANGE" are then the other ways to read its bytes.
    """
    fed = pixels if form is None else as_fed(pixels, form)
    turned = np.ascontiguousarray(fed[..., ::-1])
    result = {EXPECTED: to_blob(fed, spec), "swapped": to_blob(turned, spec)}
    if spec.mean[0] != spec.mean[-1]:
        other = replace(spec, mean=spec.mean[::-1])
        result["means-reversed"] = to_blob(fed, other)
        result["both"] = to_blob(turned, other)
    if form is not None:
        luma, chroma = to_yvu(pixels, form)
        u_first = np.ascontiguousarray(chroma[..., ::-1])
        result["u-first"] = to_blob(to_bgr(luma, u_first, form), spec)
        for x in FORMS:
            if x != form:
                result[_name(x)] = to_blob(to_bgr(luma, chroma, x), spec)
    return result


def _name(form: YuvForm) -> str:
    return f"{form.matrix}-{form.range}"


def _said(spec: InputSpec, form: YuvForm | None) -> list[tuple[str, str, str]]:
    """What the board has to feed, whose mean the first is, and the name of that reading."""
    if form is not None:
        said = [
            (
                x.said,
                MEANS[0],
                EXPECTED if x == form else _name(x),
            )
            for x in FORMS
        ]
        said.append((f"U before V, by {form.matrix}, {form.range} range", MEANS[0], "u-first"))
        if spec.mean[0] != spec.mean[-1]:
            said.append((form.said, MEANS[1], "means-reversed"))
        return said
    # By the older reading planes fed as B, G, R to a cfg that says RGB stay as they are.
    turned = (EXPECTED, "means-reversed") if spec.colour != "RGB" else ("swapped", "both")
    names = ((EXPECTED, "means-reversed"), turned)
    count = 1 if spec.mean[0] == spec.mean[-1] else 2
    return [
        (planes, means, name)
        for planes, both in zip(PLANES, names, strict=True)
        for means, name in list(zip(MEANS, both, strict=True))[:count]
    ]


def write_probe(
    spec: InputSpec, size: tuple[int, int], folder: Path, form: YuvForm | None = None
) -> None:
    """Write `folder`/probe for a colour network that reads `size` (height, width).

    With `form` the board feeds YVU420SP of that form.
    """
    target = folder / FOLDER
    target.mkdir()
    picture = probe_picture(size)
    done, data = cv2.imencode(".bmp", picture)
    if not done:
        raise RuntimeError("OpenCV cannot encode .bmp")
    (target / PICTURE).write_bytes(data.tobytes())
    board = "probe.bgr" if form is None else "probe.yuv"
    planes = planar_bytes(picture) if form is None else yvu_bytes(*to_yvu(picture, form))
    (target / board).write_bytes(planes)
    found = readings(picture, spec, form)
    places: dict[bytes, str] = {}
    entries: list[dict[str, Any]] = []
    columns = [(2 * n + 1) * size[1] // (2 * len(PATCHES)) for n in range(len(PATCHES))]
    for feeds, means, name in _said(spec, form):
        values = found[name].tobytes()
        if values not in places:
            places[values] = f"{FOLDER}/input_{len(places)}.npy"
            np.save(folder / places[values], found[name])
        entries.append(
            {
                "board_feeds": feeds,
                "mean_txt": means,
                "as_trained": name == EXPECTED,
                "file": places[values],
                "patches": {
                    patch: found[name][0, :, 0, column].tolist()
                    for (patch, _), column in zip(PATCHES, columns, strict=True)
                },
            }
        )
    record = {
        "what": "feed board to a network compiled from the cfg and compare its first layer's input",
        "picture": f"{FOLDER}/{PICTURE}",
        "board": f"{FOLDER}/{board}",
        "layout": "U8 planes B, G, R, rows not padded"
        if form is None
        else f"YVU420SP (Y, then V and U in turn), {form.matrix} {form.range}, rows not padded",
        "height": size[0],
        "width": size[1],
        "RGB_order": spec.colour,
        "mean": list(spec.mean),
        "scale": list(spec.scale),
        "readings": entries,
    }
    (target / RECORD).write_text(files.to_json(record), encoding="utf-8")

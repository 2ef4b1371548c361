"""The calibration pictures as the network sees them."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from nnie_pipeline.report import pictures
from nnie_pipeline.report.build import Build, Missing
from nnie_pipeline.report.records import Calibrated
from nnie_pipeline.report.study_records import Histograms
from nnie_pipeline.report.texts import Texts

WIDTH, HEIGHT = 512, 130
"""Of a histogram's drawing."""

_TOP = 246
"""From here on 8-bit pixels are stored as the highest level, 2^(127/16) = 245.1."""


@dataclass(frozen=True)
class Channel:
    """A channel: its path of SVG, and its pixels in numbers."""

    name: str
    path: str
    mean: float
    deviation: float
    dark: float
    saturated: float


def context(build: Build, t: Texts) -> dict[str, Any]:
    """The record of the set, its contact sheet, and the histogram of each channel."""
    histograms = build.find(Histograms)
    calibrated = build.read(Calibrated)
    return {
        "calibrated": calibrated,
        # The fixed range is that of the pixels less their mean.
        "saturates": not any(calibrated.input.mean),
        "histograms": histograms,
        "channels": [] if isinstance(histograms, Missing) else _channels(histograms),
        "width": WIDTH,
        "height": HEIGHT,
        "sheet": pictures.data_uri(build.folder / "calibration", "contact.png"),
    }


def _channels(found: Histograms) -> list[Channel]:
    """Channels of any pixels; heights are as the square root of the counts."""
    channels = []
    for name, counts in zip(found.channels, found.counts, strict=False):
        total = sum(counts)
        if len(counts) != 256 or total <= 0:
            continue
        mean = sum(i * n for i, n in enumerate(counts)) / total
        square = sum(i * i * n for i, n in enumerate(counts)) / total
        # The fill around letterboxed pictures is one level; it would flatten all others.
        most = sorted(counts)[-4] or max(counts)
        tall = [min(1.0, math.sqrt(n / most)) * HEIGHT for n in counts]
        path = "".join(f"V{HEIGHT - y:.1f}h2" for y in tall)
        channels.append(
            Channel(
                name, f"M0 {HEIGHT}{path}V{HEIGHT}Z", mean,
                math.sqrt(max(0.0, square - mean * mean)), counts[0] / total,
                sum(counts[_TOP:]) / total,
            )
        )  # fmt: skip
    return channels

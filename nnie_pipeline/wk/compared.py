"""The codes of a compiled layer beside the weights of a Caffe layer, whatever z they count from.

One other weight can move the z of a whole tensor, and with it every code. So the offset z of the
file is found first, as the one at which most codes are those of the weights; what differs then
are the weights that are others.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from nnie_pipeline.caffe.net import Array, Layer
from nnie_pipeline.quant.gfpq import EQUAL_WEIGHTS
from nnie_pipeline.quant.gfpq_format import number_format
from nnie_pipeline.wk.codes import Codes, Vector, levels_of
from nnie_pipeline.wk.fit import Fitted
from nnie_pipeline.wk.layout import Geometry, cell_places, conv_order
from nnie_pipeline.wk.predict import FLOAT_ROUNDING

Flags = npt.NDArray[np.bool_]
Bounds = tuple[Vector, Vector]
"""Lower and upper bound, one for each output; -inf and inf where nothing tells."""

IN_2_31 = -5.5
"""A scale word more octaves than this below the one in 2^-42 counts in 2^-31 (11 below)."""

_EXACT_STEP = 0.02
_STEP = 1.01


@dataclass(frozen=True)
class Compared:
    """A layer's codes in the file beside the network's weights.

    `codes` (int16), `weights` and `equal` are (outputs, inputs, height, width), `weights` float64;
    `z` (outputs,) is the offset at which most codes are those of the weights, and `equal` tells
    which of them are.
    """

    bits: int
    codes: Codes
    weights: Vector
    z: Vector
    equal: Flags

    @property
    def values(self) -> Vector:
        """The file's weights, counted from `z`."""
        return levels_of(self.codes, self.z, self.bits)

    def distance(self, chosen: Flags | bool = True) -> float:
        """That of the file's weights from the network's (rms), as a share of the network's.

        Weights that are not `chosen` count as equal.
        """
        size = float(np.sqrt(np.mean(self.weights**2)))
        apart = np.where(chosen, self.weights - self.values, 0.0)
        return float(np.sqrt(np.mean(apart**2))) / size if size else float("inf")


def compare(found: Fitted) -> Compared:
    """The layer's codes beside the weights that it is held against."""
    geometry = found.predicted.geometry
    own = np.where(np.isfinite(found.predicted.z_w), np.floor(found.predicted.z_w + 0.5), 0)
    weights = straight(found.predicted.layer, geometry).astype(np.float64)
    return beside(file_codes(found), weights, own, geometry, found.layer.bits)


def beside(codes: Codes, weights: Vector, own: Vector, geometry: Geometry, bits: int) -> Compared:
    """Codes beside weights, both (outputs, inputs, height, width); z is `own` where as good."""
    place = _places(weights, bits)
    level = np.floor(place + 0.5)
    step = np.abs(codes) - 1
    usable = (np.sign(codes) * np.sign(weights) > 0) & (step < number_format(bits).top)
    z = np.empty(geometry.outputs)
    for rows in _tensors(geometry):
        tells = usable[rows]
        offsets = (level[rows][tells] - step[rows][tells]).astype(np.int64)
        z[rows] = _most(offsets, int(own[rows.start]))
    expected = _codes(weights, place, level, z.reshape(-1, 1, 1, 1), bits)
    equal = expected == codes
    with np.errstate(invalid="ignore"):
        tie = np.abs(place - np.floor(place) - 0.5) < number_format(bits).steps * FLOAT_ROUNDING
    equal |= tie & (np.abs(expected - codes) == 1) & (expected != 0) & (codes != 0)
    # z follows the largest weight: none lies a whole step above the top unless it was cut.
    beyond = z + number_format(bits).top + 1 + number_format(bits).steps * FLOAT_ROUNDING
    equal &= place < beyond.reshape(-1, 1, 1, 1)
    for rows in _tensors(geometry):
        if _one_value(codes[rows], bits):
            size = np.abs(weights[rows])
            alike = np.abs(size - np.median(size)) <= EQUAL_WEIGHTS
            # A zero among them is stored as the others.
            equal[rows] |= alike & ((np.sign(weights[rows]) == np.sign(codes[rows])) | (size == 0))
    return Compared(bits, codes, weights, z, equal)


def codes_at(weights: Vector, z: Vector, bits: int) -> Codes:
    """The codes of weights (outputs, ...) that count from `z` (outputs,)."""
    place = _places(weights, bits)
    column = z.reshape(-1, *[1] * (weights.ndim - 1))
    return _codes(weights, place, np.floor(place + 0.5), column, bits)


def row_factors(codes: Codes, weights: Array | Vector, bits: int) -> Bounds | None:
    """The steps by which each output's codes lie above the places n*log2|w| of `weights`.

    Both are (outputs, inputs, height, width). A code tells its place to half a step, so an
    output's factor lies between two bounds. None if in any output no single factor makes the
    codes of the weights, or if hardly a weight tells.
    """
    form = number_format(bits)
    rows = len(codes)
    flat = codes.reshape(rows, -1)
    places = _places(np.asarray(weights, np.float64).reshape(rows, -1), bits)
    sign = np.sign(flat) * np.sign(weights.reshape(rows, -1))
    step = np.abs(flat).astype(np.float64) - 1
    inner = (step > 1) & (step <= form.top) & (sign != 0)
    # What is small beside the rest of its tensor may be stored as zero or as the smallest level.
    inner[[_one_value(x, bits) for x in flat]] = False
    smallest = np.where(flat != 0, places, np.inf).min(axis=1, keepdims=True)
    odd = np.where(flat != 0, sign == 0, places > smallest + _STEP)
    if inner.sum() <= rows or np.count_nonzero(odd) > flat.size // 1000:
        return None
    total = np.where(inner, sign, 0).sum(axis=1)
    if (np.abs(total) != inner.sum(axis=1)).any():
        return None
    slack = form.steps * FLOAT_ROUNDING
    with np.errstate(invalid="ignore"):
        low = np.where(inner, step - 0.5 - places, -np.inf).max(axis=1) - slack
        # What rounds to the step above the top is stored as the top.
        above = np.where(step == form.top, 1.0, 0.5)
        high = np.where(inner, step + above - places, np.inf).min(axis=1) + slack
    return None if (low > high).any() else (low, high)


def word_steps(found: Fitted, before: int | None) -> Vector:
    """z_w + z_in of each output as its scale word tells it, with the network's BatchNorm factor.

    `before` is the z that the layer before writes, where one is known: whether a word counts in
    2^-42 or in 2^-31 shows in what z_in would be. The result is float64 (outputs,), whole but for
    weights of one size, NaN where the word or the factor is zero.
    """
    steps = number_format(found.layer.bits).steps
    word = np.abs(found.layer.parameters.scale.astype(np.float64))
    factor = np.abs(found.predicted.factor)
    used = (word > 0) & (factor > 0)
    ratio = np.where(used, word, 1.0) / np.where(used, factor, 1.0)
    exact = steps * (np.log2(ratio) - 42)
    with np.errstate(invalid="ignore"):
        near = found.predicted.z_w + (before if before is not None else found.z_in or 0)
        exact = np.where(exact < near + steps * IN_2_31, exact + 11 * steps, exact)
    whole = np.rint(exact)
    snapped = np.abs(exact - whole) <= _EXACT_STEP + steps / np.maximum(word, 1.0)
    return np.where(used, np.where(snapped, whole, exact), np.nan)


def row_signs(codes: Codes, weights: Array | Vector) -> Vector:
    """The sign of each output's factor; 0 where nothing tells."""
    rows = len(codes)
    both = np.sign(codes.reshape(rows, -1)) * np.sign(weights.reshape(rows, -1))
    return np.asarray(np.sign(both.sum(axis=1)), np.float64)


def file_codes(found: Fitted) -> Codes:
    """The file's codes as (outputs, inputs, height, width)."""
    return _shaped(found.layer.parameters.codes, found.predicted.geometry, found.layer.bits)


def network_codes(found: Fitted) -> Codes:
    """The predicted codes as (outputs, inputs, height, width)."""
    return _shaped(found.predicted.codes, found.predicted.geometry, found.layer.bits)


def straight(layer: Layer, geometry: Geometry) -> Array:
    """The layer's weights as (outputs, inputs, height, width) of the convolution stored."""
    return np.ascontiguousarray(conv_order(layer.weights[0], geometry))


def _tensors(geometry: Geometry) -> Iterator[slice]:
    """The outputs that share a z."""
    if not geometry.depthwise:
        yield slice(0, geometry.outputs)
        return
    for output in range(geometry.outputs):
        yield slice(output, output + 1)


def _one_value(codes: Codes, bits: int) -> bool:
    """Whether a tensor is stored as weights of one size, exactly, one octave above its z."""
    return bool((np.abs(codes) == number_format(bits).steps + 1).all())


def _places(weights: Vector, bits: int) -> Vector:
    with np.errstate(divide="ignore"):
        return np.asarray(number_format(bits).steps * np.log2(np.abs(weights)), np.float64)


def _codes(weights: Vector, place: Vector, level: Vector, z: Vector, bits: int) -> Codes:
    """The codes of weights that count from `z` (`quant.gfpq` has the rule)."""
    form = number_format(bits)
    negative = weights < 0
    size = np.clip(level - z, np.where(negative, 1, 0), form.top) + 1
    kept = place > z - form.steps + negative
    return np.where(kept, np.sign(weights) * size, 0).astype(np.int16)


def _most(offsets: npt.NDArray[np.int64], own: int) -> int:
    """The most frequent of `offsets`; `own` where that is as frequent, or without any."""
    if not offsets.size:
        return own
    first = int(offsets.min())
    counts = np.bincount(offsets - first)
    most = int(counts.argmax())
    if 0 <= own - first < len(counts) and counts[own - first] == counts[most]:
        return own
    return most + first


def _shaped(codes: Codes, geometry: Geometry, bits: int) -> Codes:
    _, places = cell_places(geometry, bits)
    kept = codes[:, places.reshape(-1)]
    return kept.reshape(geometry.outputs, geometry.inputs, *geometry.kernel)

"""Other ranges than the maximum: a percentile of the magnitudes, and imported clip values."""

from __future__ import annotations

import difflib
import math
from collections.abc import Mapping
from fractions import Fraction
from typing import Any

import numpy as np
import numpy.typing as npt

from nnie_pipeline.caffe.net import Array, Net
from nnie_pipeline.chips.segments import HP_MARKER
from nnie_pipeline.errors import InputError
from nnie_pipeline.quant import gfpq
from nnie_pipeline.quant.gfpq_format import number_format
from nnie_pipeline.quant.ranges import Ranges, by_layer, ranged_bottoms, require_pictures
from nnie_pipeline.quant.widths import WIDTHS

_SHIFT = 15
_BINS = 1 << (31 - _SHIFT)
"""A bin for each exponent and upper 8 bits of the mantissa: 256 an octave."""

_CHUNK = 1 << 18


class PercentileRecorder:
    """Ranges that cover `percentile` (above 0, up to 100) percent of a value's magnitudes.

    Counted are all numbers of all pictures, zeros too, in 65,536 bins of a width of 1/256
    octave: the range is the upper edge of the bin that the percentile falls into, never above
    the maximum. Memory does not depend on the number of pictures (512 KB a value).

    Raises:
        InputError: `percentile` out of range.
    """

    def __init__(
        self, net: Net, percentile: float, scales: Mapping[str, float] | None = None
    ) -> None:
        if not 0 < percentile <= 100:
            raise InputError(f"--clip {percentile:g}: a percentile is above 0 and at most 100")
        self._percentile = float(percentile)
        self._bottoms = ranged_bottoms(net)
        self._scales = dict(scales or {})
        self._counts: dict[str, npt.NDArray[np.int64]] = {}
        self._largest: dict[str, float] = {}
        self._pictures = 0

    @property
    def values(self) -> list[str]:
        """The values that `add` needs."""
        return list(dict.fromkeys(x for bottoms in self._bottoms.values() for x in bottoms))

    def add(self, values: Mapping[str, Array]) -> None:
        """Take in the values of one picture's float run."""
        for name in self.values:
            counts = self._counts.setdefault(name, np.zeros(_BINS, np.int64))
            flat = np.ascontiguousarray(values[name], np.float32).reshape(-1).view(np.int32)
            for start in range(0, flat.size, _CHUNK):
                bins = (flat[start : start + _CHUNK] & 0x7FFFFFFF) >> _SHIFT
                found = np.bincount(bins)
                counts[: len(found)] += found
            largest = gfpq.largest_magnitude(values[name])
            self._largest[name] = max(largest, self._largest.get(name, 0.0))
        self._pictures += 1

    def ranges(self) -> Ranges:
        """What was collected.

        Raises:
            InputError: no picture was added.
        """
        require_pictures(self._pictures)
        z: dict[int, dict[str, int]] = {bits: {} for bits in WIDTHS}
        for name in self.values:
            limit = self._limit(name)
            for bits in WIDTHS:
                z[bits][name] = gfpq.range_z(limit, bits)
        rule = f"percentile {self._percentile:g}"
        return by_layer(self._bottoms, z, self._pictures, rule, self._scales)

    def _limit(self, name: str) -> float:
        counts = np.cumsum(self._counts[name])
        wanted = math.ceil(int(counts[-1]) * Fraction(repr(self._percentile)) / 100)
        place = int(np.searchsorted(counts, wanted))
        edge = np.array((place + 1) << _SHIFT, np.int64).astype(np.int32).view(np.float32)
        largest = self._largest[name]
        return largest if not np.isfinite(edge) else min(float(edge), largest)


def clip_table(value: Any, net: Net, others: Ranges, where: str) -> Ranges:
    """`others` with the ranges of a clip table: a value c for each bottom of some layers.

    The form is that of a `gfpq_param_file` as MQBench writes it for NNIE:
    {"nnie": {"gfpq_param_dict": {layer: [c, ...]}}}, with z = round(16 * log2(c)) - 127 for 8
    bits (its documentation); for 16 bits round(128 * log2(c)) - 1407 is assumed. One number
    stands for all bottoms of a layer.

    Raises:
        InputError: not of that form, or a layer that the network has not or that has no range.
    """
    bottoms = ranged_bottoms(net)
    tables = {bits: dict(table) for bits, table in others.z.items()}
    try:
        entries = {str(k): [float(x) for x in v] for k, v in _entries(value).items()}
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise InputError(
            f"{where} is no clip table ({type(error).__name__}: {error}); it holds "
            '{"nnie": {"gfpq_param_dict": {"LAYER": [CLIP, ...]}}}'
        ) from error
    plain = {x.removesuffix(HP_MARKER): x for x in bottoms}
    for given, clips in entries.items():
        layer = given if given in bottoms else plain.get(given, given)
        if layer not in bottoms:
            near = difflib.get_close_matches(given, bottoms, n=1)
            raise InputError(
                f"{where} has a clip value for layer {given}, which the network has not or which "
                f"reads nothing quantised{f'; near in name: {near[0]}' if near else ''}"
            )
        if len(clips) not in (1, len(bottoms[layer])):
            raise InputError(
                f"{where} has {len(clips)} clip values for layer {layer} of "
                f"{len(bottoms[layer])} bottoms; give one for each, or one for all"
            )
        if not all(math.isfinite(x) and x > 0 for x in clips):
            raise InputError(f"{where}: the clip values of layer {layer} are not all above 0")
        for bits in WIDTHS:
            tables[bits][layer] = tuple(clip_z(x, bits) for x in clips)
    return Ranges(tables, others.pictures, "imported", others.scales)


def _entries(value: Any) -> dict[str, list[float]]:
    found = value["nnie"]["gfpq_param_dict"]
    for clips in found.values():
        if not isinstance(clips, list) or not clips or any(isinstance(x, str) for x in clips):
            raise TypeError("a layer without a list of numbers")
    return dict(found)


def clip_z(clip: float, bits: int) -> int:
    """z of a range that ends at `clip`: the nearest one, as MQBench has it."""
    form = number_format(bits)
    z = math.floor(form.steps * math.log2(clip) + 0.5) - form.top
    return max(-form.z_limit, min(form.z_limit, z))

"""z of a compiled network's weights, as far as the file alone tells.

A scale word is f 2^((z_w + z_in)/n + 42), in 2^31 where that exceeds 32 bits, and the instructions
hold z_in. So z_w follows where f is 1: where BatchNorm was merged or there is none. Nothing known
marks the words that count in 2^-31. With the largest input the layer has to reach the range of its
result: where 2^-42 leaves it two octaves below, the word counts in 2^-31. (In both measured files
all weights times the largest input are 1 to 6 octaves above the range.)
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from nnie_pipeline.quant.gfpq_format import number_format
from nnie_pipeline.wk.codes import levels_of
from nnie_pipeline.wk.model import WkLayer, WkModel
from nnie_pipeline.wk.reading import z_read

if TYPE_CHECKING:
    from nnie_pipeline.caffe.net import Array

_Q42_ONLY = 1 << 20
"""A scale word from here on may count in 2^-31 as well."""

_EXACT = 1 << 14
"""Words that tell a z that need not be whole."""

_NEAR = 0.25
"""How far from a whole step the rounding of a word may leave z."""


def weight_z(model: WkModel, layer: WkLayer) -> tuple[float | None, ...]:
    """z of the weights of each output in steps of the format, None where it is not told.

    Whole, but for tensors whose weights are all equal: these are stored exactly.
    """
    unknown: tuple[float | None, ...] = (None,) * layer.outputs
    read, words = z_read(model, layer), layer.parameters
    if len(read) != 1 or words.shift.any() or not layer.one_scale:
        return unknown
    number = number_format(layer.bits)
    steps = number.steps
    codes = words.codes.astype(np.float64)
    sums = np.where(codes != 0, np.exp2((np.abs(codes) - 1) / steps), 0).sum(axis=1)
    if not layer.depthwise:
        sums[:] = sums.max(initial=0)
    found: list[float | None] = []
    for scale, total, own in zip(words.scale.tolist(), sums.tolist(), words.codes, strict=True):
        # A word rounded to a whole number has to tell steps apart.
        if scale <= steps / np.log(2) / 2 / _NEAR or total == 0:
            found.append(None)
            continue
        exact = float(steps * (np.log2(scale) - 42) - read[0])
        if scale >= _Q42_ONLY:
            if layer.z_out is None:
                found.append(None)
                continue
            # The largest result beside the range, in steps; input and range have one top code.
            above = steps * np.log2(total) + exact + read[0] - layer.z_out
            if above < -2 * steps:
                # A channel of a depthwise layer may as well be nearly dead.
                if layer.depthwise:
                    found.append(None)
                    continue
                exact += 11 * steps
        used = own if layer.depthwise else words.codes
        sizes = np.unique(np.abs(used[used != 0]))
        if len(sizes) == 1:
            found.append(exact if scale >= _EXACT else None)
        else:
            found.append(float(round(exact)) if abs(exact - round(exact)) <= _NEAR else None)
    return tuple(found)


def known_weights(model: WkModel, layer: WkLayer) -> Array | None:
    """The weights, float32 (outputs, cells), NaN where z is not told; None where all are so."""
    z = weight_z(model, layer)
    if all(x is None for x in z):
        return None
    told = np.array([np.nan if x is None else x for x in z])
    codes = layer.parameters.codes
    values = np.where(codes == 0, 0.0, levels_of(codes, told, layer.bits))
    return values.astype(np.float32)

"""A caffemodel whose numbers went through float16: the one given, or the one of the file."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from nnie_pipeline.caffe.net import Layer
from nnie_pipeline.wk.compared import Compared, codes_at
from nnie_pipeline.wk.fit import Fitted
from nnie_pipeline.wk.model import WkModel
from nnie_pipeline.wk.norm import Norm

_SMALLEST = 2.0**-14
"""The smallest normal number of float16 (IEEE 754); what is smaller has fewer digits."""

_STEP = 2.0**-24
"""The distance of numbers below that."""

_ROUNDING = 2.0**-9
"""float16 rounds by up to 2^-11 each of a weight, gamma and variance, and small variances more."""

_FEW = 16
"""So many numbers may be exact in float16 by chance."""


def half_reason(found: Fitted, model: WkModel, both: Compared, norm: Norm) -> str | None:
    """Numbers that are all exact in float16 on one side, and differ by its rounding."""
    size = np.abs(norm.layer.weights[0])
    # It moves few codes, but for weights so small that they have hardly a digit left.
    if both.equal.mean() < 0.5 and size.min(initial=1) > _SMALLEST:
        return None
    rounded = replace(norm, layer=_rounded(norm.layer))
    if rounded.fits(found, model, [_rounded(x) for x in norm.chain]):
        return "the file was made from the caffemodel's numbers rounded to float16"
    blobs = [norm.layer.weights[0], *(x for layer in norm.chain for x in layer.weights)]
    if sum(x.size for x in blobs) < _FEW:
        return None
    with np.errstate(over="ignore"):
        if not all((x.astype(np.float16) == x).all() for x in blobs):
            return None
    near = _words_near(found) if found.equal.all() else _codes_near(both, norm)
    return "the caffemodel's numbers are rounded to float16, the file's are not" if near else None


def _rounded(layer: Layer) -> Layer:
    """The layer with all numbers that float16 has rounded to it."""
    copy = layer.copy()
    with np.errstate(over="ignore"):
        halves = [x.astype(np.float16).astype(np.float32) for x in layer.weights]
    copy.weights = [
        np.where(np.isfinite(x), x, y) for x, y in zip(halves, layer.weights, strict=True)
    ]
    return copy


def _codes_near(both: Compared, norm: Norm) -> bool:
    factor = np.ones((len(both.codes), 1, 1, 1))
    if norm.merged:
        factor = np.abs(norm.factor).reshape(-1, 1, 1, 1)
    size = np.abs(both.weights)
    tiny = _STEP * factor
    # So few digits are left of these that z of the tensor is another.
    dead = (size < _SMALLEST * factor).all(axis=(1, 2, 3), keepdims=True)
    sign = np.sign(both.weights)
    low, high = (
        np.abs(codes_at(sign * np.maximum(x, 0), both.z, both.bits))
        for x in (size * (1 - _ROUNDING) - tiny, size * (1 + _ROUNDING) + tiny)
    )
    # A weight that became zero may have any sign.
    high = np.where(sign == 0, 2, high)
    code = np.abs(both.codes)
    same = np.sign(both.codes) * sign >= 0
    return bool(((same & (code >= low) & (code <= high)) | dead).all())


def _words_near(found: Fitted) -> bool:
    if found.z_in is None:
        return False
    stored = found.layer.parameters
    for own, theirs in zip(
        found.predicted.words(found.z_in), (stored.bias, stored.scale, stored.shift), strict=True
    ):
        size = np.abs(own.astype(np.float64))
        # Addends cancel: their difference counts beside the largest of them.
        allowed = (size + size.max(initial=0)) * 4 * _ROUNDING + 2
        if (np.abs(own.astype(np.float64) - theirs) > allowed).any():
            return False
    return True

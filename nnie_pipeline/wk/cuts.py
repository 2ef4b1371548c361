"""Weights that were clipped or set to zero on one side: in the file or in the caffemodel."""

from __future__ import annotations

import numpy as np

from nnie_pipeline.quant.gfpq_format import number_format
from nnie_pipeline.wk.codes import Vector
from nnie_pipeline.wk.compared import Compared, Flags, straight
from nnie_pipeline.wk.fit import Fitted
from nnie_pipeline.wk.norm import Norm

TELLING = 3
"""One or two weights alone may be as if they were cut, for any reason."""

_SPARSE = 0.01
"""A smaller share of zeros is no sparse network."""

_SAME_SIZE = 1e-6
"""Weights clipped at one limit differ by no more than a rounding, as a share of it."""

_STEP = 1.001
"""How far apart, in steps, two codes of one weight may be by rounding alone."""


def clipped_reason(found: Fitted, both: Compared, norm: Norm, least: int = TELLING) -> str | None:
    """Weights cut at a limit in the caffemodel only, before BatchNorm was merged or after."""
    apart = ~both.equal
    count = np.count_nonzero(apart)
    same_sign = np.sign(both.codes) * np.sign(both.weights) > 0
    if count < least or not (same_sign & (np.abs(both.values) > np.abs(both.weights)))[apart].all():
        return None
    outputs = np.count_nonzero(apart.any(axis=(1, 2, 3)))
    for axes in (None, (1, 2, 3)):  # one limit for the layer, or one for each output
        if axes is not None and count < 2 * outputs:
            break
        for weights in _forms(found, both, norm):
            size = np.abs(weights)
            limit = size.max(axis=axes, keepdims=True)
            if (size >= limit * (1 - _SAME_SIZE))[apart].all():
                return (
                    f"the caffemodel's weights were clipped at {size[apart].max():.4g}: {count} of "
                    f"{apart.size} are larger in the file"
                )
    return None


def cut_reason(both: Compared, norm: Norm, least: int = TELLING) -> str | None:
    """Weights cut at a limit in the file only."""
    apart = ~both.equal
    count = np.count_nonzero(apart)
    size, theirs = np.abs(both.weights), np.abs(both.values)
    same_sign = np.sign(both.codes) * np.sign(both.weights) > 0
    if count < least or not (same_sign & (theirs < size))[apart].all():
        return None
    step = 2.0 ** (_STEP / number_format(both.bits).steps)
    for factor in _row_sizes(both, norm):
        cut = (theirs / factor)[apart]
        rest = (theirs / factor)[~apart]
        if cut.max() <= cut.min() * step and rest.max(initial=0) <= cut.max() * step:
            return (
                f"its range is clipped in the file: {count} of {apart.size} weights are cut at "
                f"{cut.max():.4g} (a clip table, gfpq_param_file, or weights clipped before)"
            )
    return None


def sparse_reason(found: Fitted, both: Compared, norm: Norm) -> str | None:
    """Small weights set to zero on one side only."""
    apart = ~both.equal
    count = np.count_nonzero(apart)
    share = f"{100 * count / apart.size:.1f} % of its weights are zero"
    if not both.weights.any():
        return "all its weights are zero in the caffemodel, not in the file"
    if count < _SPARSE * apart.size:
        return None
    if (both.codes[apart] == 0).all() and any(
        _smallest(np.where(apart | (both.codes != 0), x, 0), apart)
        for x in _forms(found, both, norm)
    ):
        return f"{share} in the file only: a sparse_rate was applied by the mapper"
    sizes = [both.values / x for x in _row_sizes(both, norm)]
    if (both.weights[apart] == 0).all() and any(_smallest(x, apart) for x in sizes):
        return f"{share} in the caffemodel only, made sparse later"
    return None


def _smallest(weights: Vector, chosen: Flags) -> bool:
    """Whether the chosen weights are the smallest, of the layer or of each output."""
    size = np.abs(weights)
    for axes in (None, (1, 2, 3)):
        largest = np.where(chosen, size, 0).max(axis=axes, keepdims=True)
        if np.count_nonzero(~chosen & (size > 0) & (size < largest * 0.95)) <= chosen.size // 1000:
            return True
    return False


def _forms(found: Fitted, both: Compared, norm: Norm) -> list[Vector]:
    """The network's weights before BatchNorm was merged, and as they are held against the file."""
    before = straight(norm.layer, found.predicted.geometry).astype(np.float64)
    return [before, both.weights] if norm.merged else [both.weights]


def _row_sizes(both: Compared, norm: Norm) -> list[Vector]:
    """What BatchNorm multiplies each output's weights with: nothing, or its factor."""
    one = np.ones((len(both.codes), 1, 1, 1))
    if not norm.merged:
        return [one]
    factor = np.abs(norm.factor).reshape(-1, 1, 1, 1)
    return [one, np.where(factor > 0, factor, 1.0)]

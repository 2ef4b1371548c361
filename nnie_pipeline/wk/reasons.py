"""Why a layer of a compiled network is not that of the caffemodel, found by trying.

What names one cause for every difference comes first; weights that differ for no such cause are
counted at the end.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Mapping, Sequence

import numpy as np

from nnie_pipeline.caffe.net import Net, Shape
from nnie_pipeline.quant.gfpq_format import number_format
from nnie_pipeline.wk.compared import (
    Compared,
    Flags,
    beside,
    compare,
    file_codes,
    network_codes,
    row_factors,
    row_signs,
    straight,
    word_steps,
)
from nnie_pipeline.wk.eps import eps_reason
from nnie_pipeline.wk.fit import Fitted
from nnie_pipeline.wk.model import WkModel
from nnie_pipeline.wk.norm import Norm, exchanged_reason, norm_of
from nnie_pipeline.wk.predict import Vector

_NUMBER = re.compile(r"-?\d[\d.]*(e-?\d+)?")

_SAME_STEP = 1.001
"""How far apart, in steps, two codes of one weight may be by rounding alone."""

_ON_A_LEVEL = 0.01
"""How far from a level, in steps, a weight that was rounded to it may be stored as float32."""

_TELLING = 3
"""One or two weights alone may be as if they were cut, for any reason."""

_SPARSE = 0.01
"""A smaller share of zeros is no sparse network."""

_SAME_SIZE = 1e-6
"""Weights clipped at one limit differ by no more than a rounding, as a share of it."""


def layer_reason(
    found: Fitted,
    model: WkModel,
    given: Net,
    shapes: Mapping[str, Shape],
    merged: bool,
    before: int | None = None,
) -> str:
    """What makes the layer differ.

    `given` is the network before BatchNorm was merged here, `shapes` are those of its values;
    `before` is the z that the layer before writes, where one is known.
    """
    norm = norm_of(given, found.predicted.name, shapes, merged)
    if found.equal.all() and found.padding:
        return (
            eps_reason(found, model, norm, before)
            or exchanged_reason(found, model, given, norm)
            or _words(found, norm)
        )
    both = compare(found)
    few = np.count_nonzero(~both.equal) * 4 < both.equal.size
    return (
        _channels(found)
        or eps_reason(found, model, norm, before)
        or _clipped(found, both, norm)
        or _cut(both, norm)
        or _sparse(found, both, norm)
        or _width(both)
        or (None if few else _elsewhere(found, given, norm))
        or exchanged_reason(found, model, given, norm)
        or _factor(found, both, before)
        or _factors(found, both, model, norm)
        or _other(found, both, norm)
    )


def headline(reasons: Sequence[str]) -> tuple[int, int]:
    """Which of the layers' reasons speaks for most of them: its place, and for how many.

    Reasons that differ in numbers alone are one kind; of the most frequent kind it is the first.
    """
    kinds = [_NUMBER.sub("", x.split(";")[0]) for x in reasons]
    counts = Counter(kinds)
    first = max(range(len(kinds)), key=lambda x: (counts[kinds[x]], -x))
    return first, counts[kinds[first]]


def _channels(found: Fitted) -> str | None:
    """The input channels in reverse, of a layer that reads a picture."""
    if found.predicted.geometry.inputs != 3 or found.equal.all():
        return None
    if (file_codes(found)[:, ::-1] == network_codes(found)).all():
        return "the channels of its input are swapped (RGB against BGR)"
    return None


def _clipped(found: Fitted, both: Compared, norm: Norm, least: int = _TELLING) -> str | None:
    """Weights cut at a limit in the caffemodel only, before BatchNorm was merged or after."""
    apart = ~both.equal
    count = np.count_nonzero(apart)
    same_sign = np.sign(both.codes) * np.sign(both.weights) > 0
    if count < least or not (same_sign & (np.abs(both.values) > np.abs(both.weights)))[apart].all():
        return None
    for weights in _forms(found, both, norm):
        size = np.abs(weights)
        # One limit for the layer, or one for each output.
        for limit in (size.max(), size.max(axis=(1, 2, 3), keepdims=True)):
            outputs = np.count_nonzero(apart.any(axis=(1, 2, 3)))
            if np.ndim(limit) and count < 2 * outputs:
                continue
            if (size >= limit * (1 - _SAME_SIZE))[apart].all():
                return (
                    f"the caffemodel's weights were clipped at {size[apart].max():.4g}: {count} of "
                    f"{apart.size} are larger in the file"
                )
    return None


def _cut(both: Compared, norm: Norm, least: int = _TELLING) -> str | None:
    """Weights cut at a limit in the file only."""
    apart = ~both.equal
    count = np.count_nonzero(apart)
    size, theirs = np.abs(both.weights), np.abs(both.values)
    same_sign = np.sign(both.codes) * np.sign(both.weights) > 0
    if count < least or not (same_sign & (theirs < size))[apart].all():
        return None
    step = 2.0 ** (_SAME_STEP / number_format(both.bits).steps)
    for factor in _row_sizes(both, norm):
        cut = (theirs / factor)[apart]
        rest = (theirs / factor)[~apart]
        if cut.max() <= cut.min() * step and rest.max(initial=0) <= cut.max() * step:
            return (
                f"its range is clipped in the file: {count} of {apart.size} weights are cut at "
                f"{cut.max():.4g} (a clip table, gfpq_param_file, or weights clipped before)"
            )
    return None


def _sparse(found: Fitted, both: Compared, norm: Norm) -> str | None:
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


def _width(both: Compared) -> str | None:
    """Weights that were rounded to the other width before they were compiled."""
    other = 8 if both.bits == 16 else 16
    used = both.weights[both.weights != 0]
    places = number_format(other).steps * np.log2(np.abs(used))
    if not places.size or np.abs(places - np.rint(places)).max() > _ON_A_LEVEL:
        return None
    if both.distance() > 2.0 ** (1.0 / number_format(8).steps) - 1:
        return None
    return (
        f"the caffemodel's weights are rounded to {other} bits already, the file is "
        f"{both.bits} bit and was made from others"
    )


def _elsewhere(found: Fitted, given: Net, norm: Norm) -> str | None:
    """Another layer of the network that has the file's weights, but for a factor an output."""
    codes = file_codes(found)
    shape = norm.layer.weights[0].shape
    for other in given.layers:
        if other.name == norm.layer.name or other.type != norm.layer.type or not other.weights:
            continue
        if other.weights[0].shape != shape:
            continue
        weights = straight(other, found.predicted.geometry)
        if row_factors(codes, weights, found.layer.bits) is not None:
            return f"layers in another order: the file has the weights of {other.name} here"
    return None


def _factor(found: Fitted, both: Compared, before: int | None) -> str | None:
    """One number that all weights of the file are multiplied with."""
    bounds = row_factors(both.codes, both.weights, both.bits)
    signs = row_signs(both.codes, both.weights)
    if bounds is None or len(set(signs[signs != 0])) != 1:
        return None
    steps = word_steps(found)
    depthwise = found.predicted.geometry.depthwise
    if depthwise or np.nanmax(steps, initial=-np.inf) - np.nanmin(steps, initial=np.inf) <= 0.5:
        bounds = bounds[0] + steps, bounds[1] + steps
    elif not depthwise:
        before = None  # other scale words: they do not tell z_w
    low, high = np.nanmax(bounds[0]), np.nanmin(bounds[1])
    if not low <= high or not np.isfinite(high - low):
        return None
    sign = signs[signs != 0][0]
    scaled = both.weights * sign * 2.0 ** ((low + high) / 2 / number_format(both.bits).steps)
    again = beside(both.codes, scaled, both.z, found.predicted.geometry, both.bits)
    # It has to be the factor that makes them equal: single other weights stay other weights.
    if np.count_nonzero(~again.equal) * 4 > np.count_nonzero(~both.equal):
        return None
    if before is None:
        return "its weights in the file are those of the caffemodel, all times one number"
    size = 2.0 ** (((low + high) / 2 - before) / number_format(both.bits).steps)
    return f"its weights in the file are those of the caffemodel times about {sign * size:.3g}"


def _factors(found: Fitted, both: Compared, model: WkModel, norm: Norm) -> str | None:
    """Weights that differ by a factor of their own in each output."""
    bits = found.layer.bits
    weights = straight(norm.layer, found.predicted.geometry)
    others = np.count_nonzero(~both.equal.all(axis=(1, 2, 3)) | ~found.bias)
    if others * 2 < found.layer.outputs or row_factors(file_codes(found), weights, bits) is None:
        return None
    if any(x.type == "BatchNorm" for x in norm.chain):
        if norm.merged:
            return "BatchNorm is merged in the file with other statistics or another eps"
        return "its weights in the file are those of the caffemodel, times a number an output"
    if model.batch_norm.startswith("not merged"):
        return "BatchNorm is merged in the caffemodel and not in the file"
    return "BatchNorm is merged in the file, and the caffemodel has other factors or none"


def _words(found: Fitted, norm: Norm) -> str:
    parts = []
    for name, marks in (("bias", found.bias), ("scale", found.scale), ("shift", found.shift)):
        if not marks.all():
            parts.append(f"{int((~marks).sum())} of {marks.size} {name} words")
    has_norm = any(x.type == "BatchNorm" for x in norm.chain)
    stored = found.layer.parameters
    if not found.scale.all() and has_norm and not norm.merged:
        why = "another BatchNorm (variance, factor or eps)"
    elif not found.shift.all() and has_norm:
        why = "another mean or addend of BatchNorm"
    elif not found.shift.all() and stored.shift.any() and not norm.chain:
        why = "a BatchNorm that the network does not have"
    elif found.scale.all() and found.shift.all():
        why = "another bias" + (" (mean or addend of BatchNorm)" if has_norm else "")
    else:
        why = "another bias or BatchNorm"
    return f"its weights are equal, but {', '.join(parts)} differ: {why}"


def _other(found: Fitted, both: Compared, norm: Norm) -> str:
    apart = ~both.equal
    count = np.count_nonzero(apart)
    if not count:
        if found.equal.all():
            return "its unused cells do not hold zero"
        return "its largest weight is another by less than a step, and so z of all its weights"
    text = (
        f"other weights: {count} of {apart.size} differ, by {100 * both.distance(apart):.3g} % of "
        "their size (rms)"
    )
    hint = None
    if count < _TELLING:
        hint = _clipped(found, both, norm, least=1) or _cut(both, norm, least=1)
    return text if hint is None else f"{text}; or {hint}"


def _forms(found: Fitted, both: Compared, norm: Norm) -> list[Vector]:
    """The network's weights as they are held against the file, and before BatchNorm was merged."""
    before = straight(norm.layer, found.predicted.geometry).astype(np.float64)
    return [both.weights, before] if norm.merged else [both.weights]


def _row_sizes(both: Compared, norm: Norm) -> list[Vector]:
    """What BatchNorm multiplies each output's weights with: nothing, or its factor."""
    one = np.ones((len(both.codes), 1, 1, 1))
    if not norm.merged:
        return [one]
    factor = np.abs(norm.factor).reshape(-1, 1, 1, 1)
    return [one, np.where(factor > 0, factor, 1.0)]

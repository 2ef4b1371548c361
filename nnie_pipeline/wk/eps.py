"""The eps of BatchNorm that a compiled layer was made with, solved from what the file holds.

A BatchNorm behind a layer multiplies with f = h / sqrt(var + eps), h from Scale. Not merged, f
stands in the scale words; merged, in the bias words and in the ratio of the file's weights to the
caffemodel's. Each output so has a range of eps with which it would be as it is; what all ranges
have in common is tried.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator

import numpy as np

from nnie_pipeline.quant.gfpq_format import number_format
from nnie_pipeline.rewrite.affine import Affine
from nnie_pipeline.wk.codes import Vector
from nnie_pipeline.wk.compared import IN_2_31, file_codes, row_factors, straight, word_steps
from nnie_pipeline.wk.fit import Fitted
from nnie_pipeline.wk.model import WkModel
from nnie_pipeline.wk.norm import Norm

COMMON_EPS = (1e-5, 1e-3, 2e-5, 1e-4, 1e-6, 1e-7, 1e-8, 1e-12)
"""What frameworks and exporters use as eps of BatchNorm, most frequent first."""

_FLOAT32 = 2.0**-22
_EXACT = 2.0**-40
_MOST_TRIES = 4
_EXACT_ENOUGH = 0.05


def eps_reason(found: Fitted, model: WkModel, norm: Norm, before: int | None) -> str | None:
    """An eps with which the layer is complete, solved from words and weights."""
    places = [i for i, x in enumerate(norm.chain) if x.type == "BatchNorm"]
    if len(places) != 1 or len(norm.chain[places[0]].weights) < 3:
        return None
    has = float(norm.chain[places[0]].params.batch_norm_param.eps)
    tried: set[np.float32] = {np.float32(has)}
    for low, high in _eps_ranges(found, norm, places[0], before):
        for eps in _candidates(low, high):
            if np.float32(eps) in tried:
                continue
            tried.add(np.float32(eps))
            chain = [x.copy() for x in norm.chain]
            chain[places[0]].params.batch_norm_param.eps = eps
            if norm.fits(found, model, chain):
                how = "merged with" if norm.merged else "computed with"
                text = f"BatchNorm is {how} eps {eps:g} in the file, {has:g} in the network"
                if eps in COMMON_EPS or high < low + eps * _EXACT_ENOUGH:
                    return text
                return f"{text}; all from {max(low, 0.0):.3g} to {high:.3g} are as good"
    return None if not norm.merged else _common(found, model, norm, places[0], tried)


def _common(
    found: Fitted, model: WkModel, norm: Norm, place: int, tried: Collection[np.float32]
) -> str | None:
    """A common eps, where dead channels hide the range of all others."""
    weights = straight(norm.layer, found.predicted.geometry)
    if row_factors(file_codes(found), weights, found.layer.bits) is None:
        return None
    for eps in COMMON_EPS:
        chain = [x.copy() for x in norm.chain]
        has = chain[place].params.batch_norm_param.eps
        chain[place].params.batch_norm_param.eps = eps
        if np.float32(eps) not in tried and norm.fits(found, model, chain):
            return f"BatchNorm is merged with eps {eps:g} in the file, {has:g} in the network"
    return None


def _eps_ranges(
    found: Fitted, norm: Norm, place: int, before: int | None
) -> Iterator[tuple[float, float]]:
    """From where to where eps makes every output as it is, for each z that the input may have."""
    first, last = norm.chain[:place], norm.chain[place + 1 :]
    ahead, behind = norm.joined(first), norm.joined(last)
    blobs = norm.chain[place].weights
    count = float(blobs[2].reshape(-1)[0])
    mean, var = (x.reshape(-1).astype(np.float64) / (count or np.inf) for x in blobs[:2])
    if norm.merged:
        yield from _merged_ranges(found, norm, (ahead, behind), mean, var, before)
    elif found.equal.all():
        yield from _word_ranges(found, np.abs(ahead[0] * behind[0]), var, before)


def _word_ranges(
    found: Fitted, size: Vector, var: Vector, before: int | None
) -> Iterator[tuple[float, float]]:
    """By the scale words S = h / sqrt(var + eps) * U * 2^42.

    (h * U_w / S)^2 is linear in var with slope 2^(-2 z_in / n), and eps its value at var = 0 in
    that slope; z_in, an integer, follows by least squares.
    """
    steps = number_format(found.layer.bits).steps
    own = found.predicted
    word = np.abs(found.layer.parameters.scale.astype(np.float64))
    use = (word > 0) & (size > 0) & np.isfinite(own.z_w) & np.isfinite(own.factor)
    if not use.any():
        return
    word, size, var, z_w = word[use], size[use], var[use], own.z_w[use]
    near = before if before is not None else found.z_in
    if near is None:
        told = steps * (np.log2(word / np.abs(own.factor[use])) - 42) - z_w
        near = int(np.rint(np.median(told)))
    likely = np.log2(np.abs(own.factor[use])) + (z_w + near) / steps + 42
    unit = np.where(np.log2(word) < likely + IN_2_31, 2.0**11, 1.0)
    unscaled = size * np.exp2(z_w / steps + 42)
    square = (unscaled / (word * unit)) ** 2
    fitted, *_ = np.linalg.lstsq(
        np.stack([var / square, 1 / square], axis=1), np.ones(len(square)), rcond=None
    )
    offsets = [near, near - 1, near + 1]
    if fitted[0] > 0:
        solved = int(np.rint(-steps / 2 * np.log2(fitted[0])))
        offsets = [solved, *offsets, solved - 1, solved + 1, solved - 2, solved + 2]
    for z_in in dict.fromkeys(offsets):
        full = unscaled * 2.0 ** (z_in / steps)
        bounds = [(full / (np.maximum(word + x, 0.1) * unit)) ** 2 for x in (0.5, -0.5)]
        slack = bounds[0] * _EXACT
        yield float((bounds[0] - var - slack).max()), float((bounds[1] - var + slack).min())


def _merged_ranges(
    found: Fitted,
    norm: Norm,
    around: tuple[Affine, Affine],
    mean: Vector,
    var: Vector,
    before: int | None,
) -> Iterator[tuple[float, float]]:
    """By the bias words and by the ratio of the file's weights to those before merging."""
    (ahead, moved), (behind, added) = around
    steps = number_format(found.layer.bits).steps
    weights = row_factors(
        file_codes(found), straight(norm.layer, found.predicted.geometry), found.layer.bits
    )
    if weights is None or not (ahead * behind).all():
        return
    unit_steps = word_steps(found, before)
    unit = np.exp2(unit_steps / steps)
    bias = np.zeros(len(mean))
    if len(norm.layer.weights) > 1:
        bias = norm.layer.weights[1].reshape(-1).astype(np.float64)
    through = (bias * ahead + moved - mean) * behind
    word = found.layer.parameters.bias.astype(np.float64)
    with np.errstate(divide="ignore", invalid="ignore"):
        ends = []
        for half in (-0.5, 0.5):
            total = (word + half) * unit
            total = total + np.sign(half) * (np.abs(total) + np.abs(added)) * _FLOAT32
            ends.append((total - added) / through)
        low, high = np.fmin(*ends), np.fmax(*ends)
    telling = np.isfinite(low) & np.isfinite(high) & (unit_steps == np.rint(unit_steps))
    low, high = np.where(telling, low, 0.0), np.where(telling, high, np.inf)
    near = before if before is not None else found.z_in
    if near is None:
        return
    for z_in in (near, near - 1, near + 1):
        shift = unit_steps - z_in - steps * np.log2(np.abs(ahead * behind))
        shift = np.where(np.isfinite(shift), shift, 0.0)
        least = np.fmax(low, np.exp2((weights[0] + shift) / steps))
        most = np.fmin(high, np.exp2((weights[1] + shift) / steps))
        if (most <= 0).any() or (least > most * (1 + _FLOAT32)).any():
            continue
        with np.errstate(divide="ignore"):
            yield float((most**-2 - var).max()), float((least**-2 - var).min())


def _candidates(low: float, high: float) -> list[float]:
    """Some eps between two bounds: what is common, the one with the fewest digits, the middle."""
    if not low <= high or high <= 0:
        return []
    found = [x for x in COMMON_EPS if _between(low, x, high)][:_MOST_TRIES]
    middle = (max(low, 0.0) + high) / 2 if np.isfinite(high) else max(low, 0.0) * 1.1
    rounded = [float(f"{middle:.{x}e}") for x in range(9)]
    fitting = [x for x in rounded if x > 0 and _between(low, x, high)]
    return found + fitting[:1] + [x for x in rounded[2:3] if x in fitting[1:]]


def _between(low: float, eps: float, high: float) -> bool:
    # Caffe's field is float32.
    return bool(low <= np.float32(eps) <= high)

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
from nnie_pipeline.rewrite.affine import affine_of
from nnie_pipeline.wk.compared import (
    Compared,
    beside,
    compare,
    file_codes,
    row_factors,
    row_signs,
    straight,
    word_steps,
)
from nnie_pipeline.wk.cuts import TELLING, clipped_reason, cut_reason, sparse_reason
from nnie_pipeline.wk.eps import eps_reason
from nnie_pipeline.wk.fit import Fitted
from nnie_pipeline.wk.half import half_reason
from nnie_pipeline.wk.model import WkModel
from nnie_pipeline.wk.norm import Norm, exchanged_reason, norm_of
from nnie_pipeline.wk.orders import channels_reason, rows_reason

_NUMBER = re.compile(r"-?\d[\d.]*(e-?\d+)?")
_EPS = re.compile(
    r"(BatchNorm is (?:merged|computed) with eps )(\S+) in the file, (\S+) in the network"
)
_MOST_EPS = 3

_ON_A_LEVEL = 0.01
"""How far from a level, in steps, a weight that was rounded to it may be stored as float32."""


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
    ahead = _ahead(found, model, given, norm)
    if ahead is not None:
        return ahead
    if found.equal.all() and found.padding:
        return (
            eps_reason(found, model, norm, before)
            or exchanged_reason(found, model, given, norm, before)
            or half_reason(found, model, compare(found), norm)
            or _words(found, norm)
        )
    first = channels_reason(found, model, norm, before) or eps_reason(found, model, norm, before)
    if first is not None:
        return first
    both = compare(found)
    few = np.count_nonzero(~both.equal) * 4 < both.equal.size
    return (
        half_reason(found, model, both, norm)
        or rows_reason(found, norm)
        or clipped_reason(found, both, norm)
        or cut_reason(both, norm)
        or sparse_reason(found, both, norm)
        or _width(both)
        or (None if few else _elsewhere(found, given, norm))
        or exchanged_reason(found, model, given, norm, before)
        or _factor(found, both, norm, before)
        or _factors(found, both, model, norm)
        or _other(found, both, norm)
    )


def headline(reasons: Sequence[str]) -> tuple[int, int, str]:
    """Which of the layers' reasons speaks for most of them: its place, for how many, and a text.

    Reasons that differ in numbers alone are one kind; of the most frequent kind it is the first.
    Where layers have several eps, the text names each with its layers.
    """
    heads = [x.split(";")[0] for x in reasons]
    kinds = [_NUMBER.sub("", x) for x in heads]
    counts = Counter(kinds)
    first = max(range(len(kinds)), key=lambda x: (counts[kinds[x]], -x))
    alike = [
        _EPS.fullmatch(x) for x, kind in zip(heads, kinds, strict=True) if kind == kinds[first]
    ]
    pairs = Counter((x[2], x[3]) for x in alike if x is not None)
    if alike[0] is None or len(pairs) < 2:
        return first, counts[kinds[first]], reasons[first]
    most = pairs.most_common(_MOST_EPS)
    one = len({x for _, x in pairs}) == 1
    names = [f"{a} ({n} layers)" if one else f"{a}, not {b} ({n} layers)" for (a, b), n in most]
    rest = pairs.total() - sum(n for _, n in most)
    names += [f"others ({rest} layers)"] * bool(rest)
    text = f"{alike[0][1]}{', '.join(names[:-1])} and {names[-1]} in the file"
    if one:
        text += f", {alike[0][3]} in the network"
    return first, counts[kinds[first]], text


def _ahead(found: Fitted, model: WkModel, given: Net, norm: Norm) -> str | None:
    """A Scale or the like in front of the layer, merged into it here, that the file has not."""
    maker = given.producers().get(norm.layer.bottoms[0])
    if not norm.merged or maker is None:
        return None
    if affine_of(maker, norm.shapes[maker.bottoms[0]]) is None:
        return None
    if not norm.fits(found, model, norm.chain):
        return None
    return f"the network has {maker.name} ({maker.type}) in front of the layer, the file has not"


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


def _factor(found: Fitted, both: Compared, norm: Norm, before: int | None) -> str | None:
    """One number that all weights of the file are multiplied with."""
    bounds = row_factors(both.codes, both.weights, both.bits)
    signs = row_signs(both.codes, both.weights)
    if bounds is None or len(set(signs[signs != 0])) != 1:
        return None
    steps = word_steps(found, before)
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
    norms = norm.merged and any(x.type == "BatchNorm" for x in norm.chain)
    also = " (or another variance or gamma of its BatchNorm)" * norms
    if before is None:
        return f"its weights in the file are those of the caffemodel, all times one number{also}"
    size = 2.0 ** (((low + high) / 2 - before) / number_format(both.bits).steps)
    return (
        f"its weights in the file are those of the caffemodel times about {sign * size:.3g}{also}"
    )


def _factors(found: Fitted, both: Compared, model: WkModel, norm: Norm) -> str | None:
    """Weights that differ by a factor of their own in each output."""
    bits = found.layer.bits
    weights = straight(norm.layer, found.predicted.geometry)
    others = np.count_nonzero(~both.equal.all(axis=(1, 2, 3)) | ~found.bias)
    if row_factors(file_codes(found), weights, bits) is None:
        return None
    few = others * 2 < found.layer.outputs
    norms = any(x.type == "BatchNorm" for x in norm.chain)
    if few and not (norms and norm.merged and others):
        return None
    if norms:
        if few:
            rows = ~both.equal.all(axis=(1, 2, 3))
            if (both.codes[rows][both.weights[rows] == 0] != 0).any():
                return None
            return (
                f"{others} of its {found.layer.outputs} outputs are times a number each: another "
                "variance or gamma of BatchNorm, or other weights"
            )
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
    return f"its weights are equal, but it has {why}; {', '.join(parts)} differ"


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
    if count < TELLING:
        hint = clipped_reason(found, both, norm, least=1) or cut_reason(both, norm, least=1)
    return text if hint is None else f"{text}; or {hint}"

"""Weights that stand in another order in the file: channels of a picture, outputs, inputs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import permutations

import numpy as np

from nnie_pipeline.caffe.net import Net
from nnie_pipeline.wk.codes import Vector, levels_of
from nnie_pipeline.wk.compared import file_codes, straight
from nnie_pipeline.wk.eps import eps_reason
from nnie_pipeline.wk.fit import Fitted, fit
from nnie_pipeline.wk.model import WkModel
from nnie_pipeline.wk.norm import Norm
from nnie_pipeline.wk.predict import predict

_PICTURE = 3
_REVERSED = (2, 1, 0)
_TELLING = 8
"""So many weights have a direction of their own."""

_ALIKE = 0.998
"""The least cosine of weights and their 8 bit codes is above it."""


def channels_reason(found: Fitted, model: WkModel, norm: Norm, before: int | None) -> str | None:
    """Another order of the channels of a layer that reads a picture, also with another eps."""
    geometry = found.predicted.geometry
    if geometry.inputs != _PICTURE or geometry.deconvolution or found.equal.all():
        return None
    for order in permutations(range(_PICTURE)):
        if order == tuple(range(_PICTURE)):
            continue
        layer = norm.layer.copy()
        layer.weights = [layer.weights[0][:, order], *layer.weights[1:]]
        turned = replace(norm, layer=layer)
        predicted, _ = predict(turned.alone(norm.chain), found.layer.bits)
        if not predicted:
            return None
        again = fit(model, found.layer, predicted[0])
        eps = None if again.complete else eps_reason(again, model, turned, before)
        if eps is None and not again.equal.all():
            continue
        text = "the channels of its input are swapped (RGB against BGR)"
        if order != _REVERSED:
            places = ", ".join(str(x + 1) for x in order)
            text = (
                "the channels of its input stand in another order: the file's 1, 2, 3 are the "
                f"network's {places}"
            )
        return text if eps is None else f"{text}, and {eps}"
    return None


def rows_reason(found: Fitted, norm: Norm) -> str | None:
    """All weights of each output, or of each input, at another place.

    BatchNorm may multiply each output with a number, which the direction of its weights hides.
    """
    theirs = levels_of(file_codes(found), 0, found.layer.bits)
    ours = straight(norm.layer, found.predicted.geometry).astype(np.float64)
    for axis, what in ((0, "outputs"), (1, "inputs")):
        if axis and norm.merged:
            break
        one, two = (_directions(np.moveaxis(x, axis, 0)) for x in (theirs, ours))
        if one.shape[1] < _TELLING:
            continue
        alike = np.abs(one @ two.T)
        place = alike.argmax(axis=1)
        used = alike.max(axis=1) > 0
        moved = int(np.count_nonzero(place[used] != np.flatnonzero(used)))
        bijective = len(set(place[used].tolist())) == used.sum()
        if moved > 1 and bijective and alike.max(axis=1)[used].min() > _ALIKE:
            return f"its {what} stand in another order in the file, {moved} of {len(one)} of them"
    return None


def _directions(values: Vector) -> Vector:
    flat = values.reshape(len(values), -1)
    size = np.linalg.norm(flat, axis=1, keepdims=True)
    return np.asarray(flat / np.where(size > 0, size, 1.0), np.float64)


def exchanged_layers(net: Net, fitted: Sequence[Fitted]) -> tuple[str, str] | None:
    """The only two layers whose weights the file has in each other's place."""
    forms: dict[object, list[str]] = {}
    by_place = sorted(fitted, key=lambda x: x.layer.number)
    for found in by_place:
        own = found.predicted
        form = (own.geometry.deconvolution, own.geometry.depthwise, own.codes.shape)
        forms.setdefault(form, []).append(own.name)
    place = {x.name: i for i, x in enumerate(net.layers)}
    apart = [
        pair
        for names in forms.values()
        for pair in zip(sorted(names, key=lambda x: place[x]), names, strict=True)
        if pair[0] != pair[1]
    ]
    return apart[0] if len(apart) == 2 else None

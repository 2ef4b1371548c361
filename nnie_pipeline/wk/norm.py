"""The BatchNorm, Scale and Bias behind a layer of the network that is held against a file."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from nnie_pipeline.caffe.net import Layer, Net, Shape
from nnie_pipeline.quant.gfpq_format import number_format
from nnie_pipeline.rewrite import merge_batch_norm
from nnie_pipeline.rewrite.affine import Affine, affine_of, joined
from nnie_pipeline.wk.codes import Vector
from nnie_pipeline.wk.compared import (
    Bounds,
    file_codes,
    row_factors,
    row_signs,
    straight,
    word_steps,
)
from nnie_pipeline.wk.fit import Fitted, fit
from nnie_pipeline.wk.model import WkModel
from nnie_pipeline.wk.predict import predict

_AFFINE = ("BatchNorm", "Scale", "Bias")
_ALIKE = 0.02
"""How far apart, in steps, the bounds of one factor may lie by rounding."""

_SURELY_42 = 1 << 20
"""A scale word from here on may count in 2^-42 or in 2^-31."""


@dataclass(frozen=True)
class Norm:
    """A layer of the given network and what is behind it, before anything was merged.

    `chain` are the layers behind it, `shapes` those of the network's values.
    """

    layer: Layer
    chain: tuple[Layer, ...]
    shapes: Mapping[str, Shape]
    merged: bool

    @property
    def factor(self) -> Vector:
        """What all of the chain multiplies each output with, float64 (outputs,)."""
        return self.joined(self.chain)[0]

    def affine_of(self, layer: Layer) -> Affine:
        """What a layer of the chain does to each output."""
        shape = self.shapes[layer.bottoms[0]]
        found = affine_of(layer, shape)
        return (np.ones(shape[1]), np.zeros(shape[1])) if found is None else found

    def joined(self, chain: Sequence[Layer]) -> Affine:
        """What some layers of the chain do to each output."""
        count = self.shapes[self.layer.tops[0]][1]
        total: Affine = np.ones(count), np.zeros(count)
        for layer in chain:
            total = joined(total, self.affine_of(layer))
        return total

    def alone(self, chain: Sequence[Layer]) -> Net:
        """The layer with `chain` behind it as a network of its own, merged if this one is."""
        copies = [x.copy() for x in (self.layer, *chain)]
        bottom = self.layer.bottoms[0]
        net = Net("alone", {bottom: self.shapes[bottom]}, copies, [copies[-1].tops[0]])
        if self.merged:
            merge_batch_norm.apply(net)
        return net

    def fits(self, found: Fitted, model: WkModel, chain: Sequence[Layer]) -> bool:
        """Whether the layer with `chain` behind it is that of the file."""
        predicted, _ = predict(self.alone(chain), found.layer.bits)
        return bool(predicted) and fit(model, found.layer, predicted[0]).complete


def norm_of(given: Net, name: str, shapes: Mapping[str, Shape], merged: bool) -> Norm:
    """The layer of that name with the BatchNorm, Scale and Bias that it alone feeds."""
    layer = given.find(name)
    return Norm(layer, tuple(_chain(given.consumers(), given.outputs, layer)), shapes, merged)


def exchanged_reason(
    found: Fitted, model: WkModel, given: Net, norm: Norm, before: int | None
) -> str | None:
    """Another layer of the network whose BatchNorm or Scale makes this one complete."""
    bounds = _factor_bounds(found, norm, before)
    if not norm.chain or bounds is None:
        return None
    own = [norm.affine_of(x) for x in norm.chain]
    readers = given.consumers()
    for other in given.layers:
        if other.name == norm.layer.name or not other.weights or other.type in _AFFINE:
            continue
        chain = _chain(readers, given.outputs, other)
        if [_form(x) for x in chain] != [_form(x) for x in norm.chain]:
            continue
        theirs = [norm.affine_of(x) for x in chain]
        for places in _choices(len(chain)):
            factor = np.ones(found.layer.outputs)
            for place in range(len(chain)):
                factor = factor * (theirs if place in places else own)[place][0]
            if not _suits(factor, bounds, number_format(found.layer.bits).steps):
                continue
            mixed = [x.copy() for x in norm.chain]
            for place in places:
                mixed[place].weights = chain[place].weights
            if norm.fits(found, model, mixed):
                names = " and ".join(chain[x].name for x in places)
                return f"layers in another order: it has the numbers of {names} in the file"
    return None


def _factor_bounds(found: Fitted, norm: Norm, before: int | None) -> tuple[Bounds, Vector] | None:
    """The steps of each output's factor in the file, up to one addend, and its sign."""
    steps = number_format(found.layer.bits).steps
    if norm.merged:
        codes = file_codes(found)
        weights = straight(norm.layer, found.predicted.geometry)
        bounds = row_factors(codes, weights, found.layer.bits)
        if bounds is None:
            return None
        if not found.predicted.geometry.depthwise:
            return bounds, row_signs(codes, weights)
        unit = word_steps(found, before)
        low, high = bounds[0] + unit, bounds[1] + unit
        low, high = np.where(np.isnan(low), -np.inf, low), np.where(np.isnan(high), np.inf, high)
        return (low, high), row_signs(codes, weights)
    if not found.equal.all():
        return None
    word = found.layer.parameters.scale.astype(np.float64)
    # A word that large may count in 2^-42 or in 2^-31.
    use = (np.abs(word) > 1) & (np.abs(word) < _SURELY_42) & np.isfinite(found.predicted.z_w)
    with np.errstate(divide="ignore", invalid="ignore"):
        low, high = (steps * np.log2(np.abs(word) + x) - found.predicted.z_w for x in (-0.6, 0.6))
    return (np.where(use, low, -np.inf), np.where(use, high, np.inf)), np.sign(word)


def _suits(factor: Vector, bounds: tuple[Bounds, Vector], steps: int) -> bool:
    """Whether the outputs' factors are those of the file but for one number for all."""
    (low, high), sign = bounds
    use = (factor != 0) & np.isfinite(low) & np.isfinite(high)
    if np.count_nonzero(use) < 2 or (np.sign(factor)[use] * sign[use] < 0).any():
        return False
    places = steps * np.log2(np.abs(factor[use]))
    return bool((low[use] - places).max() <= (high[use] - places).min() + _ALIKE)


def _chain(
    readers: Mapping[str, Sequence[Layer]], outputs: Sequence[str], layer: Layer
) -> list[Layer]:
    chain: list[Layer] = []
    value = layer.tops[0]
    while len(readers.get(value, [])) == 1 and value not in outputs:
        follower = readers[value][0]
        if follower.type not in _AFFINE:
            break
        chain.append(follower)
        value = follower.tops[0]
    return chain


def _form(layer: Layer) -> tuple[str, list[tuple[int, ...]]]:
    return layer.type, [x.shape for x in layer.weights]


def _choices(count: int) -> list[tuple[int, ...]]:
    """All layers of a chain together, or one of them."""
    single: list[tuple[int, ...]] = [(x,) for x in range(count)]
    return [tuple(range(count)), *single] if count > 1 else single

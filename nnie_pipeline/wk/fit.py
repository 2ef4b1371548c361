"""Which layer of a compiled network is which layer of a Caffe network."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from nnie_pipeline.caffe.net import Array
from nnie_pipeline.quant.gfpq_format import number_format
from nnie_pipeline.wk.codes import Codes, levels_of
from nnie_pipeline.wk.layout import cell_places, conv_order
from nnie_pipeline.wk.model import WkLayer, WkModel
from nnie_pipeline.wk.predict import Predicted

Flags = npt.NDArray[np.bool_]
_SAMPLE = 4096
_Q42_ONLY = 1 << 20
"""A scale word below cannot be one of the larger ones that count in 2^-31."""

_BIAS_ROUNDING = 2.0**-22


@dataclass(frozen=True)
class Fitted:
    """A layer of the file and the layer of the network that it is held against.

    `equal` (outputs, inputs, height, width) marks the weights that are equal, `padding`
    whether all unused cells hold zero; `z_in` is the offset of the input that the scale words
    tell, None where they tell none; `bias`, `scale` and `shift` mark the outputs whose words
    are as predicted.
    """

    layer: WkLayer
    predicted: Predicted
    equal: Flags
    padding: bool
    z_in: int | None
    bias: Flags
    scale: Flags
    shift: Flags

    @property
    def weights(self) -> tuple[int, int]:
        """Equal weights, and all."""
        return int(self.equal.sum()), self.equal.size

    @property
    def complete(self) -> bool:
        """Whether weights and words are all as predicted."""
        words = self.bias.all() and self.scale.all() and self.shift.all()
        return bool(self.equal.all() and self.padding and words)

    def codes(self) -> Codes:
        """The file's codes in the caffemodel's shape."""
        geometry = self.predicted.geometry
        _, places = cell_places(geometry, self.layer.bits)
        kept = self.layer.parameters.codes[:, places.reshape(-1)]
        shaped = kept.reshape(geometry.outputs, geometry.inputs, *geometry.kernel)
        return np.ascontiguousarray(conv_order(shaped, geometry))

    def dequantised(self) -> Array:
        """The file's weights in the caffemodel's shape, float32, with the network's z."""
        geometry = self.predicted.geometry
        straight = conv_order(self.codes(), geometry)
        values = levels_of(straight, self.predicted.z_w, self.layer.bits)
        return np.ascontiguousarray(conv_order(values, geometry)).astype(np.float32)


def pair(layers: Sequence[WkLayer], predicted: Sequence[Predicted]) -> list[Predicted | None]:
    """For each layer of the file the layer of the network that it holds, or may hold.

    Layers of one type, depth and number of cells are paired by their codes: first those that
    are equal, in the network's order, then the most equal ones; where less than half is equal,
    the first whose result has the same size. None where nothing is left. Where both sides have
    the same sizes of results altogether, only layers of one size are paired.
    """
    theirs: list[object] = [(_kind(x), x.height, x.width) for x in layers]
    ours: list[object] = [(_kind_of(x), *x.shape) for x in predicted]
    if Counter(theirs) != Counter(ours):
        theirs, ours = [_kind(x) for x in layers], [_kind_of(x) for x in predicted]
    free: dict[object, list[Predicted]] = {}
    exact: dict[object, list[Predicted]] = {}
    for kind, item in zip(ours, predicted, strict=True):
        free.setdefault(kind, []).append(item)
        exact.setdefault((kind, item.codes.tobytes()), []).append(item)
    result: list[Predicted | None] = []
    for kind, layer in zip(theirs, layers, strict=True):
        same = exact.get((kind, layer.parameters.codes.tobytes()), [])
        found = same.pop(0) if same else None
        if found is not None:
            rest = free[kind]
            del rest[next(i for i, x in enumerate(rest) if x is found)]
        result.append(found)
    for number, (kind, layer) in enumerate(zip(theirs, layers, strict=True)):
        candidates = free.get(kind, [])
        if result[number] is None and candidates:
            codes = layer.parameters.codes.reshape(-1)[:_SAMPLE]
            equal = [int((x.codes.reshape(-1)[:_SAMPLE] == codes).sum()) for x in candidates]
            best = int(np.argmax(equal))
            if equal[best] * 2 < codes.size:
                size = (layer.height, layer.width)
                best = next((i for i, x in enumerate(candidates) if x.shape == size), 0)
            result[number] = candidates.pop(best)
    return result


def fit(model: WkModel, layer: WkLayer, predicted: Predicted) -> Fitted:
    """Hold a layer of the file against a layer of the network of the same kind.

    A weight within a rounding of float32 of the boundary to the next level may have either
    code: where BatchNorm was merged, the last bit depends on who merged it.
    """
    parameters, geometry = layer.parameters, predicted.geometry
    apart = parameters.codes != predicted.codes
    apart &= ~(predicted.tie & (np.abs(parameters.codes - predicted.codes) == 1))
    _, places = cell_places(geometry, layer.bits)
    flat = places.reshape(-1)
    equal = ~apart[:, flat].reshape(geometry.outputs, geometry.inputs, *geometry.kernel)
    unused = np.ones(apart.shape[1], np.bool_)
    unused[flat] = False
    padding = not parameters.codes[:, unused].any()
    offsets = _possible_z(layer, predicted)
    if not offsets:
        bias, scale, shift = _words(layer, predicted, 0)
        # Without a scale word nothing tells the unit of the bias words.
        return Fitted(layer, predicted, equal, padding, None, bias | scale, scale, shift)
    seen = [x.z for x in model.records[: layer.records[0]] if x.z is not None]
    tries = []
    for z_in in offsets:
        bias, scale, shift = _words(layer, predicted, z_in)
        away = min((abs(z_in - x) for x in seen), default=0)
        tries.append((-int(bias.sum() + scale.sum()), away, z_in, bias, scale, shift))
    *_, z_in, bias, scale, shift = min(tries, key=lambda x: x[:3])
    known = z_in if scale.any() else None
    return Fitted(layer, predicted, equal, padding, known, bias, scale, shift)


def _possible_z(layer: WkLayer, predicted: Predicted) -> list[int]:
    """The z_in that the largest scale word allows, in 2^-42 and in 2^-31."""
    scale, factor = layer.parameters.scale, predicted.factor
    usable = (scale != 0) & (factor != 0) & np.isfinite(predicted.z_w) & np.isfinite(factor)
    usable &= np.sign(scale) == np.sign(factor)
    if not usable.any():
        return []
    steps = number_format(layer.bits).steps
    # The smallest words are surely in 2^-42, the largest of those is the most exact.
    size = np.where(usable, np.abs(scale.astype(np.int64)), 0)
    small = np.where(size < _Q42_ONLY, size, 0)
    where = int(np.argmax(small)) if small.any() else int(np.argmax(size))
    ratio = float(size[where]) / abs(float(predicted.factor[where]))
    exact = steps * (np.log2(ratio) - 42) - float(predicted.z_w[where])
    found = {int(np.floor(exact)), int(np.ceil(exact)), _most_frequent(predicted, size, steps)}
    if size.max() >= _Q42_ONLY:
        top = int(np.argmax(size))
        ratio = float(size[top]) / abs(float(predicted.factor[top]))
        near = steps * (np.log2(ratio) - 42) - float(predicted.z_w[top])
        found |= {int(np.rint(near)), int(np.rint(near + 11 * steps))}
    return sorted(found)


def _most_frequent(predicted: Predicted, size: npt.NDArray[np.int64], steps: int) -> int:
    """The z_in that most words tell: those of channels with other weights may be wrong."""
    use = size > 0
    exact = np.log2(size[use] / np.abs(predicted.factor[use])) - 42
    values, counts = np.unique(np.rint(steps * exact - predicted.z_w[use]), return_counts=True)
    return int(values[counts.argmax()])


def _words(layer: WkLayer, predicted: Predicted, z_in: int) -> tuple[Flags, Flags, Flags]:
    """Which bias, scale and shift words are as predicted."""
    stored = layer.parameters
    bias, scale, shift = predicted.words(z_in)
    off = np.abs(bias.astype(np.int64) - stored.bias)
    near = off <= 1
    if near.any() and (off == 1).any():
        unit = np.exp2((predicted.z_w + z_in) / number_format(layer.bits).steps)
        unit = np.where(np.isneginf(predicted.z_w), 1.0, unit)
        exact = predicted.bias / unit
        beside = np.abs(np.abs(exact - np.floor(exact)) - 0.5) <= np.abs(exact) * _BIAS_ROUNDING
        near = beside & near
    return (off == 0) | near, scale == stored.scale, shift == stored.shift


def _kind(layer: WkLayer) -> tuple[bool, bool, tuple[int, ...]]:
    return layer.type == "Deconvolution", layer.depthwise, layer.parameters.codes.shape


def _kind_of(predicted: Predicted) -> tuple[bool, bool, tuple[int, ...]]:
    geometry = predicted.geometry
    return geometry.deconvolution, geometry.depthwise, predicted.codes.shape

"""The whole numbers that a compiled file holds for an operation with weights.

With U = 2^((z_w + z_in)/n) the unit of the accumulator and f, t what BatchNorm and Scale behind
the layer multiply with and add, the file holds for each output

    bias  = round(b / U)
    scale = round(f * U * 2^42), or round(f * U * 2^31) where that would not fit into 32 bits
    shift = round(4096 * t)

Measured on two public compiled RetinaFace (8 bit merged, 16 bit not merged) and an ENet
(16 bit).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from nnie_pipeline.caffe.net import Array, Layer, Shape
from nnie_pipeline.quant import gfpq
from nnie_pipeline.quant.assumptions import Assumptions
from nnie_pipeline.quant.gfpq_format import number_format
from nnie_pipeline.quant.operations import WEIGHTED, Operation, is_depthwise
from nnie_pipeline.rewrite.affine import Affine, affine_of, has_channel_outputs, joined

Vector = npt.NDArray[np.float64]
Codes = npt.NDArray[np.int16]
Shapes = Mapping[str, Shape]

LARGEST_WORD = 1 << 31
LOST_BIAS = 1 << 23
"""Where a scale word of 0 makes the result 0 anyway, such a bias word is not stored."""


@dataclass(frozen=True)
class Words:
    """What the chip multiplies and adds.

    `weight` is float32 in the caffemodel's shape, the levels that the codes stand for. The
    others are float64 (outputs,): `unit` is U; `bias` counts in U, `scale` in 2^-42 (also where
    the file counts in 2^-31), `shift` in 1/4096, whole numbers all unless a switch or an
    InnerProduct leaves them exact. `z_in` is the offset of the input.
    """

    weight: Array
    unit: Vector
    bias: Vector
    scale: Vector
    shift: Vector
    z_in: int

    def codes(self, bits: int) -> Codes:
        """`weight` as int16: 0 for zero, else c for sign(c) * 2^((|c|-1+z_w)/n)."""
        steps = number_format(bits).steps
        # Only a depthwise layer has a unit for each output, its first axis.
        one = self.unit if (self.unit != self.unit[0]).any() else self.unit[:1]
        one = (one / np.exp2(self.z_in / steps)).reshape(-1, *[1] * (self.weight.ndim - 1))
        used = self.weight != 0
        ratio = np.where(used, np.abs(self.weight.astype(np.float64)) / one, 1.0)
        code = np.rint(steps * np.log2(ratio)) + 1
        return np.where(used, np.sign(self.weight) * code, 0).astype(np.int16)


WordsOf = Callable[[Operation, int, Sequence[int], Shapes, Assumptions], Words | None]
"""`(operation, bits, z of its bottoms, shapes, assumptions)` to words; None without weights."""


def own_words(
    step: Operation, bits: int, z: Sequence[int], shapes: Shapes, assumptions: Assumptions
) -> Words | None:
    """The words that the mapper would make of the network's own weights."""
    layer = step.leader
    if layer.type not in WEIGHTED or not layer.weights:
        return None
    outputs = outputs_of(layer, shapes)
    per_channel = is_depthwise(layer) and assumptions.depthwise == "channel"
    equal = assumptions.equal_weights == "exact"
    own = layer.weights[0]
    if equal:
        weight, z_w = gfpq.quantize_weights(own, bits, per_channel)
    elif per_channel:
        weight, z_w = gfpq.quantize_channels(own, bits)
    else:
        weight, z_w = gfpq.quantize(own, bits)
    unit = _unit(own, z_w, bits, z[0], per_channel, equal, outputs)
    factor, addend = exact_affine(step, shapes)
    scale = factor * unit * 2.0**42
    # How a fully connected layer is scaled is not known: its blocks hold no such word.
    if assumptions.scale == "word" and layer.type != "InnerProduct":
        scale = scale_words(factor, unit)
    bias = np.zeros(outputs)
    if len(layer.weights) > 1:
        exact = layer.weights[1].reshape(-1).astype(np.float64)
        bias = bias_words(exact, unit, scale) if assumptions.bias == "word" else exact / unit
    shift = addend * 4096
    if assumptions.shift == "word":
        shift = np.rint(shift)
    return Words(weight, unit, bias, scale, shift, z[0])


def scale_words(factor: Vector, unit: Vector) -> Vector:
    """The scale words in 2^-42; those that the file holds in 2^-31 are multiples of 2^11."""
    word = np.rint(factor * unit * 2.0**42)
    large = np.abs(word) >= LARGEST_WORD
    return np.where(large, np.rint(factor * unit * 2.0**31) * 2.0**11, word)


def bias_words(bias: Vector, unit: Vector, scale: Vector) -> Vector:
    """The bias words; `scale` are the scale words."""
    word = np.rint(bias / unit)
    word[(scale == 0) & (np.abs(word) >= LOST_BIAS)] = 0
    return word


def affine_behind(step: Operation, shapes: Shapes) -> list[tuple[Layer, Affine]]:
    """The affine layers right behind the first one, and what each does to its outputs.

    Empty without any, and where they are no function of each of the first layer's outputs.
    """
    outputs = outputs_of(step.leader, shapes)
    found: list[tuple[Layer, Affine]] = []
    if not has_channel_outputs(step.leader, shapes[step.leader.bottoms[0]]):
        return found
    for layer in step.layers[1:]:
        one = affine_of(layer, shapes[layer.bottoms[0]])
        if one is None or len(one[0]) != outputs or not all(np.isfinite(x).all() for x in one):
            break
        found.append((layer, one))
    return found


def exact_affine(step: Operation, shapes: Shapes) -> Affine:
    """What `affine_behind` multiplies with and adds in all; 1 and 0 without any."""
    outputs = outputs_of(step.leader, shapes)
    found: Affine = np.ones(outputs), np.zeros(outputs)
    for _, one in affine_behind(step, shapes):
        found = joined(found, one)
    return found


def outputs_of(layer: Layer, shapes: Shapes) -> int:
    """How many outputs (channels) a layer with weights has."""
    if layer.type == "InnerProduct":
        return int(layer.params.inner_product_param.num_output)
    return shapes[layer.tops[0]][1]


def _unit(
    weight: Array,
    z: int | npt.NDArray[np.int32],
    bits: int,
    z_in: int,
    per_channel: bool,
    equal: bool,
    outputs: int,
) -> Vector:
    """The unit of each output's accumulator; 1 where all weights are zero."""
    steps = number_format(bits).steps
    offset = np.broadcast_to(np.asarray(z, np.float64), outputs).copy()
    rows = np.abs(weight).reshape(outputs if per_channel else 1, -1).astype(np.float64)
    largest = np.broadcast_to(rows.max(axis=1, initial=0), outputs)
    first = np.broadcast_to(rows[:, 0], outputs)
    same = np.broadcast_to(np.ptp(rows, axis=1) <= gfpq.EQUAL_WEIGHTS, outputs)
    if equal:
        # All-equal weights count from n * log2(a) - n, a the first of them.
        with np.errstate(divide="ignore"):
            offset = np.where(same & (first > 0), steps * np.log2(first) - steps, offset)
    dead = (largest == 0) | (same & (first == 0) & equal)
    return np.where(dead, 1.0, np.exp2((offset + z_in) / steps))

"""An operation's layers as the chip stores them: weights, words and coefficients.

What rounding the words of a compiled file (`words`) does to a result is put into the float
weights here, so that a float engine computes with the chip's numbers.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from nnie_pipeline.caffe.net import Array, Layer
from nnie_pipeline.quant import gfpq
from nnie_pipeline.quant.assumptions import Assumptions
from nnie_pipeline.quant.operations import Operation
from nnie_pipeline.quant.widths import FLOAT
from nnie_pipeline.quant.words import (
    Shapes,
    Vector,
    Words,
    WordsOf,
    affine_behind,
    exact_affine,
    own_words,
)
from nnie_pipeline.rewrite.affine import scale_outputs as multiply_outputs


def as_stored(
    step: Operation,
    bits: int,
    z: Sequence[int],
    shapes: Shapes,
    assumptions: Assumptions,
    words_of: WordsOf = own_words,
) -> list[Layer]:
    """Copies of the layers of `step` with the chip's numbers.

    `z` are the offsets of the bottoms (empty where they are not quantised). With `FLOAT` bits
    the layers are given back as they are.
    """
    if bits == FLOAT:
        return list(step.layers)
    layers = [with_coefficients(x, assumptions) for x in step.layers]
    words = words_of(step, bits, z, shapes, assumptions)
    if words is not None:
        factor, addend = exact_affine(step, shapes)
        _weights(layers[0], words, factor)
        moved = words.shift / 4096 - addend
        count = len(affine_behind(step, shapes))
        if count and moved.any():
            _move(layers[count], moved)
    return layers


def _weights(layer: Layer, words: Words, factor: Vector) -> None:
    """Put the chip's weights in, with what its bias and scale words make of the exact numbers."""
    layer.weights = [words.weight, *layer.weights[1:]]
    if len(layer.weights) > 1:
        bias = (words.bias * words.unit).astype(np.float32)
        layer.weights = [layer.weights[0], bias.reshape(layer.weights[1].shape)]
    exact = factor * words.unit * 2.0**42
    ratio = np.divide(words.scale, exact, out=np.ones_like(exact), where=exact != 0)
    if (ratio != 1).any():
        multiply_outputs(layer, (ratio, np.zeros(len(ratio))))


def _move(layer: Layer, by: Vector) -> None:
    """Let a BatchNorm, Scale or Bias add `by` (a number a channel) to what it adds."""
    if layer.type == "Bias":
        layer.weights = [_sum(layer.weights[0], by)]
    elif layer.type == "Scale" and len(layer.weights) > 1:
        layer.weights = [layer.weights[0], _sum(layer.weights[1], by)]
    elif layer.type == "Scale":
        layer.params.scale_param.bias_term = True
        layer.weights = [layer.weights[0], _sum(np.zeros_like(layer.weights[0]), by)]
    else:
        mean, variance, count = layer.weights
        share = float(count.reshape(-1)[0])
        deviation = np.sqrt(
            variance.reshape(-1).astype(np.float64) / (share or 1.0)
            + float(np.float32(layer.params.batch_norm_param.eps))
        )
        if share:
            layer.weights = [_sum(mean, -by * deviation * share), variance, count]


def _sum(array: Array, by: Vector) -> Array:
    if array.size != by.size:  # one number for all channels: what each adds cannot be said
        return array
    total = array.reshape(-1).astype(np.float64) + by
    return total.astype(np.float32).reshape(array.shape)


def with_coefficients(layer: Layer, assumptions: Assumptions) -> Layer:
    """A copy of the layer with its slopes and coefficients in Q20.12 (HiSVP guide, table 3-2)."""
    copy = layer.copy()
    if assumptions.coefficients == "exact":
        return copy

    def q(value: float) -> float:
        return float(to_q20_12(np.array([value], np.float32), assumptions)[0])

    params = copy.params
    if layer.type == "PReLU":
        copy.weights = [to_q20_12(x, assumptions) for x in layer.weights]
    elif layer.type == "ReLU":
        params.relu_param.negative_slope = q(params.relu_param.negative_slope)
    elif layer.type == "ELU":
        params.elu_param.alpha = q(params.elu_param.alpha)
    elif layer.type == "RReLU":
        middle = q((params.rrelu_param.lower + params.rrelu_param.upper) / 2)
        params.rrelu_param.lower = params.rrelu_param.upper = middle
    elif layer.type == "Eltwise":
        params.eltwise_param.coeff[:] = [q(x) for x in params.eltwise_param.coeff]
    elif layer.type == "Power":
        power = params.power_param
        power.scale, power.shift = q(power.scale), q(power.shift)
    elif layer.type == "Exp":
        params.exp_param.scale = q(params.exp_param.scale)
        params.exp_param.shift = q(params.exp_param.shift)
    elif layer.type == "Threshold":
        params.threshold_param.threshold = q(params.threshold_param.threshold)
    return copy


def to_q20_12(values: Array, assumptions: Assumptions) -> Array:
    """Slopes and coefficients as Q20.12 numbers."""
    if assumptions.coefficients == "nearest":
        return gfpq.round_q20_12(values)
    whole = np.trunc(values.astype(np.float64) * 4096)
    limit = 2.0**31
    return (np.clip(whole, -limit, limit - 128) / 4096).astype(np.float32)

"""An operation's layers as the chip stores them: weights, words and coefficients.

With U = 2^((z_w + z_in)/n) the unit of the accumulator and f, t what BatchNorm and Scale behind
the layer multiply with and add, a compiled file holds for each output

    bias  = round(b / U)
    scale = round(f * U * 2^42), or round(f * U * 2^31) where that would not fit into 32 bits
    shift = round(4096 * t)

Measured on two public compiled RetinaFace (8 bit merged, 16 bit not merged) and an ENet
(16 bit). What rounding these words does to a result is put into the float weights here, so
that a float engine computes with the chip's numbers.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence

import numpy as np
import numpy.typing as npt

from nnie_pipeline.caffe.net import Array, Layer, Shape
from nnie_pipeline.quant import gfpq
from nnie_pipeline.quant.assumptions import Assumptions
from nnie_pipeline.quant.gfpq_format import number_format
from nnie_pipeline.quant.operations import WEIGHTED, Operation, is_depthwise
from nnie_pipeline.quant.widths import FLOAT
from nnie_pipeline.rewrite.affine import Affine, affine_of, has_channel_outputs, joined
from nnie_pipeline.rewrite.affine import scale_outputs as multiply_outputs

Vector = npt.NDArray[np.float64]
Shapes = Mapping[str, Shape]
Store = Callable[[Operation, int, Sequence[int], Shapes, Assumptions], list[Layer]]
"""`(operation, bits, z of its bottoms, shapes, assumptions)` to the layers to compute with."""

_LARGEST_WORD = 1 << 31
_LOST_BIAS = 1 << 23


def as_stored(
    step: Operation, bits: int, z: Sequence[int], shapes: Shapes, assumptions: Assumptions
) -> list[Layer]:
    """Copies of the layers of `step` with the chip's numbers, made from the network's own.

    `z` are the offsets of the bottoms (empty where they are not quantised). With `FLOAT` bits
    the layers are given back as they are.
    """
    if bits == FLOAT:
        return list(step.layers)
    layers = [_coefficients(x, assumptions) for x in step.layers]
    if step.leader.type in WEIGHTED and step.leader.weights:
        affine = _behind(step, shapes)
        _weights(layers[0], bits, z[0], affine, shapes, assumptions)
        if affine is not None and assumptions.shift == "word":
            behind = max(
                i for i, x in enumerate(layers) if x.type in ("BatchNorm", "Scale", "Bias")
            )
            _move(layers[behind], np.rint(affine[1] * 4096) / 4096 - affine[1])
    return layers


def _behind(step: Operation, shapes: Shapes) -> Affine | None:
    """What the affine layers right behind the first one do together; None without any."""
    found: Affine | None = None
    for layer in step.layers[1:]:
        one = affine_of(layer, shapes[layer.bottoms[0]])
        if one is None:
            break
        found = one if found is None else joined(found, one)
    if found is None or not all(np.isfinite(x).all() for x in found):
        return None
    return found


def _weights(
    layer: Layer,
    bits: int,
    z_in: int,
    affine: Affine | None,
    shapes: Shapes,
    assumptions: Assumptions,
) -> None:
    """Quantise weights, and round bias and scale words."""
    per_channel = is_depthwise(layer) and assumptions.depthwise == "channel"
    own = layer.weights[0]
    equal = assumptions.equal_weights == "exact"
    if equal:
        weight, z = gfpq.quantize_weights(own, bits, per_channel)
    elif per_channel:
        weight, z = gfpq.quantize_channels(own, bits)
    else:
        weight, z = gfpq.quantize(own, bits)
    layer.weights = [weight, *layer.weights[1:]]
    top = shapes[layer.tops[0]]
    if layer.type == "InnerProduct":
        outputs = layer.params.inner_product_param.num_output
    else:
        outputs = top[1]
    unit = _unit(own, z, bits, z_in, per_channel, equal, outputs)
    factor = affine[0] if affine is not None else np.ones(outputs)
    if len(factor) != outputs or not has_channel_outputs(layer, shapes[layer.bottoms[0]]):
        factor = np.ones(outputs)
    scale, ratio = _scale_word(factor, unit)
    if len(layer.weights) > 1 and assumptions.bias == "word":
        bias = layer.weights[1].reshape(-1).astype(np.float64)
        word = np.rint(bias / unit)
        word[(scale == 0) & (np.abs(word) >= _LOST_BIAS)] = 0
        stored = (word * unit).astype(np.float32)
        layer.weights = [layer.weights[0], stored.reshape(layer.weights[1].shape)]
    # How a fully connected layer is scaled is not known: its blocks hold no such word.
    if assumptions.scale == "word" and layer.type != "InnerProduct":
        multiply_outputs(layer, (ratio, np.zeros(outputs)))


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


def _scale_word(factor: Vector, unit: Vector) -> tuple[Vector, Vector]:
    """The scale words, and what they make of the exact factors (a ratio near 1)."""
    exact = factor * unit * 2.0**42
    word = np.rint(exact)
    large = np.abs(word) >= _LARGEST_WORD
    word = np.where(large, np.rint(factor * unit * 2.0**31) * 2.0**11, word)
    safe = np.where(exact == 0, 1.0, exact)
    return word, np.where(exact == 0, 1.0, word / safe)


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


def _coefficients(layer: Layer, assumptions: Assumptions) -> Layer:
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

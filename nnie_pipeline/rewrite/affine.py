"""Layers that multiply and add one number a channel, and weights that take such numbers in.

All sums are float64 and rounded to float32 once.
"""

from __future__ import annotations

import math

import numpy as np
import numpy.typing as npt

from nnie_pipeline.caffe.axes import axis_of
from nnie_pipeline.caffe.net import Array, Layer, Net, Shape
from nnie_pipeline.caffe.windows import conv_window
from nnie_pipeline.errors import InputError

Vector = npt.NDArray[np.float64]
Affine = tuple[Vector, Vector]
"""(factor, addend), one number a channel each: y = factor * x + addend."""

CONVOLUTIONS = ("Convolution", "DepthwiseConv")
WEIGHTED = (*CONVOLUTIONS, "Deconvolution", "InnerProduct")
"""The types whose weights can take an affine function in."""


def affine_of(layer: Layer, shape: Shape) -> Affine | None:
    """What a BatchNorm, Scale, Bias or Power does to a bottom of `shape`.

    None for any other layer, and where it is no affine function of each channel (axis 1).
    A BatchNorm uses its own eps; a third blob of 0 makes mean and variance 0 (Caffe 1.0,
    batch_norm_layer).

    Raises:
        InputError: a BatchNorm without mean and variance.
    """
    if len(shape) < 2 or len(layer.bottoms) != 1:
        return None
    channels = shape[1]
    if layer.type == "BatchNorm":
        return _batch_norm(layer, channels)
    if layer.type == "Power":
        power = layer.params.power_param
        if power.power != 1:
            return None
        return np.full(channels, float(power.scale)), np.full(channels, float(power.shift))
    if layer.type == "Scale":
        scale = layer.params.scale_param
        axis, num_axes = scale.axis, scale.num_axes
    elif layer.type == "Bias":
        axis, num_axes = layer.params.bias_param.axis, layer.params.bias_param.num_axes
    else:
        return None
    vectors = [x.reshape(-1).astype(np.float64) for x in layer.weights]
    if not vectors or (num_axes and axis_of(axis, shape) != 1):
        return None
    if any(x.size != (channels if num_axes else 1) for x in vectors):
        return None
    vectors = [np.broadcast_to(x, channels) for x in vectors]
    if layer.type == "Bias":
        return np.ones(channels), vectors[0]
    return vectors[0], vectors[1] if len(vectors) > 1 else np.zeros(channels)


def _batch_norm(layer: Layer, channels: int) -> Affine | None:
    param = layer.params.batch_norm_param
    if param.HasField("use_global_stats") and not param.use_global_stats:
        return None
    if len(layer.weights) < 3 or layer.weights[0].size != channels:
        raise InputError(
            f"layer {layer.name} (BatchNorm) has no mean and variance of {channels} channels "
            "in the caffemodel"
        )
    scale = float(layer.weights[2].reshape(-1)[0])
    inverse = 0.0 if scale == 0 else 1.0 / scale
    mean, variance = (x.reshape(-1).astype(np.float64) * inverse for x in layer.weights[:2])
    with np.errstate(divide="ignore", invalid="ignore"):
        factor = 1.0 / np.sqrt(variance + float(np.float32(param.eps)))
        return factor, -mean * factor


def joined(first: Affine, second: Affine) -> Affine:
    """`second` behind `first`."""
    return first[0] * second[0], first[1] * second[0] + second[1]


def has_channel_outputs(layer: Layer, bottom: Shape) -> bool:
    """Whether a weighted layer makes its channels (axis 1) by its weights."""
    if layer.type != "InnerProduct":
        return True
    return axis_of(layer.params.inner_product_param.axis, bottom) == 1


def scale_outputs(layer: Layer, affine: Affine) -> bool:
    """Let `layer` make factor * y + addend of each output channel; False where float32 ends."""
    factor, addend = affine
    total = addend
    if len(layer.weights) > 1:
        total = layer.weights[1].reshape(-1).astype(np.float64) * factor + addend
    return _store(layer, layer.weights[0].astype(np.float64) * _outputs_along(layer, factor), total)


def scale_inputs(layer: Layer, affine: Affine, bottom: Shape) -> bool:
    """Let `layer` read factor * x + addend of each input channel.

    False, and nothing done, where that is not exact: with an addend the zeros around the map
    of a convolution would stay zeros, and a deconvolution sums fewer terms at the border.
    """
    factor, addend = affine
    if addend.any() and not takes_addend(layer):
        return False
    if layer.type == "InnerProduct":
        return _scale_inner_product(layer, affine, bottom)
    weight = layer.weights[0].astype(np.float64)
    group = bottom[1] if layer.type == "DepthwiseConv" else layer.params.convolution_param.group
    if layer.type == "Deconvolution":
        scaled = weight * factor.reshape(-1, 1, 1, 1)
        terms = (weight * addend.reshape(-1, 1, 1, 1)).sum(axis=(2, 3))
        sums = terms.reshape(group, -1, weight.shape[1]).sum(axis=1).reshape(-1)
    else:
        grouped = weight.reshape(group, -1, *weight.shape[1:])
        scaled = (grouped * factor.reshape(group, 1, -1, 1, 1)).reshape(weight.shape)
        sums = (grouped * addend.reshape(group, 1, -1, 1, 1)).sum(axis=(2, 3, 4)).reshape(-1)
    return _store(layer, scaled, _bias(layer) + sums if addend.any() else None)


def takes_addend(layer: Layer) -> bool:
    """Whether a number added to all of a channel can go through the layer into its bias."""
    if layer.type == "InnerProduct":
        return True
    window = conv_window(layer.params.convolution_param)
    if any(window.pad):
        return False
    return layer.type in CONVOLUTIONS or (window.kernel == (1, 1) and window.stride == (1, 1))


def _scale_inner_product(layer: Layer, affine: Affine, bottom: Shape) -> bool:
    factor, addend = (np.repeat(x, math.prod(bottom[2:])) for x in affine)
    weight = layer.weights[0].astype(np.float64)
    matrix = weight.reshape(weight.shape[-2:])
    if layer.params.inner_product_param.transpose:
        scaled, sums = matrix * factor[:, None], addend @ matrix
    else:
        scaled, sums = matrix * factor, matrix @ addend
    return _store(
        layer, scaled.reshape(weight.shape), _bias(layer) + sums if addend.any() else None
    )


def _bias(layer: Layer) -> Vector | float:
    return layer.weights[1].reshape(-1).astype(np.float64) if len(layer.weights) > 1 else 0.0


def _store(layer: Layer, weight: Vector, bias: Vector | float | None) -> bool:
    """Give the layer new weights, and a new bias unless None; False where float32 ends."""
    with np.errstate(over="ignore"):
        stored: list[Array] = [weight.astype(np.float32)]
        if bias is not None:
            stored.append(np.asarray(bias).astype(np.float32))
    if not all(np.isfinite(x).all() for x in stored):
        return False
    layer.weights = stored + layer.weights[1:] if bias is None else stored
    if layer.type == "InnerProduct":
        layer.params.inner_product_param.bias_term = len(layer.weights) > 1
    else:
        layer.params.convolution_param.bias_term = len(layer.weights) > 1
    return True


def _outputs_along(layer: Layer, factor: Vector) -> Vector:
    """`factor` shaped so that it multiplies the weights of its output channel."""
    weight = layer.weights[0]
    if layer.type == "Deconvolution":
        # (in, out / group, kh, kw): output g * (out / group) + j belongs to the inputs of group g.
        group = layer.params.convolution_param.group
        per_group = factor.reshape(group, 1, -1)
        spread = np.broadcast_to(per_group, (group, weight.shape[0] // group, per_group.shape[2]))
        return spread.reshape(weight.shape[0], weight.shape[1], 1, 1)
    if layer.type == "InnerProduct" and layer.params.inner_product_param.transpose:
        return factor.reshape(*(1,) * (weight.ndim - 1), -1)
    if layer.type == "InnerProduct":
        return factor.reshape(*(1,) * (weight.ndim - 2), -1, 1)
    return factor.reshape(-1, 1, 1, 1)


def only_reader(net: Net, readers: dict[str, list[Layer]], value: str) -> Layer | None:
    """The one layer that reads `value`; None for an output, or with other readers."""
    found = readers.get(value, [])
    return found[0] if len(found) == 1 and value not in net.outputs else None

"""BatchNorm, Scale and Bias behind a layer with weights are folded into those weights.

Given:   y = Convolution(x) {w, b};  z = BatchNorm(y) {mean, var, eps};  s = Scale(z) {g, h}
Result:  s = Convolution(x) {w * f, (b - mean) * f + h},  f = g / sqrt(var + eps)

On the chip the convolution and its BatchNorm are one operation already, but unmerged the
dump between them misleads and very small variances make the mapper slow (nniefacelib issue
29); every public guide advises to merge. The file's own eps is used: compiled files show
that the mapper uses it too, though the HiSVP guide calls 1e-5 fixed. All sums are float64
and rounded to float32 once.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from nnie_pipeline.caffe.net import Layer, Net
from nnie_pipeline.errors import InputError
from nnie_pipeline.rewrite.base import Changes

REASON = (
    "BatchNorm and Scale belong into the weights: what is quantised are then the weights the "
    "chip multiplies with, and no dump lies between"
)

Vector = npt.NDArray[np.float64]
_WEIGHTED = ("Convolution", "DepthwiseConv", "Deconvolution", "InnerProduct")


def apply(net: Net) -> Changes:
    """Fold every chain of BatchNorm, Scale and Bias into the layer with weights before it."""
    changes = Changes()
    consumers = net.consumers()
    gone: set[int] = set()
    for layer in net.layers:
        if layer.type not in _WEIGHTED or not layer.weights:
            continue
        if layer.type == "InnerProduct" and layer.params.inner_product_param.axis != 1:
            continue  # its outputs lie along another axis than the channels
        chain: list[Layer] = []
        value = layer.tops[0]
        while value not in net.outputs and len(consumers.get(value, [])) == 1:
            follower = consumers[value][0]
            if follower.bottoms != [value] or _affine(follower, _channels(layer)) is None:
                break
            chain.append(follower)
            value = follower.tops[0]
        if not chain:
            continue
        _fold(layer, chain)
        layer.tops = [value]
        gone.update(id(x) for x in chain)
        changes.lines.append(f"{' and '.join(x.name for x in chain)} merged into {layer.name}")
    net.layers = [x for x in net.layers if id(x) not in gone]
    return changes


def _channels(layer: Layer) -> int:
    if layer.type == "InnerProduct":
        return layer.params.inner_product_param.num_output
    return layer.params.convolution_param.num_output or layer.weights[0].shape[0]


def _affine(layer: Layer, channels: int) -> tuple[Vector, Vector] | None:
    """(factor, addend) a channel of a BatchNorm, Scale or Bias; None for any other layer."""
    if layer.type == "BatchNorm":
        if len(layer.weights) < 3 or layer.weights[0].size != channels:
            raise InputError(
                f"layer {layer.name} (BatchNorm) has no mean and variance of {channels} channels "
                "in the caffemodel"
            )
        scale = float(layer.weights[2].reshape(-1)[0])
        inverse = 0.0 if scale == 0 else 1.0 / scale
        mean, variance = (x.reshape(-1).astype(np.float64) * inverse for x in layer.weights[:2])
        factor = 1.0 / np.sqrt(variance + float(np.float32(layer.params.batch_norm_param.eps)))
        return factor, -mean * factor
    if layer.type not in ("Scale", "Bias") or not layer.weights:
        return None
    axis = layer.params.scale_param.axis if layer.type == "Scale" else layer.params.bias_param.axis
    vectors = [x.reshape(-1).astype(np.float64) for x in layer.weights]
    if axis not in (1, -3) or any(x.size != channels for x in vectors):
        return None
    if layer.type == "Bias":
        return np.ones(channels), vectors[0]
    return vectors[0], vectors[1] if len(vectors) > 1 else np.zeros(channels)


def _fold(layer: Layer, chain: list[Layer]) -> None:
    channels = _channels(layer)
    factor, addend = np.ones(channels), np.zeros(channels)
    if len(layer.weights) > 1:
        addend = layer.weights[1].reshape(-1).astype(np.float64)
    for follower in chain:
        affine = _affine(follower, channels)
        assert affine is not None
        factor, addend = factor * affine[0], addend * affine[0] + affine[1]
        layer.origin = (*layer.origin, f"merged {follower.name}")
    weight = layer.weights[0].astype(np.float64) * _along(layer, factor)
    layer.weights = [weight.astype(np.float32), addend.astype(np.float32)]
    if layer.type == "InnerProduct":
        layer.params.inner_product_param.bias_term = True
    else:
        layer.params.convolution_param.bias_term = True


def _along(layer: Layer, factor: Vector) -> Vector:
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

"""The blobs that a layer has in a caffemodel, by Caffe 1.0's own shapes."""

from __future__ import annotations

import math

from nnie_pipeline.caffe.net import DEPTHWISE, Layer, Shape
from nnie_pipeline.caffe.windows import conv_window


def check_weights(layer: Layer, bottoms: list[Shape]) -> None:
    """Compare the layer's blobs with those that its parameters ask for.

    A layer without blobs passes: a network may be read without its caffemodel. Axes of 1
    in front, which older files have, do not count.

    Raises:
        ValueError: another number of blobs, or another shape.
    """
    if not layer.weights:
        return
    expected = _expected(layer, bottoms)
    if len(layer.weights) != len(expected):
        raise ValueError(
            f"it has {len(layer.weights)} blobs in the caffemodel, not {len(expected)}"
        )
    for array, shape in zip(layer.weights, expected, strict=True):
        if array.shape != (1,) * (array.ndim - len(shape)) + shape:
            raise ValueError(f"its weights are {_text(array.shape)}, not {_text(shape)}")


def _expected(layer: Layer, bottoms: list[Shape]) -> list[Shape]:
    params = layer.params
    if layer.type == "Parameter":
        return [tuple(params.parameter_param.shape.dim)]
    channels = bottoms[0][1] if len(bottoms[0]) > 1 else bottoms[0][0]
    if layer.type in ("Convolution", "Deconvolution", *DEPTHWISE):
        param = params.convolution_param
        outputs = param.num_output or channels
        group = channels if layer.type in DEPTHWISE else param.group
        pair = (outputs, channels // group)
        if layer.type == "Deconvolution":
            pair = (channels, outputs // group)
        return _with_bias((*pair, *conv_window(param).kernel), outputs, param.bias_term)
    if layer.type == "InnerProduct":
        inner = params.inner_product_param
        count = math.prod(bottoms[0][inner.axis % len(bottoms[0]) :])
        matrix = (inner.num_output, count)
        return _with_bias(
            matrix[::-1] if inner.transpose else matrix, inner.num_output, inner.bias_term
        )
    if layer.type == "BatchNorm":
        return [(channels,), (channels,), (1,)]
    if layer.type == "PReLU":
        return [() if params.prelu_param.channel_shared else (channels,)]
    if layer.type == "Scale":
        scale = params.scale_param
        own = _along(bottoms, scale.axis, scale.num_axes)
        return [own] * ((len(bottoms) == 1) + scale.bias_term)
    if layer.type == "Bias":
        return [_along(bottoms, params.bias_param.axis, params.bias_param.num_axes)]
    if layer.type == "Normalize":
        return [() if params.norm_param.channel_shared else (channels,)]
    if layer.type == "CReLU":
        return [(2 * channels,)] * (1 + params.crelu_param.bias_term)
    if layer.type in ("LSTM", "RNN"):
        return _recurrent(layer, bottoms)
    return [x.shape for x in layer.weights]


def _recurrent(layer: Layer, bottoms: list[Shape]) -> list[Shape]:
    """Caffe 1.0, lstm_layer and rnn_layer: of x with bias, of the static input, of the state."""
    width = layer.params.recurrent_param.num_output
    rows, states = (4 * width, 2) if layer.type == "LSTM" else (width, 1)
    exposed = states if layer.params.recurrent_param.expose_hidden else 0
    static = bottoms[2:3] if len(bottoms) > 2 + exposed else []
    blobs: list[Shape] = [(rows, math.prod(bottoms[0][2:])), (rows,)]
    blobs += [(rows, math.prod(x[1:])) for x in static]
    blobs.append((rows, width))
    return blobs if layer.type == "LSTM" else [*blobs, (width, width), (width,)]


def _with_bias(weight: Shape, outputs: int, bias: bool) -> list[Shape]:
    return [weight, (outputs,)] if bias else [weight]


def _along(bottoms: list[Shape], axis: int, num_axes: int) -> Shape:
    """The shape of the parameter: that of the second bottom, or a part of the first's."""
    if len(bottoms) > 1:
        return bottoms[1]
    start = axis % len(bottoms[0])
    return bottoms[0][start:] if num_axes == -1 else bottoms[0][start : start + num_axes]


def _text(shape: Shape) -> str:
    return "x".join(map(str, shape)) or "one number"

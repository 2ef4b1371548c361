"""Computed values of different shapes brought together.

NNIE's Scale and Bias take a computed second bottom of one number a channel (HiSVP
development guide, tables 3-3 and 3-4). Its axis must be 1, where Caffe aligns the second
bottom's first axis with the channels, so that bottom loses its batch axis by a Flatten.

All else is repeated by layers whose weights are all 1, which is exact: along the channels
by a 1x1 Convolution, along rows and columns by a Deconvolution, in a vector by an
InnerProduct.
"""

from __future__ import annotations

import math

import numpy as np

from nnie_pipeline.caffe.caffe_pb2 import LayerParameter
from nnie_pipeline.caffe.compose import PROD, SUM, Value
from nnie_pipeline.caffe.net import Shape
from nnie_pipeline.onnx2caffe.operators.compose import Composer

_LARGEST_WINDOW = 255


def multiply(c: Composer, a: Value, b: Value, target: Shape) -> Value:
    """a * b; `target` is the shape they broadcast to."""
    return _combine(c, a, b, target, "Scale", PROD)


def add(c: Composer, a: Value, b: Value, target: Shape) -> Value:
    """a + b; `target` is the shape they broadcast to."""
    return _combine(c, a, b, target, "Bias", SUM)


def _combine(c: Composer, a: Value, b: Value, target: Shape, kind: str, operation: int) -> Value:
    large, small = (a, b) if a.shape == target else (b, a)
    large = expand(c, large, target)
    if len(target) == 4 and math.prod(small.shape) == 1 and target[1] != 1:
        small = expand(c, small, (target[0], target[1], 1, 1))
    if small.shape != target and _is_vector(small.shape, target):
        param = LayerParameter()
        (param.scale_param if kind == "Scale" else param.bias_param).axis = 1
        return c.layer(kind, [large, _without_batch(c, small)], params=param)
    return c.eltwise(operation, [large, expand(c, small, target)])


def _is_vector(shape: Shape, target: Shape) -> bool:
    """Whether `shape` is 1 x C x 1 x 1 and `target` 1 x C x H x W."""
    return (
        len(shape) == len(target) > 2
        and shape[:2] == (1, target[1])
        and all(x == 1 for x in shape[2:])
    )


def _without_batch(c: Composer, value: Value) -> Value:
    param = LayerParameter()
    param.flatten_param.axis = 0
    return c.layer("Flatten", [value], params=param, shape=(math.prod(value.shape),))


def expand(c: Composer, value: Value, target: Shape) -> Value:
    """`value` repeated along its axes of length 1 until it has the shape `target`.

    Raises:
        NotExpressibleError: NNIE has no layer for it.
    """
    if math.prod(value.shape) == 1 and len(value.shape) != len(target):
        value = _reshape(c, value, (1,) * len(target))
    if value.shape == target:
        return value
    if len(value.shape) != len(target) or value.shape[0] != target[0] or len(target) not in (2, 4):
        _refuse(c, value, target)
    if len(target) == 2:
        return _repeat_vector(c, value, target)
    height, width = (b if a == 1 else 1 for a, b in zip(value.shape[2:], target[2:], strict=True))
    if max(height, width) > _LARGEST_WINDOW:
        c.graph.refuse(
            c.node,
            f"its input {list(value.shape)} is repeated to {list(target)}, NNIE repeats by a "
            f"Deconvolution of at most {_LARGEST_WINDOW}x{_LARGEST_WINDOW}",
            "choose a smaller input size, or give the model a value a channel (C x 1 x 1)",
        )
    if (height, width) != (1, 1):
        value = _repeat_pixels(c, value, height, width)
    if value.shape != target:
        value = _repeat_channels(c, value, target[1])
    return value


def _refuse(c: Composer, value: Value, target: Shape) -> None:
    c.graph.refuse(
        c.node,
        f"its inputs have different shapes and {list(value.shape)} does not become "
        f"{list(target)} by layers that NNIE has: Eltwise takes equal shapes, Scale and Bias "
        "one number a channel",
        "choose an input size at which the shapes agree, or expand the smaller one in the model",
    )


def _reshape(c: Composer, value: Value, shape: Shape) -> Value:
    param = LayerParameter()
    param.reshape_param.shape.dim.extend((0, *shape[1:]))
    return c.layer("Reshape", [value], params=param, shape=shape)


def _repeat_vector(c: Composer, value: Value, target: Shape) -> Value:
    param = LayerParameter()
    param.inner_product_param.num_output = target[1]
    param.inner_product_param.bias_term = False
    return c.layer("InnerProduct", [value], [np.ones((target[1], 1))], param, target)


def _repeat_pixels(c: Composer, value: Value, height: int, width: int) -> Value:
    param = LayerParameter()
    window = param.convolution_param
    channels = value.shape[1]
    window.num_output = window.group = channels
    window.bias_term = False
    window.kernel_h = window.stride_h = height
    window.kernel_w = window.stride_w = width
    shape = (*value.shape[:2], value.shape[2] * height, value.shape[3] * width)
    ones = np.ones((channels, 1, height, width))
    return c.layer("Deconvolution", [value], [ones], param, shape)


def _repeat_channels(c: Composer, value: Value, channels: int) -> Value:
    param = LayerParameter()
    param.convolution_param.num_output = channels
    param.convolution_param.bias_term = False
    param.convolution_param.kernel_size.append(1)
    shape = (value.shape[0], channels, *value.shape[2:])
    return c.layer("Convolution", [value], [np.ones((channels, 1, 1, 1))], param, shape)

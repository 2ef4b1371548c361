"""Axes that are counted from behind are written as NNIE takes them.

Given:   y = InnerProduct(x) {axis: -3}, x of 4 axes
Result:  y = InnerProduct(x)

The mapper's InnerProduct and convolutions have no axis to configure, it is 1 (HiSVP development
guide, table 3-2; the one exception is axis 2 of an InnerProduct behind an LSTM); Scale and Bias
take 1 and -3, Softmax an axis of channels, rows or columns. An axis from behind is another way to
write the same one.
"""

from __future__ import annotations

from nnie_pipeline.caffe.axes import axis_of
from nnie_pipeline.caffe.net import Layer, Net, Shape
from nnie_pipeline.caffe.shapes import infer
from nnie_pipeline.rewrite.base import Changes

REASON = "InnerProduct and convolutions have no other axis than 1 (HiSVP guide, table 3-2)"

_PARAMS = {
    "Bias": "bias_param",
    "Convolution": "convolution_param",
    "Deconvolution": "convolution_param",
    "DepthwiseConv": "convolution_param",
    "InnerProduct": "inner_product_param",
    "Scale": "scale_param",
    "Softmax": "softmax_param",
}


def apply(net: Net) -> Changes:
    """Count every such axis from the front; the default 1 is left out."""
    changes = Changes()
    shapes = infer(net)
    for layer in net.layers:
        written = _written(layer)
        if written is not None and _rewritten(layer, shapes[layer.bottoms[0]]):
            changes.lines.append(f"{layer.name} ({layer.type}): axis {written} is now written 1")
    return changes


def _written(layer: Layer) -> int | None:
    """The axis as it stands in the file; None where none does."""
    name = _PARAMS.get(layer.type)
    param = getattr(layer.params, name) if name else None
    return int(param.axis) if param is not None and param.HasField("axis") else None


def _rewritten(layer: Layer, bottom: Shape) -> bool:
    param = getattr(layer.params, _PARAMS[layer.type])
    if param.axis >= 0 or axis_of(param.axis, bottom) != 1:
        return False
    param.ClearField("axis")
    return True

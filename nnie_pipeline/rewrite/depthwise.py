"""Depthwise convolutions in one of the two forms that NNIE has.

Given:   y = ConvolutionDepthwise(x), x of 32 channels
Result:  y = Convolution(x) {num_output: 32 group: 32}

Sources disagree on DepthwiseConv, the mapper's own type: the HiSVP development guide has it
(table 3-2, without group and dilation), users report wrong results, and all networks known to
have run on boards use Convolution with group. So what the network has stays unless another form
is asked for, but for the names of Caffe's forks, which the mapper does not know, and for a
DepthwiseConv with dilation or with more outputs than channels, which only a group can express.
"""

from __future__ import annotations

from typing import Literal

from nnie_pipeline.caffe.net import DEPTHWISE, Layer, Net
from nnie_pipeline.caffe.shapes import infer
from nnie_pipeline.caffe.windows import conv_window
from nnie_pipeline.rewrite.base import Changes

REASON = (
    "the mapper knows Convolution with group and DepthwiseConv without group and dilation "
    "(HiSVP guide, table 3-2)"
)

Form = Literal["leave", "convolution", "depthwiseconv"]


def apply(net: Net, form: Form = "leave") -> Changes:
    """Give the depthwise convolutions the form that is asked for, where it can express them."""
    changes = Changes()
    shapes = infer(net)
    for layer in net.layers:
        if layer.type not in (*DEPTHWISE, "Convolution"):
            continue
        param = layer.params.convolution_param
        channels = shapes[layer.bottoms[0]][1]
        before = layer.type, param.SerializeToString()
        outputs = shapes[layer.tops[0]][1]
        plain = conv_window(param).dilation == (1, 1) and outputs == channels
        if layer.type == "Convolution":
            if form == "depthwiseconv" and plain and param.group == channels > 1:
                _as_depthwise(layer, outputs)
        elif plain and (form == "depthwiseconv" or (layer.type, form) == _OWN):
            _as_depthwise(layer, outputs)
        else:
            layer.type = "Convolution"
            param.num_output, param.group = outputs, channels
        if before != (layer.type, param.SerializeToString()):
            now = f"{layer.type} of {channels} channels"
            changes.lines.append(f"{layer.name} ({before[0]}) is now a {now}")
    return changes


_OWN = ("DepthwiseConv", "leave")


def _as_depthwise(layer: Layer, outputs: int) -> None:
    layer.type = "DepthwiseConv"
    param = layer.params.convolution_param
    param.num_output = outputs
    param.ClearField("group")
    param.ClearField("dilation")

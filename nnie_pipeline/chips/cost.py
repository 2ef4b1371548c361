"""Multiplications, parameters and an estimate of the time on the chip.

All shapes may hold one value a candidate size (see `nnie_pipeline.chips.quantities`).

The estimate: time = multiplications as the chip does them / rate + operations * start-up.
The chip takes 16 input and 4 output channels at once (the block layout of public compiled
files; the development guide's advice on channel counts, section 3.1.7), so channels of every
group count rounded up to these. An operation is one layer, with every group of a convolution
its own (a compiled mnet lists one record a depthwise channel); BatchNorm, Scale and
activations behind a convolution are part of it, Concat and Split cost nothing (so counted,
mnet has the 1425 records of its compiled file that are no input or output). The two constants
solve the two published 8-bit timings of Hi3516DV300: RetinaFace mnet.25 at 640x640
17 ms (README of hanson-young/nniefacelib) and MobileFaceNet at 112x112 about 10 ms (issue 60
there). 16 bit takes twice as long (34 ms, the same README). Other chips: the rate in proportion
to the tera-operations a second of one core. It knows nothing of memory bandwidth or of work on
the CPU: an estimate, good for comparing sizes.

Its error: two constants meet the two fitted timings within 2 %. Against published timings that it
was not fitted to it is up to 30 % too low: MobileFaceNet at 112x112 on one core was also given as
about 14 ms (issue 3 of hanson-young/nniefacelib; estimate 10), yolov5 at 416x416 on Hi3516CV500 as
40 ms (about 3.5e9 multiplications of its small form give 31), and
CenterFace there grows from 20 ms at 320x320 to 45 ms at 416x416, where the model says 34 at most.
"""

from __future__ import annotations

import math
from typing import Any

from nnie_pipeline.caffe.net import DEPTHWISE, Layer, Net
from nnie_pipeline.caffe.windows import conv_window
from nnie_pipeline.chips.chip import Chip
from nnie_pipeline.chips.quantities import Dim, Dims, blocks
from nnie_pipeline.chips.segments import on_cpu

CONVOLUTIONS = frozenset({"Convolution", "Deconvolution", *DEPTHWISE})
MULTIPLIERS = CONVOLUTIONS | {"InnerProduct"}
FUSED = frozenset(
    {"BatchNorm", "Scale", "Bias", "ReLU", "RReLU", "PReLU", "Sigmoid", "TanH", "AbsVal", "ELU",
     "BNLL"}
)  # fmt: skip
_NORMALISERS = frozenset({"BatchNorm", "Scale", "Bias", "PReLU", "Normalize"})
REMOVED = frozenset({"Split", "Dropout", "Crop"})
"""Layers that do nothing: a Crop has to be removed, which only one that cuts nothing can be."""

_RATE_PER_TOPS = 226.1e9
_OPERATION_SECONDS = 1.507e-6


def macs(layer: Layer, bottoms: list[Dims], tops: list[Dims], *, in_blocks: bool = False) -> Dim:
    """Multiply-accumulate operations of one layer for one picture.

    Convolution, Deconvolution, DepthwiseConv and InnerProduct are counted, the rest is 0.

    Args:
        layer: the layer.
        bottoms: shapes of its bottoms.
        tops: shapes of its tops.
        in_blocks: with the channels of each group rounded up to 16 inputs and 4 outputs.
    """
    if layer.type not in MULTIPLIERS:
        return 0
    bottom, top = bottoms[0], tops[0]
    pixels: Dim = 1
    if layer.type == "InnerProduct":
        axis = layer.params.inner_product_param.axis % len(bottom)
        group, into, out = 1, math.prod(bottom[axis:]), top[-1]
    else:
        group = groups(layer, bottom)
        into, out = bottom[1] // group, top[1] // group
        over = bottom if layer.type == "Deconvolution" else top
        kernel = conv_window(layer.params.convolution_param).kernel
        pixels = over[2] * over[3] * kernel[0] * kernel[1]
    if in_blocks:
        into, out = blocks(into, 16) * 16, blocks(out, 4) * 4
    return pixels * into * out * group


def groups(layer: Layer, bottom: Dims) -> int:
    """How many groups a convolution has; a DepthwiseConv has one a channel."""
    if layer.type in DEPTHWISE:
        return int(bottom[1])
    return max(layer.params.convolution_param.group, 1)


def operations(net: Net, shapes: dict[str, Dims]) -> int:
    """How many operations the chip starts for one picture (CPU layers not counted)."""
    makers = net.producers()
    total = 0
    for layer in net.layers:
        if on_cpu(layer) or layer.type in REMOVED | {"Concat"} or is_fused(layer, makers):
            continue
        total += groups(layer, shapes[layer.bottoms[0]]) if layer.type in CONVOLUTIONS else 1
    return total


def is_fused(layer: Layer, makers: dict[str, Layer]) -> bool:
    """Whether the layer is part of the convolution or InnerProduct before it on the chip."""
    while layer.type in FUSED and len(layer.bottoms) == 1:
        maker = makers.get(layer.bottoms[0])
        if maker is None:
            return False
        if maker.type in MULTIPLIERS:
            return True
        layer = maker
    return False


def parameters(layer: Layer, bottoms: list[Dims], tops: list[Dims]) -> int:
    """Trained values that Caffe stores for the layer; they do not depend on the input size."""
    p = layer.params
    if not bottoms or layer.type not in MULTIPLIERS | _NORMALISERS:
        return 0
    channels = _first(bottoms[0][1]) if len(bottoms[0]) > 1 else 1
    match "Convolution" if layer.type in CONVOLUTIONS else layer.type:
        case "Convolution":
            kernel = conv_window(p.convolution_param).kernel
            out = int(tops[0][1])
            group = groups(layer, bottoms[0])
            weights = channels * out // group * kernel[0] * kernel[1]
            return weights + (out if p.convolution_param.bias_term else 0)
        case "InnerProduct":
            axis = p.inner_product_param.axis % len(bottoms[0])
            count, out = math.prod(bottoms[0][axis:]), p.inner_product_param.num_output
            return _first(count) * out + (out if p.inner_product_param.bias_term else 0)
        case "BatchNorm":
            return 2 * channels + 1
        case "Scale":
            blobs = (len(layer.bottoms) == 1) + bool(p.scale_param.bias_term)
            return channels * blobs
        case "Bias":
            return channels if len(layer.bottoms) == 1 else 0
        case "PReLU":
            return 1 if p.prelu_param.channel_shared else channels
        case "Normalize":
            return 1 if p.norm_param.channel_shared else channels
    return 0


def _first(value: Dim) -> int:
    """The value, where all candidates have the same."""
    return value if isinstance(value, int) else int(value[0])


def milliseconds(block_macs: Dim, operation_count: int, chip: Chip, bits: int) -> Any:
    """The estimated time of one picture on one core of the chip, in ms.

    Args:
        block_macs: the network's multiplications with `in_blocks`.
        operation_count: see `operations`.
        chip: the chip.
        bits: 8 or 16.
    """
    rate = _RATE_PER_TOPS * chip.tops / chip.cores
    seconds = block_macs / rate + operation_count * _OPERATION_SECONDS
    return seconds * 1000 * (bits // 8)

"""Nearest upsampling by a whole factor becomes a grouped Deconvolution of ones.

Given:   up = Upsample(x) {scale: 2}
Result:  up = Deconvolution(x) {num_output: C, group: C, kernel_size: 2, stride: 2,
                                bias_term: false}, every weight 1

The mapper of the first chips takes `Upsample` only as un-pooling (HiSVP development guide
00B06, table 3-2); the deconvolution repeats every pixel exactly and is the form in the
public RetinaFace network that ran on a Hi3516DV300 (nniefacelib, rf_c3_upsampling).
"""

from __future__ import annotations

import numpy as np

from nnie_pipeline.caffe.caffe_pb2 import LayerParameter
from nnie_pipeline.caffe.net import Net
from nnie_pipeline.caffe.shapes import infer
from nnie_pipeline.errors import NotExpressibleError
from nnie_pipeline.rewrite.base import Changes

REASON = (
    "NNIE's Upsample is un-pooling only (HiSVP guide, table 3-2); a grouped Deconvolution of "
    "ones is exact and is proven on a board"
)

_LARGEST = 255


def apply(net: Net) -> Changes:
    """Replace every Upsample with one bottom; with two it is un-pooling, which NNIE has.

    Raises:
        NotExpressibleError: one by no whole factor.
    """
    changes = Changes()
    shapes = infer(net)
    for layer in net.layers:
        if layer.type != "Upsample" or len(layer.bottoms) != 1:
            continue
        bottom, top = shapes[layer.bottoms[0]], shapes[layer.tops[0]]
        channels = bottom[1]
        factor = (top[2] // bottom[2], top[3] // bottom[3])
        if (bottom[2] * factor[0], bottom[3] * factor[1]) != top[2:] or max(factor) > _LARGEST:
            raise NotExpressibleError(
                f"layer {layer.name} (Upsample, {bottom[2]}x{bottom[3]} to {top[2]}x{top[3]}): "
                f"NNIE repeats pixels by a whole factor up to {_LARGEST}; use one, or leave "
                f"it to the CPU with --outputs {layer.bottoms[0]}"
            )
        params = LayerParameter()
        convolution = params.convolution_param
        convolution.num_output = convolution.group = channels
        convolution.bias_term = False
        if factor[0] == factor[1]:
            convolution.kernel_size.append(factor[0])
            convolution.stride.append(factor[0])
        else:
            convolution.kernel_h = convolution.stride_h = factor[0]
            convolution.kernel_w = convolution.stride_w = factor[1]
        layer.type = "Deconvolution"
        layer.params = params
        layer.weights = [np.ones((channels, 1, *factor), np.float32)]
        changes.lines.append(
            f"{layer.name}: Upsample {factor[0]}x{factor[1]} is now a Deconvolution of ones in "
            f"{channels} groups"
        )
    return changes

"""Where each weight of a layer lies in the blocks.

A cell is the place of one code. In the order used here an output's cells run unit by unit: a
unit is 16 input channels of one kernel place at 8 bits, 8 at 16 bits.

At 8 bits a block holds four outputs, unit by unit, 16 codes an output. A 3x3 convolution of
stride 2 over up to 8 channels has units of two kernel rows instead: (row pair, column), code
2*channel + row % 2. At 16 bits a block holds one output, and its units are dealt to four
lanes, a quarter of them each. Depthwise layers have a block for each channel. A deconvolution
is stored as the convolution it equals, outputs first and the kernel turned by 180 degrees.
Proven on public compiled files: at 8 bits 420336 weights of mnet_mergebn_640L_inst.wk, at 16
bits those of mnet_640_inst.wk and (deconvolution, dilation, 5x1 kernels) ENet_cityscapes.wk.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

if TYPE_CHECKING:
    from nnie_pipeline.caffe.net import Layer

Ints = npt.NDArray[np.int64]
LANES = {8: 16, 16: 8}
"""Cells of a unit, by bits."""

OUTPUTS = {8: 4, 16: 1}
"""Outputs of a block, by bits; a depthwise layer has one channel a block."""

_PAIRED_CHANNELS = 8
_LAST_OPEN_CHANNELS = 23
_DEALT = 4


@dataclass(frozen=True)
class Geometry:
    """What the place of a weight depends on; `inputs` are those of one group."""

    outputs: int
    inputs: int
    kernel: tuple[int, int]
    stride: tuple[int, int]
    depthwise: bool
    deconvolution: bool

    @property
    def open(self) -> str | None:
        """Why the 8-bit layout of this layer is not known; None where it is."""
        if self.kernel == (1, 1) or self.stride == (1, 1) or self.deconvolution:
            return None
        if self.kernel != (3, 3) or self.stride != (2, 2):
            return f"the 8-bit layout of stride {_text(self.stride)}, kernel {_text(self.kernel)}"
        if _PAIRED_CHANNELS < self.inputs <= _LAST_OPEN_CHANNELS:
            return f"the 8-bit layout of stride 2 over {self.inputs} channels"
        return None

    @property
    def weights(self) -> int:
        """How many weights the layer has."""
        return self.outputs * self.inputs * self.kernel[0] * self.kernel[1]


def geometry_of(layer: Layer) -> Geometry | str:
    """The geometry of a layer with weights, or why its layout is not known."""
    from nnie_pipeline.caffe.windows import conv_window  # decoding alone needs no Caffe

    if layer.type not in ("Convolution", "DepthwiseConv", "Deconvolution"):
        return f"the layout of {layer.type}"
    window = conv_window(layer.params.convolution_param)
    shape = layer.weights[0].shape
    group = layer.params.convolution_param.group
    deconvolution = layer.type == "Deconvolution"
    if layer.type == "DepthwiseConv" or (group > 1 and shape[:2] == (group, 1)):
        return Geometry(shape[0], 1, window.kernel, window.stride, True, deconvolution)
    if group > 1:
        return f"the layout of {layer.type} in {group} groups"
    outputs, inputs = shape[1::-1] if deconvolution else shape[:2]
    return Geometry(outputs, inputs, window.kernel, window.stride, False, deconvolution)


def cell_places(geometry: Geometry, bits: int) -> tuple[int, Ints]:
    """How many cells an output has, and the cell of each weight: (inputs, height, width)."""
    height, width = geometry.kernel
    lanes = LANES[bits]
    row = np.arange(height)[None, :, None]
    column = np.arange(width)[None, None, :]
    channel = np.arange(geometry.inputs)[:, None, None]
    paired = bits == 8 and geometry.kernel == (3, 3) and geometry.stride == (2, 2)
    if paired and geometry.inputs <= _PAIRED_CHANNELS and not geometry.deconvolution:
        units = 2 * width
        places = (row // 2 * width + column) * lanes + 2 * channel + row % 2
    else:
        deep = -(-geometry.inputs // lanes)
        units = height * width * deep
        places = ((row * width + column) * deep + channel // lanes) * lanes + channel % lanes
    if bits == 16:
        units = -(-units // _DEALT) * _DEALT
    return int(units * lanes), np.asarray(places, np.int64)


def conv_order(weights: npt.NDArray[Any], geometry: Geometry) -> npt.NDArray[Any]:
    """Weights in the caffemodel's order as those of the convolution stored, and back.

    The convolution's are (outputs, inputs, height, width). The function is its own inverse.
    """
    if not geometry.deconvolution:
        return weights
    turned = weights[:, :, ::-1, ::-1]
    return turned if geometry.depthwise else turned.transpose(1, 0, 2, 3)


def dealt(units: int) -> Ints:
    """The unit that each place of a 16-bit block holds, for a multiple of four units."""
    return np.asarray(np.arange(units).reshape(_DEALT, -1).T.reshape(-1), np.int64)


def _text(pair: tuple[int, int]) -> str:
    return "x".join(map(str, pair))

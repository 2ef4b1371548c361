"""One axis of a Resize as a layer, and the layers of both axes together."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from nnie_pipeline.caffe.caffe_pb2 import LayerParameter
from nnie_pipeline.caffe.compose import Value
from nnie_pipeline.caffe.net import Shape
from nnie_pipeline.onnx2caffe.filters import LARGEST, fold
from nnie_pipeline.onnx2caffe.moves import whole
from nnie_pipeline.onnx2caffe.operators.compose import Composer
from nnie_pipeline.onnx2caffe.operators.windows import set_window

Matrix = npt.NDArray[np.float64]
TOLERANCE = 1e-5
"""What float32 may change in a weight."""


@dataclass(frozen=True, eq=False)
class Line:
    """One axis as Caffe computes it.

    Output k is ratio[k] times the sum over j of kernel[j] * input[k * down - pad + j], or
    with up > 1 the sum over i of kernel[k + pad - up * i] * input[i].
    """

    kernel: Matrix
    up: int
    down: int
    pad: int
    ratio: Matrix


def line_of(places: Matrix, size: int, count: int) -> Line | None:
    """The axis whose output k lies at places[k] of the input; None where no layer computes it."""
    if size == 1:
        return Line(np.ones(count), count, 1, 0, np.ones(count))
    slope = places[1] - places[0] if count > 1 else float(size)
    up, down = (round(1 / slope), 1) if 0 < slope <= 1 else (1, round(slope))
    if slope <= 0 or abs(slope - down / up) > TOLERANCE * slope or max(up, down) > LARGEST:
        return None
    # Places k * down / up + shift: the weight of input i depends on k * down - i * up alone.
    shift = places[0]
    reach = np.arange(-2 * up - down, 2 * up + down + 1)
    if down > 1 or up == 1:
        reach = np.arange(math.floor(shift), math.floor(shift) + 2)
        kernel = 1 - np.abs(reach - shift)
        pad = -int(reach[0])
    else:
        kernel = 1 - np.abs(reach / up + shift)
        reach, kernel = reach[kernel > TOLERANCE], kernel[kernel > TOLERANCE]
        pad = -int(reach[0])
    line = Line(kernel, up, down, pad, np.ones(count))
    matrix = _matrix(line, size, count)
    total = matrix.sum(axis=1)
    wanted = np.maximum(0, 1 - np.abs(np.clip(places, 0, size - 1)[:, None] - np.arange(size)))
    if (total < TOLERANCE).any() or not np.allclose(
        matrix / total[:, None], wanted, rtol=0, atol=TOLERANCE
    ):
        return None
    return Line(kernel, up, down, pad, 1 / total)


def _matrix(line: Line, size: int, count: int) -> Matrix:
    """Caffe's weights, (count, size), before the ratio."""
    k, i = np.arange(count)[:, None], np.arange(size)
    j = k + line.pad - line.up * i if line.up > 1 else i - k * line.down + line.pad
    inside = (j >= 0) & (j < line.kernel.size)
    return np.where(inside, line.kernel[np.where(inside, j, 0)], 0.0)


def deconvolution(c: Composer, rows: Line, columns: Line, target: Shape) -> Value:
    """One group a channel: the form that ran on a board repeats pixels by weights of 1 (the
    public RetinaFace network of nniefacelib)."""
    source = c.input(0)
    kernels, pads = [], []
    for line, size, count in zip((rows, columns), source.shape[2:], target[2:], strict=True):
        kernel, pad = line.kernel, line.pad
        behind = count + 2 * pad - line.up * (size - 1) - kernel.size
        # A zero more in front takes one more of pad on both sides.
        front = max(0, -behind)
        kernels.append(np.pad(kernel, (front, behind + front)))
        pads.append(pad + front)
    channels = target[1]
    weight = np.broadcast_to(
        np.outer(*kernels), (channels, 1, kernels[0].size, kernels[1].size)
    ).astype(np.float32)
    param = LayerParameter()
    set_window(
        param.convolution_param, weight.shape[2:], (rows.up, columns.up), (pads[0], pads[1]),
        (1, 1), channels, channels, False,
    )  # fmt: skip
    return c.layer("Deconvolution", [source], [weight], param, target)


def convolution(c: Composer, rows: Line, columns: Line, target: Shape) -> Value:
    """One group a channel, the steps down as strides."""
    source = c.input(0)
    channels = target[1]
    weight = np.outer(rows.kernel, columns.kernel).astype(np.float32)
    found = fold(
        np.ascontiguousarray(np.broadcast_to(weight, (channels, 1, *weight.shape))), channels,
        whole(channels), source.shape,
        (source.shape[2], source.shape[3]), (target[2], target[3]), (rows.down, columns.down),
        (rows.pad, columns.pad),
    )  # fmt: skip
    assert found is not None
    param = LayerParameter()
    set_window(
        param.convolution_param, found.weight.shape[2:], found.stride, found.pad,
        found.dilation, channels, channels, False,
    )  # fmt: skip
    return c.layer("Convolution", [source], [found.weight], param, target)

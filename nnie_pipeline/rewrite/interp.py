"""Interp becomes a Deconvolution or Convolution where one is exactly equal.

Given:   y = Interp(x) {zoom_factor: 2}, x 33x33
Result:  y = Deconvolution(x) {kernel_size: 3 stride: 2 pad: 1 group: C}, weights 1/4 1/2 1/4 ...

NNIE has no Interp (HiSVP development guide, section 4.3.2: it is not in the list). The layer of
DeepLab and PSPNet puts the corners of both maps on each other (Caffe's forks, interp_layer):
output k reads the place k * (in - 1) / (out - 1). Where out - 1 is a multiple f of in - 1, the
weights are 1 - |j| / f around each input pixel, the same everywhere, and no output needs a pixel
beyond the border: a Deconvolution by f with pad f - 1. Where in - 1 is a multiple of out - 1,
every output is one pixel: a 1x1 Convolution with that stride. A single pixel is repeated. Any
other factor weighs its pixels differently from place to place, which no layer of NNIE does.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from nnie_pipeline.caffe.caffe_pb2 import LayerParameter
from nnie_pipeline.caffe.net import Layer, Net, Shape
from nnie_pipeline.caffe.shapes import infer
from nnie_pipeline.errors import NotExpressibleError
from nnie_pipeline.rewrite.base import Changes

REASON = (
    "NNIE has no Interp (HiSVP guide, section 4.3.2); where out - 1 is a multiple of in - 1 a "
    "Deconvolution is the same"
)

_LARGEST = 255


@dataclass(frozen=True)
class _Axis:
    """One axis: weights of a pixel, factor up (stride of a Deconvolution) or down, and pad."""

    kernel: npt.NDArray[np.float64]
    up: int = 1
    down: int = 1
    pad: int = 0


def apply(net: Net) -> Changes:
    """Replace every Interp.

    Raises:
        NotExpressibleError: one that no layer of NNIE equals.
    """
    changes = Changes()
    shapes = infer(net)
    for layer in list(net.layers):
        if layer.type != "Interp":
            continue
        bottom, top = shapes[layer.bottoms[0]], shapes[layer.tops[0]]
        param = layer.params.interp_param
        if param.pad_beg or param.pad_end:
            raise _refused(layer, bottom, top, "it cuts its borders off (pad_beg, pad_end)")
        sizes = f"{bottom[2]}x{bottom[3]} to {top[2]}x{top[3]}"
        if bottom == top:
            for old, new in net.bypass(layer).items():
                changes.rename(old, new)
            changes.lines.append(f"{layer.name} (Interp {sizes}) changes nothing and is gone")
            continue
        _replace(layer, bottom, top)
        changes.lines.append(f"{layer.name}: Interp {sizes} is now a {layer.type}")
    return changes


def _replace(layer: Layer, bottom: Shape, top: Shape) -> None:
    rows, columns = (_axis(bottom[i], top[i]) for i in (2, 3))
    if rows is None or columns is None:
        sides = ((bottom[2], top[2]), (bottom[3], top[3]))
        i, o = next(x for x in sides if _axis(*x) is None)
        factor = max(round((o - 1) / (i - 1)), 1)
        raise _refused(
            layer, bottom, top,
            f"{o} - 1 is no multiple (up to 128) of {i} - 1, so the weights differ from place "
            f"to place; {(i - 1) * factor + 1} would do, or another input size",
        )  # fmt: skip
    if max(rows.up, columns.up) > 1 < max(rows.down, columns.down):
        raise _refused(layer, bottom, top, "it enlarges one side and shrinks the other")
    channels = bottom[1]
    deconvolution = max(rows.up, columns.up) > 1
    params = LayerParameter()
    param = params.convolution_param
    param.num_output = param.group = channels
    param.bias_term = False
    param.kernel_h, param.kernel_w = rows.kernel.size, columns.kernel.size
    param.stride_h, param.stride_w = rows.up * rows.down, columns.up * columns.down
    if rows.pad or columns.pad:
        param.pad_h, param.pad_w = rows.pad, columns.pad
    weight = np.outer(rows.kernel, columns.kernel).astype(np.float32)
    layer.type = "Deconvolution" if deconvolution else "Convolution"
    layer.params = params
    layer.weights = [np.tile(weight, (channels, 1, 1, 1))]


def _axis(size: int, count: int) -> _Axis | None:
    """The layer's axis from `size` to `count` pixels; None where there is none."""
    if size == count:
        return _Axis(np.ones(1))
    if size == 1:
        return _Axis(np.ones(count), up=count) if count <= _LARGEST else None
    if count == 1:
        return _Axis(np.ones(1), down=size) if size <= _LARGEST else None
    factor, rest = divmod(count - 1, size - 1)
    if rest == 0 and 2 * factor - 1 <= _LARGEST:
        reach = np.arange(1 - factor, factor)
        return _Axis(1 - np.abs(reach) / factor, up=factor, pad=factor - 1)
    factor, rest = divmod(size - 1, count - 1)
    if rest == 0 and factor <= _LARGEST:
        return _Axis(np.ones(1), down=factor)
    return None


def _refused(layer: Layer, bottom: Shape, top: Shape, why: str) -> NotExpressibleError:
    return NotExpressibleError(
        f"layer {layer.name} (Interp, {bottom[2]}x{bottom[3]} to {top[2]}x{top[3]}): NNIE has no "
        f"layer like it: {why}; or leave it to the CPU with --outputs {layer.bottoms[0]}"
    )

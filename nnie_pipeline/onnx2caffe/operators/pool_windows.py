"""The windows of an ONNX pooling, and Caffe's pooling that makes them (among more)."""

from __future__ import annotations

import itertools
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from nnie_pipeline.caffe.windows import Pair, Window, pool_output


@dataclass(frozen=True)
class PoolWindows:
    """The windows of an ONNX pooling over a map of `size`: `pads` is [top, left, bottom,
    right] and `count` the number of windows."""

    size: Pair
    kernel: Pair
    stride: Pair
    pads: tuple[int, ...]
    count: Pair


@dataclass(frozen=True)
class PoolFit:
    """A Caffe pooling that makes `made` windows; ONNX's are those from `skip` on."""

    window: Window
    made: Pair
    skip: Pair


def fit_pool(windows: PoolWindows) -> PoolFit | None:
    """Caffe's pad is ONNX's in front; where that leaves too few windows behind, whole strides
    more, whose windows are skipped."""
    more = [
        range(max(0, -(-(k - p) // s)))
        for k, p, s in zip(windows.kernel, windows.pads, windows.stride, strict=False)
    ]
    for skip in itertools.product(*more):
        pad = tuple(p + j * s for p, j, s in zip(windows.pads, skip, windows.stride, strict=False))
        window = Window(windows.kernel, windows.stride, (pad[0], pad[1]))
        made = pool_output(window, windows.size)
        if all(
            made[i] >= skip[i] + windows.count[i]
            and (made[i] - 1) * windows.stride[i] - pad[i] < windows.size[i]
            for i in (0, 1)
        ):
            return PoolFit(window, made, (skip[0], skip[1]))
    return None


def divisor_ratio(
    windows: PoolWindows, outer: PoolWindows, fit: PoolFit, counts_pads: bool
) -> npt.NDArray[np.float64] | None:
    """Caffe's divisor over ONNX's for each of Caffe's windows, (rows, columns); None where
    they are the same.

    Caffe divides by the part of a window that lies on the map and its pad (Caffe 1.0,
    pooling_layer). onnxruntime does so with count_include_pad=1 and else leaves the pad out.
    `windows` are those over ONNX's map, `outer` those over the blob.
    """
    lines = []
    for i in (0, 1):
        kernel, stride, pad = windows.kernel[i], windows.stride[i], fit.window.pad[i]
        start = np.arange(fit.made[i]) * stride - pad
        caffe = np.minimum(start + kernel, outer.size[i] + pad) - start
        start = (np.arange(fit.made[i]) - fit.skip[i]) * stride - windows.pads[i]
        size, behind = windows.size[i], windows.pads[i + 2]
        if counts_pads:
            onnx = np.minimum(start + kernel, size + behind) - start
        else:
            onnx = np.minimum(start + kernel, size) - np.maximum(start, 0)
        number = np.arange(fit.made[i]) - fit.skip[i]
        kept = (number >= 0) & (number < windows.count[i])
        lines.append(np.where(kept, caffe / np.where(kept, onnx, 1), 1.0))
    ratio = np.outer(lines[0], lines[1])
    return None if (ratio == 1).all() else ratio

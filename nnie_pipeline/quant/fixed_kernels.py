"""The compiled inner loop of the chip's convolution in whole numbers."""

from __future__ import annotations

import os
from typing import Any

import numpy as np
import numpy.typing as npt

from nnie_pipeline.quant.gfpq_kernels import compiled, pool

Indices = npt.NDArray[np.int16]
Sums = npt.NDArray[np.int64]


@compiled
def _rows(padded: Any, codes: Any, table: Any, bias: Any, out: Any, geometry: Any) -> None:
    group_inputs, step_y, step_x, apart_y, apart_x, first, per_group = geometry
    for place in range(out.shape[0]):
        start = (first + place) // per_group * group_inputs
        for y in range(out.shape[1]):
            line = out[place, y]
            line[:] = bias[place]
            for i in range(codes.shape[1]):
                for ky in range(codes.shape[2]):
                    row = padded[start + i, y * step_y + ky * apart_y]
                    for kx in range(codes.shape[3]):
                        code = codes[place, i, ky, kx]
                        if code == 0:
                            continue
                        shift = kx * apart_x
                        if code > 0:
                            up = code - 1
                            for x in range(line.size):
                                line[x] += table[row[x * step_x + shift] + up]
                        else:
                            up = -code - 1
                            for x in range(line.size):
                                line[x] -= table[row[x * step_x + shift] + up]


def convolve(
    padded: Indices,
    codes: npt.NDArray[np.int16],
    table: Sums,
    bias: Sums,
    shape: tuple[int, int],
    stride: tuple[int, int],
    dilation: tuple[int, int],
    groups: int,
) -> Sums:
    """Sums of products that are looked up, int64 (outputs, *shape).

    `padded` (inputs, height, width) holds a place of `table` for each number, pads included;
    `codes` (outputs, inputs of a group, kernel) adds its magnitude to that place, and its sign
    to what stands there. `bias` (outputs,) is where the sums start.
    """
    outputs = len(codes)
    out = np.empty((outputs, *shape), np.int64)
    per_group = outputs // groups

    def work(part: slice) -> None:
        geometry = (codes.shape[1], *stride, *dilation, part.start, per_group)
        _rows(padded, codes[part], table, bias[part], out[part], geometry)

    threads = os.cpu_count() or 1
    size = max(1, -(-outputs // (4 * threads)))
    parts = [slice(x, min(x + size, outputs)) for x in range(0, outputs, size)]
    list(pool().map(work, parts))
    return out

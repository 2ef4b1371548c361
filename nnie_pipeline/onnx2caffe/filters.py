"""Convolutions that read a moved map straight from its source, with zeros in the kernel.

A `Selection` is itself a convolution whose weights are 1 and 0, and a convolution that reads
one is a convolution of the source: the taps of channel c lie at its own offset, strides
multiply. Both are exact.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np

from nnie_pipeline.caffe.net import Array, Shape
from nnie_pipeline.caffe.windows import Pair
from nnie_pipeline.onnx2caffe.moves import Places, Selection

LARGEST = 255
"""Largest kernel, extent, stride and pad (HiSVP development guide, table 3-2)."""
GROUPS = 2048
"""Most groups of a convolution (later HiSVP development guide)."""
_ROWS = 2048
_BLOCK = 16


@dataclass(frozen=True, eq=False)
class Filter:
    """A Convolution: `weight` is (outputs, inputs / group, height, width)."""

    weight: Array
    group: int
    stride: Pair
    pad: Pair
    dilation: Pair

    def fits(self, width: int) -> bool:
        """Whether NNIE takes it on a map of this width (HiSVP development guide, table 3-2)."""
        kernel = self.weight.shape[2:]
        extents = [(k - 1) * d + 1 for k, d in zip(kernel, self.dilation, strict=True)]
        blocks = -(-width // (_BLOCK * self.stride[1])) * self.stride[1]
        largest = max(*extents, *self.stride, *self.pad)
        return bool(largest <= LARGEST and kernel[0] * blocks <= _ROWS)

    def cost(self, output: Pair) -> int:
        """Multiplications for an output map of this size."""
        return self.weight.size * math.prod(output)


@dataclass(frozen=True, eq=False)
class _Line:
    """One axis of a Filter; `taps` (kernel, channels) are places in its `length`."""

    taps: Places
    length: int
    stride: int
    pad: int
    dilation: int


def fold(
    weight: Array,
    group: int,
    found: Selection,
    source: Shape,
    size: Pair,
    output: Pair,
    stride: Pair = (1, 1),
    pad: Pair = (0, 0),
    dilation: Pair = (1, 1),
) -> Filter | None:
    """The convolution of the selected map of `size` as one of its source.

    `pad` is what stands above and left of the map; what stands behind it follows from
    `output`. None where there is no such convolution.
    """
    even = found.is_even and found.channels.size == source[1]
    if group != 1 and not even:
        return None
    lines = _lines(found, source, weight.shape[2:], size, output, stride, pad, dilation)
    if lines is None:
        return None
    rows, columns = lines
    inputs = weight.shape[1] if even else source[1]
    wide = np.zeros((weight.shape[0], inputs, rows.length, columns.length), np.float32)
    if even:
        wide[:, :, rows.taps[:, :1], columns.taps[:, 0]] = weight
    else:
        for c, channel in enumerate(found.channels):
            if channel >= 0:
                wide[:, channel, rows.taps[:, c, None], columns.taps[:, c]] += weight[:, c]
    return _filter(wide, group, rows, columns)


def choose(found: Selection, source: Shape, size: Pair) -> Filter | None:
    """The selection itself as a convolution of ones and zeros, in as many groups as it has."""
    lines = _lines(found, source, (1, 1), size, size, (1, 1), (0, 0), (1, 1))
    if lines is None:
        return None
    rows, columns = lines
    count = found.channels.size
    outputs = np.flatnonzero(found.channels >= 0)
    channels = found.channels[outputs]
    group = most_groups(channels, outputs, source[1], count)
    weight = np.zeros((count, source[1] // group, rows.length, columns.length), np.float32)
    weight[
        outputs, channels % (source[1] // group), rows.taps[0, outputs], columns.taps[0, outputs]
    ] = 1
    return _filter(weight, group, rows, columns)


def most_groups(inputs: Places, outputs: Places, channels: int, filters: int) -> int:
    """The most groups that keep every pair (input channel, output channel) in one group."""
    common = math.gcd(channels, filters)
    for count in range(min(common, GROUPS), 1, -1):
        if common % count == 0 and np.array_equal(
            inputs // (channels // count), outputs // (filters // count)
        ):
            return count
    return 1


def _filter(weight: Array, group: int, rows: _Line, columns: _Line) -> Filter:
    return Filter(
        weight, group, (rows.stride, columns.stride), (rows.pad, columns.pad),
        (rows.dilation, columns.dilation),
    )  # fmt: skip


def _lines(
    found: Selection, source: Shape, kernel: Shape, size: Pair, output: Pair, stride: Pair,
    pad: Pair, dilation: Pair,
) -> tuple[_Line, _Line] | None:  # fmt: skip
    lines = []
    used = found.channels >= 0
    for i, offsets in enumerate((found.top, found.left)):
        step = found.stride[i]
        reach = (
            np.arange(output[i])[:, None] * stride[i]
            - pad[i]
            + np.arange(kernel[i]) * (dilation[i])
        )
        beyond = reach[(reach < 0) | (reach >= size[i])]
        if not used.any() or _meets(beyond * step, offsets[used], source[2 + i]):
            return None
        line = _line(
            offsets, source[2 + i], output[i], stride[i] * step, pad[i] * step, kernel[i],
            dilation[i] * step,
        )  # fmt: skip
        if line is None:
            return None
        lines.append(line)
    return lines[0], lines[1]


def _meets(beyond: Places, offsets: Places, size: int) -> bool:
    """Whether what must read as 0 beyond the map is a place of the source."""
    places = np.unique(beyond)[:, None] + np.unique(offsets)
    return bool(((places >= 0) & (places < size)).any())


def _line(
    offsets: Places, size: int, count: int, stride: int, pad: int, kernel: int, dilation: int
) -> _Line | None:
    """The axis with the widest dilation that works; with 1, zeros stand between the taps."""
    first = int(offsets.min())
    taps = np.arange(kernel)[:, None] * dilation + (offsets - first)
    common = int(np.gcd.reduce(taps, axis=None)) or 1
    # A single window may have any stride; a longer one leaves it alone on a long axis.
    strides = {stride, max(stride, min(size, LARGEST))} if count == 1 else {stride}
    for step in range(common, 0, -1):
        if common % step:
            continue
        length = int(taps.max()) // step + 1
        options = [(x, _margins(size, count, x, first - pad, length, step)) for x in strides]
        found = [(sum(m[:2]), x, m) for x, m in options if m is not None]
        if found:
            _, chosen, (front, behind, around) = min(found)
            return _Line(taps // step + front, front + length + behind, chosen, around, step)
    return None


def _margins(
    size: int, count: int, stride: int, first: int, kernel: int, dilation: int
) -> tuple[int, int, int] | None:
    """Zero taps in front and behind, and the pad on both sides, that make Caffe's convolution
    run over exactly `count` windows, the first tap of the first one at `first`.

    Caffe pads both sides alike and rounds down: (size + 2 pad - extent) // stride + 1
    windows. One more zero tap in front takes one more step of pad on both sides.
    """
    fewest = max(0, -(-first // dilation))
    for front in range(fewest, fewest + LARGEST + 1):
        pad = front * dilation - first
        extent = (front + kernel - 1) * dilation + 1
        largest = size + 2 * pad - (count - 1) * stride
        smallest = largest - stride + 1
        if extent > largest:
            continue
        behind = max(0, -(-(smallest - extent) // dilation))
        if extent + behind * dilation <= largest:
            return front, behind, pad
    return None

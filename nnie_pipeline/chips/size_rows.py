"""What each of many input sizes costs: one row a size."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from nnie_pipeline.caffe.net import Net, Shape
from nnie_pipeline.chips.batch_shapes import Ints, picture_input
from nnie_pipeline.chips.chip import Chip
from nnie_pipeline.chips.cost import CONVOLUTIONS, macs, milliseconds, operations, parameters
from nnie_pipeline.chips.memory import plan, temporary_bytes
from nnie_pipeline.chips.quantities import Dims
from nnie_pipeline.chips.segments import on_cpu

SOURCE = (1080, 1920)
"""Height and width of the camera picture in whose pixels anchors are given."""

KNOWN_SIZES = (512, 640, 768, 1024)
"""Square sizes of public RetinaFace networks that ran on NNIE (hanson-young/nniefacelib)."""

_KNOWN_NOTE = "published RetinaFace size"
_MAP_MAKERS = CONVOLUTIONS | {"Pooling", "Upsample", "PassThrough"}


@dataclass(frozen=True)
class Anchors:
    """A detector's anchor boxes: how many a cell at each stride, and the sides in pixels of the
    network's input of the smallest and the largest; None where boxes have no size of their own."""

    levels: Mapping[int, int]
    smallest: float | None = None
    largest: float | None = None

    def count(self, height: int, width: int) -> int:
        """How many there are for an input of this size."""
        return sum(-(-height // s) * -(-width // s) * n for s, n in self.levels.items())


@dataclass(frozen=True)
class SizeRow:
    """One valid input size.

    `outputs` are the network's output blobs with their shapes, `maps` the sizes (height, width)
    that its feature maps have, largest first, without 1x1; `anchors` is the number of anchor boxes
    and `smallest_anchor`, `largest_anchor` are their sides in pixels of a 1920x1080 picture that is
    letterboxed onto this size (all None when not asked for). `macs` are multiply-accumulate
    operations for one picture, `parameters` trained values, `memory_8` and `memory_16` temporary
    memory in bytes at 8 and 16 bit, `ms_8` and `ms_16` estimated milliseconds a picture; see `cost`
    and `memory` for the models.
    """

    height: int
    width: int
    outputs: tuple[tuple[str, Shape], ...]
    maps: tuple[tuple[int, int], ...]
    anchors: int | None
    smallest_anchor: float | None
    largest_anchor: float | None
    macs: int
    parameters: int
    memory_8: int
    memory_16: int
    ms_8: float
    ms_16: float
    note: str = ""

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it; `outputs` maps names to shapes."""
        outputs = {name: list(shape) for name, shape in self.outputs}
        return {**vars(self), "outputs": outputs, "maps": [list(x) for x in self.maps]}


def size_rows(
    net: Net, shapes: Mapping[str, Dims], keep: Ints, chip: Chip, anchors: Anchors | None = None
) -> list[SizeRow]:
    """The rows of the candidates with the indices `keep`.

    Args:
        net: the network.
        shapes: the shape of every value, with one number a candidate size.
        keep: indices of valid candidates.
        chip: the chip that the time is estimated for.
        anchors: a detector's anchor boxes.
    """
    if not keep.size:
        return []
    kept = _only(shapes, keep)
    count = int(keep.size)
    total, block_total, stored = _multiplications(net, kept, count)
    started = operations(net, kept)
    layout = plan(net)
    memory = [_column(temporary_bytes(layout, kept, bits), count) for bits in (8, 16)]
    time = [_column(milliseconds(block_total, started, chip, bits), count) for bits in (8, 16)]
    size = kept[picture_input(net)]
    heights, widths = _column(size[2], count), _column(size[3], count)
    outputs = [(name, [_column(x, count) for x in kept[name]]) for name in net.outputs]
    maps = _maps(net, kept, count)
    sides = anchors or Anchors({})
    return [
        SizeRow(
            height=height,
            width=width,
            outputs=tuple((name, tuple(x[i] for x in dims)) for name, dims in outputs),
            maps=tuple(dict.fromkeys((rows[i], columns[i]) for rows, columns in maps)),
            anchors=None if anchors is None else anchors.count(height, width),
            smallest_anchor=_in_source(sides.smallest, height, width),
            largest_anchor=_in_source(sides.largest, height, width),
            macs=total[i],
            parameters=stored,
            memory_8=memory[0][i],
            memory_16=memory[1][i],
            ms_8=round(time[0][i], 2),
            ms_16=round(time[1][i], 2),
            note=_KNOWN_NOTE if height == width and height in KNOWN_SIZES else "",
        )
        for i, (height, width) in enumerate(zip(heights, widths, strict=True))
    ]


def _multiplications(net: Net, shapes: dict[str, Dims], count: int) -> tuple[list[int], Any, int]:
    """Those of the network, those that the chip does (in blocks), and the trained values."""
    total = np.zeros(count, dtype=np.int64)
    block_total = np.zeros(count, dtype=np.int64)
    stored = 0
    for layer in net.layers:
        bottoms, tops = [shapes[x] for x in layer.bottoms], [shapes[x] for x in layer.tops]
        total += macs(layer, bottoms, tops)
        stored += parameters(layer, bottoms, tops)
        if not on_cpu(layer):
            block_total += macs(layer, bottoms, tops, in_blocks=True)
    return total.tolist(), block_total, stored


def _maps(net: Net, shapes: dict[str, Dims], count: int) -> list[tuple[list[int], list[int]]]:
    """Columns of heights and widths of the feature maps, each pair once, largest first."""
    found: dict[tuple[bytes, bytes], tuple[list[int], list[int]]] = {}
    for layer in net.layers:
        for shape in (shapes[x] for x in layer.tops if layer.type in _MAP_MAKERS):
            if len(shape) == 4:
                rows, columns = (np.broadcast_to(np.asarray(x), (count,)) for x in shape[2:])
                if rows[0] > 1 or columns[0] > 1:
                    key = rows.tobytes(), columns.tobytes()
                    found.setdefault(key, (rows.tolist(), columns.tolist()))
    return sorted(found.values(), key=lambda x: -x[0][0] * x[1][0])


def _in_source(side: float | None, height: int, width: int) -> float | None:
    """A side in pixels of the input as pixels of the source that is letterboxed onto it."""
    if side is None:
        return None
    return round(side / min(height / SOURCE[0], width / SOURCE[1]), 1)


def _only(shapes: Mapping[str, Dims], keep: Ints) -> dict[str, Dims]:
    """The shapes of the kept candidates."""
    return {
        name: tuple(x[keep] if isinstance(x, np.ndarray) else x for x in shape)
        for name, shape in shapes.items()
    }


def _column(values: Any, count: int) -> list[Any]:
    column: list[Any] = np.broadcast_to(np.asarray(values), (count,)).tolist()
    return column

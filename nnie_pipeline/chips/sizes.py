"""The input sizes at which a network works on the chip, with what each costs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

import numpy as np

from nnie_pipeline.caffe.net import Layer, Net, Shape
from nnie_pipeline.caffe.shapes import infer
from nnie_pipeline.chips.batch_rules import Candidates, Mask
from nnie_pipeline.chips.batch_shapes import Ints, infer_all, picture_input
from nnie_pipeline.chips.chip import DEFAULT_CHIP, Chip, find_chip
from nnie_pipeline.chips.cost import macs, milliseconds, operations, parameters
from nnie_pipeline.chips.declared import compared, outside
from nnie_pipeline.chips.memory import plan, temporary_bytes
from nnie_pipeline.chips.quantities import Dims, Site, UnknownShapeError
from nnie_pipeline.chips.rule import INPUT, Rule, rules
from nnie_pipeline.chips.segments import on_cpu
from nnie_pipeline.errors import InputError

_KNOWN_SIZES = (512, 640, 768, 1024)
_KNOWN_NOTE = "used in published RetinaFace work on NNIE"
_LARGEST_SIDE = 4096
_MOST_CANDIDATES = 1 << 20
_ASPECT_TOLERANCE = 0.1
_SEARCH_STEP = 8
_SEARCH_REACH = 256


@dataclass(frozen=True)
class SizeRow:
    """One valid input size.

    `outputs` are the network's output blobs with their shapes, `anchors` the number of anchor
    boxes (None when not asked for), `macs` multiply-accumulate operations for one picture,
    `parameters` trained values, `memory_8` and `memory_16` temporary memory in bytes at 8 and
    16 bit, `ms_8` and `ms_16` estimated milliseconds a picture; see `cost` and `memory` for
    the models.
    """

    height: int
    width: int
    outputs: tuple[tuple[str, Shape], ...]
    anchors: int | None
    macs: int
    parameters: int
    memory_8: int
    memory_16: int
    ms_8: float
    ms_16: float
    note: str = ""

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it; `outputs` maps names to shapes."""
        return {**asdict(self), "outputs": {name: list(shape) for name, shape in self.outputs}}


def valid_sizes(
    net: Net,
    min: int = 128,  # noqa: A002
    max: int = 1280,  # noqa: A002
    step: int = 8,
    square: bool = False,
    aspect: tuple[int, int] | None = None,
    chip: str = DEFAULT_CHIP,
    anchors: Mapping[int, int] | None = None,
) -> list[SizeRow]:
    """All valid fixed input sizes of `net`, by height, then width.

    A size is valid when all layers fit together (Eltwise and Concat agree, a Crop cuts
    nothing, an InnerProduct has as many inputs as at the file's size), no limit of the chip is
    broken, and strides divide: along an axis where all strides divide their maps at the file's
    size they have to; else, where all windows end on the last pixel there, they have to.

    Args:
        net: the network; its first input of four axes is the picture.
        min: smallest side in pixels.
        max: largest side in pixels, up to 4096.
        step: sides are multiples of it.
        square: only sizes with equal sides.
        aspect: (width, height): for every width only the height nearest to this ratio, within
            10 %.
        chip: the chip's name.
        anchors: anchors a cell for each stride, to count anchor boxes.

    Raises:
        InputError: unknown chip, or limits that leave no or too many candidates.
        ShapeError: a layer whose shape is not known.
    """
    found_chip = find_chip(chip)
    sides = _sides(min, max, step)
    heights, widths = (sides, sides) if square else _grid(sides, sides)
    if aspect is not None and (aspect[0] < 1 or aspect[1] < 1):
        raise InputError(f"aspect {aspect[0]}:{aspect[1]} is not a ratio; write 16:9")
    found = infer_all(net, heights, widths)
    keep = np.flatnonzero(_valid(net, found, found_chip)[1:]) + 1
    if aspect is not None:
        keep = _of_aspect(keep, found, net, aspect)
    _confirm(net, found, keep)
    return _rows(net, _only(found.shapes, keep), keep.size, found_chip, anchors or {})


def nearest_valid(
    net: Net, size: tuple[int, int], chip: str = DEFAULT_CHIP
) -> list[tuple[int, int]]:
    """The nearest valid (height, width) below and above `size`, or `size` itself if valid.

    Looks at multiples of 8 up to 256 pixels away and at the file's own size; the sum of both
    sides' distances counts. Empty when nothing is valid there.

    Raises:
        InputError: unknown chip.
        ShapeError: a layer whose shape is not known.
    """
    found_chip = find_chip(chip)
    heights, widths = _grid(_around(size[0]), _around(size[1]))
    heights = np.concatenate([[size[0]], heights])
    widths = np.concatenate([[size[1]], widths])
    found = infer_all(net, heights, widths)
    valid = _valid(net, found, found_chip)
    _confirm(net, found, np.flatnonzero(valid))
    if valid[1]:
        return [size]
    sizes = found.shapes[picture_input(net)]
    rows, columns = np.asarray(sizes[2])[valid], np.asarray(sizes[3])[valid]
    distance = abs(rows - size[0]) + abs(columns - size[1])
    nearest = []
    for side in (
        (rows <= size[0]) & (columns <= size[1]),
        (rows >= size[0]) & (columns >= size[1]),
    ):
        if side.any():
            index = int(np.argmin(np.where(side, distance, np.iinfo(np.int64).max)))
            nearest.append((int(rows[index]), int(columns[index])))
    return nearest


def _confirm(net: Net, found: Candidates, valid: Ints) -> None:
    """Infer the first valid size one by one: what fits at no size is refused there."""
    if valid.size:
        picture = picture_input(net)
        rows, columns = (np.asarray(x) for x in found.shapes[picture][2:])
        size = (int(rows[valid[0]]), int(columns[valid[0]]))
        infer(net, {**net.inputs, picture: (*net.inputs[picture][:2], *size)})


def _sides(smallest: int, largest: int, step: int) -> Ints:
    if not 1 <= smallest <= largest <= _LARGEST_SIDE or step < 1:
        raise InputError(
            f"sides {smallest} to {largest} in steps of {step}: give 1 <= min <= max <= "
            f"{_LARGEST_SIDE} and a step of 1 and up"
        )
    first = -(-smallest // step) * step
    return np.arange(first, largest + 1, step, dtype=np.int64)


def _grid(heights: Ints, widths: Ints) -> tuple[Ints, Ints]:
    if heights.size * widths.size > _MOST_CANDIDATES:
        raise InputError(
            f"{heights.size} x {widths.size} sizes are too many to look at; use a larger step, "
            "square sizes or a smaller range"
        )
    rows, columns = np.meshgrid(heights, widths, indexing="ij")
    return rows.ravel(), columns.ravel()


def _around(side: int) -> Ints:
    first = -(-np.maximum(side - _SEARCH_REACH, 1) // _SEARCH_STEP) * _SEARCH_STEP
    return np.arange(first, side + _SEARCH_REACH + 1, _SEARCH_STEP, dtype=np.int64)


def _valid(net: Net, found: Candidates, chip: Chip) -> Mask:
    """Which candidates are valid; index 0 is the file's own size."""
    valid: Mask = found.ok.copy()
    for axis in (0, 1):
        if found.divides[axis][0]:
            valid &= found.divides[axis]
        elif found.ends_flush[axis][0]:
            valid &= found.ends_flush[axis]
    table = [
        rule
        for rule in rules()
        if rule.severity == "error" and rule.limit is not None and rule.holds_for(chip.nnie)
    ]
    sites = [
        Site(Layer(name, INPUT, [], [name]), [], [found.shapes[name]]) for name in net.inputs
    ] + [
        Site(x, [found.shapes[b] for b in x.bottoms], [found.shapes[t] for t in x.tops])
        for x in net.layers
        if not on_cpu(x)
    ]
    for site in sites:
        for rule in table:
            if rule.concerns(site.layer.type):
                valid &= ~_breaks(rule, site, chip)
    return valid


def _breaks(rule: Rule, site: Site, chip: Chip) -> Mask:
    """Where the size breaks a limit; what does not depend on the size counts for nothing."""
    broken: Mask = np.zeros(1, dtype=np.bool_)
    if rule.limit is None or rule.limit.one_of is not None:
        return broken
    try:
        for _, value, smallest, largest in compared(rule.limit, site, chip):
            if any(isinstance(x, np.ndarray) for x in (value, smallest, largest)):
                broken = broken | np.asarray(outside(value, smallest, largest))
    except UnknownShapeError:
        pass
    return broken


def _of_aspect(keep: Ints, found: Candidates, net: Net, aspect: tuple[int, int]) -> Ints:
    sizes = found.shapes[picture_input(net)]
    rows, columns = np.asarray(sizes[2])[keep], np.asarray(sizes[3])[keep]
    wanted = columns * aspect[1] / aspect[0]
    distance = abs(rows - wanted)
    near = distance <= _ASPECT_TOLERANCE * wanted
    best = [
        int(np.flatnonzero(columns == width)[np.argmin(distance[columns == width])])
        for width in np.unique(columns)
    ]
    chosen = np.array(sorted(i for i in best if near[i]), dtype=np.int64)
    return keep[chosen]


def _only(shapes: Mapping[str, Dims], keep: Ints) -> dict[str, Dims]:
    """The shapes of the kept candidates."""
    return {
        name: tuple(x[keep] if isinstance(x, np.ndarray) else x for x in shape)
        for name, shape in shapes.items()
    }


def _rows(
    net: Net, shapes: dict[str, Dims], count: int, chip: Chip, anchors: Mapping[int, int]
) -> list[SizeRow]:
    if not count:
        return []
    total = np.zeros(count, dtype=np.int64)
    block_total = np.zeros(count, dtype=np.int64)
    stored = 0
    for layer in net.layers:
        bottoms, tops = [shapes[x] for x in layer.bottoms], [shapes[x] for x in layer.tops]
        total += macs(layer, bottoms, tops)
        stored += parameters(layer, bottoms, tops)
        if not on_cpu(layer):
            block_total += macs(layer, bottoms, tops, in_blocks=True)
    started = operations(net, shapes)
    layout = plan(net)
    memory = [_column(temporary_bytes(layout, shapes, bits), count) for bits in (8, 16)]
    time = [_column(milliseconds(block_total, started, chip, bits), count) for bits in (8, 16)]
    size = shapes[picture_input(net)]
    heights, widths = _column(size[2], count), _column(size[3], count)
    outputs = [(name, [_column(x, count) for x in shapes[name]]) for name in net.outputs]
    macs_column = total.tolist()
    return [
        _noted(
            SizeRow(
                height=height,
                width=width,
                outputs=tuple((name, tuple(x[i] for x in dims)) for name, dims in outputs),
                anchors=_anchor_count(height, width, anchors) if anchors else None,
                macs=macs_column[i],
                parameters=stored,
                memory_8=memory[0][i],
                memory_16=memory[1][i],
                ms_8=round(time[0][i], 2),
                ms_16=round(time[1][i], 2),
            )
        )
        for i, (height, width) in enumerate(zip(heights, widths, strict=True))
    ]


def _column(values: Any, count: int) -> list[Any]:
    column: list[Any] = np.broadcast_to(np.asarray(values), (count,)).tolist()
    return column


def _anchor_count(height: int, width: int, anchors: Mapping[int, int]) -> int:
    return sum(-(-height // s) * -(-width // s) * n for s, n in anchors.items())


def _noted(row: SizeRow) -> SizeRow:
    known = row.height == row.width and row.height in _KNOWN_SIZES
    return replace(row, note=_KNOWN_NOTE) if known else row

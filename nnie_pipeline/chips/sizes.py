"""The input sizes at which a network works on the chip, with what each costs."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from nnie_pipeline.caffe.net import Layer, Net
from nnie_pipeline.caffe.shapes import infer
from nnie_pipeline.chips.batch_rules import Candidates, Mask
from nnie_pipeline.chips.batch_shapes import Ints, infer_all, picture_input
from nnie_pipeline.chips.chip import DEFAULT_CHIP, Chip, find_chip
from nnie_pipeline.chips.declared import compared, outside
from nnie_pipeline.chips.quantities import Site, UnknownShapeError
from nnie_pipeline.chips.rule import INPUT, Rule, rules
from nnie_pipeline.chips.segments import on_cpu
from nnie_pipeline.chips.size_rows import Anchors, SizeRow, size_rows
from nnie_pipeline.errors import InputError

_LARGEST_SIDE = 4096
_MOST_CANDIDATES = 1 << 20
_ASPECT_TOLERANCE = 0.1
_SEARCH_STEP = 8
_SEARCH_REACH = 256


def valid_sizes(
    net: Net,
    min: int = 128,  # noqa: A002
    max: int = 1280,  # noqa: A002
    step: int = 8,
    square: bool = False,
    aspect: tuple[int, int] | None = None,
    chip: str = DEFAULT_CHIP,
    anchors: Anchors | None = None,
    at: Sequence[tuple[int, int]] = (),
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
        anchors: a detector's anchor boxes, to count and to measure them.
        at: only these (height, width); then no other limit counts.

    Raises:
        InputError: unknown chip, or limits that leave no or too many candidates.
        ShapeError: a layer whose shape is not known.
    """
    found_chip = find_chip(chip)
    if at:
        heights, widths = _given(at)
    else:
        sides = _sides(min, max, step)
        heights, widths = (sides, sides) if square else _grid(sides, sides)
    if aspect is not None and (aspect[0] < 1 or aspect[1] < 1):
        raise InputError(f"aspect {aspect[0]}:{aspect[1]} is not a ratio; write 16:9")
    found = infer_all(net, heights, widths)
    keep = np.flatnonzero(_valid(net, found, found_chip)[1:]) + 1
    if aspect is not None and not at:
        keep = _of_aspect(keep, found, net, aspect)
    _confirm(net, found, keep)
    return size_rows(net, found.shapes, keep, found_chip, anchors)


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


def _given(sizes: Sequence[tuple[int, int]]) -> tuple[Ints, Ints]:
    unique = sorted(set(sizes))
    for height, width in unique:
        if not (1 <= height <= _LARGEST_SIDE and 1 <= width <= _LARGEST_SIDE):
            raise InputError(f"size {height}x{width}: a side must be 1 to {_LARGEST_SIDE} pixels")
    both = np.array(unique, dtype=np.int64).reshape(-1, 2)
    return both[:, 0], both[:, 1]


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

"""What a `Move` is in terms of Caffe's layers: found by a guess from a few places, then proven
by building the whole index again and comparing."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from nnie_pipeline.caffe.net import Shape
from nnie_pipeline.caffe.windows import Pair
from nnie_pipeline.onnx2caffe.graph import Index, Move

Places = npt.NDArray[np.int64]


@dataclass(frozen=True, eq=False)
class Selection:
    """A map whose pixel (c, y, x) is the source's (channels[c], y * stride + top[c],
    x * stride + left[c]), or 0 where that lies outside or channels[c] is -1."""

    channels: Places
    top: Places
    left: Places
    stride: Pair

    @property
    def is_even(self) -> bool:
        """Whether every channel stays in its place and is cut in the same way."""
        own = bool((self.channels == np.arange(self.channels.size)).all())
        return own and len(set(self.top)) == len(set(self.left)) == 1


def whole(channels: int) -> Selection:
    """The map as it is."""
    zero = np.zeros(channels, np.int64)
    return Selection(np.arange(channels), zero, zero, (1, 1))


@dataclass(frozen=True)
class Cut:
    """The places `start` to `end` of one axis."""

    axis: int
    start: int
    end: int


def keeps_order(move: Move) -> bool:
    """Whether the value is the blob, perhaps in another shape."""
    flat = move.index.reshape(-1)
    size = math.prod(move.shape)
    return (
        flat.size == size
        and flat[0] == 0
        and flat[-1] == size - 1
        and np.array_equal(flat, np.arange(size))
    )


def is_channels_last(move: Move) -> bool:
    """Whether the value is the blob with its axes in the order 0, 2, 3, 1."""
    if len(move.shape) != 4 or move.index.ndim != 4:
        return False
    return np.array_equal(move.index, Move.of("", move.shape).index.transpose(0, 2, 3, 1))


def selection(move: Move) -> Selection | None:
    """The move as a cut, a stride, a padding and an order of channels; None if it is more."""
    index, shape = move.index, move.shape
    if len(shape) != 4 or index.ndim != 4 or shape[0] != 1 or index.shape[0] != 1:
        return None
    count, height, width = index.shape[1:]
    rows, columns = shape[2:]
    flat = index.reshape(count, -1)
    known = flat >= 0
    place = known.argmax(axis=1)
    channel, rest = np.divmod(flat[np.arange(count), place].astype(np.int64), rows * columns)
    stride = (_step(index[0], 1, columns), _step(index[0], 2, 1))
    if stride[0] < 1 or stride[1] < 1:
        return None
    y, x = np.divmod(place, width)
    empty = ~known.any(axis=1)
    top = np.where(empty, 0, rest // columns - y * stride[0])
    left = np.where(empty, 0, rest % columns - x * stride[1])
    if not empty.all():
        top[empty], left[empty] = top[~empty][0], left[~empty][0]
    found = Selection(np.where(empty, -1, channel), top, left, stride)
    same = np.array_equal(_index_of(found, shape, (height, width)), index[0])
    return found if same else None


def margins(move: Move) -> tuple[int, int, int, int] | None:
    """Rows and columns of zeros above, left, below and right of the whole blob; None where
    the move is more than that."""
    found = selection(move)
    if found is None or not found.is_even or found.stride != (1, 1):
        return None
    if found.channels.size != move.shape[1]:
        return None
    above, left = -int(found.top[0]), -int(found.left[0])
    below = move.index.shape[2] - move.shape[2] - above
    right = move.index.shape[3] - move.shape[3] - left
    return (above, left, below, right) if min(above, left, below, right) >= 0 else None


def _step(index: Index, axis: int, unit: int) -> int:
    """Source rows (unit: their length) or columns from one output row or column to the next.

    1 where no two neighbours are known, 0 where it is no whole positive number.
    """
    lower, upper = (index[:, :-1], index[:, 1:]) if axis == 1 else (index[..., :-1], index[..., 1:])
    both = (lower >= 0) & (upper >= 0)
    if not both.any():
        return 1
    first = np.unravel_index(both.argmax(), both.shape)
    step, rest = divmod(int(upper[first]) - int(lower[first]), unit)
    return 0 if rest else max(step, 0)


def _index_of(found: Selection, shape: Shape, size: Pair) -> Index:
    rows, columns = shape[2:]
    y = np.arange(size[0]) * found.stride[0] + found.top[:, None]
    x = np.arange(size[1]) * found.stride[1] + found.left[:, None]
    on_rows = (y >= 0) & (y < rows) & (found.channels >= 0)[:, None]
    on_columns = (x >= 0) & (x < columns)
    start = (found.channels[:, None] * rows + y) * columns
    places = start.astype(np.int32)[:, :, None] + x.astype(np.int32)[:, None, :]
    inside = on_rows[:, :, None] & on_columns[:, None, :]
    return np.where(inside, places, np.int32(-1))


def spread(move: Move) -> Places | None:
    """The move as blocks: entry (c, i, j) is the source channel whose pixel (y, x) stands at
    (c, y * block + i, x * block + j); None if it is more than that."""
    index, shape = move.index, move.shape
    if len(shape) != 4 or index.ndim != 4 or shape[0] != 1 or index.shape[0] != 1:
        return None
    count, height, width = index.shape[1:]
    rows, columns = shape[2:]
    if height % rows or width % columns:
        return None
    blocks = index.reshape(count, rows, height // rows, columns, width // columns)
    first = blocks[:, 0, :, 0, :]
    pixels = np.arange(rows * columns, dtype=np.int32).reshape(1, rows, 1, columns, 1)
    if (first < 0).any() or (first % (rows * columns)).any():
        return None
    if not np.array_equal(blocks, first[:, None, :, None, :] + pixels):
        return None
    return first.astype(np.int64) // (rows * columns)


def cut(move: Move) -> Cut | None:
    """The move as a range of one axis; None if it is more."""
    index, shape = move.index, move.shape
    if index.ndim != len(shape):
        return None
    shorter = [i for i, (a, b) in enumerate(zip(index.shape, shape, strict=True)) if a < b]
    if len(shorter) != 1 or index.size == 0 or index.flat[0] < 0:
        return None
    axis = shorter[0]
    start = int(np.unravel_index(int(index.flat[0]), shape)[axis])
    end = start + index.shape[axis]
    line = np.moveaxis(Move.of("", shape).index, axis, 0)[start:end]
    same = np.array_equal(line, np.moveaxis(index, axis, 0))
    return Cut(axis, start, end) if same else None

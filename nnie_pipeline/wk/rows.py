"""Rows of the layer table beside sizes of a Caffe network."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING

from nnie_pipeline.wk.model import RECORD_TYPES, WkRecord

if TYPE_CHECKING:
    from nnie_pipeline.caffe.net import Shape

INPUT, OUTPUT, SOFTMAX, RESHAPE, ELTWISE = 44, 45, 16, 39, 27
"""Types of rows."""

CONVOLUTIONS = (0, 1)
KNOWN = frozenset({*CONVOLUTIONS, 3, 7, SOFTMAX, ELTWISE, RESHAPE, INPUT, OUTPUT})
"""Types of rows of which it is known for which layers they stand."""


def row_text(number: int, row: WkRecord) -> str:
    """A row in words."""
    name = RECORD_TYPES.get(row.type, f"an unknown type ({row.type})")
    return f"row {number} of the layer table is {name} of {size_text(row)}"


def size_text(row: WkRecord) -> str:
    """Channels, height and width in words."""
    return f"{row.channels}x{row.height}x{row.width}"


def fits(row: WkRecord, shape: Shape) -> bool:
    """Whether a row has the size of a blob; Reshape and Softmax may have a plane as one row."""
    size = (row.channels, row.height, row.width)
    if len(shape) != 4:
        return math.prod(size) == math.prod(shape[1:])
    flat = (shape[1], 1, shape[2] * shape[3])
    return size == tuple(shape[1:]) or (row.type in (RESHAPE, SOFTMAX) and size == flat)


def softmax_axis(row: WkRecord, shape: Shape, axis: int) -> bool | None:
    """Whether the row can be a Softmax over this axis of a blob; None where that is not told."""
    length = shape[axis]
    if length not in (row.channels, row.height, row.width):
        return False
    # With a whole plane as one row only channels are an axis of the network too.
    flat = row.height == 1 and len(shape) == 4 and shape[2] > 1 and shape[3] > 1
    return True if flat and axis == 1 and length != row.width else None

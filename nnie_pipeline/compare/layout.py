"""Values in another layout than the reference: padded rows, missing axes, other shapes."""

from __future__ import annotations

import math

import numpy as np

from nnie_pipeline.caffe.net import Array

Shape = tuple[int, ...]

ALIGNMENTS = (16, 32, 256)
"""Bytes to which a board aligns rows: DDR3, DDR4, and what the HiSVP API reference recommends
for DDR4."""

_WORD = 4


def row_length(width: int, alignment: int) -> int:
    """Words from one row of int32 to the next, in rows of `width` words."""
    return -(-width * _WORD // alignment) * alignment // _WORD


def padded_shape(shape: Shape, alignment: int) -> Shape:
    """The shape of a blob with the padding of its rows (the last axis)."""
    return (*shape[:-1], row_length(shape[-1], alignment))


def without_padding(values: Array, shape: Shape) -> tuple[Array, int] | None:
    """`values` (any shape) as a blob of `shape`: `(blob, alignment)`, 0 where nothing was cut.

    None where the count fits neither the shape nor the shape with padded rows.
    """
    if values.size == math.prod(shape):
        return values.reshape(shape), 0
    for alignment in ALIGNMENTS if shape else ():
        padded = padded_shape(shape, alignment)
        if values.size == math.prod(padded):
            return np.ascontiguousarray(values.reshape(padded)[..., : shape[-1]]), alignment
    return None


def counts(shape: Shape) -> set[int]:
    """How many numbers a file of this blob may hold, padded or not."""
    if not shape:
        return {1}
    return {math.prod(shape), *(math.prod(padded_shape(shape, x)) for x in ALIGNMENTS)}


def bare(shape: Shape) -> Shape:
    """The shape without the axes of one element before it."""
    while len(shape) > 1 and shape[0] == 1:
        shape = shape[1:]
    return shape


def same_blob(left: Shape, right: Shape) -> bool:
    """Whether two shapes say the same of a blob: only axes of one element differ."""
    return [x for x in left if x != 1] == [x for x in right if x != 1]


def explain(left: Shape, right: Shape) -> str:
    """Why a blob may have one shape here and another there, in words."""
    a, b = bare(left), bare(right)
    if (len(a) == 1) != (len(b) == 1):
        side, held, whole = ("left", a, b) if len(a) == 1 else ("right", b, a)
        return (
            f"the {side} file holds {held[0]} numbers where {math.prod(whole)} belong, or "
            f"{math.prod(padded_shape(whole, 16))} with rows padded to 16 bytes; it is another "
            "layer's or is cut off"
        )
    if len(a) == len(b) == 1:
        return f"{a[0]} numbers against {b[0]}: one file is another layer's or is cut off"
    if len(a) == 3 and len(b) == 3:
        if a == (b[0], b[2], b[1]):
            return "height and width are exchanged"
        if a == (b[2], b[0], b[1]) or b == (a[2], a[0], a[1]):
            return "one side has the channels last; NNIE and Caffe have them first"
        if a[0] == b[0]:
            return _maps(a[1:], b[1:])
        if a[1:] == b[1:]:
            return f"{a[0]} channels against {b[0]}: the layer differs between the networks"
    if math.prod(a) == math.prod(b):
        return "as many values in another shape: a Reshape, Permute or Flatten differs"
    return "the dumps are of different networks or sizes: dump both again"


def _maps(left: Shape, right: Shape) -> str:
    steps = [b - a for a, b in zip(left, right, strict=True)]
    if max(abs(x) for x in steps) == 1:
        return (
            "off by one: one side rounds a pooling up (as Caffe and NNIE do) and the other down, "
            "or one of them crops"
        )
    return "the dumps are of different input sizes: dump both again"

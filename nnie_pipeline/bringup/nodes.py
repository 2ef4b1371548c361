"""The output nodes of a compiled network, in the order in which the .wk lists them.

That order is the prototxt's: measured on public .wk files (the nine outputs of RetinaFace
mnet.25 at 640x640 stand in exactly its prototxt's order).
"""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass

from nnie_pipeline.caffe.net import Net, Shape
from nnie_pipeline.errors import InputError

ALIGNMENTS = (16, 32)
"""Bytes to which rows are aligned: DDR3 and DDR4 (HiSVP API reference, u32Stride)."""

_WORD = 4


@dataclass(frozen=True)
class Node:
    """One output node; `number` is its place among the outputs, from 0.

    `name` is the blob's; `layers` are the layers that make it, the last first: the mapper may
    call the node after any. `shape` is Caffe's without N. Rows are `width` words of 4 bytes.
    """

    number: int
    name: str
    layers: tuple[str, ...]
    shape: Shape

    @property
    def width(self) -> int:
        """Words of a row, without padding."""
        return self.shape[-1]

    @property
    def height(self) -> int:
        """Rows of a channel."""
        return self.shape[-2] if len(self.shape) > 1 else 1

    @property
    def channels(self) -> int:
        """What is before height and width."""
        return math.prod(self.shape[:-2])

    @property
    def count(self) -> int:
        """Words without padding."""
        return math.prod(self.shape)

    def stride(self, alignment: int) -> int:
        """Bytes from one row to the next, rows aligned to so many bytes."""
        return aligned(self.width * _WORD, alignment)

    @property
    def file(self) -> str:
        """The golden file: as the SDK's sample names it, with the number as the layer's."""
        return f"seg0_layer{self.number}_output0_inst.linear.hex"


def aligned(size: int, alignment: int) -> int:
    """`size` bytes rounded up to a multiple of `alignment`."""
    return -(-size // alignment) * alignment


def nodes_of(net: Net, shapes: Mapping[str, Shape]) -> tuple[Node, ...]:
    """The output nodes of a network whose values have these shapes (N first).

    Raises:
        InputError: N is not 1, or an output has no axis after it.
    """
    result = []
    for number, value in enumerate(net.outputs):
        shape = shapes[value]
        if len(shape) < 2 or shape[0] != 1:
            raise InputError(
                f"output {value} has the shape {list(shape)}; the kit is made for networks of one "
                "picture a run: N has to be 1"
            )
        result.append(Node(number, value, _layers(net, value), shape[1:]))
    return tuple(result)


def _layers(net: Net, value: str) -> tuple[str, ...]:
    """The layer that makes `value` and, behind in-place ones, the layer that they change."""
    producers = net.producers()
    names: list[str] = []
    while value in producers:
        layer = producers[value]
        names.append(layer.name)
        if not layer.in_place:
            break
        value = layer.bottoms[0]
    return tuple(names)

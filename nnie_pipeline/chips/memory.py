"""The temporary memory of a compiled network, as the mapper lays it out.

The model, read off the layer tables of public compiled files and equal to the size in their
headers (mnet at 640x640: 3,686,400 bytes at 8 bit, 7,372,800 at 16 bit):
- a blob has 1 (8 bit) or 2 (16 bit) bytes an element, 4 when it is an output or is read by a
  layer that is not computed at that width (Concat, Reshape, Softmax, ...);
- every row begins on a multiple of 16 bytes;
- BatchNorm, Scale and activations behind a convolution write its blob, Concat's bottoms lie in
  its top;
- a blob takes the lowest gap that holds it among the memory used so far, else new memory behind
  all of it; it is free after its last reader, an output as soon as it is made.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from nnie_pipeline.caffe.net import Net
from nnie_pipeline.chips.cost import FUSED, MULTIPLIERS, REMOVED, is_fused
from nnie_pipeline.chips.quantities import Dim, Dims, blocks

Bytes: TypeAlias = npt.NDArray[np.int64]

_ROW = 16
_NARROW = MULTIPLIERS | FUSED | REMOVED | {"Pooling", "Eltwise"}


@dataclass(frozen=True)
class Plan:
    """Which blobs are stored, at which step each is made (0: the inputs, then the layers) and
    last read, and which are stored with 4 bytes an element."""

    made: dict[str, int]
    last: dict[str, int]
    wide: frozenset[str]


def plan(net: Net) -> Plan:
    """What has to be stored while the network runs."""
    home = _homes(net)
    made = dict.fromkeys(net.inputs, 0)
    last: dict[str, int] = dict.fromkeys(net.inputs, 0)
    wide: set[str] = set()
    for step, layer in enumerate(net.layers, start=1):
        for top in layer.tops:
            for blob in home[top]:
                made.setdefault(blob, step)
                last[blob] = max(last.get(blob, 0), step)
        for bottom in layer.bottoms:
            for blob in home[bottom]:
                last[blob] = max(last[blob], step)
                if layer.type not in _NARROW and blob not in net.inputs:
                    wide.add(blob)
    wide.update(blob for output in net.outputs for blob in home[output])
    return Plan(made, last, frozenset(wide))


def temporary_bytes(what: Plan, shapes: dict[str, Dims], bits: int) -> Bytes:
    """The temporary memory in bytes, one value a candidate size.

    Args:
        what: see `plan`.
        shapes: the shape of every value; at least one holds arrays.
        bits: 8 or 16.
    """
    steps: dict[int, list[str]] = {}
    for blob, step in what.made.items():
        steps.setdefault(step, []).append(blob)
    live: dict[str, tuple[Bytes, Bytes]] = {}
    used = np.zeros(1, dtype=np.int64)
    for step in sorted(set(steps) | set(what.last.values())):
        for blob in steps.get(step, []):
            size = stored_bytes(shapes[blob], 4 if blob in what.wide else bits // 8)
            begin = _lowest_gap(list(live.values()), used, size)
            used = np.maximum(used, begin + size)
            live[blob] = (begin, begin + size)
        live = {blob: place for blob, place in live.items() if what.last[blob] > step}
    return used


def stored_bytes(shape: Dims, element: int) -> Bytes:
    """Bytes of a blob whose rows begin on multiples of 16 bytes."""
    row: Dim = shape[-1] if len(shape) == 4 else math.prod(shape)
    rows = math.prod(shape[:-1]) if len(shape) == 4 else 1
    return np.atleast_1d(np.asarray(rows * blocks(row * element, _ROW) * _ROW))


def _lowest_gap(live: list[tuple[Bytes, Bytes]], used: Bytes, size: Bytes) -> Bytes:
    best = used
    for begin in [np.zeros(1, dtype=np.int64), *(end for _, end in live)]:
        end = begin + size
        fits = (end <= used) & (begin < best)
        for other_begin, other_end in live:
            fits = fits & ((end <= other_begin) | (begin >= other_end))
        best = np.where(fits, begin, best)
    return best


def _homes(net: Net) -> dict[str, tuple[str, ...]]:
    """For every value, the stored blobs that hold it: itself, the convolution's blob that a
    fused layer writes, or all bottoms of a Concat."""
    makers = net.producers()
    readers = net.consumers()
    home: dict[str, tuple[str, ...]] = {x: (x,) for x in net.inputs}
    for layer in net.layers:
        first = layer.bottoms[:1]
        fused = is_fused(layer, makers) and len(readers[first[0]]) == 1
        shared = first if fused or layer.type in REMOVED else []
        if layer.type == "Concat":
            shared = layer.bottoms
        for top in layer.tops:
            home[top] = tuple(x for bottom in shared for x in home[bottom]) or (top,)
    return home

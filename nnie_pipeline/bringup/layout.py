"""Which output node holds which part of a head's values, and how."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from nnie_pipeline.bringup.nodes import Node
from nnie_pipeline.errors import InputError
from nnie_pipeline.heads.embedding import Embedding
from nnie_pipeline.heads.maps import cells
from nnie_pipeline.heads.registry import Head
from nnie_pipeline.heads.retinaface import RetinaFace
from nnie_pipeline.heads.retinaface_mxnet import RetinaFaceMxnet
from nnie_pipeline.heads.scrfd import SCRFD
from nnie_pipeline.heads.ultraface import UltraFace


@dataclass(frozen=True)
class Part:
    """The values of one kind: `values` an anchor, the node of every level, and whether a node
    holds them anchor by anchor (rows: h * w * anchors, values) or as maps (anchors * values, h, w).
    """  # fmt: skip

    name: str
    values: int
    nodes: tuple[int, ...]
    rows: tuple[bool, ...]


@dataclass(frozen=True)
class Level:
    """One stride: its map, and how many anchors a cell has."""

    stride: int
    height: int
    width: int
    anchors: int


@dataclass(frozen=True)
class Layout:
    """All levels and parts of a detector."""

    levels: tuple[Level, ...]
    parts: tuple[Part, ...]


def layout_of(
    head: Head, nodes: Sequence[Node], order: Sequence[str], size: tuple[int, int]
) -> Layout:
    """Where a detector finds its values for an input of `size` (height, width).

    `order` names the nodes in the order of the head's outputs; of the RetinaFace heads the order
    does not matter.

    Raises:
        InputError: the nodes' number or shapes do not fit the head.
    """
    parts = _parts(head)
    levels = tuple(
        Level(stride, *cells(size, stride), anchors) for stride, anchors in _levels(head).items()
    )
    given = [next(x for x in nodes if x.name == name) for name in order]
    if len(given) != len(parts) * len(levels):
        raise InputError(
            f"the head reads {len(parts) * len(levels)} outputs, the network has {len(given)}; "
            "correct the spec's outputs"
        )
    by_shape = isinstance(head, RetinaFace | RetinaFaceMxnet)
    result = []
    for part_number, (name, values) in enumerate(parts.items()):
        found: list[tuple[int, bool]] = []
        for level_number, level in enumerate(levels):
            maps = (level.anchors * values, level.height, level.width)
            rows = (level.anchors * level.height * level.width, values)
            node = (
                next((x for x in given if x.shape == maps), None)
                if by_shape
                else given[part_number * len(levels) + level_number]
            )
            if node is None or node.shape not in (maps, rows):
                raise InputError(
                    f"the {name} output at stride {level.stride} should be {maps}; no output of "
                    "the network fits; correct the spec's outputs or head"
                )
            found.append((node.number, node.shape == rows))
        nodes_and_rows = tuple(zip(*found, strict=True))
        result.append(Part(name, values, nodes_and_rows[0], nodes_and_rows[1]))
    return Layout(levels, tuple(result))


def _levels(head: Head) -> Mapping[int, int]:
    if isinstance(head, RetinaFace | RetinaFaceMxnet | UltraFace):
        return {x: len(y) for x, y in zip(head.strides, head.min_sizes, strict=True)}
    if isinstance(head, SCRFD):
        return dict.fromkeys(head.strides, head.anchors)
    assert not isinstance(head, Embedding)
    return dict.fromkeys(head.strides, 1)


def _parts(head: Head) -> dict[str, int]:
    if isinstance(head, RetinaFace | RetinaFaceMxnet):
        return {"box": 4, "class": 2, "landmark": 10}
    if isinstance(head, SCRFD):
        marks = {"landmark": 2 * head.landmarks} if head.landmarks else {}
        return {"score": 1, "box": 4, **marks}
    if isinstance(head, UltraFace):
        return {"class": 2, "box": 4}
    assert not isinstance(head, Embedding)
    return {"box": 4, "objectness": 1, "class": head.classes}

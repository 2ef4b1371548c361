"""Which layers NNIE runs, which the CPU, and the segments this makes.

HiSVP development guide, section 3.2: Proposal and Custom layers and layers whose name ends in
`_cpu` run on the CPU; what lies between them are NNIE segments. Blobs named `*_report` are among
the network's outputs.
"""

from __future__ import annotations

from dataclasses import dataclass

from nnie_pipeline.caffe.net import Layer, Net

CPU_TYPES = frozenset({"Proposal", "Custom"})
CPU_MARKER = "_cpu"
HP_MARKER = "_hp"


@dataclass(frozen=True)
class Segment:
    """One NNIE segment: its layers by their place in the network, and its input and output
    blobs (names of the `Net`), each in execution order."""

    number: int
    layers: tuple[int, ...]
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]


def on_cpu(layer: Layer) -> bool:
    """Whether the layer runs on the CPU."""
    return layer.type in CPU_TYPES or layer.name.endswith(CPU_MARKER)


def is_marked_cpu(layer: Layer) -> bool:
    """Whether only its name sends the layer to the CPU."""
    return on_cpu(layer) and layer.type not in CPU_TYPES


def segments(net: Net) -> list[Segment]:
    """The NNIE segments, numbered from 1 in the order in which they run.

    A layer belongs to the segment after the last CPU layer on any way to it.
    """
    depth: dict[str, int] = dict.fromkeys(net.inputs, 0)
    made_by_cpu: set[str] = set()
    members: dict[int, list[int]] = {}
    for index, layer in enumerate(net.layers):
        cpu = on_cpu(layer)
        level = max((depth.get(x, 0) for x in layer.bottoms), default=0)
        if not cpu:
            level = max(
                (depth.get(x, 0) + (x in made_by_cpu) for x in layer.bottoms), default=level
            )
            members.setdefault(level, []).append(index)
        for top in layer.tops:
            depth[top] = level
            if cpu:
                made_by_cpu.add(top)
    return [
        _segment(net, number, members[level])
        for number, level in enumerate(sorted(members), start=1)
    ]


def _segment(net: Net, number: int, members: list[int]) -> Segment:
    inside = set(members)
    layers = [net.layers[i] for i in members]
    made = dict.fromkeys(top for layer in layers for top in layer.tops)
    read_outside = {
        x for i, layer in enumerate(net.layers) if i not in inside for x in layer.bottoms
    }
    kept = read_outside | set(net.outputs)
    return Segment(
        number,
        tuple(members),
        tuple(dict.fromkeys(x for layer in layers for x in layer.bottoms if x not in made)),
        tuple(x for x in made if x in kept),
    )

"""What a rule may look at: the network with its shapes, names, segments and the chip."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from nnie_pipeline.caffe.files import caffe_names
from nnie_pipeline.caffe.net import Layer, Net, Shape
from nnie_pipeline.caffe.shapes import ShapeError, layer_shapes
from nnie_pipeline.chips.chip import Chip
from nnie_pipeline.chips.quantities import Site
from nnie_pipeline.chips.rule import INPUT
from nnie_pipeline.chips.segments import Segment, segments


@dataclass(frozen=True)
class Place:
    """A layer (or, as type "Input", a network input), its place in the network (inputs -1),
    its site, and what is wrong with its shapes ("" if nothing)."""

    index: int
    layer: Layer
    site: Site
    problem: str = ""


@dataclass(frozen=True)
class View:
    """A network as the rules see it; `names` are the blob names of the written prototxt."""

    net: Net
    chip: Chip
    places: tuple[Place, ...]
    names: dict[str, str]
    producers: dict[str, Layer]
    consumers: dict[str, list[Layer]]
    segments: tuple[Segment, ...]


def view_of(net: Net, chip: Chip, known: frozenset[str]) -> View:
    """Look at `net`; shapes behind a layer that cannot be inferred are unknown, not an error.

    Args:
        net: the network.
        chip: the chip it is for.
        known: the layer types that NNIE knows; the rest raise no shape problem.
    """
    return View(
        net,
        chip,
        tuple(_places(net, known)),
        caffe_names(net),
        net.producers(),
        net.consumers(),
        tuple(segments(net)),
    )


def _places(net: Net, known: frozenset[str]) -> Iterator[Place]:
    shapes: dict[str, Shape | None] = {}
    readers = net.consumers()
    for name, shape in net.inputs.items():
        shapes[name] = shape
        layer = Layer(name, INPUT, [], [name])
        types = frozenset(x.type for x in readers.get(name, []))
        yield Place(-1, layer, Site(layer, [], [shape], types))
    for index, layer in enumerate(net.layers):
        bottoms = [shapes.get(x) for x in layer.bottoms]
        tops, problem = _tops(layer, bottoms, known)
        shapes.update(zip(layer.tops, tops, strict=True))
        yield Place(index, layer, Site(layer, bottoms, tops), problem)


def _tops(
    layer: Layer, bottoms: list[Shape | None], known: frozenset[str]
) -> tuple[list[Shape | None], str]:
    unknown: list[Shape | None] = [None] * len(layer.tops)
    if any(x is None for x in bottoms):
        return unknown, ""
    try:
        tops = layer_shapes(layer, [x for x in bottoms if x is not None])
    except ShapeError as error:
        silent = layer.type not in known or layer.type in {"Parameter", "Proposal"}
        return unknown, "" if silent else str(error)
    if len(tops) != len(layer.tops):
        return unknown, f"{layer.type} with {len(layer.tops)} tops makes {len(tops)}"
    return [*tops], ""

"""The drawing of the network: an operation of the chip a box, a layer a line in it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

from nnie_pipeline.report import formats
from nnie_pipeline.report.build import Build
from nnie_pipeline.report.layered import Drawing, layered
from nnie_pipeline.report.records import LayerDifference
from nnie_pipeline.report.runs import Run, find_runs, plain
from nnie_pipeline.report.study_records import DrawnLayer, DrawnValue, NetworkDrawn
from nnie_pipeline.report.texts import Texts

LIMITS = (0.999, 0.99, 0.95, 0.9)
"""A cosine of at least the first has the first colour, and so on."""

MOST = 600
"""Layers that are drawn."""

_WIDTH, _LINE, _PAD, _INPUT = 232.0, 19.0, 3.0, 24.0
_LONGEST = 25
_FORMATS = {"8": {"steps": 16, "top": 127}, "16": {"steps": 128, "top": 1407}}

WORDS = (
    "shape_in", "shape_out", "detail", "cosine", "values", "output", "input", "axis", "positive",
    "levels", "inside", "end", "operation", "histogram",
)  # fmt: skip
"""Texts that the page's script needs."""


@dataclass(frozen=True)
class Line:
    """A layer in its box: where, what is written, its colour class, and what is read aloud."""

    index: int
    y: float
    name: str
    short: str
    cosine: str
    level: str
    label: str


@dataclass(frozen=True)
class Box:
    """An operation of the chip."""

    x: float
    y: float
    height: float
    lines: tuple[Line, ...]


def context(build: Build, t: Texts) -> dict[str, Any]:
    """The boxes, the edges as paths of SVG, and what the page's script shows of a layer."""
    network = build.read(NetworkDrawn)
    runs, missing = find_runs(build, t)
    count = len(network.layers)
    if not 0 < count <= MOST:
        return {"runs": runs, "boxes": (), "count": count, "most": MOST}
    boxes, edges = _joined(network)
    sizes = [(_WIDTH, len(x) * _LINE + 2 * _PAD) for x in boxes]
    inputs = list(network.inputs)
    drawing = layered([(_WIDTH, _INPUT)] * len(inputs) + sizes, edges)
    found = [_matched(run, network) for run in runs]
    first = found[0] if found else {}
    places = drawing.places
    return {
        "runs": runs,
        "missing": [] if runs else missing,
        "count": count,
        "most": MOST,
        "limits": LIMITS,
        "levels": [f"c{i}" for i in range(len(LIMITS) + 1)],
        "line": _LINE,
        "box_width": _WIDTH,
        "width": round(drawing.width + 2),
        "height": round(drawing.height + 2),
        "inputs": [
            {"x": x, "y": y, "name": _short(name), "shape": formats.shape(network.inputs[name])}
            for name, (x, y) in zip(inputs, places, strict=False)
        ],
        "input_height": _INPUT,
        "boxes": [
            Box(x, y, size[1], tuple(_lines(members, network, first, t)))
            for members, (x, y), size in zip(boxes, places[len(inputs) :], sizes, strict=True)
        ],
        "paths": [_path(drawing, i) for i in range(len(edges))],
        "data": _data(network, runs, found, t),
    }


def _joined(network: NetworkDrawn) -> tuple[list[list[int]], list[tuple[int, int]]]:
    """The layers of each box, and the edges between boxes, inputs before them."""
    numbers: dict[int, int] = {}
    boxes: list[list[int]] = []
    for i, layer in enumerate(network.layers):
        box = numbers.setdefault(layer.operation, len(numbers))
        if box == len(boxes):
            boxes.append([])
        boxes[box].append(i)
    makers = {name: i for i, name in enumerate(network.inputs)}
    edges: dict[tuple[int, int], None] = {}
    for layer in network.layers:
        own = len(network.inputs) + numbers[layer.operation]
        for bottom in layer.bottoms:
            if makers.get(bottom, own) < own:
                edges[makers[bottom], own] = None
        makers.update((top, own) for top in layer.tops)
    return boxes, list(edges)


def _matched(run: Run, network: NetworkDrawn) -> dict[int, LayerDifference]:
    """What the run has of each layer, by its number; of several tops the last."""
    by_name: dict[str, LayerDifference] = {plain(x.name): x for x in run.layers}
    names = [plain(x.name) for x in network.layers]
    return {i: by_name[x] for i, x in enumerate(names) if x in by_name}


def _lines(
    members: list[int], network: NetworkDrawn, run: dict[int, LayerDifference], t: Texts
) -> list[Line]:
    lines = []
    for place, i in enumerate(members):
        layer = network.layers[i]
        cosine = run[i].cosine if i in run else None
        lines.append(
            Line(
                i, _PAD + place * _LINE, layer.name, _short(layer.name),
                formats.cosine(cosine)[:6], level(cosine),
                str(t("drawing.label", name=layer.name, type=layer.type)),
            )
        )  # fmt: skip
    return lines


def level(cosine: float | None) -> str:
    """The class of a cosine's colour; empty where there is none."""
    if cosine is None or math.isnan(cosine):
        return ""
    return f"c{sum(cosine < x for x in LIMITS)}"


def _short(name: str) -> str:
    """A name that fits into a box: its middle is left out."""
    if len(name) <= _LONGEST:
        return name
    half = (_LONGEST - 1) // 2
    return f"{name[:half]}…{name[-half:]}"


def _path(drawing: Drawing, number: int) -> str:
    """A smooth line through the points of an edge: across between rows, straight along boxes."""
    points = [(round(x, 1), round(y, 1)) for x, y in drawing.paths[number]]
    said = f"M{points[0][0]:g} {points[0][1]:g}"
    for i in range(0, len(points) - 1, 2):
        (x, y), (u, v) = points[i], points[i + 1]
        middle = round((y + v) / 2, 1)
        said += f"C{x:g} {middle:g} {u:g} {middle:g} {u:g} {v:g}"
        if i + 2 < len(points):
            said += f"L{points[i + 2][0]:g} {points[i + 2][1]:g}"
    return said


def _data(
    network: NetworkDrawn, runs: list[Run], found: list[dict[int, LayerDifference]], t: Texts
) -> dict[str, Any]:
    """What the script needs: layers, values by number, readers of values, words."""
    names = list(network.values)
    number = {name: i for i, name in enumerate(names)}
    return {
        "runs": [{"key": x.key, "name": x.name, "bits": x.bits} for x in runs],
        "limits": LIMITS,
        "formats": _FORMATS,
        "layers": [_layer(i, x, network, number, found) for i, x in enumerate(network.layers)],
        "values": [_value(network.values[x], x) for x in names],
        "readers": _readers(network, number),
        "words": {x: str(t(f"drawing.{x}")) for x in WORDS},
    }


def _layer(
    index: int,
    layer: DrawnLayer,
    network: NetworkDrawn,
    number: dict[str, int],
    found: list[dict[int, LayerDifference]],
) -> dict[str, Any]:
    members = [x.name for x in network.layers if x.operation == layer.operation]
    return {
        "name": layer.name,
        "type": layer.type,
        "detail": layer.detail,
        "bottoms": [number[x] for x in layer.bottoms if x in number],
        "tops": [number[x] for x in layer.tops if x in number],
        "operation": members if len(members) > 1 else [],
        "z": {k: v[layer.name] for k, v in network.reads.items() if layer.name in v},
        "runs": [
            None if index not in x else [_cosine(x[index].cosine), _finite(x[index].sqnr_db, 4)]
            for x in found
        ],
    }


def _readers(network: NetworkDrawn, number: dict[str, int]) -> dict[int, dict[str, Any]]:
    """Of each value the first layer that quantises it, and with which z."""
    found: dict[int, dict[str, Any]] = {}
    for layer in network.layers:
        for place, bottom in enumerate(layer.bottoms):
            z = {
                bits: table[layer.name][place]
                for bits, table in network.reads.items()
                if place < len(table.get(layer.name, ()))
            }
            if z and bottom in number:
                found.setdefault(number[bottom], {"layer": layer.name, "z": z})
    return found


def _value(value: DrawnValue, name: str) -> dict[str, Any]:
    numbers = (value.least, value.largest, value.mean, value.deviation)
    most = max((*value.positive, *value.negative), default=1) or 1
    return {
        "name": name,
        "shape": formats.shape(value.shape),
        "numbers": [_finite(x, 5) for x in numbers],
        "zeros": round(value.zeros, 4),
        "below": round(value.below, 4),
        "first": value.first,
        "positive": _scaled(value.positive, most),
        "negative": _scaled(value.negative, most),
    }


def _scaled(counts: tuple[int, ...], most: int) -> list[int]:
    """Counts in 255ths of the largest, none of them lost: short to write, and fine enough."""
    return [math.ceil(255 * x / most) for x in counts] if any(counts) else []


def _cosine(value: float | None) -> float | None:
    """Rounded down: what is not 1 must not become 1."""
    if value is None or not math.isfinite(value):
        return None
    return math.floor(value * 1e7) / 1e7


def _finite(value: float | None, digits: int) -> float | None:
    """With so many digits that count; None where it is not finite."""
    if value is None or not math.isfinite(value):
        return None
    return float(f"{value:.{digits}g}")

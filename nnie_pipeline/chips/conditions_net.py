"""Conditions on names, markers, segments and the network as a whole."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from nnie_pipeline.caffe.net import REPORT_MARKER
from nnie_pipeline.chips.conditions import Values, layer_rule, net_rule
from nnie_pipeline.chips.segments import (
    CPU_MARKER,
    HP_MARKER,
    Segment,
    on_cpu,
)
from nnie_pipeline.chips.view import Place, View

_ROI_TYPES = frozenset({"ROIPooling", "PSROIPooling"})


@net_rule("input-count")
def _input_count(view: View) -> Iterable[tuple[int, Values]]:
    count, limit = len(view.net.inputs), view.chip.limits["net_inputs"]
    if count > limit:
        yield -1, {"count": count, "limit": limit}


@layer_rule("matmul-alone")
def _matmul_alone(view: View, _: Place) -> Iterable[Values]:
    others = len(view.net.layers) - 1
    if others:
        yield {"others": others}


@net_rule("segments")
def _segments(view: View) -> Iterable[tuple[int, Values]]:
    limit = view.chip.limits["segments"]
    for segment in view.segments[limit:]:
        yield segment.layers[0], {"count": segment.number, "limit": limit}


@net_rule("segment-inputs")
def _segment_inputs(view: View) -> Iterable[tuple[int, Values]]:
    limit = view.chip.limits["segment_inputs"]
    for segment in view.segments:
        if len(segment.inputs) > limit:
            first = segment.inputs[limit]
            reader = next(i for i in segment.layers if first in view.net.layers[i].bottoms)
            yield reader, _over(segment, len(segment.inputs), limit)


@net_rule("segment-outputs")
def _segment_outputs(view: View) -> Iterable[tuple[int, Values]]:
    limit = view.chip.limits["segment_outputs"]
    for segment in view.segments:
        if len(segment.outputs) > limit:
            first = segment.outputs[limit]
            maker = next(i for i in segment.layers if first in view.net.layers[i].tops)
            yield maker, _over(segment, len(segment.outputs), limit)


@net_rule("segment-roi-layers")
def _segment_roi_layers(view: View) -> Iterable[tuple[int, Values]]:
    limit = view.chip.limits["segment_roi_layers"]
    for segment in view.segments:
        found = [i for i in segment.layers if view.net.layers[i].type in _ROI_TYPES]
        if len(found) > limit:
            yield found[limit], _over(segment, len(found), limit)


@net_rule("roi-layers")
def _roi_layers(view: View) -> Iterable[tuple[int, Values]]:
    limit = view.chip.limits["roi_layers"]
    found = [i for i, x in enumerate(view.net.layers) if x.type in _ROI_TYPES and not on_cpu(x)]
    if len(found) > limit:
        yield found[limit], {"count": len(found), "limit": limit}


def _over(segment: Segment, count: int, limit: int) -> Values:
    return {"segment": segment.number, "count": count, "limit": limit}


@net_rule("name-length")
def _name_length(view: View) -> Iterable[tuple[int, Values]]:
    limit = view.chip.limits["name_bytes"]
    for index, name in _wk_names(view):
        if len(name.encode()) > limit:
            values = {"blob": name, "count": len(name.encode()), "cut": _cut(name, limit)}
            yield index, {**values, "limit": limit}


@net_rule("name-collision")
def _name_collision(view: View) -> Iterable[tuple[int, Values]]:
    limit = view.chip.limits["name_bytes"]
    seen: dict[str, str] = {}
    for index, name in _wk_names(view):
        cut = _cut(name, limit)
        other = seen.setdefault(cut, name)
        if other != name:
            yield index, {"blob": name, "other": other, "cut": cut, "limit": limit}


@net_rule("name-dump-collision")
def _name_dump_collision(view: View) -> Iterable[tuple[int, Values]]:
    seen: dict[str, str] = {}
    for index, layer in enumerate(view.net.layers):
        for name in dict.fromkeys(view.names[x] for x in layer.tops):
            dumped = name.replace("/", "_")
            other = seen.setdefault(dumped, name)
            if other != name:
                yield index, {"blob": name, "other": other, "dumped": dumped}


def _cut(name: str, limit: int) -> str:
    return name.encode()[:limit].decode(errors="ignore")


def _wk_names(view: View) -> Iterator[tuple[int, str]]:
    """Names of the blobs that enter or leave a segment, each with its maker's place."""
    maker = {top: i for i, layer in enumerate(view.net.layers) for top in layer.tops}
    blobs = [x for segment in view.segments for x in (*segment.inputs, *segment.outputs)]
    for blob in dict.fromkeys(blobs):
        yield maker.get(blob, -1), view.names[blob]


@layer_rule("name-duplicate")
def _name_duplicate(view: View, place: Place) -> Iterable[Values]:
    same = [i for i, x in enumerate(view.net.layers) if x.name == place.layer.name]
    if len(same) > 1 and place.index == same[1]:
        yield {"count": len(same), "name": place.layer.name}


@layer_rule("name-ascii")
def _name_ascii(view: View, place: Place) -> Iterable[Values]:
    for name in _own_names(view, place):
        bad = [x for x in name if not " " < x <= "~"]
        if bad:
            yield {"name": name, "character": ascii(bad[0])}


@layer_rule("name-slash")
def _name_slash(view: View, place: Place) -> Iterable[Values]:
    for name in _own_names(view, place):
        if "/" in name:
            yield {"name": name, "dumped": name.replace("/", "_")}


def _own_names(view: View, place: Place) -> Iterable[str]:
    return dict.fromkeys([place.layer.name, *(view.names[x] for x in place.layer.tops)])


def _reported_tops(view: View, place: Place) -> Iterator[str]:
    """Tops of the layer whose written name ends in _report."""
    for top in place.layer.tops:
        if view.names[top].endswith(REPORT_MARKER):
            yield top


@layer_rule("marker-report-custom")
def _report_custom(view: View, place: Place) -> Iterable[Values]:
    for top in _reported_tops(view, place):
        yield {"blob": view.names[top]}


@layer_rule("marker-report-idle")
def _report_idle(view: View, place: Place) -> Iterable[Values]:
    if place.layer.type == "Input":
        maker = "an input"
    elif on_cpu(place.layer) and place.layer.type != "Custom":
        maker = "a layer that runs on the CPU"
    else:
        return
    for top in _reported_tops(view, place):
        yield {"blob": view.names[top], "maker": maker}


@layer_rule("marker-report-redundant")
def _report_redundant(view: View, place: Place) -> Iterable[Values]:
    for top in _reported_tops(view, place):
        if all(on_cpu(x) for x in view.consumers.get(top, [])):
            yield {"blob": view.names[top]}


@layer_rule("marker-report-in-place")
def _report_in_place(view: View, place: Place) -> Iterable[Values]:
    for top in _reported_tops(view, place):
        for reader in view.consumers.get(top, []):
            if reader.in_place:
                yield {"blob": view.names[top], "layer": reader.name}


@layer_rule("marker-place")
def _marker_place(view: View, place: Place) -> Iterable[Values]:
    name = place.layer.name
    tops = [view.names[x] for x in place.layer.tops]
    for marker in (HP_MARKER, CPU_MARKER):
        for top in tops:
            if top.endswith(marker) and not name.endswith(marker):
                yield _misplaced(marker, "top", top, "layer's name")
    if name.endswith(REPORT_MARKER) and not any(x.endswith(REPORT_MARKER) for x in tops):
        yield _misplaced(REPORT_MARKER, "name", name, "top")


def _misplaced(marker: str, found: str, name: str, wanted: str) -> Values:
    return {"marker": marker, "found": found, "name": name, "wanted": wanted}


@layer_rule("marker-hp")
def _marker_hp(_: View, place: Place) -> Iterable[Values]:
    if place.layer.name.endswith(HP_MARKER):
        yield {}

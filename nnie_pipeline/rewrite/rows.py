"""Two networks side by side: which layer became which, and the pass that did it.

A layer is followed by its name from pass to pass. Both sides are written alike, as
`caffe.files.write_net` writes a prototxt, with the sizes of the weights as a comment.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
from google.protobuf import text_format

from nnie_pipeline.caffe.caffe_pb2 import LayerParameter, NetParameter
from nnie_pipeline.caffe.files import caffe_names
from nnie_pipeline.caffe.net import Layer, Net
from nnie_pipeline.rewrite.run import Rewritten

ASKED = "asked for"
"""Stands for a pass where the command line did it: the size and the outputs."""

ORDER = "canonical-order"
IN_PLACE = "in-place-activations"

_PUNCTUATION = ",:;()"


@dataclass(frozen=True)
class Line:
    """A line of prototxt; `changed` when the other side has it not."""

    text: str
    changed: bool


@dataclass(frozen=True)
class Why:
    """A pass that changed the layer, and what it said of it."""

    name: str
    lines: tuple[str, ...]


@dataclass(frozen=True)
class Row:
    """A layer of either network or of both.

    `kind` is "same", "changed", "removed", "added", "moved" (it stands here now) or "left" (it
    stood here before; both sides are empty). `place` says where a moved layer was or is.
    """

    kind: str
    name: str
    before: tuple[Line, ...]
    after: tuple[Line, ...]
    why: tuple[Why, ...]
    place: str = ""


@dataclass
class _Track:
    """One layer on its way: itself in the first and the last network, if it is there."""

    first: Layer | None = None
    last: Layer | None = None
    touched: list[tuple[str, frozenset[str], str]] = field(default_factory=list)


def side_by_side(given: Net, result: Rewritten) -> list[Row]:
    """The rows from top to bottom; the first is the header with inputs and outputs.

    `given` is the network as its file has it, before a size or outputs were asked for.
    """
    tracks = _follow(given, result)
    said = {x.name: _by_word(x.changed) for x in result.passes}
    names = caffe_names(given), caffe_names(result.net)
    old = [x for x in tracks if x.first is not None]
    position = {id(x.last): x for x in tracks if x.last is not None}
    new = [position[id(x)] for x in result.net.layers]
    rows = [_header(given, result)]
    matcher = difflib.SequenceMatcher(
        None, [id(x) for x in old], [id(x) for x in new], autojunk=False
    )
    for kind, a, b, c, d in matcher.get_opcodes():
        if kind == "equal":
            rows += [_pair(x, "same", names, said, "") for x in new[c:d]]
            continue
        for track in old[a:b]:
            rows.append(_gone(track, new, names, said))
        for i, track in enumerate(new[c:d], start=c):
            rows.append(_here(track, old, new[i - 1] if i else None, names, said))
    return rows


def _follow(given: Net, result: Rewritten) -> list[_Track]:
    first = result.passes[0].before if result.passes else result.net
    tracks = [_Track(first=x) for x in given.layers]
    now = {x.name: track for x, track in zip(given.layers, tracks, strict=True)}
    steps: list[tuple[str, Net, Net, Mapping[str, str]]] = [(ASKED, given, first, {})]
    afters = [x.before for x in result.passes[1:]] + [result.net]
    for item, after in zip(result.passes, afters, strict=True):
        steps.append((item.name, item.before, after, item.renamed))
    for name, before, after, renamed in steps:
        old = {renamed.get(x.name, x.name): x for x in before.layers}
        following: dict[str, _Track] = {}
        for layer in after.layers:
            earlier = old.get(layer.name)
            if earlier is None:
                track = _Track()
                tracks.append(track)
                track.touched.append((name, frozenset({"layer"}), layer.name))
            else:
                track = now[earlier.name]
                if parts := _differing(earlier, layer):
                    track.touched.append((name, parts, earlier.name))
            following[layer.name] = track
        for layer in old.values():
            if renamed.get(layer.name, layer.name) not in following:
                now[layer.name].touched.append((name, frozenset({"layer"}), layer.name))
        now = following
    for layer in result.net.layers:
        now[layer.name].last = layer
    return tracks


def _differing(before: Layer, after: Layer) -> frozenset[str]:
    same = {
        "name": before.name == after.name,
        "type": before.type == after.type,
        "bottom": before.bottoms == after.bottoms,
        "top": before.tops == after.tops,
        "params": before.params == after.params,
        "weights": _same_weights(before, after),
    }
    return frozenset(x for x, equal in same.items() if not equal)


def _same_weights(before: Layer, after: Layer) -> bool:
    return len(before.weights) == len(after.weights) and all(
        x is y or np.array_equal(x, y) for x, y in zip(before.weights, after.weights, strict=True)
    )


def _pair(
    track: _Track,
    kind: str,
    names: tuple[dict[str, str], dict[str, str]],
    said: Mapping[str, Mapping[str, list[str]]],
    place: str,
) -> Row:
    """A row of a layer that both networks have."""
    assert track.first is not None
    assert track.last is not None
    before, after = _message(track.first, names[0]), _message(track.last, names[1])
    parts = {
        x
        for x in ("name", "type", "bottom", "top")
        if getattr(before, x) != getattr(after, x)
    }  # fmt: skip
    if track.first.params != track.last.params:
        parts.add("params")
    new_values = not _same_weights(track.first, track.last)
    if new_values:
        parts.add("weights")
    left, right = _marked(_text(before, track.first), _text(after, track.last, new_values))
    if kind == "same" and parts:
        kind = "changed"
    return Row(kind, track.last.name, left, right, _why(track, parts, said), place)


def _gone(
    track: _Track,
    new: Sequence[_Track],
    names: tuple[dict[str, str], dict[str, str]],
    said: Mapping[str, Mapping[str, list[str]]],
) -> Row:
    assert track.first is not None
    if track.last is not None:
        index = next(i for i, x in enumerate(new) if x is track)
        behind = new[index - 1].last if index else None
        place = f"now behind {behind.name if behind else 'the inputs'}"
        return Row("left", track.last.name, (), (), (), place)
    text = _text(_message(track.first, names[0]), track.first)
    lines = tuple(Line(x, True) for x in text)
    return Row("removed", track.first.name, lines, (), _why(track, {"layer"}, said))


def _here(
    track: _Track,
    old: Sequence[_Track],
    behind: _Track | None,
    names: tuple[dict[str, str], dict[str, str]],
    said: Mapping[str, Mapping[str, list[str]]],
) -> Row:
    assert track.last is not None
    if track.first is None:
        text = _text(_message(track.last, names[1]), track.last)
        lines = tuple(Line(x, True) for x in text)
        return Row("added", track.last.name, (), lines, _why(track, {"layer"}, said))
    index = next(i for i, x in enumerate(old) if x is track)
    earlier = old[index - 1].first if index else None
    place = f"stood behind {earlier.name if earlier else 'the inputs'}"
    row = _pair(track, "moved", names, said, place)
    names_by_then = [track.first.name, *(x[2] for x in track.touched)]
    moves = [y for x in dict.fromkeys(names_by_then) for y in _about(x, ORDER, said)]
    why = (Why(ORDER, tuple(moves)),) if moves else ()
    return Row(row.kind, row.name, row.before, row.after, (*why, *row.why), place)


def _why(
    track: _Track, parts: Iterable[str], said: Mapping[str, Mapping[str, list[str]]]
) -> tuple[Why, ...]:
    wanted = set(parts)
    found: dict[str, dict[str, None]] = {}
    for name, touched, layer in track.touched:
        if wanted & touched:
            found.setdefault(name, {}).update(dict.fromkeys(_about(layer, name, said)))
    if len(found) > 1 and not found.get(IN_PLACE, {"said"}):
        # What was in place in the file is taken apart and put together again: not worth a word.
        del found[IN_PLACE]
    return tuple(Why(name, tuple(lines)) for name, lines in found.items())


def _about(layer: str, name: str, said: Mapping[str, Mapping[str, list[str]]]) -> list[str]:
    """What the pass `name` said of the layer: at most three lines, those about itself first."""
    lines = said.get(name, {}).get(layer, [])
    own = [x for x in lines if x.split(maxsplit=1)[0].strip(_PUNCTUATION) == layer]
    return (own or lines)[:3]


def _by_word(lines: Iterable[str]) -> dict[str, list[str]]:
    """The lines that each word stands in: names of layers are words."""
    found: dict[str, list[str]] = {}
    for line in lines:
        for word in dict.fromkeys(x.strip(_PUNCTUATION) for x in line.split()):
            found.setdefault(word, []).append(line)
    return found


def _header(given: Net, result: Rewritten) -> Row:
    left, right = _marked(_header_text(given), _header_text(result.net))
    changed = any(x.changed for x in (*left, *right))
    renaming = [x for x in result.passes if x.before.outputs != _after(x.name, result).outputs]
    why = [
        Why(x.name, tuple(y for y in x.changed if y.startswith("the outputs"))) for x in renaming
    ]
    first = result.passes[0].before if result.passes else result.net
    if (given.inputs, given.outputs) != (first.inputs, first.outputs):
        why.insert(0, Why(ASKED, ("the size, and the outputs named or grouped by kind",)))
    return Row("changed" if changed else "same", "inputs and outputs", left, right, tuple(why))


def _after(name: str, result: Rewritten) -> Net:
    afters = [x.before for x in result.passes[1:]] + [result.net]
    return next(y for x, y in zip(result.passes, afters, strict=True) if x.name == name)


def _header_text(net: Net) -> list[str]:
    names = caffe_names(net)
    proto = NetParameter(name=net.name)
    for value, shape in net.inputs.items():
        proto.input.append(names[value])
        proto.input_shape.add().dim.extend(shape)
    lines = text_format.MessageToString(proto).splitlines()
    return lines + [f"# output: {names[x]}" for x in net.outputs]


def _message(layer: Layer, names: Mapping[str, str]) -> LayerParameter:
    entry = LayerParameter()
    entry.CopyFrom(layer.params)
    entry.name, entry.type = layer.name, layer.type
    entry.bottom.extend(names[x] for x in layer.bottoms)
    entry.top.extend(names[x] for x in layer.tops)
    return entry


def _text(entry: LayerParameter, layer: Layer, new_values: bool = False) -> list[str]:
    lines = text_format.MessageToString(entry).splitlines()
    if layer.weights:
        sizes = ", ".join("x".join(map(str, x.shape)) for x in layer.weights)
        lines.append(f"# weights: {sizes}{' (new values)' if new_values else ''}")
    return lines


def _marked(
    before: Sequence[str], after: Sequence[str]
) -> tuple[tuple[Line, ...], tuple[Line, ...]]:
    matcher = difflib.SequenceMatcher(None, before, after, autojunk=False)
    left, right = [True] * len(before), [True] * len(after)
    for block in matcher.get_matching_blocks():
        left[block.a : block.a + block.size] = [False] * block.size
        right[block.b : block.b + block.size] = [False] * block.size
    return (
        tuple(Line(x, y) for x, y in zip(before, left, strict=True)),
        tuple(Line(x, y) for x, y in zip(after, right, strict=True)),
    )

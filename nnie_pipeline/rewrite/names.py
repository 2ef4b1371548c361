"""Names of at most 31 characters, unique, ASCII, without `/`.

A node name in a compiled file has 32 bytes with its end mark (HiSVP API reference); longer
ones are cut, so that three outputs face_rpn_cls_prob_reshape_stride32, 16 and 8 become one
name (seen in public .wk files). A long name keeps its beginning and its end, where names
differ, and so the mark `_report`, `_hp` or `_cpu` at its end.
"""

from __future__ import annotations

import re

from nnie_pipeline.caffe.files import caffe_names
from nnie_pipeline.caffe.net import Net
from nnie_pipeline.rewrite.base import Changes
from nnie_pipeline.rewrite.marks import ALL_MARKERS

LONGEST = 31
REASON = (
    "a name in a compiled file has 31 characters, and longer ones become equal when they are cut; "
    "a / does not survive in the names of dumps"
)


def apply(net: Net) -> Changes:
    """Rename layers and blobs that need it."""
    changes = Changes()
    marked = net.mark_outputs()
    makers = net.producers()
    layers = _short([x.name for x in net.layers])
    for layer in net.layers:
        if layers[layer.name] != layer.name:
            changes.layers[layer.name] = layers[layer.name]
            layer.name = layers[layer.name]
    blobs = caffe_names(net)
    # A blob is called as its layer where it was before.
    short = _short(list(dict.fromkeys(blobs.values())), layers)
    for value, blob in blobs.items():
        new = short[blob]
        if value != blob:
            new += f"@{makers[value].name if value in makers else 'input'}"
        if new != value:
            changes.values[value] = new
    _rename_all(net, changes.values)
    for old, new in marked.items():
        changes.values[old] = changes.values.pop(new, new)
    changes.lines = [
        f"{old} is now {new}" for old, new in {**changes.layers, **changes.values}.items()
    ]
    return changes


def _rename_all(net: Net, renamed: dict[str, str]) -> None:
    """Rename several values at once, so that a new name may be another's old one."""

    def new(values: list[str]) -> list[str]:
        return [renamed.get(x, x) for x in values]

    net.inputs = {renamed.get(k, k): v for k, v in net.inputs.items()}
    net.outputs = new(net.outputs)
    for layer in net.layers:
        layer.bottoms, layer.tops = new(layer.bottoms), new(layer.tops)


def _short(names: list[str], preferred: dict[str, str] | None = None) -> dict[str, str]:
    """A valid name for each of `names`; names that are valid already keep theirs."""
    result = {x: x for x in names if _clean(x) == x and len(x) <= LONGEST}
    used = set(result)
    for name in names:
        if name in result:
            continue
        wish = (preferred or {}).get(name) or _squeeze(_clean(name), LONGEST)
        candidate, number = wish, 1
        marker = next((x for x in ALL_MARKERS if name.endswith(x)), "")
        while candidate in used:
            number += 1
            tail = f"_{number}{marker}"
            base = _clean(name.removesuffix(marker))
            candidate = _squeeze(base, LONGEST - len(tail)) + tail
        used.add(candidate)
        result[name] = candidate
    return result


def _clean(name: str) -> str:
    return re.sub(r"[^A-Za-z0-9_.\-]", "_", name)


def _squeeze(name: str, longest: int) -> str:
    if len(name) <= longest:
        return name
    head = (longest - 1) // 2
    return f"{name[:head]}_{name[-(longest - head - 1) :]}"

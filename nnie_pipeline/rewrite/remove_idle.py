"""Layers that do nothing at inference are taken out: Dropout, Split and Silence.

Given:   d = Dropout(x);  a, b = Split(d);  s = Sigmoid(a);  Silence(s)
Result:  readers of b read x

Caffe inserts Split by itself where a blob has several readers; Silence only hides a blob
from the outputs, so that what only it reads goes with it; Dropout copies when it does not
train (Caffe 1.0, dropout_layer).
"""

from __future__ import annotations

from nnie_pipeline.caffe.net import Net
from nnie_pipeline.rewrite.base import Changes

REASON = "Dropout, Split and Silence do nothing at inference"


def apply(net: Net) -> Changes:
    """Take out every such layer."""
    changes = Changes()
    if any(x.type == "Silence" for x in net.layers):
        before = list(net.layers)
        net.drop_unused()
        kept = {id(x) for x in net.layers}
        changes.lines += [f"{x.name} ({x.type}) is gone" for x in before if id(x) not in kept]
    for layer in list(net.layers):
        if layer.type in ("Dropout", "Split"):
            for old, new in net.bypass(layer).items():
                changes.rename(old, new)
            _restore_name(net, layer.bottoms[0], layer.tops[0], changes)
            changes.lines.append(f"{layer.name} ({layer.type}) is gone")
    return changes


def _restore_name(net: Net, kept: str, top: str, changes: Changes) -> None:
    """Call a value BLOB@LAYER just BLOB when nothing overwrites the blob any more."""
    if kept.startswith(f"{top}@") and top not in net.values() and kept not in net.inputs:
        net.rename(kept, top)
        changes.rename(kept, top)

"""Layers that do nothing at inference are taken out: Dropout, Split and Silence.

Given:   d = Dropout(x);  a, b = Split(d);  Silence(a)
Result:  readers of b read x

Caffe inserts Split by itself where a blob has several readers; Silence only hides a blob
from the outputs; Dropout copies when it does not train (Caffe 1.0, dropout_layer).
"""

from __future__ import annotations

from nnie_pipeline.caffe.net import Net
from nnie_pipeline.rewrite.base import Changes

REASON = "Dropout, Split and Silence do nothing at inference"


def apply(net: Net) -> Changes:
    """Take out every such layer."""
    changes = Changes()
    for layer in list(net.layers):
        if layer.type == "Silence":
            net.layers = [x for x in net.layers if x is not layer]
        elif layer.type in ("Dropout", "Split"):
            for old, new in net.bypass(layer).items():
                changes.rename(old, new)
        else:
            continue
        changes.lines.append(f"{layer.name} ({layer.type}) is gone")
    return changes

"""A BatchNorm that stays says that it uses the stored statistics.

Given:   y = BatchNorm(x)
Result:  y = BatchNorm(x) {use_global_stats: true}

The HiSVP development guide wants it written (table 3-2). It changes nothing: Caffe uses the stored
statistics in its test phase where nothing is written (Caffe 1.0, batch_norm_layer). Where a file
says false, the statistics are those of the picture; that stays, and `nnie check` refuses it.
"""

from __future__ import annotations

from nnie_pipeline.caffe.net import Net
from nnie_pipeline.rewrite.base import Changes

REASON = "the guide wants use_global_stats: true written in a BatchNorm (HiSVP guide, table 3-2)"


def apply(net: Net) -> Changes:
    """Write it wherever nothing is written."""
    changes = Changes()
    for layer in net.layers:
        param = layer.params.batch_norm_param
        if layer.type == "BatchNorm" and not param.HasField("use_global_stats"):
            param.use_global_stats = True
            changes.lines.append(f"{layer.name} (BatchNorm): use_global_stats: true is written")
    return changes

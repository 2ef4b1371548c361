"""What NNIE cannot compute at the end of a network is cut off, with all behind it.

Given:   loc = Permute(conv) {order: 0 2 3 1};  ...;  out = DetectionOutput(loc, conf, prior)
Result:  outputs loc and conf

PriorBox and DetectionOutput have no place on the chip and every public SSD guide deletes them
(HiSVP development guide, FAQ of SSD; TextBoxes++ on NNIE, 2018-10); Permute knows the order
0, 2, 3, 1 only (HiSVP development guide, table 3-2). The outputs that are left are reported:
the rest is the board program's work.
"""

from __future__ import annotations

from nnie_pipeline.caffe.net import Layer, Net
from nnie_pipeline.rewrite.base import Changes

REASON = "PriorBox, DetectionOutput and Permutes other than 0, 2, 3, 1 run on the CPU"

_CPU = frozenset({"ArgMax", "DetectionOutput", "PriorBox"})


def apply(net: Net) -> Changes:
    """Cut behind the last values that NNIE can make."""
    changes = Changes()
    lost: set[str] = set()
    cut: list[Layer] = []
    for layer in net.layers:
        if _impossible(layer) or lost.intersection(layer.bottoms):
            cut.append(layer)
            lost.update(layer.tops)
    if not cut:
        return changes
    gone = {id(x) for x in cut}
    kept = [x for x in net.layers if id(x) not in gone]
    made = {x for layer in kept for x in layer.tops}
    ends = [x for layer in cut for x in layer.bottoms if x in made and layer.type != "PriorBox"]
    outputs = [x for x in net.outputs if x not in lost]
    net.outputs = list(dict.fromkeys([*outputs, *ends]))
    net.layers = kept
    changes.lines = [f"{x.name} ({x.type}) is cut off" for x in cut]
    changes.lines.append(f"the outputs are now {', '.join(net.outputs)}")
    return changes


def _impossible(layer: Layer) -> bool:
    if layer.type == "Permute":
        order = list(layer.params.permute_param.order)
        return order not in ([0, 2, 3, 1], sorted(order))
    return layer.type in _CPU

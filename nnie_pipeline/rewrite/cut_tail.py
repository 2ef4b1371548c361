"""What NNIE cannot compute at the end of a network is cut off, with all behind it.

Given:   loc = Permute(conv) {order: 0 2 3 1};  ...;  out = DetectionOutput(loc, conf, prior)
Result:  outputs loc and conf

PriorBox and DetectionOutput have no place on the chip and every public SSD guide deletes them
(HiSVP development guide, FAQ of SSD; TextBoxes++ on NNIE, 2018-10); Permute knows the order
0, 2, 3, 1 only (HiSVP development guide, table 3-2). A Reshape to more than 4 dims (same table)
at the end of what is left goes too: its bottom holds the same numbers, as in YOLO v5's heads
(yolov5 on NNIE: delete the 5-D Reshape or the Permute, the CPU does them). The outputs that are
left are reported, grouped by kind (`order.by_kind`): the rest is the board program's work. An
output that is the input as it is, behind layers that do nothing, needs no chip and goes too.
"""

from __future__ import annotations

from nnie_pipeline.caffe.axes import permute_order
from nnie_pipeline.caffe.net import Layer, Net
from nnie_pipeline.caffe.shapes import infer
from nnie_pipeline.errors import NotExpressibleError
from nnie_pipeline.rewrite.base import Changes
from nnie_pipeline.rewrite.order import by_kind
from nnie_pipeline.rewrite.reshape_batch import MOST_DIMS

REASON = (
    "PriorBox, DetectionOutput, ArgMax, Permutes other than 0, 2, 3, 1 and outputs of more than "
    "4 dims are the CPU's work"
)

_CPU = frozenset({"ArgMax", "DetectionOutput", "PriorBox"})
_IDLE = frozenset({"Crop", "Dropout", "Split"})
_PERMUTED = 4
"""The dims of what NNIE permutes."""


def apply(net: Net, asked: bool = False) -> Changes:
    """Cut behind the last values that NNIE can make.

    `asked` says that somebody chose the outputs and their order, which those that stay keep.

    Raises:
        NotExpressibleError: no layer is left that NNIE can run.
    """
    changes = Changes()
    lost: set[str] = set()
    cut: list[Layer] = []
    for layer in net.layers:
        if _impossible(layer) or lost.intersection(layer.bottoms):
            cut.append(layer)
            lost.update(layer.tops)
    gone = {id(x) for x in cut}
    kept = [x for x in net.layers if id(x) not in gone]
    made = {x for layer in kept for x in layer.tops}
    ends = [x for layer in cut for x in layer.bottoms if x in made and layer.type != "PriorBox"]
    before = net.outputs
    net.layers = kept
    net.outputs = list(dict.fromkeys(ends))
    net.outputs = list(dict.fromkeys([*(x for x in before if x not in lost), *by_kind(net)]))
    changes.lines = [f"{x.name} ({x.type}) is cut off" for x in cut]
    _cut_reshapes(net, changes)
    _drop_inputs(net, changes)
    if not net.outputs:
        behind = f": all is behind {cut[0].name} ({cut[0].type})" if cut else ""
        raise NotExpressibleError(
            f"nothing is left of the network that NNIE could run{behind}; take out its first "
            "layers and do their work before the network, or name other outputs"
        )
    if net.outputs != before:
        net.outputs = net.outputs if asked else by_kind(net)
        changes.lines.append(f"the outputs are now {', '.join(net.outputs)}")
    return changes


def _impossible(layer: Layer) -> bool:
    if layer.type == "Permute":
        order = list(layer.params.permute_param.order)
        if order == list(range(len(order))):
            return False
        try:
            return permute_order(layer, _PERMUTED) != [0, 2, 3, 1]
        except ValueError:
            return True
    return layer.type in _CPU


def _drop_inputs(net: Net, changes: Changes) -> None:
    """Leave out the outputs that are an input of the network as it is."""
    if not any(x.type in _IDLE for x in net.layers):
        return
    shapes = infer(net)
    producers = net.producers()
    for output in list(net.outputs):
        value = output
        while value in producers and producers[value].type in _IDLE:
            bottom = producers[value].bottoms[0]
            if shapes[bottom] != shapes[value]:
                break
            value = bottom
        if value in net.inputs:
            net.outputs.remove(output)
            name = value.removesuffix("@input")
            changes.lines.append(f"{output} is no output: it is the input {name} as it is")
            net.drop_unused()


def _cut_reshapes(net: Net, changes: Changes) -> None:
    """Take the bottom of a last Reshape to more than 4 dims as the output in its place."""
    shapes = infer(net)
    for layer in reversed(net.layers):
        top = layer.tops[0] if layer.tops else ""
        if layer.type != "Reshape" or top not in net.outputs or top in net.consumers():
            continue
        if len(shapes[top]) > MOST_DIMS and layer.bottoms[0] not in net.inputs:
            net.layers = [x for x in net.layers if x is not layer]
            bottom = layer.bottoms[0]
            net.outputs = list(dict.fromkeys(bottom if x == top else x for x in net.outputs))
            changes.lines.append(
                f"{layer.name} (Reshape to {len(shapes[top])} dims) is cut off: "
                f"{bottom} holds the same numbers"
            )

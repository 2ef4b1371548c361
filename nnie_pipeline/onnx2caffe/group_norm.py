"""GroupNormalization as older exports write it, joined into one node.

PyTorch before opset 18 writes Reshape (groups) -> InstanceNormalization -> Reshape (back);
the scale and bias a channel that follow stay nodes of their own.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection, Sequence

from nnie_pipeline.onnx2caffe.graph import Graph, Node


def join_group_norms(nodes: Sequence[Node], graph: Graph, kept: Collection[str]) -> list[Node]:
    """`nodes` with every such triple as one node "GroupNormalization".

    Only where nobody else reads what lies between (`kept` are the network's outputs).
    """
    makers = {x: node for node in nodes for x in node.outputs}
    readers = Counter(x for node in nodes for x in node.inputs)
    after = {x: node for node in nodes for x in node.inputs}
    joined: dict[str, Node] = {}
    gone: set[str] = set()
    for node in nodes:
        if node.operator != "InstanceNormalization":
            continue
        into, back = makers.get(node.inputs[0]), after.get(node.outputs[0])
        if into is None or back is None:
            continue
        between = (node.inputs[0], node.outputs[0])
        source, grouped, target = (
            graph.shapes.get(x) for x in (into.inputs[0], between[0], back.outputs[0])
        )
        if (
            {into.operator, back.operator} != {"Reshape"}
            or any(readers[x] != 1 or x in kept for x in between)
            or source is None
            or grouped is None
            or source != target
            or len(grouped) < 3
            or grouped[0] != source[0]
            or source[1] % grouped[1]
        ):
            continue
        attributes = {"num_groups": grouped[1], "epsilon": node.get("epsilon", 1e-5)}
        inputs = (into.inputs[0], *node.inputs[1:])
        joined[back.outputs[0]] = Node(
            node.name, "GroupNormalization", inputs, back.outputs, attributes
        )
        gone.update(between)
    return [
        joined.get(node.outputs[0], node) for node in nodes if not gone.intersection(node.outputs)
    ]

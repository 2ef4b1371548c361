"""Concat, Reshape, Flatten, Transpose."""

from __future__ import annotations

from nnie_pipeline.caffe.caffe_pb2 import LayerParameter
from nnie_pipeline.onnx2caffe.graph import Graph, Node, converts


@converts("Concat")
def concat(graph: Graph, node: Node) -> None:
    """Concat."""
    param = LayerParameter()
    param.concat_param.axis = node.get("axis", 1) % len(graph.shape(node, node.inputs[0]))
    graph.add(node, "Concat", [graph.blob(node, x) for x in node.inputs], params=param)


@converts("Reshape", "Flatten", "Squeeze", "Unsqueeze")
def reshape(graph: Graph, node: Node) -> None:
    """Reshape to the shape that ONNX infers; the batch axis stays (first dim 0)."""
    source = graph.shape(node, node.inputs[0])
    target = graph.shape(node, node.outputs[0])
    if source == target:
        graph.alias(node)
        return
    if source[0] != target[0]:
        graph.refuse(
            node,
            f"it changes the batch axis ({list(source)} to {list(target)}), NNIE reshapes "
            "channels, rows and columns only",
            "keep the first axis (use x.view(x.size(0), ...) or flatten(1))",
        )
    param = LayerParameter()
    param.reshape_param.shape.dim.extend((0, *target[1:]))
    graph.add(node, "Reshape", [graph.blob(node, node.inputs[0])], params=param)


@converts("Transpose")
def transpose(graph: Graph, node: Node) -> None:
    """Permute; NNIE knows the order 0, 2, 3, 1 only."""
    source = graph.shape(node, node.inputs[0])
    order = list(node.get("perm", range(len(source))[::-1]))
    if order == sorted(order):
        graph.alias(node)
        return
    if order != [0, 2, 3, 1]:
        graph.refuse(
            node,
            f"it permutes axes to {order}, NNIE's Permute knows [0, 2, 3, 1] only",
            "keep the outputs before it (--outputs) and permute on the CPU",
        )
    param = LayerParameter()
    param.permute_param.order.extend(order)
    graph.add(node, "Permute", [graph.blob(node, node.inputs[0])], params=param)

"""Relu, LeakyRelu, PRelu, Sigmoid, Tanh, Elu, Softmax and what does nothing at inference."""

from __future__ import annotations

import numpy as np

from nnie_pipeline.caffe.caffe_pb2 import LayerParameter
from nnie_pipeline.onnx2caffe.graph import Graph, Node, converts

_PLAIN = {"Relu": "ReLU", "Sigmoid": "Sigmoid", "Tanh": "TanH", "Abs": "AbsVal"}


@converts(*_PLAIN)
def plain(graph: Graph, node: Node) -> None:
    """Activations without parameters."""
    graph.add(node, _PLAIN[node.operator], [graph.blob(node, node.inputs[0])])


@converts("LeakyRelu")
def leaky_relu(graph: Graph, node: Node) -> None:
    """ReLU with a negative slope."""
    param = LayerParameter()
    param.relu_param.negative_slope = node.get("alpha", 0.01)
    graph.add(node, "ReLU", [graph.blob(node, node.inputs[0])], params=param)


@converts("PRelu")
def prelu(graph: Graph, node: Node) -> None:
    """PReLU with a slope for each channel or one for all."""
    slope = graph.weight(node, 1)
    assert slope is not None
    bottom = graph.shape(node, node.inputs[0])
    # ONNX aligns the slope with the last axes; Caffe's slopes lie along axis 1.
    full = (1,) * (len(bottom) - slope.ndim) + slope.shape
    if slope.size not in (1, bottom[1]) or (slope.size > 1 and full[1] != bottom[1]):
        graph.refuse(
            node,
            f"its slopes have the shape {list(slope.shape)}, Caffe has one a channel or one",
            "use torch.nn.PReLU(channels) or PReLU(1)",
        )
    param = LayerParameter()
    param.prelu_param.channel_shared = slope.size == 1
    graph.add(node, "PReLU", [graph.blob(node, node.inputs[0])], [np.ravel(slope)], param)


@converts("Elu")
def elu(graph: Graph, node: Node) -> None:
    """ELU."""
    param = LayerParameter()
    param.elu_param.alpha = node.get("alpha", 1.0)
    graph.add(node, "ELU", [graph.blob(node, node.inputs[0])], params=param)


@converts("Softmax")
def softmax(graph: Graph, node: Node) -> None:
    """Softmax along one axis; before opset 13 ONNX normalised over all axes from it on."""
    rank = len(graph.shape(node, node.inputs[0]))
    axis = node.get("axis", -1 if graph.opset >= 13 else 1) % rank
    shape = graph.shape(node, node.inputs[0])
    if graph.opset < 13 and any(x != 1 for x in shape[axis + 1 :]):
        graph.refuse(
            node,
            f"in opset {graph.opset} it normalises over axes {axis} to {rank - 1} together",
            "export with opset 13 or newer",
        )
    param = LayerParameter()
    param.softmax_param.axis = axis
    graph.add(node, "Softmax", [graph.blob(node, node.inputs[0])], params=param)


@converts("Identity", "Dropout")
def nothing(graph: Graph, node: Node) -> None:
    """No layer: the value goes on under its old name."""
    graph.alias(node)

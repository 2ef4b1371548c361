"""Add, Mul and Max of computed values, and of a value with a constant."""

from __future__ import annotations

import numpy as np

from nnie_pipeline.caffe.caffe_pb2 import EltwiseParameter, LayerParameter
from nnie_pipeline.caffe.net import Array
from nnie_pipeline.onnx2caffe.graph import Graph, Node, converts

_OPERATION = {
    "Add": EltwiseParameter.SUM,
    "Sum": EltwiseParameter.SUM,
    "Mul": EltwiseParameter.PROD,
    "Max": EltwiseParameter.MAX,
}


@converts(*_OPERATION)
def combine(graph: Graph, node: Node) -> None:
    """Eltwise of values of one shape; with a constant per channel a Scale or Bias."""
    constants = [x for x in node.inputs if graph.is_constant(x)]
    if constants:
        _with_constant(graph, node, constants)
        return
    shapes = [graph.shape(node, x) for x in node.inputs]
    if any(x != shapes[0] for x in shapes):
        graph.refuse(
            node,
            "its inputs have different shapes, Caffe's Eltwise does not broadcast",
            "choose an input size at which the maps agree, or expand the smaller one in the model",
        )
    param = LayerParameter()
    param.eltwise_param.operation = _OPERATION[node.operator]
    graph.add(node, "Eltwise", [graph.blob(node, x) for x in node.inputs], params=param)


def _with_constant(graph: Graph, node: Node, constants: list[str]) -> None:
    if len(node.inputs) != 2 or len(constants) != 1 or node.operator == "Max":
        graph.refuse(
            node,
            "NNIE's Caffe combines a blob with a constant only by adding or multiplying",
            "fold the constant into the layer before",
        )
    value = np.asarray(graph.constants[constants[0]], dtype=np.float32)
    other = next(x for x in node.inputs if x not in constants)
    weights = _per_channel(graph, node, value, graph.shape(node, other))
    param = LayerParameter()
    if node.operator == "Mul":
        param.scale_param.axis = 1
        graph.add(node, "Scale", [graph.blob(node, other)], [weights], param)
    else:
        param.bias_param.axis = 1
        graph.add(node, "Bias", [graph.blob(node, other)], [weights], param)


def _per_channel(graph: Graph, node: Node, value: Array, shape: tuple[int, ...]) -> Array:
    """The constant as one number a channel.

    Raises:
        NotExpressibleError: it varies over the map.
    """
    full = (1,) * (len(shape) - value.ndim) + value.shape
    if len(full) != len(shape) or any(x != 1 for i, x in enumerate(full) if i != 1):
        graph.refuse(
            node,
            f"its constant of shape {list(value.shape)} varies over the map",
            "use a constant a channel (shape C x 1 x 1)",
        )
    return np.array(np.broadcast_to(value.reshape(-1), (shape[1],)))

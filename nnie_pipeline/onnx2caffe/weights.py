"""Weights of a model: constants among them, and forms that are refused before folding."""

from __future__ import annotations

import onnx
from onnx import numpy_helper

from nnie_pipeline.errors import NotExpressibleError
from nnie_pipeline.onnx2caffe.graph import constant_of

_QUANTISED = frozenset(
    {"QuantizeLinear", "DequantizeLinear", "DynamicQuantizeLinear", "QLinearConv",
     "QLinearMatMul", "ConvInteger", "MatMulInteger"}
)  # fmt: skip


def store_constants(model: onnx.ModelProto) -> None:
    """Make every Constant node a weight: onnxslim reads some of their forms as float64."""
    stored = {x.name for x in model.graph.initializer}
    for node in model.graph.node:
        value = constant_of(node) if node.op_type == "Constant" else None
        if value is not None:
            model.graph.initializer.append(numpy_helper.from_array(value, node.output[0]))
            stored.add(node.output[0])
    kept = [x for x in model.graph.node if not stored.intersection(x.output)]
    copies = [onnx.NodeProto.FromString(x.SerializeToString()) for x in kept]
    del model.graph.node[:]
    model.graph.node.extend(copies)


def refuse_other_weights(model: onnx.ModelProto) -> None:
    """Weights that are not arrays of numbers.

    Raises:
        NotExpressibleError: the model is quantised or its weights are sparse.
    """
    for node in model.graph.node:
        if node.op_type in _QUANTISED or node.op_type.startswith("QLinear"):
            raise NotExpressibleError(
                f"ONNX node {node.name or node.output[0]} ({node.op_type}): the model is "
                "quantised, NNIE's mapper quantises a float network itself; export the float "
                "model from before quantisation"
            )
        if any(x.name == "sparse_value" for x in node.attribute):
            raise NotExpressibleError(f"the constant {node.output[0]} is sparse; {_DENSE}")
    if model.graph.sparse_initializer:
        name = model.graph.sparse_initializer[0].values.name
        raise NotExpressibleError(f"the weight {name} is sparse; {_DENSE}")


_DENSE = "save the model with dense weights (to_dense() in PyTorch before the export)"


def refuse_masks(model: onnx.ModelProto) -> None:
    """Masks of a Dropout: onnxslim (0.1.98) puts the Dropout's input in their place.

    Raises:
        NotExpressibleError: a mask is read, or an output of the model.
    """
    read = {x for node in model.graph.node for x in (*node.input, *captured(node)) if x}
    read.update(x.name for x in model.graph.output)
    for node in model.graph.node:
        if node.op_type == "Dropout" and read.intersection(node.output[1:]):
            raise NotExpressibleError(
                f"ONNX node {node.name or node.output[0]} (Dropout): its mask {node.output[1]} is "
                "used, inference has none; export the model after model.eval()"
            )


def captured(node: onnx.NodeProto) -> list[str]:
    """Names of the outer graph that the node's subgraphs (If, Loop) may read."""
    return [
        name
        for attribute in node.attribute
        if attribute.type == onnx.AttributeProto.GRAPH
        for inner in attribute.g.node
        for name in (*inner.input, *captured(inner))
        if name
    ]

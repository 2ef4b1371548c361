"""Identity, Dropout and Cast: what changes no value at inference."""

from __future__ import annotations

from onnx import TensorProto, helper

from nnie_pipeline.onnx2caffe.graph import Graph, Node, converts

_WIDE = (TensorProto.FLOAT, TensorProto.DOUBLE)


@converts("Identity")
def identity(graph: Graph, node: Node) -> None:
    """Nothing: the value keeps its name."""
    _pass(graph, node)


@converts("Dropout")
def dropout(graph: Graph, node: Node) -> None:
    """Nothing; a mask that is used is refused."""
    if graph.is_constant(node.input(2)) and graph.constants[node.input(2)].any():
        graph.refuse(node, "it is in training mode", "export the model after model.eval()")
    graph.alias(node)


@converts("Cast")
def cast(graph: Graph, node: Node) -> None:
    """Nothing, to float or double; to other types it rounds and is refused."""
    if node.get("to", 0) not in _WIDE and not graph.is_constant(node.inputs[0]):
        wanted = TensorProto.DataType.Name(node.get("to", 0))
        graph.refuse(
            node,
            f"it rounds to {wanted}, Caffe computes in float32 throughout",
            "export the model in float32, or keep outputs before it (--outputs)",
        )
    _pass(graph, node)


def _pass(graph: Graph, node: Node) -> None:
    """The output is the input, computed or constant."""
    source, output = node.inputs[0], node.outputs[0]
    if not graph.is_constant(source):
        graph.alias(node)
    elif node.operator == "Cast":
        kind = helper.tensor_dtype_to_np_dtype(node.get("to", 0))
        graph.constants[output] = graph.constants[source].astype(kind)
    else:
        graph.constants[output] = graph.constants[source]

"""Other number types of a model turned into float32, the type of Caffe."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
import onnx
from onnx import AttributeProto, TensorProto, numpy_helper

from nnie_pipeline.onnx2caffe.load import tensors

_NARROW = {TensorProto.FLOAT16: "float16", TensorProto.BFLOAT16: "bfloat16"}
_INTEGERS = frozenset({TensorProto.UINT8, TensorProto.INT8, TensorProto.INT32, TensorProto.INT64})
_TYPE_ATTRIBUTES = frozenset({"to", "dtype", "stash_type"})


def make_float32(model: onnx.ModelProto) -> list[str]:
    """Change `model` so that it computes in float32; lines that say what changed.

    float16 and bfloat16 values are float32 values, so their conversion is exact; float64
    weights are rounded to the nearest float32. Scalars of float64 alone (the arithmetic of
    shapes) stay. An input of integers that is only cast to a float becomes a float input.
    """
    changed = set(_NARROW) if _holds(model, set(_NARROW)) else set()
    if _has_double_weights(model):
        changed.add(TensorProto.DOUBLE)
    lines = []
    if changed:
        for tensor in tensors(model):
            if tensor.data_type in changed:
                array = numpy_helper.to_array(tensor).astype(np.float32)
                tensor.CopyFrom(numpy_helper.from_array(array, tensor.name))
        for attribute in _type_attributes(model.graph):
            if attribute.i in changed:
                attribute.i = TensorProto.FLOAT
        for value in _values(model.graph):
            if value.type.tensor_type.elem_type in changed:
                value.type.tensor_type.elem_type = TensorProto.FLOAT
        narrow = [name for kind, name in _NARROW.items() if kind in changed]
        if narrow:
            lines.append("16-bit floats are read as float32, which is exact")
        if TensorProto.DOUBLE in changed:
            lines.append("float64 weights are rounded to the nearest float32")
    lines += _float_inputs(model)
    return lines


def _holds(model: onnx.ModelProto, kinds: set[int]) -> bool:
    return (
        any(x.data_type in kinds for x in tensors(model))
        or any(x.type.tensor_type.elem_type in kinds for x in _values(model.graph))
        or any(x.i in kinds for x in _type_attributes(model.graph))
    )


def _has_double_weights(model: onnx.ModelProto) -> bool:
    return any(
        x.data_type == TensorProto.DOUBLE and len(x.dims) > 1 for x in tensors(model)
    ) or any(x.type.tensor_type.elem_type == TensorProto.DOUBLE for x in model.graph.input)


def _float_inputs(model: onnx.ModelProto) -> list[str]:
    lines = []
    graph = model.graph
    for value in graph.input:
        kind = value.type.tensor_type
        readers = [x for x in graph.node if value.name in x.input]
        casts = [x for x in readers if x.op_type == "Cast"]
        if kind.elem_type not in _INTEGERS or not readers or len(casts) != len(readers):
            continue
        if any(
            x.i != TensorProto.FLOAT for node in casts for x in node.attribute if x.name == "to"
        ):
            continue
        kind.elem_type = TensorProto.FLOAT
        lines.append(f"input {value.name} takes whole numbers; it is read as float32")
    return lines


def _values(graph: onnx.GraphProto) -> Iterator[onnx.ValueInfoProto]:
    yield from graph.input
    yield from graph.output
    yield from graph.value_info
    for inner in subgraphs(graph):
        yield from _values(inner)


def _type_attributes(graph: onnx.GraphProto) -> Iterator[AttributeProto]:
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.name in _TYPE_ATTRIBUTES and attribute.type == AttributeProto.INT:
                yield attribute
    for inner in subgraphs(graph):
        yield from _type_attributes(inner)


def subgraphs(graph: onnx.GraphProto) -> Iterator[onnx.GraphProto]:
    """The graphs inside the graph's nodes (branches, loop bodies), one level down."""
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.type == AttributeProto.GRAPH:
                yield attribute.g
            yield from attribute.graphs

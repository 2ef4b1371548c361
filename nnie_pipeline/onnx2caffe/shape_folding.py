"""The arithmetic of shapes, computed once the input size is fixed.

onnxslim evaluates it as well, but with whole numbers throughout: 40 / 15 became 2 there
(0.1.98), a Resize by another factor. So onnxruntime computes it here, and onnxslim finds
constants.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper, numpy_helper, shape_inference

_MOST_ROUNDS = 64


def fold_shapes(model: onnx.ModelProto) -> None:
    """Replace every Shape and Size, and what follows from them and constants, by constants.

    Raises:
        Exception: of onnxruntime's kinds, when the arithmetic does not hold.
    """
    for _ in range(_MOST_ROUNDS):
        found = _known_shapes(model)
        if not found:
            return
        _replace(model, found)
        computed = _compute(model, set(found))
        if computed:
            _replace(model, computed)


def _known_shapes(model: onnx.ModelProto) -> dict[str, npt.NDArray[Any]]:
    readers = [x for x in model.graph.node if x.op_type in ("Shape", "Size") and not x.domain]
    if not readers:
        return {}
    graph = shape_inference.infer_shapes(model).graph
    known: dict[str, list[int]] = {}
    for value in (*graph.input, *graph.value_info, *graph.output):
        if value.type.tensor_type.HasField("shape"):
            dims = value.type.tensor_type.shape.dim
            if all(x.HasField("dim_value") for x in dims):
                known[value.name] = [x.dim_value for x in dims]
    known.update({x.name: list(x.dims) for x in graph.initializer})
    found: dict[str, npt.NDArray[Any]] = {}
    for node in readers:
        shape = known.get(node.input[0])
        if shape is None:
            continue
        limits = {x.name: x.i for x in node.attribute}
        part = shape[limits.get("start") : limits.get("end")]
        number: Any = part if node.op_type == "Shape" else math.prod(shape)
        found[node.output[0]] = np.array(number, dtype=np.int64)
    return found


def _compute(model: onnx.ModelProto, names: set[str]) -> dict[str, npt.NDArray[Any]]:
    """The values that follow from the constants `names` and others, and that others read."""
    import onnxruntime

    graph = model.graph
    weights = {x.name: x for x in graph.initializer}
    constant = set(weights)
    from_shapes = set(names)
    nodes: list[onnx.NodeProto] = []
    for node in graph.node:
        inputs = {x for x in node.input if x}
        if node.op_type == "Constant":
            constant.update(node.output)
        elif inputs <= constant and inputs & from_shapes and not _has_graph(node):
            constant.update(node.output)
            from_shapes.update(node.output)
            nodes.append(node)
    made = {x for node in nodes for x in node.output if x}
    inner = {id(x) for x in nodes}
    read = {x for node in graph.node if id(node) not in inner for x in node.input}
    wanted = sorted(made & (read | {x.name for x in graph.output}))
    if not wanted:
        return {}
    needed = {x for node in nodes for x in node.input if x}
    constants = [x for x in graph.node if x.op_type == "Constant" and x.output[0] in needed]
    part = helper.make_graph(
        [*constants, *nodes],
        "shapes",
        [],
        [onnx.ValueInfoProto(name=x) for x in wanted],
        [weights[x] for x in sorted(needed & set(weights))],
    )
    small = helper.make_model(part, opset_imports=model.opset_import)
    small.ir_version = model.ir_version
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 4
    session = onnxruntime.InferenceSession(
        small.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    return dict(zip(wanted, session.run(wanted, {}), strict=True))


def _has_graph(node: onnx.NodeProto) -> bool:
    return any(x.type == onnx.AttributeProto.GRAPH for x in node.attribute)


def _replace(model: onnx.ModelProto, values: dict[str, npt.NDArray[Any]]) -> None:
    graph = model.graph
    kept = [x for x in graph.node if not set(x.output) <= set(values)]
    copies = []
    for node in kept:
        copy = onnx.NodeProto()
        copy.CopyFrom(node)
        copies.append(copy)
    del graph.node[:]
    graph.node.extend(copies)
    stored = {x.name for x in graph.initializer}
    graph.initializer.extend(
        numpy_helper.from_array(v, k) for k, v in values.items() if k not in stored
    )

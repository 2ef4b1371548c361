"""ONNX models of a few nodes for the command line, with random weights."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper


def save(
    path: Path,
    nodes: Sequence[onnx.NodeProto],
    weights: dict[str, tuple[int, ...]],
    outputs: Sequence[str] = ("out",),
    size: Sequence[int | str] = (1, 3, 32, 32),
) -> Path:
    """Write a model with the input "data" of `size`; a word in it is a dynamic axis."""
    random = np.random.default_rng(0)
    stored = [
        numpy_helper.from_array(random.normal(0, 0.2, shape).astype(np.float32), name)
        for name, shape in weights.items()
    ]
    graph = helper.make_graph(
        list(nodes),
        "net",
        [helper.make_tensor_value_info("data", TensorProto.FLOAT, list(size))],
        [helper.make_tensor_value_info(x, TensorProto.FLOAT, None) for x in outputs],
        stored,
    )
    for output in graph.output:
        output.type.tensor_type.shape.SetInParent()
        output.type.tensor_type.ClearField("shape")
        for side in "nchw":
            output.type.tensor_type.shape.dim.add().dim_param = f"{output.name}_{side}"
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 13)], ir_version=8)
    onnx.save(model, path)
    return path


def two_convolutions(path: Path, size: Sequence[int | str] = (1, 3, 32, 32)) -> Path:
    """Conv, Relu, Conv: "middle" after the first, "out" at the end."""
    nodes = [
        helper.make_node("Conv", ["data", "w1", "b1"], ["c1"], "first", pads=[1] * 4),
        helper.make_node("Relu", ["c1"], ["middle"], "relu"),
        helper.make_node("Conv", ["middle", "w2", "b2"], ["out"], "last", strides=[2, 2]),
    ]
    weights = {"w1": (8, 3, 3, 3), "b1": (8,), "w2": (4, 8, 2, 2), "b2": (4,)}
    return save(path, nodes, weights, size=size)


def wide_strides(path: Path) -> Path:
    """A convolution with stride 256, one more than NNIE takes."""
    node = helper.make_node("Conv", ["data", "w"], ["out"], "far", strides=[256, 256])
    return save(path, [node], {"w": (4, 3, 3, 3)}, size=(1, 3, 320, 320))


def not_in_caffe(path: Path) -> Path:
    """A convolution and a Hardmax, which Caffe does not have."""
    nodes = [
        helper.make_node("Conv", ["data", "w"], ["c"], "first"),
        helper.make_node("Hardmax", ["c"], ["out"], "choice", axis=1),
    ]
    return save(path, nodes, {"w": (4, 3, 3, 3)})

"""Constants that belong to the size a model was exported at, made to follow another size.

PyTorch writes `interpolate(x, size=...)` and `view(...)` of whole numbers as constants. At
the model's own size the shapes say what they meant: a Resize whose output is a whole
multiple of its input meant that factor.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

import numpy as np
import onnx
from onnx import TensorProto, numpy_helper

from nnie_pipeline.caffe.net import Shape

Shapes = Callable[[onnx.ModelProto, str], Mapping[str, Shape]]


def follow_size(reference: onnx.ModelProto, own: Mapping[str, Shape], shapes: Shapes) -> list[str]:
    """Turn every Resize whose output keeps its old size into one by a whole scale.

    `reference` has the new input size, `own` are the shapes at the model's own size, and
    `shapes` infers those of a model up to one value. Lines that name what was changed.
    """
    lines = []
    constants = _constant_names(reference)
    for node in reference.graph.node:
        if node.op_type not in ("Resize", "Upsample") or _by_scales(node, constants):
            continue
        source, target = own.get(node.input[0]), own.get(node.output[0])
        factor = _whole_factor(source, target)
        if factor is None:
            continue
        now = shapes(reference, node.output[0])
        if now.get(node.input[0]) == source or now.get(node.output[0]) != target:
            continue
        _set_scales(reference, node, factor)
        lines.append(f"{node.name or node.output[0]} by {factor[0]}x{factor[1]}")
    return lines


def drop_batch(reference: onnx.ModelProto, batch: int, own: Mapping[str, Shape]) -> None:
    """Let Reshape and Resize constants that hold the model's batch follow the batch of 1."""
    weights = {x.name: x for x in reference.graph.initializer}
    for node in reference.graph.node:
        if node.op_type == "Constant" and node.attribute and node.attribute[0].name == "value":
            weights[node.output[0]] = node.attribute[0].t
    for node in reference.graph.node:
        index = {"Reshape": 1, "Resize": 3}.get(node.op_type)
        if index is None or len(node.input) <= index or node.input[index] not in weights:
            continue
        value = numpy_helper.to_array(weights[node.input[index]]).copy()
        source = own.get(node.input[0])
        if not value.size or value[0] != batch or not source or source[0] != batch:
            continue
        value[0] = 1
        name = f"{node.input[index]}:one"
        if name not in weights:
            weights[name] = numpy_helper.from_array(value, name)
            reference.graph.initializer.append(weights[name])
        node.input[index] = name


def _constant_names(model: onnx.ModelProto) -> set[str]:
    made = {x.output[0] for x in model.graph.node if x.op_type == "Constant"}
    return made | {x.name for x in model.graph.initializer}


def _by_scales(node: onnx.NodeProto, constants: set[str]) -> bool:
    """Whether the factor itself is a constant."""
    if node.op_type == "Upsample":
        return len(node.input) < 2 or node.input[1] in constants
    if len(node.input) > 3 and node.input[3]:
        return False
    scales = node.input[1] if len(node.input) == 2 else node.input[2]
    return scales in constants


def _whole_factor(source: Shape | None, target: Shape | None) -> tuple[int, int] | None:
    if not source or not target or len(source) != 4 or len(target) != 4:
        return None
    if source[:2] != target[:2] or target[2] % source[2] or target[3] % source[3]:
        return None
    return target[2] // source[2], target[3] // source[3]


def _set_scales(model: onnx.ModelProto, node: onnx.NodeProto, factor: tuple[int, int]) -> None:
    name = f"{node.output[0]}:scales"
    scales = numpy_helper.from_array(np.array([1, 1, *factor], np.float32), name)
    assert scales.data_type == TensorProto.FLOAT
    model.graph.initializer.append(scales)
    inputs = list(node.input)
    place = 1 if node.op_type == "Upsample" or len(inputs) == 2 else 2
    node.input[:] = [*inputs[:place], name]

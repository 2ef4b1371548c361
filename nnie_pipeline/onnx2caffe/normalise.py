"""An ONNX model brought to the form that the converters read.

Sizes fixed, cut at the outputs that are kept, constants folded (by onnxslim), every
shape known.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import onnx
from google.protobuf.message import DecodeError
from onnx import TensorProto, helper, shape_inference

from nnie_pipeline.caffe.net import Shape
from nnie_pipeline.errors import InputError

DEFAULT_SIDE = 640
_LARGEST_MODEL = (2 << 30) - 1
_LARGEST_SIDE = 4096
_LARGEST_INPUT = 1 << 28


@dataclass(frozen=True)
class FixedModel:
    """`reference` is the given model, cut and at its fixed size; `folded` the same, simplified.

    `assumed` says in words which dynamic axes were given a value, or is empty.
    """

    reference: onnx.ModelProto
    folded: onnx.ModelProto
    inputs: dict[str, Shape]
    shapes: dict[str, Shape]
    assumed: str


def load_model(path: Path) -> onnx.ModelProto:
    """Read an ONNX file.

    Raises:
        InputError: no such file, not ONNX, truncated, or weights in files beside it.
    """
    try:
        if path.stat().st_size > _LARGEST_MODEL:
            raise InputError(f"{path} is larger than {_LARGEST_MODEL} bytes, the limit of ONNX")
        data = path.read_bytes()
    except OSError as error:
        raise InputError(f"cannot read ONNX model {path}: {error.strerror}") from error
    model = onnx.ModelProto()
    try:
        model.ParseFromString(data)
    except DecodeError as error:
        raise InputError(
            f"{path} is not an ONNX model or is truncated ({len(data)} bytes); export or "
            "download it again"
        ) from error
    if not model.graph.node or not model.graph.output:
        raise InputError(f"{path} is not an ONNX model: it holds no graph; export it again")
    for tensor in model.graph.initializer:
        if tensor.data_location == TensorProto.EXTERNAL:
            raise InputError(
                f"{path}: the weight {tensor.name} lies in a file of its own; save the model as "
                "one file (onnx.save(model, path, save_as_external_data=False))"
            )
    try:
        onnx.checker.check_model(model)
    except onnx.checker.ValidationError as error:
        first = str(error).strip().splitlines()[0]
        raise InputError(f"{path} is not a valid ONNX model: {first}; export it again") from error
    return model


def fix(
    model: onnx.ModelProto, size: tuple[int, int] | None, outputs: Sequence[str] | None
) -> FixedModel:
    """Cut `model` at `outputs` and fix its input size to `size` (height, width).

    Without a size a static axis keeps its value, a dynamic one becomes N=1, H=W=640.

    Raises:
        InputError: an output that the model does not have, an input that is no picture,
            or a graph that does not hold at this size.
    """
    reference = onnx.ModelProto()
    reference.CopyFrom(model)
    del reference.graph.value_info[:]
    if outputs:
        _cut(reference, outputs)
    inputs, assumed = fix_inputs(reference, size)
    folded = _fold(reference)
    shapes = _shapes(folded)
    for output in reference.graph.output:
        for side in shapes.get(output.name, ()):
            output.type.tensor_type.shape.dim.add().dim_value = side
    return FixedModel(reference, folded, inputs, shapes, assumed)


def _cut(model: onnx.ModelProto, outputs: Sequence[str]) -> None:
    graph = model.graph
    makers = {name: node for node in graph.node for name in node.output if name}
    for name in outputs:
        if name not in makers:
            raise InputError(
                f"the model makes no tensor {name}; its outputs are "
                f"{', '.join(x.name for x in graph.output)}"
            )
    needed: set[str] = set()
    pending = list(outputs)
    while pending:
        name = pending.pop()
        if name in needed:
            continue
        needed.add(name)
        node = makers.get(name)
        if node is not None:
            pending.extend(x for x in node.input if x)
            pending.extend(_captured(node))
    nodes = [x for x in graph.node if any(y in needed for y in x.output)]
    weights = [x for x in graph.initializer if x.name in needed]
    types = {x.name: x.type for x in graph.output}
    stored = {x.name for x in graph.initializer}
    inputs = [x for x in graph.input if x.name in needed - stored]
    del graph.node[:], graph.initializer[:], graph.output[:], graph.input[:]
    graph.input.extend(inputs)
    graph.node.extend(nodes)
    graph.initializer.extend(weights)
    for name in outputs:
        value = helper.make_tensor_value_info(name, TensorProto.FLOAT, None)
        if name in types:
            value.type.CopyFrom(types[name])
        graph.output.append(value)


def _captured(node: onnx.NodeProto) -> list[str]:
    """Names of the outer graph that the node's subgraphs (If, Loop) may read."""
    return [
        name
        for attribute in node.attribute
        if attribute.type == onnx.AttributeProto.GRAPH
        for inner in attribute.g.node
        for name in (*inner.input, *_captured(inner))
        if name
    ]


def fix_inputs(
    model: onnx.ModelProto, size: tuple[int, int] | None
) -> tuple[dict[str, Shape], str]:
    weights = {x.name for x in model.graph.initializer}
    inputs: dict[str, Shape] = {}
    assumed: list[str] = []
    for value in model.graph.input:
        if value.name in weights:
            continue
        dims = value.type.tensor_type.shape.dim
        if len(dims) != 4:
            raise InputError(
                f"the model's input {value.name} has {len(dims)} axes; a network for NNIE takes "
                "pictures of the form N x C x H x W"
            )
        shape = []
        for axis, dim in enumerate(dims):
            wanted = size[axis - 2] if size and axis > 1 else None
            known = dim.dim_value or None
            if axis == 0 and known not in (None, 1):
                known = None
            value_of_axis = wanted or known
            if value_of_axis is None:
                if axis == 1:
                    raise InputError(
                        f"the model's input {value.name} leaves its channels open; export it "
                        "with a fixed number of channels"
                    )
                value_of_axis = 1 if axis == 0 else DEFAULT_SIDE
                assumed.append(f"{'NCHW'[axis]}={value_of_axis}")
            shape.append(value_of_axis)
        if max(shape[2:]) > _LARGEST_SIDE or math.prod(shape) > _LARGEST_INPUT:
            raise InputError(
                f"the model's input {value.name} is {'x'.join(map(str, shape))}; NNIE takes sides "
                f"up to {_LARGEST_SIDE} pixels: choose a smaller size"
            )
        del dims[:]
        for side in shape:
            dims.add().dim_value = side
        inputs[value.name] = tuple(shape)
    if not inputs:
        raise InputError("the model has no input")
    for output in model.graph.output:
        output.type.tensor_type.ClearField("shape")
    # Initializers listed as inputs too (IR version 3) are constants for us.
    kept = [x for x in model.graph.input if x.name not in weights]
    del model.graph.input[:]
    model.graph.input.extend(kept)
    model.ir_version = max(model.ir_version, 4)
    text = f"dynamic axes fixed: {', '.join(assumed)}" if assumed else ""
    return inputs, text


def _fold(model: onnx.ModelProto) -> onnx.ModelProto:
    import onnxslim

    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    names = [x.name for x in model.graph.output]
    logging.getLogger("onnxslim").setLevel(logging.CRITICAL)
    try:
        folded = onnxslim.slim(copy)
    except Exception as error:  # the library raises whatever its parts raise
        raise InputError(
            f"the graph does not hold at this input size ({type(error).__name__}: "
            f"{_first_line(error)}); choose another size"
        ) from error
    if not isinstance(folded, onnx.ModelProto) or [x.name for x in folded.graph.output] != names:
        raise InputError("constant folding lost an output of the model; name the outputs to keep")
    return folded


def _shapes(model: onnx.ModelProto) -> dict[str, Shape]:
    try:
        inferred = shape_inference.infer_shapes(
            model, check_type=True, strict_mode=True, data_prop=True
        )
    except Exception as error:  # shape_inference raises several kinds
        raise InputError(
            f"the graph does not hold at this input size: {_first_line(error)}; choose another size"
        ) from error
    shapes: dict[str, Shape] = {}
    graph = inferred.graph
    for value in (*graph.input, *graph.value_info, *graph.output):
        if value.type.tensor_type.HasField("shape"):
            dims = [x.dim_value for x in value.type.tensor_type.shape.dim]
            if all(x > 0 for x in dims) and math.prod(dims) < 1 << 40:
                shapes[value.name] = tuple(dims)
    shapes.update({x.name: tuple(x.dims) for x in graph.initializer})
    return shapes


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__

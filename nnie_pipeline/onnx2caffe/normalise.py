"""An ONNX model brought to the form that the converters read.

Sizes fixed, cut at the outputs that are kept, constants folded (by onnxslim), every
shape known.
"""

from __future__ import annotations

import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass

import onnx
from onnx import TensorProto, helper, inliner, shape_inference

from nnie_pipeline.caffe.net import Shape
from nnie_pipeline.errors import InputError
from nnie_pipeline.onnx2caffe.constant_sizes import drop_batch, follow_size
from nnie_pipeline.onnx2caffe.floats import make_float32
from nnie_pipeline.onnx2caffe.shape_folding import fold_shapes
from nnie_pipeline.onnx2caffe.versions import make_runnable
from nnie_pipeline.onnx2caffe.weights import (
    captured,
    refuse_masks,
    refuse_other_weights,
    store_constants,
)

DEFAULT_SIDE = 640
_LARGEST_SIDE = 4096
_LARGEST_INPUT = 1 << 28
# Of onnxslim 0.1.98. It reads the pads of a Pad that names its axes as if they were those of
# all axes, and a factor along rows or columns as one along channels when there are as many.
_WRONG_FUSIONS = ["FusionPadConv", "FusionConvMul", "FusionConvTransposeMul"]


@dataclass(frozen=True)
class FixedModel:
    """`reference` is the given model, cut and at its fixed size; `folded` the same, simplified.

    `assumed` says in words which dynamic axes were given a value, or is empty. `notes` are
    lines about what was repaired in both. `problem` says why shapes are missing, or is empty.
    """

    reference: onnx.ModelProto
    folded: onnx.ModelProto
    inputs: dict[str, Shape]
    shapes: dict[str, Shape]
    assumed: str
    notes: tuple[str, ...] = ()
    problem: str = ""


def fix(
    model: onnx.ModelProto,
    size: tuple[int, int] | None,
    outputs: Sequence[str] | None,
    tolerant: bool = False,
) -> FixedModel:
    """Cut `model` at `outputs` and fix its input size to `size` (height, width).

    Without a size a static axis keeps its value, a dynamic one becomes N=1, H=W=640. With
    `tolerant` a part that does not hold at this size only leaves its shapes unknown.

    Raises:
        InputError: an output that the model does not have, an input that is no picture,
            or a graph that does not hold at this size.
        NotExpressibleError: the model is quantised, its weights are sparse or it reads the
            mask of a Dropout.
    """
    reference = onnx.ModelProto()
    reference.CopyFrom(model)
    del reference.graph.value_info[:]
    del reference.training_info[:]
    for value in reference.graph.input:
        for dim in value.type.tensor_type.shape.dim:
            if dim.HasField("dim_value") and dim.dim_value < 1:
                dim.Clear()  # some exporters write -1 or 0 for an open axis
    if reference.functions:
        reference = inliner.inline_local_functions(reference)
    _cut(reference, outputs or [x.name for x in reference.graph.output], bool(outputs))
    refuse_other_weights(reference)
    refuse_masks(reference)
    store_constants(reference)
    notes = make_float32(reference)
    opset_note = make_runnable(reference)
    notes += [opset_note] if opset_note else []
    _require_floats(reference)
    own = _input_dims(reference)
    own_model = onnx.ModelProto()
    own_model.CopyFrom(reference)
    inputs, assumed = fix_inputs(reference, size)
    batch = max(x[0] for x in own.values())
    if batch > 1:
        notes.append(f"batch {batch} becomes 1")
    if own != inputs and all(min(x) > 0 for x in own.values()):
        notes += _follow(reference, own_model, batch)
    folded = _fold(reference)
    shapes, problem = _shapes(folded)
    if problem and not tolerant:
        raise InputError(
            f"the graph does not hold at this input size: {problem}; choose another size"
        )
    for output in reference.graph.output:
        for side in shapes.get(output.name, ()):
            output.type.tensor_type.shape.dim.add().dim_value = side
    return FixedModel(reference, folded, inputs, shapes, assumed, tuple(notes), problem)


def _follow(reference: onnx.ModelProto, own_model: onnx.ModelProto, batch: int) -> list[str]:
    """Let the constants of a model of static size follow its new size."""
    for output in own_model.graph.output:
        output.type.tensor_type.ClearField("shape")
    try:
        fold_shapes(own_model)
    except Exception:  # onnxruntime's kinds: it does not even hold at its own size
        return []
    own = _shapes(own_model)[0]
    if batch != 1:
        drop_batch(reference, batch, own)
        own = {k: (1, *v[1:]) if v[:1] == (batch,) else v for k, v in own.items()}

    def up_to(model: onnx.ModelProto, name: str) -> dict[str, Shape]:
        part = onnx.ModelProto()
        part.CopyFrom(model)
        _cut(part, [name], True)
        fold_shapes(part)
        return _shapes(part)[0]

    changed = follow_size(reference, own, up_to)
    if not changed:
        return []
    return [f"Resize to constant sizes made to follow the input size: {', '.join(changed)}"]


def _require_floats(model: onnx.ModelProto) -> None:
    for value in model.graph.input:
        kind = value.type.tensor_type.elem_type
        if kind != TensorProto.FLOAT:
            name = TensorProto.DataType.Name(kind).lower()
            raise InputError(
                f"the model's input {value.name} holds {name}, a network for NNIE computes with "
                "floats; export it with a float32 input"
            )


def _input_dims(model: onnx.ModelProto) -> dict[str, Shape]:
    """The declared shapes of the inputs, 0 for an open axis."""
    return {
        x.name: tuple(d.dim_value for d in x.type.tensor_type.shape.dim) for x in model.graph.input
    }


def _cut(model: onnx.ModelProto, outputs: Sequence[str], asked: bool) -> None:
    """Keep only what `outputs` need; `asked` says that they are not the model's own."""
    graph = model.graph
    makers = {name: node for node in graph.node for name in node.output if name}
    for name in outputs:
        if asked and name not in makers:
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
            pending.extend(captured(node))
    nodes = [x for x in graph.node if any(y in needed for y in x.output)]
    weights = [x for x in graph.initializer if x.name in needed]
    types = {x.name: x.type for x in graph.output}
    # IR version 3 lists initializers as inputs too; an input that nobody reads is no picture.
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


def fix_inputs(
    model: onnx.ModelProto, size: tuple[int, int] | None
) -> tuple[dict[str, Shape], str]:
    """Give every axis of the inputs of `model` a value, as `fix` says; (shapes, what was assumed).

    Raises:
        InputError: an input that is no picture, or none at all.
    """
    graph = model.graph
    stored = {x.name for x in graph.initializer}
    read = {x for node in graph.node for x in (*node.input, *captured(node))} - stored
    inputs: dict[str, Shape] = {}
    assumed: list[str] = []
    for value in graph.input:
        if value.name not in read:
            continue
        _check_input(value)
        dims = value.type.tensor_type.shape.dim
        shape = []
        for axis, dim in enumerate(dims):
            known = dim.dim_value or None
            wanted = size[axis - 2] if size and axis > 1 else None
            if axis == 0 and known:
                wanted = 1
            value_of_axis = wanted or known
            if value_of_axis is None:
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
        raise InputError("the model has no input that its outputs need")
    for output in model.graph.output:
        output.type.tensor_type.ClearField("shape")
    text = f"dynamic axes fixed: {', '.join(dict.fromkeys(assumed))}" if assumed else ""
    return inputs, text


def _check_input(value: onnx.ValueInfoProto) -> None:
    """Raise InputError unless the input is a float picture N x C x H x W with C known."""
    kind = value.type.tensor_type
    dims = [x.dim_value for x in kind.shape.dim]
    if len(dims) != 4:
        raise InputError(
            f"the model's input {value.name} has {len(dims)} axes; a network for NNIE takes "
            "pictures of the form N x C x H x W"
        )
    if dims[3] == 3 and dims[1] not in (1, 3, 4) and dims[2] not in (1, 2, 3, 4):
        raise InputError(
            f"the model's input {value.name} has its channels last (N x H x W x C); a network "
            "for NNIE takes N x C x H x W: export it so (tf2onnx: --inputs-as-nchw)"
        )
    if not dims[1]:
        raise InputError(
            f"the model's input {value.name} leaves its channels open; export it with a fixed "
            "number of channels"
        )


def _fold(model: onnx.ModelProto) -> onnx.ModelProto:
    import onnxslim

    copy = onnx.ModelProto()
    copy.CopyFrom(model)
    names = [x.name for x in model.graph.output]
    logging.getLogger("onnxslim").setLevel(logging.CRITICAL)
    try:
        fold_shapes(copy)
        folded = onnxslim.slim(copy, skip_fusion_patterns=_WRONG_FUSIONS)
    except Exception as error:  # the library raises whatever its parts raise
        raise InputError(
            f"the graph does not hold at this input size ({type(error).__name__}: "
            f"{_first_line(error)}); choose another size"
        ) from error
    if not isinstance(folded, onnx.ModelProto) or [x.name for x in folded.graph.output] != names:
        raise InputError("constant folding lost an output of the model; name the outputs to keep")
    # Its shapes are wrong for a Resize that names its axes.
    del folded.graph.value_info[:]
    for output in folded.graph.output:
        output.type.tensor_type.ClearField("shape")
    return folded


def _shapes(model: onnx.ModelProto) -> tuple[dict[str, Shape], str]:
    """The shapes that follow from the input size, and why others do not."""
    problem = ""
    try:
        inferred = shape_inference.infer_shapes(
            model, check_type=True, strict_mode=True, data_prop=True
        )
    except Exception as error:  # shape_inference raises several kinds
        problem = _first_line(error)
        inferred = shape_inference.infer_shapes(model, data_prop=True)
    shapes: dict[str, Shape] = {}
    graph = inferred.graph
    for value in (*graph.input, *graph.value_info, *graph.output):
        if value.type.tensor_type.HasField("shape"):
            dims = [x.dim_value for x in value.type.tensor_type.shape.dim]
            if all(x > 0 for x in dims) and math.prod(dims) < 1 << 40:
                shapes[value.name] = tuple(dims)
    shapes.update({x.name: tuple(x.dims) for x in graph.initializer})
    return shapes, problem


def _first_line(error: Exception) -> str:
    lines = str(error).strip().splitlines()
    return lines[0] if lines else type(error).__name__

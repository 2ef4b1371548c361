"""What an ONNX model holds, and what to change in its export for NNIE."""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from typing import Any

import onnx
from onnx import TensorProto

from nnie_pipeline.caffe.net import Shape
from nnie_pipeline.errors import InputError, NotExpressibleError
from nnie_pipeline.onnx2caffe.convert import find_outputs
from nnie_pipeline.onnx2caffe.load import tensors
from nnie_pipeline.onnx2caffe.normalise import fix
from nnie_pipeline.onnx2caffe.versions import newest_runnable, opset_of

_GOOD_OPSET = 11
_DECODE = frozenset({"Exp", "TopK", "GatherND", "ScatterND", "Range", "NonZero", "Where"})


@dataclass(frozen=True)
class Advice:
    """Something to change in the export; `repaired` says whether this tool does it anyway."""

    topic: str
    found: str
    fix: str
    repaired: bool


@dataclass(frozen=True)
class Refusal:
    """A node that would be refused, and why."""

    node: str
    operator: str
    reason: str


@dataclass(frozen=True)
class Inspection:
    """What `nnie inspect` shows; shapes hold names for open axes, macs are for one picture.

    `refused`, `keep` (outputs with which it converts) and `problem` come of a conversion
    that was tried, at the size `tried` (height, width).
    """

    opset: int
    ir_version: int
    producer: str
    inputs: dict[str, list[int | str]]
    outputs: dict[str, list[int | str]]
    operators: dict[str, int]
    parameters: int
    macs: int
    advice: list[Advice]
    refused: list[Refusal]
    keep: list[str]
    problem: str
    tried: list[int]

    def to_json(self) -> dict[str, Any]:
        """As JSON has it."""
        return asdict(self)


def inspect(model: onnx.ModelProto, size: tuple[int, int] | None = None) -> Inspection:
    """Look at `model`; conversion is tried at `size` (default: its own, or 640x640).

    Raises:
        InputError: as `onnx2caffe.load.load_model`.
    """
    graph = model.graph
    stored = {x.name for x in graph.initializer}
    refused: list[Refusal] = []
    keep: list[str] = []
    problem, tried, macs = "", [], 0
    try:
        fixed = fix(model, size, None, tolerant=True)
        tried = list(next(iter(fixed.inputs.values()))[2:])
        macs = sum(_macs(x, fixed.shapes) for x in fixed.folded.graph.node)
        keep, _, errors = find_outputs(model, size)
        refused = [Refusal(x.node.name, x.node.operator, x.reason) for x in errors]
    except (InputError, NotExpressibleError) as error:
        problem = str(error)
    return Inspection(
        opset=opset_of(model),
        ir_version=model.ir_version,
        producer=f"{model.producer_name} {model.producer_version}".strip(),
        inputs={x.name: _dims(x) for x in graph.input if x.name not in stored},
        outputs={x.name: _dims(x) for x in graph.output},
        operators=dict(Counter(_title(x) for x in _nodes(graph)).most_common()),
        parameters=sum(
            math.prod(x.dims)
            for x in tensors(model)
            if x.data_type in (TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.DOUBLE,
                               TensorProto.BFLOAT16)
        ),
        macs=macs,
        advice=list(_advice(model)),
        refused=refused,
        keep=keep,
        problem=problem,
        tried=tried,
    )  # fmt: skip


def _nodes(graph: onnx.GraphProto) -> Iterator[onnx.NodeProto]:
    for node in graph.node:
        yield node
        for attribute in node.attribute:
            if attribute.type == onnx.AttributeProto.GRAPH:
                yield from _nodes(attribute.g)


def _title(node: onnx.NodeProto) -> str:
    return node.op_type if node.domain in ("", "ai.onnx") else f"{node.domain}:{node.op_type}"


def _dims(value: onnx.ValueInfoProto) -> list[int | str]:
    return [x.dim_value or x.dim_param or "?" for x in value.type.tensor_type.shape.dim]


def _macs(node: onnx.NodeProto, shapes: dict[str, Shape]) -> int:
    """Multiply-accumulate operations of Conv, ConvTranspose, Gemm and MatMul."""
    if len(node.input) < 2 or not node.output:
        return 0
    left, weight = shapes.get(node.input[0]), shapes.get(node.input[1])
    made = shapes.get(node.output[0])
    if left is None or weight is None or made is None:
        return 0
    if node.op_type == "Conv":
        return math.prod(made) * math.prod(weight[1:])
    if node.op_type == "ConvTranspose":
        return math.prod(left) * math.prod(weight[1:])
    if node.op_type in ("Gemm", "MatMul"):
        transposed = any(x.name == "transA" and x.i for x in node.attribute)
        return math.prod(made) * left[-2 if transposed else -1]
    return 0


def _advice(model: onnx.ModelProto) -> Iterator[Advice]:
    yield from _version_advice(model)
    yield from _size_advice(model)
    yield from _tail_advice(model)


def _version_advice(model: onnx.ModelProto) -> Iterator[Advice]:
    opset, newest = opset_of(model), newest_runnable()
    if opset < _GOOD_OPSET:
        yield Advice(
            "opset",
            f"opset {opset}: before {_GOOD_OPSET} Resize does not say how it rounds",
            f"torch.onnx.export(..., opset_version={_GOOD_OPSET})",
            True,
        )
    elif opset > newest:
        yield Advice(
            "opset",
            f"opset {opset} is newer than {newest}, the newest that the installed onnxruntime runs",
            f"torch.onnx.export(..., opset_version={newest})",
            True,
        )
    kinds = {x.data_type for x in tensors(model)}
    if kinds & {TensorProto.FLOAT16, TensorProto.BFLOAT16}:
        yield Advice(
            "number type", "16-bit float weights; NNIE quantises float32 weights itself",
            "model.float() before torch.onnx.export", True,
        )  # fmt: skip


def _size_advice(model: onnx.ModelProto) -> Iterator[Advice]:
    graph = model.graph
    operators = Counter(x.op_type for x in graph.node)
    stored = {x.name for x in graph.initializer}
    constants = stored | {x.output[0] for x in graph.node if x.op_type == "Constant"}
    by_size = [x for x in graph.node if x.op_type == "Resize" and len(x.input) > 3 and x.input[3]]
    if operators["Shape"]:
        yield Advice(
            "sizes taken from shapes",
            f"{operators['Shape']} Shape nodes compute sizes at run time",
            "int() on shapes: h, w = int(x.shape[2]), int(x.shape[3])",
            True,
        )
    if by_size:
        fixed = sum(x.input[3] in constants for x in by_size)
        yield Advice(
            "Resize by sizes",
            f"{len(by_size)} Resize nodes take sizes ({fixed} of them constant, of one input size)",
            "interpolate(x, scale_factor=2) instead of interpolate(x, size=...)",
            True,
        )
    batches = _batch_reshapes(model, constants)
    if batches:
        yield Advice(
            "explicit batch",
            f"{batches} Reshape nodes hold the batch as a number",
            "x.view(-1, ...) with -1 in the batch place and int() elsewhere, or flatten(1)",
            True,
        )
    for value in graph.input:
        dims = _dims(value)
        if value.name not in stored and any(isinstance(x, str) for x in dims):
            yield Advice(
                "dynamic axes",
                f"input {value.name} is {' x '.join(map(str, dims))}",
                "leave dynamic_axes out of torch.onnx.export; or choose with --size",
                len(dims) == 4 and not isinstance(dims[1], str),
            )


def _batch_reshapes(model: onnx.ModelProto, constants: set[str]) -> int:
    values = {x.name: x for x in model.graph.initializer}
    for node in model.graph.node:
        if node.op_type == "Constant" and node.attribute[0].name == "value":
            values[node.output[0]] = node.attribute[0].t
    count = 0
    for node in model.graph.node:
        if node.op_type == "Reshape" and node.input[1] in constants & set(values):
            shape = onnx.numpy_helper.to_array(values[node.input[1]])
            count += bool(shape.size and shape[0] > 0)
    return count


def _tail_advice(model: onnx.ModelProto) -> Iterator[Advice]:
    operators = Counter(x.op_type for x in model.graph.node)
    last = {x.name for x in model.graph.output}
    cut = "return the layers before it from forward(); the rest runs on the CPU"
    if operators["Softmax"]:
        at_end = sum(x.op_type == "Softmax" and x.output[0] in last for x in model.graph.node)
        yield Advice(
            "Softmax inside",
            f"{operators['Softmax']} Softmax nodes, {at_end} of them at the end",
            cut, True,
        )  # fmt: skip
    if operators["NonMaxSuppression"]:
        yield Advice("NMS inside", "NonMaxSuppression cannot run on NNIE", cut, True)
    decode = sorted(_DECODE & set(operators))
    if decode:
        yield Advice("decode inside", f"{', '.join(decode)} decode boxes in the graph", cut, True)
    if model.functions:
        yield Advice(
            "functions", f"{len(model.functions)} functions of the model's own",
            "torch.onnx.export(..., export_modules_as_functions=False)", True,
        )  # fmt: skip

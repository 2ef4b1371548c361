"""Reading an ONNX file: whole, bounded, and with weights from beside it only."""

from __future__ import annotations

import math
from collections.abc import Iterator
from pathlib import Path, PurePosixPath, PureWindowsPath

import onnx
from google.protobuf.message import DecodeError
from onnx import AttributeProto, TensorProto, helper

from nnie_pipeline.errors import InputError
from nnie_pipeline.onnx2caffe.versions import check_versions

_LARGEST_MODEL = (2 << 30) - 1
"""Bytes of a model with all its weights: a protobuf message holds no more."""


def load_model(path: Path) -> onnx.ModelProto:
    """Read an ONNX file, with the weights that lie in files beside it.

    Raises:
        InputError: no such file, not ONNX, truncated, weights outside of the model's own
            folder or of another length than they should have, or a version that the
            installed onnx or onnxruntime does not read.
    """
    model = _parse(path)
    if not model.graph.node or not model.graph.output:
        raise InputError(f"{path} is not an ONNX model: it holds no graph; export it again")
    room = _LARGEST_MODEL - path.stat().st_size
    for tensor in tensors(model):
        if tensor.data_location == TensorProto.EXTERNAL:
            room -= _take_in(tensor, path, room)
    check_versions(model, str(path))
    for output in model.graph.output:
        # The checker wants the field; shapes of outputs are inferred here anyway.
        if output.type.HasField("tensor_type") and not output.type.tensor_type.HasField("shape"):
            output.type.tensor_type.shape.SetInParent()
    try:
        onnx.checker.check_model(model)
    except (onnx.checker.ValidationError, ValueError) as error:
        first = str(error).strip().splitlines()[0]
        raise InputError(f"{path} is not a valid ONNX model: {first}; export it again") from error
    return model


def external_files(path: Path) -> list[str]:
    """The files that hold weights of the model in `path`, as paths from its folder.

    Raises:
        InputError: as `load_model`.
    """
    found = {
        _location(x, path) for x in tensors(_parse(path)) if x.data_location == TensorProto.EXTERNAL
    }
    return sorted(found)


def tensors(model: onnx.ModelProto) -> Iterator[TensorProto]:
    """Every tensor that the model holds: initializers, attributes, those of subgraphs."""
    yield from _graph_tensors(model.graph)
    for function in model.functions:
        for node in function.node:
            yield from _node_tensors(node)


def _graph_tensors(graph: onnx.GraphProto) -> Iterator[TensorProto]:
    yield from graph.initializer
    for sparse in graph.sparse_initializer:
        yield from (sparse.values, sparse.indices)
    for node in graph.node:
        yield from _node_tensors(node)


def _node_tensors(node: onnx.NodeProto) -> Iterator[TensorProto]:
    for attribute in node.attribute:
        if attribute.type == AttributeProto.TENSOR:
            yield attribute.t
        yield from attribute.tensors
        if attribute.type == AttributeProto.GRAPH:
            yield from _graph_tensors(attribute.g)
        for graph in attribute.graphs:
            yield from _graph_tensors(graph)


def _parse(path: Path) -> onnx.ModelProto:
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
    return model


def _location(tensor: TensorProto, model: Path) -> str:
    """The place of external data, from the model's folder; it cannot lead out of that."""
    place = next((x.value for x in tensor.external_data if x.key == "location"), "")
    posix, windows = PurePosixPath(place), PureWindowsPath(place)
    bad = (
        not place
        or "\\" in place
        or "\0" in place
        or posix.is_absolute()
        or windows.drive
        or ".." in posix.parts
    )
    folder = model.absolute().parent
    try:
        if bad or not (folder / place).resolve().is_relative_to(folder.resolve()):
            raise InputError(
                f"{model}: the weight {tensor.name} lies in {place!r}, outside of the model's "
                "folder; copy that file beside the model, or save the model as one file "
                "(onnx.save(model, path, save_as_external_data=False))"
            )
    except (OSError, RuntimeError) as error:  # a loop of symbolic links, a name too long
        raise InputError(f"{model}: the file {place!r} of its weights cannot be read") from error
    return place


def _take_in(tensor: TensorProto, model: Path, room: int) -> int:
    """Read the external data of `tensor` into it; the bytes read."""
    place = _location(tensor, model)
    where = f"{model}: the weight {tensor.name} in {place}"
    fields = {x.key: x.value for x in tensor.external_data}
    try:
        offset = int(fields.get("offset", "0"))
        given = int(fields["length"]) if "length" in fields else None
        item = helper.tensor_dtype_to_np_dtype(tensor.data_type).itemsize
    except (ValueError, KeyError, TypeError) as error:
        raise InputError(f"{where} has no readable offset, length or type") from error
    length = math.prod(tensor.dims) * item
    if min(tensor.dims, default=0) < 0 or offset < 0 or given not in (None, length):
        raise InputError(f"{where} should have {length} bytes, the model says {given}")
    if length > room:
        raise InputError(f"{where}: the model is larger than {_LARGEST_MODEL} bytes with it")
    try:
        with (model.absolute().parent / place).open("rb") as file:
            file.seek(offset)
            data = file.read(length)
    except (OSError, OverflowError, ValueError) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise InputError(
            f"{where} cannot be read ({reason}); keep the file beside the model"
        ) from error
    if len(data) != length:
        raise InputError(
            f"{where} is truncated: {len(data)} of {length} bytes from {offset} on; copy it again"
        )
    tensor.raw_data = data
    tensor.data_location = TensorProto.DEFAULT
    del tensor.external_data[:]
    return length

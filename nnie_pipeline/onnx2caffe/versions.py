"""Which versions of ONNX are read, and newer ones that mean the same as older ones."""

from __future__ import annotations

import functools

import onnx
from onnx import TensorProto, defs, helper

from nnie_pipeline.errors import InputError

OLDEST_OPSET = 7
"""Before it, binary operators broadcast by attributes."""

_NEWEST_IR = 10
"""What is written; what later ones add (devices, 4-bit floats) is not used here."""

_DEFAULT = ("", "ai.onnx")


def opset_of(model: onnx.ModelProto) -> int:
    """The version of ONNX's own operators that the model uses; 0 if it names none."""
    return next((x.version for x in model.opset_import if x.domain in _DEFAULT), 0)


@functools.cache
def newest_runnable() -> int:
    """The newest opset that the installed onnxruntime runs (found by trying)."""
    import onnxruntime

    for opset in range(defs.onnx_opset_version(), OLDEST_OPSET, -1):
        shape = helper.make_tensor_value_info("x", TensorProto.FLOAT, [1])
        out = helper.make_tensor_value_info("y", TensorProto.FLOAT, [1])
        graph = helper.make_graph([helper.make_node("Relu", ["x"], ["y"])], "g", [shape], [out])
        model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
        model.ir_version = 8
        options = onnxruntime.SessionOptions()
        options.log_severity_level = 4
        try:
            onnxruntime.InferenceSession(
                model.SerializeToString(), options, providers=["CPUExecutionProvider"]
            )
        except Exception:  # onnxruntime raises kinds of its own
            continue
        return opset
    return OLDEST_OPSET


def check_versions(model: onnx.ModelProto, where: str) -> None:
    """Refuse a version that cannot be read.

    Raises:
        InputError: names the version to export with.
    """
    opset = opset_of(model)
    newest = defs.onnx_opset_version()
    if not OLDEST_OPSET <= opset <= newest:
        runs = newest_runnable()
        raise InputError(
            f"{where} is ONNX opset {opset or 'without a number'}, nnie reads {OLDEST_OPSET} to "
            f"{newest}; export it with opset_version={runs if opset > runs else 11}"
        )
    for node in model.graph.node:
        if node.domain in _DEFAULT:
            _check_operator(node, opset, where)
    if opset > newest_runnable():
        changed = changed_operators(model, newest_runnable())
        if changed:
            raise InputError(
                f"{where} is ONNX opset {opset}, and the installed onnxruntime runs "
                f"{newest_runnable()} at most, where {', '.join(changed)} means something else; "
                f"export it with opset_version={newest_runnable()}"
            )


def _check_operator(node: onnx.NodeProto, opset: int, where: str) -> None:
    if defs.has(node.op_type, max_inclusive_version=opset, domain=""):
        schema = defs.get_schema(node.op_type, opset, "")
        if schema.deprecated:
            raise InputError(
                f"{where}: operator {node.op_type} was taken out of ONNX in opset "
                f"{schema.since_version}, the model says {opset}; export it with "
                f"opset_version={schema.since_version - 1}"
            )
        return
    versions = [x.since_version for x in defs.get_all_schemas_with_history()
                if x.name == node.op_type and x.domain == ""]  # fmt: skip
    if versions:
        raise InputError(
            f"{where}: operator {node.op_type} exists from opset {min(versions)} on, the model "
            f"says {opset}; export it with opset_version={min(versions)}"
        )
    raise InputError(
        f"{where}: ONNX has no operator {node.op_type} (opset {opset}); export the model with "
        "ONNX's own operators"
    )


def changed_operators(model: onnx.ModelProto, opset: int) -> list[str]:
    """The operators of the model that mean something else in the older `opset`."""
    own = opset_of(model)
    names = sorted({x.op_type for x in model.graph.node if x.domain in _DEFAULT})
    return [
        x
        for x in names
        if not defs.has(x, max_inclusive_version=opset, domain="")
        or defs.get_schema(x, own, "").since_version > opset
    ]


def make_runnable(model: onnx.ModelProto) -> str:
    """Give the model versions that onnxruntime runs; a line that says so, or "".

    Only for a model that `check_versions` let pass: each of its operators is defined the
    same in both opsets, so nothing but the number changes.
    """
    model.ir_version = min(max(model.ir_version, 4), _NEWEST_IR)
    opset = opset_of(model)
    if opset <= newest_runnable():
        return ""
    for entry in model.opset_import:
        if entry.domain in _DEFAULT:
            entry.version = newest_runnable()
    return (
        f"opset {opset} read as {newest_runnable()}, the newest of the installed onnxruntime; "
        "every operator is the same in both"
    )

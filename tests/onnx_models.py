"""Small ONNX models built in tests, and what they compute compared with what Caffe does."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from nnie_pipeline.engine.onnxruntime_engine import Session, open_session
from nnie_pipeline.onnx2caffe.convert import Conversion, convert

Dims = Sequence[int | str]


def node(operator: str, inputs: str, outputs: str, **attributes: Any) -> onnx.NodeProto:
    """A node; inputs and outputs are names with spaces between, "-" for one left out."""
    names = [[("" if x == "-" else x) for x in y.split()] for y in (inputs, outputs)]
    return helper.make_node(operator, *names, name=f"{operator}_{names[1][0]}", **attributes)


def model(
    nodes: Sequence[onnx.NodeProto],
    weights: dict[str, Any] | None = None,
    inputs: dict[str, Dims] | None = None,
    outputs: Sequence[str] = ("y",),
    opset: int = 17,
    kind: int = TensorProto.FLOAT,
    ir_version: int = 8,
) -> onnx.ModelProto:
    """A model with float inputs (default "x", 1x4x8x8)."""
    graph = helper.make_graph(
        list(nodes),
        "g",
        [
            helper.make_tensor_value_info(k, kind, list(v))
            for k, v in (inputs or {"x": (1, 4, 8, 8)}).items()
        ],
        [helper.make_tensor_value_info(x, kind, None) for x in outputs],
        [numpy_helper.from_array(np.asarray(v), k) for k, v in (weights or {}).items()],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
    made.ir_version = ir_version
    return made


def randoms(*shape: int, seed: int = 0) -> np.ndarray:
    """Seeded float32 numbers around 0."""
    return np.random.default_rng(seed).normal(size=shape).astype(np.float32)


def worst_error(done: Conversion, source: onnx.ModelProto | None = None, seed: int = 1) -> float:
    """The largest relative error of any output, on seeded numbers, against onnxruntime.

    `source` is the model to run as reference (default: the conversion's own).
    """
    generator = np.random.default_rng(seed)
    feed = {k: generator.normal(0.3, 1, v).astype(np.float32) for k, v in done.fixed.inputs.items()}
    reference = open_session((source or done.fixed.reference).SerializeToString())
    expected = reference.run(list(done.outputs), feed)
    found = Session(done.net).run(dict(zip(done.net.inputs, feed.values(), strict=True)))
    errors = []
    for (name, blob), array in zip(done.outputs.items(), expected, strict=True):
        assert array.shape == found[blob].shape, name
        assert np.abs(array).max() > 0, name
        errors.append(float(np.abs(array - found[blob]).max() / np.abs(array).max()))
    return max(errors)


def converted(source: onnx.ModelProto, **options: Any) -> Conversion:
    """The conversion of `source`, which computes the same within 1e-5."""
    done = convert(source, "net", **options)
    assert worst_error(done) < 1e-5
    return done

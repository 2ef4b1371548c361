"""Small ONNX models, and the proof that their Caffe networks compute the same."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from nnie_pipeline.caffe.caffe_pb2 import LayerParameter
from nnie_pipeline.caffe.net import Net
from nnie_pipeline.chips.check import check
from nnie_pipeline.engine.onnxruntime_engine import Session, open_session
from nnie_pipeline.errors import NotExpressibleError
from nnie_pipeline.onnx2caffe.convert import convert
from tests.caffe_reference import run_layer

NEWEST = 26
"""The newest opset that onnxruntime runs."""

FLOAT32 = 1e-5
"""What rounding may change, relative to the largest value of the result."""

Draw = Callable[[np.random.Generator, tuple[int, ...]], npt.NDArray[Any]]


def node(operator: str, inputs: str, outputs: str = "y", **attributes: Any) -> onnx.NodeProto:
    """A node; inputs and outputs are names with spaces between, `-` for one left out.

    It is called after its operator and its first output.
    """
    read = ["" if x == "-" else x for x in inputs.split()]
    made = outputs.split()
    return helper.make_node(operator, read, made, f"{operator}_{made[0]}", **attributes)


def model(
    nodes: Sequence[onnx.NodeProto],
    constants: Mapping[str, Any] | None = None,
    inputs: Mapping[str, tuple[int, ...]] | None = None,
    outputs: str = "y",
    opset: int = 17,
) -> onnx.ModelProto:
    """A model with the input x of 1 x 3 x 8 x 10, unless `inputs` says otherwise.

    Constants that are no arrays become float32.
    """
    shapes = inputs or {"x": (1, 3, 8, 10)}
    arrays = {
        k: v if isinstance(v, np.ndarray) else np.array(v, np.float32)
        for k, v in (constants or {}).items()
    }
    graph = helper.make_graph(
        list(nodes),
        "small",
        [helper.make_tensor_value_info(k, TensorProto.FLOAT, v) for k, v in shapes.items()],
        [helper.make_tensor_value_info(x, TensorProto.FLOAT, None) for x in outputs.split()],
        [numpy_helper.from_array(v, k) for k, v in arrays.items()],
    )
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", opset)])
    made.ir_version = 8
    return made


def normal(rng: np.random.Generator, shape: tuple[int, ...]) -> npt.NDArray[Any]:
    """Around 0, as far as about 15; some exactly 0."""
    values = rng.normal(0, 4, shape)
    values[rng.random(shape) < 0.02] = 0
    return values


def positive(rng: np.random.Generator, shape: tuple[int, ...]) -> npt.NDArray[Any]:
    """From 0.1 to about 1000."""
    return np.asarray(0.1 + np.exp(rng.normal(0, 2, shape)))


def away_from_zero(rng: np.random.Generator, shape: tuple[int, ...]) -> npt.NDArray[Any]:
    """Positive and negative, of a magnitude from 0.1 on."""
    return np.asarray(positive(rng, shape) * rng.choice([-1, 1], shape))


def agree(
    source: onnx.ModelProto, draw: Draw = normal, kinds: str | None = None, bound: float = FLOAT32
) -> Net:
    """Convert `source` and compare it with onnxruntime; give back the Caffe network.

    Compared are the engine (float32) and the layers' definitions (float64). The network
    must break no rule of severity error. `kinds` are the layer types in order.
    """
    conversion = convert(source, "small")
    net = conversion.net
    # Inputs smaller than a picture stand for blobs that a network computes.
    errors = [x for x in check(net) if x.severity == "error" and x.id != "input-size"]
    assert not errors, errors
    if kinds is not None:
        assert " ".join(x.type for x in net.layers) == kinds
    rng = np.random.default_rng(7)
    feed = {k: draw(rng, v).astype(np.float32) for k, v in net.inputs.items()}
    names = [x.name for x in source.graph.output]
    wanted = dict(
        zip(names, open_session(source.SerializeToString()).run(names, feed), strict=True)
    )
    engine = {**feed, **Session(net).run(feed)}
    defined = by_definition(net, feed)
    for name in names:
        blob = conversion.outputs[name]
        for made in (engine[blob], defined[blob]):
            assert made.shape == wanted[name].shape
            largest = np.abs(wanted[name]).max()
            assert largest > 0
            assert np.abs(made - wanted[name]).max() <= bound * largest
    return net


def by_definition(net: Net, inputs: Mapping[str, npt.NDArray[Any]]) -> dict[str, npt.NDArray[Any]]:
    """Every value of `net` from the definition of Caffe's layers."""
    values: dict[str, npt.NDArray[Any]] = dict(inputs)
    for layer in net.layers:
        proto = LayerParameter()
        proto.CopyFrom(layer.params)
        proto.type = layer.type
        proto.top.extend(layer.tops)
        tops = run_layer(proto, [values[x] for x in layer.bottoms], layer.weights)
        values.update(zip(layer.tops, tops, strict=True))
    return values


def refusal(source: onnx.ModelProto) -> str:
    """The one line with which `source` is refused."""
    with pytest.raises(NotExpressibleError) as caught:
        convert(source, "small")
    text = str(caught.value)
    assert "\n" not in text
    return text

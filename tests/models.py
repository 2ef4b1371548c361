"""The real networks and photographs that tests run on, fetched once into the user's cache."""

from __future__ import annotations

import functools
import os
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import onnx
import onnxruntime
from onnx import numpy_helper

from nnie_pipeline.calibration.geometry import place
from nnie_pipeline.calibration.pictures import read_picture
from nnie_pipeline.zoo.fetch import fetch
from nnie_pipeline.zoo.pictures import Picture, default_pictures
from nnie_pipeline.zoo.spec import load_spec, zoo_names

GIVEN = {
    "mobilefacenet-relu6": "models/mobilefacenet/MobileFaceNet_relu6.onnx",
    "retinaface-pytorch": "models/retinaface_pytorch/FaceDetector.onnx",
    "ultraface-slim": "models/ultraface/version-slim-320.onnx",
    "yolox-nano": "models/yolox/yolox_nano.onnx",
}
"""Where the test data has the weights that no package holds."""


@functools.cache
def retinaface_onnx() -> Path:
    """The ONNX file of the zoo's RetinaFace."""
    return fetch(load_spec("retinaface")).path


@functools.cache
def photographs() -> dict[str, Picture]:
    """The default calibration pictures by name."""
    return {x.name: x for x in default_pictures()}


def given(name: str) -> Path | None:
    """The file of test data to pass as weights of `name`; None when a package holds them.

    Raises:
        LookupError: there is no test data.
    """
    if name not in GIVEN:
        return None
    folder = os.environ.get("NNIE_TEST_DATA")
    if not folder:
        raise LookupError("test data (set NNIE_TEST_DATA)")
    return Path(folder) / GIVEN[name]


def onnx_names() -> list[str]:
    """The models of the zoo whose weights are ONNX files."""
    return [x for x in zoo_names() if not load_spec(x).is_caffe]


def network_file(name: str) -> Path:
    """The ONNX file of a network of the zoo, its hash checked.

    Raises:
        LookupError: it is test data, and there is none.
    """
    return fetch(load_spec(name), given(name)).path


def network_input(name: str, picture: str, size: tuple[int, int]) -> np.ndarray:
    """A photograph as the network `name` takes it: float32 (1, 3, height, width)."""
    wanted = load_spec(name).input
    fill = wanted.fill if wanted.colour == "BGR" else wanted.fill[::-1]
    pixels, _ = read_picture(photographs()[picture].path)
    canvas, _ = place(pixels, size, wanted.geometry, wanted.anchor, tuple(fill))  # type: ignore[arg-type]
    ordered = canvas if wanted.colour == "BGR" else canvas[..., ::-1]
    values = (ordered.astype(np.float32) - np.float32(wanted.mean)) * np.float32(wanted.scale)
    return np.ascontiguousarray(values.transpose(2, 0, 1)[np.newaxis])


def original_outputs(name: str, blob: np.ndarray) -> list[np.ndarray]:
    """What the original ONNX file gives for `blob`, at its own size."""
    session = onnxruntime.InferenceSession(network_file(name))
    found: list[np.ndarray] = session.run(None, {session.get_inputs()[0].name: blob})
    return found


def kept_outputs(name: str, blob: np.ndarray) -> list[np.ndarray]:
    """The tensors of the spec's `outputs`, computed by onnxruntime at the size of `blob`."""
    return values_of(network_file(name), load_spec(name).outputs, blob)


def values_of(file: Path, outputs: Sequence[str], blob: np.ndarray) -> list[np.ndarray]:
    """The tensors `outputs` of an ONNX file, computed by onnxruntime at the size of `blob`.

    Made by hand: nodes that the outputs do not need are left out, the input is declared with
    the new size, and the sizes that an upsampling has as constants grow like the input.
    """
    model = onnx.load(file)
    graph = model.graph
    del graph.output[:]
    graph.output.extend(onnx.ValueInfoProto(name=x) for x in outputs)
    del graph.value_info[:]
    needed = set(outputs)
    for node in reversed(list(graph.node)):
        if needed & set(node.output):
            needed |= set(node.input)
        else:
            graph.node.remove(node)
    weights = {x.name for x in graph.initializer}
    entry = next(x for x in graph.input if x.name not in weights)
    sides = entry.type.tensor_type.shape.dim
    old = [x.dim_value for x in sides]
    for side, value in zip(sides, blob.shape, strict=True):
        side.dim_value = value
    sizes = {x.input[3] for x in graph.node if x.op_type == "Resize" and len(x.input) > 3}
    sizes |= {x.input[0] for x in graph.node if x.op_type == "Div"}  # size / the input's size
    for tensor in graph.initializer:
        if tensor.name in sizes:
            value = numpy_helper.to_array(tensor)
            now = value * np.array(blob.shape)[-len(value) :] / old[-len(value) :]
            tensor.CopyFrom(numpy_helper.from_array(now.astype(value.dtype), tensor.name))
    session = onnxruntime.InferenceSession(model.SerializeToString())
    found: list[np.ndarray] = session.run(list(outputs), {entry.name: blob})
    return found

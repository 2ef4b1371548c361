"""The input size that a model's file asks for."""

from __future__ import annotations

from pathlib import Path

from nnie_pipeline.caffe.files import read_net
from nnie_pipeline.errors import InputError
from nnie_pipeline.onnx2caffe.load import load_model
from nnie_pipeline.onnx2caffe.normalise import fix_inputs


def input_size(path: Path) -> tuple[tuple[int, int], str]:
    """(height, width) of the ONNX model in `path`, and what had to be assumed, in words.

    Of several inputs the first counts.

    Raises:
        InputError: not an ONNX model, or not one that takes pictures.
    """
    inputs, assumed = fix_inputs(load_model(path), None)
    height, width = next(iter(inputs.values()))[2:]
    return (height, width), assumed


def caffe_input_size(prototxt: Path) -> tuple[tuple[int, int], str]:
    """(height, width) of the Caffe network in `prototxt`; nothing is assumed.

    Raises:
        InputError: no prototxt, or its first input is no picture.
    """
    name, shape = next(iter(read_net(prototxt).inputs.items()))
    if len(shape) != 4:
        raise InputError(
            f"{prototxt}: the input {name} has the shape {list(shape)}, which is no picture "
            "(1 x channels x height x width)"
        )
    return (shape[2], shape[3]), ""

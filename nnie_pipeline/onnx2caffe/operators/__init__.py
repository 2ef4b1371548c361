"""One converter an ONNX operator; importing this package registers them all."""

from nnie_pipeline.onnx2caffe.operators import (
    activations,
    arithmetic,
    clip,
    convolutions,
    functions,
    layout,
    normalization,
    pools,
    softmax,
    unchanged,
)

__all__ = [
    "activations",
    "arithmetic",
    "clip",
    "convolutions",
    "functions",
    "layout",
    "normalization",
    "pools",
    "softmax",
    "unchanged",
]

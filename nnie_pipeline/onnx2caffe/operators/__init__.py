"""One converter an ONNX operator; importing this package registers them all."""

from nnie_pipeline.onnx2caffe.operators import (
    activations,
    arithmetic,
    clip,
    convolutions,
    functions,
    layout,
    linear,
    normalization,
    padding,
    pools,
    reductions,
    resize,
    slicing,
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
    "linear",
    "normalization",
    "padding",
    "pools",
    "reductions",
    "resize",
    "slicing",
    "softmax",
    "unchanged",
]

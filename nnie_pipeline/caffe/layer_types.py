"""The layer types that Caffe and NNIE know: one list, and the nearest name to a misspelt one."""

from __future__ import annotations

import difflib
from collections.abc import Iterable

BVLC = frozenset(
    {"AbsVal", "ArgMax", "BNLL", "BatchNorm", "BatchReindex", "Bias", "Concat", "Convolution",
     "Crop", "Deconvolution", "Dropout", "ELU", "Eltwise", "Embed", "Exp", "Filter", "Flatten",
     "Im2col", "InnerProduct", "Input", "LRN", "LSTM", "LSTMUnit", "Log", "MVN", "PReLU",
     "Parameter", "Pooling", "Power", "Python", "RNN", "ReLU", "Reduction", "Reshape", "SPP",
     "Scale", "Sigmoid", "Silence", "Slice", "Softmax", "Split", "TanH", "Threshold", "Tile"}
)  # fmt: skip
"""The layers of Caffe 1.0 that a deployed network can have."""

NNIE = frozenset(
    {"CReLU", "Custom", "DepthwiseConv", "MatMul", "Normalize", "PSROIPooling", "PassThrough",
     "Permute", "Proposal", "ROIPooling", "RReLU", "Upsample"}
)  # fmt: skip
"""What HiSilicon's mapper takes besides (HiSVP development guide, section 4.3.2)."""

FORKS = frozenset(
    {"Axpy", "BN", "Clip", "ConvolutionDepthwise", "DepthwiseConvolution",
     "DetectionOutput", "Focus", "HardSigmoid",
     "HardSwish", "Interp", "Mish", "PriorBox", "ReLU6", "Resize", "ShuffleChannel", "SiLU",
     "Swish"}
)  # fmt: skip
"""Layers of common forks (SSD, PSPNet, ShuffleNet, ...), known by name."""

DATA = frozenset(
    {"AnnotatedData", "Data", "DummyData", "HDF5Data", "ImageData", "MemoryData", "VideoData",
     "WindowData"}
)  # fmt: skip
"""Layers that feed a network from files."""

TRAINING = frozenset(
    {"Accuracy", "ContrastiveLoss", "DetectionEvaluate", "EuclideanLoss", "HDF5Output",
     "HingeLoss", "InfogainLoss", "MultiBoxLoss", "MultinomialLogisticLoss",
     "SigmoidCrossEntropyLoss", "SmoothL1Loss", "SoftmaxWithLoss"}
)  # fmt: skip
"""Losses and measures, which a deployed network does not have."""

KNOWN = BVLC | NNIE | FORKS | DATA | TRAINING


def feeds(layer_type: str, bottoms: int) -> bool:
    """Whether a layer of this type and number of bottoms reads the training data.

    Forks add data layers of their own; all are called ...Data, or are Python layers, and have no
    bottom.
    """
    named = layer_type in DATA or layer_type.endswith("Data") or layer_type == "Python"
    return bottoms == 0 and named


def trains(layer_type: str) -> bool:
    """Whether a layer of this type computes a loss or a measure; forks call theirs ...Loss."""
    return layer_type in TRAINING or layer_type.endswith(("Loss", "Accuracy"))


def nearest(name: str, known: Iterable[str]) -> str | None:
    """The name of `known` that `name` was probably meant to be, whatever its case."""
    folded = {x.casefold(): x for x in sorted(known)}
    found = difflib.get_close_matches(name[:64].casefold(), folded, n=1)
    return folded[found[0]] if found else None


def meant(name: str, known: Iterable[str]) -> str:
    """The end of a message: `; did you mean X?`, or nothing."""
    found = nearest(name, known)
    return f"; did you mean {found}?" if found else ""

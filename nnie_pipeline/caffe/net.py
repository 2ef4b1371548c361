"""`Net`: a Caffe network in which every value has a name of its own.

Caffe lets a layer overwrite its bottom ("in place"), so one blob name stands for several
values. Passes and layer-by-layer comparison need each value named once; reading a
prototxt therefore renames the overwritten values and writing one restores Caffe's form
(see `nnie_pipeline.caffe.files`).
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from nnie_pipeline.caffe.caffe_pb2 import LayerParameter

Shape = tuple[int, ...]
Array = npt.NDArray[np.float32]

IN_PLACE_TYPES = frozenset(
    {"BatchNorm", "Scale", "Bias", "ReLU", "Sigmoid", "TanH", "PReLU", "RReLU", "AbsVal", "ELU",
     "BNLL", "Power", "Exp", "Log", "Threshold", "Dropout", "Softmax", "Clip", "HardSigmoid",
     "HardSwish", "ReLU6", "Swish"}
)  # fmt: skip
"""Layers whose top has the shape of the first bottom and that Caffe can compute in place."""

DEPTHWISE = frozenset({"DepthwiseConv", "ConvolutionDepthwise", "DepthwiseConvolution"})
"""Convolutions with a group a channel: the mapper's type, and what Caffe's forks call it."""

REPORT_MARKER = "_report"
"""Ends the name of a top that the mapper gives out though another layer reads it (HiSVP
development guide, markers)."""


@dataclass
class Layer:
    """One Caffe layer.

    `bottoms` and `tops` name values of the `Net`; `params` carries only the `*_param`
    message of the layer's type; `weights` are its float32 blobs in Caffe's order and
    layout. `in_place` asks the writer to give the top its bottom's name. `origin` says
    what the layer came from: an ONNX node or Caffe layer, then the passes that touched it.
    """

    name: str
    type: str
    bottoms: list[str]
    tops: list[str]
    params: LayerParameter = field(default_factory=LayerParameter)
    weights: list[Array] = field(default_factory=list)
    in_place: bool = False
    origin: tuple[str, ...] = ()

    def copy(self) -> Layer:
        """An independent layer; the weight arrays are shared, passes replace them."""
        params = LayerParameter()
        params.CopyFrom(self.params)
        return Layer(
            self.name, self.type, list(self.bottoms), list(self.tops), params,
            list(self.weights), self.in_place, self.origin,
        )  # fmt: skip


@dataclass
class Net:
    """A network: inputs with their fixed shapes (N first), layers in order, outputs in order.

    `notes` say, a line each, what reading the files changed (old forms, layers of training).
    """

    name: str
    inputs: dict[str, Shape]
    layers: list[Layer]
    outputs: list[str]
    notes: list[str] = field(default_factory=list)

    def copy(self) -> Net:
        """An independent network that shares the weight arrays."""
        return Net(
            self.name,
            dict(self.inputs),
            [x.copy() for x in self.layers],
            list(self.outputs),
            list(self.notes),
        )

    def producers(self) -> dict[str, Layer]:
        """The layer that makes each value."""
        return {top: layer for layer in self.layers for top in layer.tops}

    def consumers(self) -> dict[str, list[Layer]]:
        """The layers that read each value, in order; a value nobody reads has no entry."""
        readers: dict[str, list[Layer]] = {}
        for layer in self.layers:
            for bottom in dict.fromkeys(layer.bottoms):
                readers.setdefault(bottom, []).append(layer)
        return readers

    def values(self) -> Iterator[str]:
        """Every value: inputs first, then tops in execution order."""
        yield from self.inputs
        for layer in self.layers:
            yield from layer.tops

    def rename(self, old: str, new: str) -> None:
        """Give the value `old` the name `new` wherever it stands."""
        if old in self.inputs:
            self.inputs = {new if k == old else k: v for k, v in self.inputs.items()}
        for layer in self.layers:
            layer.bottoms = [new if x == old else x for x in layer.bottoms]
            layer.tops = [new if x == old else x for x in layer.tops]
        self.outputs = [new if x == old else x for x in self.outputs]

    def bypass(self, layer: Layer) -> dict[str, str]:
        """Take out a layer whose tops all equal its first bottom; old to new names of values.

        An output of the network keeps its name, unless the bottom is one itself.
        """
        self.layers = [x for x in self.layers if x is not layer]
        first = bottom = layer.bottoms[0]
        for top in layer.tops:
            if top in self.outputs and bottom not in self.outputs and bottom not in self.inputs:
                self.rename(bottom, top)
                bottom = top
            else:
                self.rename(top, bottom)
        self.outputs = list(dict.fromkeys(self.outputs))
        return {x: bottom for x in (first, *layer.tops) if x != bottom}

    def drop_unused(self) -> None:
        """Leave out every layer that no output needs."""
        needed = set(self.outputs)
        kept = []
        for layer in reversed(self.layers):
            if needed.intersection(layer.tops):
                needed.update(layer.bottoms)
                kept.append(layer)
        self.layers = kept[::-1]

    def mark_outputs(self) -> dict[str, str]:
        """Mark the outputs that layers read, which a file would lose; old to new names."""
        read = self.consumers()
        renamed: dict[str, str] = {}
        for value in list(self.outputs):
            if value in read and value not in self.inputs and not value.endswith(REPORT_MARKER):
                base, number = value, 1
                while f"{base}{REPORT_MARKER}" in self.values():
                    number += 1
                    base = f"{value}_{number}"
                renamed[value] = f"{base}{REPORT_MARKER}"
                self.rename(value, renamed[value])
        return renamed

    def find(self, name: str) -> Layer:
        """The layer called `name`.

        Raises:
            KeyError: there is none.
        """
        for layer in self.layers:
            if layer.name == name:
                return layer
        raise KeyError(name)

"""Caffe layers that together compute one ONNX node.

A converter takes its inputs as `Value`s, makes further ones and ends with `done`, which gives
the last of them the name of the node's output.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import NoReturn

import numpy as np
import numpy.typing as npt

from nnie_pipeline.caffe.caffe_pb2 import LayerParameter
from nnie_pipeline.caffe.compose import Composition, Value
from nnie_pipeline.caffe.net import Array, Shape
from nnie_pipeline.onnx2caffe.graph import Graph, Node


@dataclass(frozen=True)
class Composer(Composition):
    """Appends the layers of `node` to `graph`."""

    graph: Graph
    node: Node

    def input(self, index: int) -> Value:
        """The node's input as a computed value."""
        return self.value(self.node.inputs[index])

    def value(self, name: str) -> Value:
        """The value with this ONNX name."""
        return Value(self.graph.blob(self.node, name), self.graph.shape(self.node, name))

    def target(self) -> Shape:
        """The shape of the node's output."""
        return self.graph.shape(self.node, self.node.outputs[0])

    def done(self, value: Value) -> None:
        """Make `value` the node's output; one that has an ONNX name already keeps it."""
        output = self.node.outputs[0]
        if value.blob in self.graph.blobs.values():
            self.graph.blobs[output] = value.blob
            return
        layer = next(x for x in self.graph.net.layers if value.blob in x.tops)
        name = self.graph.name_for(output)
        layer.name = name
        layer.tops = [name]
        self.graph.blobs[output] = name

    def layer(
        self,
        kind: str,
        bottoms: Sequence[Value],
        weights: Sequence[npt.NDArray[np.floating]] = (),
        params: LayerParameter | None = None,
        shape: Shape | None = None,
    ) -> Value:
        """A layer of type `kind`; its top has the first bottom's shape unless `shape` is given."""
        stored: list[Array] = [np.asarray(x, dtype=np.float32) for x in weights]
        blobs = [x.blob for x in bottoms]
        blob = self.graph.add(self.node, kind, blobs, stored, params, suffix=kind.lower())
        return Value(blob, bottoms[0].shape if shape is None else shape)

    def refuse_without_channels(self) -> NoReturn:
        """Refuse the node: its values lie along channels, its input has none."""
        self.graph.refuse(
            self.node,
            "NNIE's Scale and Bias lie along the channel axis, its input has none",
            "keep the batch axis in front (shape 1 x C)",
        )

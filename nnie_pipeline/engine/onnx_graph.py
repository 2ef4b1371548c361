"""The ONNX graph under construction that the engine's layers are written into."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper, numpy_helper

from nnie_pipeline.caffe.net import Layer, Shape
from nnie_pipeline.errors import InputError

_SMALLEST_NORMAL = np.float32(2.0**-126)


class Graph:
    """Collects nodes and constants; values carry the names they have in the `Net`."""

    def __init__(self, shapes: dict[str, Shape]) -> None:
        self.shapes = shapes
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []
        self._temporaries = 0

    def constant(self, value: npt.ArrayLike, dtype: npt.DTypeLike = np.float32) -> str:
        """The name of a new constant.

        Denormal float32 numbers become 0: trained weights around 1e-39 (MobileFaceNet has
        270,000) make x86 ten times slower and no output different.
        """
        name = self._free("constant", len(self.constants))
        array: npt.NDArray[Any] = np.array(value, dtype=dtype, order="C")
        if array.dtype == np.float32:
            array[np.abs(array) < _SMALLEST_NORMAL] = 0
        self.constants.append(numpy_helper.from_array(array, name))
        return name

    def add(
        self, operator: str, inputs: Sequence[str], output: str | None = None, **attributes: Any
    ) -> str:
        """Append a node; its output is a new name unless `output` is given."""
        name = output or self.name_temporary()
        self.add_several(operator, inputs, [name], **attributes)
        return name

    def add_several(
        self, operator: str, inputs: Sequence[str], outputs: Sequence[str], **attributes: Any
    ) -> None:
        """Append a node with several outputs."""
        name = f"n{len(self.nodes)}"
        self.nodes.append(
            helper.make_node(operator, list(inputs), list(outputs), name, **attributes)
        )

    def name_temporary(self) -> str:
        """A new name for a value between nodes."""
        self._temporaries += 1
        return self._free("temporary", self._temporaries)

    def _free(self, kind: str, number: int) -> str:
        """A name that no value of the network has."""
        name = f"{kind}:{number}"
        while name in self.shapes:
            name += "_"
        return name

    def reshape(self, value: str, shape: Sequence[int], output: str | None = None) -> str:
        """`value` laid out as `shape`."""
        return self.add("Reshape", [value, self.constant(shape, np.int64)], output)

    def reduce(
        self, operator: str, value: str, axes: Sequence[int], keep: bool, output: str | None = None
    ) -> str:
        """One of ONNX's Reduce operators along `axes`."""
        if operator == "ReduceSum":  # its axes became an input in operator set 13
            along = self.constant(axes, np.int64)
            return self.add(operator, [value, along], output, keepdims=int(keep))
        return self.add(operator, [value], output, axes=list(axes), keepdims=int(keep))


Emit = Callable[[Graph, Layer], None]


def require_weights(layer: Layer) -> None:
    """Raise InputError when the caffemodel holds nothing for the layer."""
    if not layer.weights:
        raise InputError(
            f"layer {layer.name} ({layer.type}) has no weights in the caffemodel; give the one "
            "that belongs to the prototxt"
        )

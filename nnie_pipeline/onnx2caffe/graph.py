"""What a converter sees of the ONNX graph, and where it puts its Caffe layers."""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, NoReturn, TypeAlias

import numpy as np
import numpy.typing as npt
import onnx
from onnx import helper, numpy_helper

from nnie_pipeline.caffe.caffe_pb2 import LayerParameter
from nnie_pipeline.caffe.net import Array, Layer, Net, Shape
from nnie_pipeline.errors import NotExpressibleError

Index: TypeAlias = "npt.NDArray[np.int32]"


@dataclass(frozen=True)
class Node:
    """An ONNX node with its attributes as plain Python values."""

    name: str
    operator: str
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    attributes: dict[str, Any]
    domain: str = ""

    @staticmethod
    def of(proto: onnx.NodeProto) -> Node:
        """The node of a protobuf message; unnamed nodes are called after their output."""
        attributes = {x.name: helper.get_attribute_value(x) for x in proto.attribute}
        decoded = {k: v.decode() if isinstance(v, bytes) else v for k, v in attributes.items()}
        name = proto.name or next((x for x in proto.output if x), proto.op_type)
        return Node(name, proto.op_type, tuple(proto.input), tuple(proto.output), decoded,
                    proto.domain)  # fmt: skip

    def get(self, attribute: str, default: Any) -> Any:
        """The attribute's value, or `default`."""
        return self.attributes.get(attribute, default)

    def input(self, index: int) -> str:
        """The name of an input, or "" when it is left out."""
        return self.inputs[index] if index < len(self.inputs) else ""


@dataclass(frozen=True, eq=False)
class Move:
    """A value that holds the numbers of a Caffe blob in another order.

    `index` has the value's shape; each element is the place in the blob's flat data, or -1
    for a 0 that stands in no blob.
    """

    blob: str
    shape: Shape
    index: Index

    @staticmethod
    def of(blob: str, shape: Shape) -> Move:
        """The blob as it is."""
        return Move(blob, shape, np.arange(math.prod(shape), dtype=np.int32).reshape(shape))


@dataclass
class Graph:
    """The graph under conversion: constants and shapes by ONNX name, layers made so far.

    A value that only moves numbers is a `Move` until a layer reads it as a blob: a
    convolution may take it into its kernel, and two moves may cancel.
    """

    opset: int
    shapes: dict[str, Shape]
    constants: dict[str, npt.NDArray[Any]]
    net: Net
    blobs: dict[str, str] = field(default_factory=dict)
    read: frozenset[str] = frozenset()
    _used: set[str] = field(default_factory=set)
    _moves: dict[str, Move] = field(default_factory=dict)
    _makers: dict[str, Callable[[], None]] = field(default_factory=dict)

    def is_constant(self, name: str) -> bool:
        """Whether the input is a weight."""
        return name in self.constants

    def constant(self, node: Node, index: int) -> npt.NDArray[Any] | None:
        """The value of an input that is a weight; None when the input is left out.

        Raises:
            NotExpressibleError: the input is computed by the network.
        """
        name = node.input(index)
        if not name:
            return None
        if name not in self.constants:
            self.refuse(
                node,
                f"its input {name} is computed by the network, Caffe needs it as a constant",
                "export the model with a fixed value there",
            )
        return self.constants[name]

    def weight(self, node: Node, index: int) -> Array | None:
        """As `constant`, as float32."""
        value = self.constant(node, index)
        return None if value is None else np.asarray(value, dtype=np.float32)

    def shape(self, node: Node, name: str) -> Shape:
        """The shape of a value.

        Raises:
            NotExpressibleError: it is not known at the fixed input size.
        """
        if name not in self.shapes:
            self.refuse(
                node,
                f"the shape of {name} depends on the data",
                "export the model so that shapes follow from the input size alone",
            )
        return self.shapes[name]

    def blob(self, node: Node, name: str) -> str:
        """The Caffe value that holds an ONNX value.

        Raises:
            NotExpressibleError: it is a constant, which Caffe cannot feed to this layer.
        """
        blob = self.find(name)
        if blob is None:
            self.refuse(
                node,
                f"its input {name} is a constant, Caffe's layer takes computed blobs only",
                "fold the constant into the layer before",
            )
        return blob

    def find(self, name: str) -> str | None:
        """As `blob`; None for a constant.

        Raises:
            NotExpressibleError: the value moves numbers in a way that no Caffe layer does.
        """
        make = self._makers.pop(name, None)
        if make is not None:
            del self._moves[name]
            make()
        return self.blobs.get(name)

    def is_moved(self, name: str) -> bool:
        """Whether no layer makes the value yet."""
        return name in self._makers

    def move(self, node: Node, name: str) -> Move:
        """How the value's numbers lie in a Caffe blob.

        Raises:
            NotExpressibleError: as `blob`.
        """
        if name in self._makers:
            return self._moves[name]
        return Move.of(self.blob(node, name), self.shape(node, name))

    def defer(self, name: str, move: Move, make: Callable[[], None]) -> None:
        """The ONNX value `name` is `move`; `make` adds its layer once one is needed."""
        self._moves[name] = move
        self._makers[name] = make

    def name_for(self, onnx_name: str) -> str:
        """A free layer name that still tells the ONNX name."""
        base = readable_name(onnx_name)
        name = base
        number = 1
        while name in self._used:
            number += 1
            name = f"{base}_{number}"
        self._used.add(name)
        return name

    def add(
        self,
        node: Node,
        kind: str,
        bottoms: Sequence[str],
        weights: Sequence[Array] = (),
        params: LayerParameter | None = None,
        tops: Sequence[str] | None = None,
        suffix: str = "",
    ) -> str:
        """Append a layer for `node` and give back its first top.

        `bottoms` are Caffe values. `tops` are the ONNX outputs it makes (default: the
        node's first); a layer that only prepares another passes `suffix` instead and
        makes a value of its own.
        """
        if suffix:
            layer_name = self.name_for(f"{node.outputs[0]}_{suffix}")
            values = [layer_name]
        else:
            made = list(tops or node.outputs[:1])
            values = [self.name_for(x) for x in made]
            layer_name = values[0]
            self.blobs.update(zip(made, values, strict=True))
        self.net.layers.append(
            Layer(
                layer_name, kind, list(bottoms), values, params or LayerParameter(),
                [np.ascontiguousarray(x, dtype=np.float32) for x in weights],
                origin=(f"ONNX {node.operator} {node.name}",),
            )
        )  # fmt: skip
        return values[0]

    def alias(self, node: Node) -> None:
        """The node's output is its input: no layer."""
        source, output = node.inputs[0], node.outputs[0]

        def make() -> None:
            self.blobs[output] = self.blob(node, source)

        if self.is_moved(source):
            self.defer(output, self._moves[source], make)
        else:
            make()

    def attempt(self, action: Callable[[], object]) -> RefusedError | None:
        """Do `action`; when it refuses a node, undo it and give back the refusal."""
        count = len(self.net.layers)
        state = dict(self.blobs), dict(self._moves), dict(self._makers)
        try:
            action()
        except RefusedError as error:
            del self.net.layers[count:]
            self.blobs, self._moves, self._makers = state
            return error
        return None

    def refuse(self, node: Node, reason: str, remedy: str) -> NoReturn:
        """End the conversion: `node` cannot be expressed.

        Raises:
            RefusedError: always.
        """

        def text(names: Sequence[str]) -> str:
            known = [f"{list(self.shapes[x])}" if x in self.shapes else "?" for x in names if x]
            return " ".join(known) or "nothing"

        raise RefusedError(
            f"ONNX node {node.name} ({node.operator}, {text(node.inputs)} -> "
            f"{text(node.outputs)}): {reason}; {remedy}",
            node,
            reason,
        )


class RefusedError(NotExpressibleError):
    """One node cannot be expressed; `reason` says why, without the remedy."""

    def __init__(self, message: str, node: Node, reason: str) -> None:
        super().__init__(message)
        self.node = node
        self.reason = reason


Converter = Callable[[Graph, Node], None]
CONVERTERS: dict[str, Converter] = {}


def converts(*operators: str) -> Callable[[Converter], Converter]:
    """Register a converter for ONNX operators."""

    def register(function: Converter) -> Converter:
        for operator in operators:
            CONVERTERS[operator] = function
        return function

    return register


def readable_name(onnx_name: str) -> str:
    """A Caffe name out of an ONNX one: no scopes told twice, no `/`, ASCII.

    PyTorch repeats a module's path in each scope ("/a/a.0/a.0.1/Conv_output_0" becomes
    "a.0.1_Conv").
    """
    parts = [x for x in re.split(r"[/:]", re.sub(r"_output_0$", "", onnx_name)) if x]
    kept: list[str] = []
    for part in parts:
        if kept and part.startswith(kept[-1] + "."):
            kept[-1] = part
        else:
            kept.append(part)
    text = "_".join(kept) or "blob"
    return re.sub(r"[^A-Za-z0-9_.\-]", "_", text)


def constants_of(model: onnx.ModelProto) -> dict[str, npt.NDArray[Any]]:
    """The initializers and Constant nodes of a model as arrays."""
    values = {x.name: numpy_helper.to_array(x) for x in model.graph.initializer}
    for proto in model.graph.node:
        if proto.op_type == "Constant":
            value = constant_of(proto)
            if value is not None:
                values[proto.output[0]] = value
    return values


def constant_of(proto: onnx.NodeProto) -> npt.NDArray[Any] | None:
    """The value of a Constant node; None for text and sparse arrays."""
    attribute = proto.attribute[0]
    value = helper.get_attribute_value(attribute)
    if attribute.name == "value":
        return numpy_helper.to_array(value)
    if attribute.name in _PLAIN_CONSTANTS:
        return np.asarray(value, dtype=_PLAIN_CONSTANTS[attribute.name])
    return None


_PLAIN_CONSTANTS = {
    "value_float": np.float32,
    "value_floats": np.float32,
    "value_int": np.int64,
    "value_ints": np.int64,
}

"""ONNX to a Caffe `Net`: exact, or refused with the node, the shapes, the reason, the remedy."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import onnx

from nnie_pipeline.caffe.net import Net
from nnie_pipeline.errors import NotExpressibleError
from nnie_pipeline.onnx2caffe import operators
from nnie_pipeline.onnx2caffe.graph import CONVERTERS, Graph, Node, constants_of
from nnie_pipeline.onnx2caffe.normalise import FixedModel, fix

assert operators  # importing the package fills the registry


@dataclass(frozen=True)
class Conversion:
    """The network, and for each ONNX output in order the Caffe value that holds it."""

    net: Net
    outputs: dict[str, str]
    fixed: FixedModel


def convert(
    model: onnx.ModelProto,
    name: str,
    size: tuple[int, int] | None = None,
    outputs: Sequence[str] | None = None,
) -> Conversion:
    """Convert `model`, cut at `outputs` (default: its own), at `size` (height, width).

    Raises:
        InputError: the model does not have such outputs or does not hold at this size.
        NotExpressibleError: a node that Caffe cannot express exactly.
    """
    fixed = fix(model, size, outputs)
    folded = fixed.folded
    opset = next((x.version for x in folded.opset_import if x.domain in ("", "ai.onnx")), 0)
    net = Net(name, {}, [], [])
    read = frozenset(x for node in folded.graph.node for x in node.input)
    kept_names = frozenset(x.name for x in folded.graph.output)
    graph = Graph(opset, fixed.shapes, constants_of(folded), net, read=read | kept_names)
    for input_name, shape in fixed.inputs.items():
        blob = graph.name_for(input_name)
        net.inputs[blob] = shape
        graph.blobs[input_name] = blob
    for proto in folded.graph.node:
        node = Node.of(proto)
        if node.operator == "Constant":
            continue
        converter = CONVERTERS.get(node.operator) if proto.domain in ("", "ai.onnx") else None
        if converter is None:
            graph.refuse(
                node,
                "NNIE's Caffe has no such operator",
                "replace it in the model, or keep outputs before it (--outputs) and do the rest "
                "on the CPU",
            )
        converter(graph, node)
    kept = {x.name: _output(graph, x.name) for x in folded.graph.output}
    net.outputs = list(dict.fromkeys(kept.values()))
    _drop_unused(net)
    return Conversion(net, kept, fixed)


def _output(graph: Graph, name: str) -> str:
    blob = graph.find(name)
    if blob is None:
        raise NotExpressibleError(
            f"output {name} does not depend on the network's input; leave it out with --outputs"
        )
    return blob


def _drop_unused(net: Net) -> None:
    """Remove layers that no output needs (a Caffe blob that nobody reads would be an output)."""
    needed = set(net.outputs)
    kept = []
    for layer in reversed(net.layers):
        if needed.intersection(layer.tops):
            needed.update(layer.bottoms)
            kept.append(layer)
    net.layers = kept[::-1]

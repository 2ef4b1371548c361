"""ONNX to a Caffe `Net`: exact, or refused with the node, the shapes, the reason, the remedy."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial

import onnx

from nnie_pipeline.caffe.net import Net
from nnie_pipeline.errors import NotExpressibleError
from nnie_pipeline.onnx2caffe import operators
from nnie_pipeline.onnx2caffe.cut import Cut, find_cuts
from nnie_pipeline.onnx2caffe.graph import CONVERTERS, Graph, Node, RefusedError, constants_of
from nnie_pipeline.onnx2caffe.group_norm import join_group_norms
from nnie_pipeline.onnx2caffe.normalise import FixedModel, fix
from nnie_pipeline.onnx2caffe.versions import opset_of

assert operators  # importing the package fills the registry

_MOST_CUTS = 8


@dataclass(frozen=True)
class Conversion:
    """The network, and for each ONNX output in order the Caffe value that holds it."""

    net: Net
    outputs: dict[str, str]
    fixed: FixedModel
    cuts: tuple[Cut, ...] = ()


def convert(
    model: onnx.ModelProto,
    name: str,
    size: tuple[int, int] | None = None,
    outputs: Sequence[str] | None = None,
    cut: bool = False,
) -> Conversion:
    """Convert `model`, cut at `outputs` (default: its own), at `size` (height, width).

    With `cut`, and no `outputs` given, a node that Caffe cannot express ends the network:
    the values it reads become outputs in place of what depends on it.

    Raises:
        InputError: the model does not have such outputs or does not hold at this size.
        NotExpressibleError: a node that Caffe cannot express exactly; with `cut`, when no
            layer with weights would be left.
    """
    if outputs or not cut:
        return _convert_all(name, fix(model, size, outputs))
    kept: list[str] | None = None
    cuts: list[Cut] = []
    # Folding may join other nodes once the outputs are others, so what is cut is tried again.
    for _ in range(_MOST_CUTS):
        fixed = fix(model, size, kept, tolerant=True)
        try:
            done = _convert_all(name, fixed)
        except NotExpressibleError as error:
            found, more, _ = _find_outputs(fixed)
            if found == kept:
                raise error
            kept = found
            cuts += more
        else:
            made = tuple(x for x in cuts if x.output in done.outputs)
            return Conversion(done.net, done.outputs, done.fixed, made)
    return _convert_all(name, fix(model, size, kept))


def find_outputs(
    model: onnx.ModelProto, size: tuple[int, int] | None, outputs: Sequence[str] | None = None
) -> tuple[list[str], list[Cut], list[RefusedError]]:
    """The values to keep so that all can be expressed, where the cuts are, what was refused.

    Raises:
        InputError: as `convert`.
        NotExpressibleError: no layer with weights would be left.
    """
    return _find_outputs(fix(model, size, outputs, tolerant=True))


def _find_outputs(fixed: FixedModel) -> tuple[list[str], list[Cut], list[RefusedError]]:
    graph, nodes = _start("cut", fixed)
    errors: dict[str, RefusedError] = {}
    refused: dict[str, RefusedError] = {}
    for node in nodes:
        error = next((errors[x] for x in node.inputs if x in errors), None)
        if error is None:
            error = graph.attempt(partial(_convert_node, graph, node, fixed))
        if error is not None:
            refused.setdefault(error.node.name, error)
            errors.update((x, error) for x in node.outputs if x)
    wanted = [x.name for x in fixed.folded.graph.output]
    kept, cuts = find_cuts(graph, nodes, errors, wanted)
    graph.net.outputs = [graph.blobs[x] for x in kept]
    graph.net.drop_unused()
    if not any(x.weights for x in graph.net.layers):
        first = next(iter(refused.values()), "its outputs do not depend on its input")
        raise NotExpressibleError(
            f"no layer with weights is left before the first node that cannot be expressed: {first}"
        )
    return kept, cuts, list(refused.values())


def _convert_all(name: str, fixed: FixedModel) -> Conversion:
    graph, nodes = _start(name, fixed)
    for node in nodes:
        _convert_node(graph, node, fixed)
    net = graph.net
    kept = {x.name: _output(graph, x.name) for x in fixed.folded.graph.output}
    net.outputs = list(dict.fromkeys(kept.values()))
    net.drop_unused()
    marked = net.mark_outputs()
    return Conversion(net, {k: marked.get(v, v) for k, v in kept.items()}, fixed)


def _start(name: str, fixed: FixedModel) -> tuple[Graph, list[Node]]:
    folded = fixed.folded
    read = frozenset(x for node in folded.graph.node for x in node.input)
    kept = frozenset(x.name for x in folded.graph.output)
    net = Net(name, {}, [], [])
    graph = Graph(opset_of(folded), fixed.shapes, constants_of(folded), net, read=read | kept)
    for input_name, shape in fixed.inputs.items():
        blob = graph.name_for(input_name)
        net.inputs[blob] = shape
        graph.blobs[input_name] = blob
    nodes = [Node.of(x) for x in folded.graph.node if x.op_type != "Constant"]
    return graph, join_group_norms(nodes, graph, kept)


def _convert_node(graph: Graph, node: Node, fixed: FixedModel) -> None:
    own = node.domain in ("", "ai.onnx")
    converter = CONVERTERS.get(node.operator) if own else None
    if converter is None:
        graph.refuse(
            node,
            "NNIE's Caffe has no such operator",
            "replace it in the model, or keep outputs before it (--outputs) and do the rest "
            "on the CPU",
        )
    _check_size(graph, node, fixed)
    converter(graph, node)


def _check_size(graph: Graph, node: Node, fixed: FixedModel) -> None:
    """Refuse a node with constants that belong to another input size."""
    remedy = "convert at the size the model was exported at, or keep outputs before it (--outputs)"
    if fixed.problem and any(x and x not in graph.shapes for x in node.outputs):
        graph.refuse(node, "it does not hold at this input size", remedy)
    if node.operator != "Reshape":
        return
    source, target = (graph.shapes.get(x) for x in (node.inputs[0], node.outputs[0]))
    if source and target and math.prod(source) != math.prod(target):
        graph.refuse(node, "its shape is a constant of another input size", remedy)


def _output(graph: Graph, name: str) -> str:
    blob = graph.find(name)
    if blob is None:
        raise NotExpressibleError(
            f"output {name} does not depend on the network's input; leave it out with --outputs"
        )
    if blob in graph.net.inputs:
        raise NotExpressibleError(
            f"output {name} is the network's input itself; leave it out with --outputs"
        )
    return blob

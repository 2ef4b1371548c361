"""Reshape and its kin, Transpose, Concat, Expand, Tile, DepthToSpace, SpaceToDepth."""

from __future__ import annotations

import numpy as np

from nnie_pipeline.caffe.caffe_pb2 import LayerParameter
from nnie_pipeline.caffe.net import Shape
from nnie_pipeline.onnx2caffe.graph import Graph, Index, Move, Node, converts
from nnie_pipeline.onnx2caffe.operators.moving import express, place, rearrange

_MOST_BOTTOMS = 32


@converts("Reshape", "Flatten", "Squeeze", "Unsqueeze")
def reshape(graph: Graph, node: Node) -> None:
    """Reshape to the shape that ONNX infers.

    2 to 4 axes; the batch axis stays.
    """
    source = graph.shape(node, node.inputs[0])
    target = graph.shape(node, node.outputs[0])
    refusal = (
        f"it reshapes to {len(target)} axes, NNIE's Reshape has 2 to 4",
        "export fewer axes (yolo's view(1, na, no, ny * nx)) or keep the outputs before it "
        "(--outputs) and reshape on the CPU",
    )
    if not target or source[:1] != target[:1]:
        refusal = (
            f"it changes the batch axis ({list(source)} to {list(target)}), NNIE reshapes "
            "channels, rows and columns only",
            "keep the first axis (use x.view(x.size(0), ...) or flatten(1))",
        )
    rearrange(graph, node, lambda x: x.reshape(target), refusal)


@converts("Transpose")
def transpose(graph: Graph, node: Node) -> None:
    """Permute; nothing where Transposes cancel; Convolution for a shuffle of channels.

    The only order is 0, 2, 3, 1. What Reshapes and Transposes do together counts: a shuffle of
    channels becomes a 1x1 Convolution, a shuffle of pixels a Convolution or Deconvolution.
    """
    rank = len(graph.shape(node, node.inputs[0]))
    order = list(node.get("perm", range(rank)[::-1]))
    rearrange(
        graph,
        node,
        lambda x: x.transpose(order),
        (
            f"it permutes axes to {order}, NNIE's Permute knows [0, 2, 3, 1] only",
            "keep the outputs before it (--outputs) and permute on the CPU",
        ),
    )


@converts("Expand")
def expand(graph: Graph, node: Node) -> None:
    """Deconvolution or Convolution of ones; nothing where nothing is repeated.

    Repeats channels, or single pixels up to 255 times.
    """
    target = graph.shape(node, node.outputs[0])
    rearrange(graph, node, lambda x: np.broadcast_to(x, target), _repeats(graph, node))


@converts("Tile")
def tile(graph: Graph, node: Node) -> None:
    """Convolution of ones along channels, Deconvolution of ones for single pixels.

    Repeats channels, or single pixels up to 255 times.
    """
    repeats = graph.constant(node, 1)
    assert repeats is not None
    rearrange(graph, node, lambda x: np.tile(x, repeats), _repeats(graph, node))


def _repeats(graph: Graph, node: Node) -> tuple[str, str]:
    source, target = (graph.shape(node, x) for x in (node.inputs[0], node.outputs[0]))
    return (
        f"it repeats {list(source)} to {list(target)}, NNIE repeats channels, or pixels up to "
        "255 times",
        "repeat the value on the CPU, or choose a smaller input size",
    )


@converts("SpaceToDepth")
def space_to_depth(graph: Graph, node: Node) -> None:
    """Convolution of ones and zeros with the block as stride, or part of the next one."""
    b = node.get("blocksize", 1)

    def change(x: Index) -> Index:
        n, c, h, w = x.shape
        blocks = x.reshape(n, c, h // b, b, w // b, b).transpose(0, 3, 5, 1, 2, 4)
        result: Index = blocks.reshape(n, c * b * b, h // b, w // b)
        return result

    rearrange(graph, node, change, _blocks(b))


@converts("DepthToSpace")
def depth_to_space(graph: Graph, node: Node) -> None:
    """Deconvolution of ones and zeros with the block as stride."""
    b = node.get("blocksize", 1)
    by_column = node.get("mode", "DCR") == "CRD"

    def change(x: Index) -> Index:
        n, c, h, w = x.shape
        c //= b * b
        if by_column:
            blocks = x.reshape(n, c, b, b, h, w).transpose(0, 1, 4, 2, 5, 3)
        else:
            blocks = x.reshape(n, b, b, c, h, w).transpose(0, 3, 4, 1, 5, 2)
        result: Index = blocks.reshape(n, c, h * b, w * b)
        return result

    rearrange(graph, node, change, _blocks(b))


def _blocks(block: int) -> tuple[str, str]:
    return (
        f"its blocks of {block}x{block} are larger than NNIE's largest kernel",
        "use smaller blocks",
    )


@converts("Concat")
def concat(graph: Graph, node: Node) -> None:
    """Concat; Convolution where the pieces come from one blob, or part of the next one.

    Channels, rows or columns of at most 4 axes; constants only where they are 0.
    """
    target = graph.shape(node, node.outputs[0])
    axis = node.get("axis", 1) % len(target)
    refusal = (
        f"it joins along axis {axis} of {len(target)}, NNIE's Concat knows channels, rows and "
        "columns of at most 4 axes",
        "keep the outputs before it (--outputs) and join on the CPU",
    )
    if len(node.inputs) > 1 and (axis == 0 or len(target) > 4):
        graph.refuse(node, *refusal)
    sources: dict[str, Shape] = {}
    for name in node.inputs:
        if graph.is_moved(name):
            part = graph.move(node, name)
            sources[part.blob] = part.shape
        elif not graph.is_constant(name):
            sources[graph.blob(node, name)] = graph.shape(node, name)
    constants = [x for x in node.inputs if graph.is_constant(x)]
    if any(graph.constants[x].any() for x in constants) or (constants and len(sources) != 1):
        graph.refuse(
            node,
            f"its input {constants[0]} is a constant, Caffe's Concat takes computed blobs only",
            "feed the constant as an input of the network, or fold it into the layer behind",
        )

    def make() -> None:
        if constants:
            graph.refuse(
                node, "it joins zeros in a way that no convolution does", "pad channels only"
            )
        _join(graph, node, axis)

    moved = any(graph.is_moved(x) for x in node.inputs)
    if len(sources) > 1 or not (moved or constants or len(node.inputs) == 1):
        _join(graph, node, axis)
        return
    [(blob, shape)] = sources.items()
    indices = [
        np.full(graph.constants[x].shape, -1, np.int32)
        if graph.is_constant(x)
        else graph.move(node, x).index
        for x in node.inputs
    ]
    whole = Move(blob, shape, np.concatenate(indices, axis))

    def try_whole() -> None:
        if not express(graph, node, node.outputs[0], whole):
            make()

    place(graph, node.outputs[0], whole, try_whole)


def _join(graph: Graph, node: Node, axis: int) -> None:
    """One Concat, or several where there are more bottoms than NNIE takes (32; HiSVP
    development guide, table 3-2)."""
    blobs = [graph.blob(node, x) for x in node.inputs]
    while blobs:
        head, blobs = blobs[:_MOST_BOTTOMS], blobs[_MOST_BOTTOMS:]
        param = LayerParameter()
        param.concat_param.axis = axis
        suffix = "part" if blobs else ""
        made = graph.add(node, "Concat", head, params=param, suffix=suffix)
        if blobs:
            blobs.insert(0, made)

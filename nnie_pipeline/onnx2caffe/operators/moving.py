"""Layers for values that only move numbers."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator

import numpy as np

from nnie_pipeline.caffe.caffe_pb2 import LayerParameter
from nnie_pipeline.caffe.windows import Pair
from nnie_pipeline.onnx2caffe import moves
from nnie_pipeline.onnx2caffe.filters import LARGEST, Filter, choose, most_groups
from nnie_pipeline.onnx2caffe.graph import Graph, Index, Move, Node
from nnie_pipeline.onnx2caffe.moves import Places
from nnie_pipeline.onnx2caffe.operators.windows import set_window

_REST = "/rest"
Change = Callable[[Index], Index]
Refusal = tuple[str, str]
"""Why NNIE's Caffe does not have it, and what to change in the model."""


def rearrange(
    graph: Graph,
    node: Node,
    change: Change,
    refusal: Refusal,
    output: str | None = None,
    source: str | None = None,
) -> None:
    """`output` is `source` (the node's own) with its places changed by `change`.

    A layer is made once one is needed: for the whole way from the blob where the numbers
    come from, or else for this node alone behind its input's own layer.
    """
    name, origin = output or node.outputs[0], source or node.inputs[0]
    whole = graph.move(node, origin)
    result = Move(whole.blob, whole.shape, change(whole.index))

    def make() -> None:
        if express(graph, node, name, result):
            return
        own = Move.of(graph.blob(node, origin), graph.shape(node, origin))
        step = Move(own.blob, own.shape, change(own.index))
        if not express(graph, node, name, step):
            graph.refuse(node, *refusal)

    place(graph, name, result, make)


def place(graph: Graph, name: str, move: Move, make: Callable[[], None]) -> None:
    """The ONNX value `name` is `move`; where that is the blob itself no layer is needed."""
    if move.index.shape == move.shape and moves.keeps_order(move):
        graph.blobs[name] = move.blob
    else:
        graph.defer(name, move, make)


def express(graph: Graph, node: Node, name: str, move: Move) -> bool:
    """Add the one layer that makes the value `name`; False where there is none."""
    shape = move.index.shape
    if moves.keeps_order(move):
        return _reshape(graph, node, name, move)
    if moves.is_channels_last(move):
        param = LayerParameter()
        param.permute_param.order.extend((0, 2, 3, 1))
        graph.add(node, "Permute", [move.blob], params=param, tops=[name])
        return True
    selected = selecting(move)
    if selected is not None and selected.fits(move.shape[3]):
        add_filter(graph, node, move.blob, selected, output=name)
        return True
    blocks = moves.spread(move)
    if blocks is not None and max(blocks.shape[1:]) <= LARGEST:
        _deconvolution(graph, node, name, move, blocks)
        return True
    range_ = moves.cut(move)
    if range_ is None or len(shape) > 4 or range_.axis == 0:
        return False
    _slice(graph, node, name, move, range_)
    return True


def selecting(move: Move) -> Filter | None:
    """The move as a convolution of ones and zeros."""
    found = moves.selection(move)
    if found is None:
        return None
    return choose(found, move.shape, (move.index.shape[2], move.index.shape[3]))


def add_filter(
    graph: Graph,
    node: Node,
    blob: str,
    filter_: Filter,
    bias: np.ndarray | None = None,
    output: str | None = None,
    suffix: str = "",
) -> str:
    """Append a Convolution."""
    param = LayerParameter()
    set_window(
        param.convolution_param, filter_.weight.shape[2:], filter_.stride, filter_.pad,
        filter_.dilation, filter_.weight.shape[0], filter_.group, bias is not None,
    )  # fmt: skip
    weights = [filter_.weight] if bias is None else [filter_.weight, bias]
    tops = None if output is None else [output]
    return graph.add(node, "Convolution", [blob], weights, param, tops, suffix)


def _reshape(graph: Graph, node: Node, name: str, move: Move) -> bool:
    shape = move.index.shape
    if shape == move.shape:
        graph.blobs[name] = move.blob
        return True
    # NNIE reshapes channels, rows and columns only, into at most four dims.
    if not 2 <= len(shape) <= 4 or shape[0] != move.shape[0]:
        return False
    param = LayerParameter()
    param.reshape_param.shape.dim.extend((0, *shape[1:]))
    graph.add(node, "Reshape", [move.blob], params=param, tops=[name])
    return True


def _deconvolution(graph: Graph, node: Node, name: str, move: Move, blocks: Places) -> None:
    """The form that ran on a board repeats pixels: one group a channel, every weight 1 (the
    public RetinaFace network of nniefacelib)."""
    inputs, outputs = move.shape[1], blocks.shape[0]
    size: Pair = (blocks.shape[1], blocks.shape[2])
    at = np.arange(outputs).repeat(size[0] * size[1])
    group = most_groups(blocks.reshape(-1), at, inputs, outputs)
    weight = np.zeros((inputs, outputs // group, *size), np.float32)
    i, j = np.indices(size).reshape(2, -1)
    weight[
        blocks.reshape(-1), at % (outputs // group), np.tile(i, outputs), np.tile(j, outputs)
    ] = 1
    param = LayerParameter()
    set_window(param.convolution_param, size, size, (0, 0), (1, 1), outputs, group, False)
    graph.add(node, "Deconvolution", [move.blob], [weight], param, tops=[name])


def _slice(graph: Graph, node: Node, name: str, move: Move, range_: moves.Cut) -> None:
    """A Slice: for what no convolution can cut, because the tops that nobody reads become
    outputs of the network. So a further cut takes such a top where it lies in one."""
    axis, start, end = range_.axis, range_.start, range_.end
    source = (move.blob, 0, move.shape[axis])
    for blob, low, high in _rests(graph, move.blob, axis, 0, move.shape[axis]):
        if low <= start and end <= high:
            source = (blob, low, high)
    blob, low, high = source
    if (low, high) == (start, end):
        graph.blobs[name] = blob
        return
    param = LayerParameter()
    param.slice_param.axis = axis
    param.slice_param.slice_point.extend(x - low for x in (start, end) if low < x < high)
    tops = [name]
    if start > low:
        tops.insert(0, f"{name}{_REST}")
    if end < high:
        tops.append(f"{name}{_REST}")
    graph.add(node, "Slice", [blob], params=param, tops=tops)


def _rests(
    graph: Graph, blob: str, axis: int, start: int, end: int
) -> Iterator[tuple[str, int, int]]:
    """Tops of the Slices of `blob`, or of Slices of these, that nothing reads yet."""
    named = {v for k, v in graph.blobs.items() if not k.endswith(_REST)}
    for layer in graph.net.layers:
        param = layer.params.slice_param
        if layer.type != "Slice" or layer.bottoms != [blob] or param.axis != axis:
            continue
        points = [start, *(start + x for x in param.slice_point), end]
        for top, (low, high) in zip(layer.tops, itertools.pairwise(points), strict=True):
            read = any(top in x.bottoms for x in graph.net.layers)
            if read:
                yield from _rests(graph, top, axis, low, high)
            elif top not in named:
                yield top, low, high

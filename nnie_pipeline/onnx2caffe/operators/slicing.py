"""Slice, Split, Gather."""

from __future__ import annotations

import itertools

import numpy as np

from nnie_pipeline.caffe.caffe_pb2 import LayerParameter
from nnie_pipeline.onnx2caffe.graph import Graph, Index, Node, converts
from nnie_pipeline.onnx2caffe.operators.moving import Refusal, rearrange

_MOST_TOPS = 32


@converts("Slice")
def slice_(graph: Graph, node: Node) -> None:
    """Convolution of ones and zeros, or part of the next one; else Slice.

    Ranges and strides of channels, rows and columns; channels also in reverse. A Slice, whose
    unread rest is an output of the network, only cuts what no kernel of 255 reaches.
    """
    shape = list(graph.shape(node, node.inputs[0]))
    if "starts" in node.attributes:
        starts, ends = node.attributes["starts"], node.attributes["ends"]
        axes, steps = node.get("axes", range(len(starts))), [1] * len(starts)
    else:
        given = [graph.constant(node, i) for i in range(1, 5)]
        starts, ends, axes, steps = ([] if x is None else x.tolist() for x in given)
        axes = axes or range(len(starts))
        steps = steps or [1] * len(starts)
    # An axis at a time, for what no layer cuts at once; what one does cut is still one layer.
    source, last = node.inputs[0], node.outputs[0]
    for i, (start, end, given_axis, step) in enumerate(zip(starts, ends, axes, steps, strict=True)):
        output = last if i == len(starts) - 1 else f"{last}/{i}"
        axis = given_axis % len(shape)
        cut = (*(slice(None),) * axis, slice(start, end, step))
        shape[axis] = len(range(shape[axis])[cut[axis]])
        graph.shapes[output] = tuple(shape)
        refusal = (
            f"it takes {start}:{end}:{step} of axis {axis}, NNIE cuts ranges and strides of "
            "channels, rows and columns of at most 4 axes",
            "cut as a strided convolution reads (no reversed rows or columns), or on the CPU",
        )
        _cut(graph, node, cut, refusal, source, output)
        source = output


def _cut(
    graph: Graph,
    node: Node,
    cut: tuple[slice, ...],
    refusal: Refusal,
    source: str,
    output: str,
) -> None:
    rearrange(graph, node, lambda x: x[cut], refusal, output=output, source=source)


@converts("Split")
def split(graph: Graph, node: Node) -> None:
    """Slice where every piece is read, else a Convolution of ones and zeros for each.

    Channels, rows or columns of at most 4 axes.
    """
    source = graph.shape(node, node.inputs[0])
    axis = node.get("axis", 0) % len(source)
    given = node.attributes.get("split")
    if given is None:
        value = graph.constant(node, 1)
        # Equal parts, the last one smaller where they do not divide (ONNX, Split 18).
        part = -(-source[axis] // len(node.outputs))
        given = [part] * len(node.outputs) if value is None else value.tolist()
    points = [0, *itertools.accumulate(given)]
    used = all(x in graph.read for x in node.outputs)
    plain = not graph.is_moved(node.inputs[0]) and axis and len(source) <= 4
    if used and plain and 1 < len(node.outputs) <= _MOST_TOPS:
        param = LayerParameter()
        param.slice_param.axis = axis
        param.slice_param.slice_point.extend(points[1:-1])
        blob = graph.blob(node, node.inputs[0])
        graph.add(node, "Slice", [blob], params=param, tops=node.outputs)
        return
    refusal = (
        f"it splits axis {axis} of {len(source)}, NNIE cuts channels, rows and columns of at most "
        "4 axes",
        "split on the CPU",
    )
    for output, (start, end) in zip(node.outputs, itertools.pairwise(points), strict=True):
        if output in graph.read:
            cut = (*(slice(None),) * axis, slice(start, end))
            _cut(graph, node, cut, refusal, node.inputs[0], output)


@converts("Gather")
def gather(graph: Graph, node: Node) -> None:
    """Convolution of ones and zeros, or part of the next one.

    Constant places: any channels, rows and columns at even distances.
    """
    if graph.is_constant(node.inputs[0]):
        graph.refuse(
            node,
            "it looks places up in a table, NNIE has no such layer",
            "look the values up on the CPU and feed them as an input",
        )
    places = graph.constant(node, 1)
    assert places is not None
    source, target = (graph.shape(node, x) for x in (node.inputs[0], node.outputs[0]))
    axis = node.get("axis", 0) % len(source)
    line = places.reshape(-1).astype(np.int64)
    refusal = (
        f"it takes the places {line.tolist()[:8]} of axis {axis}, NNIE takes any channels, but "
        "rows and columns at even distances only",
        "take a range (x[:, a:b]), or do it on the CPU",
    )

    def take(x: Index) -> Index:
        return np.take(x, line, axis)

    if places.ndim == 1:
        rearrange(graph, node, take, refusal)
        return
    taken = f"{node.outputs[0]}_taken"
    graph.shapes[taken] = (*source[:axis], line.size, *source[axis + 1 :])
    rearrange(graph, node, take, refusal, output=taken)
    rearrange(graph, node, lambda x: x.reshape(target), refusal, source=taken)

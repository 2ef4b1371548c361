"""Pad."""

from __future__ import annotations

import numpy as np

from nnie_pipeline.onnx2caffe.graph import Graph, Index, Node, converts
from nnie_pipeline.onnx2caffe.operators.moving import rearrange


@converts("Pad")
def pad(graph: Graph, node: Node) -> None:
    """Part of the next convolution or pooling; before other layers a Convolution of ones.

    Zeros only. A MaxPool takes it where no value is negative.
    """
    rank = len(graph.shape(node, node.inputs[0]))
    mode = node.get("mode", "constant")
    given = node.attributes.get("pads")
    value = node.get("value", 0.0)
    axes = list(range(rank))
    if given is None:
        pads = graph.constant(node, 1)
        assert pads is not None
        given = pads.tolist()
        filler = graph.constant(node, 2)
        value = 0.0 if filler is None or not filler.size else float(filler.reshape(-1)[0])
        named = graph.constant(node, 3)
        axes = axes if named is None else [int(x) % rank for x in named]
    if mode == "constant" and value != 0 and any(given):
        graph.refuse(
            node,
            f"it pads with {value:g}, NNIE's layers pad with 0",
            "pad with 0 (torch.nn.ZeroPad2d) or give the padding to the next layer",
        )
    before, behind = [0] * rank, [0] * rank
    for i, axis in enumerate(axes):
        before[axis], behind[axis] = given[i], given[i + len(axes)]
    margins = [(max(a, 0), max(b, 0)) for a, b in zip(before, behind, strict=True)]
    kept = tuple(
        slice(max(-a, 0), -max(-b, 0) or None) for a, b in zip(before, behind, strict=True)
    )

    def change(x: Index) -> Index:
        if mode == "constant":
            return np.pad(x, margins, constant_values=-1)[kept]
        return np.pad(x, margins, mode=mode)[kept]

    refusal = (
        f"it pads {list(given)} around {rank} axes, NNIE pads channels, rows and columns of maps",
        "give the padding to the next convolution or pooling",
    )
    if mode != "constant":
        refusal = (
            f"it pads by mode {mode}, NNIE's layers pad with 0",
            "use torch.nn.ZeroPad2d or padding_mode='zeros'",
        )
    rearrange(graph, node, change, refusal)

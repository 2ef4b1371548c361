"""Pooling of regions of a map as ONNX nodes.

The second bottom lists the regions, R x 5: index in the batch, left, top, right, bottom in
pixels of the network's input.
"""

from __future__ import annotations

import numpy as np

from nnie_pipeline.caffe.net import Layer
from nnie_pipeline.engine.onnx_graph import Emit, Graph


def _regions(graph: Graph, layer: Layer) -> str:
    rows = graph.shapes[layer.bottoms[1]][0]
    return graph.reshape(layer.bottoms[1], (rows, 5))


def _roi_pooling(graph: Graph, layer: Layer) -> None:
    """Fast R-CNN's Caffe, roi_pooling_layer, from which ONNX has its MaxRoiPool: corners
    rounded, both ends included, the maximum of each bin, 0 in an empty one."""
    param = layer.params.roi_pooling_param
    graph.add(
        "MaxRoiPool", [layer.bottoms[0], _regions(graph, layer)], layer.tops[0],
        pooled_shape=(param.pooled_h, param.pooled_w), spatial_scale=param.spatial_scale,
    )  # fmt: skip


def _psroi_pooling(graph: Graph, layer: Layer) -> None:
    """R-FCN's Caffe, psroi_pooling_layer: bin (i, j) of output channel d is the mean over the
    bin in the channel (d * G + i) * G + j of the map; 0 in an empty bin.

    A bin is a product of rows and columns, so the sums are two products of the map with
    tables of zeros and ones (R x G x H and R x G x W).
    """
    param = layer.params.psroi_pooling_param
    images, _, height, width = graph.shapes[layer.bottoms[0]]
    group = param.group_size
    regions = _regions(graph, layer)
    batch, left, top, right, bottom = (_column(graph, regions, i) for i in range(5))
    rows, row_count = _inside(graph, top, bottom, height, group, param.spatial_scale)
    columns, column_count = _inside(graph, left, right, width, group, param.spatial_scale)
    parts = graph.reshape(layer.bottoms[0], (images, param.output_dim, group, group, height, width))
    total = ""
    for image in range(images):
        own = graph.add("Gather", [parts, graph.constant(image, np.int64)], axis=0)
        sums = graph.add("Einsum", [own, rows, columns], equation="dpqhw,rph,rqw->rdpq")
        if images > 1:
            chosen = graph.add("Equal", [batch, graph.constant(float(image))])
            flags = graph.add("Cast", [chosen], to=1)
            flags = graph.reshape(flags, (-1, 1, 1, 1))
            sums = graph.add("Mul", [sums, flags])
        total = graph.add("Add", [total, sums]) if total else sums
    area = graph.add(
        "Mul",
        [
            graph.reshape(row_count, (-1, 1, group, 1)),
            graph.reshape(column_count, (-1, 1, 1, group)),
        ],
    )
    graph.add("Div", [total, graph.add("Max", [area, graph.constant(1.0)])], layer.tops[0])


def _column(graph: Graph, regions: str, index: int) -> str:
    """One number of every region, R x 1."""
    return graph.add("Gather", [regions, graph.constant([index], np.int64)], axis=1)


def _inside(
    graph: Graph, first: str, last: str, size: int, group: int, scale: float
) -> tuple[str, str]:
    """Which of `size` rows or columns lie in each bin (R x G x size, 0 or 1), and how many."""
    start = graph.add("Mul", [_rounded(graph, first), graph.constant(scale)])
    behind = graph.add("Add", [_rounded(graph, last), graph.constant(1.0)])
    end = graph.add("Mul", [behind, graph.constant(scale)])
    length = graph.add("Max", [graph.add("Sub", [end, start]), graph.constant(0.1)])
    step = graph.add("Div", [length, graph.constant(float(group))])
    edges = []
    for offset, rounding in ((0, "Floor"), (1, "Ceil")):
        bins = graph.constant(np.arange(group, dtype=np.float32).reshape(1, group) + offset)
        place = graph.add("Add", [graph.add("Mul", [bins, step]), start])
        edges.append(graph.reshape(graph.add(rounding, [place]), (-1, group, 1)))
    at = graph.constant(np.arange(size, dtype=np.float32).reshape(1, 1, size))
    reached = graph.add("GreaterOrEqual", [at, edges[0]])
    inside = graph.add("And", [reached, graph.add("Less", [at, edges[1]])])
    flags = graph.add("Cast", [inside], to=1)
    return flags, graph.reduce("ReduceSum", flags, (2,), False)


def _rounded(graph: Graph, value: str) -> str:
    """C's round: halves away from zero."""
    size = graph.add("Add", [graph.add("Abs", [value]), graph.constant(0.5)])
    return graph.add("Mul", [graph.add("Sign", [value]), graph.add("Floor", [size])])


REGIONS: dict[str, Emit] = {"PSROIPooling": _psroi_pooling, "ROIPooling": _roi_pooling}
"""How each of these layer types becomes ONNX nodes."""

"""BatchNorm, LRN, MVN and Normalize as ONNX nodes."""

from __future__ import annotations

import numpy as np

from nnie_pipeline.caffe.caffe_pb2 import LRNParameter
from nnie_pipeline.caffe.net import Layer
from nnie_pipeline.caffe.windows import Window
from nnie_pipeline.engine.onnx_graph import Emit, Graph, require_weights
from nnie_pipeline.engine.windows import average_pool
from nnie_pipeline.errors import InputError


def _batch_norm(graph: Graph, layer: Layer) -> None:
    param = layer.params.batch_norm_param
    if param.HasField("use_global_stats") and not param.use_global_stats:
        raise InputError(
            f"layer {layer.name} (BatchNorm) takes its statistics from the picture; write "
            "use_global_stats: true"
        )
    mean, variance = batch_norm_statistics(layer)
    channels = mean.size
    graph.add(
        "BatchNormalization",
        [
            layer.bottoms[0],
            graph.constant(np.ones(channels)),
            graph.constant(np.zeros(channels)),
            graph.constant(mean),
            graph.constant(variance),
        ],
        layer.tops[0],
        epsilon=param.eps,
    )


def batch_norm_statistics(layer: Layer) -> tuple[np.ndarray, np.ndarray]:
    """Mean and variance of a BatchNorm in float64: Caffe divides both by the third blob."""
    if len(layer.weights) < 3:
        raise InputError(
            f"layer {layer.name} (BatchNorm) has {len(layer.weights)} of 3 blobs in the caffemodel"
        )
    factor = float(layer.weights[2].reshape(-1)[0])
    inverse = 0.0 if factor == 0 else 1.0 / factor
    mean, variance = (x.reshape(-1).astype(np.float64) * inverse for x in layer.weights[:2])
    return mean, variance


def _lrn(graph: Graph, layer: Layer) -> None:
    """Caffe 1.0, lrn_layer: x / (k + alpha / size * sum of squares) ** beta, as ONNX's LRN.

    Within a channel the sum runs over a square of the map, divided as AVE pooling divides at
    the border, and k is always 1.
    """
    param = layer.params.lrn_param
    bottom = layer.bottoms[0]
    if param.norm_region == LRNParameter.ACROSS_CHANNELS:
        graph.add(
            "LRN", [bottom], layer.tops[0],
            size=param.local_size, alpha=param.alpha, beta=param.beta, bias=param.k,
        )  # fmt: skip
        return
    shape = graph.shapes[bottom]
    side, pad = param.local_size, (param.local_size - 1) // 2
    squares = graph.add("Mul", [bottom, bottom])
    size = (shape[2], shape[3])
    window = Window((side, side), pad=(pad, pad))
    mean = average_pool(graph, squares, window, size, size)
    weighted = graph.add("Mul", [mean, graph.constant(param.alpha)])
    divisor = graph.add("Add", [weighted, graph.constant(1.0)])
    factor = graph.add("Pow", [divisor, graph.constant(-param.beta)])
    graph.add("Mul", [bottom, factor], layer.tops[0])


def _mvn(graph: Graph, layer: Layer) -> None:
    """Caffe 1.0, mvn_layer: (x - mean) / (deviation + eps), with eps outside of the root."""
    param = layer.params.mvn_param
    value = graph.reshape(layer.bottoms[0], graph.shapes[layer.tops[0]])
    axes = (1, 2, 3) if param.across_channels else (2, 3)
    mean = graph.reduce("ReduceMean", value, axes, True)
    if not param.normalize_variance:
        graph.add("Sub", [value, mean], layer.tops[0])
        return
    centred = graph.add("Sub", [value, mean])
    squares = graph.add("Mul", [centred, centred])
    deviation = graph.add("Sqrt", [graph.reduce("ReduceMean", squares, axes, True)])
    divisor = graph.add("Add", [deviation, graph.constant(param.eps)])
    graph.add("Div", [centred, divisor], layer.tops[0])


def _normalize(graph: Graph, layer: Layer) -> None:
    """SSD's Caffe, normalize_layer: x / sqrt(sum of squares + eps) * scale.

    HiSilicon's field sqrt_a divides before the squares are summed and multiplies behind the
    root, so that the chip's numbers do not overflow; it cancels out.
    """
    require_weights(layer)
    param = layer.params.norm_param
    bottom = layer.bottoms[0]
    rank = len(graph.shapes[bottom])
    axes = tuple(range(1, rank)) if param.across_spatial else (1,)
    squares = graph.add("Mul", [bottom, bottom])
    total = graph.reduce("ReduceSum", squares, axes, True)
    norm = graph.add("Sqrt", [graph.add("Add", [total, graph.constant(param.eps)])])
    scale = graph.constant(layer.weights[0].reshape(1, -1, *(1,) * (rank - 2)))
    graph.add("Mul", [graph.add("Div", [bottom, norm]), scale], layer.tops[0])


NORMALISE: dict[str, Emit] = {
    "BatchNorm": _batch_norm,
    "LRN": _lrn,
    "MVN": _mvn,
    "Normalize": _normalize,
}
"""How each of these layer types becomes ONNX nodes."""

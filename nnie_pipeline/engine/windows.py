"""Convolutions, poolings and InnerProduct as ONNX nodes."""

from __future__ import annotations

import math

import numpy as np
from onnx import TensorProto

from nnie_pipeline.caffe.axes import axis_of
from nnie_pipeline.caffe.caffe_pb2 import PoolingParameter, SPPParameter
from nnie_pipeline.caffe.net import DEPTHWISE, Array, Layer
from nnie_pipeline.caffe.windows import (
    Pair,
    Window,
    conv_window,
    pool_output,
    pool_window,
    rounds_up,
    spp_window,
)
from nnie_pipeline.engine.onnx_graph import Emit, Graph, require_weights
from nnie_pipeline.errors import InputError


def _convolution(graph: Graph, layer: Layer) -> None:
    param = layer.params.convolution_param
    window = conv_window(param)
    group = graph.shapes[layer.bottoms[0]][1] if layer.type in DEPTHWISE else param.group
    graph.add(
        "ConvTranspose" if layer.type == "Deconvolution" else "Conv",
        [layer.bottoms[0], *(graph.constant(x) for x in _filter_weights(layer))],
        layer.tops[0],
        kernel_shape=window.kernel,
        strides=window.stride,
        pads=(*window.pad, *window.pad),
        dilations=window.dilation,
        group=group,
    )


def _filter_weights(layer: Layer) -> list[Array]:
    require_weights(layer)
    weight = layer.weights[0]
    return [weight, layer.weights[1].reshape(-1)] if len(layer.weights) > 1 else [weight]


def _pooling(graph: Graph, layer: Layer) -> None:
    param = layer.params.pooling_param
    shape = graph.shapes[layer.bottoms[0]]
    size = shape[2], shape[3]
    window = pool_window(param, size)
    _require_method(layer, param.pool == PoolingParameter.STOCHASTIC)
    output = pool_output(window, size, rounds_up(param))
    if param.pool == PoolingParameter.AVE:
        average_pool(graph, layer.bottoms[0], window, size, output, layer.tops[0])
    elif len(layer.tops) == 1:
        max_pool(graph, layer.bottoms[0], window, size, output, layer.tops[0])
    else:
        _pool_with_mask(graph, layer, window, output)


def _require_method(layer: Layer, stochastic: bool) -> None:
    if stochastic:
        raise InputError(
            f"layer {layer.name}: STOCHASTIC pooling is for training, no engine can run it; NNIE "
            "knows MAX and AVE"
        )


def _pool_with_mask(graph: Graph, layer: Layer, window: Window, output: Pair) -> None:
    """Caffe's mask counts within a channel's map, ONNX within the whole blob."""
    n, c, h, w = graph.shapes[layer.bottoms[0]]
    found = graph.name_temporary()
    graph.add_several(
        "MaxPool", layer.bottoms[:1], [layer.tops[0], found],
        **_pool_settings(window, (h, w), output),
    )  # fmt: skip
    start = np.arange(n * c).reshape(n, c, 1, 1) * (h * w)
    own = graph.add("Sub", [found, graph.constant(start, np.int64)])
    graph.add("Cast", [own], layer.tops[1], to=TensorProto.FLOAT)


def _pool_settings(window: Window, size: Pair, output: Pair) -> dict[str, tuple[int, ...]]:
    behind = [
        max(0, (output[i] - 1) * window.stride[i] + window.kernel[i] - size[i] - window.pad[i])
        for i in (0, 1)
    ]
    return {
        "kernel_shape": window.kernel,
        "strides": window.stride,
        "pads": (*window.pad, *behind),
    }


def max_pool(
    graph: Graph, value: str, window: Window, size: Pair, output: Pair, top: str | None = None
) -> str:
    """Caffe's MAX pooling of `value`, a map of `size`, to `output` (height, width)."""
    return graph.add("MaxPool", [value], top, **_pool_settings(window, size, output))


def average_pool(
    graph: Graph, value: str, window: Window, size: Pair, output: Pair, top: str | None = None
) -> str:
    """Caffe's AVE pooling of `value`, a map of `size`, to `output` (height, width).

    Caffe divides by the part of the window that lies on the map and its padding; what
    rounding up adds behind the padding does not count.
    """
    full = math.prod(window.kernel)
    counts = [
        np.array(
            [
                min(i * window.stride[a] + window.kernel[a], size[a] + 2 * window.pad[a])
                - i * window.stride[a]
                for i in range(output[a])
            ],
            dtype=np.float64,
        )
        for a in (0, 1)
    ]
    share = full / np.outer(counts[0], counts[1])
    exact = bool((share == 1).all())
    name = graph.add(
        "AveragePool", [value], top if exact else None,
        count_include_pad=1, **_pool_settings(window, size, output),
    )  # fmt: skip
    return name if exact else graph.add("Mul", [name, graph.constant(share)], top)


def _spp(graph: Graph, layer: Layer) -> None:
    """Caffe 1.0, spp_layer: level n is a pooling of 2^n bins a side, flattened, one behind the
    other; a single level is not flattened."""
    param = layer.params.spp_param
    n, _, h, w = graph.shapes[layer.bottoms[0]]
    _require_method(layer, param.pool == SPPParameter.STOCHASTIC)
    pool = average_pool if param.pool == SPPParameter.AVE else max_pool
    single = param.pyramid_height == 1
    levels = []
    for level in range(param.pyramid_height):
        window = spp_window(level, (h, w))
        output = pool_output(window, (h, w))
        top = layer.tops[0] if single else None
        levels.append(pool(graph, layer.bottoms[0], window, (h, w), output, top))
    if not single:
        flat = graph.constant((n, -1), np.int64)
        graph.add(
            "Concat", [graph.add("Reshape", [x, flat]) for x in levels], layer.tops[0], axis=1
        )


def _inner_product(graph: Graph, layer: Layer) -> None:
    param = layer.params.inner_product_param
    bottom = graph.shapes[layer.bottoms[0]]
    axis = axis_of(param.axis, bottom)
    weights = _filter_weights(layer)
    weight = weights[0].reshape(weights[0].shape[-2:])
    rows = math.prod(bottom[:axis])
    flat = graph.reshape(layer.bottoms[0], (rows, math.prod(bottom[axis:])))
    inputs = [flat, graph.constant(weight), *(graph.constant(x.reshape(-1)) for x in weights[1:])]
    product = graph.add("Gemm", inputs, transB=int(not param.transpose))
    graph.reshape(product, graph.shapes[layer.tops[0]], layer.tops[0])


WINDOWS: dict[str, Emit] = {
    "Convolution": _convolution,
    "Deconvolution": _convolution,
    **dict.fromkeys(DEPTHWISE, _convolution),
    "InnerProduct": _inner_product,
    "Pooling": _pooling,
    "SPP": _spp,
}
"""How each of these layer types becomes ONNX nodes."""

"""Convolutions, poolings and InnerProduct as ONNX nodes."""

from __future__ import annotations

import math

import numpy as np

from nnie_pipeline.caffe.axes import axis_of
from nnie_pipeline.caffe.caffe_pb2 import PoolingParameter
from nnie_pipeline.caffe.net import Array, Layer
from nnie_pipeline.caffe.windows import conv_window, pool_output, pool_window, rounds_up
from nnie_pipeline.engine.onnx_graph import Emit, Graph, require_weights
from nnie_pipeline.errors import InputError


def _convolution(graph: Graph, layer: Layer) -> None:
    param = layer.params.convolution_param
    window = conv_window(param)
    group = graph.shapes[layer.bottoms[0]][1] if layer.type == "DepthwiseConv" else param.group
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
    size = graph.shapes[layer.bottoms[0]][2], graph.shapes[layer.bottoms[0]][3]
    window = pool_window(param, size)
    if param.pool == PoolingParameter.STOCHASTIC:
        raise InputError(
            f"layer {layer.name}: the onnxruntime engine cannot run STOCHASTIC pooling; NNIE "
            "knows MAX and AVE"
        )
    output = pool_output(window, size, rounds_up(param))
    behind = [
        max(0, (output[i] - 1) * window.stride[i] + window.kernel[i] - size[i] - window.pad[i])
        for i in (0, 1)
    ]
    settings = {
        "kernel_shape": window.kernel,
        "strides": window.stride,
        "pads": (*window.pad, *behind),
    }
    if param.pool == PoolingParameter.MAX:
        graph.add("MaxPool", layer.bottoms[:1], layer.tops[0], **settings)
        return
    # Caffe divides by the part of the window that lies on the map and its padding; what
    # rounding up adds behind the padding does not count.
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
        "AveragePool", layer.bottoms[:1], layer.tops[0] if exact else None,
        count_include_pad=1, **settings,
    )  # fmt: skip
    if not exact:
        graph.add("Mul", [name, graph.constant(share)], layer.tops[0])


def _inner_product(graph: Graph, layer: Layer) -> None:
    param = layer.params.inner_product_param
    bottom = graph.shapes[layer.bottoms[0]]
    axis = axis_of(param.axis, bottom)
    weights = _filter_weights(layer)
    weight = weights[0].reshape(weights[0].shape[-2:])
    rows = math.prod(bottom[:axis])
    flat = graph.add(
        "Reshape", [layer.bottoms[0], graph.constant((rows, math.prod(bottom[axis:])), np.int64)]
    )
    inputs = [flat, graph.constant(weight), *(graph.constant(x.reshape(-1)) for x in weights[1:])]
    product = graph.add("Gemm", inputs, transB=int(not param.transpose))
    shape = graph.shapes[layer.tops[0]]
    graph.add("Reshape", [product, graph.constant(shape, np.int64)], layer.tops[0])


WINDOWS: dict[str, Emit] = {
    "Convolution": _convolution,
    "Deconvolution": _convolution,
    "DepthwiseConv": _convolution,
    "InnerProduct": _inner_product,
    "Pooling": _pooling,
}
"""How each of these layer types becomes ONNX nodes."""

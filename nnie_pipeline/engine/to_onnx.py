"""A Caffe `Net` as an ONNX model: Caffe's semantics spelled out in ONNX operators."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
from onnx import TensorProto, helper, numpy_helper

from nnie_pipeline.caffe import shapes as caffe_shapes
from nnie_pipeline.caffe.caffe_pb2 import EltwiseParameter, LRNParameter, PoolingParameter
from nnie_pipeline.caffe.net import Array, Layer, Net, Shape
from nnie_pipeline.caffe.windows import conv_window, pool_output, pool_window, rounds_up
from nnie_pipeline.errors import InputError

_OPSET = 17
_IR_VERSION = 8


class Graph:
    """Collects nodes and constants; values carry the names they have in the `Net`."""

    def __init__(self, shapes: dict[str, Shape]) -> None:
        self.shapes = shapes
        self.nodes: list[onnx.NodeProto] = []
        self.constants: list[onnx.TensorProto] = []

    def constant(self, value: npt.ArrayLike, dtype: npt.DTypeLike = np.float32) -> str:
        """The name of a new constant."""
        name = f"constant:{len(self.constants)}"
        array: npt.NDArray[Any] = np.array(value, dtype=dtype, order="C")
        self.constants.append(numpy_helper.from_array(array, name))
        return name

    def add(
        self, operator: str, inputs: Sequence[str], output: str | None = None, **attributes: Any
    ) -> str:
        """Append a node; its output is a new name unless `output` is given."""
        name = output or f"temporary:{len(self.nodes)}"
        self.nodes.append(
            helper.make_node(operator, list(inputs), [name], f"n{len(self.nodes)}", **attributes)
        )
        return name


Emit = Callable[[Graph, Layer], None]


def to_onnx(net: Net, values: Sequence[str] | None = None) -> onnx.ModelProto:
    """The ONNX model that computes `values` (default: the outputs of `net`).

    Raises:
        InputError: a layer that this engine cannot run, shapes that do not fit, or a value
            that the network does not make.
    """
    graph = Graph(caffe_shapes.infer(net))
    for layer in net.layers:
        emit = _EMITTERS.get(layer.type)
        if emit is None:
            raise InputError(
                f"layer {layer.name}: the onnxruntime engine cannot run the type {layer.type}"
            )
        emit(graph, layer)
    wanted = list(net.outputs if values is None else values)
    made = {x for node in graph.nodes for x in node.output}
    for value in wanted:
        if value not in made:
            raise InputError(_not_made(net, value))
    model = helper.make_model(
        helper.make_graph(
            graph.nodes,
            net.name or "net",
            [_value(x, shape) for x, shape in net.inputs.items()],
            [_value(x, graph.shapes[x]) for x in wanted],
            graph.constants,
        ),
        opset_imports=[helper.make_opsetid("", _OPSET)],
    )
    model.ir_version = _IR_VERSION
    return model


def _not_made(net: Net, value: str) -> str:
    maker = net.producers().get(value)
    if maker is None:
        return f"the network makes no value {value}; its outputs are {', '.join(net.outputs)}"
    return (
        f"layer {maker.name} ({maker.type}): the onnxruntime engine does not make {value}, the "
        "mask of an un-pooling"
    )


def _value(name: str, shape: Shape) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, TensorProto.FLOAT, shape)


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


def _require_weights(layer: Layer) -> None:
    if not layer.weights:
        raise InputError(f"layer {layer.name} ({layer.type}) has no weights in the caffemodel")


def _filter_weights(layer: Layer) -> list[Array]:
    _require_weights(layer)
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
    axis = caffe_shapes.axis_of(param.axis, bottom)
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


def _broadcast(graph: Graph, layer: Layer, axis: int, shape: Shape) -> Shape:
    """The shape that lays a parameter of `shape` along the bottom from `axis` on."""
    bottom = graph.shapes[layer.bottoms[0]]
    start = caffe_shapes.axis_of(axis, bottom)
    if not shape:
        return (1,) * len(bottom)
    return (1,) * start + shape + (1,) * (len(bottom) - start - len(shape))


def _parameter(graph: Graph, layer: Layer, axis: int, num_axes: int, blob: int) -> str:
    """The multiplier or addend of a Scale or Bias: a weight, or the second bottom."""
    if len(layer.bottoms) > 1 and blob == 0:
        shape = _broadcast(graph, layer, axis, graph.shapes[layer.bottoms[1]])
        return graph.add("Reshape", [layer.bottoms[1], graph.constant(shape, np.int64)])
    _require_weights(layer)
    array = layer.weights[blob - (len(layer.bottoms) > 1)]
    bottom = graph.shapes[layer.bottoms[0]]
    start = caffe_shapes.axis_of(axis, bottom)
    end = len(bottom) if num_axes == -1 else start + num_axes
    shape = _broadcast(graph, layer, axis, bottom[start:end])
    return graph.constant(array.reshape(shape))


def _scale(graph: Graph, layer: Layer) -> None:
    param = layer.params.scale_param
    factor = _parameter(graph, layer, param.axis, param.num_axes, 0)
    if not param.bias_term:
        graph.add("Mul", [layer.bottoms[0], factor], layer.tops[0])
        return
    product = graph.add("Mul", [layer.bottoms[0], factor])
    num_axes = len(graph.shapes[layer.bottoms[1]]) if len(layer.bottoms) > 1 else param.num_axes
    addend = _parameter(graph, layer, param.axis, num_axes, 1)
    graph.add("Add", [product, addend], layer.tops[0])


def _bias(graph: Graph, layer: Layer) -> None:
    param = layer.params.bias_param
    addend = _parameter(graph, layer, param.axis, param.num_axes, 0)
    graph.add("Add", [layer.bottoms[0], addend], layer.tops[0])


def _eltwise(graph: Graph, layer: Layer) -> None:
    param = layer.params.eltwise_param
    if param.operation == EltwiseParameter.SUM:
        coefficients = list(param.coeff) or [1.0] * len(layer.bottoms)
        terms = [
            x if c == 1 else graph.add("Mul", [x, graph.constant(c)])
            for x, c in zip(layer.bottoms, coefficients, strict=True)
        ]
        _chain(graph, "Add", terms, layer.tops[0])
    elif param.operation == EltwiseParameter.PROD:
        _chain(graph, "Mul", layer.bottoms, layer.tops[0])
    else:
        graph.add("Max", layer.bottoms, layer.tops[0])


def _chain(graph: Graph, operator: str, terms: Sequence[str], top: str) -> None:
    total = terms[0]
    for i, term in enumerate(terms[1:], 2):
        total = graph.add(operator, [total, term], top if i == len(terms) else None)
    if len(terms) == 1:
        graph.add("Identity", [total], top)


def _relu(graph: Graph, layer: Layer) -> None:
    slope = layer.params.relu_param.negative_slope
    if slope:
        graph.add("LeakyRelu", layer.bottoms, layer.tops[0], alpha=slope)
    else:
        graph.add("Relu", layer.bottoms, layer.tops[0])


def _rrelu(graph: Graph, layer: Layer) -> None:
    param = layer.params.rrelu_param
    graph.add("LeakyRelu", layer.bottoms, layer.tops[0], alpha=(param.lower + param.upper) / 2)


def _prelu(graph: Graph, layer: Layer) -> None:
    rank = len(graph.shapes[layer.bottoms[0]])
    _require_weights(layer)
    slope = layer.weights[0].reshape(-1, *(1,) * (rank - 2))
    graph.add("PRelu", [layer.bottoms[0], graph.constant(slope)], layer.tops[0])


def _power(graph: Graph, layer: Layer) -> None:
    param = layer.params.power_param
    value = _affine(graph, layer.bottoms[0], param.scale, param.shift)
    if param.power == 1:
        graph.add("Identity", [value], layer.tops[0])
    elif param.power == 2:
        graph.add("Mul", [value, value], layer.tops[0])
    else:
        graph.add("Pow", [value, graph.constant(param.power)], layer.tops[0])


def _exp(graph: Graph, layer: Layer) -> None:
    param = layer.params.exp_param
    log = _log_of_base(layer, param.base)
    value = _affine(graph, layer.bottoms[0], param.scale * log, param.shift * log)
    graph.add("Exp", [value], layer.tops[0])


def _log(graph: Graph, layer: Layer) -> None:
    param = layer.params.log_param
    value = graph.add("Log", [_affine(graph, layer.bottoms[0], param.scale, param.shift)])
    factor = 1.0 / _log_of_base(layer, param.base)
    graph.add("Mul", [value, graph.constant(factor)], layer.tops[0])


def _log_of_base(layer: Layer, base: float) -> float:
    if base == -1:
        return 1.0
    if base <= 0 or (base == 1 and layer.type == "Log"):
        raise InputError(f"layer {layer.name} ({layer.type}): no number has the base {base:g}")
    return math.log(base)


def _affine(graph: Graph, value: str, scale: float, shift: float) -> str:
    if scale != 1:
        value = graph.add("Mul", [value, graph.constant(scale)])
    if shift != 0:
        value = graph.add("Add", [value, graph.constant(shift)])
    return value


def _threshold(graph: Graph, layer: Layer) -> None:
    limit = graph.constant(layer.params.threshold_param.threshold)
    above = graph.add("Greater", [layer.bottoms[0], limit])
    graph.add("Cast", [above], layer.tops[0], to=TensorProto.FLOAT)


def _concat(graph: Graph, layer: Layer) -> None:
    axis = caffe_shapes.concat_axis(layer)
    graph.add("Concat", layer.bottoms, layer.tops[0], axis=axis)


def _slice(graph: Graph, layer: Layer) -> None:
    bottom = graph.shapes[layer.bottoms[0]]
    axis = caffe_shapes.axis_of(caffe_shapes.slice_axis(layer), bottom)
    points = caffe_shapes.slice_points(layer, bottom[axis])
    for top, (start, end) in zip(layer.tops, itertools.pairwise(points), strict=True):
        _cut(graph, layer.bottoms[0], [start], [end], [axis], top)


def _cut(
    graph: Graph, value: str, starts: list[int], ends: list[int], axes: list[int], top: str
) -> None:
    limits = [graph.constant(x, np.int64) for x in (starts, ends, axes)]
    graph.add("Slice", [value, *limits], top)


def _crop(graph: Graph, layer: Layer) -> None:
    bottom, like = (graph.shapes[x] for x in layer.bottoms)
    starts = caffe_shapes.crop_offsets(layer, bottom, like)
    top = graph.shapes[layer.tops[0]]
    ends = [a + b for a, b in zip(starts, top, strict=True)]
    _cut(graph, layer.bottoms[0], starts, ends, list(range(len(bottom))), layer.tops[0])


def _reshape(graph: Graph, layer: Layer) -> None:
    shape = graph.constant(graph.shapes[layer.tops[0]], np.int64)
    graph.add("Reshape", [layer.bottoms[0], shape], layer.tops[0])


def _permute(graph: Graph, layer: Layer) -> None:
    order = caffe_shapes.permute_order(layer, len(graph.shapes[layer.bottoms[0]]))
    graph.add("Transpose", layer.bottoms, layer.tops[0], perm=order)


def _softmax(graph: Graph, layer: Layer) -> None:
    graph.add("Softmax", layer.bottoms, layer.tops[0], axis=layer.params.softmax_param.axis)


def _elu(graph: Graph, layer: Layer) -> None:
    graph.add("Elu", layer.bottoms, layer.tops[0], alpha=layer.params.elu_param.alpha)


def _copy(graph: Graph, layer: Layer) -> None:
    for top in layer.tops:
        graph.add("Identity", layer.bottoms[:1], top)


def _upsample(graph: Graph, layer: Layer) -> None:
    if len(layer.bottoms) > 1:
        raise InputError(
            f"layer {layer.name}: the onnxruntime engine cannot run an un-pooling Upsample"
        )
    bottom, top = graph.shapes[layer.bottoms[0]], graph.shapes[layer.tops[0]]
    if any(b % a for a, b in zip(bottom, top, strict=True)):
        raise InputError(
            f"layer {layer.name} (Upsample): {bottom[2]}x{bottom[3]} to {top[2]}x{top[3]} is no "
            "whole factor"
        )
    scales = [b // a for a, b in zip(bottom, top, strict=True)]
    graph.add(
        "Resize", [layer.bottoms[0], "", graph.constant(scales)], layer.tops[0],
        mode="nearest", coordinate_transformation_mode="asymmetric", nearest_mode="floor",
    )  # fmt: skip


def _lrn(graph: Graph, layer: Layer) -> None:
    """Caffe 1.0, lrn_layer: x / (k + alpha / size * sum of squares) ** beta, as ONNX's LRN."""
    param = layer.params.lrn_param
    if param.norm_region != LRNParameter.ACROSS_CHANNELS:
        raise InputError(
            f"layer {layer.name}: the onnxruntime engine cannot run an LRN within a channel"
        )
    graph.add(
        "LRN", layer.bottoms, layer.tops[0],
        size=param.local_size, alpha=param.alpha, beta=param.beta, bias=param.k,
    )  # fmt: skip


def _plain(operator: str) -> Emit:
    def emit(graph: Graph, layer: Layer) -> None:
        graph.add(operator, layer.bottoms, layer.tops[0])

    return emit


_EMITTERS: dict[str, Emit] = {
    "AbsVal": _plain("Abs"),
    "BNLL": _plain("Softplus"),
    "BatchNorm": _batch_norm,
    "Bias": _bias,
    "Concat": _concat,
    "Convolution": _convolution,
    "Crop": _crop,
    "Deconvolution": _convolution,
    "DepthwiseConv": _convolution,
    "Dropout": _copy,
    "ELU": _elu,
    "Eltwise": _eltwise,
    "Exp": _exp,
    "Flatten": _reshape,
    "InnerProduct": _inner_product,
    "LRN": _lrn,
    "Log": _log,
    "PReLU": _prelu,
    "Permute": _permute,
    "Pooling": _pooling,
    "Power": _power,
    "RReLU": _rrelu,
    "ReLU": _relu,
    "Reshape": _reshape,
    "Scale": _scale,
    "Sigmoid": _plain("Sigmoid"),
    "Slice": _slice,
    "Softmax": _softmax,
    "Split": _copy,
    "TanH": _plain("Tanh"),
    "Threshold": _threshold,
    "Upsample": _upsample,
}

"""Activations and other functions of single numbers as ONNX nodes."""

from __future__ import annotations

import math

from onnx import TensorProto

from nnie_pipeline.caffe.net import Layer
from nnie_pipeline.engine.onnx_graph import Emit, Graph, require_weights
from nnie_pipeline.errors import InputError


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
    require_weights(layer)
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


def _elu(graph: Graph, layer: Layer) -> None:
    graph.add("Elu", layer.bottoms, layer.tops[0], alpha=layer.params.elu_param.alpha)


def _relu6(graph: Graph, layer: Layer) -> None:
    param = layer.params.relu6_param
    leaky = graph.add("LeakyRelu", layer.bottoms, alpha=param.negative_slope)
    graph.add("Min", [leaky, graph.constant(param.threshold)], layer.tops[0])


def _clip(graph: Graph, layer: Layer) -> None:
    param = layer.params.clip_param
    if not (param.HasField("min") and param.HasField("max")):
        raise InputError(f"layer {layer.name} (Clip): write both min and max in clip_param")
    limits = [graph.constant(x) for x in (param.min, param.max)]
    graph.add("Clip", [layer.bottoms[0], *limits], layer.tops[0])


def _hard_sigmoid(graph: Graph, layer: Layer) -> None:
    param = layer.params.hardsigmoid_param
    graph.add("HardSigmoid", layer.bottoms, layer.tops[0], alpha=param.alpha, beta=param.beta)


def _hard_swish(graph: Graph, layer: Layer) -> None:
    gate = graph.add("HardSigmoid", layer.bottoms, alpha=1 / 6, beta=0.5)
    graph.add("Mul", [layer.bottoms[0], gate], layer.tops[0])


def _swish(graph: Graph, layer: Layer) -> None:
    """BVLC Caffe, swish_layer: x * sigmoid(beta * x)."""
    scaled = _affine(graph, layer.bottoms[0], layer.params.swish_param.beta, 0)
    gate = graph.add("Sigmoid", [scaled])
    graph.add("Mul", [layer.bottoms[0], gate], layer.tops[0])


def _plain(operator: str) -> Emit:
    def emit(graph: Graph, layer: Layer) -> None:
        graph.add(operator, layer.bottoms, layer.tops[0])

    return emit


ELEMENTWISE: dict[str, Emit] = {
    "AbsVal": _plain("Abs"),
    "BNLL": _plain("Softplus"),
    "Clip": _clip,
    "ELU": _elu,
    "Exp": _exp,
    "HardSigmoid": _hard_sigmoid,
    "HardSwish": _hard_swish,
    "Log": _log,
    "PReLU": _prelu,
    "Power": _power,
    "RReLU": _rrelu,
    "ReLU": _relu,
    "ReLU6": _relu6,
    "Sigmoid": _plain("Sigmoid"),
    "Swish": _swish,
    "TanH": _plain("Tanh"),
    "Threshold": _threshold,
}
"""How each of these layer types becomes ONNX nodes."""

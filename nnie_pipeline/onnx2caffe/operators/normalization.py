"""Normalisation by the picture's own mean and variance, from layers that NNIE has.

NNIE's MVN adds its fixed eps to the standard deviation; ONNX adds its own under the root. On
a real network the two differ by 0.03 to 3 times the value (measured), so MVN is never used.
"""

from __future__ import annotations

import numpy as np

from nnie_pipeline.caffe.caffe_pb2 import LayerParameter, LRNParameter, PoolingParameter
from nnie_pipeline.caffe.compose import Constant, Value
from nnie_pipeline.onnx2caffe.graph import Graph, Node, converts
from nnie_pipeline.onnx2caffe.operators import broadcast
from nnie_pipeline.onnx2caffe.operators.compose import Composer

_LRN_SIZES = (3, 5, 7)

_SPREAD = 16.0
"""Values are squared this many times larger, which a power of two does exactly.

NNIE keeps such values in 20.12 fixed point: the variance of a network with small values is
below its step of 1/4096. With 1, a GroupNormalization network of detection lost its outputs in
simulation (16 bit: 112 of 266 layers under a cosine of 0.99); with 16, 32 and 64 none was.
16 leaves the most room: a value up to 45 from its mean.
"""


@converts("InstanceNormalization")
def instance_normalization(graph: Graph, node: Node) -> None:
    """AVE Pooling, Bias, Power 2, AVE Pooling, Bias (epsilon), Power -1/2, Scale, Scale.

    Mean and variance of every channel are vectors that Bias and Scale take as second bottoms.
    """
    _normalize(graph, node, 0)


@converts("GroupNormalization")
def group_normalization(graph: Graph, node: Node) -> None:
    """As InstanceNormalization; 1x1 Convolutions by 1/n average the channels of a group.

    Also Reshape, InstanceNormalization, Reshape, which older exports write.
    """
    _normalize(graph, node, int(node.get("num_groups", 1)))


def _normalize(graph: Graph, node: Node, groups: int) -> None:
    c = Composer(graph, node)
    shape = graph.shape(node, node.inputs[0])
    if len(shape) != 4:
        graph.refuse(
            node,
            f"its input has {len(shape)} axes, NNIE averages over rows and columns of a map",
            "normalise maps of the form N x C x H x W",
        )
    channels = shape[1]
    scale, bias = (_per_channel(graph, node, i, channels, groups) for i in (1, 2))
    epsilon = float(node.get("epsilon", 1e-5))
    value = c.input(0)
    mean = _mean(c, value, groups, -1.0, 0.0)
    centred = broadcast.add(c, value, mean, shape)
    squares = c.power(centred, 2, scale=_SPREAD)
    variance = _mean(c, squares, groups, 1.0, epsilon * _SPREAD**2)
    inverse = c.power(variance, -0.5, scale=_SPREAD**-2)
    normal = broadcast.multiply(c, centred, inverse, shape)
    c.done(c.affine(normal, _one_if_equal(scale), _one_if_equal(bias)))


def _mean(c: Composer, value: Value, groups: int, factor: float, addend: float) -> Value:
    """factor * (the mean a channel, or a group) + addend, as 1 x C x 1 x 1."""
    channels = value.shape[1]
    param = LayerParameter()
    param.pooling_param.pool = PoolingParameter.AVE
    param.pooling_param.global_pooling = True
    pooled = c.layer("Pooling", [value], params=param, shape=(*value.shape[:2], 1, 1))
    members = channels // groups if groups else 1
    if members == 1:
        return c.affine(pooled, factor, addend)
    block = np.full((members, members), factor / members)
    weight = np.kron(np.eye(groups), block).reshape(channels, channels, 1, 1)
    param = LayerParameter()
    param.convolution_param.num_output = channels
    param.convolution_param.kernel_size.append(1)
    param.convolution_param.bias_term = addend != 0
    weights = [weight, np.full(channels, addend)] if addend else [weight]
    return c.layer("Convolution", [pooled], weights, param)


def _per_channel(graph: Graph, node: Node, index: int, channels: int, groups: int) -> Constant:
    weight = graph.weight(node, index)
    assert weight is not None
    values = np.asarray(weight, np.float64).reshape(-1)
    if groups and values.size == groups:  # up to opset 20 one number a group
        values = np.repeat(values, channels // groups)
    if values.size != channels:
        graph.refuse(
            node,
            f"it has {values.size} factors for {channels} channels",
            "export the model again",
        )
    return values


def _one_if_equal(values: Constant) -> Constant:
    return values[0].reshape(()) if (values == values[0]).all() else values


@converts("LRN")
def lrn(graph: Graph, node: Node) -> None:
    """LRN across 3, 5 or 7 channels; both divide alpha by the size."""
    size = int(node.get("size", 0))
    if size not in _LRN_SIZES:
        graph.refuse(
            node,
            f"it goes over {size} channels, NNIE's LRN over 3, 5 or 7",
            "use size 3, 5 or 7, or BatchNorm, which is faster on NNIE",
        )
    param = LayerParameter()
    param.lrn_param.local_size = size
    param.lrn_param.alpha = node.get("alpha", 1e-4)
    param.lrn_param.beta = node.get("beta", 0.75)
    param.lrn_param.k = node.get("bias", 1.0)
    param.lrn_param.norm_region = LRNParameter.ACROSS_CHANNELS
    graph.add(node, "LRN", [graph.blob(node, node.inputs[0])], params=param)


@converts("LayerNormalization", "RMSNormalization", "MeanVarianceNormalization")
def other_normalization(graph: Graph, node: Node) -> None:
    """Refused: NNIE has no such layer that is exact."""
    graph.refuse(
        node,
        "NNIE averages over rows and columns of a map, and its MVN adds another eps outside of "
        "the root",
        "train with BatchNorm2d (or InstanceNorm2d, GroupNorm), or keep outputs before it "
        "(--outputs)",
    )


@converts("LpNormalization", "ReduceL2", "ReduceL1", "ReduceSumSquare")
def length(graph: Graph, node: Node) -> None:
    """Refused: the length of an embedding is for the CPU."""
    graph.refuse(
        node,
        "NNIE has no layer for the length of a vector",
        f"keep the embedding before it with --outputs {node.inputs[0]} and normalise it on the "
        "CPU (nnie run cuts there by itself)",
    )

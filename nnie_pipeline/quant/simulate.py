"""A network run in NNIE's number format.

What is quantised: the weights once (one z a layer; one z a channel for depthwise
convolutions; all-equal weights exactly), and the bottoms of every Convolution,
Deconvolution, InnerProduct, Pooling, Eltwise and Concat with one z for all bottoms of a
layer, by the quantiser's apply-only rule. What a fused operation stores is rounded to
Q20.12; so are activation slopes and coefficients (HiSVP development guide, table 3-2).
Products and sums are float32 (the chip's accumulator is wider: assumed to be exact).
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from nnie_pipeline.caffe.net import Array, Layer, Net
from nnie_pipeline.caffe.shapes import infer
from nnie_pipeline.engine.onnxruntime_engine import Session
from nnie_pipeline.errors import InputError
from nnie_pipeline.quant import gfpq
from nnie_pipeline.quant.operations import WEIGHTED, Operation, is_depthwise, operations
from nnie_pipeline.quant.ranges import Ranges


class Simulator:
    """`net` prepared for runs at `bits` (8 or 16) with calibrated `ranges`."""

    def __init__(self, net: Net, bits: int, ranges: Ranges) -> None:
        self._bits = bits
        self._steps = operations(net)
        table = ranges.z.get(bits, {})
        missing = [x.leader.name for x in self._steps if x.quantises and x.leader.name not in table]
        if missing:
            raise InputError(
                f"the ranges hold no {bits}-bit range for layer {missing[0]}; they belong to "
                "another network: calibrate again"
            )
        self._z = table
        shapes = infer(net)
        self._sessions = [Session(_part(net, x, bits, shapes), x.tops) for x in self._steps]
        self._reads = {x: len(readers) for x, readers in net.consumers().items()}
        self._inputs = net.inputs

    def run(self, inputs: Mapping[str, Array]) -> Iterator[tuple[str, Array]]:
        """Every value in execution order, float32, as it is made.

        A value is forgotten when its last reader has run, so memory does not grow with
        the depth of the network.

        Raises:
            InputError: an input is missing or has another shape.
        """
        for name, shape in self._inputs.items():
            if name not in inputs or inputs[name].shape != shape:
                raise InputError(f"the network's input {name} must be a blob of {list(shape)}")
        values: dict[str, Array] = dict(inputs)
        left = dict(self._reads)
        quantised: dict[tuple[str, int], Array] = {}
        for step, session in zip(self._steps, self._sessions, strict=True):
            feed = {x: values[x] for x in dict.fromkeys(step.leader.bottoms)}
            if step.quantises:
                z = self._z[step.leader.name]
                feed = {x: self._quantise(x, y, z, quantised) for x, y in feed.items()}
            made = session.run(feed)
            for name in step.tops:
                array = gfpq.round_q20_12(made[name])
                values[name] = array
                yield name, array
            for layer in step.layers:
                for bottom in dict.fromkeys(layer.bottoms):
                    left[bottom] -= 1
                    if not left[bottom]:
                        del values[bottom]
                        for key in [x for x in quantised if x[0] == bottom]:
                            del quantised[key]
            for name in step.tops:
                if not left.get(name):
                    values.pop(name, None)

    def _quantise(
        self, name: str, array: Array, z: int, done: dict[tuple[str, int], Array]
    ) -> Array:
        key = (name, z)
        if key not in done:
            result = np.empty_like(array, order="C")
            gfpq.quantize_into(np.ascontiguousarray(array), self._bits, z, result)
            done[key] = result
        return done[key]


def _part(net: Net, step: Operation, bits: int, shapes: dict[str, tuple[int, ...]]) -> Net:
    """The network of one operation, weights and coefficients in the chip's precision."""
    bottoms = dict.fromkeys(step.leader.bottoms)
    layers = [_stored(x, bits) for x in step.layers]
    return Net(net.name, {x: shapes[x] for x in bottoms}, layers, step.tops[-1:])


def _stored(layer: Layer, bits: int) -> Layer:
    """A copy of the layer as the chip stores it."""
    copy = layer.copy()
    if layer.type in WEIGHTED and layer.weights:
        weight, _ = gfpq.quantize_weights(layer.weights[0], bits, is_depthwise(layer))
        copy.weights = [weight, *layer.weights[1:]]
    elif layer.type == "PReLU":
        copy.weights = [gfpq.round_q20_12(x) for x in layer.weights]
    elif layer.type == "ReLU":
        copy.params.relu_param.negative_slope = _q(layer.params.relu_param.negative_slope)
    elif layer.type == "ELU":
        copy.params.elu_param.alpha = _q(layer.params.elu_param.alpha)
    elif layer.type == "RReLU":
        middle = (layer.params.rrelu_param.lower + layer.params.rrelu_param.upper) / 2
        copy.params.rrelu_param.lower = copy.params.rrelu_param.upper = _q(middle)
    elif layer.type == "Eltwise":
        copy.params.eltwise_param.coeff[:] = [_q(x) for x in layer.params.eltwise_param.coeff]
    elif layer.type == "Power":
        power = copy.params.power_param
        power.scale, power.shift = _q(power.scale), _q(power.shift)
    elif layer.type == "Exp":
        exp = copy.params.exp_param
        exp.scale, exp.shift = _q(exp.scale), _q(exp.shift)
    elif layer.type == "Threshold":
        copy.params.threshold_param.threshold = _q(layer.params.threshold_param.threshold)
    return copy


def _q(value: float) -> float:
    return float(gfpq.round_q20_12(np.array([value], np.float32))[0])

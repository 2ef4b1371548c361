"""LSTM and RNN as ONNX nodes, unrolled over time as Caffe does.

Bottoms: x (T x N x ...), cont (T x N, 0 where a sequence starts), then a static input
(N x ...) if there is one, then with `expose_hidden` the state to start from (1 x N x D).
Tops: all steps (T x N x D), with `expose_hidden` also the last state. Without it the state
starts at 0 in every run.
"""

from __future__ import annotations

import math

import numpy as np

from nnie_pipeline.caffe.net import Layer
from nnie_pipeline.engine.onnx_graph import Emit, Graph, require_weights
from nnie_pipeline.errors import InputError

_MOST_STEPS = 4096


class _Steps:
    """What the two layers share: inputs step by step, the state in front of the first."""

    def __init__(self, graph: Graph, layer: Layer, states: int) -> None:
        require_weights(layer)
        self.graph = graph
        self.steps, self.streams = graph.shapes[layer.bottoms[0]][:2]
        if self.steps > _MOST_STEPS:
            raise InputError(
                f"layer {layer.name} ({layer.type}) has {self.steps} steps; the onnxruntime "
                f"engine unrolls {_MOST_STEPS} at most: use --engine pycaffe or shorter sequences"
            )
        self.width = layer.params.recurrent_param.num_output
        exposed = states if layer.params.recurrent_param.expose_hidden else 0
        self.has_static = len(layer.bottoms) > 2 + exposed
        self.continued = graph.reshape(layer.bottoms[1], (self.steps, self.streams, 1))
        self.initial = (
            [graph.reshape(x, (self.streams, self.width)) for x in layer.bottoms[-states:]]
            if exposed
            else [graph.constant(np.zeros((self.streams, self.width)))] * states
        )
        self.inputs = self._transformed(layer)

    def _transformed(self, layer: Layer) -> str:
        """W_x x + b, and the static input's share, for all steps (T x N x rows of W_x)."""
        graph, (weight, bias) = self.graph, layer.weights[:2]
        shape = graph.shapes[layer.bottoms[0]]
        flat = graph.reshape(layer.bottoms[0], (self.steps * self.streams, math.prod(shape[2:])))
        made = self.linear(flat, weight, graph.constant(bias.reshape(-1)))
        made = graph.reshape(made, (self.steps, self.streams, weight.shape[-2]))
        if self.has_static:
            shape = graph.shapes[layer.bottoms[2]]
            flat = graph.reshape(layer.bottoms[2], (self.streams, math.prod(shape[1:])))
            made = graph.add("Add", [made, self.linear(flat, layer.weights[2])])
        return made

    def linear(self, value: str, weight: np.ndarray, addend: str | None = None) -> str:
        """weight * value + addend for every row of `value`."""
        matrix = self.graph.constant(weight.reshape(weight.shape[-2:]))
        return self.graph.add("Gemm", [value, matrix, *([addend] if addend else [])], transB=1)

    def at(self, value: str, step: int) -> str:
        """The step `step` of `value`."""
        return self.graph.add("Gather", [value, self.graph.constant(step, np.int64)], axis=0)

    def finish(self, layer: Layer, outputs: list[str], states: list[str]) -> None:
        """Write the tops."""
        joined = self.graph.add("Concat", outputs, axis=0)
        self.graph.reshape(joined, (self.steps, self.streams, self.width), layer.tops[0])
        for state, top in zip(states, layer.tops[1:], strict=False):
            self.graph.reshape(state, (1, self.streams, self.width), top)


def _lstm(graph: Graph, layer: Layer) -> None:
    """Caffe 1.0, lstm_layer and lstm_unit_layer; weights W_xc, b_c, [static], W_hc, the gates
    in the order input, forget, output, candidate."""
    s = _Steps(graph, layer, 2)
    hidden, cell = s.initial
    outputs = []
    for step in range(s.steps):
        continued = s.at(s.continued, step)
        held = graph.add("Mul", [hidden, continued])
        sums = s.linear(held, layer.weights[-1], s.at(s.inputs, step))
        parts = [graph.name_temporary() for _ in range(4)]
        graph.add_several("Split", [sums], parts, axis=1)
        gate_in, forget, gate_out = (graph.add("Sigmoid", [x]) for x in parts[:3])
        kept = graph.add("Mul", [graph.add("Mul", [forget, continued]), cell])
        new = graph.add("Mul", [gate_in, graph.add("Tanh", [parts[3]])])
        cell = graph.add("Add", [kept, new])
        hidden = graph.add("Mul", [gate_out, graph.add("Tanh", [cell])])
        outputs.append(hidden)
    s.finish(layer, outputs, [hidden, cell])


def _rnn(graph: Graph, layer: Layer) -> None:
    """Caffe 1.0, rnn_layer: h = tanh(W_xh x + b_h + W_hh h), o = tanh(W_ho h + b_o); weights
    W_xh, b_h, [static], W_hh, W_ho, b_o."""
    s = _Steps(graph, layer, 1)
    (hidden,) = s.initial
    w_hh, w_ho, b_o = layer.weights[-3:]
    outputs = []
    for step in range(s.steps):
        held = graph.add("Mul", [hidden, s.at(s.continued, step)])
        hidden = graph.add("Tanh", [s.linear(held, w_hh, s.at(s.inputs, step))])
        made = s.linear(hidden, w_ho, graph.constant(b_o.reshape(-1)))
        outputs.append(graph.add("Tanh", [made]))
    s.finish(layer, outputs, [hidden])


RECURRENT: dict[str, Emit] = {"LSTM": _lstm, "RNN": _rnn}
"""How each of these layer types becomes ONNX nodes."""

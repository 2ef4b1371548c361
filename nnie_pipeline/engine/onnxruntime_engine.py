"""The embedded engine: a `Net` run by onnxruntime, any value obtainable."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnxruntime
from onnxruntime.capi import onnxruntime_pybind11_state as state

from nnie_pipeline.caffe.net import Array, Net
from nnie_pipeline.engine.to_onnx import to_onnx
from nnie_pipeline.errors import InputError

_REFUSALS = (
    state.Fail, state.InvalidArgument, state.InvalidGraph, state.NotImplemented,
    state.RuntimeException,
)  # fmt: skip


class Session:
    """A network ready to run; `values` names what a run gives back (default: the outputs).

    Inputs and results are float32 arrays with the shapes of the `Net`. `fused` as `open_session`.

    Raises:
        InputError: as `to_onnx`, or onnxruntime refuses the network.
    """

    def __init__(self, net: Net, values: Sequence[str] | None = None, fused: bool = True) -> None:
        self._wanted = list(net.outputs if values is None else values)
        self._inputs = dict(net.inputs)
        self._computed = [x for x in self._wanted if x not in self._inputs]
        model = to_onnx(net, self._computed)
        self._name = net.name
        try:
            # onnxruntime takes no network that makes nothing.
            self._session = (
                open_session(model.SerializeToString(), fused) if self._computed else None
            )
        except _REFUSALS as error:
            raise InputError(self._refusal(error)) from error

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """The wanted values for `inputs`, in the order in which they were asked for.

        Raises:
            InputError: an input is missing or has another shape, or holds what a layer cannot
                take (a region of a picture that is not there).
        """
        for name, shape in self._inputs.items():
            given = inputs.get(name)
            if given is None or given.shape != shape:
                found = "missing" if given is None else f"of shape {list(given.shape)}"
                raise InputError(f"the network's input {name} is {list(shape)}; it is {found}")
        feed = {x: np.ascontiguousarray(inputs[x], dtype=np.float32) for x in self._inputs}
        try:
            results: list[Array] = self._session.run(self._computed, feed) if self._session else []
        except _REFUSALS as error:
            raise InputError(self._refusal(error)) from error
        made = {**feed, **dict(zip(self._computed, results, strict=True))}
        return {x: made[x] for x in self._wanted}

    def _refusal(self, error: Exception) -> str:
        reason = str(error).splitlines()[0][:300]
        return f"onnxruntime cannot run the network {self._name}: {reason}"


def open_session(model: bytes | str, fused: bool = True) -> Any:
    """An onnxruntime session for CPU with settings for many small sessions side by side.

    Without `fused` every node is computed alone, so that equal nodes give equal bits whatever
    stands around them.

    Spinning worker threads of one session take the cores from the next, so they do not spin.
    Denormals are computed with: the option to take them as zero would switch the processor over
    for all that runs in the calling thread afterwards, numpy included. Pads are not fused into
    poolings: onnxruntime 1.31 lets a Pad with zeros become the padding of a MaxPool, which is
    minus infinity, and gives negative numbers at the border (measured).
    """
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = os.cpu_count() or 1
    options.inter_op_num_threads = 1
    options.log_severity_level = 3
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    if not fused:
        options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    return onnxruntime.InferenceSession(
        model, options, providers=["CPUExecutionProvider"], disabled_optimizers=["Pad_Fusion"]
    )


def all_values(net: Net) -> list[str]:
    """Every value that a layer makes, in execution order."""
    return [x for layer in net.layers for x in layer.tops]

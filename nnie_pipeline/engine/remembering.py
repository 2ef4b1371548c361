"""Networks run on given inputs, none twice that computes the same as one before."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any

from onnx import AttributeProto

from nnie_pipeline.caffe.net import Array, Net
from nnie_pipeline.engine.choice import session
from nnie_pipeline.engine.to_onnx import to_onnx


class Runs:
    """Runs networks on `blobs`, sets of float32 inputs in the order of the networks' inputs.

    onnxruntime gives equal bits for equal programs, so that what a program gave is kept and given
    again for one that differs in names alone. Caffe runs every network that it is given.
    """

    def __init__(self, engine: str, blobs: Sequence[Sequence[Array]]) -> None:
        self.engine = engine
        self._blobs = list(blobs)
        self._known: dict[tuple[str, bool, int], list[Array]] = {}

    def all(self, net: Net, fused: bool = True) -> list[list[Array]]:
        """The outputs of `net` for every set of inputs; `fused` as `engine.choice.session`.

        Raises:
            InputError: the engine cannot run the network, or the inputs do not fit.
        """
        return self._run(net, range(len(self._blobs)), fused, as_written=False)

    def last_as_written(self, net: Net) -> list[list[Array]]:
        """The outputs for the last set alone, of the network as its files have it.

        Raises:
            InputError: as `all`.
        """
        return self._run(net, [len(self._blobs) - 1], fused=True, as_written=True)

    def _run(
        self, net: Net, sets: Sequence[int], fused: bool, as_written: bool
    ) -> list[list[Array]]:
        program = fingerprint(net) if self.engine == "onnxruntime" else None
        if program is not None and all((program, fused, x) in self._known for x in sets):
            return [self._known[program, fused, x] for x in sets]
        running = session(self.engine, net, as_written=as_written, fused=fused)
        results = []
        for number in sets:
            made = running.run(dict(zip(net.inputs, self._blobs[number], strict=True)))
            results.append([made[x] for x in net.outputs])
            if program is not None:
                self._known[program, fused, number] = results[-1]
        return results


def fingerprint(net: Net) -> str | None:
    """What `net` computes as an ONNX program, without names; None where there is none, or
    nodes hold programs of their own.

    Equal for two networks that compute the same with the same numbers in the same order.

    Raises:
        InputError: as `to_onnx`.
    """
    computed = [x for x in net.outputs if x not in net.inputs]
    if not computed:
        return None
    graph = to_onnx(net, computed).graph
    numbers: dict[str, int] = {}

    def number(name: str) -> int:
        return numbers.setdefault(name, len(numbers))

    constants: dict[str, Any] = {}
    for x in graph.initializer:
        held = x.raw_data or x.SerializeToString(deterministic=True)
        constants[x.name] = (tuple(x.dims), x.data_type, hashlib.sha256(held).hexdigest())
    parts: list[object] = [
        (number(x.name), x.type.SerializeToString(deterministic=True))
        for x in graph.input
        if x.name not in constants
    ]
    for node in graph.node:
        if any(x.type in (AttributeProto.GRAPH, AttributeProto.GRAPHS) for x in node.attribute):
            return None  # it may read values of this program by their names
        parts.append((
            node.domain, node.op_type,
            [(constants.get(x) or number(x)) if x else None for x in node.input],
            [number(x) if x else None for x in node.output],
            sorted(x.SerializeToString(deterministic=True) for x in node.attribute),
        ))  # fmt: skip
    parts.append([number(x) for x in net.outputs])
    return hashlib.sha256(repr(parts).encode()).hexdigest()

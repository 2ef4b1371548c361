"""What the board should give back: the outputs of the float and the simulated network."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from nnie_pipeline.bringup.nodes import Node, nodes_of
from nnie_pipeline.bringup.words import FACTOR, Words, to_words
from nnie_pipeline.caffe.net import Array, Net
from nnie_pipeline.caffe.shapes import infer
from nnie_pipeline.chips.segments import on_cpu
from nnie_pipeline.engine.choice import ENGINES, session
from nnie_pipeline.errors import InputError
from nnie_pipeline.quant.ranges import Ranges
from nnie_pipeline.quant.simulate import Simulator
from nnie_pipeline.quant.widths import WIDTHS

FLOAT = "float"
RUNS = {f"{bits}bit": bits for bits in sorted(WIDTHS, reverse=True)}
"""The simulated runs by the names of their folders, the more precise first."""

Outputs = dict[str, list[Words]]
"""Of each run (`FLOAT` and `RUNS`) the words of every node, in the nodes' order."""


class Goldens:
    """Runs a network of one picture input and one NNIE segment, float and simulated.

    Raises:
        InputError: another network, or as `Simulator`.
    """

    def __init__(self, net: Net, ranges: Ranges) -> None:
        cpu = next((x.name for x in net.layers if on_cpu(x)), None)
        if cpu is not None:
            raise InputError(
                f"layer {cpu} runs on the CPU of the board; the kit is made for networks that run "
                "on NNIE as a whole: cut the layer off with --cut, or compare by hand"
            )
        if len(net.inputs) != 1:
            raise InputError(
                f"the network has {len(net.inputs)} inputs; the kit is made for networks of one"
            )
        self._input = next(iter(net.inputs))
        self.nodes: tuple[Node, ...] = nodes_of(net, infer(net))
        self._float = session(ENGINES[0], net, net.outputs)
        self._simulators = {x: Simulator(net, bits, ranges) for x, bits in RUNS.items()}

    def run(self, blob: Array) -> Outputs:
        """The words of all nodes for one float32 input (1, C, H, W)."""
        feed = {self._input: blob}
        outputs = {FLOAT: self._words(self._float.run(feed))}
        wanted = {x.name for x in self.nodes}
        for run, simulator in self._simulators.items():
            made = {name: array for name, array in simulator.run(feed) if name in wanted}
            outputs[run] = self._words(made)
        return outputs

    def _words(self, values: Mapping[str, Array]) -> list[Words]:
        return [to_words(values[x.name]) for x in self.nodes]


def limits(outputs: Outputs) -> dict[str, list[dict[str, float]]]:
    """Of each simulated run and node how far a board may lie from it: `noise`, `norm`, `limit`.

    All are Euclidean lengths of values (words / 4096). `noise` is the distance of the simulation
    from float, `norm` the length of the simulated output. Two runs that each err by `noise`,
    independently, lie sqrt(2) * noise apart: `limit` is half as much again as `noise`, and never
    less than 0.002 of `norm` (the rounding of 16 bit numbers, 2^(1/256) - 1 = 0.0027 at most,
    0.0016 in the mean) or 4 units of the words.
    """
    return {
        run: [_limit(x, y) for x, y in zip(outputs[run], outputs[FLOAT], strict=True)]
        for run in RUNS
    }


def _limit(simulated: Words, exact: Words) -> dict[str, float]:
    one = simulated.astype(np.float64) / FACTOR
    noise = float(np.linalg.norm(one - exact.astype(np.float64) / FACTOR))
    norm = float(np.linalg.norm(one))
    least = max(0.002 * norm, 4 / FACTOR * math.sqrt(simulated.size))
    return {"noise": noise, "norm": norm, "limit": max(1.5 * noise, least)}


def ordered(nodes: Sequence[Node], words: Sequence[Words], order: Sequence[str]) -> list[Any]:
    """The values of the outputs `order` as the heads read them: float32 (1, ...) arrays."""
    by_name = {
        x.name: (y.astype(np.float64) / FACTOR).astype(np.float32).reshape(1, *x.shape)
        for x, y in zip(nodes, words, strict=True)
    }
    return [by_name[x] for x in order]

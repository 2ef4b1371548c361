"""Recomputing a dump under a hypothesis."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np

from nnie_pipeline.caffe.net import Array, Net
from nnie_pipeline.caffe.shapes import infer
from nnie_pipeline.diagnose.case import FLOAT, Case
from nnie_pipeline.diagnose.hypothesis import Hypothesis, Values
from nnie_pipeline.engine.onnxruntime_engine import Session
from nnie_pipeline.errors import InputError, NnieError
from nnie_pipeline.quant.ranges import RangeRecorder, Ranges
from nnie_pipeline.quant.simulate import Simulator

HEALTHY = Hypothesis("everything as it should be")


@dataclass
class Predictor:
    """Runs a case's network; what is expensive to prepare is kept.

    `wanted` are the values of the case's network to give back.
    """

    case: Case
    wanted: Sequence[str]
    _sessions: dict[tuple[int, int], Session | Simulator] = field(default_factory=dict)
    _blob: Array | None = None
    _healthy: dict[int, Values] = field(default_factory=dict)

    def __call__(
        self, hypothesis: Hypothesis, bits: int, own_ranges: bool = False
    ) -> Values | None:
        """The wanted values under a hypothesis; None where it cannot be, or changes nothing.

        With `own_ranges` the numbers are calibrated on what the hypothesis feeds: a mistake in
        the cfg is there when the mapper calibrates, one on the board is not.
        """
        if hypothesis.feed is None and hypothesis.net is None:
            if bits not in self._healthy:
                self._healthy[bits] = self._run(self.case.net, self._right(), bits, False, True)
            return self._healthy[bits]
        feed = self._feed(hypothesis)
        net = self.case.net if hypothesis.net is None else hypothesis.net()
        if feed is None:
            return None
        try:
            return self._run(net, feed, bits, own_ranges, hypothesis.net is None)
        except NnieError:
            return None

    def _right(self) -> Array:
        if self._blob is None:
            self._blob = self.case.blob()
        return self._blob

    def _feed(self, hypothesis: Hypothesis) -> Array | None:
        """The input under a hypothesis; None where it is the right one after all."""
        if hypothesis.feed is None:
            return self._right()
        feed = np.ascontiguousarray(hypothesis.feed(), dtype=np.float32)
        return None if np.array_equal(feed, self._right()) else feed

    def _run(self, net: Net, blob: Array, bits: int, own_ranges: bool, keep: bool) -> Values:
        names = _names(self.case.net, net, self.wanted)
        feed = {next(iter(net.inputs)): blob}
        if bits == FLOAT:
            key = (id(net), bits)
            session = self._sessions.get(key)
            if not isinstance(session, Session):
                infer(net)
                session = Session(net, list(dict.fromkeys(names.values())))
                if keep:
                    self._sessions[key] = session
            made: Mapping[str, Array] = session.run(feed)
        else:
            simulator = self._simulator(net, feed, bits, own_ranges, keep)
            needed = set(names.values())
            made = {k: v for k, v in simulator.run(feed) if k in needed}
        return {name: made[value] for name, value in names.items() if value in made}

    def _simulator(
        self, net: Net, feed: Mapping[str, Array], bits: int, own_ranges: bool, keep: bool
    ) -> Simulator:
        given = self.case.ranges
        kept = None if own_ranges else self._sessions.get((id(net), bits))
        if isinstance(kept, Simulator):
            return kept
        simulator = None
        if given is not None and not own_ranges:
            with contextlib.suppress(InputError):  # they may not know a changed network's layers
                simulator = Simulator(net, bits, given)
        if simulator is None:
            # A mistake in the cfg may be its data_scale: the values say what z they need.
            scales = {} if own_ranges else self.case.scales
            simulator = Simulator(net, bits, calibrated(net, feed, scales))
        if keep and not own_ranges:
            self._sessions[id(net), bits] = simulator
        return simulator


def calibrated(
    net: Net, feed: Mapping[str, Array], scales: Mapping[str, float] | None = None
) -> Ranges:
    """The ranges of a network that was calibrated on `feed` alone.

    `scales` is the data_scale of each input that is a picture: its z is fixed.
    """
    recorder = RangeRecorder(net, scales)
    session = Session(net, [x for x in recorder.values if x not in net.inputs])
    recorder.add({**feed, **session.run(feed)})
    return recorder.ranges()


def _names(own: Net, other: Net, wanted: Sequence[str]) -> dict[str, str]:
    """Where another network has the wanted values: at the same top of the layer of that name."""
    if other is own:
        return {x: x for x in wanted}
    makers = own.producers()
    layers = {x.name: x for x in other.layers}
    found = {}
    for value in wanted:
        if value in own.inputs:
            continue
        layer = layers.get(makers[value].name)
        index = makers[value].tops.index(value)
        if layer is not None and index < len(layer.tops):
            found[value] = layer.tops[index]
    return found

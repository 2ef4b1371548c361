"""Simulations with some layers at 16 bits: plain functions over picklable tasks."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from nnie_pipeline.caffe.net import Array
from nnie_pipeline.quant.widths import FLOAT
from nnie_pipeline.sensitivity.network import Study, StudyNetwork
from nnie_pipeline.sensitivity.tasks import Errors, errors


@dataclass(frozen=True)
class MixTask:
    """Sets of 16-bit layers, the others having the study's bits, on one picture."""

    key: str
    study: Study
    picture: int
    feed: Mapping[str, Array]
    sets: tuple[tuple[str, ...], ...]


_kept: list[tuple[str, StudyNetwork]] = []
"""The last study of this process: preparing one takes longer than a simulation."""


def run_mixes(task: MixTask) -> list[Errors]:
    """The errors of the outputs with each set; runs in any process that has this package."""
    if not _kept or _kept[0][0] != task.key:
        widths = tuple({FLOAT, task.study.bits, 16})
        _kept[:] = [(task.key, StudyNetwork(task.study, widths))]
    network = _kept[0][1]
    names = [x.leader.name for x in network.steps]
    outputs = network.net.outputs
    exact = network.outputs(task.feed, [FLOAT] * len(names))
    found = []
    for chosen in task.sets:
        bits = [16 if x in chosen else task.study.bits for x in names]
        found.append(errors(outputs, exact, network.outputs(task.feed, bits), {}))
    return found

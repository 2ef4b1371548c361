"""The work list of a sensitivity study: plain functions over picklable tasks.

Of each layer two things are measured on each picture: the error of the outputs when only its
operation has the chip's numbers ("only"), and when all but it have ("without"). What lies in
front of it is computed once a picture and process, in float and in the chip's numbers.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from nnie_pipeline.caffe.net import Array
from nnie_pipeline.compare.metrics import difference
from nnie_pipeline.quant.operations import operations
from nnie_pipeline.quant.widths import FLOAT
from nnie_pipeline.sensitivity.network import Counted, Study, StudyNetwork, Work

Errors = dict[str, tuple[float, float]]
"""Of each output: 1 - cosine with float, and the signal to quantisation noise ratio in dB."""


@dataclass(frozen=True)
class Task:
    """Some layers of a study on one picture; `key` is the same for all tasks of a study."""

    key: str
    study: Study
    picture: int
    feed: Mapping[str, Array]
    layers: tuple[str, ...]


@dataclass(frozen=True)
class Effect:
    """What one layer does to the outputs on one picture."""

    layer: str
    only: Errors
    without: Errors


@dataclass(frozen=True)
class Result:
    """What a task found; `everything` are the errors with all layers in the chip's numbers.

    `work` is all that was computed, `whole` one forward pass.
    """

    picture: int
    effects: tuple[Effect, ...]
    everything: Errors
    work: Work
    whole: Work


@dataclass
class _Prepared:
    """A study's network in this process, and the two runs of its last picture."""

    key: str
    network: StudyNetwork
    picture: int = -1
    exact: Counted = field(default_factory=lambda: Counted({}))
    simulated: Counted = field(default_factory=lambda: Counted({}))


_kept: list[_Prepared] = []
"""The last study of this process: preparing one takes longer than most tasks."""


def studied_layers(study: Study) -> list[str]:
    """The layers to study, by name in execution order; each stands for its operation."""
    return [x.leader.name for x in operations(study.net, study.assumptions) if x.quantises]


def make_tasks(
    key: str, study: Study, feeds: Iterator[Mapping[str, Array]], shares: int
) -> Iterator[Task]:
    """`shares` tasks a picture, each with every `shares`-th layer; pictures as they are read."""
    layers = studied_layers(study)
    for picture, feed in enumerate(feeds):
        for share in range(min(shares, len(layers))):
            yield Task(key, study, picture, feed, tuple(layers[share::shares]))


def run_task(task: Task) -> Result:
    """Do one task; runs in any process that has this package."""
    study = task.study
    work = Work()
    if not _kept or _kept[0].key != task.key:
        _kept[:] = [_Prepared(task.key, StudyNetwork(study, (FLOAT, study.bits)))]
    ready = _kept[0]
    network = ready.network
    count = len(network.steps)
    if ready.picture != task.picture:
        ready.exact = network.run(task.feed, [FLOAT] * count)
        ready.simulated = network.run(task.feed, [study.bits] * count)
        ready.picture = task.picture
        for run in (ready.exact, ready.simulated):
            _add(work, run.work)
    exact = {**task.feed, **ready.exact.values}
    simulated = {**task.feed, **ready.simulated.values}
    outputs = network.net.outputs
    everything = errors(outputs, exact, simulated, {})
    effects = []
    for i in network.studied:
        name = network.steps[i].leader.name
        if name not in task.layers:
            continue
        bits = [FLOAT] * count
        bits[i] = study.bits
        only = network.changed(exact, i, bits)
        bits = [study.bits] * count
        bits[i] = FLOAT
        without = network.changed(simulated, i, bits)
        for run in (only, without):
            _add(work, run.work)
        effects.append(
            Effect(
                name,
                errors(list(only.values), exact, only.values, {}),
                errors(list(without.values), exact, without.values, everything),
            )
        )
    return Result(task.picture, tuple(effects), everything, work, network.whole)


def errors(
    names: Sequence[str], exact: Mapping[str, Array], found: Mapping[str, Array], others: Errors
) -> Errors:
    """The errors of `names`; those of other outputs stay as in `others`."""
    result = dict(others)
    for name in names:
        item = difference(exact[name], found[name])
        result[name] = (1 - item.cosine, item.sqnr_db)
    return result


def _add(total: Work, more: Work) -> None:
    total.layers += more.layers
    total.macs += more.macs

"""What each layer's numbers cost the outputs.

An error is 1 - cosine with float. Of several outputs the worst counts, its error being the mean
over the pictures.
"""

from __future__ import annotations

import math
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass, field
from typing import Any

from nnie_pipeline.caffe.net import Array
from nnie_pipeline.errors import InputError
from nnie_pipeline.sensitivity.executors import results
from nnie_pipeline.sensitivity.network import Study, Work
from nnie_pipeline.sensitivity.tasks import Errors, make_tasks, run_task, studied_layers


@dataclass(frozen=True)
class Measured:
    """Errors over all pictures: of each output the mean 1 - cosine and the mean SQNR in dB."""

    outputs: Errors = field(default_factory=dict)

    @property
    def error(self) -> float:
        """The worst output's 1 - cosine; 0 where no output changes."""
        return max((x[0] for x in self.outputs.values()), default=0.0)

    @property
    def sqnr_db(self) -> float:
        """The worst output's signal to quantisation noise ratio; infinite without a change."""
        return min((x[1] for x in self.outputs.values()), default=math.inf)

    def to_json(self) -> dict[str, Any]:
        """As sensitivity.json has it; an infinite ratio is null."""
        return {
            "error": self.error,
            "sqnr_db": _finite(self.sqnr_db),
            "outputs": {
                k: {"cosine": 1 - x, "sqnr_db": _finite(y)} for k, (x, y) in self.outputs.items()
            },
        }


@dataclass(frozen=True)
class LayerEffect:
    """A layer, alone in the chip's numbers and alone in float."""

    name: str
    only: Measured
    without: Measured


@dataclass(frozen=True)
class Sensitivity:
    """All layers of a study, in execution order.

    `everything` are the errors with all layers in the chip's numbers. `passes` is what was
    computed in layers run over layers of the network, `mac_passes` the same counted in
    multiplications, both a picture: a run of the whole network is 1.
    """

    study: Study
    layers: tuple[LayerEffect, ...]
    everything: Measured
    pictures: int
    passes: float
    mac_passes: float

    def to_json(self) -> dict[str, Any]:
        """The content of sensitivity.json."""
        whole = self.everything.error
        types = {x.name: x.type for x in self.study.net.layers}
        return {
            "bits": self.study.bits,
            "pictures": self.pictures,
            "assumptions": self.study.assumptions.changed(),
            "network_layers": len(self.study.net.layers),
            "passes": self.passes,
            "mac_passes": self.mac_passes,
            "outputs": list(self.study.net.outputs),
            "everything": self.everything.to_json(),
            "layers": [
                {
                    "name": x.name,
                    "type": types[x.name],
                    "only": x.only.to_json(),
                    "without": x.without.to_json(),
                    "gain": whole - x.without.error,
                }
                for x in self.layers
            ],
        }


def measure(
    study: Study,
    feeds: Iterator[Mapping[str, Array]],
    pictures: int,
    place: tuple[Executor, int] | None = None,
    progress: Callable[[int, int], None] | None = None,
) -> Sensitivity:
    """Study every layer on each of `feeds`, `pictures` of them.

    `place` is where tasks run (`executors`), None for this process. `progress` is called with
    layers done and all, both counted on every picture. Memory depends on the network and the
    number of workers, not on the number of pictures.

    Raises:
        InputError: no picture, or as `StudyNetwork`.
    """
    names = studied_layers(study)
    shares = 1 if place is None else place[1]
    sums: dict[str, tuple[Summed, Summed]] = {x: (Summed(), Summed()) for x in names}
    everything = Summed()
    seen: set[int] = set()
    work, whole = Work(), Work(1, 1)
    done = 0
    tasks = make_tasks(uuid.uuid4().hex, study, feeds, shares)
    for result in results(run_task, tasks, place):
        whole = result.whole
        work.layers += result.work.layers
        work.macs += result.work.macs
        if result.picture not in seen:
            seen.add(result.picture)
            everything.add(result.everything)
        for effect in result.effects:
            sums[effect.layer][0].add(effect.only)
            sums[effect.layer][1].add(effect.without)
        done += len(result.effects)
        if progress is not None:
            progress(done, len(names) * pictures)
    if not seen:
        raise InputError("no picture was run; a study needs at least one")
    count = len(seen)
    return Sensitivity(
        study,
        tuple(LayerEffect(x, *(y.mean(count) for y in sums[x])) for x in names),
        everything.mean(count),
        count,
        work.layers / whole.layers / count,
        work.macs / max(whole.macs, 1) / count,
    )


class Summed:
    """Errors added up picture by picture."""

    def __init__(self) -> None:
        self._sums: dict[str, list[float]] = {}

    def add(self, found: Errors) -> None:
        """Take in the errors of one picture."""
        for name, (error, noise) in found.items():
            item = self._sums.setdefault(name, [0.0, 0.0, 0])
            item[0] += error
            if math.isfinite(noise):
                item[1] += noise
                item[2] += 1

    def mean(self, pictures: int) -> Measured:
        """The mean over `pictures`.

        Pictures without any difference have no ratio and are left out of its mean.
        """
        return Measured(
            {
                k: (error / pictures, noise / count if count else math.inf)
                for k, (error, noise, count) in self._sums.items()
            }
        )


def ranked(layers: Sequence[LayerEffect]) -> list[LayerEffect]:
    """The layers, the one that alone costs most first."""
    return sorted(layers, key=lambda x: -x.only.error)


def _finite(value: float) -> float | None:
    return value if math.isfinite(value) else None

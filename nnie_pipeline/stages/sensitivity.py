"""sensitivity and mixed: what each layer's numbers cost, and the network with 16-bit layers.

`sensitivity.json` is `Sensitivity.to_json`; `mixed.json` holds:

| key | value |
|---|---|
| `target_cosine`, `max_slowdown` | what was asked for |
| `met` | whether `chosen` reaches the target within the slowdown |
| `chosen` | `layers` to mark, `cosine` of the worst output (mean over pictures), `slowdown` |
| `verified` | that cosine again, from the files that were written |
| `curve` | more such mixes, from none to all layers |
| `marked` | old to new names of the marked layers |
| `chip`, `simulations`, `pictures`, `assumptions` | how it was found |
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nnie_pipeline import files
from nnie_pipeline.caffe.files import read_net, write_net
from nnie_pipeline.caffe.net import Array, Net
from nnie_pipeline.calibration.sets import load_input, read_set
from nnie_pipeline.chips.chip import Chip
from nnie_pipeline.engine.onnxruntime_engine import Session
from nnie_pipeline.errors import InputError
from nnie_pipeline.mapper.folder import MapperFolder, write_mapper_folder
from nnie_pipeline.quant.simulate import Simulator
from nnie_pipeline.quant.widths import MIXED
from nnie_pipeline.rewrite import names
from nnie_pipeline.rewrite.marks import Marks
from nnie_pipeline.rewrite.marks import apply as add_marks
from nnie_pipeline.sensitivity.mixed import Costs, Place, Plan, Progress, costs_of, plan
from nnie_pipeline.sensitivity.network import Study
from nnie_pipeline.sensitivity.study import Sensitivity, Summed
from nnie_pipeline.sensitivity.tasks import errors
from nnie_pipeline.stages.inputs import fitting

SENSITIVITY = "sensitivity.json"
MIXED_FILE = "mixed.json"


@dataclass(frozen=True)
class Pictures:
    """Some pictures of a calibration set: each call of `feeds` reads them again, one by one."""

    count: int
    feeds: Callable[[], Iterator[Mapping[str, Array]]]


def pictures_of(net: Net, calibration: Path, most: int) -> Pictures:
    """At most `most` pictures of a set, spread evenly, the last among them.

    Raises:
        InputError: no such set, one that does not fit the network, or `most` below 1.
    """
    if most < 1:
        raise InputError(f"--pictures {most}: at least one picture is needed")
    record = read_set(calibration)
    total = len(record.pictures)
    count = min(most, total)
    chosen = [total - 1 - i * total // count for i in range(count)]

    def feeds() -> Iterator[Mapping[str, Array]]:
        for index in sorted(chosen):
            yield fitting(net, load_input(calibration, index), record)

    return Pictures(count, feeds)


@dataclass(frozen=True)
class Mixed:
    """What `write_mixed` made."""

    plan: Plan
    verified: float
    layers: tuple[str, ...]
    mapper: MapperFolder


def write_mixed(
    study: Study,
    sensitivity: Sensitivity,
    pictures: Pictures,
    chip: Chip,
    target: float,
    most: float,
    calibration: Path,
    name: str,
    out: Path,
    place: Place = None,
    progress: Progress | None = None,
) -> Mixed:
    """Plan the 16-bit layers and write network, mixed.json and the mapper's folder into `out`.

    The network's layers are marked `_hp`; the cfg files have compile_mode 2.

    Raises:
        InputError: as `plan` and `write_mapper_folder`.
    """
    costs: Costs = costs_of(study, chip)
    found = plan(study, sensitivity.layers, costs, pictures.feeds, target, most, place, progress)
    net, marked = marked_net(study.net, found.chosen.layers)
    with files.added_files(out) as folder:
        prototxt, caffemodel = folder / f"{name}.prototxt", folder / f"{name}.caffemodel"
        write_net(net, prototxt, caffemodel)
        written = read_net(prototxt, caffemodel)
        verified = _verified(study, written, net, pictures)
        mapper = write_mapper_folder(
            prototxt, caffemodel, calibration, folder / "mapper", name, chip=chip.name
        )
        record = {
            "target_cosine": target,
            "max_slowdown": most,
            "met": found.met,
            "chosen": found.chosen.to_json(),
            "verified": verified,
            "curve": [x.to_json() for x in found.curve],
            "marked": marked,
            "chip": chip.name,
            "simulations": found.simulations,
            "pictures": pictures.count,
            "assumptions": study.assumptions.changed(),
        }
        for file, content in (
            (MIXED_FILE, record),
            (SENSITIVITY, sensitivity.to_json()),
            ("ranges.json", study.ranges.to_json()),
        ):
            (folder / file).write_text(files.to_json(content), encoding="utf-8")
    return Mixed(found, verified, tuple(marked.values()), mapper)


def marked_net(net: Net, layers: Sequence[str]) -> tuple[Net, dict[str, str]]:
    """A copy of `net` with `_hp` on these layers, and their old to new names."""
    copy = net.copy()
    changes = add_marks(copy, Marks(hp=tuple(layers)))
    shorter = names.apply(copy)
    marked = {x: changes.layers.get(x, x) for x in layers}
    return copy, {k: shorter.layers.get(v, v) for k, v in marked.items()}


def _verified(study: Study, written: Net, marked: Net, pictures: Pictures) -> float:
    """The worst output's cosine with float, of the files as they are, mean over pictures."""
    ranges = study.ranges
    old = {new.name: x.name for new, x in zip(marked.layers, study.net.layers, strict=True)}
    tables: dict[int, dict[str, Any]] = {
        bits: {new: table[x] for new, x in old.items() if x in table}
        for bits, table in ranges.z.items()
    }
    scales = dict(zip(written.inputs, ranges.scales.values(), strict=False))
    own = type(ranges)(tables, ranges.pictures, ranges.rule, scales)
    simulator = Simulator(
        written, MIXED if any(x != y for x, y in old.items()) else study.bits, own,
        study.assumptions,
    )  # fmt: skip
    exact = Session(study.net)
    total = Summed()
    new_names = dict(zip(study.net.outputs, marked.outputs, strict=True))
    for feed in pictures.feeds():
        values = exact.run(feed)
        given = dict(zip(written.inputs, feed.values(), strict=True))
        made = {k: v for k, v in simulator.run(given) if k in written.outputs}
        found = {x: made[new_names[x]] for x in study.net.outputs}
        total.add(errors(study.net.outputs, values, found, {}))
    return 1 - total.mean(pictures.count).error

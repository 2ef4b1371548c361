"""bisect: the first layer whose presence makes the mapper fail or its dump go wrong."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from nnie_pipeline import files
from nnie_pipeline.caffe.net import Array, Net
from nnie_pipeline.caffe.sub_network import first_layers
from nnie_pipeline.calibration.sets import ascii_name
from nnie_pipeline.compare.layers import compare
from nnie_pipeline.compare.open import open_dump
from nnie_pipeline.errors import InputError
from nnie_pipeline.mapper.program import Program
from nnie_pipeline.quant.widths import Bits
from nnie_pipeline.stages.cut import cut_files
from nnie_pipeline.stages.map import map_cfg
from nnie_pipeline.stages.mapped import FOLDER, current

RECORD = "bisect.json"
CHECKLIST = "CHECKLIST.md"

Feeds = Sequence[Mapping[str, Array]]
Tell = Callable[[str], None]


@dataclass(frozen=True)
class Trial:
    """The first `count` layers, the last called `layer`: whether they hold, and if not, why."""

    count: int
    layer: str
    holds: bool
    why: str
    folder: str


@dataclass(frozen=True)
class Found:
    """The trials in their order; `layer` is the first that makes them fail, None without one."""

    layer: str | None
    type: str | None
    why: str
    trials: tuple[Trial, ...]

    def to_json(self) -> dict[str, Any]:
        """As bisect.json has it."""
        return asdict(self)


@dataclass(frozen=True)
class Parts:
    """How the first layers of a network become folders: see `cut_files`.

    `after` counts the layers that are known to hold, `until` those that are known to fail.
    """

    whole: Net
    feeds: Feeds
    folder: Path
    name: str
    chip: str
    bits: Bits
    after: int
    until: int

    def place(self, count: int) -> Path:
        """The folder of the first `count` layers."""
        layer = ascii_name(self.whole.layers[count - 1].name)
        return self.folder / f"{count:03d}_{layer}"

    def write(self, count: int) -> Path:
        """Write the first `count` layers; their folder."""
        place = self.place(count)
        with files.added_files(place) as folder:
            part = first_layers(self.whole, count)
            cut_files(
                self.whole, part, self.feeds, folder, self.name, self.chip, (self.bits,), False
            )
        return place


def parts_of(
    whole: Net,
    feeds: Feeds,
    folder: Path,
    name: str,
    chip: str,
    bits: Bits,
    after: str | None = None,
    until: str | None = None,
) -> Parts:
    """`Parts` between two layers by their names: `after` is known to hold, `until` to fail.

    Raises:
        InputError: a layer is not there, or they stand in the wrong order.
    """
    names = [x.name for x in whole.layers]
    for name_given in (after, until):
        if name_given is not None and name_given not in names:
            raise InputError(f"the network {whole.name} has no layer {name_given}")
    begin = 0 if after is None else names.index(after) + 1
    end = len(names) if until is None else names.index(until) + 1
    if begin >= end:
        raise InputError(
            f"--after {after} does not stand before --until {until or names[-1]} in the prototxt"
        )
    return Parts(whole, feeds, folder, name, chip, bits, begin, end)


def mapper_holds(
    program: Program, nnie: str, bits: Bits, least: float, longest: float | None, tell: Tell
) -> Callable[[Path], str]:
    """A judge of a part's folder: why the mapper or its dump fails, "" if they hold.

    The dump holds when no layer's cosine with the simulation lies below `least`.
    """

    def judge(place: Path) -> str:
        cfg = next(iter(sorted((place / "mapper").glob(f"*_func_{bits}bit.cfg"))))
        out = place / FOLDER
        result = current(cfg, out, program) or map_cfg(cfg, out, program, nnie, tell, longest)
        if not result.ok:
            return next(x.cause for x in result.messages if x.severity == "error")
        if result.dump is None:
            raise InputError(
                f"the mapper left no mapper_quant in {result.folder}; it is written with log_level "
                "3 only: see that the cfg has it"
            )
        found = compare(open_dump(place / "simulate" / str(bits)), open_dump(result.dump), least)
        if found.mismatched:
            first = found.mismatched[0]
            return f"its dump has {first.name} in another shape: {first.reason}"
        below = found.first_below
        return f"its dump of {below.name} has cosine {below.cosine:.5f}" if below else ""

    return judge


def bisect(parts: Parts, judge: Callable[[Path], str], tell: Tell) -> Found:
    """Halve the network until the first layer is found whose presence makes it fail.

    Every trial is a folder (`Parts.write`), so what was tried can be looked at. Assumed is what
    halving needs: layers added behind a fault do not heal it.
    """
    trials: list[Trial] = []

    def holds(count: int) -> bool:
        layer = parts.whole.layers[count - 1].name
        tell(f"the first {count} of {len(parts.whole.layers)} layers, up to {layer}")
        place = parts.write(count)
        why = judge(place)
        trials.append(Trial(count, layer, not why, why, place.name))
        tell(f"  {'fails: ' + why if why else 'holds'}")
        return not why

    if holds(parts.until):
        return _recorded(parts, Found(None, None, "", tuple(trials)))
    good, bad = parts.after, parts.until
    while bad - good > 1:
        middle = (good + bad) // 2
        if holds(middle):
            good = middle
        else:
            bad = middle
    layer = parts.whole.layers[bad - 1]
    why = next(x.why for x in trials if x.count == bad)
    return _recorded(parts, Found(layer.name, layer.type, why, tuple(trials)))


def _recorded(parts: Parts, found: Found) -> Found:
    files.write_text(parts.folder / RECORD, files.to_json(found.to_json()))
    return found


def write_set(
    parts: Parts, most: int, least: float, program: str, again: str, tell: Tell
) -> list[Path]:
    """Write at most `most` parts and a check list that leads through them by halving.

    `program` is what the mapper is called, `again` the command that narrows down further.
    """
    span = parts.until - parts.after
    steps = min(most, span)
    counts = [parts.after + round(span * i / steps) for i in range(1, steps + 1)]
    places = []
    for number, count in enumerate(counts, 1):
        tell(f"{number}/{len(counts)} {parts.place(count).name}")
        places.append(parts.write(count))
    text = _checklist(parts, counts, least, program, again)
    files.write_text(parts.folder / CHECKLIST, text)
    return places


def _checklist(parts: Parts, counts: Sequence[int], least: float, program: str, again: str) -> str:
    bits = parts.bits
    run = f"{parts.name}_func_{bits}bit"
    layers = parts.whole.layers
    rows: dict[int, str] = {}

    def plan(good: int, bad: int) -> str:
        """Where to go when number `good` (0: nothing) holds and number `bad` fails."""
        if bad - good > 1:
            middle = (good + bad) // 2
            held, failed = plan(middle, bad), plan(good, middle)
            name = parts.place(counts[middle - 1]).name
            rows[middle] = f"| [ ] {middle} | `{name}` | {counts[middle - 1]} | {held} | {failed} |"
            return f"go to {middle}"
        first = counts[good - 1] if good else parts.after
        fault = layers[counts[bad - 1] - 1].name
        if counts[bad - 1] - first == 1:
            return f"**the fault comes with layer `{fault}`**"
        after = f" --after {layers[first - 1].name}" if first else ""
        return f"narrow down: `{again}{after} --until {fault}`"

    last = len(counts)
    start = plan(0, last)
    rows[last] = (
        f"| [ ] {last} | `{parts.place(counts[-1]).name}` | {counts[-1]} | "
        f"nothing to find here | {start} |"
    )
    return "\n".join([
        f"# Which layer of {parts.whole.name} makes the mapper fail?",
        "",
        f"Each folder (PART) holds the first layers of the network. Begin with {last}, then go "
        "where the table says. In the folder's `mapper/` run",
        "",
        f"    {program} {run}.cfg",
        "",
        "It is good when the mapper ends without an error, its .wk is there, and its dump stays "
        f"close to the simulation (no layer below {least:g}):",
        "",
        f"    nnie compare PART/simulate/{bits} PART/mapper/mapper_quant --min-cosine {least:g}",
        "",
        "| done | folder | layers | good | bad |",
        "|---|---|---|---|---|",
        *(rows[x] for x in sorted(rows)),
        "",
    ])  # fmt: skip

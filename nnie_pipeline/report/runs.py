"""The runs that are compared with float, layer by layer: all that the build holds."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from nnie_pipeline.report.build import Build, Missing
from nnie_pipeline.report.records import Compared, LayerDifference
from nnie_pipeline.report.study_records import Alternatives, NetworkDrawn
from nnie_pipeline.report.texts import Texts

MOST = 8
"""Runs that are shown."""

_COLOURS = {"8": "run-8", "16": "run-16", "mixed": "run-mixed"}
_OTHERS = ("run-a", "run-b", "run-c", "run-d", "run-e")


@dataclass(frozen=True)
class Run:
    """A run by its key (8, 16, mixed, a file's name or a rule), and its layers in order.

    `bits` is the width that its numbers are judged by, `colour` a property of the style sheet.
    """

    key: str
    name: str
    bits: str
    colour: str
    record: Compared

    @property
    def layers(self) -> tuple[LayerDifference, ...]:
        """Layers in execution order."""
        return self.record.layers


def plain(name: str) -> str:
    """A layer's name without the mark that gives it 16 bits."""
    return name.removesuffix("_hp")


def find_runs(build: Build, t: Texts) -> tuple[list[Run], list[Missing]]:
    """The runs that have layers, 8 and 16 bit first, and the files that should be there."""
    names = [x.stem for x in sorted((build.folder / "compare").glob("*.json"))]
    names = [x for x in names if f"compare/{x}.json" != NetworkDrawn.PLACE]
    others = [x for x in names if x not in _COLOURS]
    found, missing = [], []
    for name in ("8", "16", *(x for x in ("mixed",) if x in names), *others):
        record = build.find(Compared, f"compare/{name}.json")
        if isinstance(record, Missing):
            missing.append(record)
        elif record.layers:
            found.append((name, _name(name, t), "16" if name == "16" else "8", record))
    there = {key for key, *_ in found}
    found += _alternatives(build, t, there)
    free = iter(_OTHERS)
    runs = [
        Run(key, label, bits, _COLOURS.get(key) or next(free, _OTHERS[-1]), record)
        for key, label, bits, record in found[:MOST]
    ]
    return runs, missing


def _name(key: str, t: Texts) -> str:
    if key in ("8", "16"):
        return str(t("layers.bits", bits=key))
    return str(t("layers.mixed")) if key == "mixed" else key


def _alternatives(build: Build, t: Texts, there: set[str]) -> list[tuple[str, str, str, Compared]]:
    """Each other way to choose ranges that `nnie simulate --clip` compared.

    The maximum is what the runs in the build are made with: not shown twice.
    """
    places = sorted([*build.folder.glob("*/alternatives.json"),
                     *build.folder.glob("*/*/alternatives.json")])  # fmt: skip
    found = []
    for path in places[:MOST]:
        place = Path(path).relative_to(build.folder).as_posix()
        record = build.find(Alternatives, place)
        if isinstance(record, Missing):
            continue
        for rule in record.outputs:
            if rule == "maximum" and str(record.bits) in there:
                continue
            layers = tuple(
                LayerDifference(
                    name=x.layer, type=x.type, shape=(), cosine=x.cosine.get(rule),
                    max_abs=None, rel_euclid=None, sqnr_db=x.sqnr_db.get(rule),
                )
                for x in record.layers
            )  # fmt: skip
            label = str(t("layers.ranges", bits=str(record.bits), rule=rule))
            bits = "16" if str(record.bits) == "16" else "8"
            found.append((f"{place}:{rule}", label, bits, Compared(layers=layers, threshold=0.99)))
    return found

"""What looks worse than it is, what `nnie diagnose` found, and what the number format does."""

from __future__ import annotations

from typing import Any

from nnie_pipeline.report import formats
from nnie_pipeline.report.build import Build, Missing
from nnie_pipeline.report.misleading import misleading
from nnie_pipeline.report.records import Evaluated
from nnie_pipeline.report.runs import Run, find_runs
from nnie_pipeline.report.study_records import Diagnosed, Effect, NetworkDrawn
from nnie_pipeline.report.texts import Texts

MOST = 6
"""Diagnoses that are shown."""

_STATES = ("healthy", "explained", "unexplained")
_SHOWN = 5


def context(build: Build, t: Texts) -> dict[str, Any]:
    """The BatchNorm layers that mislead, the diagnoses, and the effects of the number format."""
    network = build.find(NetworkDrawn)
    diagnoses = _diagnoses(build)
    known = [x for _, x in diagnoses if not isinstance(x, Missing)]
    effects = () if isinstance(network, Missing) else network.effects
    return {
        "network": network,
        "misled": [] if isinstance(network, Missing) else _misled(network, build, t),
        "batch_norms": 0 if isinstance(network, Missing) else len(network.batch_norms),
        "diagnoses": diagnoses,
        "states": _STATES,
        "shown": _SHOWN,
        "kinds": _kinds(effects or tuple(y for x in known for y in x.effects)),
        "label": build.label,
    }


def _misled(network: NetworkDrawn, build: Build, t: Texts) -> list[dict[str, Any]]:
    runs, _ = find_runs(build, t)
    found = []
    for run in runs:
        layers = misleading(network, run)
        if layers:
            found.append({"run": run, "layers": layers, "final": _final(network, run, build, t)})
    return found


def _final(network: NetworkDrawn, run: Run, build: Build, t: Texts) -> str:
    """How large the error is where it counts: at the outputs and in what is found."""
    makers = {top: x.name for x in network.layers for top in x.tops}
    outputs = {makers.get(x) for x in network.outputs}
    cosines = [x.cosine for x in run.layers if x.name in outputs and x.cosine is not None]
    said = t("diagnosis.outputs", cosine=formats.cosine(min(cosines, default=None))[:6])
    evaluated = build.find(Evaluated)
    if isinstance(evaluated, Missing) or run.key not in ("float", "16", "8"):
        return said
    judged = [x.differences[run.key] for x in evaluated.pictures
              if x.judged and run.key in x.differences]  # fmt: skip
    pixels = [y for x in judged for y in (x.box_pixels, x.landmark_pixels) if y is not None]
    if not pixels:
        return said
    changed = sum(x.lost + x.new for x in judged)
    small = "small" if evaluated.passed and not changed else "known"
    return said + t(
        f"diagnosis.final_{small}", pixels=formats.pixels(max(pixels)), count=len(judged),
        changed=changed,
    )  # fmt: skip


def _diagnoses(build: Build) -> list[tuple[str, Diagnosed | Missing]]:
    places = sorted([*build.folder.glob("diagnose/*.json"), *build.folder.glob("diagnose.json")])
    names = [x.relative_to(build.folder).as_posix() for x in places[:MOST]]
    return [(x, build.find(Diagnosed, x)) for x in names]


def _kinds(effects: tuple[Effect, ...]) -> dict[str, list[Effect]]:
    kinds: dict[str, list[Effect]] = {}
    for effect in effects:
        kinds.setdefault(effect.kind, []).append(effect)
    return kinds

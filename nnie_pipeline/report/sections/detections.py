"""What the network answers, float and simulated: detections, or a recogniser's embeddings."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import Any, TypeVar

from nnie_pipeline.report import formats, pictures
from nnie_pipeline.report.build import Build, Missing
from nnie_pipeline.report.records import Bar, CosineBar, Evaluated, EvaluatedPicture, Judged
from nnie_pipeline.report.study_records import PairsVerified
from nnie_pipeline.report.texts import Texts

RUNS = ("float", "16", "8")
OWN = "evaluate/own/evaluate.json"

B = TypeVar("B", bound=Judged)


def context(build: Build, t: Texts) -> dict[str, Any]:
    """The pictures that are shown, the bars that are judged, and a row a picture and run."""
    place = build.folder / Evaluated.PLACE
    if place.parent.is_dir() and not place.exists():  # the stage ran and had no head
        return {"evaluated": None}
    evaluated = build.read(Evaluated)
    own = build.find(Evaluated, OWN)
    bars = {(x.picture, x.run): x for x in evaluated.bars}
    cosine_bars = {(x.picture, x.run): x for x in evaluated.cosine_bars}
    return {
        **({"title": t("detections.embeddings")} if evaluated.embeddings else {}),
        "evaluated": evaluated,
        "label": build.label,
        "pairs": build.find(PairsVerified),
        "own": own,
        "own_rows": [] if isinstance(own, Missing) else _summed(own),
        "shown": [_shown(build, x) for x in chosen(evaluated.pictures)],
        "bars": [
            *(_pixel_bar(x, t) for x in _kinds(evaluated.bars, lambda x: x.limit_pixels)),
            *(_cosine_bar(x, t) for x in _kinds(evaluated.cosine_bars, lambda x: x.limit_cosine)),
        ],
        "rows": [
            (picture, run, picture.differences[run], bars.get((picture.name, run)))
            for picture in evaluated.pictures
            for run in RUNS
            if run in picture.differences
        ],
        "embedded": [
            (entry.name, run, entry.cosines[run], cosine_bars.get((entry.name, run)))
            for entry in evaluated.embeddings
            for run in RUNS
            if run in entry.cosines
        ],
    }


def _summed(own: Evaluated) -> list[dict[str, Any]]:
    """Of each run what all pictures together lost and won, and the largest distances."""
    rows = []
    for run in RUNS:
        found = [x.differences[run] for x in own.pictures if run in x.differences]
        if found:
            rows.append(
                {
                    "run": run,
                    **{x: sum(getattr(y, x) for y in found) for x in ("matched", "lost", "new")},
                    **{
                        x: max((z for y in found if (z := getattr(y, x)) is not None), default=None)
                        for x in ("box_pixels", "landmark_pixels")
                    },
                }
            )
    return rows


def chosen(found: tuple[EvaluatedPicture, ...]) -> list[EvaluatedPicture]:
    """The last picture, which is the one that is dumped, and the one with most detections."""
    if not found:
        return []
    last, crowd = found[-1], max(found, key=lambda x: x.counts.get("onnx", 0))
    return [last] if crowd is last or crowd.counts.get("onnx", 0) < 2 else [last, crowd]


def _shown(build: Build, picture: EvaluatedPicture) -> dict[str, Any]:
    folder = build.folder / "evaluate"
    uris = {run: pictures.data_uri(folder, picture.drawn.get(run, "")) for run in RUNS}
    return {"picture": picture, "uris": uris}


def _kinds(bars: Iterable[B], limit: Callable[[B], float | None]) -> list[list[B]]:
    """The bars of all pictures, those that judge the same together."""
    kinds: dict[Hashable, list[B]] = {}
    for bar in bars:
        kinds.setdefault((bar.run, bar.against, limit(bar)), []).append(bar)
    return list(kinds.values())


def _pixel_bar(bars: list[Bar], t: Texts) -> dict[str, Any]:
    limit = bars[0].limit_pixels
    rule = (
        t("detections.same") if limit is None else t("detections.limit", limit=formats.short(limit))
    )
    worst = t("detections.farthest", pixels=formats.pixels(max(x.pixels for x in bars)))
    return _bar(bars, rule, worst, t)


def _cosine_bar(bars: list[CosineBar], t: Texts) -> dict[str, Any]:
    rule = t("detections.least", limit=formats.short(bars[0].limit_cosine))
    known = [x.cosine for x in bars if x.cosine is not None]
    worst = t("detections.lowest", cosine=formats.cosine(min(known, default=None)))
    return _bar(bars, rule, worst, t)


def _bar(bars: Sequence[Judged], rule: str, worst: str, t: Texts) -> dict[str, Any]:
    run, against = bars[0].run, bars[0].against
    held = sum(x.passed for x in bars)
    return {
        "name": t("detections.bar", run=_run(run, t), against=_run(against, t)),
        "rule": rule,
        "held": t("detections.held", held=held, count=len(bars), worst=worst),
        "passed": held == len(bars),
    }


def _run(run: str, t: Texts) -> str:
    return t(f"detections.run_{run}") if run in ("onnx", *RUNS) else run

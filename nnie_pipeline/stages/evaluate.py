"""evaluate: what a network's answers lose on the way to the chip.

On each picture of the calibration set the original ONNX model, the float Caffe network and
the 16 and 8 bit simulations are decoded by the model's head and compared: "float" with the
original, the simulations with float. Of detectors those pictures are judged on which the
original finds exactly one thing; the others are reported. Embeddings are compared with the
original's by their cosine, and every picture is judged.

A bar is judged only for the runs that the spec's head names (`judged`): how much a network
may lose to 16 and 8 bit is known for RetinaFace alone.

`evaluate.json` holds:

| key | value |
|---|---|
| `judged` | the runs whose bars count: "float", "16", "8" |
| `pictures` | a detector's: `name`, `stem`, `judged`, `counts` and `drawn` by run, `differences` |
| `bars` | a detector's: `picture`, `run`, `against`, `limit_pixels`, `same_faces` (the same things were found), `pixels`, `passed` |
| `embeddings` | a recogniser's: `name`, `stem`, `cosines` with the original's embedding, by run |
| `cosine_bars` | a recogniser's: `picture`, `run`, `against`, `limit_cosine`, `cosine`, `passed` |
| `skipped` | how many pictures of the set were left out |
| `passed` | whether all bars of both lists hold |
"""  # noqa: E501

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import cv2

from nnie_pipeline import files
from nnie_pipeline.caffe.net import Array, Net
from nnie_pipeline.calibration.network_input import InputSpec
from nnie_pipeline.calibration.pictures import read_picture
from nnie_pipeline.calibration.sets import load_input, read_set
from nnie_pipeline.engine.choice import ENGINES
from nnie_pipeline.engine.choice import session as engine_session
from nnie_pipeline.engine.onnxruntime_engine import open_session
from nnie_pipeline.heads.detections import Detections
from nnie_pipeline.heads.drawing import draw
from nnie_pipeline.heads.embedding import Embedding, cosine
from nnie_pipeline.heads.matching import Match, match
from nnie_pipeline.heads.registry import Detector, Head
from nnie_pipeline.quant.ranges import Ranges
from nnie_pipeline.quant.simulate import Simulator
from nnie_pipeline.stages.dump import feeds_of

MOST_PICTURES = 20
ORIGINAL = "onnx"
RUNS = ("float", "16", "8")
"""What is compared: the float Caffe network, and the simulations by their bits."""


@dataclass(frozen=True)
class Bar:
    """A limit for a picture on which one thing is found, in pixels; None: the same things."""

    run: str
    against: str
    pixels: float | None


BARS = (Bar("float", "onnx", 0.5), Bar("16", "float", 1.0), Bar("8", "float", None))

LEAST_COSINE = {"float": 0.9999}
"""What the cosine between a run's embedding and the original's has to reach."""


@dataclass(frozen=True)
class _Ran:
    """The outputs of the original ("onnx") and of each of `RUNS` on a picture."""

    source: str
    path: Path
    outputs: Mapping[str, list[Array]]


def evaluate(
    reference: Path,
    net: Net,
    order: list[str],
    ranges: Ranges,
    calibration: Path,
    head: Head,
    judged: Collection[str],
    folder: Path,
    progress: Callable[[int, int], None] | None = None,
    engine: str = ENGINES[0],
    original: InputSpec | None = None,
    most: int = MOST_PICTURES,
) -> dict[str, Any]:
    """Compare the runs; writes evaluate.json, and of a detector drawn pictures, into `folder`.

    Of a set of more than `most` pictures the first are left out.

    `reference` is the original as ONNX, as convert wrote it, its outputs in the head's order;
    `order` names the values of `net` in that order. `original` says how the original takes
    pixels, where that is not how the set's network does.

    Returns:
        What evaluate.json holds.
    """
    record = read_set(calibration)
    # The last picture is the one that is dumped; when there are too many, it stays.
    skipped = max(0, len(record.pictures) - most)
    pictures: list[dict[str, Any]] = []
    embeddings: list[dict[str, Any]] = []
    ran = _runs(Runs(reference, net, order, ranges, engine), calibration, skipped, original)
    for number, found in enumerate(ran, 1):
        if isinstance(head, Embedding):
            embeddings.append(_embedding(found, head))
        else:
            pictures.append(_picture(found, head, (record.height, record.width), folder))
        if progress:
            progress(number, len(record.pictures) - skipped)
    bars = [x for picture in pictures for x in _judge(picture, judged)]
    cosine_bars = [x for entry in embeddings for x in _judge_embedding(entry, judged)]
    result = {
        "judged": [x for x in RUNS if x in judged],
        "pictures": pictures,
        "bars": bars,
        "embeddings": embeddings,
        "cosine_bars": cosine_bars,
        "skipped": skipped,
        "passed": all(x["passed"] for x in [*bars, *cosine_bars]),
    }
    (folder / "evaluate.json").write_text(files.to_json(result), encoding="utf-8")
    return result


class Runs:
    """The original and every one of `RUNS`, ready for one picture after another."""

    def __init__(
        self, reference: Path, net: Net, order: list[str], ranges: Ranges, engine: str = ENGINES[0]
    ) -> None:
        self._original = open_session(str(reference))
        self._original_input = self._original.get_inputs()[0].name
        self._net, self._order = net, order
        self._caffe = engine_session(engine, net, order)
        self._simulators = {bits: Simulator(net, int(bits), ranges) for bits in RUNS[1:]}

    def outputs(self, blob: Array, original: Array) -> dict[str, list[Array]]:
        """The outputs of the network on `blob` and of the original on `original`, by run."""
        feed = next(feeds_of(self._net, [blob]))
        made = self._caffe.run(feed)
        outputs: dict[str, list[Array]] = {
            ORIGINAL: self._original.run(None, {self._original_input: original}),
            "float": [made[x] for x in self._order],
        }
        for bits, simulator in self._simulators.items():
            kept = {k: v for k, v in simulator.run(feed) if k in self._order}
            outputs[bits] = [kept[x] for x in self._order]
        return outputs


def _runs(runs: Runs, calibration: Path, first: int, original: InputSpec | None) -> Iterator[_Ran]:
    """The outputs on each picture of the set from number `first`."""
    for index, entry in enumerate(read_set(calibration).pictures[first:], first):
        outputs = runs.outputs(
            load_input(calibration, index), load_input(calibration, index, original)
        )
        yield _Ran(entry.source, calibration / entry.file, outputs)


def _embedding(ran: _Ran, head: Embedding) -> dict[str, Any]:
    found = {run: head.embed(maps) for run, maps in ran.outputs.items()}
    return {
        "name": ran.source,
        "stem": ran.path.stem,
        "cosines": {run: cosine(found["onnx"], found[run]) for run in RUNS},
    }


def _judge_embedding(entry: Mapping[str, Any], judged: Collection[str]) -> list[dict[str, Any]]:
    return [
        {
            "picture": entry["name"],
            "run": run,
            "against": "onnx",
            "limit_cosine": limit,
            "cosine": entry["cosines"][run],
            "passed": entry["cosines"][run] >= limit,
        }
        for run, limit in LEAST_COSINE.items()
        if run in judged
    ]


def _picture(ran: _Ran, head: Detector, size: tuple[int, int], folder: Path) -> dict[str, Any]:
    found = {run: head.decode_maps(maps, size) for run, maps in ran.outputs.items()}
    canvas, _ = read_picture(ran.path)
    drawn = {}
    for run in RUNS:
        drawn[run] = f"{ran.path.stem}_{run}.jpg"
        _, data = cv2.imencode(".jpg", draw(canvas, found[run]))
        (folder / drawn[run]).write_bytes(data.tobytes())
    return _compared(ran, found, drawn)


def _compared(ran: _Ran, found: Mapping[str, Detections], drawn: dict[str, str]) -> dict[str, Any]:
    matches = {run: match(found["onnx" if run == "float" else "float"], found[run]) for run in RUNS}
    return {
        "name": ran.source,
        "stem": ran.path.stem,
        "judged": len(found["onnx"]) == 1,
        "counts": {run: len(x) for run, x in found.items()},
        "drawn": drawn,
        "differences": {run: _match(x) for run, x in matches.items()},
    }


def _match(found: Match) -> dict[str, Any]:
    return {
        "matched": len(found.pairs),
        "lost": len(found.only_left),
        "new": len(found.only_right),
        "box_pixels": found.box_difference,
        "landmark_pixels": found.landmark_difference,
    }


def _judge(picture: Mapping[str, Any], judged: Collection[str]) -> list[dict[str, Any]]:
    if not picture["judged"]:
        return []
    result = []
    for bar in (x for x in BARS if x.run in judged):
        difference = picture["differences"][bar.run]
        same = difference["lost"] == 0 and difference["new"] == 0
        moved = max(difference["box_pixels"] or 0.0, difference["landmark_pixels"] or 0.0)
        passed = same and (bar.pixels is None or moved <= bar.pixels)
        result.append(
            {
                "picture": picture["name"],
                "run": bar.run,
                "against": bar.against,
                "limit_pixels": bar.pixels,
                "same_faces": same,
                "pixels": moved,
                "passed": passed,
            }
        )
    return result

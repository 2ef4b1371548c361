"""evaluate: what the detections of the network lose on the way to the chip.

On each picture of the calibration set the original ONNX model, the float Caffe network and
the 16 and 8 bit simulations are decoded by the model's head and compared. Pictures on which
the original finds exactly one face are judged; crowds are reported.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

import cv2

from nnie_pipeline import files
from nnie_pipeline.caffe.net import Array, Net
from nnie_pipeline.calibration.pictures import read_picture
from nnie_pipeline.calibration.sets import load_input, read_set
from nnie_pipeline.engine.onnxruntime_engine import Session, open_session
from nnie_pipeline.heads.detections import Detections
from nnie_pipeline.heads.drawing import draw
from nnie_pipeline.heads.matching import Match, match
from nnie_pipeline.quant.ranges import Ranges
from nnie_pipeline.quant.simulate import Simulator
from nnie_pipeline.stages.dump import feeds_of

MOST_PICTURES = 20
RUNS = ("float", "16", "8")
"""What is compared: the float Caffe network, and the simulations by their bits."""


class Head(Protocol):
    """What a head of `nnie_pipeline.heads` can do."""

    def decode_maps(self, maps: list[Array], size: tuple[int, int]) -> Detections:
        """Detections out of the network's outputs in order."""


@dataclass(frozen=True)
class Bar:
    """A limit that single-face pictures have to hold, in pixels; None: the same faces."""

    run: str
    against: str
    pixels: float | None


BARS = (Bar("float", "onnx", 0.5), Bar("16", "float", 1.0), Bar("8", "float", None))


def evaluate(
    reference: Path,
    net: Net,
    order: list[str],
    ranges: Ranges,
    calibration: Path,
    head: Head,
    folder: Path,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """Compare detections; writes evaluate.json and drawn pictures into `folder`.

    `reference` is the ONNX model that convert wrote, its outputs in the head's order;
    `order` names the values of `net` in that order.
    """
    record = read_set(calibration)
    size = (record.height, record.width)
    session = open_session(str(reference))
    original_input = session.get_inputs()[0].name
    caffe = Session(net, order)
    simulators = {bits: Simulator(net, int(bits), ranges) for bits in RUNS[1:]}
    count = min(len(record.pictures), MOST_PICTURES)
    # The last picture is the one that is dumped; when there are too many, it stays.
    indices = range(len(record.pictures) - count, len(record.pictures))
    pictures = []
    for number, index in enumerate(indices, 1):
        blob = load_input(calibration, index)
        feed = next(feeds_of(net, [blob]))
        found = {"onnx": head.decode_maps(session.run(None, {original_input: blob}), size)}
        made = caffe.run(feed)
        found["float"] = head.decode_maps([made[x] for x in order], size)
        for bits, simulator in simulators.items():
            kept = {k: v for k, v in simulator.run(feed) if k in order}
            found[bits] = head.decode_maps([kept[x] for x in order], size)
        entry = record.pictures[index]
        stem = Path(entry.file).stem
        canvas, _ = read_picture(calibration / entry.file)
        drawn = {}
        for run in RUNS:
            drawn[run] = f"{stem}_{run}.jpg"
            _, data = cv2.imencode(".jpg", draw(canvas, found[run]))
            (folder / drawn[run]).write_bytes(data.tobytes())
        pictures.append(_picture(entry.source, stem, found, drawn))
        if progress:
            progress(number, count)
    bars = [x for picture in pictures for x in _judge(picture)]
    result = {
        "pictures": pictures,
        "skipped": len(record.pictures) - count,
        "bars": bars,
        "passed": all(x["passed"] for x in bars),
    }
    (folder / "evaluate.json").write_text(files.to_json(result), encoding="utf-8")
    return result


def _picture(
    source: str, stem: str, found: Mapping[str, Detections], drawn: dict[str, str]
) -> dict[str, Any]:
    matches = {run: match(found["onnx" if run == "float" else "float"], found[run]) for run in RUNS}
    return {
        "name": source,
        "stem": stem,
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


def _judge(picture: dict[str, Any]) -> list[dict[str, Any]]:
    if not picture["judged"]:
        return []
    result = []
    for bar in BARS:
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

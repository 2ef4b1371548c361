"""diagnose: a build folder (or its files) and a dump, explained."""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from nnie_pipeline import files
from nnie_pipeline.caffe.files import read_net
from nnie_pipeline.caffe.net import Net
from nnie_pipeline.calibration.geometry import Picture
from nnie_pipeline.calibration.network_input import stored_pixels
from nnie_pipeline.calibration.pictures import read_picture
from nnie_pipeline.calibration.sets import CalibrationSet, SetPicture, read_set
from nnie_pipeline.compare.dumps import Dump
from nnie_pipeline.diagnose.case import FLOAT, WIDTHS, Case, CasePicture
from nnie_pipeline.diagnose.effects import Effect, effects, view
from nnie_pipeline.diagnose.explain import Diagnosis, Explanation, explain
from nnie_pipeline.diagnose.observed import observe
from nnie_pipeline.diagnose.predict import Predictor, calibrated
from nnie_pipeline.errors import InputError
from nnie_pipeline.quant.ranges import Ranges
from nnie_pipeline.stages.dump import picture_scales

Files = tuple[Path, Path]
_SIMULATED = re.compile(r"simulated (8|16) bit")


@dataclass(frozen=True)
class Diagnosed:
    """The diagnosis, the effects of the number format beside it, and remarks.

    A dump with outputs `missing` is not healthy, however right the others are.
    """

    diagnosis: Diagnosis
    effects: tuple[Effect, ...]
    notes: tuple[str, ...]
    picture: str
    missing: tuple[str, ...] = ()

    def to_json(self) -> dict[str, Any]:
        """The content of `diagnose --json`."""
        found = self.diagnosis
        return {
            "state": found.state,
            "picture": self.picture,
            "blobs": found.blobs,
            "bits": found.bits,
            "distance": found.right,
            "outputs": found.outputs,
            "distance_to_float": found.from_float,
            "bits_cost": found.costs,
            "first_bad": found.first_bad,
            "cause": found.cause.cause.name if found.cause else None,
            "tied": [x.cause.name for x in found.tied],
            "ranked": [_explanation(x) for x in found.ranked],
            "unjudged": dict(found.unjudged),
            "effects": [
                {"kind": x.kind, "layer": x.layer, "evidence": x.evidence, "size": x.size}
                for x in self.effects
            ],
            "missing": list(self.missing),
            "notes": list(self.notes),
        }


def _explanation(found: Explanation) -> dict[str, Any]:
    return {
        "cause": found.cause.name,
        "title": found.cause.title,
        "variant": found.variant,
        "bits": found.bits,
        "distance": found.score,
        "worst": found.worst,
        "outputs": found.outputs,
        "remedy": found.cause.remedy,
        "test": found.cause.test,
    }


def diagnose(case: Case, dump: Dump) -> Diagnosed:
    """Explain `dump`, a dump of any kind of the case's network.

    Raises:
        InputError: the two have nothing in common, or a file cannot be read.
    """
    seen = observe(case.net, dump)
    found = explain(case, seen.values, Predictor(case, list(seen.values)))
    feed = {case.input: case.blob()}
    ranges = case.ranges or calibrated(case.net, feed, case.scales)
    shown = effects(view(case.net, case.unmerged, found.bits or WIDTHS[0], ranges, feed))
    if seen.missing and found.state == "healthy":
        found = replace(found, state="unexplained")
    return Diagnosed(found, tuple(shown), seen.notes, case.picture.name, seen.missing)


def read_build(folder: Path) -> Case:
    """The case of a folder that `nnie run` wrote.

    Raises:
        InputError: it is no such folder, or a part of it is missing or damaged.
    """
    prototxts = sorted((folder / "rewrite").glob("*.prototxt"))
    if len(prototxts) != 1:
        raise InputError(
            f"{folder} is no build with a rewritten network; give the folder that nnie run wrote, "
            "or --net and --calibration"
        )
    stem = prototxts[0].stem
    ranges = folder / "simulate" / "ranges.json"
    source = tuple(folder / "convert" / f"{stem}.{x}" for x in ("prototxt", "caffemodel"))
    case = read_case(
        (prototxts[0], prototxts[0].with_suffix(".caffemodel")),
        folder / "calibration",
        ranges if ranges.exists() else None,
        (source[0], source[1]) if all(x.exists() for x in source) else None,
    )
    record = folder / "rewrite" / "rewrite.json"
    names = files.read_json(record, "the record of rewrite").get("names", {})
    if not isinstance(names, dict):
        raise InputError(f"{record} is not the record of rewrite; run nnie run again")
    return replace(case, names={str(k): str(v) for k, v in names.items()})


def read_case(
    net: Files, calibration: Path, ranges: Path | None = None, source: Files | None = None
) -> Case:
    """The case of a network (prototxt, caffemodel) and its calibration set.

    Raises:
        InputError: a file is missing or damaged, or the set has another size than the network.
    """
    network = read_net(*net)
    record = read_set(calibration)
    _require_fit(network, record, calibration)
    return Case(
        network,
        record.input,
        tuple(_picture(calibration, record, x) for x in record.pictures),
        ranges=None
        if ranges is None
        else Ranges.from_json(files.read_json(ranges, "a ranges file"), str(ranges)),
        source=None if source is None else read_net(*source),
        scales=picture_scales(network, record.input.scale),
    )


def asked(case: Case, dump: Dump, bits: str | None, picture: int | None) -> Case:
    """The case with what the user said, or else the dump, about bits and picture.

    Without `bits` ("8", "16", "float") a float dump counts as float, a simulation as its
    width, and of others 8 and 16 are tried.

    Raises:
        InputError: no such width, or no such picture.
    """
    widths = {"8": 8, "16": 16, "float": FLOAT}
    if bits is not None and bits not in widths:
        raise InputError(f"--bits {bits}: say 8, 16 or float")
    count = len(case.pictures)
    index = -1 if picture is None else picture
    if not -count <= index < count:
        raise InputError(f"--picture {index}: the calibration set has {count} pictures, 0 up")
    simulated = _SIMULATED.fullmatch(dump.kind)
    if bits is not None:
        wanted: tuple[int, ...] = (widths[bits],)
    elif simulated:
        wanted = (int(simulated[1]),)
    else:
        wanted = (FLOAT,) if dump.kind.startswith("float") else WIDTHS
    return replace(case, bits=wanted, index=index)


def _require_fit(net: Net, record: CalibrationSet, folder: Path) -> None:
    shape = next(iter(net.inputs.values()))
    wanted = (1, record.input.channels, record.height, record.width)
    if len(net.inputs) != 1 or shape != wanted:
        raise InputError(
            f"the set {folder} makes inputs of {list(wanted)}, the network takes "
            f"{', '.join(str(list(x)) for x in net.inputs.values())}; give the set that was "
            "written for it"
        )


def _picture(folder: Path, record: CalibrationSet, entry: SetPicture) -> CasePicture:
    @functools.lru_cache(maxsize=1)
    def pixels() -> Picture:
        canvas, _ = read_picture(folder / entry.file)
        if canvas.shape[:2] != (record.height, record.width):
            raise InputError(
                f"{folder / entry.file} is not {record.height}x{record.width} any more; run nnie "
                "calibrate again"
            )
        return stored_pixels(canvas, record.input.colour)

    return CasePicture(entry.source, pixels, entry.placement, entry.gray)

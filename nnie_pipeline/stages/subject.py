"""The network that a command is about: a prototxt and its weights, or a build folder."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from nnie_pipeline import files
from nnie_pipeline.caffe.net import Array, Net
from nnie_pipeline.calibration.sets import load_input, read_set
from nnie_pipeline.chips.chip import DEFAULT_CHIP
from nnie_pipeline.errors import InputError
from nnie_pipeline.stages.dump import read_input
from nnie_pipeline.stages.inputs import fitting

CUT_RECORD = "cut.json"
"""What nnie cut writes about a part."""


@dataclass(frozen=True)
class Subject:
    """A network's files and what a build knows of it; `build` is None without a build."""

    prototxt: Path
    caffemodel: Path
    name: str
    build: Path | None = None
    calibration: Path | None = None
    chip: str = DEFAULT_CHIP


def open_subject(net: Path, caffemodel: Path | None) -> Subject:
    """The subject in `net`: a prototxt (then with `caffemodel`), or a folder of `nnie run`.

    Raises:
        InputError: neither, or without its weights.
    """
    if not net.is_dir():
        if not net.is_file():
            raise InputError(f"{net}: found nothing there; give a prototxt or a build folder")
        if caffemodel is None:
            raise InputError(f"no weights for {net}; give its caffemodel behind it")
        if not caffemodel.is_file():
            raise InputError(f"weights {caffemodel}: found no file there; give the caffemodel")
        return Subject(net, caffemodel, net.stem)
    found = sorted((net / "rewrite").glob("*.prototxt"))
    if len(found) != 1:
        raise InputError(
            f"{net} is no build folder: it has {len(found) or 'no'} network in rewrite/; make one "
            "with nnie run, or give a prototxt and its caffemodel"
        )
    calibration = net / "calibration"
    return Subject(
        found[0], found[0].with_suffix(".caffemodel"), found[0].stem, net,
        calibration if calibration.is_dir() else None, chip_of(net) or DEFAULT_CHIP,
    )  # fmt: skip


def chip_of(build: Path) -> str | None:
    """The chip that a build was checked for, or a part was cut for; None where none says."""
    for path in (build / "check" / "check.json", build / CUT_RECORD):
        if path.is_file():
            record = files.read_json(path, "a record of nnie")
            chip = record.get("chip") if isinstance(record, dict) else None
            if isinstance(chip, str):
                return chip
    return None


def feeds_for(
    net: Net, subject: Subject, input_file: Path | None, calibration: Path | None, pictures: int
) -> Iterator[dict[str, Array]]:
    """The feeds of a network: the array in `input_file`, or the last `pictures` of a set.

    Raises:
        InputError: there is neither, or it does not fit the network.
    """
    if input_file is not None:
        yield read_input(input_file, net)
        return
    place = calibration or subject.calibration
    if place is None:
        raise InputError("no input: give --input FILE.npy or --calibration FOLDER")
    record = read_set(place)
    count = min(pictures, len(record.pictures))
    for index in range(-count, 0):
        yield fitting(net, load_input(place, index), record)

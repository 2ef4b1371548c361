"""What `nnie sensitivity` and `nnie mixed` share."""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from nnie_pipeline.sensitivity.mixed import Place
    from nnie_pipeline.sensitivity.network import Study
    from nnie_pipeline.stages.sensitivity import Pictures
    from nnie_pipeline.stages.subject import Subject


@dataclass(frozen=True)
class Opened:
    """A study, its pictures and their set; the network's files, and where results go."""

    study: Study
    pictures: Pictures
    calibration: Path
    subject: Subject
    out: Path


def opened_study(
    net: Path,
    caffemodel: Path | None,
    calibration: Path | None,
    out: Path | None,
    place: str,
    bits: int,
    pictures: int,
    ranges: Path | None,
    assume: Sequence[str],
) -> Opened:
    """Read the files; a build folder as `net` has all of them, and results go to `place` in it.

    Ranges are calibrated on the whole set where neither a file nor the build has them.

    Raises:
        InputError: a file that cannot be read or does not fit, or an option out of range.
    """
    from nnie_pipeline.caffe.files import read_net
    from nnie_pipeline.cli.common import existing_file
    from nnie_pipeline.cli.progress import progress_bar
    from nnie_pipeline.errors import InputError
    from nnie_pipeline.files import read_json
    from nnie_pipeline.quant.assumptions import parse_assumptions
    from nnie_pipeline.quant.ranges import Ranges
    from nnie_pipeline.quant.widths import WIDTHS
    from nnie_pipeline.sensitivity.network import Study
    from nnie_pipeline.stages.inputs import calibrated
    from nnie_pipeline.stages.sensitivity import pictures_of
    from nnie_pipeline.stages.subject import open_subject

    if bits not in WIDTHS:
        raise InputError(f"--bits {bits}: NNIE computes with 8 or 16 bits")
    switches = parse_assumptions(assume)
    subject = open_subject(net, caffemodel)
    own = subject.build if calibration is None else None
    calibration = calibration or subject.calibration
    if calibration is None:
        raise InputError("no pictures: give --calibration FOLDER, written by nnie calibrate")
    if out is None and subject.build is None:
        raise InputError("no place for the results: give --out FOLDER")
    target = out or net / place
    if target.resolve() == subject.prototxt.resolve().parent:
        raise InputError(f"--out {target} holds the network itself; choose another folder")
    read = read_net(subject.prototxt, subject.caffemodel)
    chosen = pictures_of(read, calibration, pictures)
    if ranges is None and own is not None and (own / "simulate" / "ranges.json").is_file():
        ranges = own / "simulate" / "ranges.json"
    if ranges is not None:
        existing_file(ranges, "ranges file")
        found = Ranges.from_json(read_json(ranges, "a ranges file"), str(ranges))
    else:
        with progress_bar("ranges") as progress:
            (found,) = calibrated(read, {}, calibration, progress=progress)
    return Opened(Study(read, bits, found, switches), chosen, calibration, subject, target)


def place_of(jobs: int, scheduler: str | None) -> AbstractContextManager[Place]:
    """Where the tasks run."""
    from nnie_pipeline.sensitivity.executors import cluster, processes

    return processes(jobs) if scheduler is None else cluster(scheduler)

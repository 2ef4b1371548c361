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


@dataclass(frozen=True)
class Opened:
    """A study and its pictures."""

    study: Study
    pictures: Pictures


def opened_study(
    prototxt: Path,
    caffemodel: Path,
    calibration: Path,
    bits: int,
    pictures: int,
    ranges: Path | None,
    assume: Sequence[str],
) -> Opened:
    """Read the files; ranges are calibrated on the whole set unless a file is given.

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

    if bits not in WIDTHS:
        raise InputError(f"--bits {bits}: NNIE computes with 8 or 16 bits")
    switches = parse_assumptions(assume)
    net = read_net(prototxt, caffemodel)
    chosen = pictures_of(net, calibration, pictures)
    if ranges is not None:
        existing_file(ranges, "ranges file")
        found = Ranges.from_json(read_json(ranges, "a ranges file"), str(ranges))
    else:
        with progress_bar("ranges") as progress:
            (found,) = calibrated(net, {}, calibration, progress=progress)
    return Opened(Study(net, bits, found, switches), chosen)


def place_of(jobs: int, scheduler: str | None) -> AbstractContextManager[Place]:
    """Where the tasks run."""
    from nnie_pipeline.sensitivity.executors import cluster, processes

    return processes(jobs) if scheduler is None else cluster(scheduler)

"""The input and the ranges that a subcommand's options ask for."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from nnie_pipeline.caffe.net import Array, Net
from nnie_pipeline.calibration.sets import CalibrationSet, load_input, load_inputs, read_set
from nnie_pipeline.errors import InputError
from nnie_pipeline.quant.clip import PercentileRecorder, clip_table
from nnie_pipeline.quant.ranges import RangeRecorder, Ranges
from nnie_pipeline.stages.dump import Recorder, feeds_of, picture_scales, read_input, recorded


def chosen_input(net: Net, file: Path | None, calibration: Path | None) -> dict[str, Array]:
    """The feed in `file`, or else the last picture of the set in `calibration`.

    Raises:
        InputError: neither is given, or one that does not fit the network.
    """
    if file is not None:
        if not file.is_file():
            raise InputError(f"input {file}: found no file there; give the path of the file")
        return read_input(file, net)
    if calibration is None:
        raise InputError("no input: give --input FILE.npy or --calibration FOLDER")
    return fitting(net, load_input(calibration, -1), read_set(calibration))


def fitting(net: Net, blob: Array, record: CalibrationSet) -> dict[str, Array]:
    """A picture of a set as the feed of `net`.

    Raises:
        InputError: the network has several inputs, or one of another size.
    """
    feed = next(feeds_of(net, [blob]))
    name, shape = next(iter(net.inputs.items()))
    if blob.shape != shape:
        raise InputError(
            f"the calibration set is {record.height}x{record.width} with {blob.shape[1]} "
            f"channels; the network's input {name} takes {list(shape)}: calibrate at its size"
        )
    return feed


def calibrated(
    net: Net,
    feed: Mapping[str, Array],
    calibration: Path | None,
    given: Ranges | None = None,
    clip: float | None = None,
    table: Any = None,
    where: str = "",
    progress: Callable[[int, int], None] | None = None,
) -> list[Ranges]:
    """The ranges asked for last, behind those that they are compared with.

    `given` are finished ranges; without them the set in `calibration`, or else `feed` alone,
    is run once. `clip` asks for a percentile, `table` is an imported clip table read from
    `where`; both leave the maximum to compare with.

    Raises:
        InputError: pictures or a table that do not fit the network, a percentile out of range.
    """
    found = [given] if given is not None else _run(net, feed, calibration, clip, progress)
    if table is not None:
        found.append(clip_table(table, net, found[-1], where))
    return found


def _run(
    net: Net,
    feed: Mapping[str, Array],
    calibration: Path | None,
    clip: float | None,
    progress: Callable[[int, int], None] | None,
) -> list[Ranges]:
    scales: dict[str, float] = {}
    feeds: Iterable[Mapping[str, Array]] = [feed]
    count = 1
    if calibration is not None:
        record = read_set(calibration)
        count = len(record.pictures)
        scales = picture_scales(net, record.input.scale)
        feeds = (fitting(net, x, record) for x in load_inputs(calibration))
    recorders: list[Recorder] = [RangeRecorder(net, scales)]
    if clip is not None:
        recorders.append(PercentileRecorder(net, clip, scales))

    def said(done: int) -> None:
        if progress is not None:
            progress(done, count)

    return recorded(recorders, net, feeds, said)

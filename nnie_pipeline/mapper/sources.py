"""What feeds the inputs of a network in nnie_mapper: calibration sets, or tensors as text."""

from __future__ import annotations

import math
import os
import shutil
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TextIO

import numpy as np
import numpy.typing as npt

from nnie_pipeline.calibration.sets import IMAGE_LIST, MEAN_FILE, CalibrationSet, read_set
from nnie_pipeline.errors import InputError
from nnie_pipeline.mapper.cfg import InputOptions, normalisation

Shape = tuple[int, ...]

_LARGEST_TEXT = 8 << 30
_LARGEST_LINE = 1 << 30


@dataclass(frozen=True)
class Source:
    """What feeds one input: a calibration set (`record`), or a text file of `count` tensors."""

    path: Path
    count: int
    record: CalibrationSet | None = None

    @property
    def last(self) -> str:
        """What the mapper dumps its layers for."""
        return (
            f"input.txt, line {self.count}"
            if self.record is None
            else self.record.pictures[-1].file
        )


def open_source(path: Path, blob: str, shape: Shape) -> Source:
    """The source of the input `blob` of `shape` (N first): a folder is a calibration set.

    Raises:
        InputError: it cannot be read, or does not fit the input.
    """
    if path.is_dir() or not path.exists():
        record = read_set(path)
        wanted = (record.input.channels, record.height, record.width)
        if shape[1:] != wanted:
            raise InputError(
                f"the input {blob} reads {'x'.join(map(str, shape[1:]))} (channels x height x "
                f"width), the calibration set is {'x'.join(map(str, wanted))}; run nnie calibrate "
                "with the network's size"
            )
        return Source(path, len(record.pictures), record)
    return Source(path, count_tensors(path, math.prod(shape[1:])))


def append_tensor(file: TextIO, tensor: npt.NDArray[np.float32]) -> None:
    """Write one tensor as image_type 0 wants it: a line, in the order C, H, W.

    Nine digits, so that every float32 reads back as itself (HiSVP development guide, image_list
    of image_type 0: one whole tensor a line, numbers separated by spaces or commas).
    """
    file.write(" ".join(map("{:.9g}".format, tensor.ravel().tolist())))
    file.write("\n")


def count_tensors(path: Path, values: int) -> int:
    """How many tensors of `values` numbers a text file holds, each in a line.

    Raises:
        InputError: it cannot be read, is empty, or a line holds something else.
    """
    count = 0
    try:
        if path.stat().st_size > _LARGEST_TEXT:
            raise InputError(f"{path} is larger than {_LARGEST_TEXT} bytes; give fewer tensors")
        with path.open("rb") as file:
            while line := file.readline(_LARGEST_LINE):
                if not line.strip():
                    continue
                count += 1
                _check_line(path, count, line, values)
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}; give a text file") from error
    if not count:
        raise InputError(f"{path} holds no tensor; write one a line, numbers with spaces between")
    return count


def _check_line(path: Path, number: int, line: bytes, values: int) -> None:
    try:
        found = np.array(line.replace(b",", b" ").split(), np.float64)
    except ValueError as error:
        raise InputError(
            f"{path}, tensor {number}: {error}; write numbers with spaces or commas between"
        ) from error
    if found.size != values:
        raise InputError(
            f"{path}, tensor {number} has {found.size} numbers, the network's input {values}; "
            "write one whole tensor a line"
        )
    if not np.isfinite(found).all():
        raise InputError(f"{path}, tensor {number} holds numbers that are not finite")


def place_source(
    source: Source,
    target: Path,
    prefix: str,
    image_type: int,
    progress: Callable[[int, int], None] | None = None,
) -> InputOptions:
    """Copy a source into `target` and say how the cfg names it.

    Pictures are hard links where the file system allows. `prefix` is "" or the folder in
    `target` of one of several inputs, with its slash.

    Raises:
        InputError: a picture is missing.
        NotExpressibleError: the cfg cannot say the set's scale.
    """
    place = target / prefix
    place.mkdir(exist_ok=True)
    record = source.record
    if record is None:
        _link(source.path, place / "input.txt")
        return InputOptions(f"./{prefix}input.txt", image_type=0)
    (place / "pictures").mkdir()
    lines = []
    for done, picture in enumerate(record.pictures, start=1):
        _link(source.path / picture.file, place / picture.file)
        lines.append(f"{prefix}{picture.file}\n")
        if progress:
            progress(done, len(record.pictures))
    (place / IMAGE_LIST).write_text("".join(lines), encoding="ascii")
    norm = normalisation(record.input.mean, record.input.scale)
    means = "".join(f"{x!r}\n" for x in map(float, record.input.mean))
    (place / MEAN_FILE).write_text(means, encoding="ascii")
    mean_file = f"./{prefix}{MEAN_FILE}" if norm.uses_mean else "null"
    return InputOptions(f"./{prefix}{IMAGE_LIST}", image_type, norm.norm_type, mean_file)


def _link(source: Path, place: Path) -> None:
    try:
        os.link(source, place)
    except FileNotFoundError as error:
        raise InputError(f"{source} is missing; run nnie calibrate again") from error
    except OSError:
        shutil.copyfile(source, place)

"""The folder that goes to the machine with the mapper on it."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

from nnie_pipeline import files
from nnie_pipeline.caffe.files import read_net
from nnie_pipeline.calibration.sets import (
    IMAGE_LIST,
    MEAN_FILE,
    CalibrationSet,
    ascii_name,
    read_set,
)
from nnie_pipeline.errors import InputError
from nnie_pipeline.mapper.cfg import checked_options, normalisation, render, write_cfg

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,79}")
_PICTURE = re.compile(r"\d{3,}_[A-Za-z0-9_-]+\.bmp")


@dataclass(frozen=True)
class Run:
    """One run of the mapper; `kind` is what its cfg and its .wk are called after the name."""

    kind: str
    compile_mode: Literal[0, 1, 2]
    is_simulation: Literal[0, 1]
    log_level: int


RUNS = (
    Run("func_8bit", 0, 1, 3),
    Run("func_16bit", 1, 1, 3),
    Run("inst_8bit", 0, 0, 0),
    Run("inst_16bit", 1, 0, 0),
)
"""Functional simulation first: it is made faster and finds what the chip run would find.
Only log_level 3 writes the mapper_quant dumps; it is slow, so the chip runs go without."""

MIXED_RUNS = (Run("func_mixed", 2, 1, 3), Run("inst_mixed", 2, 0, 0))
"""Layers named `*_hp` with 16 bits, the others with 8."""


@dataclass(frozen=True)
class MapperFolder:
    """What was written: the runs' names (NAME_KIND, the stem of cfg and .wk) and commands."""

    runs: tuple[str, ...]
    commands: tuple[str, ...]


def write_mapper_folder(
    prototxt: Path,
    caffemodel: Path,
    calibration: Path,
    folder: Path,
    name: str | None = None,
    progress: Callable[[int, int], None] | None = None,
    runs: Sequence[Run] = RUNS,
) -> MapperFolder:
    """Write all that nnie_mapper needs into `folder`: net, pictures, means, a cfg file a run.

    The paths in it are relative and ASCII, so that it runs from any place. Pictures are hard
    links where the file system allows. Other files in `folder` (a .wk of an earlier run)
    stay; pictures of an earlier set go.

    Args:
        prototxt: The NNIE-ready network, with one image input of the set's size.
        caffemodel: Its weights.
        calibration: A folder written by `calibration.sets.write_set`.
        folder: Where to write.
        name: What the files are called, ASCII; None takes the prototxt's.
        progress: Called with (done, all) after every picture.
        runs: The runs to write cfg files for.

    Raises:
        InputError: a file that cannot be read, a set that does not fit the network's input,
            a name with other characters, a folder that cannot be written.
        NotExpressibleError: the cfg cannot say the network's scale.
    """
    name = ascii_name(prototxt.stem) if name is None else name
    if not _NAME.fullmatch(name):
        raise InputError(
            f"name {name!r}: use 1 to 80 of A-Z a-z 0-9 _ . - and begin with a letter or digit "
            "(nnie_mapper takes ASCII paths only)"
        )
    record = read_set(calibration)
    _require_input(prototxt, record)
    result = MapperFolder(
        tuple(f"{name}_{x.kind}" for x in runs), tuple(_command(name, x) for x in runs)
    )
    with files.added_files(folder) as target:
        for source, place in (
            (prototxt, f"{name}.prototxt"),
            (caffemodel, f"{name}.caffemodel"),
            (calibration / IMAGE_LIST, IMAGE_LIST),
            (calibration / MEAN_FILE, MEAN_FILE),
        ):
            _copy(source, target / place)
        for run in runs:
            text = _cfg_text(name, run, record)
            (target / f"{name}_{run.kind}.cfg").write_text(text, encoding="ascii")
        readme = _readme(name, record, result.commands, any(x.compile_mode == 2 for x in runs))
        (target / "README.txt").write_text(readme, encoding="ascii")
        (target / "pictures").mkdir()
        for done, picture in enumerate(record.pictures, start=1):
            _link(calibration / picture.file, target / picture.file)
            if progress:
                progress(done, len(record.pictures))
    current = {Path(x.file).name for x in record.pictures}
    for path in (folder / "pictures").iterdir():
        if path.name not in current and _PICTURE.fullmatch(path.name):
            path.unlink(missing_ok=True)
    return result


def _require_input(prototxt: Path, record: CalibrationSet) -> None:
    inputs = read_net(prototxt).inputs
    if len(inputs) != 1:
        raise InputError(
            f"{prototxt} has {len(inputs)} inputs ({', '.join(inputs)}); cfg files are written "
            "for networks with one image input"
        )
    shape = next(iter(inputs.values()))
    wanted = (record.input.channels, record.height, record.width)
    if shape[1:] != wanted:
        raise InputError(
            f"{prototxt} reads {'x'.join(map(str, shape[1:]))} (channels x height x width), the "
            f"calibration set is {'x'.join(map(str, wanted))}; run nnie calibrate with the "
            "network's size"
        )


def _cfg_text(name: str, run: Run, record: CalibrationSet) -> str:
    norm = normalisation(record.input.mean, record.input.scale)
    return write_cfg(
        checked_options(
            prototxt_file=f"./{name}.prototxt",
            caffemodel_file=f"./{name}.caffemodel",
            instruction_name=f"./{name}_{run.kind}",
            compile_mode=run.compile_mode,
            is_simulation=run.is_simulation,
            log_level=run.log_level,
            norm_type=norm.norm_type,
            data_scale=norm.data_scale,
            mean_file=f"./{MEAN_FILE}" if norm.uses_mean else "null",
            rgb_order=_rgb_order(record),
            image_list=f"./{IMAGE_LIST}",
        )
    )


def _rgb_order(record: CalibrationSet) -> str:
    """The network's channel order; a gray network has none and gets the default."""
    return "RGB" if record.input.colour == "RGB" else "BGR"


def _command(name: str, run: Run) -> str:
    stem = f"{name}_{run.kind}"
    command = f"nnie_mapper_12 {stem}.cfg"
    if run.log_level == 3:
        dump = f"dump_{stem}"
        command += f" && rm -rf {dump} && mkdir {dump} && mv mapper_quant {dump}/"
    return command


def _readme(name: str, record: CalibrationSet, commands: tuple[str, ...], mixed: bool) -> str:
    return render(
        "README.txt.j2",
        name=name,
        height=record.height,
        width=record.width,
        count=len(record.pictures),
        last=record.pictures[-1].file,
        commands=commands,
        mixed=mixed,
        colour=record.input.colour,
        rgb_order=_rgb_order(record),
        unequal_means=len(set(record.input.mean)) > 1,
    )


def _copy(source: Path, place: Path) -> None:
    try:
        data = source.read_bytes()
    except OSError as error:
        raise InputError(f"cannot read {source}: {error.strerror}") from error
    place.write_bytes(data)


def _link(source: Path, place: Path) -> None:
    try:
        os.link(source, place)
    except FileNotFoundError as error:
        raise InputError(f"{source} is missing; run nnie calibrate again") from error
    except OSError:
        shutil.copyfile(source, place)

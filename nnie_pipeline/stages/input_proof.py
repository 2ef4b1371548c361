"""Whether what the cfg says, the network and the model's training agree on the input."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from nnie_pipeline.caffe.files import read_net
from nnie_pipeline.caffe.net import Net
from nnie_pipeline.caffe.shapes import infer
from nnie_pipeline.calibration.network_input import InputSpec
from nnie_pipeline.calibration.sets import read_set
from nnie_pipeline.errors import InputError
from nnie_pipeline.mapper.arithmetic import prove
from nnie_pipeline.mapper.cfg import read_cfg
from nnie_pipeline.rewrite.affine import Affine, affine_of, joined

_USUAL_INPUT = 16.0
"""Networks are trained on inputs within this; pixels that nobody scaled go to 255."""

_LEAST_MEAN = 16.0
"""A smaller mean in pixels is no mean of pictures."""


def front_of(net: Net) -> tuple[list[str], Affine] | None:
    """What the network does with each channel of its picture before all else.

    Returns:
        The layers (BatchNorm, Scale, Bias, Power) and (factor, addend), or None: no such layer,
        or not exactly one picture input.
    """
    maps = [name for name, shape in net.inputs.items() if len(shape) == 4]
    if len(maps) != 1:
        return None
    shapes = infer(net)
    readers = net.consumers()
    value = maps[0]
    names: list[str] = []
    channels = net.inputs[value][1]
    total: Affine = (np.ones(channels), np.zeros(channels))
    while len(readers.get(value, [])) == 1:
        layer = readers[value][0]
        step = affine_of(layer, shapes[value])
        if step is None:
            break
        names.append(layer.name)
        total = joined(total, step)
        value = layer.tops[0]
    return (names, total) if names else None


def double_normalisation(net: Net, mean: tuple[float, ...], scale: tuple[float, ...]) -> str | None:
    """A warning where the network begins with the normalisation that is to be done before it.

    That is so where (pixel - mean) * scale does something, and the network's first layers alone
    would make usual inputs out of pixels 0 to 255, or take a mean of pixels away.
    """
    if not any(mean) and all(x == 1 for x in scale):
        return None
    found = front_of(net)
    if found is None:
        return None
    names, (factor, addend) = found
    with np.errstate(divide="ignore", invalid="ignore"):
        means = np.where(factor == 0, 0.0, -addend / factor)
    largest = np.maximum(np.abs(addend), np.abs(255 * factor + addend)).max()
    takes_mean = bool((means >= _LEAST_MEAN).all() and (means <= 255 - _LEAST_MEAN).all())
    if largest > _USUAL_INPUT and not takes_mean:
        return None
    return (
        f"warning: double normalisation: the network begins with {', '.join(names[:3])}, which is "
        f"(x - [{_numbers(means)}]) * [{_numbers(factor)}], and (pixel - [{_numbers(mean)}]) * "
        f"[{_numbers(scale)}] is to be done before it; give mean 0 and scale 1, or take the "
        "layers out"
    )


def mean_order(source: InputSpec) -> list[str]:
    """The warning about the order of mean.txt; nothing where the means are equal."""
    if len(set(source.mean)) == 1:
        return []
    means = ", ".join(f"{x:.9g}" for x in source.mean)
    return [
        f"warning: means {means}: no document says how the lines of mean.txt go with RGB_order; "
        f"they are in the network's order ({source.colour}). The probe (probe/ of the set, and of "
        "the kit that nnie bringup makes) tells the readings apart on a board; --mean-in-network "
        "(nnie run, nnie rewrite) needs no mean.txt"
    ]


def prove_folder(folder: Path, names: tuple[str, ...], size: tuple[int, int], left: InputSpec,
                 trained: InputSpec, unproven: str = "") -> str:  # fmt: skip
    """Prove each cfg file of a mapper folder; a line that says so.

    `unproven` is why `trained` may not be what the model was trained with
    (`calibration.sets.CalibrationSet`).

    Raises:
        CheckError: one feeds the network otherwise than it was trained.
        InputError: one cannot be read.
    """
    proofs = []
    for name in names:
        path = folder / f"{name}.cfg"
        try:
            cfg = read_cfg(path.read_text(encoding="ascii"))
        except (OSError, UnicodeDecodeError) as error:
            raise InputError(f"cannot read {path}: {error}; run nnie cfg again") from error
        proofs.append(prove(cfg, folder, size, left, trained))
    worst = max(proofs, key=lambda x: x.difference)
    return worst.said(f"as the calibration set says ({unproven})") if unproven else str(worst)


def input_lines(
    prototxt: Path, caffemodel: Path, calibration: Path, folder: Path, runs: tuple[str, ...]
) -> list[str]:
    """The proof that the cfg files of `folder` feed what the set says, and warnings.

    Raises:
        CheckError: as `prove_folder`.
        InputError: the set or a cfg file cannot be read.
    """
    record = read_set(calibration)
    wanted = record.input
    size = (record.height, record.width)
    lines = [prove_folder(folder, runs, size, wanted, wanted, record.unproven), *mean_order(wanted)]
    try:
        twice = double_normalisation(read_net(prototxt, caffemodel), wanted.mean, wanted.scale)
    except InputError:
        twice = None  # what is wrong with the files is said elsewhere
    return lines if twice is None else [*lines, twice]


def _numbers(values: object) -> str:
    numbers = [f"{x:.6g}" for x in np.asarray(values, np.float64).reshape(-1)]
    return numbers[0] if len(set(numbers)) == 1 else ", ".join(numbers[:4])

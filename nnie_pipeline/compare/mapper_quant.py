"""The dump of nnie_mapper: `mapper_quant/`, written at log_level 3 for the last picture only.

LAYER_output0_C_H_W_quant.linear.hex          output, int32 of 20.12
LAYER_input0_C_H_W_anti_quant.linear.float    input as the layer computes with it
LAYER_input0_C_H_W_quant.nonlinear.hex        the same as codes of 8 or 16 bits
LAYER_weight-anti.float, LAYER_weight.hex     weights, and their codes
LAYER_bias.hex                                bias words (24.0)

One number a line, in the order C, H, W (a public tool chain's documentation of the mapper's
output tree; HiSVP development guide, section 3.7.3, which prints a dot before `_quant`).
A code is a sign and a magnitude: +-2^((k + z)/n), z standing in no file; see `_codes`.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import numpy.typing as npt

from nnie_pipeline.caffe.net import Array
from nnie_pipeline.compare.dumps import Dump, DumpedBlob, Role
from nnie_pipeline.compare.layout import without_padding
from nnie_pipeline.compare.text_values import read_floats, read_hex, read_q20_12
from nnie_pipeline.errors import InputError

NAME = "mapper_quant"
_BLOB = re.compile(
    r"(?P<layer>.+)_(?P<role>input|output)(?P<number>\d{1,4})(?P<shape>(?:_\d{1,6}){1,3})\.?"
    r"(?P<kind>_quant\.linear\.hex|_anti_quant\.linear\.float|_quant\.nonlinear\.hex)"
)
_PARAMETER = re.compile(r"(?P<layer>.+)(?P<kind>_weight-anti\.float|_weight\.hex|_bias\.hex)")
_FLOAT_OF = {
    "_quant.nonlinear.hex": "_anti_quant.linear.float",
    "_weight.hex": "_weight-anti.float",
}
_CODES = tuple(_FLOAT_OF)
_TOP_16 = 1407


def is_mapper_quant(names: Iterable[str]) -> bool:
    """Whether a folder with files of these names is such a dump."""
    return any(_BLOB.fullmatch(x) for x in names)


def read_mapper_quant(folder: Path, names: Iterable[str]) -> Dump:
    """The dump in `folder`, whose files are `names`; codes are left out where floats stand too.

    Its blobs have no order of execution: the files tell none.

    Raises:
        InputError: no file of such a name is among them.
    """
    have = set(names)
    blobs = [x for x in map(_entry, sorted(have)) if x is not None and not _has_floats(x, have)]
    if not any(x.role in ("input", "output") for x in blobs):
        raise InputError(
            f"{folder} holds no files of {NAME}; run nnie_mapper with log_level 3 and give the "
            f"folder {NAME}"
        )
    return Dump(
        folder, "mapper", "nnie_mapper", tuple(blobs),
        ordered=False, states="fused", reader=load,
    )  # fmt: skip


def load(path: Path, blob: DumpedBlob) -> Array:
    """The values of one file, float32; weights and biases are flat.

    Raises:
        InputError: it cannot be read, or holds another count than its name says.
    """
    if path.name.endswith(_CODES):
        values = _codes(path)
    elif path.name.endswith("_bias.hex"):
        values = read_hex(path)[0].view(np.int32).astype(np.float32)
    elif path.name.endswith(".hex"):
        values = read_q20_12(path)
    else:
        values = read_floats(path)
    if blob.role in ("weight", "bias"):
        return values
    fitted = without_padding(values, blob.shape)
    if fitted is None:
        raise InputError(
            f"{path} holds {values.size} numbers, but its name says {list(blob.shape)}, "
            f"{math.prod(blob.shape)}; the mapper did not finish: run it again"
        )
    return fitted[0]


def _entry(name: str) -> DumpedBlob | None:
    match = _BLOB.fullmatch(name)
    if match:
        shape = tuple(int(x) for x in match["shape"].split("_")[1:])
        role: Role = "output" if match["role"] == "output" else "input"
        if 0 in shape or math.prod(shape) > 1 << 28:
            raise InputError(
                f"the file {name} names the shape {list(shape)}; it is no blob of NNIE"
            )
        layer, number = match["layer"], int(match["number"])
        return DumpedBlob(
            layer, "", layer, f"{layer}_{role}{number}",
            shape, name, number, role, not name.endswith(_CODES),
        )  # fmt: skip
    match = _PARAMETER.fullmatch(name)
    if match:
        kind: Role = "bias" if match["kind"] == "_bias.hex" else "weight"
        scaled = match["kind"] == "_weight-anti.float"
        value = f"{match['layer']}_{kind}"
        return DumpedBlob(match["layer"], "", match["layer"], value, (), name, 0, kind, scaled)
    return None


def _has_floats(blob: DumpedBlob, names: set[str]) -> bool:
    """Whether codes also stand there as the numbers they mean."""
    return any(
        blob.file.endswith(codes) and blob.file.removesuffix(codes) + floats in names
        for codes, floats in _FLOAT_OF.items()
    )


def _codes(path: Path) -> npt.NDArray[np.float32]:
    """Codes of 2 or 4 hexadecimal digits as +-2^(k/n), right up to one factor 2^(z/n).

    8 bit (1.3.4): 0x80 is zero, else the sign bit and k = 0..127, n = 16 (measured with
    libgfpq 1.1.5). 16 bit (1.5.7): n = 128, 0x8000 is zero; in compiled .wk files k stands 2
    bits higher than the format's name says, so both are taken (assumed for these files).
    """
    words, digits = read_hex(path)
    bits = 8 if digits <= 2 else 16
    sign, steps = (0x80, 16) if bits == 8 else (0x8000, 128)
    magnitude = (words & np.uint32(sign - 1)).astype(np.int64)
    if bits == 16 and magnitude.size and magnitude.max() > _TOP_16:
        magnitude >>= 2
    values: npt.NDArray[np.float32] = np.exp2(magnitude / steps).astype(np.float32)
    values[(words & np.uint32(sign)) != 0] *= -1
    values[words == sign] = 0
    return values

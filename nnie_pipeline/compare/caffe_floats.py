"""The dump of the vendor's Caffe script: `conv1_output0_96_55_55_caffe.linear.float`.

CNN_convert_bin_and_print_featuremap.py (public copies) writes one decimal a line with
numpy.savetxt, in the order C, H, W. The name is the layer's that owns the top (the blob's for
an input), `/` written as `_`; vectors have one number behind it or none. In-place layers leave
only the last state of a blob.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterable
from pathlib import Path

from nnie_pipeline.caffe.net import Array
from nnie_pipeline.compare.dumps import Dump, DumpedBlob
from nnie_pipeline.compare.text_values import read_floats
from nnie_pipeline.errors import InputError

_FILE = re.compile(
    r"(?P<layer>.+)_output(?P<number>\d{1,4})(?P<shape>(?:_\d{1,6}){0,4})_caffe\.linear\.float"
)


def is_caffe_floats(names: Iterable[str]) -> bool:
    """Whether a folder with files of these names is such a dump."""
    return any(_FILE.fullmatch(x) for x in names)


def read_caffe_floats(folder: Path, names: Iterable[str]) -> Dump:
    """The dump in `folder`, whose files are `names`.

    Raises:
        InputError: no such file, or a shape that no blob has.
    """
    blobs = []
    for match in filter(None, map(_FILE.fullmatch, sorted(names))):
        shape = tuple(int(x) for x in match["shape"].split("_")[1:])
        if 0 in shape or math.prod(shape) > 1 << 28:
            raise InputError(f"{folder / match[0]} names the shape {list(shape)}; dump again")
        layer, number = match["layer"], int(match["number"])
        blobs.append(
            DumpedBlob(layer, "", layer, f"{layer}_output{number}", shape, match[0], number)
        )
    if not blobs:
        raise InputError(f"{folder} holds no *_caffe.linear.float; dump again")
    return Dump(
        folder, "float (Caffe script)", "caffe", tuple(blobs),
        ordered=False, states="last", reader=load,
    )  # fmt: skip


def load(path: Path, blob: DumpedBlob) -> Array:
    """The values of one file, float32.

    Raises:
        InputError: it cannot be read, or holds another count than its name says.
    """
    values = read_floats(path)
    if values.size != math.prod(blob.shape):
        raise InputError(
            f"{path} holds {values.size} numbers, but its name says {list(blob.shape)}, "
            f"{math.prod(blob.shape)}; dump again"
        )
    return values.reshape(blob.shape)

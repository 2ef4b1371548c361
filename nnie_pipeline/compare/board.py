"""Dumps of a board or simulator: `seg0_layer38_output0_inst.linear.hex`.

The SDK's sample writes `%08x` of each int32 in the order N, C, H, W, one number a line, a file
an output node; the instruction and the functional simulator write every layer the same way
(`_inst` and `_func`; `_board` in the HiSVP development guide, section 3.7.3). A value is
int32 / 4096. Programs that copy whole buffers keep the padding of the rows; `layout` takes it
off. Layers have numbers only: `cnn_net_tree.dot` of the mapper names them.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

from nnie_pipeline.caffe.net import Array
from nnie_pipeline.compare.dot import read_layer_names
from nnie_pipeline.compare.dumps import Dump, DumpedBlob
from nnie_pipeline.compare.text_values import LARGEST_FILE, read_q20_12
from nnie_pipeline.errors import InputError

_FILE = re.compile(
    r"seg(?P<segment>\d{1,4})_layer(?P<layer>\d{1,9})_output(?P<number>\d{1,4})"
    r"_(?P<kind>inst|func|board)\.linear\.hex"
)
_KINDS = {
    "inst": "board or instruction simulator",
    "func": "functional simulator",
    "board": "board",
}


def is_board(names: Iterable[str]) -> bool:
    """Whether a folder with files of these names is such a dump."""
    return any(_FILE.fullmatch(x) for x in names)


def read_board(folder: Path, names: Iterable[str], dot: Path | None = None) -> Dump:
    """The dump in `folder`, whose files are `names`; `dot` is cnn_net_tree.dot.

    The shape of a blob is (numbers in the file,): the file tells no other.

    Raises:
        InputError: no such file, one that cannot be read, or a layer that `dot` does not name.
    """
    found = [x for x in map(_FILE.fullmatch, names) if x]
    found.sort(key=lambda x: (int(x["segment"]), int(x["layer"]), int(x["number"])))
    layers = None if dot is None else read_layer_names(dot)
    blobs = []
    for match in found:
        name = f"seg{int(match['segment'])}_layer{int(match['layer'])}"
        if layers is not None and dot is not None:
            if int(match["layer"]) not in layers:
                raise InputError(
                    f"{dot} names {len(layers)} layers and no number {match['layer']} of "
                    f"{match[0]}; give the file that the mapper wrote with this .wk, or leave it "
                    "out to match by shape and order"
                )
            name = layers[int(match["layer"])]
        number = int(match["number"])
        count = _count(folder / match[0])
        blobs.append(
            DumpedBlob(name, "", name, f"{name}_output{number}", (count,), match[0], number)
        )
    if not blobs:
        raise InputError(f"{folder} holds no seg*_layer*_output*.linear.hex; dump again")
    kinds = list(dict.fromkeys(_KINDS[x["kind"]] for x in found))
    return Dump(
        folder, " and ".join(kinds), "NNIE", tuple(blobs),
        named=layers is not None, states="fused", reader=load,
    )  # fmt: skip


def load(path: Path, blob: DumpedBlob) -> Array:
    """The values of one file, float32 (n,).

    Raises:
        InputError: it cannot be read, or has changed since the dump was opened.
    """
    values = read_q20_12(path)
    if values.shape != blob.shape:
        raise InputError(
            f"{path} holds {values.size} numbers and held {blob.shape[0]} a moment ago; dump again"
        )
    return values


def _count(path: Path) -> int:
    """How many numbers the file holds."""
    try:
        size = path.stat().st_size
        if size > LARGEST_FILE:
            raise InputError(f"{path} is larger than {LARGEST_FILE} bytes; give a smaller dump")
        if size % 9 == 0:  # %08x and a line end each
            return size // 9
        return len(path.read_bytes().split())
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}; dump again") from error

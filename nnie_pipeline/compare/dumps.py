"""A dump on disk: one `.npy` a value, and `dump.json` in execution order."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from nnie_pipeline import files
from nnie_pipeline.caffe.net import Array, Net
from nnie_pipeline.errors import InputError

RECORD = "dump.json"
_LARGEST_BLOB = 1 << 31


@dataclass(frozen=True)
class DumpedBlob:
    """One value: the layer and blob it belongs to, its shape and its file in the folder."""

    layer: str
    type: str
    blob: str
    value: str
    shape: tuple[int, ...]
    file: str


@dataclass(frozen=True)
class Dump:
    """A dump folder; `kind` says in words how it was made ("float", "simulated 8 bit")."""

    folder: Path
    kind: str
    engine: str
    blobs: tuple[DumpedBlob, ...]

    def load(self, blob: DumpedBlob) -> Array:
        """The values of one blob, float32.

        Raises:
            InputError: the file is missing or does not hold this blob.
        """
        path = self.folder / blob.file
        try:
            if path.stat().st_size > _LARGEST_BLOB:
                raise InputError(f"{path} is larger than {_LARGEST_BLOB} bytes")
            array = np.load(path, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise InputError(f"cannot read blob {path}: {error}; dump again") from error
        if not np.issubdtype(array.dtype, np.floating) or tuple(array.shape) != blob.shape:
            raise InputError(f"{path} is not the float blob {list(blob.shape)}; dump again")
        return np.asarray(array, dtype=np.float32)


def write_dump(
    net: Net, values: Iterable[tuple[str, Array]], kind: str, engine: str, folder: Path
) -> None:
    """Write `values` (name and array, in execution order) as a dump into `folder`.

    The file of a value is its name, so the last state of a blob is BLOB.npy.
    """
    owners = {top: layer for layer in net.layers for top in layer.tops}
    blobs = []
    for value, array in values:
        owner = owners[value]
        file = f"{re.sub(r'[^A-Za-z0-9_.@-]', '_', value)}.npy"
        np.save(folder / file, array, allow_pickle=False)
        blob = value.split("@", maxsplit=1)[0]
        blobs.append(DumpedBlob(owner.name, owner.type, blob, value, array.shape, file))
    record = {
        "net": net.name,
        "kind": kind,
        "engine": engine,
        "blobs": [asdict(x) for x in blobs],
    }
    (folder / RECORD).write_text(files.to_json(record), encoding="utf-8")


def read_dump(folder: Path) -> Dump:
    """The dump in `folder`.

    Raises:
        InputError: there is none, or its record is damaged or names files outside it.
    """
    path = folder / RECORD
    if not path.is_file():
        raise InputError(f"{folder} is no dump: it has no {RECORD}; make one with nnie dump")
    record: Any = files.read_json(path, "the record of a dump")
    try:
        blobs = tuple(
            DumpedBlob(
                str(x["layer"]), str(x["type"]), str(x["blob"]), str(x["value"]),
                tuple(int(y) for y in x["shape"]), str(x["file"]),
            )
            for x in record["blobs"]
        )  # fmt: skip
        result = Dump(folder, str(record["kind"]), str(record["engine"]), blobs)
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path} is not the record of a dump: {error}; dump again") from error
    for blob in blobs:
        if Path(blob.file).name != blob.file:
            raise InputError(f"{path} names the file {blob.file} outside its folder")
    return result

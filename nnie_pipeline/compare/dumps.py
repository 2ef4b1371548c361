"""A dump on disk: one `.npy` a value, and `dump.json` in execution order."""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np

from nnie_pipeline import files
from nnie_pipeline.caffe.files import caffe_names
from nnie_pipeline.caffe.net import Array, Net
from nnie_pipeline.errors import InputError

RECORD = "dump.json"
_LARGEST_BLOB = 1 << 31
_LONGEST_NAME = 150


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
        is_array = isinstance(array, np.ndarray)  # not so what is loaded of a zip
        if not is_array or array.dtype.kind != "f" or array.shape != blob.shape:
            raise InputError(f"{path} is not the float blob {list(blob.shape)}; dump again")
        return np.asarray(array, dtype=np.float32)


def write_dump(
    net: Net, values: Iterable[tuple[str, Array]], kind: str, engine: str, folder: Path
) -> None:
    """Write `values` (name and array, in execution order) as a dump into `folder`.

    The file of a value is its name, so the last state of a blob is BLOB.npy; a name that
    cannot be a file's is changed.
    """
    owners = net.producers()
    names = caffe_names(net)
    file_names = _file_names(owners)
    blobs = []
    for value, array in values:
        owner, file = owners[value], f"{file_names[value]}.npy"
        np.save(folder / file, array, allow_pickle=False)
        blobs.append(DumpedBlob(owner.name, owner.type, names[value], value, array.shape, file))
    record = {
        "net": net.name,
        "kind": kind,
        "engine": engine,
        "blobs": [asdict(x) for x in blobs],
    }
    (folder / RECORD).write_text(files.to_json(record), encoding="utf-8")


def _file_names(values: Iterable[str]) -> dict[str, str]:
    """A name for each value's file, also different where upper and lower case are the same."""
    wishes = {
        x: re.sub(r"[^A-Za-z0-9_.@-]", "_", x)[:_LONGEST_NAME].lstrip(".") or "blob" for x in values
    }
    names: dict[str, str] = {}
    used: set[str] = set()
    for value in sorted(wishes, key=lambda x: wishes[x] != x):
        name, number = wishes[value], 1
        while name.lower() in used:
            number += 1
            name = f"{wishes[value]}_{number}"
        used.add(name.lower())
        names[value] = name
    return names


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
        blobs = tuple(_blob(x) for x in record["blobs"])
        kind, engine = _text(record["kind"]), _text(record["engine"])
    except (KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path} is not the record of a dump: {error}; dump again") from error
    for blob in blobs:
        if Path(blob.file).name != blob.file or "\0" in blob.file or blob.file in ("", ".."):
            raise InputError(f"{path} names {blob.file!r}, no file of its folder; dump again")
    return Dump(folder, kind, engine, blobs)


def _blob(entry: Any) -> DumpedBlob:
    layer, kind, blob, value, file = (
        _text(entry[x]) for x in ("layer", "type", "blob", "value", "file")
    )
    shape = entry["shape"]
    if not isinstance(shape, list) or any(type(x) is not int or x < 0 for x in shape):
        raise ValueError(f"{shape} is no shape")
    return DumpedBlob(layer, kind, blob, value, tuple(shape), file)


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value} is no text")
    return value

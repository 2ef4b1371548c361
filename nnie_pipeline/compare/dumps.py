"""A dump: blobs with their values on disk, and this project's own kind of folder.

This project writes one `.npy` a value, and `dump.json` in execution order. The vendor's kinds
have readers of their own; `open_dump` finds the one that fits.
"""

from __future__ import annotations

import functools
import io
import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

import numpy as np

from nnie_pipeline import files
from nnie_pipeline.caffe.files import caffe_names
from nnie_pipeline.caffe.net import Array, Net
from nnie_pipeline.errors import InputError

RECORD = "dump.json"
_LARGEST_BLOB = 1 << 31
_LONGEST_NAME = 150
_FIELDS = ("layer", "type", "blob", "value", "shape", "file")


Role = Literal["output", "input", "weight", "bias"]
"""What a blob is to its layer; only a mapper's dump holds other than outputs."""


@dataclass(frozen=True)
class DumpedBlob:
    """One value: the layer and blob it belongs to, its shape and its file in the folder.

    `number` counts the tops (or bottoms) of a layer. `scaled` is False where the file holds
    codes whose unit it does not name: the values are right up to one factor.
    """

    layer: str
    type: str
    blob: str
    value: str
    shape: tuple[int, ...]
    file: str
    number: int = 0
    role: Role = "output"
    scaled: bool = True


def load_npy(path: Path, blob: DumpedBlob) -> Array:
    """The values of `blob` in a `.npy` file, float32.

    Raises:
        InputError: the file is missing or does not hold this blob.
    """
    try:
        size = path.stat().st_size
        if size > _LARGEST_BLOB:
            raise InputError(f"{path} is larger than {_LARGEST_BLOB} bytes; dump again")
        if (plain := _load_plain(path, size, blob.shape)) is not None:
            return plain
        array = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError) as error:
        raise InputError(f"cannot read blob {path}: {error}; dump again") from error
    is_array = isinstance(array, np.ndarray)  # not so what is loaded of a zip
    if not is_array or array.dtype.kind != "f" or array.shape != blob.shape:
        raise InputError(f"{path} is not the float blob {list(blob.shape)}; dump again")
    return np.asarray(array, dtype=np.float32)


def _load_plain(path: Path, size: int, shape: tuple[int, ...]) -> Array | None:
    """A file exactly as `write_dump` writes it; numpy parses every header as a Python literal."""
    header = _header(shape)
    if size != len(header) + 4 * math.prod(shape):
        return None
    data = path.read_bytes()
    if not data.startswith(header) or len(data) != size:
        return None
    return np.frombuffer(data, np.float32, offset=len(header)).reshape(shape)


@functools.lru_cache(maxsize=1024)
def _header(shape: tuple[int, ...]) -> bytes:
    stream = io.BytesIO()
    np.lib.format.write_array_header_1_0(
        stream, {"descr": "<f4", "fortran_order": False, "shape": shape}
    )
    return stream.getvalue()


@dataclass(frozen=True)
class Dump:
    """A dump folder; `kind` says in words how it was made ("float", "simulated 8 bit").

    `outputs` are the values that the network gives out, where that is known. `named`: layers
    have their names, not just numbers. `ordered`: blobs stand in execution order.
    `states`: what is left of a blob that in-place layers change: every layer's own value, only
    the last one ("last"), or a fused operation's result under any of its layers ("fused").
    """

    folder: Path
    kind: str
    engine: str
    blobs: tuple[DumpedBlob, ...]
    outputs: tuple[str, ...] = ()
    named: bool = True
    ordered: bool = True
    states: Literal["own", "last", "fused"] = "own"
    reader: Callable[[Path, DumpedBlob], Array] = load_npy

    def load(self, blob: DumpedBlob) -> Array:
        """The values of one blob, float32, in `blob.shape`.

        Raises:
            InputError: the file is missing or does not hold this blob.
        """
        return self.reader(self.folder / blob.file, blob)


def write_dump(
    net: Net,
    values: Iterable[tuple[str, Array]],
    kind: str,
    engine: str,
    folder: Path,
    numbers: Mapping[str, Any] | None = None,
) -> None:
    """Write `values` (name and array, in execution order) as a dump into `folder`.

    The file of a value is its name, so the last state of a blob is BLOB.npy; a name that
    cannot be a file's is changed. `numbers` says where a simulation's numbers come from.
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
        "outputs": list(net.outputs),
        **({} if numbers is None else {"numbers": dict(numbers)}),
        "blobs": [{x: getattr(blob, x) for x in _FIELDS} for blob in blobs],
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
        blobs = _numbered([_blob(x) for x in record["blobs"]])
        kind, engine = _text(record["kind"]), _text(record["engine"])
        outputs = tuple(_text(x) for x in record.get("outputs", []))
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise InputError(f"{path} is not the record of a dump: {error}; dump again") from error
    for blob in blobs:
        if Path(blob.file).name != blob.file or "\0" in blob.file or blob.file in ("", ".."):
            raise InputError(f"{path} names {blob.file!r}, no file of its folder; dump again")
    return Dump(folder, kind, engine, blobs, outputs)


def _numbered(blobs: list[DumpedBlob]) -> tuple[DumpedBlob, ...]:
    """Each value's place among the tops of its layer."""
    numbered: list[DumpedBlob] = []
    for blob in blobs:
        follows = bool(numbered) and numbered[-1].layer == blob.layer
        number = numbered[-1].number + 1 if follows else 0
        numbered.append(replace(blob, number=number))
    return tuple(numbered)


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

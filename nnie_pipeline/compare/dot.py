"""Names of a compiled network's layers out of `cnn_net_tree.dot`.

The vendor publishes no description of the file. A public walk-through reads it like this: the
lines with "segment" stand in the order of the layer numbers (from 0), and the text of such a
line's label up to "net" is the layer's name. Labels are read with quotes or without, names up
to a line break, a space or a bar.
"""

from __future__ import annotations

import re
from pathlib import Path

from nnie_pipeline.errors import InputError

_LARGEST = 64 << 20
_LABEL = re.compile(r'label\s*=\s*(?:"((?:[^"\\]|\\.)*)"|([^\s,;\]]+))')
_NAME_END = re.compile(r"\\[nlr]|[\n|{}<>]|\bnet\b|\s")


def read_layer_names(path: Path) -> dict[int, str]:
    """The name of each layer by its number.

    Raises:
        InputError: it cannot be read, or has no such lines.
    """
    try:
        if path.stat().st_size > _LARGEST:
            raise InputError(f"{path} is larger than {_LARGEST} bytes; it is no cnn_net_tree.dot")
        text = path.read_text(encoding="utf-8", errors="replace")
    except OSError as error:
        raise InputError(f"cannot read {path}: {error.strerror}; give cnn_net_tree.dot") from error
    names: dict[int, str] = {}
    for line in text.splitlines():
        if "segment" not in line:
            continue
        label = _LABEL.search(line)
        if label is None:
            continue
        name = _name(label[1] if label[1] is not None else label[2])
        if name:
            names[len(names)] = name
    if not names:
        raise InputError(
            f"{path} has no line with a segment and a label; give the cnn_net_tree.dot that "
            "nnie_mapper wrote beside the .wk"
        )
    return names


def _name(label: str) -> str:
    words = [x for x in _NAME_END.split(label.strip()) if x]
    return words[0] if words else ""

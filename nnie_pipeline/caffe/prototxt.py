"""The text of a prototxt, and its message; what is misspelt is named with its line."""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any

from google.protobuf import text_format
from google.protobuf.message import Message

from nnie_pipeline.caffe.caffe_pb2 import DESCRIPTOR, LayerParameter, NetParameter, V1LayerParameter
from nnie_pipeline.caffe.layer_types import KNOWN, meant
from nnie_pipeline.caffe.reading import read_bytes
from nnie_pipeline.caffe.scan import Field, scan, unknown_fields
from nnie_pipeline.errors import InputError

_LARGEST = 32 << 20
_BOM = b"\xef\xbb\xbf"
_STRING_OR_COMMENT = re.compile(rb'"(?:[^"\\\n]|\\.)*"|\'(?:[^\'\\\n]|\\.)*\'|#[^\n]*')
_NO_ENUM = re.compile(r'Enum type "([\w.]+)" has no value named "?(\w+)"?')
_PLACE = re.compile(r"(\d+):\d+ : (?:'.*': )?")

# Fields of Caffe 1.0 and SSD that say nothing about a deployed network.
_IGNORED = {
    "LayerParameter": {
        "accuracy_param", "annotated_data_param", "contrastive_loss_param",
        "detection_evaluate_param", "embed_param", "hdf5_data_param", "hdf5_output_param",
        "hinge_loss_param", "infogain_loss_param", "multibox_loss_param", "python_param",
        "video_data_param",
    },
    "V1LayerParameter": {
        "accuracy_param", "contrastive_loss_param", "hdf5_data_param", "hdf5_output_param",
        "hinge_loss_param", "infogain_loss_param",
    },
    "DetectionOutputParameter": {
        "save_output_param", "visualize", "visualize_threshold", "save_file",
    },
}  # fmt: skip
_OPEN_MESSAGES = frozenset({"TransformationParameter", "ResizeParameter"})


def prototxt_text(path: Path) -> str:
    """The text of a prototxt; comments in GBK, Latin-1 and the like read as blanks.

    Raises:
        InputError: it cannot be read, is too large, or is no UTF-8 outside of comments.
    """
    data = read_bytes(path, "prototxt", _LARGEST).removeprefix(_BOM)
    try:
        return data.decode("utf-8")
    except UnicodeDecodeError:
        bare = _STRING_OR_COMMENT.sub(_without_comment, data)
    try:
        return bare.decode("utf-8")
    except UnicodeDecodeError as error:
        line = bare.count(b"\n", 0, error.start) + 1
        raise InputError(
            f"{path} is not a prototxt: byte {error.start} (line {line}) is not UTF-8 text, which "
            "only comments may lack; give the network's prototxt here and its weights as the "
            "caffemodel"
        ) from error


def parse_prototxt(path: Path) -> NetParameter:
    """The message of a prototxt, with fields that the schema lacks left out.

    Raises:
        InputError: as `prototxt_text`, or it is no prototxt; names the line.
    """
    text = prototxt_text(path)
    proto = NetParameter()
    try:
        text_format.Parse(text, proto, allow_unknown_field=True)
    except RecursionError as error:
        raise InputError(f"{path} is not a Caffe network: its braces nest too deep") from error
    except (text_format.ParseError, ValueError) as error:
        raise InputError(f"{path} is not a Caffe network: line {_said(error)}") from error
    others = [x for x in scan(text) if x.name not in ("layer", "layers")]
    for item, parent, descriptor in _unknown(others, NetParameter):
        where = parent.name if parent else "a network"
        near = meant(item.name, descriptor.fields_by_name)
        raise InputError(
            f"{path} is not a Caffe network: line {item.line}: no field {item.name[:80]} in "
            f"{where}{near}"
        )
    return proto


def check_fields(path: Path, layers: Sequence[LayerParameter | None], any_type: bool) -> None:
    """Refuse a field or layer type that is misspelt.

    Args:
        path: the prototxt.
        layers: its layers, old forms upgraded, in the file's order; one that is None does not
            count.
        any_type: let unknown types stand, with all their fields.

    Raises:
        InputError: names the line, the layer, and the nearest name that is known.
    """
    fields = scan(prototxt_text(path))
    entries = {x: [y for y in fields if y.name == x] for x in ("layer", "layers")}
    written = entries["layers"] or entries["layer"]
    message = V1LayerParameter if entries["layers"] else LayerParameter
    for entry, layer in zip(written, layers, strict=False):
        if layer is None:
            continue
        if layer.type not in KNOWN:
            if any_type:
                continue
            raise InputError(
                f"{path}: layer {layer.name} ({layer.type}): unknown layer type, line "
                f"{entry.line}{meant(layer.type, KNOWN) or '; replace it by layers that Caffe has'}"
            )
        for item, parent, descriptor in _unknown(entry.fields, message):
            where = parent.name if parent else "a layer"
            near = meant(item.name, descriptor.fields_by_name)
            raise InputError(
                f"{path} is not a Caffe network: line {item.line}: layer {layer.name}: no field "
                f"{item.name[:80]} in {where}{near}"
            )


def _unknown(
    fields: list[Field], message: type[Message]
) -> Iterator[tuple[Field, Field | None, Any]]:
    for item, parent, descriptor in unknown_fields(fields, message):
        ignored = item.name in _IGNORED.get(descriptor.name, ())
        if not ignored and descriptor.name not in _OPEN_MESSAGES:
            yield item, parent, descriptor


def _said(error: Exception) -> str:
    """The line and what is wrong there, without the line's text and the schema's own names."""
    text = " ".join(str(error).split())
    place = _PLACE.match(text)
    if place is not None:
        text = f"{place[1]}: {text[place.end() :]}"
    enum = _NO_ENUM.search(text)
    if enum is None:
        return text[:300]
    values: Iterable[str] = ()
    with contextlib.suppress(KeyError):
        values = DESCRIPTOR.pool.FindEnumTypeByName(enum[1]).values_by_name
    said = f"{enum[1].rsplit('.', 1)[-1]} has no value {enum[2][:80]}{meant(enum[2], values)}"
    return text[: enum.start()][:300] + said


def _without_comment(match: re.Match[bytes]) -> bytes:
    return b"#" if match[0].startswith(b"#") else match[0]

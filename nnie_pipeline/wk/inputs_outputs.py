"""Inputs and outputs of a compiled network beside those of a Caffe network."""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence

from nnie_pipeline.caffe.net import REPORT_MARKER, Net, Shape
from nnie_pipeline.caffe.shapes import infer
from nnie_pipeline.wk.header import WkBlob, WkHeader

_NAME = 31
"""Characters that the mapper keeps of a name."""


def blob_reasons(header: WkHeader, net: Net) -> list[str]:
    """Inputs and outputs of the header that are not those of the network.

    Vectors stand there with their length as the width (SVP_BLOB_TYPE_VEC_S32, HiSVP API
    reference). What YUV pictures have as channels, and whether a name keeps the marker of a
    reported output, is documented nowhere: either way fits.
    """
    shapes = infer(net)
    inputs = [y for x in header.segments for y in x.inputs]
    outputs = [y for x in header.segments for y in x.outputs]
    found = []
    for what, blobs, names in (
        ("input", inputs, list(net.inputs)),
        ("output", outputs, net.outputs),
    ):
        ours = {_cut(x): shapes[x] for x in names}
        for blob in blobs:
            shape = ours.pop(_own_name(blob, ours), None)
            if shape is None:
                if all(_cut(x.name) != _cut(blob.name) for x in blobs if x is not blob):
                    found.append(f"{what} {blob.name} of the file is none of the network's")
            elif not _same_shape(blob, shape) and not _shared_name(blob, blobs):
                text = "x".join(map(str, shape[1:]))
                found.append(
                    f"another size: {what} {blob.name} is {blob.channels}x{blob.height}x"
                    f"{blob.width} in the file, {text} in the network"
                )
        found += [f"{what} {x} of the network is none of the file's" for x in ours]
    return found


def order_reason(header: WkHeader, net: Net) -> str | None:
    """The first output that stands at another place than in the network; None: the same order.

    The mapper gives outputs in the order in which the layers make them.
    """
    blobs = [y.name for x in header.segments for y in x.outputs]
    for number, (found, name) in enumerate(zip(blobs, net.outputs, strict=False), 1):
        if _cut(found) != _cut(name):
            return (
                f"outputs in another order: output {number} is {found} in the file, {name} in "
                "the network"
            )
    return None


def _shared_name(blob: WkBlob, blobs: Sequence[WkBlob]) -> bool:
    return sum(x.name == blob.name for x in blobs) > 1


def _own_name(blob: WkBlob, names: Collection[str]) -> str:
    name, marked = _cut(blob.name), _cut(blob.name + REPORT_MARKER)
    return marked if name not in names and marked in names else name


def _same_shape(blob: WkBlob, shape: Shape) -> bool:
    size = (blob.channels, blob.height, blob.width)
    if len(shape) < 4:
        return math.prod(size) == math.prod(shape[1:])
    if blob.type.startswith("YVU"):
        return size[1:] == shape[2:]
    return size == shape[1:]


def _cut(name: str) -> str:
    return name.replace("/", "_")[:_NAME]

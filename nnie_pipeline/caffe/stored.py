"""The weights of a `.caffemodel`, in Caffe's present shapes.

Until 2014 Caffe kept every blob with four dims: a bias as 1 x 1 x 1 x C, the matrix of an
InnerProduct as 1 x 1 x N x M (Caffe 1.0, blob.cpp, Blob::ShapeEquals, still reads them).
"""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
from google.protobuf.message import DecodeError

from nnie_pipeline.caffe.caffe_pb2 import BlobProto, StoredLayer, StoredNet, StoredV1Layer
from nnie_pipeline.caffe.net import DEPTHWISE, Array, Layer
from nnie_pipeline.caffe.reading import read_bytes
from nnie_pipeline.errors import InputError

_LARGEST = (2 << 30) - 1
_HDF5 = b"\x89HDF\r\n\x1a\n"
_OWN_AXES = {
    "Convolution": (4, 1),
    "Deconvolution": (4, 1),
    **dict.fromkeys(DEPTHWISE, (4, 1)),
    "InnerProduct": (2, 1),
    "BatchNorm": (1, 1, 1),
    "Embed": (2, 1),
    "LSTM": (2, 1, 2, 2),
    "RNN": (2, 1, 2, 2, 1),
}


def read_weights(path: Path) -> dict[str, list[Array]]:
    """The float32 blobs of every layer that has some, by the layer's name.

    Raises:
        InputError: it cannot be read, is no caffemodel, or a blob's values do not fill its shape.
    """
    data = read_bytes(path, "caffemodel", _LARGEST)
    if data.startswith(_HDF5):
        raise InputError(
            f"{path} is not a caffemodel but an HDF5 snapshot; save it with Caffe's "
            "snapshot_format: BINARYPROTO"
        )
    proto = StoredNet()
    try:
        proto.ParseFromString(data)
    except DecodeError as error:
        raise InputError(f"{path} is not a caffemodel or is truncated: {error}") from error
    if not proto.layer and not proto.layers:
        raise InputError(f"{path} holds no layer entries; give a caffemodel with weights")
    if any(x.HasField("layer") for x in proto.layers):
        raise InputError(
            f"{path} has the form of Caffe before 2014 (layers within layers); upgrade it with "
            "Caffe's upgrade_net_proto_binary"
        )
    blobs: dict[str, list[Array]] = {}
    entries: list[StoredLayer | StoredV1Layer] = [*proto.layers, *proto.layer]
    for entry in entries:
        if entry.blobs:
            name = entry.name.decode("utf-8", "replace")
            blobs[name] = [_load(x, name, path) for x in entry.blobs]
    return blobs


def without_old_axes(layer: Layer, blobs: list[Array]) -> list[Array]:
    """The blobs of `layer` without the axes of 1 in front that old files have."""
    axes: tuple[int, ...] = _OWN_AXES.get(layer.type, ())
    if layer.type == "PReLU":
        axes = (0 if layer.params.prelu_param.channel_shared else 1,)
    elif layer.type in ("Scale", "Bias") and len(layer.bottoms) == 1:
        param = layer.params.scale_param if layer.type == "Scale" else layer.params.bias_param
        axes = (param.num_axes,) * 2 if param.num_axes >= 0 else ()
    known = [*axes, *(x.ndim for x in blobs[len(axes) :])]
    return [_cut(blob, own) for blob, own in zip(blobs, known, strict=False)]


def _cut(blob: Array, axes: int) -> Array:
    extra = blob.ndim - axes
    old = extra > 0 and set(blob.shape[:extra]) == {1}
    return blob.reshape(blob.shape[extra:]) if old else blob


def _load(blob: BlobProto, layer: str, path: Path) -> Array:
    # Caffe writes a scalar without any shape.
    older = any(blob.HasField(x) for x in ("num", "channels", "height", "width"))
    shape = tuple(blob.shape.dim)
    if older and not blob.HasField("shape"):
        shape = (blob.num, blob.channels, blob.height, blob.width)
    values = np.array(blob.data if blob.data else blob.double_data, dtype=np.float32)
    if math.prod(shape) != values.size or any(x < 0 for x in shape):
        raise InputError(
            f"{path}: layer {printable(layer)} has {values.size} weights for the shape "
            f"{list(shape[:8])}"
        )
    return values.reshape(shape)


def printable(name: str) -> str:
    """`name` as a message can show it on one line."""
    return name if name.isprintable() else ascii(name)[:80]

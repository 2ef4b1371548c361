"""Writing a `Net` as `.prototxt` and `.caffemodel`."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from google.protobuf import text_format

from nnie_pipeline.caffe.caffe_pb2 import BlobProto, NetParameter
from nnie_pipeline.caffe.net import Array, Net


def write_net(net: Net, prototxt: Path, caffemodel: Path) -> None:
    """Write `net` as a prototxt and a caffemodel; the names in place are restored.

    The caffemodel holds no layer parameters: Caffe takes them from the prototxt alone.
    """
    names = caffe_names(net)
    proto = NetParameter(name=net.name)
    for blob, shape in net.inputs.items():
        proto.input.append(names[blob])
        proto.input_shape.add().dim.extend(shape)
    weights = NetParameter(name=net.name)
    for layer in net.layers:
        entry = proto.layer.add()
        entry.CopyFrom(layer.params)
        entry.name = layer.name
        entry.type = layer.type
        entry.bottom.extend(names[x] for x in layer.bottoms)
        entry.top.extend(names[x] for x in layer.tops)
        stored = weights.layer.add(
            name=entry.name, type=entry.type, bottom=entry.bottom, top=entry.top
        )
        for array in layer.weights:
            _store(array, stored.blobs.add())
    prototxt.write_text(text_format.MessageToString(proto), encoding="utf-8")
    caffemodel.write_bytes(weights.SerializeToString())


def caffe_names(net: Net) -> dict[str, str]:
    """The blob name of every value in the written prototxt.

    The values of a chain of in-place layers share the name of the last of them: what Caffe
    leaves in the blob.
    """
    chains: dict[str, list[str]] = {x: [x] for x in net.values()}
    for layer in net.layers:
        if layer.in_place:
            chain = chains[layer.bottoms[0]]
            chain.append(layer.tops[0])
            chains[layer.tops[0]] = chain
    return {value: chain[-1] for value, chain in chains.items()}


def _store(array: Array, blob: BlobProto) -> None:
    blob.shape.dim.extend(array.shape)
    blob.data.extend(np.ascontiguousarray(array, dtype=np.float32).ravel().tolist())

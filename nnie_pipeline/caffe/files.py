"""Reading and writing `.prototxt` and `.caffemodel` files."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from nnie_pipeline.caffe.caffe_pb2 import LayerParameter
from nnie_pipeline.caffe.graph import header_inputs, to_net
from nnie_pipeline.caffe.layer_types import feeds, trains
from nnie_pipeline.caffe.net import Array, Net
from nnie_pipeline.caffe.prototxt import check_fields, parse_prototxt
from nnie_pipeline.caffe.stored import read_weights, without_old_axes
from nnie_pipeline.caffe.training import deployed, in_test_phase
from nnie_pipeline.caffe.upgrade import upgraded_layers
from nnie_pipeline.caffe.writing import caffe_names, write_net
from nnie_pipeline.errors import InputError

__all__ = ["caffe_names", "read_net", "write_net"]


def read_net(
    prototxt: Path,
    caffemodel: Path | None = None,
    size: tuple[int, int] | None = None,
    any_type: bool = False,
) -> Net:
    """The deployed network of a prototxt, with weights when `caffemodel` is given.

    Old forms are upgraded as Caffe does, layers of training are left out; the network's `notes`
    say what. Its outputs are the values that no layer reads, and those marked with
    `REPORT_MARKER`.

    Args:
        prototxt: the network.
        caffemodel: its weights.
        size: (height, width) of a picture that a data layer feeds, where the file does not say.
        any_type: let layers of unknown types stand, for a check that reports them.

    Raises:
        InputError: a file that cannot be read or is no prototxt or caffemodel, an unknown
            field or layer type, or two layers of one name when weights are read.
    """
    proto = parse_prototxt(prototxt)
    layers = upgraded_layers(proto, prototxt)
    stays = [in_test_phase(x) and not feeds(x.type, len(x.bottom)) for x in layers]
    check_fields(
        prototxt,
        [x if y and not trains(x.type) else None for x, y in zip(layers, stays, strict=True)],
        any_type,
    )
    blobs = {} if caffemodel is None else read_weights(caffemodel)
    parts = deployed(layers, header_inputs(proto, prototxt), blobs, size, prototxt)
    net = to_net(proto, parts.layers, parts.inputs, prototxt)
    if proto.layers:
        net.notes.append('layers { type: ENUM } are now layer { type: "Name" }')
    net.notes += parts.notes
    if caffemodel is not None:
        _give_weights(net, blobs, parts.layers, prototxt)
    return net


def _give_weights(
    net: Net,
    blobs: Mapping[str, Sequence[Array]],
    entries: Sequence[LayerParameter],
    prototxt: Path,
) -> None:
    """Every layer's blobs by its name; a blob that `param { name }` shares is its first owner's."""
    owners: dict[str, Array] = {}
    shared = {x.name: [y.name for y in x.param] for x in entries}
    names: set[str] = set()
    for layer in net.layers:
        if layer.name in names:
            raise InputError(
                f"{prototxt}: two layers are called {layer.name}; rename one there and in the "
                "caffemodel, which knows layers by their names only"
            )
        names.add(layer.name)
        layer.weights = without_old_axes(layer, list(blobs.get(layer.name, ())))
        params = shared.get(layer.name, [])
        if not layer.weights and params and all(x in owners for x in params):
            layer.weights = [owners[x] for x in params]
        for name, array in zip(params, layer.weights, strict=False):
            if name:
                owners.setdefault(name, array)

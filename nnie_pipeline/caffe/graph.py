"""The layers of a prototxt as a `Net`, in which every value has a name of its own."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path

from google.protobuf.message import Message

from nnie_pipeline.caffe.caffe_pb2 import FillerParameter, LayerParameter, NetParameter
from nnie_pipeline.caffe.memory import overwritten
from nnie_pipeline.caffe.net import IN_PLACE_TYPES, REPORT_MARKER, Layer, Net, Shape
from nnie_pipeline.errors import InputError

_NOT_PARAMS = frozenset(
    {"name", "type", "bottom", "top", "phase", "loss_weight", "param", "blobs",
     "propagate_down", "include", "exclude", "loss_param", "transform_param", "data_param",
     "image_data_param", "memory_data_param", "dummy_data_param", "window_data_param",
     "dropout_param"}
)  # fmt: skip


def to_net(
    proto: NetParameter, layers: Sequence[LayerParameter], fed: Mapping[str, Shape], path: Path
) -> Net:
    """The network of `layers`.

    Its outputs are the values that no layer reads, and those marked with `REPORT_MARKER`.

    Args:
        proto: the file's header: name and inputs.
        layers: the layers of the deployed network, Input layers too.
        fed: inputs that stand for data layers.
        path: the file, for messages.

    Raises:
        InputError: names what does not fit together.
    """
    net = Net(proto.name or path.stem, {**header_inputs(proto, path), **fed}, [], [])
    current = {x: x for x in net.inputs}
    _check_names("network", [proto.name, *net.inputs], path)
    for entry in layers:
        _check_names("layer", [entry.name, entry.type, *entry.bottom, *entry.top], path)
        if entry.type == "Input":
            for top, shape in zip(entry.top, _input_shapes(entry, path), strict=True):
                if top in current:
                    raise InputError(f"{path}: the input {top} stands there twice; remove one")
                net.inputs[top] = shape
                current[top] = top
            continue
        missing = [x for x in entry.bottom if x not in current]
        if missing:
            raise InputError(
                f"{path}: layer {entry.name} reads blob {missing[0]}, which no layer before it "
                "makes; check the bottom's name and the order of the layers"
            )
        bottoms = [current[x] for x in entry.bottom]
        layer = Layer(entry.name, entry.type, bottoms, [], _params_of(entry), origin=(entry.name,))
        net.layers.append(layer)
        for top in entry.top:
            if top in current:
                _overwrite(net, layer, top, current[top], path)
            layer.tops.append(top)
            current[top] = top
    if not net.inputs:
        raise InputError(f"{path}: the network has no input; add input and input_shape")
    read = {x for layer in net.layers for x in layer.bottoms}
    made = [x for layer in net.layers for x in layer.tops]
    net.outputs = [x for x in made if x not in read or x.endswith(REPORT_MARKER)]
    _check_memory(net, path)
    return net


def _check_memory(net: Net, path: Path) -> None:
    """Refuse what Caffe computes with memory that a layer in between overwrote."""
    for layer, value, reader in overwritten(net):
        blob, own = layer.tops[0], value.partition("@")[0]
        victim = f"layer {reader} reads {own} after it" if reader else f"{own} is an output"
        raise InputError(
            f"{path}: layer {layer.name} ({layer.type}) overwrites the blob {blob}, which has the "
            f"memory of {own} in Caffe, and {victim}; if {own} is meant as it was before, give "
            f"{layer.name} a top of its own, else let {reader or 'the output'} read {blob}"
        )


def _overwrite(net: Net, layer: Layer, blob: str, old: str, path: Path) -> None:
    """Let `layer`, the last of `net`, overwrite `blob`: its value `old` becomes BLOB@PRODUCER."""
    if layer.tops or layer.bottoms[:1] != [old]:
        raise InputError(
            f"{path}: layers make the blob {blob} twice (again in {layer.name}); only a "
            "layer that reads a blob first may overwrite it: rename one of the tops"
        )
    if layer.type not in IN_PLACE_TYPES:
        raise InputError(
            f"{path}: layer {layer.name} ({layer.type}) overwrites its bottom {blob}, which only "
            "activations and the like can; give its top another name"
        )
    maker = "input" if old in net.inputs else net.producers()[old].name
    renamed = f"{blob}@{maker}"
    while renamed in net.values():
        renamed += "_"
    net.rename(old, renamed)
    layer.in_place = True


def header_inputs(proto: NetParameter, path: Path) -> dict[str, Shape]:
    """The inputs that the header declares, `input` with `input_shape` or four `input_dim`.

    Raises:
        InputError: inputs and shapes do not match.
    """
    shapes = [tuple(x.dim) for x in proto.input_shape]
    if not shapes and proto.input_dim:
        dims = list(proto.input_dim)
        if len(dims) != 4 * len(proto.input):
            raise InputError(
                f"{path}: {len(proto.input)} inputs but {len(dims)} times input_dim; give every "
                "input four"
            )
        shapes = [tuple(dims[i : i + 4]) for i in range(0, len(dims), 4)]
    if len(shapes) != len(proto.input):
        raise InputError(
            f"{path}: {len(proto.input)} inputs but {len(shapes)} input shapes; give every input "
            "one input_shape"
        )
    for name, shape in zip(proto.input, shapes, strict=True):
        _check_input(name, shape, path)
    inputs = dict(zip(proto.input, shapes, strict=True))
    if len(inputs) < len(shapes):
        twice = next(x for i, x in enumerate(proto.input) if x in proto.input[:i])
        raise InputError(f"{path}: the input {twice} stands there twice; remove one")
    return inputs


def _input_shapes(entry: LayerParameter, path: Path) -> list[Shape]:
    shapes = [tuple(x.dim) for x in entry.input_param.shape]
    if len(shapes) == 1:
        shapes *= len(entry.top)
    if len(shapes) != len(entry.top):
        raise InputError(
            f"{path}: Input layer {entry.name} has {len(entry.top)} tops but {len(shapes)} shapes"
        )
    for top, shape in zip(entry.top, shapes, strict=True):
        _check_input(top, shape, path)
    return shapes


def _check_input(name: str, shape: Shape, path: Path) -> None:
    if not shape or min(shape) < 1 or math.prod(shape) > 1 << 28:
        raise InputError(
            f"{path}: input {name} has the shape {list(shape)}; write dims of 1 and up"
        )


def _check_names(what: str, names: Sequence[str], path: Path) -> None:
    for name in names:
        if not name.isprintable():
            raise InputError(
                f"{path}: a {what} has the name {ascii(name)[:80]}; write it without line breaks "
                "and other control characters"
            )


def _params_of(entry: LayerParameter) -> LayerParameter:
    """The parameters that a deployed network needs: nothing about training."""
    params = LayerParameter()
    params.CopyFrom(entry)
    for name in _NOT_PARAMS:
        params.ClearField(name)
    for _, value in params.ListFields():
        if isinstance(value, Message):
            for inner, _ in value.ListFields():
                if inner.message_type is FillerParameter.DESCRIPTOR:
                    value.ClearField(inner.name)
    return params

"""Reading and writing `.prototxt` and `.caffemodel` files."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
from google.protobuf import text_format
from google.protobuf.message import DecodeError

from nnie_pipeline.caffe.caffe_pb2 import (
    TEST,
    BlobProto,
    LayerParameter,
    NetParameter,
    NetState,
    NetStateRule,
)
from nnie_pipeline.caffe.net import IN_PLACE_TYPES, REPORT_MARKER, Array, Layer, Net, Shape
from nnie_pipeline.errors import InputError

_LARGEST_PROTOTXT = 32 << 20
_LARGEST_CAFFEMODEL = (2 << 30) - 1
_NOT_PARAMS = frozenset(
    {"name", "type", "bottom", "top", "phase", "loss_weight", "param", "blobs",
     "propagate_down", "include", "exclude", "loss_param"}
)  # fmt: skip


def read_net(prototxt: Path, caffemodel: Path | None = None) -> Net:
    """The network of a prototxt, with weights when `caffemodel` is given.

    Its outputs are the values that no layer reads, and those marked with `REPORT_MARKER`.

    Raises:
        InputError: a file that cannot be read or is no prototxt or caffemodel, or two
            layers of one name when weights are read.
    """
    proto = _read_prototxt(prototxt)
    net = _to_net(proto, prototxt)
    if caffemodel is not None:
        blobs = _read_weights(caffemodel)
        names: set[str] = set()
        for layer in net.layers:
            if layer.name in names:
                raise InputError(
                    f"{prototxt}: two layers are called {layer.name}; rename one there and in the "
                    "caffemodel, which knows layers by their names only"
                )
            names.add(layer.name)
            layer.weights = blobs.get(layer.name, [])
    return net


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


def _read_prototxt(path: Path) -> NetParameter:
    data = _read_bytes(path, "prototxt", _LARGEST_PROTOTXT)
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InputError(
            f"{path} is not a prototxt: byte {error.start} is not text; give the network's "
            "prototxt here and its weights as the caffemodel"
        ) from error
    proto = NetParameter()
    try:
        text_format.Parse(text, proto)
    except (text_format.ParseError, RecursionError) as error:
        raise InputError(f"{path} is not a Caffe network: line {error}") from error
    if not proto.layer:
        raise InputError(
            f"{path} holds no layer {{ ... }}; if it has old-style layers {{ type: ENUM }}, "
            "upgrade it with Caffe's upgrade_net_proto_text"
        )
    return proto


def _to_net(proto: NetParameter, path: Path) -> Net:
    net = Net(proto.name or path.stem, _header_inputs(proto, path), [], [])
    current = {x: x for x in net.inputs}
    for entry in proto.layer:
        if not _in_test_phase(entry):
            continue
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
    return net


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


def _header_inputs(proto: NetParameter, path: Path) -> dict[str, Shape]:
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


def _in_test_phase(entry: LayerParameter) -> bool:
    """Whether the layer belongs to the deployed network (Caffe's include/exclude rules)."""
    state = NetState(phase=TEST)
    if entry.include:
        return any(_meets(state, x) for x in entry.include)
    return not any(_meets(state, x) for x in entry.exclude)


def _meets(state: NetState, rule: NetStateRule) -> bool:
    if rule.HasField("phase") and rule.phase != state.phase:
        return False
    if rule.HasField("min_level") and state.level < rule.min_level:
        return False
    if rule.HasField("max_level") and state.level > rule.max_level:
        return False
    return not rule.stage


def _params_of(entry: LayerParameter) -> LayerParameter:
    params = LayerParameter()
    params.CopyFrom(entry)
    for name in _NOT_PARAMS:
        params.ClearField(name)
    return params


def _read_weights(path: Path) -> dict[str, list[Array]]:
    data = _read_bytes(path, "caffemodel", _LARGEST_CAFFEMODEL)
    proto = NetParameter()
    try:
        proto.ParseFromString(data)
    except DecodeError as error:
        raise InputError(f"{path} is not a caffemodel or is truncated: {error}") from error
    if not proto.layer:
        raise InputError(
            f"{path} holds no layer {{ ... }} entries; if it is of an old Caffe, upgrade it with "
            "upgrade_net_proto_binary"
        )
    return {x.name: [_load(b, x.name, path) for b in x.blobs] for x in proto.layer if x.blobs}


def _load(blob: BlobProto, layer: str, path: Path) -> Array:
    # Caffe writes a scalar without any shape.
    older = any(blob.HasField(x) for x in ("num", "channels", "height", "width"))
    shape = tuple(blob.shape.dim)
    if older and not blob.HasField("shape"):
        shape = (blob.num, blob.channels, blob.height, blob.width)
    values = np.array(blob.data if blob.data else blob.double_data, dtype=np.float32)
    if math.prod(shape) != values.size or any(x < 0 for x in shape):
        raise InputError(
            f"{path}: layer {layer} has {values.size} weights for the shape {list(shape)}"
        )
    return values.reshape(shape)


def _store(array: Array, blob: BlobProto) -> None:
    blob.shape.dim.extend(array.shape)
    blob.data.extend(np.ascontiguousarray(array, dtype=np.float32).ravel().tolist())


def _read_bytes(path: Path, what: str, largest: int) -> bytes:
    try:
        if path.stat().st_size > largest:
            raise InputError(f"{what} {path} is larger than {largest} bytes")
        return path.read_bytes()
    except OSError as error:
        raise InputError(f"cannot read {what} {path}: {error.strerror}") from error

"""Real Caffe as an engine: a `Net` run by pycaffe, any value obtainable.

Optional: `make pycaffe` builds it, conda-forge has it as `caffe`. Its BVLC layers are the
reference for what a Caffe network computes.
"""

from __future__ import annotations

import importlib
import importlib.util
import os
import re
import sys
import sysconfig
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from google.protobuf import text_format

from nnie_pipeline.caffe.caffe_pb2 import PoolingParameter, SPPParameter
from nnie_pipeline.caffe.files import caffe_names, write_net
from nnie_pipeline.caffe.net import Array, Layer, Net, Shape
from nnie_pipeline.caffe.shapes import infer
from nnie_pipeline.caffe.windows import rounds_up
from nnie_pipeline.errors import InputError

_NOT_ON_CPU = frozenset({"PSROIPooling"})
"""Types that R-FCN's Caffe registers but computes on a GPU only: on a CPU it ends the process."""


class Session:
    """As `onnxruntime_engine.Session`: `values` names what a run gives back.

    With `as_written` the network runs as its files have it: layers work in place, and a value is
    what Caffe leaves in its blob. Otherwise every value has memory of its own.

    Caffe ends the whole process where something does not fit, so shapes, weights and fields
    are checked before it sees the network.

    Raises:
        InputError: pycaffe cannot be imported, has not all layer types or fields of the
            network, or shapes and weights do not fit.
    """

    def __init__(
        self, net: Net, values: Sequence[str] | None = None, as_written: bool = False
    ) -> None:
        self._caffe = _caffe()
        _check_types(net, set(self._caffe.layer_type_list()))
        shapes = infer(net)
        self._values = list(net.outputs if values is None else values)
        for value in self._values:
            if value not in shapes:
                raise InputError(
                    f"the network makes no value {value}; its outputs are {', '.join(net.outputs)}"
                )
        self._inputs = dict(net.inputs)
        # In place, a blob keeps its last state only: give every value a blob of its own.
        self._loaded = net.copy()
        readers = net.consumers()
        for layer in self._loaded.layers:
            # Caffe takes no file in which what a layer overwrites has another reader.
            only = layer.in_place and len(readers[layer.bottoms[0]]) == 1
            layer.in_place = as_written and only
            _spell(layer, shapes)
        self._blobs = caffe_names(self._loaded)
        # An LSTM or RNN of Caffe goes on from the state that the run before left.
        self._remembers = any(x.type in ("LSTM", "RNN") for x in net.layers)
        self._net = self._load()

    def _load(self) -> Any:
        with tempfile.TemporaryDirectory(prefix="nnie-pycaffe-") as folder:
            prototxt, caffemodel = Path(folder) / "net.prototxt", Path(folder) / "net.caffemodel"
            write_net(self._loaded, prototxt, caffemodel)
            _check_fields(prototxt.read_text(encoding="utf-8"))
            loaded = self._caffe.Net(str(prototxt), self._caffe.TEST)
            for layer in self._loaded.layers:
                _check_blobs(layer, [x.count for x in loaded.params.get(layer.name, ())])
            loaded.copy_from(str(caffemodel))
        return loaded

    def run(self, inputs: Mapping[str, Array]) -> dict[str, Array]:
        """The wanted values for `inputs`, each a fresh array.

        Raises:
            InputError: an input is missing or has another shape.
        """
        for name, shape in self._inputs.items():
            given = inputs.get(name)
            if given is None or given.shape != shape:
                found = "missing" if given is None else f"of shape {list(given.shape)}"
                raise InputError(f"the network's input {name} is {list(shape)}; it is {found}")
        if self._remembers:
            self._net = self._load()
        for name in self._inputs:
            self._net.blobs[self._blobs[name]].data[...] = inputs[name]
        self._net.forward()
        blobs = self._net.blobs
        return {x: np.array(blobs[self._blobs[x]].data, dtype=np.float32) for x in self._values}


def _check_types(net: Net, known: set[str]) -> None:
    for layer in net.layers:
        reason = ""
        if layer.type not in known:
            reason = f"this pycaffe has no layer type {layer.type}"
        elif layer.type in _NOT_ON_CPU:
            reason = f"pycaffe computes {layer.type} on a GPU only"
        elif layer.type == "Upsample" and len(layer.bottoms) > 1:
            reason = "this pycaffe's Upsample cannot un-pool"
        if reason:
            raise InputError(f"layer {layer.name}: {reason}; use --engine onnxruntime")
        stochastic = (
            layer.params.pooling_param.pool == PoolingParameter.STOCHASTIC
            or layer.params.spp_param.pool == SPPParameter.STOCHASTIC
        )
        if stochastic:
            raise InputError(
                f"layer {layer.name}: STOCHASTIC pooling is for training, no engine can run it; "
                "NNIE knows MAX and AVE"
            )


def _check_blobs(layer: Layer, counts: list[int]) -> None:
    """Compare the layer's weights with those that Caffe made room for."""
    if counts and not layer.weights:
        raise InputError(
            f"layer {layer.name} ({layer.type}) has no weights in the caffemodel; give the one "
            "that belongs to the prototxt"
        )
    found = [x.size for x in layer.weights]
    if found != counts:
        raise InputError(
            f"layer {layer.name} ({layer.type}): its blobs hold {found} numbers in the caffemodel "
            f"and {counts} in Caffe; give the one that belongs to the prototxt"
        )


def _spell(layer: Layer, shapes: Mapping[str, Shape]) -> None:
    """Write the layer as this pycaffe reads it, where forks differ in fields or defaults."""
    if layer.type == "Upsample":
        bottom, top = shapes[layer.bottoms[0]], shapes[layer.tops[0]]
        factor = top[2] // bottom[2]
        if (bottom[2] * factor, bottom[3] * factor) != top[2:]:
            raise InputError(
                f"layer {layer.name}: pycaffe's Upsample has one whole factor for both sides; use "
                "--engine onnxruntime"
            )
        layer.params.upsample_param.Clear()
        layer.params.upsample_param.scale = factor
    if layer.type == "Pooling":
        up = rounds_up(layer.params.pooling_param)
        layer.params.pooling_param.ClearField("round_mode")
        layer.params.pooling_param.ClearField("ceil_mode")
        if not up and "ceil_mode" in _fields("PoolingParameter"):
            layer.params.pooling_param.ceil_mode = False
        elif not up:
            layer.params.pooling_param.round_mode = PoolingParameter.FLOOR
    if layer.type == "Normalize":
        layer.params.norm_param.ClearField("sqrt_a")  # it cancels out


def _fields(message: str) -> set[str]:
    schema = importlib.import_module("caffe.proto.caffe_pb2")
    return set(getattr(schema, message).DESCRIPTOR.fields_by_name)


def _check_fields(prototxt: str) -> None:
    schema = importlib.import_module("caffe.proto.caffe_pb2")
    try:
        text_format.Parse(prototxt, schema.NetParameter())
    except text_format.ParseError as error:
        raise InputError(
            f"this pycaffe does not read the network ({error}); use --engine onnxruntime"
        ) from error


def require() -> None:
    """Raises InputError where pycaffe cannot be imported; the message says how to get it."""
    _caffe()


def is_available() -> bool:
    """Whether pycaffe can be imported."""
    try:
        _caffe()
    except InputError:
        return False
    return True


def _caffe() -> Any:
    os.environ.setdefault("GLOG_minloglevel", "2")
    try:
        found = importlib.util.find_spec("caffe")
        _check_python(found.origin if found else None)
        caffe = importlib.import_module("caffe")
        caffe.set_mode_cpu()
    except (ImportError, AttributeError, ValueError) as error:
        reason = " ".join(str(error).split())[:300]
        raise InputError(
            f"pycaffe cannot be imported ({reason}); build it with make pycaffe, or use "
            "--engine onnxruntime"
        ) from error
    return caffe


def _check_python(origin: str | None) -> None:
    """Refuse a build for another Python, whose folder names its ABI (see build_pycaffe)."""
    built = re.search(r"-(cpython-[0-9]+)", str(origin))
    own = sysconfig.get_config_var("SOABI") or ""
    if built and not own.startswith(f"{built[1]}-"):
        version = f"{sys.version_info.major}.{sys.version_info.minor}"
        raise InputError(
            f"pycaffe was built for {built[1]}, but this is Python {version}; run make pycaffe "
            "with this Python, or use --engine onnxruntime"
        )

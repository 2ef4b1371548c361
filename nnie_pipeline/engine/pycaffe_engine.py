"""Real Caffe as an engine: a `Net` run by pycaffe, any value obtainable.

Optional: `make pycaffe` builds it, conda-forge has it as `caffe`. Its BVLC layers are the
reference for what a Caffe network computes.
"""

from __future__ import annotations

import importlib
import os
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from nnie_pipeline.caffe.files import write_net
from nnie_pipeline.caffe.net import Array, Net
from nnie_pipeline.errors import InputError


class Session:
    """As `onnxruntime_engine.Session`: `values` names what a run gives back."""

    def __init__(self, net: Net, values: Sequence[str] | None = None) -> None:
        caffe = _caffe()
        known = set(caffe.layer_type_list())
        for layer in net.layers:
            if layer.type not in known:
                raise InputError(
                    f"layer {layer.name}: this pycaffe has no layer type {layer.type}; use "
                    "--engine onnxruntime"
                )
        self._values = list(net.outputs if values is None else values)
        self._inputs = dict(net.inputs)
        # In place, a blob keeps its last state only: give every value a blob of its own.
        apart = net.copy()
        for layer in apart.layers:
            layer.in_place = False
        with tempfile.TemporaryDirectory(prefix="nnie-pycaffe-") as folder:
            prototxt, caffemodel = Path(folder) / "net.prototxt", Path(folder) / "net.caffemodel"
            write_net(apart, prototxt, caffemodel)
            self._net = caffe.Net(str(prototxt), caffe.TEST, weights=str(caffemodel))

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
            self._net.blobs[name].data[...] = given
        self._net.forward()
        return {x: np.array(self._net.blobs[x].data, dtype=np.float32) for x in self._values}


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
        caffe = importlib.import_module("caffe")
        caffe.set_mode_cpu()
    except (ImportError, AttributeError) as error:
        raise InputError(
            f"pycaffe cannot be imported ({error}); build it with make pycaffe, or use "
            "--engine onnxruntime"
        ) from error
    return caffe

"""How fast a compiled network is decoded, and held against the right network and wrong ones."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

import numpy as np

from nnie_pipeline.caffe.files import read_net
from nnie_pipeline.caffe.net import Net
from nnie_pipeline.wk.decode import decode
from nnie_pipeline.wk.header import read_header
from nnie_pipeline.wk.proof import prove

Row = dict[str, str | int | float]
_RUNS = 3


def measure() -> list[Row]:
    """RetinaFace mnet.25; the first run of each, which may compile, is not counted."""
    data = os.environ.get("NNIE_TEST_DATA")
    if not data:
        sys.stdout.write("left out: compiled networks need NNIE_TEST_DATA\n")
        return []
    models = Path(data) / "models" / "retinaface_mnet025"
    file = models / "mnet_640_inst.wk"

    paths = (models / "mnet_hand_rewritten.prototxt", models / "mnet.caffemodel")

    def against() -> None:
        if not prove(decode(file), read_net(*paths)).holds:
            raise RuntimeError("the file does not hold its network")

    size = "a .wk of 2.9 MB"
    rows: list[Row] = [
        {"name": f"header of {size}", "ours_s": _best(lambda: read_header(file)), "limit_s": 0.05},
        {"name": f"decode {size}", "ours_s": _best(lambda: decode(file)), "limit_s": 0.6},
        {"name": "the same held against its network", "ours_s": _best(against), "limit_s": 3.0},
    ]
    for name in ("mnet_mergebn_640L_inst.wk", "mnet_640_inst.wk"):
        for what, net in _wrong(read_net(*paths)):
            seconds = _best(partial(_refuse, models / name, net))
            rows.append({"name": f"{name}: {what}", "ours_s": seconds, "limit_s": 3.0})
    return rows


def _refuse(file: Path, net: Net) -> None:
    if prove(decode(file), net).holds:
        raise RuntimeError("the file holds a wrong network")


def _wrong(net: Net) -> list[tuple[str, Net]]:
    """Networks wrong in every layer: each reason has to be looked for 58 times."""
    random = np.random.default_rng(3)
    eps, trained = net.copy(), net.copy()
    for layer in eps.layers:
        if layer.type == "BatchNorm":
            layer.params.batch_norm_param.eps = 1e-3
    for layer in trained.layers:
        if layer.type in ("Convolution", "Deconvolution"):
            noise = 1 + 0.1 * random.standard_normal(layer.weights[0].shape)
            layer.weights[0] = (layer.weights[0] * noise).astype(np.float32)
    return [("another eps", eps), ("other weights", trained)]


def _best(work: Callable[[], object]) -> float:
    work()
    seconds = []
    for _ in range(_RUNS):
        started = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - started)
    return min(seconds)

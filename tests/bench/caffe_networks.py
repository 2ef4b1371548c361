"""Caffe networks of the test data: the two engines beside each other, and rewriting."""

from __future__ import annotations

import os
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

import numpy as np

from nnie_pipeline.caffe.files import read_net
from nnie_pipeline.engine import onnxruntime_engine, pycaffe_engine
from nnie_pipeline.stages.probe import default_probe
from nnie_pipeline.stages.rewrite import rewrite_files
from tests.bench.networks import best_of
from tests.layer_table import MODELS

Row = dict[str, str | int | float]
_MNET = "retinaface_mnet025/mnet"
_RUNS = 3


def measure() -> list[Row]:
    """All rows that can be measured here; what is missing is named."""
    data = os.environ.get("NNIE_TEST_DATA")
    if not data:
        sys.stdout.write("left out: Caffe networks need test data (set NNIE_TEST_DATA)\n")
        return []
    models = Path(data) / "models"
    rows = [rewriting(models, name) for name in MODELS]
    if pycaffe_engine.is_available():
        rows.append(engines(models))
    else:
        sys.stdout.write("left out: the engines need pycaffe (make pycaffe)\n")
    return rows


def engines(models: Path) -> Row:
    """mnet at 640x640, every blob given back as a fresh array by both, nothing written."""
    net = read_net(*_files(models, _MNET))
    values = onnxruntime_engine.all_values(net)
    rng = np.random.default_rng(0)
    feed = {k: rng.uniform(0, 255, v).astype(np.float32) for k, v in net.inputs.items()}
    ours = onnxruntime_engine.Session(net, values)
    theirs = pycaffe_engine.Session(net, values)
    ours_s, peer_s = best_of([lambda: ours.run(feed), lambda: theirs.run(feed)])
    return {
        "name": "every blob of mnet 640x640",
        "peer": "pycaffe",
        "ours_s": ours_s,
        "peer_s": peer_s,
        "ratio": peer_s / ours_s,
        "least_ratio": 4.0,
    }


def rewriting(models: Path, name: str) -> Row:
    """All passes with their verification, both files, the page and the list of changes."""
    probe = default_probe()
    seconds = []
    for _ in range(_RUNS):
        with TemporaryDirectory() as folder:
            started = time.perf_counter()
            rewrite_files(*_files(models, name), Path(name).name, Path(folder), None, probe)
            seconds.append(time.perf_counter() - started)
    return {"name": f"rewrite, {name}", "ours_s": min(seconds), "limit_s": 3.0}


def _files(models: Path, name: str) -> tuple[Path, Path]:
    return models / f"{name}.prototxt", models / f"{MODELS[name]}.caffemodel"

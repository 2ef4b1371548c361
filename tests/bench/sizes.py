"""How fast the search for input sizes is."""

from __future__ import annotations

import contextlib
import os
import sys
import time
from pathlib import Path

import numpy as np

from nnie_pipeline.caffe.files import read_net
from nnie_pipeline.caffe.net import Net
from nnie_pipeline.caffe.shapes import ShapeError, infer
from nnie_pipeline.chips.batch_shapes import infer_all, picture_input
from nnie_pipeline.chips.sizes import valid_sizes

Row = dict[str, str | int | float]
_NETS = {
    "mnet": "retinaface_mnet025/mnet.prototxt",
    "mobilefacenet": "mobilefacenet/mxnet2caffe_mobilefacenet.prototxt",
    "ultraface-slim": "ultraface/slim-320.prototxt",
    "enet": "enet/bn_conv_merged_model.prototxt",
}
_SIDES = np.arange(128, 128 + 8 * 100, 8)
_SAMPLE = 10
_SECONDS = 3.0


def measure() -> list[Row]:
    """10,000 candidate sizes of every Caffe network of the test data."""
    folder = os.environ.get("NNIE_TEST_DATA")
    if not folder:
        sys.stdout.write("left out: sizes need test data (set NNIE_TEST_DATA)\n")
        return []
    rows: list[Row] = []
    for name, place in _NETS.items():
        rows += _rows(name, read_net(Path(folder) / "models" / place))
    return rows


def _rows(name: str, net: Net) -> list[Row]:
    heights, widths = (x.ravel() for x in np.meshgrid(_SIDES, _SIDES, indexing="ij"))
    started = time.perf_counter()
    infer_all(net, heights, widths)
    inferred = time.perf_counter() - started
    picture = picture_input(net)
    started = time.perf_counter()
    for side in _SIDES[: _SAMPLE * 10 : 10].tolist():
        with contextlib.suppress(ShapeError):
            infer(net, {**net.inputs, picture: (*net.inputs[picture][:2], side, side)})
    one_by_one = (time.perf_counter() - started) / _SAMPLE * heights.size
    started = time.perf_counter()
    found = valid_sizes(net, int(_SIDES[0]), int(_SIDES[-1]), 8)
    searched = time.perf_counter() - started
    return [
        {
            "name": f"shapes of {heights.size} sizes, {name}",
            "peer": f"one by one (from {_SAMPLE})",
            "ours_s": inferred,
            "peer_s": one_by_one,
            "ratio": one_by_one / inferred,
            "least_ratio": 20.0,
            "microseconds_a_size": inferred / heights.size * 1e6,
        },
        {
            "name": f"MACs, memory, limits of them, {name}",
            "ours_s": searched,
            "limit_s": _SECONDS,
            "valid_sizes": len(found),
        },
    ]

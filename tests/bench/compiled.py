"""How fast a compiled network is decoded, and held against the network it was made from."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

from nnie_pipeline.caffe.files import read_net
from nnie_pipeline.wk.decode import decode
from nnie_pipeline.wk.proof import prove

Row = dict[str, str | int | float]
_RUNS = 5


def measure() -> list[Row]:
    """RetinaFace mnet.25 at 16 bits; the first run, which compiles, is not counted."""
    data = os.environ.get("NNIE_TEST_DATA")
    if not data:
        sys.stdout.write("left out: compiled networks need NNIE_TEST_DATA\n")
        return []
    models = Path(data) / "models" / "retinaface_mnet025"
    file = models / "mnet_640_inst.wk"

    def against() -> None:
        net = read_net(models / "mnet_hand_rewritten.prototxt", models / "mnet.caffemodel")
        if not prove(decode(file), net).holds:
            raise RuntimeError("the file does not hold its network")

    return [
        {"name": "decode a .wk of 2.9 MB", "ours_s": _best(lambda: decode(file)), "limit_s": 0.6},
        {"name": "the same held against its network", "ours_s": _best(against), "limit_s": 3.0},
    ]


def _best(work: Callable[[], object]) -> float:
    work()
    seconds = []
    for _ in range(_RUNS):
        started = time.perf_counter()
        work()
        seconds.append(time.perf_counter() - started)
    return min(seconds)

"""Time and memory of calibrating on 100 pictures, in a process of its own."""

from __future__ import annotations

import json
import resource
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from nnie_pipeline.calibration.pictures import PictureFile
from nnie_pipeline.calibration.sets import load_inputs, write_set
from nnie_pipeline.cli import translate
from nnie_pipeline.stages.dump import feeds_of, record_ranges
from nnie_pipeline.stages.probe import Probe
from nnie_pipeline.zoo.spec import load_spec
from tests.bench.networks import SIZE, ready_net
from tests.models import photographs

Row = dict[str, str | int | float]
_PICTURES = 100


def measure() -> list[Row]:
    """RetinaFace at 640x640: making a set of 100 pictures, reading it, and all ranges."""
    command = [sys.executable, "-m", "tests.bench.calibration"]
    done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
    rows: list[Row] = json.loads(done.stdout)
    return rows


def work() -> list[Row]:
    """The rows; memory is what the peak grows by after the first tenth of the pictures.

    One picture has 60 MB of values: to keep them would show at the second."""
    wanted = translate.input_spec(load_spec("retinaface"))
    found = list(photographs().values())
    net = ready_net(Probe(found[0].path, found[0].name, wanted))
    files = [PictureFile(x.path, x.name, x.licence) for x in found]
    with TemporaryDirectory() as name:
        folder = Path(name)
        started = time.perf_counter()
        write_set([files[i % len(files)] for i in range(_PICTURES)], wanted, SIZE, folder / "set")
        peaks: list[int] = []

        def count(done: int) -> None:
            if done in (_PICTURES // 10, _PICTURES):
                peaks.append(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss)

        record_ranges(net, feeds_of(net, load_inputs(folder / "set")), count)
        seconds = time.perf_counter() - started
    return [
        {"name": "set and ranges of 100 pictures at 640x640", "ours_s": seconds, "limit_s": 40.0},
        {
            "name": "memory that 90 of them add",
            "megabytes": (peaks[1] - peaks[0]) / 1000,
            "limit_megabytes": 100,
        },
    ]


if __name__ == "__main__":
    sys.stdout.write(json.dumps(work()))

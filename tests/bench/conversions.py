"""Time and peak memory of convert and rewrite, network by network, each in its own process."""

from __future__ import annotations

import json
import re
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from nnie_pipeline.cli import translate
from nnie_pipeline.stages.convert import convert_files
from nnie_pipeline.stages.probe import Probe
from nnie_pipeline.stages.rewrite import rewrite_files
from nnie_pipeline.zoo.spec import load_spec
from tests.models import network_file, onnx_names, photographs

Row = dict[str, str | int | float]
_SECONDS = {"retinaface": 3.0}
_OTHERS_SECONDS = 5.0


def measure() -> list[Row]:
    """Every ONNX model of the zoo at its default size; those without weights here are named."""
    rows: list[Row] = []
    for name in onnx_names():
        try:
            network_file(name)
        except LookupError as error:
            sys.stdout.write(f"left out: {name} needs {error}\n")
            continue
        command = [sys.executable, "-m", "tests.bench.conversions", name]
        done = subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True)
        rows.append(json.loads(done.stdout))
    return rows


def work(name: str) -> Row:
    """Convert and rewrite one network; both verify themselves on a photograph.

    Memory is this process's peak, with Python and its libraries.
    """
    spec, weights = load_spec(name), network_file(name)
    assert spec.default_size is not None
    picture = photographs()["astronaut"]
    probe = Probe(picture.path, picture.name, translate.input_spec(spec))
    with TemporaryDirectory() as place:
        folder = Path(place)
        started = time.perf_counter()
        done = convert_files(weights, name, folder, spec.default_size, spec.outputs, probe)
        (folder / "new").mkdir()
        rewrite_files(done.prototxt, done.caffemodel, name, folder / "new", None, probe)
        seconds = time.perf_counter() - started
    height, width = spec.default_size
    # Not ru_maxrss: Linux keeps the parent's peak across exec.
    status = Path("/proc/self/status").read_text(encoding="ascii")
    kilobytes = int(re.search(r"VmHWM:\s*(\d+)", status)[1])  # type: ignore[index]
    return {
        "name": f"convert + rewrite, {name} {height}x{width}",
        "ours_s": seconds,
        "limit_s": _SECONDS.get(name, _OTHERS_SECONDS),
        "megabytes": kilobytes / 1000,
        "limit_megabytes": 600,
    }


if __name__ == "__main__":
    sys.stdout.write(json.dumps(work(sys.argv[1])))

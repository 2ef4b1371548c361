"""Time and peak memory of the whole pipeline, as `make nnie` runs it."""

from __future__ import annotations

import resource
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

Row = dict[str, str | int | float]


def measure() -> list[Row]:
    """`nnie run retinaface --size 640` in an empty folder, and again with nothing changed."""
    with TemporaryDirectory() as name:
        first, again = (_seconds(Path(name)) for _ in range(2))
    kilobytes = resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss
    return [
        {"name": "nnie run retinaface --size 640", "ours_s": first},
        {"name": "the same with nothing changed", "ours_s": again, "limit_s": 2.0},
        {
            "name": "peak memory of nnie run",
            "megabytes": kilobytes / 1000,
            "limit_megabytes": 1500,
        },
    ]


def _seconds(folder: Path) -> float:
    started = time.perf_counter()
    command = [sys.executable, "-m", "nnie_pipeline", "run", "retinaface", "--size", "640"]
    subprocess.run(command, cwd=folder, check=True, stdout=subprocess.DEVNULL)
    return time.perf_counter() - started

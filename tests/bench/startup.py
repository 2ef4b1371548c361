"""What a command line takes until it shows something, beside the libraries it is built on."""

from __future__ import annotations

import os
import re
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path

Row = dict[str, str | int | float]
_RUNS = 7
_WAITS = 3
_LIMIT_S = 0.4
_COMMAND = (sys.executable, "-m", "nnie_pipeline")
_TABLE_END = "└"
_LIBRARIES = "import typer, rich.console, rich.table"


def measure() -> list[Row]:
    """`nnie --help` and `nnie wk`: processor time of the fastest of some runs.

    That of a busy machine is near that of a quiet one, where it is the time that a user waits.
    """
    rows = [_row("nnie --help (CPU)", ("--help",), None, "import typer")]
    data = os.environ.get("NNIE_TEST_DATA")
    if not data:
        sys.stdout.write("left out: nnie wk needs NNIE_TEST_DATA\n")
        return rows
    file = str(Path(data) / "models" / "retinaface_mnet025" / "mnet_640_inst.wk")
    rows.append(_row("nnie wk of 2.9 MB, header (CPU)", ("wk", file), _TABLE_END, _LIBRARIES))
    (whole,) = _best([((*_COMMAND, "wk", file), None)])
    rows.append({"name": "the same to its end, all decoded (CPU)", "ours_s": whole})
    return rows + _waited(Path(data) / "models" / "retinaface_mnet025")


def _waited(models: Path) -> list[Row]:
    """Whole commands from start to end, the time that a user waits: the fastest of some runs."""
    rows: list[Row] = []
    right = models / "mnet_hand_rewritten.prototxt"
    weights = str(models / "mnet.caffemodel")
    with tempfile.TemporaryDirectory() as folder:
        wrong = Path(folder) / "eps.prototxt"
        text = right.read_text(encoding="utf-8")
        wrong.write_text(re.sub(r"eps: *\S+", "eps: 0.001", text), encoding="utf-8")
        for file in ("mnet_640_inst.wk", "mnet_mergebn_640L_inst.wk"):
            path = str(models / file)
            for what, arguments, status, limit in (
                ("", (), 0, 1.5),
                (" --against its network", ("--against", str(right), weights), 0, 3.0),
                (" --against another eps", ("--against", str(wrong), weights), 1, 3.0),
            ):
                seconds = [
                    _wall_time((*_COMMAND, "wk", path, *arguments), status) for _ in range(_WAITS)
                ]
                name = f"nnie wk {file}{what} (wall)"
                rows.append({"name": name, "ours_s": min(seconds), "limit_s": limit})
    return rows


def _wall_time(command: Sequence[str], status: int) -> float:
    started = time.perf_counter()
    run = subprocess.run(command, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, check=False)
    seconds = time.perf_counter() - started
    if run.returncode != status:
        raise RuntimeError(f"{command} ended with {run.returncode}: {run.stderr.decode()}")
    return seconds


def _row(name: str, arguments: tuple[str, ...], until: str | None, peer: str) -> Row:
    theirs = (sys.executable, "-c", peer)
    ours_s, peer_s = _best([((*_COMMAND, *arguments), until), (theirs, None)])
    return {
        "name": name,
        "peer": f"python -c '{peer}'",
        "ours_s": ours_s,
        "limit_s": _LIMIT_S,
        "peer_s": peer_s,
        "times_the_peer": ours_s / peer_s,
        "limit_times": 3.0,
    }


def _best(commands: Sequence[tuple[Sequence[str], str | None]]) -> list[float]:
    """The fastest of some runs of each, taken in turns so that all see the same machine."""
    seconds: list[list[float]] = [[] for _ in commands]
    for _ in range(_RUNS):
        for (command, until), found in zip(commands, seconds, strict=True):
            found.append(_processor_time(command, until))
    return [min(x) for x in seconds]


def _processor_time(command: Sequence[str], until: str | None) -> float:
    """Seconds of a process up to its end, or up to a line that begins with `until`."""
    with subprocess.Popen(command, stdout=subprocess.PIPE, encoding="utf-8") as process:
        assert process.stdout is not None
        for line in process.stdout:
            if until is not None and line.startswith(until):
                process.kill()
                break
        _, status, used = os.wait4(process.pid, 0)
        process.returncode = os.waitstatus_to_exitcode(status)
    if process.returncode not in (0, -signal.SIGKILL if until else 0):
        raise RuntimeError(f"{command} ended with {process.returncode}")
    return used.ru_utime + used.ru_stime

"""Running the mapper: in a folder of its own, its words passed on as they come."""

from __future__ import annotations

import contextlib
import functools
import os
import selectors
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

from nnie_pipeline import files
from nnie_pipeline.errors import InputError
from nnie_pipeline.mapper import guard
from nnie_pipeline.mapper.cfg import Cfg
from nnie_pipeline.mapper.cfg_files import named_paths

RESULTS = frozenset(
    {"mapper_quant", "mapper_param", "compiler_quant", "compiler_param", "mapped",
     "mapper_debug.log", "mapper_error.log", "compiler_debug.log", "compiler_error.log",
     "netmem_info.data", "RUNTIME.txt", "instruction.txt", "dout_nne_para.txt", "ibd_para.txt"}
)  # fmt: skip
"""What the mapper leaves where it runs, besides .wk and .dot files (a public tool chain's tree)."""

_LONGEST_LINE = 1 << 16
_TICK = 0.1


@contextlib.contextmanager
def work_folder(cfg_path: Path, cfg: Cfg) -> Iterator[tuple[Path, Path]]:
    """A new folder that looks like the cfg file's own and takes what the mapper writes.

    The cfg in it has another `instruction_name`, the stem of its file, so that no .wk is ever
    written to its place. All else is links. Paths that begin with .. lead where they did.

    Yields:
        The folder, and the one that holds both it and the cfg's.
    """
    home = cfg_path.resolve().parent
    beside = any(".." in Path(x).parts for x in named_paths(home, cfg))
    root = home.parent if beside else home
    with files.temporary_folder(root, "map") as work:
        up = Path("..") / home.name if beside else Path("..")
        for entry in sorted(home.iterdir()):
            name = entry.name
            if name in RESULTS or name.startswith(files.TEMPORARY) or name == cfg_path.name:
                continue
            if entry.suffix not in (".wk", ".dot"):
                (work / name).symlink_to(up / name)
        (work / cfg_path.name).write_bytes(_own_name(cfg_path, cfg))
        yield work, root


def _own_name(path: Path, cfg: Cfg) -> bytes:
    """The cfg with its results beside it, called after the file."""
    lines = path.read_bytes().splitlines()
    own = f"[instruction_name] ./{path.stem}".encode()
    places = [x.line for x in cfg.entries if x.key in ("instruction_name", "instructions_name")]
    for line in places:
        lines[line - 1] = own
    if not places:
        lines.append(own)
    return b"\n".join(lines) + b"\n"


def run_program(
    command: Sequence[str],
    folder: Path,
    environment: Mapping[str, str],
    log: IO[bytes],
    said: Callable[[str], None],
    longest: float | None = None,
    stop: Sequence[str] = (),
) -> int:
    """Run a program, pass each line of its output to `said` and all of it to `log`.

    Args:
        command: the program and its arguments.
        folder: where it runs.
        environment: its variables.
        log: takes standard output and error as they come; not buffered.
        said: called with each line, without its end; what it raises ends the program.
        longest: seconds; then the program is ended.
        stop: a command that ends it where a signal does not reach it (a container).

    When this process ends while the program runs, by kill -9 too, `guard` ends the program and
    all that it started.

    Returns:
        The exit status; below 0 the number of the signal that ended it.

    Raises:
        InputError: it cannot be started, or takes longer than `longest`.
    """
    # -I -S: neither the user's modules nor the machine's, for a start in a few milliseconds.
    keeper = subprocess.Popen(
        [sys.executable, "-I", "-S", guard.__file__, *stop], stdin=subprocess.PIPE,
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, **_in_group(0),
    )  # fmt: skip
    process: subprocess.Popen[bytes] | None = None
    try:
        process = subprocess.Popen(
            command, cwd=folder, env=dict(environment), stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE, stderr=subprocess.STDOUT, **_in_group(keeper.pid),
        )  # fmt: skip
        end = None if longest is None else time.monotonic() + longest
        _follow(process, folder, log, said, end)
        return process.wait(None if end is None else max(0.0, end - time.monotonic()))
    except OSError as error:
        if process is not None:
            raise
        raise InputError(
            f"cannot start {command[0]}: {error.strerror}; is it a program for this machine?"
        ) from error
    except subprocess.TimeoutExpired as error:
        raise InputError(
            f"the mapper was ended after {longest:g} s; give it more with --timeout"
        ) from error
    finally:
        _end(process, keeper, stop)


def _in_group(leader: int) -> dict[str, Any]:
    """How Popen puts a process into the group of `leader`, itself for 0."""
    if sys.version_info >= (3, 11):
        return {"process_group": leader}
    return {"preexec_fn": functools.partial(os.setpgid, 0, leader)}


def _follow(
    process: subprocess.Popen[bytes],
    folder: Path,
    log: IO[bytes],
    said: Callable[[str], None],
    end: float | None,
) -> None:
    assert process.stdout is not None
    rest = b""
    over: float | None = None
    with selectors.DefaultSelector() as selector:
        selector.register(process.stdout, selectors.EVENT_READ)
        while True:
            now = time.monotonic()
            if end is not None and now > end:
                raise subprocess.TimeoutExpired(process.args, 0)
            ready = selector.select(_TICK)
            if over is None and process.poll() is not None:
                over = now
            if over is not None and (not ready or now > over + guard.PATIENCE):
                break  # ended, though something it started still holds its output
            if not ready:
                continue
            data = os.read(process.stdout.fileno(), _LONGEST_LINE)
            if not data:
                break
            with files.writing(folder):
                log.write(data)
            *lines, rest = (rest + data).replace(b"\r", b"\n").split(b"\n")
            rest = rest[-_LONGEST_LINE:]
            for line in lines:
                said(line.decode("utf-8", errors="replace"))
    if rest:
        said(rest.decode("utf-8", errors="replace"))


def _end(
    process: subprocess.Popen[bytes] | None, keeper: subprocess.Popen[bytes], stop: Sequence[str]
) -> None:
    """End the program, all that it started if any of it still runs, and its guard."""
    if stop and process is not None and process.poll() != 0:
        with contextlib.suppress(OSError, subprocess.SubprocessError):
            subprocess.run(stop, capture_output=True, timeout=guard.PATIENCE, check=False)
    for number in (signal.SIGTERM, signal.SIGKILL):
        with contextlib.suppress(ProcessLookupError):
            os.killpg(keeper.pid, number)
        if process is not None:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(guard.PATIENCE)
    keeper.wait()
    for stream in (keeper.stdin, process.stdout if process is not None else None):
        if stream is not None:
            stream.close()

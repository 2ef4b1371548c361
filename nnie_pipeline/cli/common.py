"""What every subcommand shares: exit statuses, output, common options."""

from __future__ import annotations

import functools
import os
import re
import sys
import tempfile
import traceback
import typing
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from nnie_pipeline.errors import InputError, NnieError

if TYPE_CHECKING:
    from rich.console import Console

P = ParamSpec("P")
R = TypeVar("R")

_SIZE = re.compile(r"(\d+)(?:[xX](\d+))?")
_LARGEST_SIDE = 4096


def reported(function: Callable[P, R]) -> Callable[P, R]:
    """Turn the errors of a subcommand into one line and its exit status.

    0 done; 1 a check or accuracy bar failed; 2 bad usage or input; 3 not expressible in
    NNIE's Caffe; 4 a bug here; 130 interrupted.
    """

    @functools.wraps(function)
    def wrapper(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return function(*args, **kwargs)
        except NnieError as error:
            fail(str(error), error.exit_status)
        except KeyboardInterrupt:
            fail("interrupted; results of earlier runs are untouched", 130)
        except BrokenPipeError:
            os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
            raise SystemExit(0) from None
        except Exception as error:
            log = _write_log()
            fail(
                f"this is a bug in nnie-pipeline ({type(error).__name__}: {error}); "
                f"please report it with {log}",
                4,
            )

    return wrapper


def fail(message: str, status: int) -> typing.NoReturn:
    """Print one line to standard error and end with `status`."""
    line = " ".join(message.split())
    sys.stderr.write(f"nnie: {line}\n")
    raise SystemExit(status)


def parse_size(text: str) -> tuple[int, int]:
    """(height, width) of "640" or "480x640".

    Raises:
        InputError: not a size, or a side out of 1 to 4096.
    """
    match = _SIZE.fullmatch(text.strip())
    if match is None:
        raise InputError(
            f"size {text!r} is not a size; write one number (640) or height x width (480x640)"
        )
    height = int(match[1])
    width = int(match[2] or match[1])
    for side in (height, width):
        if not 1 <= side <= _LARGEST_SIDE:
            raise InputError(
                f"size {text!r}: a side must be 1 to {_LARGEST_SIDE} pixels (NNIE's limit); "
                "try 640 or 480x640"
            )
    return height, width


def console() -> Console:
    """Standard output with colour where the terminal has it."""
    from rich.console import Console

    return Console(highlight=False, soft_wrap=True)


def existing_file(path: Path, what: str) -> Path:
    """`path`, if it is a readable file.

    Raises:
        InputError: it is not there, or not a file.
    """
    if not path.is_file():
        found = "a folder" if path.is_dir() else "nothing"
        raise InputError(f"{what} {path}: found {found} there; give the path of the file")
    return path


def _write_log() -> Path:
    handle, name = tempfile.mkstemp(prefix="nnie-", suffix=".log")
    with os.fdopen(handle, "w", encoding="utf-8") as log:
        log.write(f"command: {sys.argv!r}\n")
        traceback.print_exc(file=log)
    return Path(name)

"""What every subcommand shares: exit statuses, output, common options."""

from __future__ import annotations

import errno
import functools
import os
import re
import sys
import typing
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from nnie_pipeline.errors import InputError, NnieError

if TYPE_CHECKING:
    from rich.console import Console

P = ParamSpec("P")
R = TypeVar("R")

_SIZE = re.compile(r"([0-9]{1,9})(?:[xX]([0-9]{1,9}))?")
_LARGEST_SIDE = 4096
_LONGEST_LINE = 1000
_UNWRAPPED = 10_000
"""Columns of a table that goes into a file or to another program."""

_ENVIRONMENT = frozenset(
    {errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG, errno.EACCES, errno.EPERM, errno.EIO,
     errno.EMFILE, errno.ENFILE, errno.ENAMETOOLONG, errno.ELOOP}
)  # fmt: skip
"""What the machine refuses, not what this program does wrong."""


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
            fail("interrupted; nothing is left half done", 130)
        except BrokenPipeError:
            _forget_output()
            raise SystemExit(0) from None
        except MemoryError:
            fail("not enough memory; choose a smaller --size or end other programs", 2)
        except Exception as error:
            if isinstance(error, OSError) and error.errno in _ENVIRONMENT:
                _forget_output()
                where = error.filename or "standard output or a temporary file"
                fail(f"cannot read or write {where}: {error.strerror}; make room or allow it", 2)
            log = _write_log(error)
            fail(
                f"this is a bug in nnie-pipeline ({type(error).__name__}: {error}); "
                f"please report it with {log}",
                4,
            )

    return wrapper


def fail(message: str, status: int) -> typing.NoReturn:
    """Print one line to standard error and end with `status`.

    Names out of files may hold control characters; a terminal gets none of them.
    """
    line = "".join(x if x.isprintable() else "?" for x in " ".join(message.split()))
    if len(line) > _LONGEST_LINE:
        line = f"{line[: _LONGEST_LINE // 2]} ... {line[-_LONGEST_LINE // 2 :]}"
    if sys.stderr is not None:
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
    """Standard output with colour where the terminal has it; elsewhere no line is wrapped."""
    from rich.console import Console

    class Output(Console):
        def on_broken_pipe(self) -> None:
            raise BrokenPipeError  # for `reported`; rich would end with status 1

    place = Output(highlight=False, soft_wrap=True)
    if not place.is_terminal:
        place.width = _UNWRAPPED
    return place


def existing_file(path: Path, what: str) -> Path:
    """`path`, if it is a readable file.

    Raises:
        InputError: it is not there, or not a file.
    """
    try:
        found = "a file" if path.is_file() else "a folder" if path.is_dir() else "nothing"
    except OSError as error:
        found = f"nothing ({error.strerror})"
    if found != "a file":
        raise InputError(f"{what} {path}: found {found} there; give the path of the file")
    return path


def names_of(text: str | None, option: str) -> list[str] | None:
    """The names in "a,b" that `option` was given; None when it was not.

    Raises:
        InputError: it holds no name, or one twice.
    """
    if text is None:
        return None
    names = [x.strip() for x in text.split(",")]
    if not all(names):
        raise InputError(f"{option} {text!r} leaves a name empty; write names with commas between")
    twice = next((x for x in names if names.count(x) > 1), None)
    if twice is not None:
        raise InputError(f"{option} names {twice} twice; name every tensor once")
    return names


def numbers_of(text: str | None, option: str) -> tuple[float, ...]:
    """The numbers in "104,117,123" that `option` was given; none when it was not.

    Raises:
        InputError: what is no number.
    """
    if text is None:
        return ()
    try:
        return tuple(float(x) for x in text.split(","))
    except ValueError as error:
        raise InputError(
            f"{option} {text!r} holds what is no number; write one, or one a channel with commas "
            "between (104,117,123)"
        ) from error


def _forget_output() -> None:
    """Nobody reads standard output any more: what is left in its buffer must not fail again."""
    if sys.stdout is not None:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _write_log(error: Exception) -> str:
    """The traceback in a file; words for where it is."""
    import tempfile
    import traceback

    text = f"command: {sys.argv!r}\n{''.join(traceback.format_exception(error))}"
    try:
        handle, name = tempfile.mkstemp(prefix="nnie-", suffix=".log")
        with os.fdopen(handle, "w", encoding="utf-8", errors="backslashreplace") as log:
            log.write(text)
    except OSError as refused:
        return f"its traceback (no log could be written: {refused.strerror})"
    return f"the log {name}"

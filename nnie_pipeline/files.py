"""Writing files so that an earlier good result is never lost.

Everything is written to a temporary name beside its place and renamed at the end, so
that a full disk, an error or Ctrl-C leaves what was there before.
"""

from __future__ import annotations

import contextlib
import errno
import json
import os
import re
import shutil
import signal
import tempfile
import threading
from collections.abc import Collection, Iterator
from pathlib import Path
from typing import Any

from nnie_pipeline.errors import InputError

TEMPORARY = ".tmp."
"""How the name begins of all that is not in its place yet."""

_ADDED = "files"
_OLD = ".old"
_NO_ROOM = frozenset({errno.ENOSPC, errno.EDQUOT, errno.EROFS, errno.EFBIG})
_LARGEST_JSON = 64 << 20


@contextlib.contextmanager
def replaced_folder(folder: Path) -> Iterator[Path]:
    """Yield an empty folder that takes the place of `folder` when the block succeeds.

    Raises:
        InputError: the place cannot be written (a file in its place, no permission,
            device full).
    """
    with writing(folder):
        _require_folder(folder)
        with _made(folder.parent), _replacing(folder) as temporary:
            yield temporary


@contextlib.contextmanager
def added_files(folder: Path, keep: Collection[Path] = ()) -> Iterator[Path]:
    """Yield an empty folder whose files move into `folder` when the block succeeds.

    Files already in `folder` stay, except those of the same names. `keep` are files that
    the block reads and that may not be replaced.

    Raises:
        InputError: as `replaced_folder`, or a file of `keep` would be replaced.
    """
    with writing(folder), _made(folder), temporary_folder(folder, _ADDED) as temporary:
        yield temporary
        moves = [(x, folder / x.relative_to(temporary)) for x in sorted(temporary.rglob("*"))]
        for _, place in moves:
            if place.exists() and any(place.samefile(x) for x in keep):
                raise InputError(
                    f"cannot write {place}: it is what this command reads; choose another "
                    "folder for the results"
                )
        with uninterrupted():
            for path, place in moves:
                if path.is_dir():
                    place.mkdir(exist_ok=True)
                else:
                    path.replace(place)


@contextlib.contextmanager
def temporary_folder(parent: Path, label: str) -> Iterator[Path]:
    """Yield a new folder `.tmp.LABEL.PROCESS.RANDOM` in `parent`; it goes when the block ends.

    What processes that were killed left there under the same label goes first. A process is over
    when it is gone and its folder not locked: one in another container has a number that means
    nothing here.

    Raises:
        InputError: the folder cannot be made.
    """
    for left in _left(parent, label, ""):
        with contextlib.suppress(InputError), locked(left):
            shutil.rmtree(left, ignore_errors=True)
    with writing(parent):
        prefix = f"{TEMPORARY}{label}.{os.getpid()}."
        folder = Path(tempfile.mkdtemp(prefix=prefix, dir=parent))
    try:
        with locked(folder):
            yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def write_text(path: Path, text: str) -> None:
    """Write `text` to `path` as UTF-8 in one step.

    Raises:
        InputError: as `replaced_folder`.
    """
    with added_files(path.parent) as folder:
        (folder / path.name).write_text(text, encoding="utf-8")


@contextlib.contextmanager
def writing(folder: Path) -> Iterator[None]:
    """Report what the machine refuses in the block as an error about `folder`.

    Raises:
        InputError: no permission, device full and the like.
    """
    try:
        yield
    except OSError as error:
        # What was being copied may be named instead of the place that is full.
        where = folder if error.errno in _NO_ROOM else error.filename or folder
        raise InputError(
            f"cannot write {where}: {error.strerror or error}; choose another folder or make room"
        ) from error


@contextlib.contextmanager
def locked(folder: Path) -> Iterator[None]:
    """Make `folder` and keep other processes that ask for the same lock out of it.

    Raises:
        InputError: another one has it, or the folder cannot be made.
    """
    import fcntl

    with contextlib.ExitStack() as stack:
        with writing(folder):
            if not folder.is_dir():
                stack.enter_context(_made(folder))
            handle = os.open(folder, os.O_RDONLY)
            stack.callback(os.close, handle)
        try:
            fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            raise InputError(
                f"another nnie run is at work in {folder}; wait until it is done"
            ) from error
        except OSError:
            pass  # a file system without locks
        yield


@contextlib.contextmanager
def uninterrupted() -> Iterator[None]:
    """Let Ctrl-C wait until the block is done: it renames, which takes no time."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return
    pending: list[int] = []
    earlier = signal.signal(signal.SIGINT, lambda number, _: pending.append(number))
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, earlier)
    if pending:
        raise KeyboardInterrupt


def to_json(value: Any) -> str:
    """`value` as the JSON text that every stage writes."""
    return json.dumps(value, indent=1, ensure_ascii=False) + "\n"


def read_json(path: Path, what: str) -> Any:
    """The JSON value in `path`; `what` says in an error what the file should be.

    Raises:
        InputError: no such file, too large, or not JSON.
    """
    try:
        if path.stat().st_size > _LARGEST_JSON:
            raise InputError(f"{path} is not {what}: it is larger than {_LARGEST_JSON} bytes")
        return json.loads(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise InputError(f"cannot read {what} {path}: {error.strerror}") from error
    except UnicodeDecodeError as error:
        raise InputError(f"{path} is not {what}: byte {error.start} is not text") from error
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is not {what}: {error}") from error


@contextlib.contextmanager
def _replacing(folder: Path) -> Iterator[Path]:
    for left in _left(folder.parent, folder.name, _OLD):
        if folder.exists():
            shutil.rmtree(left, ignore_errors=True)
        else:  # killed between the two renames
            left.rename(folder)
    with temporary_folder(folder.parent, folder.name) as temporary:
        old = temporary.with_name(temporary.name + _OLD)
        try:
            yield temporary
            temporary.chmod(0o777 & ~_umask())
            with uninterrupted():
                if folder.exists():
                    folder.rename(old)
                try:
                    temporary.rename(folder)
                except OSError:
                    if old.exists():
                        old.rename(folder)
                    raise
        finally:
            shutil.rmtree(old, ignore_errors=True)


def _left(parent: Path, label: str, ending: str) -> list[Path]:
    """The folders that processes which are gone left in `parent` under `label`."""
    owned = re.compile(
        rf"{re.escape(TEMPORARY + label)}\.([0-9]{{1,9}})\.[a-z0-9_]+{re.escape(ending)}"
    )
    with contextlib.suppress(OSError):
        found = [(x, owned.fullmatch(x.name)) for x in sorted(parent.iterdir())]
        return [
            x for x, owner in found if owner and x.is_dir() and not x.is_symlink()
            and not _alive(int(owner[1]))
        ]  # fmt: skip
    return []


def _alive(process: int) -> bool:
    try:
        os.kill(process, 0)
    except ProcessLookupError:
        return False
    except OSError:
        pass  # another user's
    return True


@contextlib.contextmanager
def _made(folder: Path) -> Iterator[None]:
    """Make `folder` where it is missing; it goes again if nothing was put there."""
    _require_folder(folder)
    new = [x for x in (folder, *folder.parents) if not x.exists()]
    folder.mkdir(parents=True, exist_ok=True)
    try:
        yield
    finally:
        for place in new:
            with contextlib.suppress(OSError):
                place.rmdir()


def _require_folder(folder: Path) -> None:
    for place in (folder, *folder.parents):
        if place.exists():
            if not place.is_dir():
                raise InputError(
                    f"cannot write into {folder}: {place} is a file; move it away or choose "
                    "another folder"
                )
            if not os.access(place, os.W_OK | os.X_OK):
                raise InputError(
                    f"cannot write into {folder}: no permission for {place}; choose another folder"
                )
            return


def _umask() -> int:
    mask = os.umask(0)
    os.umask(mask)
    return mask

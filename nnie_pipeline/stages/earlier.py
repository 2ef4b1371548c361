"""What a complete build keeps of itself until the next one is complete.

Before a stage of a complete build is run again, what it left is linked into a hidden folder.
When the run fails or is interrupted, all of that goes back to its place; when the process was
killed, the next run does it.
"""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from nnie_pipeline import files

_ASIDE = ".earlier"


@contextmanager
def kept(folder: Path, record: str) -> Iterator[Callable[[str], None]]:
    """Yield a function that keeps a place in `folder`; a block that fails gets all of them back.

    `record` names the file that says what the build consists of; it is kept as well.

    Raises:
        InputError: the folder cannot be written.
    """
    aside = folder / _ASIDE

    def keep(name: str) -> None:
        with files.writing(folder):
            aside.mkdir(exist_ok=True)
            for place in (folder / record, folder / name):
                if place.exists() and not (aside / place.name).exists():
                    partial = aside / f"{files.TEMPORARY}{place.name}"
                    _link_all(place, partial)
                    partial.rename(aside / place.name)

    try:
        yield keep
    except BaseException:
        put_back(folder)
        raise
    if aside.exists():
        with files.uninterrupted():
            # One step makes the new build the one that counts.
            done = aside.rename(folder / f"{files.TEMPORARY}earlier")
            shutil.rmtree(done, ignore_errors=True)


def put_back(folder: Path) -> None:
    """Restore what an unfinished run kept, and remove what a killed one left behind.

    Raises:
        InputError: the folder cannot be written.
    """
    aside = folder / _ASIDE
    with files.writing(folder), files.uninterrupted():
        if aside.is_dir():
            for old in sorted(aside.iterdir()):
                if not old.name.startswith(files.TEMPORARY):
                    _remove(folder / old.name)
                    old.rename(folder / old.name)
            _remove(aside)
        for left in folder.glob(f"{files.TEMPORARY}*"):
            _remove(left)


def _link_all(source: Path, target: Path) -> None:
    """`target` as a copy of a file, or as a folder of links to the files of a folder.

    The stages replace files in a folder and never write into them.
    """
    if source.is_file():
        shutil.copy2(source, target)
        return
    target.mkdir()
    for path in sorted(source.rglob("*")):
        place = target / path.relative_to(source)
        if path.is_symlink():
            place.symlink_to(path.readlink())
        elif path.is_dir():
            place.mkdir()
        else:
            try:
                os.link(path, place)
            except OSError:
                shutil.copy2(path, place)  # a file system without links


def _remove(place: Path) -> None:
    if place.is_dir() and not place.is_symlink():
        shutil.rmtree(place)
    else:
        place.unlink(missing_ok=True)

"""What processes that were killed leave, and who clears it."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from nnie_pipeline import files

_WRITER = """
import sys
from pathlib import Path
from nnie_pipeline import files
with files.{kind}(Path(sys.argv[1])) as folder:
    (folder / "large").write_bytes(b"x" * 1000)
    print("begun", flush=True)
    sys.stdin.read()
"""


@pytest.fixture
def ended() -> int:
    """The number of a process that is gone."""
    process = subprocess.Popen(["true"])
    process.wait()
    return process.pid


def names(folder: Path) -> list[str]:
    return sorted(x.relative_to(folder).as_posix() for x in folder.rglob("*"))


@pytest.mark.parametrize("kind", ["replaced_folder", "added_files"])
def test_what_a_killed_writer_leaves_the_next_one_clears(tmp_path: Path, kind: str) -> None:
    out = tmp_path / "s [e] t"
    with files.replaced_folder(out) as folder:
        (folder / "earlier").touch()
    command = [sys.executable, "-c", _WRITER.format(kind=kind), str(out)]
    writer = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert writer.stdout is not None
    assert writer.stdout.readline() == b"begun\n"
    with getattr(files, kind)(out) as folder:  # as long as it is at work, nobody clears it
        (folder / "own").touch()
    assert any(x.endswith("/large") for x in names(tmp_path))
    writer.send_signal(signal.SIGKILL)
    writer.communicate(timeout=30)
    assert any(x.endswith("/large") for x in names(tmp_path))
    with getattr(files, kind)(out) as folder:
        (folder / "new").touch()
    kept = ["new"] if kind == "replaced_folder" else ["earlier", "new", "own"]
    assert names(tmp_path) == [out.name, *(f"{out.name}/{x}" for x in kept)]


def test_only_what_is_over_and_of_the_same_place_is_cleared(tmp_path: Path, ended: int) -> None:
    kept = [f".tmp.other.{ended}.ab_1", f".tmp.set.{os.getpid()}.ab_1", ".tmp.set.x.ab_1",
            f".tmp.set.{ended}.a.b", f".tmp.set.{ended}.locked"]  # fmt: skip
    gone = [f".tmp.set.{ended}.ab_1", f".tmp.set.{ended}.ab_2.old"]
    for name in kept + gone:
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").touch()
    elsewhere = tmp_path / "elsewhere"
    elsewhere.mkdir()
    (elsewhere / "mine").touch()
    link = tmp_path / f".tmp.set.{ended}.link"
    link.symlink_to(elsewhere)
    (tmp_path / "set").mkdir()
    with files.locked(tmp_path / kept[-1]), files.replaced_folder(tmp_path / "set"):
        pass
    left = {x.name for x in tmp_path.iterdir()}
    assert left == {*kept, "set", "elsewhere", link.name}
    assert (elsewhere / "mine").exists()


def test_a_folder_that_was_moved_away_when_its_writer_was_killed_comes_back(
    tmp_path: Path, ended: int
) -> None:
    """Between the two renames the earlier result has no other name."""
    aside = tmp_path / f".tmp.set.{ended}.ab_1.old"
    aside.mkdir()
    (aside / "earlier").touch()
    with pytest.raises(RuntimeError), files.replaced_folder(tmp_path / "set"):
        raise RuntimeError
    assert names(tmp_path) == ["set", "set/earlier"]

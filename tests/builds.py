"""Runs of the command line, and builds that the tests of one session share.

With pytest-xdist every worker has a session of its own: the first that needs a build makes
it under a lock, the others wait and read it. Tests copy what they change.
"""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

_LONGEST_SECONDS = 300


@dataclass(frozen=True)
class Ran:
    """How a run of `nnie` ended."""

    status: int
    out: str
    err: str

    @property
    def error(self) -> str:
        """The one line on standard error."""
        assert self.err.endswith("\n"), self
        assert self.err.count("\n") == 1, self.err
        assert self.err.startswith("nnie: "), self.err
        return self.err.removeprefix("nnie: ").strip()


@dataclass(frozen=True)
class Build:
    """A finished `nnie run`: its folder and how the command ended."""

    folder: Path
    ran: Ran


def nnie(*arguments: str | Path, cwd: Path | None = None, env: dict[str, str] | None = None) -> Ran:
    """Run the command line in a process of its own."""
    done = subprocess.run(
        command(*arguments),
        cwd=cwd,
        env={**os.environ, **(env or {})},
        capture_output=True,
        text=True,
        timeout=_LONGEST_SECONDS,
        check=False,
    )
    return Ran(done.returncode, done.stdout, done.stderr)


def command(*arguments: str | Path) -> list[str]:
    """The words that start `nnie` in a process."""
    return [sys.executable, "-m", "nnie_pipeline", *map(str, arguments)]


def made_once(factory: pytest.TempPathFactory, name: str, *arguments: str) -> Build:
    """The build of `nnie run ARGUMENTS --build DIR`, made by the first worker that asks."""
    base = factory.getbasetemp()
    # The parent is one session's only under xdist; else older sessions share it.
    root = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    place, record = root / f"build-{name}", root / f"build-{name}.json"
    with (root / f"build-{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not record.exists():
            shutil.rmtree(place, ignore_errors=True)
            ran = nnie("run", *arguments, "--build", place)
            record.write_text(json.dumps([ran.status, ran.out, ran.err]), encoding="utf-8")
    ran = Ran(*json.loads(record.read_text(encoding="utf-8")))
    folders = sorted(x for x in place.iterdir() if x.is_dir()) if place.is_dir() else []
    assert len(folders) == 1, ran
    return Build(folders[0], ran)


@pytest.fixture(scope="session")
def build(tmp_path_factory: pytest.TempPathFactory) -> Build:
    """`nnie run retinaface --size 320`: not to be changed."""
    return made_once(tmp_path_factory, "320", "retinaface", "--size", "320")


@pytest.fixture(scope="session")
def build_folder(build: Build) -> Path:
    """The folder of `build`: not to be changed."""
    assert build.ran.status == 0, build.ran
    return build.folder

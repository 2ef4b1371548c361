"""Runs of the command line, and results that the tests of one session share.

With pytest-xdist every worker has a session of its own: the first that needs a result makes
it under a lock, the others wait and read it. Tests copy what they change.
"""

from __future__ import annotations

import fcntl
import hashlib
import io
import json
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import astuple, dataclass
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from nnie_pipeline.cli import run
from tests.tiny_models import two_convolutions

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

    @property
    def json(self) -> Any:
        """Standard output, which has to be JSON and nothing else."""
        return json.loads(self.out)


@dataclass(frozen=True)
class Build:
    """A finished `nnie run`: its folder and how the command ended."""

    folder: Path
    ran: Ran


Cli = Callable[..., Ran]


def command(*arguments: str | Path) -> list[str]:
    """The words that start `nnie` in a process."""
    return [sys.executable, "-m", "nnie_pipeline", *map(str, arguments)]


def nnie(*arguments: str | Path, **options: Any) -> Ran:
    """Run the command line in a process of its own; `options` as `subprocess.run` has them."""
    done = subprocess.run(
        command(*arguments),
        capture_output=True,
        text=True,
        timeout=_LONGEST_SECONDS,
        check=False,
        **options,
    )
    return Ran(done.returncode, done.stdout, done.stderr)


def here(*arguments: str | Path) -> Ran:
    """Run the command line in this process, which saves the imports."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err), pytest.raises(SystemExit) as ended:
        run([str(x) for x in arguments])
    return Ran(int(ended.value.code or 0), out.getvalue(), err.getvalue())


@pytest.fixture
def cli(capfd: pytest.CaptureFixture[str]) -> Cli:
    """As `here`, with what libraries print past Python as well."""

    def run_here(*arguments: str | Path) -> Ran:
        capfd.readouterr()
        with pytest.raises(SystemExit) as ended:
            run([str(x) for x in arguments])
        out, err = capfd.readouterr()
        return Ran(int(ended.value.code or 0), out, err)

    return run_here


def once(factory: pytest.TempPathFactory, name: str, make: Callable[[Path], None]) -> Path:
    """A folder that `make` filled, once for all workers of this session."""
    base = factory.getbasetemp()
    # The parent is one session's only under xdist; else older sessions share it.
    root = base.parent if "PYTEST_XDIST_WORKER" in os.environ else base
    place, done = root / f"once-{name}", root / f"once-{name}.done"
    with (root / f"once-{name}.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not done.exists():
            shutil.rmtree(place, ignore_errors=True)
            place.mkdir()
            make(place)
            done.touch()
    return place


def built_once(factory: pytest.TempPathFactory, name: str, *arguments: str) -> Build:
    """The build of `nnie run ARGUMENTS`."""

    def make(place: Path) -> None:
        ran = nnie("run", *arguments, "--build", place / "build")
        (place / "ran.json").write_text(json.dumps(astuple(ran)), encoding="utf-8")

    place = once(factory, name, make)
    ran = Ran(*json.loads((place / "ran.json").read_text(encoding="utf-8")))
    folders = list((place / "build").glob("*"))
    assert len(folders) == 1, ran
    return Build(folders[0], ran)


@pytest.fixture(scope="session")
def build(tmp_path_factory: pytest.TempPathFactory) -> Build:
    """`nnie run retinaface --size 320`: not to be changed."""
    return built_once(tmp_path_factory, "320", "retinaface", "--size", "320")


@pytest.fixture(scope="session")
def build_folder(build: Build) -> Path:
    """The folder of `build`: not to be changed."""
    assert build.ran.status == 0, build.ran
    return build.folder


@pytest.fixture(scope="session")
def small_build(tmp_path_factory: pytest.TempPathFactory) -> Build:
    """`nnie run retinaface --size 128`: not to be changed."""
    return built_once(tmp_path_factory, "128", "retinaface", "--size", "128")


@pytest.fixture(scope="session")
def large_build(tmp_path_factory: pytest.TempPathFactory) -> Build:
    """`nnie run retinaface --size 640`: not to be changed."""
    return built_once(tmp_path_factory, "640", "retinaface", "--size", "640")


@pytest.fixture(scope="session")
def tiny_folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """tiny.onnx, pictures of noise, a good run of it, raw/ and ready/ networks, x.npy."""

    def make(folder: Path) -> None:
        two_convolutions(folder / "tiny.onnx")
        pictures(folder / "pics")
        np.save(folder / "x.npy", np.ones((1, 3, 32, 32), np.float32))
        for step in (
            ("run", "tiny.onnx", "--images", "pics"),
            ("convert", "tiny.onnx", "--out", "raw"),
            ("rewrite", "raw/tiny.prototxt", "raw/tiny.caffemodel", "--out", "ready"),
        ):
            ran = nnie(*step, cwd=folder)
            assert ran.status == 0, ran

    return once(tmp_path_factory, "tiny", make)


@pytest.fixture
def tiny(tmp_path: Path, tiny_folder: Path) -> Path:
    """A copy of `tiny_folder` as `tmp_path`."""
    return Path(shutil.copytree(tiny_folder, tmp_path, dirs_exist_ok=True))


def pictures(folder: Path, count: int = 2, seed: int = 0) -> Path:
    """A new folder of pictures of noise."""
    folder.mkdir()
    random = np.random.default_rng(seed)
    for number in range(count):
        noise = random.integers(0, 256, (40, 50, 3), dtype=np.uint8)
        assert cv2.imwrite(str(folder / f"{number}.png"), noise)
    return folder


def hashes(folder: Path) -> dict[str, str]:
    """What is in `folder`: files by their path with a hash, folders with a slash."""
    return {
        str(x.relative_to(folder)): hashlib.sha256(x.read_bytes()).hexdigest()
        if x.is_file()
        else "/"
        for x in sorted(folder.rglob("*"))
    }

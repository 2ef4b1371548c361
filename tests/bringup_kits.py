"""The kit for a board that the tests of one session share."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.builds import Build, Ran, nnie, once


@pytest.fixture(scope="session")
def kit_run(small_build: Build, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Ran]:
    """`nnie bringup` of `small_build` into a folder of its own, and how it ended."""

    def make(place: Path) -> None:
        ran = nnie("bringup", small_build.folder, "--out", place / "kit", "--count", "2")
        assert ran.status == 0, ran
        (place / "out.txt").write_text(ran.out, encoding="utf-8")

    place = once(tmp_path_factory, "kit", make)
    return place, Ran(0, (place / "out.txt").read_text(encoding="utf-8"), "")


@pytest.fixture(scope="session")
def kit(kit_run: tuple[Path, Ran]) -> Path:
    """The kit: not to be changed."""
    return kit_run[0] / "kit"

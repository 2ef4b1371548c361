"""What the tests share, and the rule that a missing part is counted, never hidden."""

from __future__ import annotations

import os
import signal
from pathlib import Path

import pytest

from tests.bringup_kits import kit, kit_run
from tests.builds import build, build_folder, cli, large_build, small_build, tiny, tiny_folder

__all__ = [
    "build",
    "build_folder",
    "cli",
    "kit",
    "kit_run",
    "large_build",
    "small_build",
    "tiny",
    "tiny_folder",
]

NO_SKIP = os.environ.get("NNIE_NO_SKIP") == "1"

# A shell starts what it puts behind "&" with SIGINT ignored, and programs inherit that: without
# this, tests of Ctrl-C would fail in a suite that runs in the background.
signal.signal(signal.SIGINT, signal.default_int_handler)


def missing(what: str) -> None:
    """Skip the test because `what` is not there; with NNIE_NO_SKIP=1 fail instead."""
    if NO_SKIP:
        pytest.fail(f"NNIE_NO_SKIP=1, but {what} is missing")
    pytest.skip(f"{what} is missing")


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder of test data that NNIE_TEST_DATA names."""
    folder = os.environ.get("NNIE_TEST_DATA")
    if not folder:
        missing("test data (set NNIE_TEST_DATA)")
    return Path(str(folder))


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    skipped = terminalreporter.stats.get("skipped", [])
    if skipped:
        reasons = sorted({str(report.longrepr[2]).removeprefix("Skipped: ") for report in skipped})
        terminalreporter.write_line(f"notice: {len(skipped)} tests skipped: {'; '.join(reasons)}")

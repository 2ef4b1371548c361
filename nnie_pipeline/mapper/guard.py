"""Ends a program when the one that started it is gone, however that ended.

A script of its own, standard library only: `guard.py [COMMAND ...]`. It leads the process group
that the program joins and reads its standard input, which the starter alone holds open. When that
closes (a kill -9 closes it too) it runs COMMAND, for what signals do not reach, and ends the group.
"""

from __future__ import annotations

import contextlib
import os
import signal
import subprocess
import sys
import time

PATIENCE = 5.0
"""Seconds between asking a program to end and ending it."""


def main(stop: list[str]) -> None:
    """Wait for the end of standard input, then end this process's group."""
    for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
    while os.read(0, 1 << 10):
        pass
    if stop:
        with contextlib.suppress(OSError, subprocess.SubprocessError):
            subprocess.run(stop, timeout=PATIENCE, check=False)
    group = os.getpgrp()
    os.killpg(group, signal.SIGTERM)
    time.sleep(PATIENCE)
    os.killpg(group, signal.SIGKILL)


if __name__ == "__main__":
    main(sys.argv[1:])

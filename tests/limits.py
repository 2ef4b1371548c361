"""What a machine may refuse: room, file sizes, rights."""

from __future__ import annotations

import ctypes
import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

_PR_CAPBSET_DROP = 24
_CAP_DAC_OVERRIDE = 1


def small_files() -> None:
    """For `preexec_fn`: no file may grow over 100 kB."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))


class _NoSpecialRights:
    """For `preexec_fn`: root loses the right to write where permissions forbid it."""

    @property
    def works(self) -> bool:
        if os.geteuid() != 0:
            return True
        program = [sys.executable, "-c", "open('/proc/self/status').read()"]
        return subprocess.run(program, preexec_fn=self, check=False).returncode == 0

    def __call__(self) -> None:
        if os.geteuid() == 0 and ctypes.CDLL(None).prctl(_PR_CAPBSET_DROP, _CAP_DAC_OVERRIDE):
            os._exit(9)


no_special_rights = _NoSpecialRights()


@contextmanager
def full_device(place: Path, content: Path, left: int) -> Iterator[Path | None]:
    """A device at `place` with a copy of `content` and so many free bytes; None without rights."""
    place.mkdir()
    used = sum(-(-x.stat().st_size // 4096) + 1 for x in content.rglob("*")) * 4096
    mount = ["mount", "-t", "tmpfs", "-o", f"size={used + (8 << 20)}", "tmpfs", str(place)]
    try:
        done = subprocess.run(mount, capture_output=True, check=False).returncode == 0
    except OSError:
        done = False
    if not done:
        yield None
        return
    try:
        shutil.copytree(content, place, dirs_exist_ok=True)
        free = os.statvfs(place).f_bavail * os.statvfs(place).f_frsize
        (place / "filler").write_bytes(bytes(free - left))
        yield place
    finally:
        subprocess.run(["umount", str(place)], check=True)

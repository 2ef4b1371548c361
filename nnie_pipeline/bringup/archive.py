"""A folder as a .tar.gz that is the same, byte for byte, whenever its files are."""

from __future__ import annotations

import gzip
import io
import stat
import tarfile
from pathlib import Path

_TIME = 946_684_800
"""2000-01-01: tar programs warn of the year 1970."""


def pack(folder: Path, name: str) -> bytes:
    """The files of `folder` under `name`/, sorted, without owners and times."""
    plain = io.BytesIO()
    with tarfile.open(fileobj=plain, mode="w", format=tarfile.GNU_FORMAT) as tar:
        for path in sorted(folder.rglob("*"), key=lambda x: x.relative_to(folder).as_posix()):
            entry = tarfile.TarInfo(f"{name}/{path.relative_to(folder).as_posix()}")
            entry.mtime = _TIME
            if path.is_dir():
                entry.type, entry.mode = tarfile.DIRTYPE, 0o755
                tar.addfile(entry)
                continue
            runs = path.stat().st_mode & stat.S_IXUSR
            entry.mode = 0o755 if runs else 0o644
            entry.size = path.stat().st_size
            with path.open("rb") as file:
                tar.addfile(entry, file)
    packed = io.BytesIO()
    with gzip.GzipFile(filename="", mode="wb", fileobj=packed, compresslevel=6, mtime=0) as zipped:
        zipped.write(plain.getbuffer())
    return packed.getvalue()

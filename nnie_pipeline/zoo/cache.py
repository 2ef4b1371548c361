"""What was fetched stays in the user's cache folder, one file each, named by its sha256."""

from __future__ import annotations

import os
from pathlib import Path

from nnie_pipeline.errors import InputError
from nnie_pipeline.files import added_files
from nnie_pipeline.zoo.index import hash_file


def cache_folder() -> Path:
    """$XDG_CACHE_HOME/nnie-pipeline, or ~/.cache/nnie-pipeline.

    A relative XDG_CACHE_HOME is ignored, as the XDG base directory specification asks.
    """
    configured = Path(os.environ.get("XDG_CACHE_HOME", ""))
    base = configured if configured.is_absolute() else Path.home() / ".cache"
    return base / "nnie-pipeline"


def cached(sha256: str) -> Path | None:
    """The cached file of this hash, or None if there is none that still has it."""
    path = cache_folder() / sha256
    try:
        return path if hash_file(path) == sha256 else None
    except OSError:
        return None


def store(sha256: str, data: bytes) -> Path:
    """Keep `data`, whose hash the caller has checked.

    Raises:
        InputError: the cache folder cannot be written.
    """
    try:
        with added_files(cache_folder()) as folder:
            (folder / sha256).write_bytes(data)
    except InputError as error:
        raise InputError(
            f"{error} (the cache; XDG_CACHE_HOME names another place for it)"
        ) from error
    return cache_folder() / sha256

"""pip's own configuration, so that weights come from where the user's packages come from.

Precedence as in pip's documentation ("Configuration"): files (as `pip config list` merges
them), sections global then install then download, then environment variables PIP_*.
"""

from __future__ import annotations

import ast
import functools
import os
import re
import subprocess
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from nnie_pipeline.zoo.transfer import Access

_PYPI = "https://pypi.org/simple"
_LINE = re.compile(r"(global|install|download)\.([A-Za-z0-9_-]+)=(.*)")
_SECTIONS = ("global", "install", "download")
_NO = {"", "0", "no", "n", "off", "false", "f"}
_SECONDS = 30


@dataclass(frozen=True)
class PipSettings:
    """Places to look for archives, as addresses, and how to reach them.

    `links` are folders or pages that list archives, `indexes` follow the simple repository
    API (PEP 503, PEP 691).
    """

    links: tuple[str, ...]
    indexes: tuple[str, ...]
    access: Access


def pip_settings(environ: Mapping[str, str] = os.environ) -> PipSettings:
    """The settings that pip in this Python would use; without pip those of `environ`."""
    listed = _list(sys.executable, os.environ.get("PIP_CONFIG_FILE"))
    return _settings(parse_list(listed) | _from(environ))


def parse_list(text: str) -> dict[str, str]:
    """Names and values in the output of `pip config list`.

    Lines that say something else, and those of environment variables, are passed over.
    """
    found: dict[str, dict[str, str]] = {section: {} for section in _SECTIONS}
    for line in text.splitlines():
        match = _LINE.fullmatch(line.strip())
        if match is None:
            continue
        try:
            value = ast.literal_eval(match[3])
        except (ValueError, SyntaxError, RecursionError, MemoryError):
            continue
        if isinstance(value, str) and value:
            found[match[1]][match[2].lower().replace("_", "-")] = value
    return found["global"] | found["install"] | found["download"]


@functools.cache  # it takes half a second, and every archive asks
def _list(python: str, _config_file: str | None) -> str:
    command = [python, "-m", "pip", "--no-color", "--disable-pip-version-check"]
    try:
        done = subprocess.run(
            [*command, "config", "list"],
            capture_output=True,
            text=True,
            timeout=_SECONDS,
            check=False,
            stdin=subprocess.DEVNULL,
        )
    except (OSError, subprocess.TimeoutExpired):
        return ""
    return done.stdout if done.returncode == 0 else ""


def _from(environ: Mapping[str, str]) -> dict[str, str]:
    return {
        name.removeprefix("PIP_").lower().replace("_", "-"): value
        for name, value in environ.items()
        if name.startswith("PIP_") and value
    }


def _settings(values: Mapping[str, str]) -> PipSettings:
    indexes: tuple[str, ...] = ()
    if values.get("no-index", "").lower() in _NO:
        main = values.get("index-url") or values.get("pypi-url") or _PYPI
        indexes = (main.strip(), *values.get("extra-index-url", "").split())
    timeout = values.get("timeout") or values.get("default-timeout") or ""
    return PipSettings(
        links=tuple(_address(place) for place in values.get("find-links", "").split()),
        indexes=tuple(_address(index.rstrip("/")) for index in indexes),
        access=Access(
            timeout=float(timeout) if re.fullmatch(r"[1-9]\d{0,4}", timeout) else 15.0,
            cert=values.get("cert"),
            client_cert=values.get("client-cert"),
            proxy=values.get("proxy"),
            trusted=frozenset(values.get("trusted-host", "").split()),
        ),
    )


def _address(place: str) -> str:
    if re.match(r"[A-Za-z][A-Za-z0-9+.-]+:", place):
        return place
    return Path(os.path.abspath(os.path.expanduser(place))).as_uri()

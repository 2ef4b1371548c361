"""Pictures of the build folder as data URIs, small enough for a page that is mailed."""

from __future__ import annotations

import base64
from itertools import product
from pathlib import Path

import cv2
import numpy as np

LARGEST = 120_000
"""Bytes a picture may have as it is; a larger one is written smaller."""

_SIDES = (1000, 700, 500)
_QUALITIES = (85, 75, 60, 45)
_LARGEST_FILE = 1 << 28


def data_uri(folder: Path, name: str) -> str | None:
    """The picture `name` in `folder`; None when it is not there or is no picture.

    `name` comes out of a JSON file: it has to be a plain file name, so that nothing outside
    the folder gets onto a page that is passed on.
    """
    path = folder / name
    if not name or Path(name).name != name or path.is_symlink():
        return None
    try:
        if path.stat().st_size > _LARGEST_FILE:
            return None
        data = path.read_bytes()
    except (OSError, ValueError):
        return None
    picture = _decoded(data)
    if picture is None:
        return None
    if len(data) > LARGEST or not data.startswith(b"\xff\xd8"):
        data = _smaller(picture)
    return "data:image/jpeg;base64," + base64.b64encode(data).decode("ascii")


def _decoded(data: bytes) -> np.ndarray | None:
    try:
        return cv2.imdecode(np.frombuffer(data, np.uint8), cv2.IMREAD_COLOR) if data else None
    except cv2.error:  # more pixels than OpenCV takes
        return None


def _smaller(picture: np.ndarray) -> bytes:
    data = b""
    for side, quality in product(_SIDES, _QUALITIES):
        factor = min(1.0, side / max(picture.shape[:2]))
        resized = cv2.resize(picture, None, fx=factor, fy=factor, interpolation=cv2.INTER_AREA)
        _, made = cv2.imencode(".jpg", resized, [cv2.IMWRITE_JPEG_QUALITY, quality])
        data = made.tobytes()
        if len(data) <= LARGEST:
            break
    return data

"""How fast calibration pictures are written."""

from __future__ import annotations

import os
import sys
import tempfile
import time
from pathlib import Path

import cv2

from nnie_pipeline.calibration.geometry import place
from nnie_pipeline.calibration.network_input import InputSpec
from nnie_pipeline.calibration.pictures import PictureFile, find_pictures, read_picture
from nnie_pipeline.calibration.sets import write_set
from nnie_pipeline.calibration.sources import chosen_of

Row = dict[str, str | int | float]
_COUNT = 1000
_A_SECOND = 150
_SIZE = (640, 640)
_SPEC = InputSpec("BGR", (104, 117, 123), (1, 1, 1), "letterbox", "top-left", (114, 114, 114))


def measure() -> list[Row]:
    """1000 JPEG files of 1280x720 to 640x640: the whole set, and the choice of thirty."""
    folder = os.environ.get("NNIE_TEST_DATA")
    if not folder:
        sys.stdout.write("left out: calibration needs test data (set NNIE_TEST_DATA)\n")
        return []
    with tempfile.TemporaryDirectory(prefix="nnie-bench-") as scratch:
        pictures = _pictures(Path(folder) / "images" / "crowd", Path(scratch))
        started = time.perf_counter()
        write_set(pictures, _SPEC, _SIZE, Path(scratch) / "set")
        written = time.perf_counter() - started
        started = time.perf_counter()
        chosen_of(pictures, 30)
        chosen = time.perf_counter() - started
    return [
        {
            "name": f"{_COUNT} pictures of 1280x720 to 640x640",
            "ours_s": written,
            "limit_s": _COUNT / _A_SECOND,
            "pictures_a_second": _COUNT / written,
        },
        {
            "name": f"30 chosen of {_COUNT} pictures of 1280x720",
            "ours_s": chosen,
            "limit_s": _COUNT / _A_SECOND,
        },
    ]


def _pictures(folder: Path, scratch: Path) -> list[PictureFile]:
    """As many files as asked for, each of its own, of a few photographs."""
    found = []
    encoded = []
    for item in find_pictures(folder):
        canvas, _ = place(read_picture(item.path)[0], (720, 1280), "crop")
        encoded.append(cv2.imencode(".jpg", canvas, [cv2.IMWRITE_JPEG_QUALITY, 90])[1].tobytes())
    for number in range(_COUNT):
        path = scratch / f"{number:04}.jpg"
        path.write_bytes(encoded[number % len(encoded)])
        found.append(PictureFile(path, path.name))
    return found

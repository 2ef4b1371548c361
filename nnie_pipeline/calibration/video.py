"""Frames of a video, decoded by OpenCV."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import cv2
import numpy as np

from nnie_pipeline.calibration import LARGEST_PIXELS
from nnie_pipeline.calibration.geometry import Picture
from nnie_pipeline.errors import InputError

VIDEOS = frozenset(
    {".mp4", ".m4v", ".mov", ".avi", ".mkv", ".webm", ".mpg", ".mpeg", ".ts", ".wmv", ".flv"}
)
"""Files with these suffixes are read as videos."""

_MOST_FRAMES = 1 << 31


def stated_frames(path: Path) -> int:
    """How many frames the video says it has; 0 where it says nothing."""
    video = cv2.VideoCapture(str(path.resolve()), cv2.CAP_FFMPEG)
    try:
        stated = video.get(cv2.CAP_PROP_FRAME_COUNT)
        return int(stated) if 0 < stated < _MOST_FRAMES else 0
    finally:
        video.release()


def frames(path: Path, every: int, last: int | None = None) -> Iterator[tuple[int, Picture]]:
    """Number and picture (H, W, 3) in B, G, R of every `every`-th frame, from frame 0 on.

    A rotation that the file states is applied. Ends behind frame `last`, if given.

    Raises:
        InputError: `every` is below 1, no video that OpenCV can read, or frames that are too
            large.
    """
    if every < 1:
        raise InputError(f"--every {every}: write 1 or more, 25 is one frame a second")
    # The file's own path, so that no name is taken for a pattern of pictures or an address.
    video = cv2.VideoCapture(str(path.resolve()), cv2.CAP_FFMPEG)
    try:
        if not video.isOpened():
            raise InputError(
                f"video {path} cannot be read: cut off, or of a kind that is not known; convert it "
                "to .mp4 (H.264)"
            )
        sides = video.get(cv2.CAP_PROP_FRAME_WIDTH), video.get(cv2.CAP_PROP_FRAME_HEIGHT)
        if sides[0] * sides[1] > LARGEST_PIXELS:
            raise InputError(f"video {path} has frames of {sides[0]:g}x{sides[1]:g} pixels")
        number = 0
        while (last is None or number <= last) and video.grab():
            if number % every == 0:
                done, frame = video.retrieve()
                if not done:
                    break
                yield number, np.asarray(frame, np.uint8)
            number += 1
        if number == 0:
            raise InputError(f"video {path} holds no frame; convert it to .mp4 (H.264)")
    finally:
        video.release()

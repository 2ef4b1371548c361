"""From pictures to what the network and the board read."""

import os

LARGEST_PIXELS = 100_000_000
"""A picture of more pixels is refused: decoded it takes 300 MB."""

# OpenCV reads its bound once, while it is being loaded; a package's own file runs before
# any of its modules, so this stands before their first `import cv2`.
os.environ.setdefault("OPENCV_IO_MAX_IMAGE_PIXELS", str(LARGEST_PIXELS))
# A video that FFmpeg stumbles over is reported in one line, not in its own many.
os.environ.setdefault("OPENCV_FFMPEG_LOGLEVEL", "-8")

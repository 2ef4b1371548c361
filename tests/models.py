"""The real networks and photographs that tests run on, fetched once into the user's cache."""

from __future__ import annotations

import functools
from pathlib import Path

from nnie_pipeline.zoo.fetch import fetch
from nnie_pipeline.zoo.pictures import Picture, default_pictures
from nnie_pipeline.zoo.spec import load_spec


@functools.cache
def retinaface_onnx() -> Path:
    """The ONNX file of the zoo's RetinaFace."""
    return fetch(load_spec("retinaface")).path


@functools.cache
def photographs() -> dict[str, Picture]:
    """The default calibration pictures by name."""
    return {x.name: x for x in default_pictures()}

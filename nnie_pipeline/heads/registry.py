"""The heads that decode a network's outputs, by the name that a spec gives them."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from nnie_pipeline.errors import InputError
from nnie_pipeline.heads.embedding import Embedding
from nnie_pipeline.heads.retinaface import RetinaFace
from nnie_pipeline.heads.retinaface_mxnet import RetinaFaceMxnet
from nnie_pipeline.heads.scrfd import SCRFD
from nnie_pipeline.heads.ultraface import UltraFace
from nnie_pipeline.heads.yolox import YOLOX

Detector = RetinaFace | RetinaFaceMxnet | SCRFD | UltraFace | YOLOX
Head = Detector | Embedding

_HEADS: dict[str, type[Head]] = {
    "retinaface": RetinaFace,
    "retinaface-mxnet": RetinaFaceMxnet,
    "scrfd": SCRFD,
    "ultraface": UltraFace,
    "yolox": YOLOX,
    "embedding": Embedding,
}


def head(decoder: str, parameters: Mapping[str, Any]) -> Head:
    """The head `decoder` with `parameters` (the fields of its class).

    Raises:
        InputError: no such head, or a parameter it does not have.
    """
    if decoder not in _HEADS:
        raise InputError(f"head {decoder!r} is not known; known: {', '.join(sorted(_HEADS))}")
    try:
        return _HEADS[decoder](**parameters)
    except TypeError as error:
        raise InputError(f"head {decoder}: {error}") from error

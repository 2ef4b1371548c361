"""Embeddings: the vector by which a recogniser tells whether two pictures show one person.

Two embeddings are compared by the cosine between them (ArcFace, Deng et al.,
arXiv:1801.07698), so their length carries nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from nnie_pipeline.errors import InputError
from nnie_pipeline.heads.detections import Floats
from nnie_pipeline.heads.maps import Map


@dataclass(frozen=True)
class Embedding:
    """The head of a recogniser; it has no parameters."""

    def embed(self, maps: Iterable[Map]) -> Floats:
        """(E,) of length 1 from the network's one output of E values, whatever its shape.

        An output of zeros only stays zero.

        Raises:
            InputError: there are several outputs.
        """
        found = list(maps)
        if len(found) != 1:
            raise InputError(
                f"embedding head: 1 output is needed, not {len(found)}; correct the spec's outputs"
            )
        vector: Floats = found[0].reshape(-1).astype(np.float64)
        length = np.linalg.norm(vector)
        return vector / length if length else vector


def cosine(left: Floats, right: Floats) -> float:
    """The cosine between two embeddings (E,) of length 1; 0 where one is zero.

    Raises:
        ValueError: they have different numbers of values.
    """
    return float(left @ right)

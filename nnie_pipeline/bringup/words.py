"""Values as the SDK's sample writes them: int32 of 20.12 fixed point, `%08x`, one a line."""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from nnie_pipeline.caffe.net import Array
from nnie_pipeline.errors import InputError
from nnie_pipeline.quant.gfpq import round_q20_12

Words = npt.NDArray[np.int32]

FACTOR = 4096
"""A value of 1.0 (HiSVP API reference: outputs are SQ20.12)."""


def to_words(values: Array) -> Words:
    """The words (n,) of float32 values in the order N, C, H, W, rounded and saturated.

    Raises:
        InputError: a value is NaN, which no word can hold.
    """
    if np.isnan(values).any():
        raise InputError("an output holds NaN, which no board can write; see nnie diagnose")
    exact = round_q20_12(values).reshape(-1).astype(np.float64) * FACTOR
    return exact.astype(np.int32)


def to_hex(words: Words) -> bytes:
    """The words as text: 8 hexadecimal digits of two's complement and a line end each."""
    return words.astype(">u4").tobytes().hex("\n", 4).encode("ascii") + b"\n"

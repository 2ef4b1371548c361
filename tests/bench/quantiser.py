"""How fast the number format is beside HiSilicon's own quantiser."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable

import numpy as np

from nnie_pipeline.errors import InputError
from nnie_pipeline.quant import gfpq
from tests.peers import INIT, GfpqParameters, libgfpq

VALUES = 10_000_000
RUNS = 9


def measure(bits: int = 8) -> dict[str, str | int | float]:
    """The best wall-clock time of several alternating runs on the same random values.

    Both find z from the data and quantise. The library works in place, ours makes a new
    array; copying the data for the library is not timed.

    Raises:
        InputError: the library is not to be had on this machine.
    """
    peer = libgfpq()
    if peer is None:
        raise InputError("libgfpq cannot be loaded: it needs Linux x86-64 and a package index")
    x = np.random.default_rng(1).standard_normal(VALUES).astype(np.float32)
    gfpq.quantize(x, bits)
    ours, theirs = [], []
    for _ in range(RUNS):
        ours.append(_seconds(functools.partial(gfpq.quantize, x, bits)))
        copy = x.copy()
        theirs.append(_seconds(functools.partial(peer, copy, bits, GfpqParameters(INIT))))
    return {
        "name": f"quantise, {bits} bits",
        "peer": "libgfpq 1.1.5",
        "values": VALUES,
        "ours_s": min(ours),
        "peer_s": min(theirs),
        "ratio": min(theirs) / min(ours),
    }


def _seconds(work: Callable[[], object]) -> float:
    start = time.perf_counter()
    work()
    return time.perf_counter() - start

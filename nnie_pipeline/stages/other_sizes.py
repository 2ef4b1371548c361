"""What to say where a network does not hold at a size."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TypeVar

from nnie_pipeline.errors import InputError, NnieError

E = TypeVar("E", bound=NnieError)


def with_sizes(error: E, size: tuple[int, int], near: Sequence[tuple[int, int]]) -> E | InputError:
    """`error` with the nearest (height, width) at which the network holds, if there are any."""
    if not near:
        return error
    named = " or ".join(str(h) if h == w else f"{h}x{w}" for h, w in near)
    return InputError(
        f"size {size[0]}x{size[1]}: the network does not hold at it; use {named} ({error})"
    )

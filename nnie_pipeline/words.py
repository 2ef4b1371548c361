"""Words for what is printed."""

from __future__ import annotations


def counted(count: int, noun: str) -> str:
    """ "1 picture", "2 pictures": how many of what; `noun` takes an s where there are several."""
    return f"{count} {noun}" if count == 1 else f"{count} {noun}s"

"""How numbers are written on the page."""

from __future__ import annotations

import math
from collections.abc import Sequence

NOTHING = "–"


def number(value: float | None, digits: int = 3) -> str:
    """At most `digits` decimals; very small and very large numbers with an exponent."""
    if value is None or not math.isfinite(value):
        return NOTHING
    if value != 0 and not 10.0**-digits <= abs(value) < 1e6:
        return f"{value:.1e}"
    return f"{value:.{digits}f}"


def exponent(value: float | None) -> str:
    """0, or two digits and an exponent: 1.2e-07."""
    if value is None or not math.isfinite(value):
        return NOTHING
    return "0" if value == 0 else f"{value:.1e}"


def short(value: float) -> str:
    """As few digits as the number needs: 104, 0.5, 0.0078125."""
    return f"{value:.10g}"


def cosine(value: float | None) -> str:
    """Six decimals, never rounded up to 1 or over a threshold: 0.9999999 is not 1."""
    if value is None or not math.isfinite(value):
        return NOTHING
    return f"{math.floor(value * 1e6) / 1e6:.6f}"


def decimals(value: float | None) -> str:
    """Two decimals."""
    return NOTHING if value is None or not math.isfinite(value) else f"{value:.2f}"


def pixels(value: float | None) -> str:
    """Two decimals and the unit: 0.52 px."""
    return NOTHING if value is None else f"{decimals(value)} px"


def count(value: int) -> str:
    """With a comma between thousands."""
    return f"{value:,}"


def size(value: int) -> str:
    """Bytes in the unit that suits: 1.7 MB, 334 B."""
    for unit, factor in (("GB", 10**9), ("MB", 10**6), ("kB", 10**3)):
        if value >= factor:
            return f"{value / factor:.1f} {unit}"
    return f"{value} B"


def shape(value: Sequence[int]) -> str:
    """1×3×640×640."""
    return "×".join(map(str, value))

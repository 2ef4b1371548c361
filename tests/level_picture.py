"""The pictures of the number format in the documentation: `python -m tests.level_picture`.

Every mark is a number that `quant.gfpq` gave back, nothing is drawn from a formula.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from nnie_pipeline.files import write_text
from nnie_pipeline.quant import gfpq

LEVELS = Path("docs") / "levels.svg"
ERROR = Path("docs") / "level-error.svg"

_WIDTH = 820
_LEFT, _RIGHT = 70, 800
_OCTAVES = 13
_COLOURS = {8: "#c2410c", 16: "#1d4ed8"}
_STYLE = (
    "<style>text{font:13px sans-serif;fill:#333}.small{font-size:11px}"
    ".axis{stroke:#888;stroke-width:1}.grid{stroke:#ddd;stroke-width:1}</style>"
)


def levels_of(bits: int) -> np.ndarray:
    """All numbers, ascending, that an array with the largest magnitude 1 can hold."""
    x = np.concatenate([np.geomspace(2.0**-_OCTAVES, 1, 200_000), np.array([0.0])])
    found, _ = gfpq.quantize(np.concatenate([-x, x]).astype(np.float32), bits)
    return np.unique(found)


def relative_error(bits: int, x: np.ndarray) -> np.ndarray:
    """Error of each of `x` (0 to 1) as a share of it, in an array whose largest number is 1."""
    values = np.append(x, 1).astype(np.float32)
    found, _ = gfpq.quantize(values, bits)
    exact = values.astype(np.float64)
    share: np.ndarray = np.abs(found - exact)[:-1] / exact[:-1]
    return share


def levels() -> str:
    """The 8-bit levels on an even scale, in full and enlarged, beside those of linear int8."""
    log = levels_of(8)
    linear = np.arange(-127, 128) / 127
    parts = []
    rows = (
        ("NNIE, 8 bit", log, 1.0, _COLOURS[8]),
        ("linear int8", linear, 1.0, "#666"),
        ("NNIE, x 16", log, 1 / 16, _COLOURS[8]),
        ("linear, x 16", linear, 1 / 16, "#666"),
    )
    for row, (title, values, most, colour) in enumerate(rows):
        y = 40 + row * 62
        shown = values[np.abs(values) <= most]
        marks = "".join(f"M{_across(v / most):.1f} {y}v28" for v in shown)
        parts.append(f'<path d="{marks}" stroke="{colour}" stroke-width="0.7"/>')
        parts.append(f'<text x="110" y="{y + 18}" text-anchor="end">{title}</text>')
        edge = "1" if most == 1 else "1/16"
        for share, text in ((-1, f"-{edge}"), (0, "0"), (1, edge)):
            x = _across(share)
            parts.append(
                f'<text class="small" x="{x}" y="{y + 42}" text-anchor="middle">{text}</text>'
            )
    text = f"{len(log)} levels, -max to max: many near zero, where linear int8 has few"
    parts.append(f'<text x="{_across(0)}" y="22" text-anchor="middle">{text}</text>')
    return _svg(300, parts, "Where the 8-bit levels lie, beside those of linear int8")


def error() -> str:
    """The relative error below the largest magnitude: the largest of each 1/40 octave."""
    x = np.geomspace(2.0**-_OCTAVES, 1, 52_000, endpoint=False)
    linear = np.abs(np.round(x * 127) / 127 - x) / x
    parts = []
    for power in range(-3, 1):
        y = _up(10.0**power)
        parts.append(f'<path class="grid" d="M{_LEFT} {y}H{_RIGHT}"/>')
        parts.append(
            f'<text x="{_LEFT - 8}" y="{y + 4}" text-anchor="end">{100 * 10.0**power:g} %</text>'
        )
    for octave in range(_OCTAVES + 1):
        at = _along(2.0**-octave)
        parts.append(f'<path class="grid" d="M{at:.1f} 30V290"/>')
        label = "max" if octave == 0 else f"/{2**octave}"
        parts.append(
            f'<text class="small" x="{at:.1f}" y="306" text-anchor="middle">{label}</text>'
        )
    curves = (("linear int8", "#999", linear), *(
        (f"NNIE, {bits} bit", colour, relative_error(bits, x)) for bits, colour in _COLOURS.items()
    ))  # fmt: skip
    for row, (title, colour, share) in enumerate(curves):
        blocks = zip(x.reshape(-1, 100)[:, 50], share.reshape(-1, 100).max(axis=1), strict=True)
        line = " ".join(f"{_along(a):.1f},{_up(b):.1f}" for a, b in blocks)
        parts.append(f'<polyline points="{line}" fill="none" stroke="{colour}" stroke-width="2"/>')
        parts.append(
            f'<text x="{_RIGHT - 120}" y="{50 + 20 * row}" style="fill:{colour}">{title}</text>'
        )
    parts.append('<text x="70" y="20">largest error nearby, as a share of the number</text>')
    parts.append(
        f'<text x="{(_LEFT + _RIGHT) / 2}" y="328" text-anchor="middle">'
        "the number, as a share of the array's largest magnitude</text>"
    )
    return _svg(340, parts, "The relative error of 8 and 16 bit numbers by magnitude")


def _across(share: float) -> float:
    """Place of -1 to 1."""
    return 465 + 335 * share


def _along(share: float) -> float:
    """Place of the largest magnitude (right) down to 13 octaves below it."""
    return _RIGHT + (_RIGHT - _LEFT) * float(np.log2(share)) / _OCTAVES


def _up(share: float) -> float:
    """Height of an error from 0.1 % to 100 %, smaller ones at the foot."""
    return 290 - 260 * (max(float(np.log10(max(share, 1e-3))), -3.0) + 3) / 3


def _svg(height: int, parts: list[str], title: str) -> str:
    head = (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" role="img">'
        f"<title>{title}</title>{_STYLE}"
        f'<rect width="{_WIDTH}" height="{height}" fill="#fff"/>'
    )
    return "\n".join([head, *parts, "</svg>"]) + "\n"


def main() -> None:
    """Write both pictures into the checkout in the current folder."""
    write_text(LEVELS, levels())
    write_text(ERROR, error())


if __name__ == "__main__":
    main()

"""How far mode fixed is from mode float, measured while it is dumped.

`modes.json` beside the dump holds:

| key | value |
|---|---|
| `bits` | 8, 16 or "mixed" |
| `assumptions` | the switches that are not at their default |
| `layers` | of each value: `layer`, `type`, `blob`, `cosine`, `max_abs`, `sqnr_db` |
| `outputs` | over the network's outputs: `count`, and the worst of each of these numbers |

Mode float is the reference; what is infinite (`sqnr_db` without a difference) is null.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator, Mapping
from typing import Any, Literal

from nnie_pipeline.caffe.files import caffe_names
from nnie_pipeline.caffe.net import Array, Net
from nnie_pipeline.compare.metrics import Difference, difference
from nnie_pipeline.quant.assumptions import Assumptions
from nnie_pipeline.quant.widths import Bits

FILE = "modes.json"


def measured(
    fixed: Iterable[tuple[str, Array]],
    plain: Iterator[tuple[str, Array]],
    found: dict[str, Difference],
) -> Iterator[tuple[str, Array]]:
    """Pass `fixed` on and put into `found` how far each value is from that of `plain`.

    Both have the same values; within an operation their order may differ.
    """
    waiting: dict[str, Array] = {}
    for name, array in fixed:
        while name not in waiting:
            other, value = next(plain)
            waiting[other] = value
        found[name] = difference(waiting.pop(name), array)
        yield name, array


def mode_record(
    net: Net,
    found: Mapping[str, Difference],
    bits: Bits | Literal["mixed"],
    assumptions: Assumptions,
) -> dict[str, Any]:
    """What modes.json holds."""
    names = caffe_names(net)
    layers = [
        {"layer": layer.name, "type": layer.type, "blob": names[top], **_numbers([found[top]])}
        for layer in net.layers
        for top in layer.tops
        if top in found
    ]
    outputs = [found[x] for x in net.outputs if x in found]
    return {
        "bits": bits,
        "assumptions": assumptions.changed(),
        "layers": layers,
        "outputs": {"count": len(outputs), **_numbers(outputs)},
    }


def described(record: Mapping[str, Any]) -> str:
    """The outputs' numbers in a line."""
    outputs = record["outputs"]
    noise, largest = outputs["sqnr_db"], outputs["max_abs"]
    return (
        f"mode fixed against mode float, {outputs['count']} outputs: least cosine "
        f"{outputs['cosine']:.6f}, largest difference "
        f"{'infinite' if largest is None else f'{largest:.4g}'}, least signal to noise "
        f"{'infinite' if noise is None else f'{noise:.1f} dB'}; {FILE} has every layer"
    )


def _numbers(parts: Iterable[Difference]) -> dict[str, float | None]:
    chosen = list(parts)
    return {
        "cosine": min((x.cosine for x in chosen), default=1.0),
        "max_abs": _finite(max((x.max_abs for x in chosen), default=0.0)),
        "sqnr_db": _finite(min((x.sqnr_db for x in chosen), default=math.inf)),
    }


def _finite(number: float) -> float | None:
    return number if math.isfinite(number) else None

"""The range (z) of every quantised input, from calibration pictures."""

from __future__ import annotations

import math
import operator
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from nnie_pipeline.caffe.net import Array, Net
from nnie_pipeline.chips.segments import HP_MARKER
from nnie_pipeline.errors import InputError
from nnie_pipeline.quant import gfpq
from nnie_pipeline.quant.gfpq_format import number_format, require_z
from nnie_pipeline.quant.operations import RANGED, Operation
from nnie_pipeline.quant.widths import WIDTHS

_PICTURE_Z = {8: 0, 16: -384}
"""z of a picture's pixels (data_scale 1): the smallest level is 1 with 8 bits and 1/8 with 16.

Read off the scale words and layer tables of two compiled RetinaFace; a compiled CenterFace with
data_scale 1/256 has z 8 octaves lower.
"""


@dataclass(frozen=True)
class Ranges:
    """z of the bottoms of each layer by its name, for 8 and 16 bits, in the bottoms' order.

    `pictures` is how many were run, `rule` how z was chosen ("maximum", "percentile 99.9",
    "imported"). `scales` is the data_scale of each input of the network that is a picture;
    inputs that are none have no entry.
    """

    z: dict[int, dict[str, tuple[int, ...]]]
    pictures: int
    rule: str = "maximum"
    scales: dict[str, float] = field(default_factory=dict)

    def of(self, layer: str, bits: int, count: int) -> tuple[int, ...]:
        """The offsets of the `count` bottoms of a layer; a mark `_hp` may have come later.

        Raises:
            InputError: they are not known.
        """
        table = self.z.get(bits, {})
        found = table.get(layer, table.get(layer.removesuffix(HP_MARKER)))
        if found is not None and len(found) == 1:
            found = found * count
        if found is None or len(found) != count:
            raise InputError(
                f"the ranges hold no {bits}-bit range for layer {layer}; they belong to "
                "another network: calibrate again"
            )
        return found

    def to_json(self) -> dict[str, Any]:
        """The content of `ranges.json`."""
        return {
            "pictures": self.pictures,
            "rule": self.rule,
            "scales": self.scales,
            "z": {str(k): {x: list(y) for x, y in v.items()} for k, v in self.z.items()},
        }

    @staticmethod
    def from_json(value: Any, where: str) -> Ranges:
        """Read what `to_json` wrote; `where` names the file in an error.

        Raises:
            InputError: not the content of a ranges file.
        """
        try:
            z = {
                int(bits): {str(k): _offsets(v, int(bits)) for k, v in table.items()}
                for bits, table in value["z"].items()
            }
            scales = {str(k): _scale(v) for k, v in value.get("scales", {}).items()}
            rule = value.get("rule", "maximum")
            if not isinstance(rule, str):
                raise TypeError("its rule is no text")
            return Ranges(z, operator.index(value["pictures"]), rule, scales)
        except (KeyError, TypeError, ValueError, AttributeError, InputError) as error:
            raise InputError(
                f"{where} holds no ranges ({type(error).__name__}: {error}); write it with "
                "nnie simulate or nnie run"
            ) from error


def _offsets(value: Any, bits: int) -> tuple[int, ...]:
    """One offset, or one for each bottom."""
    values = value if isinstance(value, list) else [value]
    if not values:
        raise ValueError("a layer without an offset")
    return tuple(require_z(number_format(bits), x) for x in values)


def _scale(value: Any) -> float:
    number = float(value)
    if not (math.isfinite(number) and number > 0):
        raise ValueError(f"{value} is no data_scale")
    return number


def picture_z(scale: float, bits: int) -> int:
    """The offset of a picture whose pixels (less their mean) are multiplied by `scale`.

    Seen with scales that are powers of two; that others are rounded down is assumed.
    """
    form = number_format(bits)
    z = _PICTURE_Z[bits] + math.floor(form.steps * math.log2(scale))
    return max(-form.z_limit, min(form.z_limit, z))


def offsets(step: Operation, bits: int, ranges: Ranges, fixed: bool, shared: bool) -> list[int]:
    """The offset that each bottom of a quantising operation is read with.

    With `fixed` a picture has its own; with `shared` all bottoms have the largest.

    Raises:
        InputError: `ranges` does not know the layer.
    """
    bottoms = step.leader.bottoms
    found = list(ranges.of(step.leader.name, bits, len(bottoms)))
    if fixed:
        for i, name in enumerate(bottoms):
            if name in ranges.scales:
                found[i] = picture_z(ranges.scales[name], bits)
    return [max(found)] * len(found) if shared else found


class RangeRecorder:
    """Collects ranges picture by picture with the quantiser's own update rule.

    `scales` is the data_scale of each input that is a picture.
    """

    rule = "maximum"

    def __init__(self, net: Net, scales: Mapping[str, float] | None = None) -> None:
        self._bottoms = ranged_bottoms(net)
        self._scales = dict(scales or {})
        self._z: dict[int, dict[str, int]] = {bits: {} for bits in WIDTHS}
        self._pictures = 0

    @property
    def values(self) -> list[str]:
        """The values that `add` needs."""
        return list(dict.fromkeys(x for bottoms in self._bottoms.values() for x in bottoms))

    def add(self, values: Mapping[str, Array]) -> None:
        """Take in the values of one picture's float run."""
        for name in self.values:
            largest = gfpq.largest_magnitude(values[name])
            for bits, table in self._z.items():
                z = gfpq.range_z(largest, bits)
                table[name] = max(z, table.get(name, z))
        self._pictures += 1

    def ranges(self) -> Ranges:
        """What was collected.

        Raises:
            InputError: no picture was added.
        """
        require_pictures(self._pictures)
        return by_layer(self._bottoms, self._z, self._pictures, self.rule, self._scales)


def ranged_bottoms(net: Net) -> dict[str, list[str]]:
    """The bottoms of each layer that ranges are recorded for."""
    return {x.name: list(x.bottoms) for x in net.layers if x.type in RANGED}


def require_pictures(count: int) -> None:
    """Raise InputError when no picture was run."""
    if not count:
        raise InputError("no calibration picture was run; ranges need at least one")


def by_layer(
    bottoms: Mapping[str, Sequence[str]],
    z: Mapping[int, Mapping[str, int]],
    pictures: int,
    rule: str,
    scales: Mapping[str, float],
) -> Ranges:
    """`Ranges` of what is known of each value."""
    tables = {
        bits: {layer: tuple(table[x] for x in names) for layer, names in bottoms.items()}
        for bits, table in z.items()
    }
    return Ranges(tables, pictures, rule, dict(scales))

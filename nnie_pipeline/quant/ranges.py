"""The range (z) of every quantised input, from calibration pictures."""

from __future__ import annotations

import operator
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from nnie_pipeline.caffe.net import Array, Net
from nnie_pipeline.errors import InputError
from nnie_pipeline.quant import gfpq
from nnie_pipeline.quant.gfpq_format import number_format, require_z
from nnie_pipeline.quant.operations import operations

WIDTHS = (8, 16)


@dataclass(frozen=True)
class Ranges:
    """z of each quantised layer's bottoms by its name, for 8 and 16 bits."""

    z: dict[int, dict[str, int]]
    pictures: int

    def to_json(self) -> dict[str, Any]:
        """The content of `ranges.json`."""
        return {"pictures": self.pictures, "z": {str(k): v for k, v in self.z.items()}}

    @staticmethod
    def from_json(value: Any, where: str) -> Ranges:
        """Read what `to_json` wrote; `where` names the file in an error.

        Raises:
            InputError: not the content of a ranges file.
        """
        try:
            z = {
                int(bits): {
                    str(k): require_z(number_format(int(bits)), v) for k, v in table.items()
                }
                for bits, table in value["z"].items()
            }
            return Ranges(z, operator.index(value["pictures"]))
        except (KeyError, TypeError, ValueError, AttributeError, InputError) as error:
            raise InputError(
                f"{where} holds no ranges ({type(error).__name__}: {error}); write it with "
                "nnie simulate or nnie run"
            ) from error


class RangeRecorder:
    """Collects ranges picture by picture with the quantiser's own update rule."""

    def __init__(self, net: Net) -> None:
        self._bottoms = {
            x.leader.name: list(dict.fromkeys(x.leader.bottoms))
            for x in operations(net)
            if x.quantises
        }
        self._z: dict[int, dict[str, int]] = {bits: {} for bits in WIDTHS}
        self._pictures = 0

    @property
    def values(self) -> list[str]:
        """The values that `add` needs."""
        return list(dict.fromkeys(x for bottoms in self._bottoms.values() for x in bottoms))

    def add(self, values: Mapping[str, Array]) -> None:
        """Take in the values of one picture's float run."""
        for bits, table in self._z.items():
            found = {x: gfpq.range_z(values[x], bits) for x in self.values}
            for layer, bottoms in self._bottoms.items():
                z = max(found[x] for x in bottoms)
                table[layer] = max(z, table.get(layer, z))
        self._pictures += 1

    def ranges(self) -> Ranges:
        """What was collected.

        Raises:
            InputError: no picture was added.
        """
        if not self._pictures:
            raise InputError("no calibration picture was run; ranges need at least one")
        return Ranges({bits: dict(table) for bits, table in self._z.items()}, self._pictures)

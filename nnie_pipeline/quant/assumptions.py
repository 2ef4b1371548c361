"""What the simulation takes the chip's arithmetic to be, a switch for each open point.

docs/simulation.md gives the source of every default, or says that it is assumed.
"""

from __future__ import annotations

import difflib
from collections.abc import Iterable
from dataclasses import dataclass, fields, replace
from typing import Any, Literal, get_args, get_type_hints

from nnie_pipeline.errors import InputError


@dataclass(frozen=True)
class Assumptions:
    """The switches; each field lists its values, the default first to be tried.

    `picture`: z of a picture at the network's input, fixed or calibrated like any other.
    `eltwise`: whether each bottom of an Eltwise has its own z, or all share the largest.
    `concat`: whether a Concat joins Q20.12 numbers or quantised ones of one z.
    `pooling`: whether a Pooling reads quantised numbers or Q20.12.
    `fused`: which BatchNorm, Scale, Bias and activation layers are one operation with the layer
    before them: all that stand behind it, only those in place, or none.
    `depthwise`: whether the weights of a depthwise convolution have a z a channel or one.
    `equal_weights`: whether weights that are all equal are stored exactly or quantised.
    `bias`, `scale`, `shift`: whether bias, output factor and BatchNorm shift are rounded to the
    words that a compiled file holds.
    `coefficients`: how slopes and coefficients become Q20.12.
    `outputs`: how the results of operations become Q20.12.
    `products`: in mode fixed, how a product enters the sum: as the nearest whole unit, the one
    below it in magnitude, or to 1/65536 of a unit.
    """

    picture: Literal["fixed", "calibrated"] = "fixed"
    eltwise: Literal["own", "shared"] = "own"
    concat: Literal["q20_12", "quantised"] = "q20_12"
    pooling: Literal["quantised", "q20_12"] = "quantised"
    fused: Literal["behind", "in_place", "none"] = "behind"
    depthwise: Literal["channel", "layer"] = "channel"
    equal_weights: Literal["exact", "quantised"] = "exact"
    bias: Literal["word", "exact"] = "word"
    scale: Literal["word", "exact"] = "word"
    shift: Literal["word", "exact"] = "word"
    coefficients: Literal["toward_zero", "nearest", "exact"] = "toward_zero"
    outputs: Literal["nearest", "down", "exact"] = "nearest"
    products: Literal["nearest", "down", "exact"] = "nearest"

    def changed(self) -> dict[str, str]:
        """The switches that are not at their default."""
        usual = Assumptions()
        found = {x.name: str(getattr(self, x.name)) for x in fields(self)}
        return {k: v for k, v in found.items() if v != getattr(usual, k)}


USUAL = Assumptions()


def parse_assumptions(settings: Iterable[str]) -> Assumptions:
    """`Assumptions` with the switches of `settings` ("NAME=VALUE") set.

    Raises:
        InputError: not of that form, or a name or value that there is not.
    """
    kinds = get_type_hints(Assumptions)
    found = USUAL
    for text in settings:
        name, _, value = text.partition("=")
        if name not in kinds:
            near = difflib.get_close_matches(name, kinds, n=1)
            hint = f"did you mean {near[0]}?" if near else f"there are {', '.join(kinds)}"
            raise InputError(f"--assume {text}: no switch is called {name!r}; {hint}")
        values = get_args(kinds[name])
        if value not in values:
            raise InputError(f"--assume {text}: write {name}= one of {', '.join(values)}")
        change: dict[str, Any] = {name: value}
        found = replace(found, **change)
    return found

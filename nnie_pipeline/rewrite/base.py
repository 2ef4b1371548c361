"""What a pass is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from nnie_pipeline.caffe.net import Net


@dataclass(frozen=True)
class InputForm:
    """What stands in front of a network: (pixel - mean) * scale, one number a channel each."""

    mean: tuple[float, ...]
    scale: tuple[float, ...]

    @property
    def is_plain(self) -> bool:
        """Whether the network reads pixels as they are."""
        return not any(self.mean) and all(x == 1 for x in self.scale)

    def __str__(self) -> str:
        """In words, with the numbers to write into a spec."""
        said = [
            f"{name} {', '.join(f'{x:.9g}' for x in values)}"
            for name, values, idle in (("mean", self.mean, 0), ("scale", self.scale, 1))
            if any(x != idle for x in values)
        ]
        return f"(pixel - mean) * scale with {' and '.join(said)}" if said else "pixels 0 to 255"


@dataclass
class Changes:
    """What a pass did: one line for each place it changed, and what it renamed.

    `values` maps old to new names of values, `layers` old to new names of layers. A pass that
    takes a part of what is done with pixels into the network says in `input` what is left, and
    in `as_before` how the new network is given the inputs of the old one.
    """

    lines: list[str] = field(default_factory=list)
    values: dict[str, str] = field(default_factory=dict)
    layers: dict[str, str] = field(default_factory=dict)
    input: InputForm | None = None
    as_before: Callable[[Net], Net] | None = None

    def rename(self, old: str, new: str) -> None:
        """Note that a value changed its name, which may be a new name given before."""
        sources = [x for x, y in self.values.items() if y == old] or [old]
        self.values.update(dict.fromkeys(sources, new))


Apply = Callable[[Net], Changes]


@dataclass(frozen=True)
class Pass:
    """A rewrite of a `Net`, which it changes.

    `arithmetic` says that weights change, so that outputs may differ by float rounding;
    any other pass must leave every output bit for bit. `reason` is the rule or fact that
    asks for the pass. `new_outputs` says that it may take other values as the outputs, or in
    another order.
    """

    name: str
    apply: Apply
    arithmetic: bool
    reason: str
    new_outputs: bool = False

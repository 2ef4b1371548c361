"""What a pass is."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from nnie_pipeline.caffe.net import Net


@dataclass
class Changes:
    """What a pass did: one line for each place it changed, and what it renamed.

    `values` maps old to new names of values, `layers` old to new names of layers.
    """

    lines: list[str] = field(default_factory=list)
    values: dict[str, str] = field(default_factory=dict)
    layers: dict[str, str] = field(default_factory=dict)

    def rename(self, old: str, new: str) -> None:
        """Note that a value changed its name, which may be a new name given before."""
        sources = [x for x, y in self.values.items() if y == old] or [old]
        self.values.update(dict.fromkeys(sources, new))


@dataclass(frozen=True)
class Pass:
    """A rewrite of a `Net`, which it changes.

    `arithmetic` says that weights change, so that outputs may differ by float rounding;
    any other pass must leave every output bit for bit. `reason` is the rule or fact that
    asks for the pass. `new_outputs` says that it may take other values as the outputs, or in
    another order.
    """

    name: str
    apply: Callable[[Net], Changes]
    arithmetic: bool
    reason: str
    new_outputs: bool = False

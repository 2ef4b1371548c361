"""The register of rules that a limit cannot express.

A condition gets the view and a place and yields one dict of message values for each way in
which the rule is broken; a condition on the whole network yields the index of the layer that
carries the finding as well (-1: the inputs).
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Any

from nnie_pipeline.chips.view import Place, View

Values = dict[str, Any]
LayerCondition = Callable[[View, Place], Iterable[Values]]
NetCondition = Callable[[View], Iterable[tuple[int, Values]]]

LAYER_CONDITIONS: dict[str, LayerCondition] = {}
NET_CONDITIONS: dict[str, NetCondition] = {}


def layer_rule(rule: str) -> Callable[[LayerCondition], LayerCondition]:
    """Register the condition of a rule that looks at one layer."""

    def register(condition: LayerCondition) -> LayerCondition:
        LAYER_CONDITIONS[rule] = condition
        return condition

    return register


def net_rule(rule: str) -> Callable[[NetCondition], NetCondition]:
    """Register the condition of a rule that looks at the whole network."""

    def register(condition: NetCondition) -> NetCondition:
        NET_CONDITIONS[rule] = condition
        return condition

    return register

"""The three kinds of rule that stand entirely in `rules.yaml`: limit, absent and follow."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from nnie_pipeline.caffe.net import Layer
from nnie_pipeline.chips.chip import Chip
from nnie_pipeline.chips.quantities import (
    Site,
    UnknownShapeError,
    Values,
    bound,
    field_written,
    measure,
)
from nnie_pipeline.chips.rule import Limit, Rule
from nnie_pipeline.chips.segments import is_marked_cpu
from nnie_pipeline.chips.view import View

_TRANSPARENT = frozenset({"Dropout"})


def compared(limit: Limit, site: Site, chip: Chip) -> Iterator[tuple[str, Any, Any, Any]]:
    """Name, value, smallest and largest (None where open) of all that a limit compares.

    Raises:
        UnknownShapeError: a shape that it needs is not known.
    """
    for quantity in limit.of:
        for name, value in measure(quantity, site).items():
            yield name, value, _end(limit.smallest, site, chip), _end(limit.largest, site, chip)


def outside(value: Any, smallest: Any, largest: Any) -> Any:
    """Whether a value (or each of an array) is below or above its limits."""
    below = False if smallest is None else value < smallest
    above = False if largest is None else value > largest
    return below | above


def over_limit(rule: Rule, site: Site, chip: Chip) -> Iterator[Values]:
    """The message values of every number that breaks the rule's limit.

    Of a layer's coefficients, of which there may be thousands, one finding counts all.
    """
    limit = rule.limit
    if limit is None:
        return
    broken = []
    for name, value, smallest, largest in compared(limit, site, chip):
        if limit.one_of is not None:
            breaks, wanted = value not in limit.one_of, _choice(limit.one_of)
        else:
            breaks, wanted = bool(outside(value, smallest, largest)), _range(smallest, largest)
        if breaks:
            broken.append((name, value, largest, wanted))
    more = ""
    if "coefficients" in limit.of and len(broken) > 1:
        more = f" (and {len(broken) - 1} more values)"
        broken = [max(broken, key=lambda x: abs(x[1]))]
    for name, value, largest, wanted in broken:
        values = {"value": _text(value), "max": largest, **_surroundings(site)}
        if not rule.message:
            values["message"] = f"{name} is {_text(value)}{more}; NNIE takes {wanted}"
        yield values


def written(rule: Rule, layer: Layer) -> Iterator[Values]:
    """The message values of every field that may not be written and is."""
    for field in rule.absent:
        if field_written(field, layer):
            yield {"message": f"{field.split('.')[1]} is written"}


def followers(rule: Rule, view: View) -> Iterator[tuple[int, Values]]:
    """The layers that may not follow the ones that the rule is about, with message values.

    A Dropout does nothing: what stands behind it follows what stands before it. A layer that
    the marker _cpu sends to the CPU follows nothing on the chip, and nothing there follows it.
    """
    for index, layer in enumerate(view.net.layers):
        if layer.type in _TRANSPARENT or is_marked_cpu(layer):
            continue
        for blob in dict.fromkeys(layer.bottoms):
            maker = _maker(view, blob)
            if maker is None or is_marked_cpu(maker) or not rule.concerns(maker.type):
                continue
            if layer.type in rule.forbid or (rule.only and layer.type not in rule.only):
                yield index, {"message": f"{layer.type} follows {maker.name} ({maker.type})"}


def _maker(view: View, blob: str) -> Layer | None:
    maker = view.producers.get(blob)
    while maker is not None and maker.type in _TRANSPARENT and maker.bottoms:
        maker = view.producers.get(maker.bottoms[0])
    return maker


def _end(end: float | str | None, site: Site, chip: Chip) -> Any:
    return bound(end, site, chip.limits) if isinstance(end, str) else end


def _surroundings(site: Site) -> Values:
    values: Values = {}
    try:
        _, values["channels"], values["height"], values["width"] = site.map()
        values["stride_h"], values["stride_w"] = site.window().stride
    except UnknownShapeError:
        pass
    return values


def _text(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    return f"{value:.6g}" if isinstance(value, float) else str(value)


def _range(smallest: Any, largest: Any) -> str:
    if smallest is None:
        return f"at most {_text(largest)}"
    if largest is None:
        return f"at least {_text(smallest)}"
    if smallest == largest:
        return _text(smallest)
    return f"{_text(smallest)} to {_text(largest)}"


def _choice(values: tuple[Any, ...]) -> str:
    *rest, last = [_text(x) for x in values]
    return f"{', '.join(rest)} or {last}" if rest else last

"""The check of a network against the rules of a chip."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from nnie_pipeline.caffe.files import read_net
from nnie_pipeline.caffe.net import Net
from nnie_pipeline.caffe.prototxt import prototxt_text
from nnie_pipeline.chips import conditions_layers, conditions_net, conditions_types
from nnie_pipeline.chips.chip import DEFAULT_CHIP, find_chip
from nnie_pipeline.chips.conditions import LAYER_CONDITIONS, NET_CONDITIONS, Values
from nnie_pipeline.chips.declared import followers, over_limit, written
from nnie_pipeline.chips.lines import name_lines
from nnie_pipeline.chips.quantities import UnknownShapeError
from nnie_pipeline.chips.rule import SEVERITIES, Rule, rules
from nnie_pipeline.chips.segments import is_marked_cpu
from nnie_pipeline.chips.view import Place, View, view_of

CONDITION_MODULES = (conditions_layers, conditions_net, conditions_types)
"""Importing these registers the conditions."""

_COMMENT_OR_STRING = re.compile(r'"(?:[^"\\\n]|\\.)*"|\'(?:[^\'\\\n]|\\.)*\'|#[^\n]*')
_PLACEHOLDER = re.compile(r"\{(\w+)\}")
_OLD_FORMS = {
    "old-input-dim": re.compile(r"(?m)(?:^|(?<=[\s}]))input_dim\s*:"),
    "old-layers-form": re.compile(r"(?m)(?:^|(?<=[\s}]))layers\s*:?\s*\{"),
    "training-layers": re.compile(
        r"""\btype\s*:\s*(?:(["'])\w*(?:Data|Loss|Accuracy)\1|\w*DATA\b|\w+_LOSS\b|ACCURACY\b)"""
    ),
}


@dataclass(frozen=True)
class Finding:
    """A rule that a layer breaks: the rule's id, the layer (or input), the severity (error,
    warning, hint), what was found with the numbers compared, and what to do. `line` is where the
    prototxt names the layer; 0: not known."""

    id: str
    layer: str
    severity: str
    message: str
    fix: str
    line: int = 0

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        return asdict(self)


def check(net: Net, chip: str = DEFAULT_CHIP) -> list[Finding]:
    """Every rule that `net` breaks on `chip`, in layer order, errors first within a layer.

    Raises:
        InputError: the chip is not known; names the known ones.
    """
    found_chip = find_chip(chip)
    table = [x for x in rules() if x.holds_for(found_chip.nnie)]
    known = frozenset(x for rule in table for x in rule.known)
    view = view_of(net, found_chip, known)
    inputs = list(net.inputs)
    found = []
    for rule in table:
        for index, name, values in _broken(rule, view):
            place = (index, inputs.index(name) if index < 0 else 0)
            found.append((place, SEVERITIES.index(rule.severity), _finding(rule, name, values)))
    found.sort(key=lambda x: x[:2])
    return [finding for _, _, finding in found]


def check_files(prototxt: Path, caffemodel: Path | None, chip: str) -> list[Finding]:
    """Every rule that the files break on `chip`, old forms first, with the layers' lines.

    Without `caffemodel` the rules on weights (PReLU's slopes, CReLU's scales) are not checked.

    Raises:
        InputError: the chip is not known, or a file cannot be read.
    """
    net = read_net(prototxt, caffemodel, any_type=True)
    text = prototxt_text(prototxt)
    lines = name_lines(text)
    found = [replace(x, line=lines.get(x.layer, 0)) for x in check(net, chip)]
    return check_text(text) + found


def check_text(prototxt: str) -> list[Finding]:
    """Old forms in the text of a prototxt that reading it into a `Net` already mends.

    Args:
        prototxt: the text of the file.
    """
    bare = _COMMENT_OR_STRING.sub(lambda m: " " * len(m[0]), prototxt)
    no_comments = _COMMENT_OR_STRING.sub(
        lambda m: " " * len(m[0]) if m[0].startswith("#") else m[0], prototxt
    )
    by_id = {x.id: x for x in rules()}
    findings = []
    for rule_id, pattern in _OLD_FORMS.items():
        if match := pattern.search(no_comments if rule_id == "training-layers" else bare):
            line = bare.count("\n", 0, match.start()) + 1
            found = _finding(by_id[rule_id], "", {"line": line})
            findings.append(replace(found, line=line))
    return findings


def _broken(rule: Rule, view: View) -> Iterator[tuple[int, str, Values]]:
    """Place (inputs -1), layer name and message values of every breach of the rule."""
    if rule.forbid or rule.only or rule.id in NET_CONDITIONS:
        condition = NET_CONDITIONS.get(rule.id)
        breaches = followers(rule, view) if condition is None else condition(view)
        for index, values in breaches:
            layer = view.net.layers[index].name if index >= 0 else next(iter(view.net.inputs))
            yield index, layer, values
        return
    for place in view.places:
        if rule.concerns(place.layer.type) and (rule.cpu or not is_marked_cpu(place.layer)):
            for values in _breaches(rule, view, place):
                yield place.index, place.layer.name, values


def _breaches(rule: Rule, view: View, place: Place) -> list[Values]:
    condition = LAYER_CONDITIONS.get(rule.id)
    try:
        if rule.limit is not None:
            return list(over_limit(rule, place.site, view.chip))
        if rule.absent:
            return list(written(rule, place.layer))
        return [] if condition is None else list(condition(view, place))
    except UnknownShapeError:
        return []


def _finding(rule: Rule, layer: str, values: Values) -> Finding:
    message = values.get("message") or _filled(rule.message, values)
    return Finding(rule.id, layer, rule.severity, message, _filled(rule.fix, values))


def _filled(text: str, values: Values) -> str:
    """The text with {word} replaced; other braces (prototxt) stay."""
    return _PLACEHOLDER.sub(lambda m: str(values.get(m[1], m[0])), text)

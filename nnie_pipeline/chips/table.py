"""The rule table as a document: `python -m nnie_pipeline.chips.table > docs/rules.md`."""

from __future__ import annotations

import sys

from nnie_pipeline.chips.chip import chip_data, chip_sources
from nnie_pipeline.chips.rule import SEVERITIES, Limit, Rule, rules, sources


def markdown() -> str:
    """The text of `docs/rules.md`."""
    parts = [
        "# The NNIE rules\n\n"
        "Generated from `nnie_pipeline/chips/rules.yaml` by `python -m nnie_pipeline.chips.table`; "
        "do not edit.\n\n"
        "error: the mapper refuses it or the chip computes something else. "
        "warning: the sources disagree, or it is slow. hint: efficiency, or good to know.\n"
    ]
    for severity in SEVERITIES:
        table = [x for x in rules() if x.severity == severity]
        parts.append(f"## {severity}s ({len(table)})\n")
        parts.append("| rule | layers | what | fix | source |\n|---|---|---|---|---|")
        parts.append("\n".join(_row(x) for x in table) + "\n")
    parts.append("## Layer types that NNIE does not know\n")
    parts.append("\n".join(_remedies()) + "\n")
    parts.append("## Chips\n")
    parts.append(_chips())
    parts.append("## Sources\n")
    named = {**sources(), **chip_sources()}
    parts.append("\n".join(f"- {key}: {text}" for key, text in sorted(named.items())) + "\n")
    return "\n".join(parts)


def _remedies() -> list[str]:
    lines = []
    for rule in rules():
        lines += [f"- {layer_type}: {text}" for layer_type, text in rule.remedies.items()]
        lines += [f"- all others: {rule.remedy}"] if rule.remedy else []
    return lines


def _chips() -> str:
    lines = [
        "| chip | NNIE | mapper | versions seen | cores | TOPS | sources |",
        "|---|---|---|---|---|---|---|",
    ]
    for name, entry in chip_data().items():
        given = "; ".join(entry[f"{x}_source"] for x in ("nnie", "mapper", "cores", "tops"))
        versions = ", ".join(entry["mapper_versions"])
        cells = (
            name, entry["nnie"], entry["mapper"], versions, entry["cores"], entry["tops"], given
        )  # fmt: skip
        lines.append(f"| {' | '.join(str(x) for x in cells)} |")
    lines.append("\n| limit | value | source |\n|---|---|---|")
    # All chips have the same limits so far; the file allows others.
    limits = next(iter(chip_data().values()))["limits"]
    for name, limit in limits.items():
        lines.append(f"| `{name}` | {limit['value']} {limit['unit']} | {limit['source']} |")
    return "\n".join(lines) + "\n"


def _row(rule: Rule) -> str:
    text = f"{rule.text}{_limits(rule.limit)}{_lists(rule)}"
    fix = "see below" if rule.remedies else rule.fix
    cells = [f"`{rule.id}`", _layers(rule), text, fix, rule.source]
    return f"| {' | '.join(' '.join(x.split()).replace('|', chr(92) + '|') for x in cells)} |"


def _layers(rule: Rule) -> str:
    if not rule.types:
        return "the network"
    layers = ", ".join(rule.types)
    return f"{layers}; NNIE {', '.join(rule.nnie)} only" if rule.nnie else layers


def _limits(limit: Limit | None) -> str:
    if limit is None:
        return ""
    if limit.one_of is not None:
        wanted = f"one of {', '.join(str(x) for x in limit.one_of)}"
    else:
        ends = [("min", limit.smallest), ("max", limit.largest)]
        wanted = ", ".join(f"{name} {end}" for name, end in ends if end is not None)
    return f" ({', '.join(f'`{x}`' for x in limit.of)}: {wanted})"


def _lists(rule: Rule) -> str:
    text = ""
    if rule.absent:
        text += f" (not written: {', '.join(f'`{x}`' for x in rule.absent)})"
    if rule.forbid:
        text += f" (not behind it: {', '.join(rule.forbid)})"
    if rule.only:
        text += f" (only behind it: {', '.join(rule.only)})"
    if rule.known:
        text += f" (known: {', '.join(sorted(rule.known))})"
    return text


if __name__ == "__main__":
    sys.stdout.write(markdown())

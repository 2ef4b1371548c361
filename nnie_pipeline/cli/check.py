"""`nnie check`: a network against the rules of a chip."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nnie_pipeline.cli.common import console, existing_file, reported

if TYPE_CHECKING:
    from rich.table import Table

    from nnie_pipeline.chips.check import Finding

_COLOURS = {"error": "bold red", "warning": "yellow", "hint": "dim"}
_LISTED = {"error": 20, "warning": 4, "hint": 1}
"""How many findings of one rule the table lists; --json has all."""


@reported
def command(
    prototxt: Annotated[Path, typer.Argument(help="the network")],
    caffemodel: Annotated[
        Path | None, typer.Argument(help="its weights, for the rules on slopes and scales")
    ] = None,
    chip: Annotated[str, typer.Option(help="the chip it is for")] = "hi3516dv300",
    as_json: Annotated[bool, typer.Option("--json", help="print JSON")] = False,
) -> None:
    """List every NNIE rule that a network breaks; ends with 1 when one is an error."""
    from nnie_pipeline.chips.check import check_files
    from nnie_pipeline.chips.chip import find_chip
    from nnie_pipeline.files import to_json

    path = existing_file(prototxt, "network")
    weights = None if caffemodel is None else existing_file(caffemodel, "caffemodel")
    found_chip = find_chip(chip)
    findings = check_files(path, weights, chip)
    errors = sum(x.severity == "error" for x in findings)
    if as_json:
        typer.echo(to_json({"findings": [x.to_dict() for x in findings]}), nl=False)
    else:
        say = console()
        if findings:
            say.print(_table(findings, wide=say.is_terminal))
        counts = [f"{sum(x.severity == s for x in findings)} {s}s" for s in _COLOURS]
        verdict = "NNIE refuses it" if errors else "no rule of severity error is broken"
        say.print(
            f"{path.name} on {found_chip.name} (NNIE {found_chip.nnie}, {found_chip.mapper}): "
            f"{', '.join(counts)}; {verdict}",
            markup=False,
        )
    if errors:
        raise SystemExit(1)


def _table(findings: list[Finding], wide: bool) -> Table:
    """Errors, then warnings, then hints; one row a rule, with its first findings.

    `wide` takes all columns of the console.
    """
    from rich.table import Column, Table
    from rich.text import Text

    table = Table(
        Column("rule", no_wrap=True),
        Column("layer (line of the file): what was found", overflow="fold", ratio=5),
        Column("what to do", overflow="fold", ratio=3),
        expand=wide,
        show_lines=True,
    )
    # Errors have a row for each advice; of other rules the first finding's stands for all.
    advice: dict[str, str] = {}
    for finding in findings:
        advice.setdefault(finding.id, finding.fix)
    for severity, colour in _COLOURS.items():
        rules: dict[tuple[str, str], list[Finding]] = {}
        for finding in findings:
            if finding.severity == severity:
                fix = finding.fix if severity == "error" else advice[finding.id]
                rules.setdefault((finding.id, fix), []).append(finding)
        for (rule_id, fix), same in rules.items():
            listed = [_line(x) for x in same[: _LISTED[severity]]]
            if len(same) > len(listed):
                listed.append(f"and {len(same) - len(listed)} more (--json lists all)")
            rule = Text.assemble((severity, colour), f"\n{rule_id}")
            style = colour if severity == "hint" else ""
            table.add_row(rule, Text("\n".join(listed), style=style), Text(fix, style=style))
    return table


def _line(finding: Finding) -> str:
    place = f" ({finding.line})" if finding.line and finding.layer else ""
    layer = f"{finding.layer}{place}: " if finding.layer else ""
    return f"{layer}{finding.message}"

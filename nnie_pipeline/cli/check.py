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


@reported
def command(
    prototxt: Annotated[Path, typer.Argument(help="the network")],
    chip: Annotated[str, typer.Option(help="the chip it is for")] = "hi3516dv300",
    as_json: Annotated[bool, typer.Option("--json", help="print JSON")] = False,
) -> None:
    """List every NNIE rule that a network breaks; ends with 1 when one is an error."""
    from nnie_pipeline.caffe.files import read_net
    from nnie_pipeline.chips.check import check, check_text
    from nnie_pipeline.chips.chip import find_chip
    from nnie_pipeline.files import to_json

    path = existing_file(prototxt, "network")
    found_chip = find_chip(chip)
    net = read_net(path)
    findings = check_text(path.read_text(encoding="utf-8")) + check(net, chip)
    errors = sum(x.severity == "error" for x in findings)
    if as_json:
        typer.echo(to_json({"findings": [x.to_dict() for x in findings]}), nl=False)
    else:
        say = console()
        if findings:
            say.print(_table(findings))
        counts = [f"{sum(x.severity == s for x in findings)} {s}s" for s in _COLOURS]
        verdict = "NNIE refuses it" if errors else "no rule of severity error is broken"
        say.print(
            f"{path.name} on {found_chip.name} (NNIE {found_chip.nnie}, {found_chip.mapper}): "
            f"{', '.join(counts)}; {verdict}",
            markup=False,
        )
    if errors:
        raise SystemExit(1)


def _table(findings: list[Finding]) -> Table:
    """One row a finding; hints of one rule share a row, because there may be hundreds."""
    from rich.table import Column, Table
    from rich.text import Text

    table = Table(
        Column("layer", overflow="fold", ratio=2),
        Column("rule", overflow="fold", ratio=2),
        Column("finding and fix", overflow="fold", ratio=5),
        expand=True,
    )
    hints: dict[str, list[Finding]] = {}
    for finding in findings:
        if finding.severity == "hint":
            hints.setdefault(finding.id, []).append(finding)
        else:
            rule = Text.assemble((finding.severity, _COLOURS[finding.severity]), f"\n{finding.id}")
            table.add_row(Text(finding.layer), rule, Text(f"{finding.message}\n-> {finding.fix}"))
    for rule_id, same in hints.items():
        first = same[0]
        more = f"\nand {len(same) - 1} more" if len(same) > 1 else ""
        row = (f"{first.layer}{more}", f"hint\n{rule_id}", f"{first.message}\n-> {first.fix}")
        table.add_row(*(Text(x, style=_COLOURS["hint"]) for x in row))
    return table

"""`nnie wk`: the header of a compiled network."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nnie_pipeline.cli.common import console, existing_file, reported

if TYPE_CHECKING:
    from rich.table import Table

    from nnie_pipeline.wk.header import WkHeader


@reported
def command(
    file: Annotated[Path, typer.Argument(help="the .wk file")],
    as_json: Annotated[bool, typer.Option("--json", help="print JSON")] = False,
) -> None:
    """Show what a compiled .wk file is for: mapper, memory, inputs and outputs."""
    from nnie_pipeline.files import to_json
    from nnie_pipeline.wk.header import read_header

    header = read_header(existing_file(file, ".wk file"))
    if as_json:
        typer.echo(to_json(header.to_dict()), nl=False)
        return
    say = console()
    say.print(
        f"{file.name}: for the {'chip' if header.kind == 'chip' else 'functional simulation'}, "
        f"mapper {header.mapper or 'unknown'}, NNIE {header.nnie or 'unknown'}, "
        f"build {header.stamp or 'unknown'}, temporary memory {header.temporary_bytes:,} bytes",
        markup=False,
    )
    say.print(_table(header))


def _table(header: WkHeader) -> Table:
    from rich.table import Column, Table
    from rich.text import Text

    name = Column("name", overflow="fold")
    table = Table("segment", "", name, "height", "width", "channels", "type")
    for number, segment in enumerate(header.segments, start=1):
        for what, blobs in (("input", segment.inputs), ("output", segment.outputs)):
            for blob in blobs:
                numbers = (str(blob.height), str(blob.width), str(blob.channels))
                table.add_row(str(number), what, Text(blob.name), *numbers, blob.type)
    return table

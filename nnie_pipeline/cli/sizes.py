"""`nnie sizes`: the input sizes at which a network works on a chip."""

from __future__ import annotations

import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nnie_pipeline.cli.common import console, existing_file, reported
from nnie_pipeline.errors import InputError

if TYPE_CHECKING:
    from rich.table import Table

    from nnie_pipeline.chips.sizes import SizeRow

_HEADINGS = (
    "size", "outputs", "10^6 MACs", "memory 8 / 16 bit (MiB)", "ms 8 / 16 bit", "note"
)  # fmt: skip
_LARGEST_TABLE = 500
_MIB = 1 << 20


@reported
def command(
    prototxt: Annotated[Path, typer.Argument(help="the network")],
    smallest: Annotated[int, typer.Option("--min", help="smallest side in pixels")] = 128,
    largest: Annotated[int, typer.Option("--max", help="largest side in pixels")] = 1280,
    step: Annotated[int, typer.Option(help="sides are multiples of it")] = 8,
    square: Annotated[bool, typer.Option("--square", help="equal sides only")] = False,
    aspect: Annotated[str | None, typer.Option(help="width:height, for example 16:9")] = None,
    chip: Annotated[str, typer.Option(help="the chip it is for")] = "hi3516dv300",
    as_json: Annotated[bool, typer.Option("--json", help="print JSON")] = False,
) -> None:
    """List all valid input sizes with their cost."""
    from nnie_pipeline.caffe.files import read_net
    from nnie_pipeline.chips.chip import find_chip
    from nnie_pipeline.chips.sizes import valid_sizes
    from nnie_pipeline.files import to_json

    net = read_net(existing_file(prototxt, "network"))
    found_chip = find_chip(chip)
    ratio = None if aspect is None else _ratio(aspect)
    if square and ratio is not None:
        raise InputError("--square and --aspect exclude each other; give one of them")
    rows = valid_sizes(net, smallest, largest, step, square, ratio, chip)
    if as_json:
        typer.echo(to_json({"sizes": [x.to_dict() for x in rows]}), nl=False)
        return
    say = console()
    if len(rows) > _LARGEST_TABLE:
        typer.echo(_lines(rows))
    elif rows:
        say.print(_table(rows))
    own = " and ".join("x".join(map(str, x[2:])) for x in net.inputs.values() if len(x) == 4)
    say.print(
        f"{len(rows)} valid sizes from {smallest} to {largest} in steps of {step} on "
        f"{found_chip.name} (the file has {own}); times are estimates",
        markup=False,
    )


def _ratio(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"([1-9]\d{0,3}):([1-9]\d{0,3})", text.strip())
    if match is None:
        raise InputError(f"aspect {text!r} is not a ratio; write width:height, for example 16:9")
    return int(match[1]), int(match[2])


def _table(rows: list[SizeRow]) -> Table:
    from rich.table import Table

    table = Table(*_HEADINGS)
    for row in rows:
        table.add_row(*_cells(row))
    return table


def _lines(rows: list[SizeRow]) -> str:
    """The table as plain columns: laying out tens of thousands of rows takes half a minute."""
    cells = [_HEADINGS, *map(_cells, rows)]
    widths = [max(len(x[i]) for x in cells) for i in range(len(_HEADINGS))]
    padded = (
        "  ".join(x.ljust(width) for x, width in zip(row, widths, strict=True)) for row in cells
    )
    return "\n".join(x.rstrip() for x in padded)


def _cells(row: SizeRow) -> tuple[str, ...]:
    maps = ["x".join(str(n) for n in shape[2:] or shape[1:]) for _, shape in row.outputs]
    return (
        f"{row.height}x{row.width}",
        ", ".join(dict.fromkeys(maps)),
        f"{row.macs / 1e6:.0f}",
        f"{row.memory_8 / _MIB:.1f} / {row.memory_16 / _MIB:.1f}",
        f"{row.ms_8:.1f} / {row.ms_16:.1f}",
        row.note,
    )

"""`nnie compare`: two dumps, layer by layer."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nnie_pipeline.cli.common import console, fail, reported

if TYPE_CHECKING:
    from nnie_pipeline.compare.layers import Comparison


@reported
def command(
    left: Annotated[Path, typer.Argument(help="the reference: a dump folder")],
    right: Annotated[Path, typer.Argument(help="a dump folder")],
    as_json: Annotated[bool, typer.Option("--json", help="JSON on standard output")] = False,
    min_cosine: Annotated[
        float | None, typer.Option(help="end with status 1 when a layer lies below")
    ] = None,
) -> None:
    """Compare two dumps in execution order: cosine, maximum absolute error, relative distance."""
    from nnie_pipeline.compare.dumps import read_dump
    from nnie_pipeline.compare.layers import THRESHOLD, compare
    from nnie_pipeline.errors import InputError
    from nnie_pipeline.files import to_json

    if min_cosine is not None and not -1 <= min_cosine <= 1:
        raise InputError(f"--min-cosine {min_cosine:g}: a cosine lies between -1 and 1; try 0.99")
    threshold = THRESHOLD if min_cosine is None else min_cosine
    found = compare(read_dump(left), read_dump(right), threshold)
    if as_json:
        sys.stdout.write(to_json(found.to_json()))
    else:
        _print(found)
    worst = found.worst
    if min_cosine is not None and worst is not None and worst.cosine < min_cosine:
        fail(f"layer {worst.name} has cosine {worst.cosine:.5f}, below {min_cosine:g}", 1)


def _print(found: Comparison) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False)
    for title in ("layer", "type", "cosine", "max abs", "rel Euclid"):
        table.add_column(title, justify="left" if title in ("layer", "type") else "right")
    for x in found.layers:
        # RuyiStudio's colours: orange from 0.95 to 0.99, red below.
        style = "" if x.cosine >= 0.99 else "yellow" if x.cosine > 0.95 else "red"
        cells = (x.name, x.type, f"{x.cosine:.5f}", f"{x.max_abs:.4g}", f"{x.rel_euclid:.4f}")
        table.add_row(*(Text(cell, style=style) for cell in cells))
    say = console()
    say.print(table)
    first, worst = found.first_below, found.worst
    say.print(f"{found.left} against {found.right}, {len(found.layers)} layers", markup=False)
    if first is None:
        say.print(f"no layer below {found.threshold:g}")
    else:
        say.print(f"first below {found.threshold:g}: {first.name} ({first.cosine:.5f})")
    if worst is not None:
        say.print(f"worst: {worst.name} ({worst.cosine:.5f})", markup=False)
    for side, names in (("left", found.only_left), ("right", found.only_right)):
        if names:
            say.print(f"only on the {side}: {', '.join(names)}", markup=False)

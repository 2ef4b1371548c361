"""`nnie compare`: two dumps, layer by layer."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nnie_pipeline.cli.common import console, existing_file, fail, reported

if TYPE_CHECKING:
    from nnie_pipeline.compare.layers import Comparison

_SHOWN = 3


@reported
def command(
    left: Annotated[
        Path,
        typer.Argument(
            help="the reference: a dump folder, mapper_quant, a board's or simulator's "
            "seg*_layer*.linear.hex, or *_caffe.linear.float"
        ),
    ],
    right: Annotated[Path, typer.Argument(help="any of the same")],
    as_json: Annotated[bool, typer.Option("--json", help="JSON on standard output")] = False,
    html: Annotated[Path | None, typer.Option(help="write the comparison as a page")] = None,
    dot: Annotated[
        Path | None, typer.Option(help="cnn_net_tree.dot, which names a board's layers")
    ] = None,
    min_cosine: Annotated[
        float | None,
        typer.Option(
            help="end with status 1 when a layer lies below, has another shape, or an output has "
            "no partner"
        ),
    ] = None,
) -> None:
    """Compare two dumps of any kind in execution order, with RuyiStudio's metrics and more."""
    from nnie_pipeline.compare.layers import THRESHOLD, compare
    from nnie_pipeline.compare.open import open_dump
    from nnie_pipeline.errors import InputError
    from nnie_pipeline.files import to_json, write_text

    if min_cosine is not None and not -1 <= min_cosine <= 1:
        raise InputError(f"--min-cosine {min_cosine:g}: a cosine lies between -1 and 1; try 0.99")
    if dot is not None:
        existing_file(dot, "dot file")
    threshold = THRESHOLD if min_cosine is None else min_cosine
    found = compare(open_dump(left, dot), open_dump(right, dot), threshold)
    if html is not None:
        from nnie_pipeline.report.comparison import comparison_page

        write_text(html, comparison_page(found.to_json()))
    if as_json:
        sys.stdout.write(to_json(found.to_json()))
    else:
        _print(found)
    worst = found.worst
    if min_cosine is not None and worst is not None and worst.cosine < min_cosine:
        fail(f"layer {worst.name} has cosine {worst.cosine:.5f}, below {min_cosine:g}", 1)
    if min_cosine is not None and found.mismatched:
        first = found.mismatched[0]
        fail(
            f"layer {first.name} is {list(first.left)} on the left and {list(first.right)} on the "
            f"right: {first.reason}",
            1,
        )
    if min_cosine is not None and found.missing:
        fail(
            f"{found.missing[0]}; give whole dumps of one network, and cnn_net_tree.dot with --dot "
            "where layers have numbers only",
            1,
        )


def _print(found: Comparison) -> None:
    from rich.table import Table
    from rich.text import Text

    table = Table(box=None, pad_edge=False)
    for title in (
        "layer", "type", "cosine", "max abs", "mean abs", "rel Euclid", "SQNR dB", "histogram",
    ):  # fmt: skip
        table.add_column(title, justify="left" if title in ("layer", "type") else "right")
    colours = {"": "", "orange": "yellow", "red": "red"}
    for x in found.layers:
        cells = (
            x.name, x.type, f"{x.cosine:.5f}", f"{x.max_abs:.4g}", f"{x.mean_abs:.4g}",
            f"{x.rel_euclid:.4f}", f"{x.sqnr_db:.1f}", f"{x.overlap:.3f}",
        )  # fmt: skip
        table.add_row(*(Text(cell, style=colours[x.colour]) for cell in cells))
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
    for note in dict.fromkeys([*found.notes, *(x.note for x in found.layers if x.note)]):
        say.print(note, markup=False)
    for y in found.mismatched:
        say.print(
            f"{y.name}: {list(y.left)} on the left, {list(y.right)} on the right; {y.reason}",
            markup=False,
        )
    for side, names in (("left", found.only_left), ("right", found.only_right)):
        if names:
            say.print(f"only on the {side}: {', '.join(names)}", markup=False)
    for line in found.missing[:_SHOWN]:
        say.print(line, markup=False)

"""`nnie sizes`: the input sizes at which a network works on a chip."""

from __future__ import annotations

import math
import re
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nnie_pipeline.cli.common import console, existing_file, parse_size, reported
from nnie_pipeline.errors import InputError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rich.table import Table

    from nnie_pipeline.caffe.net import Net
    from nnie_pipeline.chips.size_rows import Anchors, SizeRow
    from nnie_pipeline.stages.found_shares import Share
    from nnie_pipeline.zoo.spec import Spec

_LARGEST_TABLE = 500
_MOST_RUN = 12
_MIB = 1 << 20


@reported
def command(
    model: Annotated[str, typer.Argument(help="a prototxt, a model of the zoo or a spec (.yaml)")],
    weights: Annotated[
        Path | None, typer.Argument(help="caffemodel of the prototxt, or weights of the model")
    ] = None,
    smallest: Annotated[int, typer.Option("--min", help="smallest side in pixels")] = 128,
    largest: Annotated[int, typer.Option("--max", help="largest side in pixels")] = 1280,
    step: Annotated[int, typer.Option(help="sides are multiples of it")] = 8,
    square: Annotated[bool, typer.Option("--square", help="equal sides only")] = False,
    aspect: Annotated[str | None, typer.Option(help="width:height, for example 16:9")] = None,
    at: Annotated[
        str | None, typer.Option(help="only these sizes: 512,640 or 480x640 (height x width)")
    ] = None,
    spec: Annotated[
        str | None, typer.Option(help="the prototxt's input and head: a zoo model or a .yaml")
    ] = None,
    images: Annotated[
        Path | None,
        typer.Option(
            help="run the detector on this folder's pictures at the sizes of --at (else at 12 "
            "spread over the range) and give the share of faces found: of all that it finds at "
            "any of these sizes, one face being boxes that overlap by more than 0.4"
        ),
    ] = None,
    chip: Annotated[str, typer.Option(help="the chip it is for")] = "hi3516dv300",
    as_json: Annotated[bool, typer.Option("--json", help="print JSON")] = False,
) -> None:
    """List all valid input sizes with their cost, and what a detector finds at each.

    Near faces are large and are found at a small, fast input; far faces need a large one. Anchors
    are given in pixels of a 1920x1080 picture. Milliseconds are estimates: a board may take 30 %
    more.
    """
    from nnie_pipeline.chips.chip import find_chip
    from nnie_pipeline.chips.sizes import valid_sizes
    from nnie_pipeline.files import to_json
    from nnie_pipeline.stages.sizes import anchors_of

    found_chip = find_chip(chip)
    ratio = None if aspect is None else _ratio(aspect)
    if square and ratio is not None:
        raise InputError("--square and --aspect exclude each other; give one of them")
    sizes = [] if at is None else [parse_size(x) for x in at.split(",")]
    net, known = _network(model, weights, spec)
    anchors = anchors_of(known.head if known is not None else None)
    if known is not None:
        step = math.lcm(max(step, 1), known.multiple_of)
    rows = valid_sizes(net, smallest, largest, step, square, ratio, chip, anchors, sizes)
    _all_valid(net, sizes, rows, chip)
    say = console()
    shares: dict[tuple[int, int], Share] = {}
    if images is not None:
        chosen = rows if sizes or square or ratio else [x for x in rows if x.height == x.width]
        chosen = _spread(chosen or rows)
        if len(chosen) < len(rows) and not as_json:
            say.print(f"the detector runs at {len(chosen)} of {len(rows)} sizes; --at names others")
        rows = chosen
        shares = _shares(net, known, images, rows)
    if as_json:
        listed = [{**x.to_dict(), **_found(shares, x)} for x in rows]
        typer.echo(to_json({"sizes": listed}), nl=False)
        return
    if len(rows) > _LARGEST_TABLE:
        typer.echo(_lines(rows, anchors, shares))
    elif rows:
        say.print(_table(rows, anchors, shares))
    own = " and ".join("x".join(map(str, x[2:])) for x in net.inputs.values() if len(x) == 4)
    asked = "of those asked for" if sizes else f"from {smallest} to {largest} in steps of {step}"
    stored = f", {rows[0].parameters:,} parameters" if rows else ""
    say.print(
        f"{len(rows)} valid sizes {asked} on {found_chip.name} (the file has {own}{stored}); "
        "times are estimates",
        markup=False,
    )


def _network(model: str, weights: Path | None, spec: str | None) -> tuple[Net, Spec | None]:
    """The network, and the spec that says how its outputs are read."""
    from nnie_pipeline.zoo.spec import load_spec

    if model.lower().endswith(".prototxt"):
        from nnie_pipeline.caffe.files import read_net
        from nnie_pipeline.stages.sizes import keep_known_outputs

        path = existing_file(Path(model), "network")
        caffemodel = None if weights is None else existing_file(weights, "caffemodel")
        known = None if spec is None else load_spec(spec)
        net = read_net(path, caffemodel)
        if known is not None:
            keep_known_outputs(net, known)
        return net, known
    if spec is not None:
        raise InputError(f"--spec is for a prototxt; {model} has a spec of its own")
    from nnie_pipeline.cli.download_bar import download_bar
    from nnie_pipeline.stages.sizes import network_of

    loaded = load_spec(model)
    with download_bar(loaded.name) as progress:
        return network_of(loaded, weights, progress), loaded


def _all_valid(
    net: Net, sizes: Sequence[tuple[int, int]], rows: Sequence[SizeRow], chip: str
) -> None:
    """Refuse a size of --at that is not valid."""
    from nnie_pipeline.chips.sizes import nearest_valid

    valid = {(x.height, x.width) for x in rows}
    for size in sizes:
        if size not in valid:
            near = " or ".join(f"{h}x{w}" for h, w in nearest_valid(net, size, chip))
            raise InputError(
                f"size {size[0]}x{size[1]} is not valid for this network on {chip}"
                + (f"; use {near}" if near else "; none near it is")
            )


def _spread(rows: Sequence[SizeRow]) -> list[SizeRow]:
    """At most `_MOST_RUN`, evenly spread, the first and the last among them."""
    if len(rows) <= _MOST_RUN:
        return list(rows)
    return [rows[round(i * (len(rows) - 1) / (_MOST_RUN - 1))] for i in range(_MOST_RUN)]


def _shares(
    net: Net, spec: Spec | None, images: Path, rows: Sequence[SizeRow]
) -> dict[tuple[int, int], Share]:
    from nnie_pipeline.calibration.pictures import find_pictures
    from nnie_pipeline.cli.progress import progress_bar
    from nnie_pipeline.cli.translate import head, input_spec
    from nnie_pipeline.heads.embedding import Embedding
    from nnie_pipeline.stages.found_shares import found_shares

    if spec is None:
        raise InputError("--images needs to know the network's input and head; give --spec")
    detector = head(spec)
    if detector is None or isinstance(detector, Embedding):
        raise InputError(f"--images is for detectors; {spec.name} finds no faces")
    if not any(x.weights for x in net.layers):
        raise InputError("--images runs the network; give its weights behind the model")
    sizes = [(x.height, x.width) for x in rows]
    pictures = find_pictures(images)
    with progress_bar("faces at each size") as progress:
        found = found_shares(net, sizes, pictures, input_spec(spec), detector, progress)
    return {x.size: x for x in found}


def _ratio(text: str) -> tuple[int, int]:
    match = re.fullmatch(r"([1-9]\d{0,3}):([1-9]\d{0,3})", text.strip())
    if match is None:
        raise InputError(f"aspect {text!r} is not a ratio; write width:height, for example 16:9")
    return int(match[1]), int(match[2])


def _found(shares: dict[tuple[int, int], Share], row: SizeRow) -> dict[str, object]:
    share = shares.get((row.height, row.width))
    return {} if share is None else {"faces": share.to_dict()}


def _headings(anchors: Anchors | None, shares: dict[tuple[int, int], Share]) -> list[str]:
    return [
        "size", "feature maps",
        *(["anchors"] if anchors is not None else []),
        *(["anchor side at 1920x1080"] if anchors is not None and anchors.smallest else []),
        *(["faces found", "smallest"] if shares else []),
        "10^6 MACs", "MiB 8 / 16 bit", "ms 8 / 16 bit", "note",
    ]  # fmt: skip


def _table(
    rows: list[SizeRow], anchors: Anchors | None, shares: dict[tuple[int, int], Share]
) -> Table:
    from rich.table import Table

    table = Table(*_headings(anchors, shares))
    for row in rows:
        table.add_row(*_cells(row, shares))
    return table


def _lines(
    rows: list[SizeRow], anchors: Anchors | None, shares: dict[tuple[int, int], Share]
) -> str:
    """The table as plain columns: laying out tens of thousands of rows takes half a minute."""
    cells = [_headings(anchors, shares), *(_cells(x, shares) for x in rows)]
    widths = [max(map(len, column)) for column in zip(*cells, strict=True)]
    padded = (
        "  ".join(x.ljust(width) for x, width in zip(row, widths, strict=True)) for row in cells
    )
    return "\n".join(x.rstrip() for x in padded)


def _cells(row: SizeRow, shares: dict[tuple[int, int], Share]) -> list[str]:
    cells = [f"{row.height}x{row.width}", ", ".join(f"{h}x{w}" for h, w in row.maps)]
    if row.anchors is not None:
        cells.append(str(row.anchors))
    if row.smallest_anchor is not None:
        cells.append(f"{row.smallest_anchor:.0f} to {row.largest_anchor:.0f}")
    share = shares.get((row.height, row.width))
    if share is not None:
        part = "" if share.share is None else f" ({share.share:.0%})"
        smallest = "-" if share.smallest is None else f"{share.smallest:.0f} px"
        cells += [f"{share.found} of {share.faces}{part}", smallest]
    return [
        *cells,
        f"{row.macs / 1e6:.0f}",
        f"{row.memory_8 / _MIB:.1f} / {row.memory_16 / _MIB:.1f}",
        f"{row.ms_8:.1f} / {row.ms_16:.1f}",
        row.note,
    ]

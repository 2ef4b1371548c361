"""`nnie inspect`: what an ONNX file holds, and what to change in its export."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from nnie_pipeline.cli.common import console, existing_file, parse_size, reported

if TYPE_CHECKING:
    from collections.abc import Iterator

    from nnie_pipeline.onnx2caffe.inspect import Inspection


@reported
def command(
    model: Annotated[Path, typer.Argument(help="the ONNX file")],
    size: Annotated[str | None, typer.Option(help="640 or 480x640 (height x width)")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="print JSON")] = False,
) -> None:
    """Show what an ONNX model holds, what would be refused, and how to export it better."""
    existing_file(model, "ONNX model")
    chosen = None if size is None else parse_size(size)
    from nnie_pipeline.onnx2caffe.inspect import inspect
    from nnie_pipeline.onnx2caffe.load import load_model

    found = inspect(load_model(model), chosen)
    if as_json:
        typer.echo(json.dumps(found.to_json(), indent=1, ensure_ascii=False))
        return
    say = console()
    for line in _lines(found):
        say.print(line, markup=False)


def _lines(found: Inspection) -> Iterator[str]:
    made = f", by {found.producer}" if found.producer else ""
    yield f"opset {found.opset}, IR version {found.ir_version}{made}"
    for kind, values in (("input", found.inputs), ("output", found.outputs)):
        for name, shape in values.items():
            yield f"{kind:<7} {name}  {' x '.join(map(str, shape)) or 'of unknown shape'}"
    yield "operators " + ", ".join(f"{k} {v}" for k, v in found.operators.items())
    at = f" at {found.tried[0]}x{found.tried[1]}" if found.tried else ""
    yield f"{found.parameters:,} parameters, {found.macs:,} MACs{at}"
    for advice in found.advice:
        repaired = "nnie repairs it" if advice.repaired else "nnie cannot repair it"
        yield f"advice: {advice.topic}: {advice.found}; {repaired}; export with: {advice.fix}"
    if found.problem:
        yield f"not convertible: {found.problem}"
    elif not found.refused:
        yield "every node can be expressed"
    for refusal in found.refused:
        yield f"refused: {refusal.operator} {refusal.node}: {refusal.reason}"
    if found.refused and not found.problem:
        yield f"convertible with --outputs {','.join(found.keep)}"

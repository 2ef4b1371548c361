"""`nnie wk`: a compiled network, decoded and held against the network it was made from."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from nnie_pipeline.cli.common import console, existing_file, fail, reported

if TYPE_CHECKING:
    from rich.table import Table

    from nnie_pipeline.wk.header import WkHeader
    from nnie_pipeline.wk.model import WkModel
    from nnie_pipeline.wk.proof import LayerProof, Proof

_MOST_REASONS = 10


@reported
def command(
    file: Annotated[Path, typer.Argument(help="the .wk file")],
    weights: Annotated[
        Path | None, typer.Argument(help="with --against: the network's caffemodel")
    ] = None,
    against: Annotated[
        Path | None,
        typer.Option(
            metavar="NET.prototxt [NET.caffemodel]",
            help="prove that the file was compiled from this network; without a caffemodel compare "
            "inputs and outputs alone; status 1 if it was not",
        ),
    ] = None,
    bits: Annotated[
        int | None, typer.Option(help="with --against: the width it should have")
    ] = None,
    export: Annotated[
        Path | None,
        typer.Option(
            help="folder for .npy: codes, words and the weights whose z the file tells; all "
            "weights if --against proves them"
        ),
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="print JSON")] = False,
) -> None:
    """Show what a compiled .wk file holds, or prove which network it is."""
    from nnie_pipeline.errors import InputError
    from nnie_pipeline.files import to_json
    from nnie_pipeline.wk.header import read_header

    if bits not in (None, 8, 16) or (bits is not None and weights is None):
        raise InputError(
            f"--bits {bits}: give 8 or 16, together with --against NET.prototxt NET.caffemodel"
        )
    if weights is not None and against is None:
        raise InputError(f"{weights}: a second file; write --against NET.prototxt NET.caffemodel")
    existing_file(file, ".wk file")
    if against is not None and weights is None:
        if export is not None:
            raise InputError("--export with --against needs the caffemodel too")
        _compare_header(file, against, as_json)
        return
    if against is None and not as_json:
        _show_header(file, read_header(file))  # at once: decoding takes longer
    from nnie_pipeline.wk.decode import decode

    model = decode(file)
    proof = None
    if against is not None and weights is not None:
        proof = _prove(model, against, weights, bits)
    if as_json:
        extra = {} if proof is None else {"against": {**proof.to_dict(), **_parameters(proof)}}
        typer.echo(to_json({**_model(model), **extra}), nl=False)
    elif proof is None:
        _show_contents(model)
    else:
        _show_proof(file, model, proof)
    if export is not None:
        from nnie_pipeline.wk.export import export_model

        export_model(model, proof, export)
    if proof is not None and not proof.holds:
        fail(f"{file.name} {proof.verdict}", 1)


def _model(model: WkModel) -> dict[str, Any]:
    from nnie_pipeline.wk.weight_z import weight_z

    found = model.to_dict()
    for row, layer in zip(found["layers"], model.layers, strict=True):
        row["z_of_weights"] = weight_z(model, layer)
    return found


def _compare_header(file: Path, prototxt: Path, as_json: bool) -> None:
    from nnie_pipeline.caffe.files import read_net
    from nnie_pipeline.files import to_json
    from nnie_pipeline.wk.header import read_header
    from nnie_pipeline.wk.inputs_outputs import blob_reasons, order_reason

    header = read_header(file)
    net = read_net(existing_file(prototxt, "network"))
    reasons, order = blob_reasons(header, net), order_reason(header, net)
    if as_json:
        found = {**header.to_dict(), "against": {"reasons": reasons or [*filter(None, [order])]}}
        typer.echo(to_json(found), nl=False)
    elif not reasons and order is None:
        console().print(
            f"{file.name} has the inputs and outputs of {prototxt.name}, in their order; whether "
            "it holds its weights is proven with the caffemodel behind it",
            markup=False,
        )
    if reasons:
        fail(f"{file.name} was not compiled from {prototxt.name}: {reasons[0]}", 1)
    if order is not None:
        fail(
            f"{file.name} has the inputs and outputs of {prototxt.name}, but {order}; the board "
            "gives the file's order, so read outputs by it, or compile again",
            1,
        )


def _prove(model: WkModel, prototxt: Path, caffemodel: Path, bits: int | None) -> Proof:
    from nnie_pipeline.caffe.files import read_net
    from nnie_pipeline.wk.proof import prove

    existing_file(prototxt, "network")
    existing_file(caffemodel, "weights")
    return prove(model, read_net(prototxt, caffemodel), bits)


def _show_header(file: Path, header: WkHeader) -> None:
    say = console()
    say.print(
        f"{file.name}: for the {'chip' if header.kind == 'chip' else 'functional simulation'}, "
        f"mapper {header.mapper or 'unknown'}, NNIE {header.nnie or 'unknown'}, "
        f"build {header.stamp or 'unknown'}, temporary memory {header.temporary_bytes:,} bytes",
        markup=False,
    )
    say.print(_blobs(header))


def _show_contents(model: WkModel) -> None:
    say = console()
    if model.layers:
        say.print(_layers(model))
        total = model.totals()
        say.print(
            f"{total['layers']} layers with weights at {model.bits} bits: at least "
            f"{total['parameters_at_least']:,} parameters, {total['weights_not_zero']:,} weights "
            f"that are not zero and {total['biases']:,} biases; {100 * total['zeros']:.1f} % of "
            f"the {total['cells']:,} cells for weights are zero or unused",
            markup=False,
        )
        say.print(_stored(model), markup=False)
        say.print(f"BatchNorm {model.batch_norm}", markup=False)
        say.print(model.table_note, markup=False)
    for part in model.undecoded:
        say.print(f"not decoded: {part.size:,} bytes at {part.offset:,}, {part.what}", markup=False)


def _show_proof(file: Path, model: WkModel, proof: Proof) -> None:
    say = console()
    say.print(_proven(proof))
    for reason in proof.reasons[:_MOST_REASONS]:
        say.print(reason, markup=False)
    if len(proof.reasons) > _MOST_REASONS:
        rest = len(proof.reasons) - _MOST_REASONS
        say.print(f"and {rest} more; --json has all", markup=False)
    if proof.weights_hold:
        found = _parameters(proof)
        say.print(
            f"{found['parameters']:,} parameters: {found['weights']:,} weights, "
            f"{found['weights_zero']:,} of them zero, and {found['biases']:,} biases; "
            f"{_stored(model)}",
            markup=False,
        )
        if proof.holds:
            say.print(f"{file.name} {proof.verdict}", markup=False)
        if proof.output_order is not None:
            say.print(f"{proof.output_order}; the board gives the file's", markup=False)
        caveats = [*proof.open, *proof.unproven]
        if caveats:
            say.print(f"not proven from the file: {', '.join(caveats)}", markup=False)


def _parameters(proof: Proof) -> dict[str, int]:
    """How many the network has of which kind."""
    weights = sum(x.equal.size for x in proof.fitted)
    zero = sum(int((x.codes() == 0).sum()) for x in proof.fitted)
    biases = sum(x.layer.outputs for x in proof.fitted)
    return {
        "parameters": weights + biases,
        "weights": weights,
        "weights_zero": zero,
        "biases": biases,
    }


def _stored(model: WkModel) -> str:
    total = model.totals()
    return (
        f"stored in {total['stored_bytes']:,} bytes, {100 * total['stored_share']:.1f} % of "
        f"{total['raw_bytes']:,} raw; {model.blocks:,} blocks, every check word right"
    )


def _blobs(header: WkHeader) -> Table:
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


def _layers(model: WkModel) -> Table:
    from rich.table import Table

    from nnie_pipeline.wk.weight_z import weight_z

    table = Table(
        "layer", "type", "outputs", "size", "z", "z of weights", "scale words", "bytes", "zero"
    )
    for layer in model.layers:
        kind = "depthwise" if layer.depthwise else layer.type
        zeros = 100 * layer.zeros / layer.parameters.codes.size
        table.add_row(
            str(layer.number), kind, str(layer.outputs), f"{layer.height}x{layer.width}",
            "Q20.12" if layer.z_out is None else str(layer.z_out),
            _range(weight_z(model, layer)) or "not told",
            "one" if layer.one_scale and not layer.depthwise else "each output",
            str(layer.stored), f"{zeros:.0f} %",
        )  # fmt: skip
    return table


def _proven(proof: Proof) -> Table:
    from rich.table import Column, Table
    from rich.text import Text

    name = Column("layer of the network", overflow="fold")
    table = Table("", name, "weights", "z of weights", "z of input", "words")
    for layer in proof.layers:
        table.add_row(
            str(layer.number), Text(layer.name or "none"), _of(layer.weights), _range(layer.z_w),
            "" if layer.z_in is None else str(layer.z_in), _words(layer),
        )  # fmt: skip
    return table


def _of(pair: tuple[int, int]) -> str:
    return f"all {pair[1]}" if pair[0] == pair[1] else f"{pair[0]} of {pair[1]}"


def _range(values: tuple[float | None, ...]) -> str:
    known = [x for x in values if x is not None]
    if not known:
        return ""
    low, high = min(known), max(known)
    return f"{low:g}" if low == high else f"{low:g} to {high:g}"


def _words(layer: LayerProof) -> str:
    parts = {"bias": layer.bias, "scale": layer.scale, "shift": layer.shift}
    wrong = [f"{name} {_of(x)}" for name, x in parts.items() if x[0] != x[1]]
    return ", ".join(wrong) or "all"

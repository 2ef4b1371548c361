"""rewrite: Caffe files to NNIE-ready Caffe files, every pass verified."""

from __future__ import annotations

import difflib
from collections.abc import Collection
from dataclasses import asdict
from functools import partial
from pathlib import Path

from nnie_pipeline import files
from nnie_pipeline.caffe.files import read_net, write_net
from nnie_pipeline.caffe.net import Net
from nnie_pipeline.caffe.shapes import ShapeError, infer
from nnie_pipeline.chips.sizes import nearest_valid
from nnie_pipeline.engine.choice import ENGINES
from nnie_pipeline.engine.remembering import Runs
from nnie_pipeline.errors import InputError
from nnie_pipeline.report.changes import changes_text
from nnie_pipeline.report.rewrite_page import PAGE, rewrite_page
from nnie_pipeline.rewrite.base import InputForm
from nnie_pipeline.rewrite.crop import CropError
from nnie_pipeline.rewrite.cut_tail import apply as cut_tail
from nnie_pipeline.rewrite.marks import Marks
from nnie_pipeline.rewrite.order import by_kind
from nnie_pipeline.rewrite.passes import check_passes
from nnie_pipeline.rewrite.rows import side_by_side
from nnie_pipeline.rewrite.run import NO_MARKS, TOLERANCE, Rewritten, rewrite
from nnie_pipeline.stages.other_sizes import with_sizes
from nnie_pipeline.stages.probe import Probe
from nnie_pipeline.stages.rewrite_options import PLAIN, RewriteOptions, told
from nnie_pipeline.stages.rewrite_proof import prove_files

CHANGES = "changes.md"


def rewrite_files(
    prototxt: Path,
    caffemodel: Path,
    stem: str,
    folder: Path,
    size: tuple[int, int] | None,
    probe: Probe,
    skip: Collection[str] = (),
    outputs: Collection[str] = (),
    order_like: Path | None = None,
    tolerance: float = TOLERANCE,
    engine: str = ENGINES[0],
    apart: bool = False,
    marks: Marks = NO_MARKS,
    options: RewriteOptions = PLAIN,
) -> Rewritten:
    """Rewrite a network into `folder`/`stem`.prototxt, .caffemodel and rewrite.json.

    rewrite.html and changes.md beside them show both networks, the passes and their reasons.
    `outputs` names the outputs in order (default: all, grouped by kind); `order_like` is a
    prototxt whose order of layers is known to work. `apart` and `marks` as `rewrite.run.rewrite`,
    `options` those of single passes.

    Raises:
        InputError: files that cannot be read, a size at which the network does not hold, a
            tolerance out of 0 to 1, or a pass to skip or layer to mark that does not exist.
        NotExpressibleError: a pass found what NNIE cannot express, or nothing is left.
        CheckError: a pass moved the outputs further than it may, or the written files do.
    """
    check_passes(skip)
    if not 0 <= tolerance <= 1:
        raise InputError(f"the tolerance {tolerance:g} is no share; write 0 to 1 ({TOLERANCE:g})")
    given = read_net(prototxt, caffemodel, size)
    net = at_size(given.copy(), size)
    if outputs:
        keep_outputs(net, outputs)
    else:
        outline = net.copy()
        cut_tail(outline)
        # What is cut off has no kind; the cut groups what it leaves.
        net.outputs = by_kind(net) if outline.outputs == net.outputs else net.outputs
    known_order = [x.name for x in read_net(order_like).layers] if order_like else []
    form = options.input_form(net)
    blobs = told(probe, form).inputs(list(net.inputs.values()))

    runs = Runs(engine, blobs)
    instead = options.instead(form)
    instead["cut-cpu-tail"] = partial(cut_tail, asked=bool(outputs))
    try:
        result = rewrite(
            net, runs.all, skip, tolerance, known_order, apart, marks, instead,
            partial(runs.all, fused=False),
        )  # fmt: skip
    except CropError as error:
        here = next((x[2:] for x in net.inputs.values() if len(x) == 4), (0, 0))
        size = (here[0], here[1])
        raise with_sizes(error, size, nearest_valid(net, size)) from error
    written = folder / f"{stem}.prototxt", folder / f"{stem}.caffemodel"
    write_net(result.net, *written)
    difference = prove_files(net, result, written, runs, tolerance)
    record = {
        "reading": net.notes,
        "names": result.names,
        "outputs": result.net.outputs,
        "layers_before": len(net.layers),
        "layers": len(result.net.layers),
        **_order(order_like, skip),
        "tolerance": tolerance,
        "tolerance_note": _tolerance_note(tolerance),
        "tolerance_raised": tolerance > TOLERANCE,
        "skipped": list(dict.fromkeys(skip)),
        "apart": apart,
        "marks": asdict(marks),
        "input": _input(result.input or form),
        "depthwise": options.depthwise,
        "picture": probe.name,
        "engine": engine,
        "files_difference": difference,
        "passes": [
            {
                "name": x.name,
                "reason": x.reason,
                "changed": len(x.changed),
                "difference": x.difference,
                "changes": x.changed,
            }
            for x in result.passes
        ],
    }
    rows = side_by_side(given, result)
    for place, text in (
        ("rewrite.json", files.to_json(record)),
        (PAGE, rewrite_page(stem, record, rows)),
        (CHANGES, changes_text(stem, record, rows)),
    ):
        (folder / place).write_text(text, encoding="utf-8")
    return result


def _order(order_like: Path | None, skip: Collection[str]) -> dict[str, str]:
    """Which order of layers is used, and what is known of it."""
    if "canonical-order" in skip:
        note = "Nothing is known of it on a board, unless the file is known to work there."
        return {"order": "as in the file", "order_note": note}
    if order_like:
        note = "It is as good as the board results of that network."
        return {"order": f"like {order_like.name}", "order_note": note}
    return {
        "order": "canonical (a hypothesis)",
        "order_note": (
            "Only the hand-made order of a public RetinaFace is proven on a board; --order-like "
            "takes the order of a network that is known to work."
        ),
    }


def _tolerance_note(tolerance: float) -> str:
    usual = f"{TOLERANCE:g} of an output's maximum for a pass that changes weights, else 0"
    if tolerance == TOLERANCE:
        return usual
    change = "raised" if tolerance > TOLERANCE else "lowered"
    return f"{change} with --tolerance to {tolerance:g}; usual is {usual}"


def _input(form: InputForm | None) -> dict[str, list[float]] | None:
    """What stays to be done with pixels in front of the new network; None: nobody said."""
    return None if form is None else {"mean": list(form.mean), "scale": list(form.scale)}


def at_size(net: Net, size: tuple[int, int] | None) -> Net:
    """`net` with its picture inputs at `size` (height, width).

    Raises:
        InputError: it does not hold there; the message names the nearest sizes at which it
            does.
    """
    if size is not None:
        original = dict(net.inputs)
        net.inputs = {k: (*v[:2], *size) if len(v) == 4 else v for k, v in original.items()}
    outline = net.copy()
    try:
        cut_tail(outline)
        infer(outline)
    except ShapeError as error:
        if size is None:
            raise
        outline.inputs = original
        raise with_sizes(error, size, nearest_valid(outline, size)) from error
    return net


def keep_outputs(net: Net, outputs: Collection[str]) -> None:
    """Make `outputs` the network's outputs, in that order; what none of them needs is dropped.

    Raises:
        InputError: the network does not make one; the message names the nearest it makes.
    """
    values = [x for layer in net.layers for x in layer.tops]
    for name in outputs:
        if name not in values:
            near = difflib.get_close_matches(name, values, n=3) or net.outputs
            raise InputError(f"the network has no blob {name}; did you mean {' or '.join(near)}?")
    net.outputs = list(outputs)
    net.drop_unused()

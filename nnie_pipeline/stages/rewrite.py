"""rewrite: Caffe files to NNIE-ready Caffe files, every pass verified."""

from __future__ import annotations

import difflib
from collections.abc import Collection
from pathlib import Path

from nnie_pipeline import files
from nnie_pipeline.caffe.files import read_net, write_net
from nnie_pipeline.caffe.net import Array, Net
from nnie_pipeline.caffe.shapes import ShapeError, infer
from nnie_pipeline.chips.sizes import nearest_valid
from nnie_pipeline.engine.choice import ENGINES, session
from nnie_pipeline.errors import InputError, NnieError
from nnie_pipeline.rewrite.crop import CropError
from nnie_pipeline.rewrite.order import by_kind
from nnie_pipeline.rewrite.passes import PASSES
from nnie_pipeline.rewrite.run import TOLERANCE, Rewritten, rewrite
from nnie_pipeline.stages.probe import Probe


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
) -> Rewritten:
    """Rewrite a network into `folder`/`stem`.prototxt, .caffemodel and rewrite.json.

    `outputs` names the outputs in order (default: all, grouped by kind); `order_like` is a
    prototxt whose order of layers is known to work.

    Raises:
        InputError: files that cannot be read, a size at which the network does not hold,
            or a pass to skip that does not exist.
        CheckError: a pass moved the outputs further than it may.
    """
    known = [x.name for x in PASSES]
    for name in skip:
        if name not in known:
            raise InputError(f"no pass {name}; the passes are {', '.join(known)}")
    net = at_size(read_net(prototxt, caffemodel, size), size)
    if outputs:
        keep_outputs(net, outputs)
    else:
        net.outputs = by_kind(net)
    known_order = [x.name for x in read_net(order_like).layers] if order_like else []
    blobs = probe.inputs(list(net.inputs.values()))

    def run(candidate: Net) -> list[list[Array]]:
        running = session(engine, candidate)
        results = [running.run(dict(zip(candidate.inputs, x, strict=True))) for x in blobs]
        return [[x[name] for name in candidate.outputs] for x in results]

    try:
        result = rewrite(net, run, skip, tolerance, known_order)
    except CropError as error:
        here = next((x[2:] for x in net.inputs.values() if len(x) == 4), (0, 0))
        raise _at_other_sizes(net, (here[0], here[1]), error) from error
    write_net(result.net, folder / f"{stem}.prototxt", folder / f"{stem}.caffemodel")
    record = {
        "reading": net.notes,
        "names": result.names,
        "outputs": result.net.outputs,
        "layers_before": len(net.layers),
        "layers": len(result.net.layers),
        "order": f"like {order_like.name}" if order_like else "canonical (a hypothesis)",
        "tolerance": tolerance,
        "picture": probe.name,
        "engine": engine,
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
    (folder / "rewrite.json").write_text(files.to_json(record), encoding="utf-8")
    return result


def at_size(net: Net, size: tuple[int, int] | None) -> Net:
    """`net` with its picture inputs at `size` (height, width).

    Raises:
        InputError: it does not hold there; the message names the nearest sizes at which it
            does.
    """
    if size is not None:
        original = dict(net.inputs)
        net.inputs = {k: (*v[:2], *size) if len(v) == 4 else v for k, v in original.items()}
    try:
        infer(net)
    except ShapeError as error:
        if size is None:
            raise
        net.inputs = original
        raise _at_other_sizes(net, size, error) from error
    return net


def _at_other_sizes(net: Net, size: tuple[int, int], error: NnieError) -> NnieError:
    """`error` with the nearest sizes at which the network holds, if there are any."""
    near = nearest_valid(net, size)
    if not near:
        return error
    named = " or ".join(str(h) if h == w else f"{h}x{w}" for h, w in near)
    return InputError(
        f"size {size[0]}x{size[1]}: the network does not hold at it; use {named} ({error})"
    )


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

"""convert, for a model that is a Caffe network already: taken as it is, checked at the size."""

from __future__ import annotations

import shutil
from collections.abc import Sequence
from pathlib import Path

from nnie_pipeline import files
from nnie_pipeline.caffe.files import caffe_names, read_net
from nnie_pipeline.caffe.net import Array, Net
from nnie_pipeline.engine.choice import session
from nnie_pipeline.engine.onnxruntime_engine import open_session
from nnie_pipeline.engine.to_onnx import to_onnx
from nnie_pipeline.errors import CheckError
from nnie_pipeline.rewrite import cut_tail
from nnie_pipeline.rewrite.order import by_kind
from nnie_pipeline.stages.convert import REFERENCE, TOLERANCE, Converted, relative_error
from nnie_pipeline.stages.probe import Probe
from nnie_pipeline.stages.rewrite import at_size, keep_outputs


def adopt_files(
    prototxt: Path,
    caffemodel: Path,
    stem: str,
    folder: Path,
    size: tuple[int, int] | None,
    outputs: Sequence[str],
    probe: Probe,
    engine: str,
) -> Converted:
    """Copy a Caffe network into `folder`, with convert.json and reference.onnx as convert writes.

    reference.onnx is the network at `size` with the kept outputs: `outputs`, or those that the
    rewrite keeps, grouped by kind. They are compared with `engine`'s.

    Raises:
        InputError: files that cannot be read, a size at which the network does not hold, or
            an output it does not have.
        CheckError: the two engines differ by more than `TOLERANCE`.
    """
    net = at_size(read_net(prototxt, caffemodel, size), size)
    layers = len(net.layers)
    notes: list[str] = []
    if outputs:
        keep_outputs(net, outputs)
    else:
        notes = cut_tail.apply(net).lines
        net.outputs = by_kind(net)
        net.drop_unused()
    reference = to_onnx(net, net.outputs).SerializeToString()
    errors = _verify(net, reference, probe, engine)
    names = caffe_names(net)
    for source, suffix in ((prototxt, "prototxt"), (caffemodel, "caffemodel")):
        shutil.copyfile(source, folder / f"{stem}.{suffix}")
    (folder / REFERENCE).write_bytes(reference)
    record = {
        "model": prototxt.name,
        "inputs": {x: list(y) for x, y in net.inputs.items()},
        "outputs": [{"onnx": names[x], "caffe": names[x]} for x in net.outputs],
        "layers": layers,
        "assumed": "",
        "notes": notes,
        "cuts": [],
        "engine": engine,
        "verification": {
            "picture": probe.name,
            "tolerance": TOLERANCE,
            "max_relative_error": {names[x]: error for x, error in errors.items()},
        },
    }
    (folder / "convert.json").write_text(files.to_json(record), encoding="utf-8")
    return Converted(
        folder / f"{stem}.prototxt", folder / f"{stem}.caffemodel", layers,
        {x: names[x] for x in net.outputs}, errors, "", probe.name, tuple(notes),
    )  # fmt: skip


def _verify(net: Net, reference: bytes, probe: Probe, engine: str) -> dict[str, float]:
    original = open_session(reference)
    chosen = session(engine, net)
    errors = dict.fromkeys(net.outputs, 0.0)
    for blobs in probe.inputs(list(net.inputs.values())):
        feed = dict(zip(net.inputs, blobs, strict=True))
        expected: list[Array] = original.run(net.outputs, feed)
        found = chosen.run(feed)
        for name, array in zip(net.outputs, expected, strict=True):
            errors[name] = max(errors[name], relative_error(array, found[name]))
    worst = max(errors, key=lambda x: errors[x])
    if not errors[worst] <= TOLERANCE:
        raise CheckError(
            f"{engine} and onnxruntime differ on the network as given: output {worst} by "
            f"{errors[worst]:.3g} of its maximum (limit {TOLERANCE:g}) on {probe.name}; please "
            "report the network"
        )
    return errors

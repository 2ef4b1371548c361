"""The last proof of a rewrite: the written files give what the given network gives."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from nnie_pipeline.caffe.files import caffe_names, read_net
from nnie_pipeline.caffe.net import Array, Net
from nnie_pipeline.engine.choice import session
from nnie_pipeline.errors import CheckError
from nnie_pipeline.rewrite.passes import PASSES
from nnie_pipeline.rewrite.run import Rewritten, max_difference

_FUSING = 1e-6
"""onnxruntime fuses other layers where a layer between them is gone, and so rounds otherwise."""


def prove_files(
    given: Net,
    result: Rewritten,
    written: tuple[Path, Path],
    blobs: Sequence[Sequence[Array]],
    tolerance: float,
    engine: str,
) -> float:
    """Run `given` and the written prototxt and caffemodel, both as files have them.

    An engine that works in place (pycaffe) does so in both. An output that the given network
    overwrites later is not in its blobs and is left out. `blobs` are sets of inputs; `tolerance`
    is what each pass that changes weights may move.

    Returns:
        The largest difference, as a share of the output's maximum.

    Raises:
        InputError: weights that do not fit, or what the engine cannot run.
        CheckError: the outputs differ by more than the passes may move them.
    """
    left_names, names = caffe_names(given), caffe_names(result.net)
    sources = {
        new: old for old, new in result.values.items() if left_names.get(old) == old
    }  # fmt: skip
    outputs = [x for x in result.net.outputs if x in sources]
    before = given.copy()
    before.outputs = [sources[x] for x in outputs]
    before.drop_unused()
    after = read_net(*written)
    after.outputs = [names[x] for x in outputs]
    expected = _run(before, blobs, engine)
    found = _run(result.as_before(after), blobs, engine)
    difference = max_difference(expected, found)
    arithmetic = {x.name for x in PASSES if x.arithmetic}
    limit = tolerance * sum(x.name in arithmetic and bool(x.changed) for x in result.passes)
    if engine != "pycaffe":
        limit = max(limit, _FUSING)
    if not difference <= limit:
        raise CheckError(
            f"the written files move an output by {difference:.3g} of its maximum in {engine}, "
            f"more than {limit:g}; please report the network"
        )
    return difference


def _run(net: Net, blobs: Sequence[Sequence[Array]], engine: str) -> list[list[Array]]:
    running = session(engine, net, as_written=True)
    results = [running.run(dict(zip(net.inputs, x, strict=True))) for x in blobs]
    return [[x[name] for name in net.outputs] for x in results]

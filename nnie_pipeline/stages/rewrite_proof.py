"""The last proof of a rewrite: the written files give what the given network gives."""

from __future__ import annotations

from pathlib import Path

from nnie_pipeline.caffe.files import caffe_names, read_net
from nnie_pipeline.caffe.net import Net
from nnie_pipeline.engine.remembering import Runs
from nnie_pipeline.errors import CheckError
from nnie_pipeline.rewrite.passes import PASSES
from nnie_pipeline.rewrite.run import Rewritten, max_difference

_FUSING = 1e-6
"""onnxruntime fuses other layers where a layer between them is gone, and so rounds otherwise."""


def prove_files(
    given: Net,
    result: Rewritten,
    written: tuple[Path, Path],
    runs: Runs,
    tolerance: float,
) -> float:
    """Run `given` and the written prototxt and caffemodel, both as files have them.

    An engine that works in place (pycaffe) does so in both. An output that the given network
    overwrites later is not in its blobs and is left out. `runs` has the inputs; `tolerance` is
    what each pass that changes weights may move.

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
    expected = runs.last_as_written(before)
    found = runs.last_as_written(result.as_before(after))
    difference = max_difference(expected, found)
    arithmetic = {x.name for x in PASSES if x.arithmetic}
    limit = tolerance * sum(x.name in arithmetic and bool(x.changed) for x in result.passes)
    if runs.engine != "pycaffe":
        limit = max(limit, _FUSING)
    if not difference <= limit:
        raise CheckError(
            f"the written files move an output by {difference:.3g} of its maximum in "
            f"{runs.engine}, more than {limit:g}; please report the network"
        )
    return difference

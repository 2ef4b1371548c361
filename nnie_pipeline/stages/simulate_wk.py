"""simulate with a compiled file: its weights, words and ranges, and how far ours are from them.

`wk.json` beside the dump holds:

| key | value |
|---|---|
| `file` | name of the .wk |
| `verdict` | what proves that it holds the network |
| `bits` | 8 or 16 |
| `rule` | how our own ranges were chosen |
| `pictures` | how many calibrated them |
| `layers` | of each bottom: `layer`, `type`, `bottom`, `own` and `file` (z), `sixteenths` |
| `summary` | of `sixteenths`: `count`, `median`, `mean_magnitude`, `p10`, `p90` |

`sixteenths` is own less file in sixteenths of an octave, null where the file tells no z; the
summary leaves pictures out, whose z is fixed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from nnie_pipeline.caffe.net import Array, Net
from nnie_pipeline.errors import CheckError, InputError
from nnie_pipeline.quant.gfpq_format import number_format
from nnie_pipeline.quant.ranges import Ranges
from nnie_pipeline.wk.decode import decode
from nnie_pipeline.wk.numbers import RangePair
from nnie_pipeline.wk.proof import Proof, prove

FILE = "wk.json"
_SIXTEENTHS = 16


def proven(net: Net, file: Path, bits: int | None) -> tuple[Proof, int]:
    """The proof that `file` holds `net`, and its width.

    Raises:
        CheckError: its weights are others, it contradicts the network, or has another width
            than `bits`.
        InputError: it is no chip file with parameters.
    """
    model = decode(file)
    proof = prove(model, net, bits)
    if not proof.weights_hold or model.bits is None:
        raise CheckError(f"{file.name} {proof.verdict}; simulate without --wk, or give its network")
    return proof, model.bits


def feed_of(net: Net, feed: Mapping[str, Array]) -> dict[str, Array]:
    """The inputs under the names that they have in the network that the file holds."""
    if len(feed) != len(net.inputs):
        raise InputError(f"the compiled network has {len(net.inputs)} inputs, not {len(feed)}")
    return dict(zip(net.inputs, feed.values(), strict=True))


def range_record(
    file: Path, proof: Proof, bits: int, own: Ranges, pairs: Sequence[RangePair]
) -> dict[str, Any]:
    """What wk.json holds."""
    steps = number_format(bits).steps
    layers = []
    for pair in pairs:
        apart = None if pair.file is None else (pair.own - pair.file) * _SIXTEENTHS / steps
        layers.append({**asdict(pair), "sixteenths": apart})
    counted = [
        x["sixteenths"]
        for x in layers
        if x["sixteenths"] is not None and x["bottom"] not in proof.net.inputs
    ]
    return {
        "file": file.name,
        "verdict": proof.verdict,
        "bits": bits,
        "rule": own.rule,
        "pictures": own.pictures,
        "layers": layers,
        "summary": summary(counted),
    }


def described(record: Mapping[str, Any]) -> str:
    """The summary in a line."""
    found = record["summary"]
    if found is None:
        return "the file tells no z to compare ours with"
    return (
        f"z by calibration ({record['rule']} over {record['pictures']}) less that of the file, in "
        f"sixteenths of an octave over {found['count']} inputs of layers: median "
        f"{found['median']:+.1f}, mean magnitude {found['mean_magnitude']:.1f}, from "
        f"{found['p10']:+.1f} (p10) to {found['p90']:+.1f} (p90)"
    )


def summary(sixteenths: Sequence[float]) -> dict[str, float] | None:
    """Median, mean magnitude, tenth and ninetieth percentile; None of nothing."""
    if not sixteenths:
        return None
    values = np.array(sixteenths, np.float64)
    return {
        "count": len(values),
        "median": float(np.median(values)),
        "mean_magnitude": float(np.abs(values).mean()),
        "p10": float(np.percentile(values, 10)),
        "p90": float(np.percentile(values, 90)),
    }

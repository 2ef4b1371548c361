"""Ways to choose ranges, compared: how near to float each leaves every layer.

`alternatives.json` holds:

| key | value |
|---|---|
| `bits` | 8, 16 or "mixed" |
| `assumptions` | the switches that are not at their default |
| `layers` | of each value: `layer`, `type`, `blob`, `cosine` and `sqnr_db` by rule |
| `outputs` | the network's outputs: their least `cosine` by rule |
| `best` | the rule with the highest least cosine over the outputs |

A rule is "maximum", "percentile P" or "imported". `sqnr_db` is null without a difference.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any, Literal

from nnie_pipeline.caffe.files import caffe_names
from nnie_pipeline.caffe.net import Array, Net
from nnie_pipeline.compare.metrics import difference
from nnie_pipeline.engine.onnxruntime_engine import Session, all_values
from nnie_pipeline.quant.assumptions import USUAL, Assumptions
from nnie_pipeline.quant.ranges import Ranges
from nnie_pipeline.quant.simulate import Simulator
from nnie_pipeline.quant.widths import Bits

FILE = "alternatives.json"


def compare_ranges(
    net: Net,
    feed: Mapping[str, Array],
    choices: Sequence[Ranges],
    bits: Bits | Literal["mixed"],
    assumptions: Assumptions = USUAL,
) -> dict[str, Any]:
    """What alternatives.json holds, for one input; each of `choices` has another rule."""
    exact = Session(net, all_values(net)).run(feed)
    names = caffe_names(net)
    rows: dict[str, dict[str, Any]] = {}
    for layer in net.layers:
        for top in layer.tops:
            rows[top] = {"layer": layer.name, "type": layer.type, "blob": names[top]}
            rows[top].update(cosine={}, sqnr_db={})
    for ranges in choices:
        for name, array in Simulator(net, bits, ranges, assumptions).run(feed):
            found = difference(exact[name], array)
            rows[name]["cosine"][ranges.rule] = found.cosine
            noise = found.sqnr_db if math.isfinite(found.sqnr_db) else None
            rows[name]["sqnr_db"][ranges.rule] = noise
    least = {
        x.rule: min((rows[y]["cosine"][x.rule] for y in net.outputs if y in rows), default=1.0)
        for x in choices
    }
    return {
        "bits": bits,
        "assumptions": assumptions.changed(),
        "layers": list(rows.values()),
        "outputs": least,
        "best": max(least, key=lambda x: least[x]),
    }

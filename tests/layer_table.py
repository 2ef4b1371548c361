"""The table of layer types in the documentation: `python -m tests.layer_table`.

Needs pycaffe and the folder NNIE_TEST_DATA. The figures are the decade above what was measured:
another processor rounds otherwise, but stays within it.
"""

from __future__ import annotations

import math
import os
import re
import sys
from pathlib import Path

import numpy as np

from nnie_pipeline.caffe.files import read_net
from nnie_pipeline.caffe.net import Array, Net
from nnie_pipeline.chips.rule import rules
from nnie_pipeline.engine import onnxruntime_engine, pycaffe_engine
from nnie_pipeline.files import write_text
from tests.layer_cases import CASES, FORMULA, by_formula, one_layer

PLACE = Path("docs") / "layers.md"
MODELS = {
    "retinaface_mnet025/mnet": "retinaface_mnet025/mnet",
    "retinaface_mnet025/mnet_hand_rewritten": "retinaface_mnet025/mnet",
    "mobilefacenet/mxnet2caffe_mobilefacenet": "mobilefacenet/mxnet2caffe_mobilefacenet",
    "ultraface/RFB-320": "ultraface/RFB-320",
    "ultraface/slim-320": "ultraface/slim-320",
    "enet/bn_conv_merged_model": "enet/bn_conv_merged_weights",
}
"""The Caffe networks of the test data and their weights."""

_SMALLEST = 1e-6
_HEADROOM = 3.0
_HEAD = """# Layer types of the engines

Made by `python -m tests.layer_table`; do not edit. The onnxruntime engine, and the file that
`nnie export-onnx` writes, run these layer types. Small networks of each, with odd sizes, pads,
groups, negative axes and windows across the border, are held against real Caffe (`make pycaffe`),
or against the formula, written down in numpy, where that Caffe lacks the type or computes it on a
GPU only. The difference is the largest of any number of any top, as a share of the top's largest
number, given as the power of ten that it stays below.

Proposal and Custom are code of yours that runs on the CPU: cut the network in front of them. All
other types are refused by name.

| layer type | NNIE | held against | networks | difference |
|---|---|---|---|---|
"""
_NETWORKS = """
## Whole networks

Every blob of these networks, in-place states included, on random pictures.

| network | layers | held against | difference |
|---|---|---|---|
"""
_ROW = re.compile(r"^\| (.+?) \|.*\| (0|below 1e-\d+) \|$", re.MULTILINE)


def largest_difference(label: str) -> float:
    """Of the layers called `label` in `CASES`, against pycaffe or the formula."""
    worst = 0.0
    for text, bottoms in CASES[label]:
        net, feed = one_layer(label, text, bottoms)
        if label in FORMULA:
            expected = {k: v.astype(np.float32) for k, v in by_formula(net, feed).items()}
            worst = max(worst, differ(expected, onnxruntime_engine.Session(net).run(feed)))
        else:
            worst = max(worst, difference_of_engines(net, feed))
    return worst


def difference_of_engines(net: Net, feed: dict[str, Array]) -> float:
    """The largest difference of any value of the network in the two engines."""
    values = onnxruntime_engine.all_values(net)
    ours = onnxruntime_engine.Session(net, values).run(feed)
    return differ(pycaffe_engine.Session(net, values).run(feed), ours)


def differ(expected: dict[str, Array], found: dict[str, Array]) -> float:
    """The largest difference, as a share of a value's largest number in `expected`."""
    worst = 0.0
    assert list(found) == list(expected)
    for name, array in expected.items():
        assert found[name].shape == array.shape, name
        assert found[name].dtype == np.float32, name
        assert np.isfinite(array).all(), name
        largest = float(np.abs(array).max(initial=0)) or 1.0
        worst = max(worst, float(np.abs(found[name] - array).max(initial=0)) / largest)
    return worst


def network(models: Path, name: str) -> tuple[Net, dict[str, Array]]:
    """A network of `MODELS` and a random picture for it."""
    net = read_net(models / f"{name}.prototxt", models / f"{MODELS[name]}.caffemodel")
    rng = np.random.default_rng(0)
    return net, {k: rng.uniform(0, 255, v).astype(np.float32) for k, v in net.inputs.items()}


def table(models: Path) -> str:
    """The Markdown text, measured now."""
    parts = [_HEAD]
    for label in sorted(CASES):
        if CASES[label]:
            parts.append(f"{_begin(label)} {_bound(largest_difference(label))} |\n")
    parts.append(_NETWORKS)
    for name in MODELS:
        net, feed = network(models, name)
        bound = _bound(difference_of_engines(net, feed))
        parts.append(f"| {name} | {len(net.layers)} | pycaffe | {bound} |\n")
    return "".join(parts)


def rows_without_figures() -> list[str]:
    """How every row of a layer type begins."""
    return [_begin(x) for x in sorted(CASES) if CASES[x]]


def documented() -> dict[str, float]:
    """The written figures; 0 leaves room for a last bit."""
    found = _ROW.findall((Path(__file__).parents[1] / PLACE).read_text(encoding="utf-8"))
    return {k: max(_SMALLEST, float(v.removeprefix("below "))) for k, v in found}


def _begin(label: str) -> str:
    (rule,) = [x for x in rules() if x.id == "unsupported-type"]
    known = "yes" if label.split(maxsplit=1)[0] in rule.known else "no"
    against = "formula" if label in FORMULA else "pycaffe"
    return f"| {label} | {known} | {against} | {len(CASES[label])} |"


def _bound(measured: float) -> str:
    if measured == 0:
        return "0"
    exponent = math.ceil(math.log10(max(measured * _HEADROOM, _SMALLEST)) - 1e-9)
    return f"below 1e{exponent}"


def main() -> None:
    """Write the table into the checkout in the current folder."""
    data = os.environ.get("NNIE_TEST_DATA")
    if not PLACE.parent.is_dir() or not data:
        sys.exit("run this in a checkout of nnie-pipeline, with NNIE_TEST_DATA set")
    pycaffe_engine.require()
    write_text(PLACE, table(Path(data) / "models"))


if __name__ == "__main__":
    main()

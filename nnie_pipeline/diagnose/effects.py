"""What the number format does to a network: shown beside the cause, no mistake of anyone.

Every effect is a function of a `View` and yields findings; `EFFECTS` lists them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np

from nnie_pipeline.caffe.net import Array, Layer, Net
from nnie_pipeline.engine.normalise import batch_norm_statistics
from nnie_pipeline.engine.onnxruntime_engine import Session
from nnie_pipeline.quant.gfpq_format import number_format
from nnie_pipeline.quant.operations import WEIGHTED, operations
from nnie_pipeline.quant.ranges import Ranges, offsets

RELATIVE_ERROR = {8: 0.0126, 16: 0.00157}
"""Root mean square of a value's relative rounding error: even over a step of 2^(1/n)."""

CANCELLED = 0.1
"""A BatchNorm is named where its input's rounding error is this share of its spread."""

SATURATED, FLUSHED = 1e-3, 0.05
"""Shares of a layer's input (of what is not 0) from which on it is named."""

OUTLIER = 16.0
"""The largest value over the 99.9th percentile: 4 of the 8 octaves that 8 bits have."""

DEAD = 1e-6
"""Weights of a channel below, over the layer's largest, make nothing."""


@dataclass(frozen=True)
class Effect:
    """One finding: what, in which layer, the evidence in words, and its size to sort by."""

    kind: str
    layer: str
    evidence: str
    size: float


@dataclass(frozen=True)
class View:
    """What effects look at: float values of one picture, and the ranges of every layer's input.

    `unmerged` is the network with its BatchNorm layers, None if there is none.
    """

    net: Net
    unmerged: Net | None
    bits: int
    values: Mapping[str, Array]
    ranges: Ranges


def view(
    net: Net, unmerged: Net | None, bits: int, ranges: Ranges, feed: Mapping[str, Array]
) -> View:
    """Run `net` on `feed` and keep what the effects need."""
    wanted = list(
        dict.fromkeys(
            [x for y in operations(net) if y.quantises for x in y.leader.bottoms]
            + [x for y in net.layers if y.type in WEIGHTED for x in y.tops]
        )
    )
    made = Session(net, wanted).run(feed)
    return View(net, unmerged, bits, {**feed, **made}, ranges)


def effects(seen: View) -> list[Effect]:
    """All findings, the largest of each kind first."""
    found: list[Effect] = []
    for function in EFFECTS:
        found += sorted(function(seen), key=lambda x: -x.size)
    return found


def cancellation(seen: View) -> Iterator[Effect]:
    """BatchNorm subtracts a mean far larger than its spread: the input's error stays.

    A rounding error is relative to the value; where |mean| is m times the spread, it is m
    times larger relative to what is left. On the chip convolution and BatchNorm are one
    operation (seen in compiled files), so only a dump between the two misleads.
    """
    for layer in [] if seen.unmerged is None else seen.unmerged.layers:
        if layer.type != "BatchNorm" or len(layer.weights) < 3:
            continue
        mean, variance = batch_norm_statistics(layer)
        spread = np.sqrt(variance + layer.params.batch_norm_param.eps)
        ratio = np.abs(mean) / spread
        error = RELATIVE_ERROR[seen.bits] * ratio
        bad = int((error >= CANCELLED).sum())
        if bad:
            worst = int(ratio.argmax())
            yield Effect(
                "BatchNorm cancellation", layer.name,
                f"{bad} of {ratio.size} channels have a mean far above their spread; channel "
                f"{worst}: |mean| {abs(mean[worst]):.3g} over spread {spread[worst]:.3g} = "
                f"{ratio[worst]:.0f}, so {seen.bits} bit rounding leaves an error of "
                f"{100 * error[worst]:.0f} % of the spread in the dump",
                float(ratio[worst]),
            )  # fmt: skip


def saturation(seen: View) -> Iterator[Effect]:
    """Values above the range's top code are cut to it."""
    form = number_format(seen.bits)
    for layer, values, z in _inputs(seen):
        # A range of the value itself reaches up to one step above the top code.
        top = 2.0 ** ((form.top + 1 + z) / form.steps)
        share = float((values > top).mean())
        if share >= SATURATED:
            yield Effect(
                "saturation", layer.name,
                f"{100 * share:.1f} % of the input lie above the top code "
                f"{2.0 ** ((form.top + z) / form.steps):.4g}, the largest is "
                f"{float(values.max()):.4g}: the calibration pictures are too tame",
                share,
            )  # fmt: skip


def flushed(seen: View) -> Iterator[Effect]:
    """Values below the smallest level (8 bit: the range's end over 256) become 0."""
    form = number_format(seen.bits)
    for layer, values, z in _inputs(seen):
        least = 2.0 ** ((z - form.steps) / form.steps)
        share = float((values <= least).mean())
        if share >= FLUSHED:
            yield Effect(
                "flushed to zero", layer.name,
                f"{100 * share:.1f} % of the input that is not 0 lie below {least:.3g}, the "
                f"smallest that {seen.bits} bits keep of a range up to "
                f"{2.0 ** ((form.top + z) / form.steps):.3g}",
                share,
            )  # fmt: skip


def outlier(seen: View) -> Iterator[Effect]:
    """A few large values spend the range that all others need."""
    for layer, values, _ in _inputs(seen):
        usual = float(np.quantile(values, 0.999))
        ratio = float(values.max()) / usual if usual else 0.0
        if ratio >= OUTLIER:
            yield Effect(
                "outlier", layer.name,
                f"the largest input is {float(values.max()):.4g}, 99.9 % lie below {usual:.4g}: "
                f"{np.log2(ratio):.1f} octaves of the range are spent on the rest",
                ratio,
            )  # fmt: skip


def dead_channel(seen: View) -> Iterator[Effect]:
    """Channels whose weights are as good as 0: they cost time and make a constant."""
    for layer in seen.net.layers:
        if layer.type not in WEIGHTED or not layer.weights:
            continue
        largest = _channel_maxima(layer)
        dead = np.flatnonzero(largest <= DEAD * max(float(largest.max()), 1e-30))
        output = seen.values[layer.tops[0]][0]
        still = output.reshape(output.shape[0], -1)
        constant = [x for x in dead.tolist() if x < len(still) and np.ptp(still[x]) <= 1e-6]
        if constant:
            yield Effect(
                "dead channel", layer.name,
                f"{len(constant)} of {largest.size} channels have no weights to speak of (first: "
                f"{constant[0]}) and give one constant",
                len(constant) / largest.size,
            )  # fmt: skip


def _channel_maxima(layer: Layer) -> Array:
    """The largest magnitude among the weights of each output channel."""
    weight = np.abs(layer.weights[0])
    if layer.type == "Deconvolution":
        group = layer.params.convolution_param.group
        parts = weight.reshape(group, -1, weight.shape[1], weight[0, 0].size)
        return np.asarray(parts.max(axis=(1, 3)).reshape(-1), np.float32)
    if layer.type == "InnerProduct":
        matrix = weight.reshape(-1, weight.shape[-1])
        transposed = layer.params.inner_product_param.transpose
        return np.asarray(matrix.max(axis=0 if transposed else 1), np.float32)
    return np.asarray(weight.reshape(len(weight), -1).max(axis=1), np.float32)


def _inputs(seen: View) -> Iterator[tuple[Layer, Array, int]]:
    """Each quantised input: its layer, the magnitudes that are not 0, and its z."""
    for step in operations(seen.net):
        if not step.quantises:
            continue
        found = offsets(step, seen.bits, seen.ranges, fixed=True, shared=False)
        for name, z in dict(zip(step.leader.bottoms, found, strict=True)).items():
            values = np.abs(seen.values[name]).reshape(-1)
            values = values[values > 0]
            if values.size:
                yield step.leader, values, z


EFFECTS: tuple[Callable[[View], Iterator[Effect]], ...] = (
    cancellation,
    saturation,
    flushed,
    outlier,
    dead_channel,
)
"""Every effect that is looked for."""

"""What the report draws of a network: its layers, their values, and how the chip reads them.

`compare/network.json` holds:

| key | value |
|---|---|
| `inputs`, `outputs` | shapes by name; names |
| `layers` | in execution order: `name`, `type`, `bottoms`, `tops`, `detail`, and the number of the `operation` of the chip that it belongs to |
| `values` | of every value of the float run: `shape` and what `compare.histogram` tells |
| `reads` | by width the z with which a layer reads each bottom; only layers that quantise |
| `batch_norms` | of every BatchNorm that is left: where the error of its 8-bit dump comes from |
| `effects` | what the number format does to it (`diagnose.effects`), 8 bit |
"""  # noqa: E501

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from nnie_pipeline import files
from nnie_pipeline.caffe.net import Array, Layer, Net
from nnie_pipeline.compare.dumps import Dump
from nnie_pipeline.compare.histogram import described
from nnie_pipeline.diagnose.effects import effects, view
from nnie_pipeline.engine.normalise import batch_norm_statistics
from nnie_pipeline.quant.operations import Operation, operations
from nnie_pipeline.quant.ranges import Ranges, offsets
from nnie_pipeline.quant.widths import WIDTHS

PLACE = "network.json"


def write_network_record(
    net: Net, feed: Mapping[str, Array], exact: Dump, eight: Dump, ranges: Ranges, folder: Path
) -> None:
    """Write network.json into `folder`, for the float and the 8-bit dump of `feed`."""
    steps = operations(net)
    owner = {id(x): i for i, step in enumerate(steps) for x in step.layers}
    shown = [
        {
            "name": x.name,
            "type": x.type,
            "bottoms": list(x.bottoms),
            "tops": list(x.tops),
            "detail": _detail(x),
            "operation": owner[id(x)],
        }
        for x in net.layers
    ]
    values = {k: {"shape": list(v.shape), **described(v)} for k, v in feed.items()}
    for blob in exact.blobs:
        values[blob.value] = {"shape": list(blob.shape), **described(exact.load(blob))}
    unmerged = net if any(x.type == "BatchNorm" for x in net.layers) else None
    record = {
        "inputs": {k: list(v) for k, v in net.inputs.items()},
        "outputs": list(net.outputs),
        "layers": shown,
        "values": values,
        "reads": {str(bits): _reads(steps, bits, ranges) for bits in WIDTHS},
        "batch_norms": list(_batch_norms(steps, exact, eight)),
        "effects": [asdict(x) for x in effects(view(net, unmerged, WIDTHS[0], ranges, feed))],
    }
    (folder / PLACE).write_text(files.to_json(record), encoding="utf-8")


def _reads(steps: list[Operation], bits: int, ranges: Ranges) -> dict[str, list[int]]:
    return {
        x.leader.name: offsets(x, bits, ranges, fixed=True, shared=False)
        for x in steps
        if x.quantises
    }


def _batch_norms(steps: list[Operation], exact: Dump, eight: Dump) -> Iterator[dict[str, Any]]:
    """Each BatchNorm: the channel that most of its squared error comes from, and its numbers."""
    left, right = ({x.value: x for x in dump.blobs} for dump in (exact, eight))
    for step in steps:
        for i, layer in enumerate(step.layers):
            top = layer.tops[0]
            if layer.type != "BatchNorm" or top not in left or top not in right:
                continue
            mean, variance = batch_norm_statistics(layer)
            spread = np.sqrt(variance + layer.params.batch_norm_param.eps)
            x, y = exact.load(left[top]), eight.load(right[top])
            error = ((x - y).astype(np.float64) ** 2).reshape(*x.shape[:2], -1).sum(axis=(0, 2))
            total = float(error.sum())
            channel = int(error.argmax())
            yield {
                "layer": layer.name,
                "before": step.layers[i - 1].name if i else None,
                "behind": step.layers[-1].name if layer is not step.layers[-1] else None,
                "channels": int(mean.size),
                "channel": channel,
                "share": float(error[channel]) / total if total else 0.0,
                "mean": float(mean[channel]),
                "spread": float(spread[channel]),
                "factor": _factor(step.layers[i + 1 :], channel),
            }


def _factor(followers: tuple[Layer, ...], channel: int) -> float | None:
    """What a Scale right behind multiplies this channel by."""
    if not followers or followers[0].type != "Scale" or not followers[0].weights:
        return None
    factors = followers[0].weights[0].reshape(-1)
    return float(factors[channel]) if channel < factors.size else None


def _detail(layer: Layer) -> str:
    """What a layer does, in a few signs: 3x3 /2 +1, 64 channels, group 64."""
    params = layer.params
    if layer.type == "InnerProduct":
        return f"{params.inner_product_param.num_output} outputs"
    if layer.type == "Eltwise":
        return str(params.eltwise_param.EltwiseOp.Name(params.eltwise_param.operation))
    if layer.type == "Pooling":
        pool = params.pooling_param
        method = str(pool.PoolMethod.Name(pool.pool))
        if pool.global_pooling:
            return f"{method} over all"
        return f"{method} {pool.kernel_h or pool.kernel_size}x{pool.kernel_w or pool.kernel_size}"
    if not layer.weights or layer.weights[0].ndim != 4 or not params.HasField("convolution_param"):
        return ""
    given = params.convolution_param
    height, width = layer.weights[0].shape[2:]
    stride, pad = _both(given.stride, given.stride_h, 1), _both(given.pad, given.pad_h, 0)
    said = f"{height}x{width} /{stride} +{pad}, {given.num_output} channels"
    return said + (f", group {given.group}" if given.group > 1 else "")


def _both(values: Any, height: int, usual: int) -> int:
    return int(values[0]) if len(values) else int(height) or usual

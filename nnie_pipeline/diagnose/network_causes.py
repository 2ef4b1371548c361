"""Causes inside the network: other windows, weights or BatchNorm."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import numpy as np

from nnie_pipeline.caffe.axes import axis_of, crop_offsets, slice_axis
from nnie_pipeline.caffe.caffe_pb2 import PoolingParameter
from nnie_pipeline.caffe.net import Layer, Net, Shape
from nnie_pipeline.caffe.shapes import infer
from nnie_pipeline.caffe.windows import rounds_up
from nnie_pipeline.diagnose.case import Case
from nnie_pipeline.diagnose.hypothesis import Hypothesis, UnjudgedError
from nnie_pipeline.rewrite import merge_batch_norm

EPSILONS = (1e-5, 1e-3, 2e-5, 1e-4, 1e-6, 1e-2)
"""What frameworks add to a variance: Caffe and PyTorch 1e-5, TensorFlow and MXNet 1e-3, ..."""

_MAPS = ("Convolution", "DepthwiseConv", "Deconvolution", "InnerProduct")


def off_by_one(case: Case) -> Iterator[Hypothesis]:
    """Poolings that round the other way, and crops one row or column aside."""
    found = False
    if any(x.type == "Pooling" for x in case.net.layers):
        found = True
        yield Hypothesis(
            "poolings round their size down (PyTorch's default; Caffe and NNIE round up)",
            net=lambda: _with_rounding(case.net, up=False),
        )
        yield Hypothesis(
            "poolings round their size up", net=lambda: _with_rounding(case.net, up=True)
        )
    shapes = infer(case.net)
    if any(_cuts(x, shapes) for x in case.net.layers):
        found = True
        for rows, columns in ((1, 1), (-1, -1), (1, 0), (0, 1), (-1, 0), (0, -1)):
            yield Hypothesis(
                f"crops begin {rows:+d} rows and {columns:+d} columns aside",
                net=partial(_with_crops, case.net, rows, columns),
            )
    if not found:
        raise UnjudgedError("the network has no Pooling and no Crop")


def _with_rounding(net: Net, up: bool) -> Net:
    changed = net.copy()
    for layer in changed.layers:
        if layer.type == "Pooling" and not layer.params.pooling_param.global_pooling:
            param = layer.params.pooling_param
            param.round_mode = PoolingParameter.CEIL if up else PoolingParameter.FLOOR
            param.ceil_mode = up
            assert rounds_up(param) == up
    return changed


def _cuts(layer: Layer, shapes: dict[str, Shape]) -> bool:
    """Whether the layer takes a part of a map's rows or columns."""
    if layer.type == "Crop":
        return shapes[layer.bottoms[0]][-2:] != shapes[layer.tops[0]][-2:]
    if layer.type != "Slice":
        return False
    bottom = shapes[layer.bottoms[0]]
    return axis_of(slice_axis(layer), bottom) >= 2 and len(layer.tops) > 1


def _with_crops(net: Net, rows: int, columns: int) -> Net:
    """Every cut moved where it can be: the part stays inside its map."""
    shapes = infer(net)
    changed = net.copy()
    for layer in changed.layers:
        if not _cuts(layer, shapes):
            continue
        bottom = shapes[layer.bottoms[0]]
        if layer.type == "Slice":
            axis = axis_of(slice_axis(layer), bottom)
            step = rows if axis == len(bottom) - 2 else columns
            points = layer.params.slice_param.slice_point
            moved = [x + step for x in points]
            if moved and moved[0] > 0 and moved[-1] < bottom[axis]:
                points[:] = moved
            continue
        top = shapes[layer.tops[0]]
        starts = list(crop_offsets(layer, bottom, shapes[layer.bottoms[1]]))
        for axis, step in ((-2, rows), (-1, columns)):
            starts[axis] = min(max(0, starts[axis] + step), bottom[axis] - top[axis])
        param = layer.params.crop_param
        param.axis = 2
        param.offset[:] = starts[2:]
    return changed


def not_merged(case: Case) -> Iterator[Hypothesis]:
    """Weights as they were before BatchNorm went into them."""
    unmerged = _require_unmerged(case)
    yield Hypothesis(
        "the weights are those before merging, and no BatchNorm follows",
        net=lambda: _raw_weights(case, unmerged),
    )
    if unmerged is not case.net:
        yield Hypothesis(
            "the dump is of the network before merging: its BatchNorm layers stand apart",
            net=lambda: unmerged,
        )


def _raw_weights(case: Case, unmerged: Net) -> Net:
    """The case's network with raw weights; BatchNorm and Scale, where it has some, do nothing."""
    raw = {case.names.get(x.name, x.name): x.weights for x in unmerged.layers if x.type in _MAPS}
    changed = case.net.copy()
    for layer in changed.layers:
        if layer.type in _MAPS and layer.name in raw:
            weights = raw[layer.name]
            if not weights or weights[0].shape != layer.weights[0].shape:
                continue
            if len(layer.weights) > 1:
                bias = weights[1] if len(weights) > 1 else np.zeros_like(layer.weights[1])
                layer.weights = [weights[0], bias]
            else:
                layer.weights = list(weights)
    for layer in [x for x in changed.layers if x.type == "BatchNorm"]:
        _make_identity(layer)
        for follower in changed.layers:
            if follower.type in ("Scale", "Bias") and follower.bottoms == layer.tops:
                _make_identity(follower)
    return changed


def _make_identity(layer: Layer) -> None:
    ones = [np.ones_like(x) for x in layer.weights]
    zeros = [np.zeros_like(x) for x in layer.weights]
    if layer.type == "BatchNorm":
        layer.weights = [zeros[0], ones[1], np.ones(1, np.float32)]
        layer.params.batch_norm_param.eps = 0
    elif layer.type == "Scale" and layer.weights:
        layer.weights = [ones[0], *zeros[1:]]
    else:
        layer.weights = zeros


def wrong_eps(case: Case) -> Iterator[Hypothesis]:
    """BatchNorm computed or merged with another eps than the file's."""
    unmerged = _require_unmerged(case)
    own = {round(x.params.batch_norm_param.eps, 9) for x in _norms(unmerged)}
    for eps in EPSILONS:
        if {round(eps, 9)} != own:
            yield Hypothesis(
                f"BatchNorm with eps {eps:g} instead of "
                f"{' and '.join(f'{x:g}' for x in sorted(own))}",
                net=partial(_with_eps, case, unmerged, eps),
            )


def _with_eps(case: Case, unmerged: Net, eps: float) -> Net:
    changed = unmerged.copy()
    for layer in _norms(changed):
        layer.params.batch_norm_param.eps = eps
    if unmerged is case.net:
        return changed
    merge_batch_norm.apply(changed)
    weights = {case.names.get(x.name, x.name): x.weights for x in changed.layers}
    merged = case.net.copy()
    for layer in merged.layers:
        new = weights.get(layer.name)
        if layer.type in _MAPS and new and [x.shape for x in new] == _shapes(layer):
            layer.weights = list(new)
    return merged


def _shapes(layer: Layer) -> list[Shape]:
    return [x.shape for x in layer.weights]


def _norms(net: Net) -> list[Layer]:
    return [x for x in net.layers if x.type == "BatchNorm"]


def _require_unmerged(case: Case) -> Net:
    unmerged = case.unmerged
    if unmerged is None:
        raise UnjudgedError("no BatchNorm is left in the network; give the one before merging")
    for layer in _norms(unmerged):
        if len(layer.weights) < 3:
            raise UnjudgedError(f"BatchNorm {layer.name} has no weights")
    return unmerged

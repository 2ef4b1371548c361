"""Resize and Upsample.

Each axis is a matrix, output places by input places, that follows from ONNX's formulas
(ONNX, Resize 19; onnxruntime's for older versions). Caffe's layers compute an axis when its
rows are the same numbers moved along: by a whole number of input places an output
(Convolution), or one input place each whole number of outputs (Deconvolution). At the border
ONNX repeats the last pixel where Caffe reads zeros: rows of one matrix are multiples of rows
of the other, so a Scale of one number a place makes them equal.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from nnie_pipeline.caffe.net import Shape
from nnie_pipeline.onnx2caffe.filters import LARGEST
from nnie_pipeline.onnx2caffe.graph import Graph, Index, Node, converts
from nnie_pipeline.onnx2caffe.operators.compose import Composer
from nnie_pipeline.onnx2caffe.operators.moving import rearrange
from nnie_pipeline.onnx2caffe.operators.resize_lines import (
    TOLERANCE,
    Line,
    Matrix,
    convolution,
    deconvolution,
    line_of,
)
from nnie_pipeline.onnx2caffe.operators.windows import need_picture


@converts("Resize", "Upsample")
def resize(graph: Graph, node: Node) -> None:
    """Deconvolution for whole factors up, Convolution for whole factors down.

    Nearest repeats or takes pixels; linear weighs them, with a Scale for the border. Refused
    are other factors (align_corners: distances), cubic, and antialias downwards.
    """
    source = graph.shape(node, node.inputs[0])
    target = graph.shape(node, node.outputs[0])
    if source == target and _is_plain(node):
        graph.alias(node)
        return
    need_picture(graph, node, source)
    if source[:2] != target[:2]:
        graph.refuse(node, "it resizes channels, NNIE resizes rows and columns", "resize maps only")
    mode = node.get("mode", "nearest")
    if mode not in ("nearest", "linear", "bilinear") or (
        node.get("antialias", 0) and (target[2] < source[2] or target[3] < source[3])
    ):
        graph.refuse(
            node,
            f"NNIE's Caffe has no {mode} interpolation"
            + (" with antialias" if node.get("antialias", 0) else ""),
            "use nearest upsampling by a whole factor, or ConvTranspose",
        )
    scales = _scales(graph, node, source, target)
    if mode == "nearest":
        places = [_nearest(graph, node, source[i], target[i], scales[i]) for i in (2, 3)]
        _move(graph, node, places, source, target)
        return
    _linear(graph, node, source, target, scales)


def _is_plain(node: Node) -> bool:
    """Whether equal sizes mean equal values (not where a region is cropped)."""
    return _transformation(node) != "tf_crop_and_resize"


def _scales(graph: Graph, node: Node, source: Shape, target: Shape) -> list[float]:
    """Output over input size of every axis, as ONNX's formulas use it: the given scales, or
    what follows from the sizes."""
    given: npt.NDArray[np.float32] | None = None
    if node.operator == "Upsample" and "scales" in node.attributes:
        given = np.asarray(node.attributes["scales"], np.float32)
    elif node.operator == "Upsample" or graph.opset < 11:
        given = graph.weight(node, 1)
    elif node.input(2):
        given = graph.weight(node, 2)
    scales = [b / a for a, b in zip(source, target, strict=True)]
    axes = node.get("axes", range(len(source)))
    policy = node.get("keep_aspect_ratio_policy", "stretch")
    if policy != "stretch" and min(axes) < 0:
        graph.refuse(
            node,
            f"onnxruntime does not resize by {policy} where axes are counted from behind",
            "give the axes as [2, 3]",
        )
    if given is not None and given.size:
        for axis, scale in zip(axes, given.tolist(), strict=True):
            scales[axis % len(source)] = scale
    elif policy != "stretch":
        sizes = graph.constant(node, 3)
        assert sizes is not None
        ratios = [x / source[a] for a, x in zip(axes, sizes.tolist(), strict=True)]
        for axis in axes:
            scales[axis] = min(ratios) if policy == "not_larger" else max(ratios)
    return scales


def _places(graph: Graph, node: Node, size: int, count: int, scale: float) -> Matrix:
    """Where in the input each output place lies (ONNX, coordinate_transformation_mode), in
    float32 and with the length rounded as in onnxruntime: a third may be 0.33333334."""
    x, one, half = np.arange(count, dtype=np.float32), np.float32(scale), np.float32(0.5)
    mode = _transformation(node)
    if node.operator == "Upsample" or graph.opset < 11:
        mode = "asymmetric"
    if mode == "asymmetric":
        places = x / one
    elif mode == "align_corners":
        places = x * np.float32(size - 1) / np.float32(max(count - 1, 1))
    elif mode == "pytorch_half_pixel" and count == 1:
        places = x * 0
    elif mode in ("half_pixel", "pytorch_half_pixel", "half_pixel_symmetric"):
        places = (x + half) / one - half
        if mode == "half_pixel_symmetric":
            places = places + np.float32(size / 2 * (1 - count / (size * scale)))
    else:
        graph.refuse(
            node,
            f"NNIE's Caffe has no coordinate_transformation_mode {mode}",
            "use torch.nn.Upsample(scale_factor=2)",
        )
    return np.asarray(places, np.float64)


def _nearest(graph: Graph, node: Node, size: int, count: int, scale: float) -> list[int]:
    """The input place that each output place repeats."""
    x = _places(graph, node, size, count, scale)
    rounding = node.get("nearest_mode", "round_prefer_floor")
    if node.operator == "Upsample" or graph.opset < 11:
        # onnxruntime before Resize 11: up takes the place before, down the one behind.
        rounding = "ceil" if scale < 1 else "floor"
    rounded = {
        "floor": np.floor(x),
        "ceil": np.ceil(x),
        "round_prefer_floor": np.ceil(x - 0.5),
        "round_prefer_ceil": np.floor(x + 0.5),
    }[rounding]
    places: list[int] = np.clip(rounded, 0, size - 1).astype(int).tolist()
    return places


def _move(graph: Graph, node: Node, places: list[list[int]], source: Shape, target: Shape) -> None:
    """Nearest: pixels taken or repeated."""
    factors = [b // a for a, b in zip(source[2:], target[2:], strict=True)]
    repeats = all(
        f and line == [k // f for k in range(a * f)]
        for line, f, a in zip(places, factors, source[2:], strict=True)
    )
    if repeats and max(factors) <= LARGEST:
        rows, columns = (Line(np.ones(f), f, 1, 0, np.ones(1)) for f in factors)
        c = Composer(graph, node)
        c.done(deconvolution(c, rows, columns, target))
        return

    def change(x: Index) -> Index:
        return x[:, :, places[0]][:, :, :, places[1]]

    rearrange(
        graph,
        node,
        change,
        (
            f"{_sizes(source, target)} with its rounding (coordinate_transformation_mode "
            f"{_transformation(node)}, nearest_mode {_rounding(node)}) repeats or takes pixels at "
            "uneven distances, NNIE repeats or takes them by a whole factor",
            "use torch.nn.Upsample(scale_factor=2, mode='nearest') and an input size at which "
            "every map doubles exactly",
        ),
    )


def _linear(graph: Graph, node: Node, source: Shape, target: Shape, scales: list[float]) -> None:
    lines = [
        line_of(_places(graph, node, source[i], target[i], scales[i]), source[i], target[i])
        for i in (2, 3)
    ]
    rows, columns = lines
    if (
        rows is None
        or columns is None
        or (rows.up > 1 < columns.down)
        or (columns.up > 1 < rows.down)
    ):
        graph.refuse(
            node,
            f"{_sizes(source, target)} weighs its pixels differently from place to place "
            f"(coordinate_transformation_mode {_transformation(node)}), NNIE's layers weigh all "
            "alike",
            "use torch.nn.Upsample(scale_factor=2, mode='bilinear', align_corners=False) and an "
            "input size at which every map doubles exactly",
        )
    c = Composer(graph, node)
    make = deconvolution if max(rows.up, columns.up) > 1 else convolution
    value = make(c, rows, columns, target)
    ratio = np.outer(rows.ratio, columns.ratio)
    if not np.allclose(ratio, 1, atol=TOLERANCE):
        value = c.affine(value, np.broadcast_to(ratio, target[1:]))
    c.done(value)


def _sizes(source: Shape, target: Shape) -> str:
    return f"{source[2]}x{source[3]} to {target[2]}x{target[3]}"


def _transformation(node: Node) -> str:
    return str(node.get("coordinate_transformation_mode", "half_pixel"))


def _rounding(node: Node) -> str:
    return str(node.get("nearest_mode", "round_prefer_floor"))

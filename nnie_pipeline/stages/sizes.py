"""sizes: the network of a zoo model or of files, its anchors, and the sizes of a build."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from nnie_pipeline import files
from nnie_pipeline.caffe.files import read_net
from nnie_pipeline.caffe.net import Net
from nnie_pipeline.caffe.shapes import ShapeError
from nnie_pipeline.caffe.templates import render
from nnie_pipeline.chips.batch_shapes import picture_input
from nnie_pipeline.chips.size_rows import SOURCE, Anchors, SizeRow
from nnie_pipeline.chips.sizes import valid_sizes
from nnie_pipeline.errors import InputError
from nnie_pipeline.onnx2caffe.convert import convert
from nnie_pipeline.onnx2caffe.load import load_model
from nnie_pipeline.stages.rewrite import keep_outputs
from nnie_pipeline.zoo.fetch import fetch
from nnie_pipeline.zoo.spec import Spec

RECORD = "sizes.json"
_SMALLEST, _LARGEST = 128, 1280
_STEPS = (8, 128)
"""A network's total stride is one of these or lies between them, else the nearer is taken."""


def network_of(
    spec: Spec, weights: Path | None, progress: Callable[[int, int | None], None] | None = None
) -> Net:
    """The Caffe network of a zoo model or spec, its outputs in the head's order.

    A model whose weights only the user can have gives its network without them.

    Raises:
        InputError: the weights cannot be had, or do not fit.
        NotExpressibleError: an ONNX model that NNIE's Caffe cannot express.
    """
    if not spec.is_caffe:
        model = load_model(fetch(spec, weights, progress).path)
        done = convert(model, spec.name, spec.default_size, spec.outputs or None, cut=True)
        done.net.outputs = list(dict.fromkeys(done.outputs.values()))
        return done.net
    needs_file = spec.source.kind == "given" and weights is None
    caffemodel = None if needs_file else fetch(spec, weights, progress).path
    if spec.template is None:
        assert spec.prototxt is not None
        net = read_net(spec.prototxt, caffemodel)
    else:
        height, width = spec.default_size or (640, 640)
        with TemporaryDirectory() as place:
            prototxt = Path(place) / f"{spec.name}.prototxt"
            prototxt.write_text(render(spec.template, height, width), encoding="utf-8")
            net = read_net(prototxt, caffemodel)
    keep_known_outputs(net, spec)
    return net


def keep_known_outputs(net: Net, spec: Spec) -> None:
    """Give `net` the spec's outputs in the spec's order, if it has all of them by name."""
    values = {x for layer in net.layers for x in layer.tops}
    if spec.outputs and values.issuperset(spec.outputs):
        keep_outputs(net, spec.outputs)


def anchors_of(head: Any) -> Anchors | None:
    """The anchors of a spec's head; None for none and for a head without strides."""
    strides = getattr(head, "strides", None)
    if strides is None:
        return None
    sides = getattr(head, "min_sizes", None)
    if sides is None:
        return Anchors(dict.fromkeys(strides, getattr(head, "anchors", 1)))
    return Anchors(
        {x: len(y) for x, y in zip(strides, sides, strict=True)},
        min(min(x) for x in sides),
        max(max(x) for x in sides),
    )


def write_sizes(net: Net, head: Any, chip: str, folder: Path) -> None:
    """Write `sizes.json`: square sizes, and those of the network's own shape, with their cost.

    Sides of 128 to 1280 in steps of the network's total stride, and the own size. A network
    whose sizes cannot be looked at gives the reason as `problem`.

    | key | value |
    |---|---|
    | `chip` | the chip that limits and times are for |
    | `own` | the network's own height and width |
    | `source` | height and width of the picture in whose pixels anchors are given |
    | `square`, `aspect` | rows as `nnie sizes --json` has them; `aspect` only when not square |
    """
    record: dict[str, Any] = {"chip": chip, "source": list(SOURCE), "square": [], "aspect": []}
    try:
        height, width = net.inputs[picture_input(net)][2:]
        record["own"] = [height, width]
        anchors = anchors_of(head)
        own = valid_sizes(net, chip=chip, anchors=anchors, at=[(height, width)])
        step = _total_stride(own)
        kinds = (
            {"square": (1, 1)} if height == width else {"square": (1, 1), "aspect": (width, height)}
        )
        for kind, ratio in kinds.items():
            found = valid_sizes(
                net, _SMALLEST, _LARGEST, step, kind == "square",
                None if kind == "square" else ratio, chip, anchors,
            )  # fmt: skip
            mine = own if kind == list(kinds)[-1] else []
            rows = {(x.width, x.height): x for x in [*found, *mine]}
            record[kind] = [_without_outputs(rows[x]) for x in sorted(rows)]
    except (ShapeError, InputError) as error:
        record["problem"] = str(error)
    (folder / RECORD).write_text(files.to_json(record), encoding="utf-8")


def _without_outputs(row: SizeRow) -> dict[str, Any]:
    return {key: value for key, value in row.to_dict().items() if key != "outputs"}


def _total_stride(own: list[SizeRow]) -> int:
    maps = [x for row in own for x in row.maps if min(x) > 1]
    if not maps:
        return _STEPS[1] // 4
    stride = math.ceil(own[0].height / min(h for h, _ in maps))
    rounded = 1 << (stride - 1).bit_length()
    return min(max(rounded, _STEPS[0]), _STEPS[1])

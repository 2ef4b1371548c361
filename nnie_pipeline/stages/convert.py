"""convert: ONNX to Caffe files, verified at once against onnxruntime."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import numpy as np
import onnx

from nnie_pipeline import files
from nnie_pipeline.caffe.files import caffe_names, read_net, write_net
from nnie_pipeline.caffe.net import Array, Net
from nnie_pipeline.caffe.shapes import ShapeError
from nnie_pipeline.chips.sizes import nearest_valid
from nnie_pipeline.engine.choice import ENGINES, session
from nnie_pipeline.engine.onnxruntime_engine import open_session
from nnie_pipeline.errors import CheckError, InputError, NotExpressibleError
from nnie_pipeline.onnx2caffe.convert import Conversion, convert
from nnie_pipeline.onnx2caffe.cut import Cut
from nnie_pipeline.onnx2caffe.load import load_model
from nnie_pipeline.stages.other_sizes import with_sizes
from nnie_pipeline.stages.probe import Probe

TOLERANCE = 1e-4
"""Largest error of a kept output, as a share of its maximum."""

REFERENCE = "reference.onnx"
"""The given model, cut at its outputs and at the fixed size: what all else is compared with."""

_STEPS = (32, 128)
"""What the strides of a network multiply to, as a rule."""


@dataclass(frozen=True)
class Converted:
    """What was written: layers by type, outputs and their verified errors."""

    prototxt: Path
    caffemodel: Path
    layers: int
    outputs: dict[str, str]
    errors: dict[str, float]
    assumed: str
    picture: str
    notes: tuple[str, ...] = ()
    cuts: tuple[Cut, ...] = ()

    def lines(self) -> list[str]:
        """What was assumed, repaired or cut, one line each."""
        said = [self.assumed] if self.assumed else []
        return [*said, *self.notes, *map(str, self.cuts)]


def convert_files(
    model_path: Path,
    stem: str,
    folder: Path,
    size: tuple[int, int] | None,
    outputs: Sequence[str] | None,
    probe: Probe,
    cut: bool = False,
    engine: str = ENGINES[0],
) -> Converted:
    """Convert `model_path` into `folder`: prototxt, caffemodel, convert.json, reference.onnx.

    `engine` runs the Caffe network that is compared with onnxruntime's run of the ONNX model.

    With `cut`, and without `outputs`, the network ends where NNIE's layers end.

    The files are written into `folder` as it is; the caller makes that atomic.

    Raises:
        InputError, NotExpressibleError: as `onnx2caffe.convert.convert`.
        CheckError: an output differs from onnxruntime's by more than `TOLERANCE`.
    """
    model = load_model(model_path)
    try:
        conversion = convert(model, stem, size, outputs, cut)
    except (InputError, NotExpressibleError) as error:
        if size is None:
            raise
        raise with_sizes(error, size, _nearest(model, size, outputs, cut)) from error
    prototxt, caffemodel = folder / f"{stem}.prototxt", folder / f"{stem}.caffemodel"
    write_net(conversion.net, prototxt, caffemodel)
    (folder / REFERENCE).write_bytes(conversion.fixed.reference.SerializeToString())
    written = read_net(prototxt, caffemodel)
    errors = _verify(conversion, written, probe, engine)
    names = caffe_names(conversion.net)
    kept = {onnx_name: names[value] for onnx_name, value in conversion.outputs.items()}
    record = {
        "model": model_path.name,
        "inputs": {x: list(y) for x, y in conversion.net.inputs.items()},
        "outputs": [{"onnx": x, "caffe": y} for x, y in kept.items()],
        "layers": len(written.layers),
        "assumed": conversion.fixed.assumed,
        "notes": list(conversion.fixed.notes),
        "cuts": [asdict(x) for x in conversion.cuts],
        "engine": engine,
        "verification": {
            "picture": probe.name,
            "tolerance": TOLERANCE,
            "max_relative_error": errors,
        },
    }
    (folder / "convert.json").write_text(files.to_json(record), encoding="utf-8")
    return Converted(
        prototxt, caffemodel, len(written.layers), kept, errors,
        conversion.fixed.assumed, probe.name, conversion.fixed.notes, conversion.cuts,
    )  # fmt: skip


def _verify(conversion: Conversion, written: Net, probe: Probe, engine: str) -> dict[str, float]:
    """The largest relative error of each ONNX output, over every test input."""
    reference = open_session(conversion.fixed.reference.SerializeToString())
    caffe = session(engine, written)
    onnx_inputs = list(conversion.fixed.inputs)
    errors = dict.fromkeys(conversion.outputs, 0.0)
    for blobs in probe.inputs(list(conversion.fixed.inputs.values())):
        expected = reference.run(list(errors), dict(zip(onnx_inputs, blobs, strict=True)))
        found = caffe.run(dict(zip(written.inputs, blobs, strict=True)))
        for (name, value), array in zip(conversion.outputs.items(), expected, strict=True):
            errors[name] = max(errors[name], relative_error(array, found[value]))
    worst = max(errors, key=lambda x: errors[x])
    if not errors[worst] <= TOLERANCE:
        raise CheckError(
            f"the Caffe network differs from the ONNX model: output {worst} by "
            f"{errors[worst]:.3g} of its maximum (limit {TOLERANCE:g}) on {probe.name}; "
            "this conversion is wrong, please report the model"
        )
    return errors


def relative_error(expected: Array, found: Array) -> float:
    """The largest difference as a share of the largest expected value."""
    if expected.shape != found.shape:
        return float("inf")
    largest = float(np.abs(expected).max(initial=0.0))
    moved = float(np.abs(expected - found).max(initial=0.0))
    if not np.isfinite(moved):
        return float("inf")
    return moved / largest if largest else moved


def _nearest(
    model: onnx.ModelProto, size: tuple[int, int], outputs: Sequence[str] | None, cut: bool
) -> list[tuple[int, int]]:
    """Up to two sizes next to `size` at which the model converts."""
    rounder: dict[tuple[int, int] | None, None] = {}
    for step in _STEPS:
        rounder[-(-size[0] // step) * step, -(-size[1] // step) * step] = None
        rounder[size[0] // step * step, size[1] // step * step] = None
    rounder[None] = None  # the file's own
    rounder.pop(size, None)
    found: set[tuple[int, int]] = set()
    for other in rounder:
        if other is not None and min(other) == 0:
            continue
        try:
            near = nearest_valid(convert(model, "net", other, outputs, cut).net, size)
        except (InputError, NotExpressibleError, ShapeError):
            continue
        found.update(near)
        # One alone: reshapes to the numbers of one size hold at no other, though the model may.
        if len(found) > 1:
            break
    return sorted(sorted(found, key=lambda x: abs(x[0] - size[0]) + abs(x[1] - size[1]))[:2])

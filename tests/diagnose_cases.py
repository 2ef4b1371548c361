"""Real networks at small sizes, and faults planted in their dumps.

A fault is made here from the pixels on, with OpenCV and numpy alone: nothing of the code that
has to find it.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

import cv2
import numpy as np
import numpy.typing as npt

from nnie_pipeline.caffe.files import read_net
from nnie_pipeline.caffe.net import Array, Net
from nnie_pipeline.calibration.geometry import Geometry, Placement
from nnie_pipeline.calibration.network_input import InputSpec
from nnie_pipeline.diagnose.case import Case, CasePicture
from nnie_pipeline.diagnose.hypothesis import Hypothesis, Values
from nnie_pipeline.diagnose.predict import Predictor
from nnie_pipeline.engine.onnxruntime_engine import Session
from nnie_pipeline.quant.ranges import RangeRecorder, Ranges
from nnie_pipeline.quant.simulate import Simulator
from nnie_pipeline.rewrite import merge_batch_norm
from nnie_pipeline.stages.dump import picture_scales
from nnie_pipeline.stages.rewrite import at_size

Pixels = npt.NDArray[np.uint8]
PICTURES = ("12", "21", "26")


@dataclass
class Subject:
    """A case for each picture, and what remembers its predictions."""

    case: Case
    fed: list[Pixels]
    shapes: list[Pixels]
    predict: Callable[[Hypothesis, int, bool], Values | None]
    wanted: list[str]
    simulators: dict[int, Simulator] = field(default_factory=dict)

    def run(self, blob: Array, net: Net | None = None, bits: int | None = None) -> Values:
        """The dump of a network for one input, calibrated on the subject's own pictures."""
        used = self.case.net if net is None else net
        width = self.case.bits[0] if bits is None else bits
        feed = {self.case.input: np.ascontiguousarray(blob, np.float32)}
        if not width:
            return Session(used, self.wanted).run(feed)
        assert self.case.ranges is not None
        simulator = self.simulators.get(width) if net is None else None
        if simulator is None:
            simulator = Simulator(used, width, self.case.ranges)
        if net is None:
            self.simulators[width] = simulator
        return {k: v for k, v in simulator.run(feed) if k in self.wanted}

    def calibrated_run(self, blob: Array, everything: list[Array]) -> Values:
        """As `run`, with a cfg whose mistake was there in calibration too."""
        width = self.case.bits[0]
        feeds = [np.ascontiguousarray(x, np.float32) for x in everything]
        ranges = ranges_of(self.case.net, feeds)
        made = Simulator(self.case.net, width, ranges).run({self.case.input: blob})
        return {k: v for k, v in made if k in self.wanted}


def subject(
    net: Net,
    spec: InputSpec,
    bits: int,
    shared: Path,
    index: int,
    source: Net | None = None,
    every: int = 5,
) -> Subject:
    """A network, three photographs of crowds, and the one of them that is dumped."""
    _, _, height, width = next(iter(net.inputs.values()))
    originals = [cv2.imread(str(shared / "images" / "crowd" / f"{x}.jpg")) for x in PICTURES]
    laid = [lay(x, height, width, spec.geometry) for x in originals]
    pictures = tuple(
        CasePicture(name, lambda canvas=canvas: canvas, where)  # type: ignore[misc]
        for name, (canvas, where) in zip(PICTURES, laid, strict=True)
    )
    blobs = [planes(x, spec) for x, _ in laid]
    scales = picture_scales(net, spec.scale)
    ranges = ranges_of(net, blobs, scales) if bits else None
    case = Case(net, spec, pictures, index, (bits,), ranges, source, scales=scales)
    made = [x for layer in net.layers for x in layer.tops]
    wanted = list(dict.fromkeys([*made[::every], *net.outputs]))
    remembered: dict[object, Values | None] = {}
    predictor = Predictor(case, wanted)

    def predict(hypothesis: Hypothesis, width: int, own: bool) -> Values | None:
        key = (hypothesis.variant, width, own)
        if key not in remembered:
            remembered[key] = predictor(hypothesis, width, own)
        return remembered[key]

    return Subject(case, [x for x, _ in laid], originals, predict, wanted)


def lay(picture: Pixels, height: int, width: int, geometry: Geometry) -> tuple[Pixels, Placement]:
    """A picture on a canvas, letterboxed in the middle or stretched."""
    rows, columns = picture.shape[:2]
    if geometry == "stretch":
        scale = Placement(width / columns, height / rows, 0, 0, rows, columns)
        return shrink(picture, height, width), scale
    factor = min(height / rows, width / columns)
    inner = max(1, round(rows * factor)), max(1, round(columns * factor))
    top, left = (height - inner[0]) // 2, (width - inner[1]) // 2
    canvas = np.zeros((height, width, 3), np.uint8)
    canvas[top : top + inner[0], left : left + inner[1]] = shrink(picture, *inner)
    return canvas, Placement(inner[1] / columns, inner[0] / rows, left, top, rows, columns)


def shrink(picture: Pixels, height: int, width: int) -> Pixels:
    return np.asarray(cv2.resize(picture, (width, height), interpolation=cv2.INTER_AREA), np.uint8)


def planes(pixels: Pixels, spec: InputSpec) -> Array:
    """(pixel - mean) * scale in the network's order, float32 (1, 3, H, W)."""
    return (raw(pixels, spec) - vector(spec.mean)) * vector(spec.scale)


def raw(pixels: Pixels, spec: InputSpec) -> Array:
    ordered = pixels[..., ::-1] if spec.colour == "RGB" else pixels
    return np.ascontiguousarray(ordered.transpose(2, 0, 1)[np.newaxis], np.float32)


def vector(values: tuple[float, ...]) -> Array:
    return np.float32(values).reshape(1, -1, 1, 1)


def ranges_of(net: Net, blobs: list[Array], scales: Mapping[str, float] | None = None) -> Ranges:
    """As the build calibrates: with `scales` the input is a picture, whose z is fixed."""
    recorder = RangeRecorder(net, scales)
    name = next(iter(net.inputs))
    session = Session(net, [x for x in recorder.values if x != name])
    for blob in blobs:
        recorder.add({name: blob, **session.run({name: blob})})
    return recorder.ranges()


@functools.cache
def mobilefacenet(shared: Path) -> tuple[Net, Net, InputSpec]:
    """MobileFaceNet from MXNet: merged, with its BatchNorm layers, and its input."""
    stem = shared / "models" / "mobilefacenet" / "mxnet2caffe_mobilefacenet"
    source = read_net(stem.with_suffix(".prototxt"), stem.with_suffix(".caffemodel"))
    merged = source.copy()
    merge_batch_norm.apply(merged)
    return merged, source, InputSpec("RGB", (127.5,) * 3, (1 / 128,) * 3)


@functools.cache
def slim(shared: Path) -> tuple[Net, InputSpec]:
    """Ultra-light slim, at 136x104 and up to its Reshapes: 8 outputs, odd widths."""
    stem = shared / "models" / "ultraface" / "slim-320"
    net = read_net(stem.with_suffix(".prototxt"), stem.with_suffix(".caffemodel"))
    maps = {y for x in net.layers if x.type == "Permute" for y in x.bottoms}
    net.layers = [
        x for x in net.layers if x.type not in ("Permute", "Reshape", "Concat", "Softmax")
        or x.tops[0] in maps
    ]  # fmt: skip
    net.outputs = [x for layer in net.layers for x in layer.tops if x in maps]
    net.drop_unused()
    return at_size(net, (136, 104)), InputSpec("RGB", (123.0, 117.0, 104.0), (1 / 128,) * 3,
                                               geometry="stretch")  # fmt: skip


@functools.cache
def mnet(shared: Path) -> tuple[Net, InputSpec]:
    """The article's RetinaFace at a size at which its Crops cut; BatchNorm not merged."""
    stem = shared / "models" / "retinaface_mnet025" / "mnet"
    net = read_net(stem.with_suffix(".prototxt"), stem.with_suffix(".caffemodel"))
    return at_size(net, (120, 152)), InputSpec("RGB", (0.0,) * 3, (1.0,) * 3)


def with_bits(given: Subject, bits: int) -> Subject:
    """The subject, expected to have another number of bits."""
    return replace(given, case=replace(given.case, bits=(bits,)))

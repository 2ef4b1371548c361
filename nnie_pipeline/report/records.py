"""The part of each stage's JSON that the report shows.

Fields that the report can do without have a default, so that the build of an older version
is still shown; what a newer version adds is passed over.
"""

from __future__ import annotations

from typing import ClassVar, Literal

from pydantic import BaseModel, ConfigDict

Shape = tuple[int, ...]


class Record(BaseModel):
    """A file of the build folder: its place there, and the stage of `nnie` that writes it."""

    model_config = ConfigDict(frozen=True, extra="ignore")
    PLACE: ClassVar[str]
    STAGE: ClassVar[str]


class Part(BaseModel):
    """A part of a record."""

    model_config = ConfigDict(frozen=True, extra="ignore")


class Fetched(Record):
    """Where the weights come from."""

    PLACE = "model/fetch.json"
    STAGE = "fetch"

    name: str
    summary: str = ""
    origin: str
    sha256: str
    size: int
    licence: str
    notes: str = ""


class KeptOutput(Part):
    """An output of the ONNX model and the Caffe top that holds it."""

    onnx: str
    caffe: str


class Verification(Part):
    """The converted network against onnxruntime; the errors are relative to an output's maximum."""

    picture: str
    tolerance: float
    max_relative_error: dict[str, float]


class Converted(Record):
    """ONNX to Caffe."""

    PLACE = "convert/convert.json"
    STAGE = "convert"

    model: str
    inputs: dict[str, Shape]
    outputs: tuple[KeptOutput, ...]
    layers: int
    assumed: str | None = None
    verification: Verification | None = None


class Pass(Part):
    """One pass: what it is for, how often it changed something, the difference it made."""

    name: str
    reason: str = ""
    changed: int
    difference: float
    changes: tuple[str, ...] = ()


class Rewritten(Record):
    """Caffe to NNIE-ready Caffe."""

    PLACE = "rewrite/rewrite.json"
    STAGE = "rewrite"

    names: dict[str, str]
    layers_before: int | None = None
    layers: int | None = None
    order: str | None = None
    order_note: str = ""
    picture: str | None = None
    tolerance_note: str = ""
    tolerance_raised: bool = False
    skipped: tuple[str, ...] = ()
    passes: tuple[Pass, ...]


class Finding(Part):
    """A rule that a layer breaks."""

    id: str
    layer: str
    severity: Literal["error", "warning", "hint"]
    message: str
    fix: str


class Checked(Record):
    """The network against the chip's rules."""

    PLACE = "check/check.json"
    STAGE = "check"

    chip: str = ""
    findings: tuple[Finding, ...]


class SizeRow(Part):
    """A valid input size, its anchors in pixels of `Sized.source`, and its estimated cost."""

    height: int
    width: int
    anchors: int | None = None
    smallest_anchor: float | None = None
    largest_anchor: float | None = None
    macs: int
    parameters: int = 0
    memory_8: int
    memory_16: int
    ms_8: float
    ms_16: float
    note: str = ""


class Sized(Record):
    """The input sizes at which the network works: square ones, and those of its own shape."""

    PLACE = "check/sizes.json"
    STAGE = "check"

    chip: str
    own: tuple[int, int] | None = None
    source: tuple[int, int] = (1080, 1920)
    square: tuple[SizeRow, ...]
    aspect: tuple[SizeRow, ...] = ()
    problem: str = ""


class Placement(Part):
    """Size of the picture before it was brought to the network's size."""

    height: int
    width: int
    scale_x: float
    scale_y: float


class CalibrationPicture(Part):
    """One picture of the calibration set."""

    file: str
    source: str
    sha256: str
    licence: str
    gray: bool
    placement: Placement | None = None


class NetworkInput(Part):
    """What the network is fed with, per channel in its own order."""

    colour: str
    mean: tuple[float, ...]
    scale: tuple[float, ...]
    geometry: str
    anchor: str = ""
    fill: tuple[int, ...] = ()


class Calibrated(Record):
    """The calibration set."""

    PLACE = "calibration/calibration.json"
    STAGE = "calibrate"

    height: int
    width: int
    input: NetworkInput
    interpolation: str = ""
    pictures: tuple[CalibrationPicture, ...]


class DumpedBlob(Part):
    """One value of the network."""

    layer: str
    type: str
    value: str
    shape: Shape


class Dumped(Record):
    """The values of the rewritten network in execution order."""

    PLACE = "dump/dump.json"
    STAGE = "dump"

    engine: str = ""
    blobs: tuple[DumpedBlob, ...]


class LayerDifference(Part):
    """One layer of two dumps; None stands for a number that is not finite."""

    name: str
    type: str
    shape: Shape
    cosine: float | None
    max_abs: float | None
    rel_euclid: float | None
    sqnr_db: float | None = None


class Compared(Record):
    """Float against simulated, in execution order."""

    PLACE = "compare/8.json"
    STAGE = "compare"

    layers: tuple[LayerDifference, ...]
    threshold: float
    first_below: str | None = None
    worst: str | None = None
    only_left: tuple[str, ...] = ()
    only_right: tuple[str, ...] = ()


class Compared8(Compared):
    """Float against 8 bit."""


class Compared16(Compared):
    """Float against 16 bit."""

    PLACE = "compare/16.json"


class Difference(Part):
    """Detections of two runs on one picture; the largest distances, in pixels."""

    matched: int
    lost: int
    new: int
    box_pixels: float | None
    landmark_pixels: float | None


class EvaluatedPicture(Part):
    """The detections on one picture, by run: onnx, float, 16, 8."""

    name: str
    judged: bool
    counts: dict[str, int]
    drawn: dict[str, str]
    differences: dict[str, Difference]


class Judged(Part):
    """Whether a picture holds a bar: `run` is compared with `against`."""

    picture: str
    run: str
    against: str
    passed: bool


class Bar(Judged):
    """A limit and whether a picture holds it; without one the same detections are enough."""

    limit_pixels: float | None
    same_faces: bool
    pixels: float


class Embedded(Part):
    """A picture's embeddings: cosine with the ONNX model's, by run: float, 16, 8."""

    name: str
    cosines: dict[str, float | None]


class CosineBar(Judged):
    """The least cosine of a run's embedding, and whether a picture reaches it."""

    limit_cosine: float
    cosine: float | None


class Evaluated(Record):
    """The answers of all runs: detections, or a recogniser's embeddings."""

    PLACE = "evaluate/evaluate.json"
    STAGE = "evaluate"

    pictures: tuple[EvaluatedPicture, ...] = ()
    bars: tuple[Bar, ...] = ()
    embeddings: tuple[Embedded, ...] = ()
    cosine_bars: tuple[CosineBar, ...] = ()
    skipped: int = 0
    passed: bool

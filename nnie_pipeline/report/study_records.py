"""What the report shows of a network's values and of the studies that others than `nnie run` make.

As `report.records`.
"""

from __future__ import annotations

from pydantic import Field

from nnie_pipeline.report.records import Part, Record, Shape


class AlternativeLayer(Part):
    """One value: cosine and noise by the rule that chose the ranges."""

    layer: str
    type: str
    cosine: dict[str, float | None]
    sqnr_db: dict[str, float | None] = Field(default_factory=dict)


class Alternatives(Record):
    """Other ranges than the maximum, compared; `outputs` is the least cosine by rule."""

    PLACE = "clip/alternatives.json"
    STAGE = "simulate"

    bits: int | str
    layers: tuple[AlternativeLayer, ...]
    outputs: dict[str, float | None]
    best: str = ""


class RangeOfFile(Part):
    """z of one input of a layer: by calibration, in a compiled file, and between them."""

    layer: str
    bottom: str
    own: int
    file: int | None = None
    sixteenths: float | None = None


class RangesApart(Part):
    """How far z by calibration is from the file's, in sixteenths of an octave."""

    count: int
    median: float
    mean_magnitude: float
    p10: float
    p90: float


class CompiledRanges(Record):
    """Ranges by calibration held against those of a compiled file."""

    PLACE = "wk/wk.json"
    STAGE = "simulate"

    file: str
    verdict: str
    bits: int
    rule: str
    pictures: int
    layers: tuple[RangeOfFile, ...]
    summary: RangesApart | None = None


class DrawnLayer(Part):
    """A layer, and the number of the chip's operation that it belongs to."""

    name: str
    type: str
    bottoms: tuple[str, ...]
    tops: tuple[str, ...]
    detail: str = ""
    operation: int


class DrawnValue(Part):
    """A value of the float run; its histogram is explained in `compare.histogram`."""

    shape: Shape
    least: float | None = None
    largest: float | None = None
    mean: float | None = None
    deviation: float | None = None
    zeros: float = 0.0
    below: float = 0.0
    first: int = 0
    positive: tuple[int, ...] = ()
    negative: tuple[int, ...] = ()


class BatchNorm(Part):
    """A BatchNorm that was not merged: the channel that most of its dump's error comes from.

    `before` and `behind` are the first and the last layer of its operation; `factor` is what
    the Scale behind it multiplies the channel by.
    """

    layer: str
    before: str | None = None
    behind: str | None = None
    channels: int
    channel: int
    share: float
    mean: float
    spread: float
    factor: float | None = None


class Effect(Part):
    """What the number format does to a layer."""

    kind: str
    layer: str
    evidence: str
    size: float | None = None


class NetworkDrawn(Record):
    """The rewritten network with its values, and how the chip reads them."""

    PLACE = "compare/network.json"
    STAGE = "compare"

    inputs: dict[str, Shape]
    outputs: tuple[str, ...]
    layers: tuple[DrawnLayer, ...]
    values: dict[str, DrawnValue]
    reads: dict[str, dict[str, tuple[int, ...]]] = Field(default_factory=dict)
    batch_norms: tuple[BatchNorm, ...] = ()
    effects: tuple[Effect, ...] = ()


class Explained(Part):
    """A cause, and how far a dump would lie from it."""

    cause: str
    title: str
    variant: str = ""
    bits: int | None = None
    distance: float | None = None
    outputs: float | None = None
    remedy: str = ""
    test: str = ""


class Diagnosed(Record):
    """Why a dump is not what it should be."""

    PLACE = "diagnose/diagnose.json"
    STAGE = "diagnose"

    state: str
    picture: str = ""
    blobs: int | None = None
    bits: int | None = None
    distance: float | None = None
    outputs: float | None = None
    tied: tuple[str, ...] = ()
    ranked: tuple[Explained, ...] = ()
    unjudged: dict[str, str] = Field(default_factory=dict)
    effects: tuple[Effect, ...] = ()
    notes: tuple[str, ...] = ()


class OutputError(Part):
    """1 - cosine of the worst output, and its signal to noise ratio."""

    error: float
    sqnr_db: float | None = None


class SensitiveLayer(Part):
    """A layer: alone in the chip's numbers (`only`), and alone in float (`without`)."""

    name: str
    type: str = ""
    only: OutputError
    without: OutputError
    gain: float | None = None


class Sensitivity(Record):
    """What each layer's numbers cost the outputs."""

    PLACE = "sensitivity/sensitivity.json"
    STAGE = "sensitivity"

    bits: int
    pictures: int
    everything: OutputError
    layers: tuple[SensitiveLayer, ...]


class Mix(Part):
    """A set of 16-bit layers: cosine of the worst output, time over that of 8 bit."""

    layers: tuple[str, ...]
    cosine: float
    slowdown: float


class Mixed(Record):
    """The smallest set of 16-bit layers that reaches a cosine, and the curve to it."""

    PLACE = "mixed/mixed.json"
    STAGE = "mixed"

    chosen: Mix
    met: bool
    curve: tuple[Mix, ...]
    target_cosine: float | None = None
    max_slowdown: float | None = None


class Verified(Part):
    """Accuracy over the folds, its standard deviation, and the threshold."""

    accuracy: float
    deviation: float
    threshold: float


class PairsVerified(Record):
    """A recogniser on pairs of pictures, by run."""

    PLACE = "evaluate/pairs.json"
    STAGE = "evaluate"

    pairs: int
    folds: int
    pictures: int
    runs: dict[str, Verified]


class Histograms(Record):
    """How often each level occurs in the calibration pictures, by channel."""

    PLACE = "calibration/histograms.json"
    STAGE = "calibrate"

    channels: tuple[str, ...]
    counts: tuple[tuple[int, ...], ...]

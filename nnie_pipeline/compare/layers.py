"""Two dumps compared layer by layer."""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np

from nnie_pipeline.caffe.net import Array
from nnie_pipeline.compare.dumps import Dump, DumpedBlob
from nnie_pipeline.compare.layout import bare, explain, same_blob, without_padding
from nnie_pipeline.compare.match import match
from nnie_pipeline.compare.metrics import difference
from nnie_pipeline.errors import InputError

THRESHOLD = 0.99
"""RuyiStudio's default: a cosine below it is shown in red."""

ORANGE, RED = 0.99, 0.95
"""RuyiStudio's graph colours a layer orange below 0.99 and red up to 0.95."""

REL_EUCLID = 0.10
"""RuyiStudio's default: a relative Euclidean distance above it is shown in red."""

Colour = Literal["", "orange", "red"]


@dataclass(frozen=True)
class LayerDifference:
    """One layer of both dumps; a layer with several tops stands once for each.

    The numbers are those of `metrics.Difference`. `note` says what was done to make the two
    sides comparable.
    """

    name: str
    type: str
    blob: str
    shape: tuple[int, ...]
    cosine: float
    max_abs: float
    rel_euclid: float
    mean_abs: float = 0.0
    sqnr_db: float = 0.0
    overlap: float = 1.0
    note: str = ""

    @property
    def colour(self) -> Colour:
        """RuyiStudio's colour of the layer."""
        return "" if self.cosine >= ORANGE else "orange" if self.cosine > RED else "red"


@dataclass(frozen=True)
class Mismatch:
    """A layer of both dumps whose shapes differ, and why that may be."""

    name: str
    type: str
    left: tuple[int, ...]
    right: tuple[int, ...]
    reason: str


@dataclass(frozen=True)
class Comparison:
    """Layers in execution order, and what could not be compared.

    `missing` says in words which outputs of either side have no partner.
    """

    left: str
    right: str
    layers: tuple[LayerDifference, ...]
    only_left: tuple[str, ...]
    only_right: tuple[str, ...]
    threshold: float
    mismatched: tuple[Mismatch, ...] = ()
    notes: tuple[str, ...] = ()
    missing: tuple[str, ...] = ()

    @property
    def first_below(self) -> LayerDifference | None:
        """The first layer below the threshold."""
        return next((x for x in self.layers if x.cosine < self.threshold), None)

    @property
    def worst(self) -> LayerDifference | None:
        """The layer with the smallest cosine."""
        return min(self.layers, key=lambda x: x.cosine, default=None)

    def to_json(self) -> dict[str, Any]:
        """The content of `compare --json`; numbers that are not finite are null."""
        first, worst = self.first_below, self.worst
        return {
            "left": self.left,
            "right": self.right,
            "threshold": self.threshold,
            "layers": [
                {
                    "name": x.name,
                    "type": x.type,
                    "blob": x.blob,
                    "shape": list(x.shape),
                    "cosine": x.cosine,
                    "max_abs": _finite(x.max_abs),
                    "rel_euclid": _finite(x.rel_euclid),
                    "mean_abs": _finite(x.mean_abs),
                    "sqnr_db": _finite(x.sqnr_db),
                    "overlap": x.overlap,
                    "note": x.note,
                }
                for x in self.layers
            ],
            "first_below": first.name if first else None,
            "worst": worst.name if worst else None,
            "below": sum(x.cosine < self.threshold for x in self.layers),
            "only_left": list(self.only_left),
            "only_right": list(self.only_right),
            "mismatched": [
                {"name": x.name, "type": x.type, "left": list(x.left), "right": list(x.right),
                 "reason": x.reason}
                for x in self.mismatched
            ],
            "missing": list(self.missing),
            "notes": list(self.notes),
        }  # fmt: skip


def compare(left: Dump, right: Dump, threshold: float = THRESHOLD) -> Comparison:
    """Compare the values of two dumps of any kind; `left` is the reference.

    Raises:
        InputError: nothing in common, or a file that cannot be read.
    """
    found = match(left, right)
    layers: list[LayerDifference] = []
    mismatched: list[Mismatch] = []
    with ThreadPoolExecutor(min(4, os.cpu_count() or 1)) as pool:
        results = list(pool.map(lambda pair: _layer(left, pair[0], right, pair[1]), found.pairs))
    for result in results:
        if isinstance(result, Mismatch):
            mismatched.append(result)
        else:
            layers.append(result)
    if not layers:
        raise _nothing(left, right, mismatched)
    return Comparison(
        left.kind, right.kind, tuple(layers),
        tuple(x.value for x in found.only_left), tuple(x.value for x in found.only_right),
        threshold, tuple(mismatched), found.notes, found.missing,
    )  # fmt: skip


def _nothing(left: Dump, right: Dump, mismatched: Sequence[Mismatch]) -> InputError:
    if not mismatched and left.named != right.named:
        numbered = right.folder if left.named else left.folder
        return InputError(
            f"{left.folder} and {right.folder} have no layer in common that its size alone tells: "
            f"{numbered} has layer numbers only; give cnn_net_tree.dot with --dot"
        )
    if not mismatched:
        return InputError(
            f"{left.folder} and {right.folder} have no layer in common; are they dumps of one "
            "network?"
        )
    first = mismatched[0]
    return InputError(
        f"layer {first.name} is {list(first.left)} on the left and {list(first.right)} on "
        f"the right: {first.reason}"
    )


def _layer(left: Dump, a: DumpedBlob, right: Dump, b: DumpedBlob) -> LayerDifference | Mismatch:
    named, other = (a, b) if a.type or not b.type else (b, a)
    values = _fitted(left.load(a), right.load(b), a.role in ("weight", "bias"))
    if values is None:
        reason = explain(a.shape, b.shape)
        files = [x.folder / y.file for x, y in ((left, a), (right, b)) if not x.named]
        said = f"{' and '.join(map(str, files))}: {reason}" if files else reason
        return Mismatch(named.layer, named.type, a.shape, b.shape, said)
    x, y, alignment = values
    notes = [f"rows padded to {alignment} bytes: padding taken off"] if alignment else []
    if not (a.scaled and b.scaled):
        y = y * np.float32(_factor(x, y))
        notes.append("codes without their unit: scaled to the other side")
    role = "" if a.role == "output" else f" ({a.role} {a.number})"
    found = difference(x, y)
    shape = named.shape if len(named.shape) >= len(other.shape) else other.shape
    return LayerDifference(
        f"{named.layer}{role}", named.type, named.blob, shape or x.shape,
        found.cosine, found.max_abs, found.rel_euclid, found.mean_abs, found.sqnr_db,
        found.overlap, "; ".join(notes),
    )  # fmt: skip


def _fitted(x: Array, y: Array, flat: bool) -> tuple[Array, Array, int] | None:
    """Both in one shape, and the bytes to which rows were aligned; None where that fails."""
    if flat:
        return (x.reshape(-1), y.reshape(-1), 0) if x.size == y.size else None
    if x.shape == y.shape or same_blob(x.shape, y.shape):
        return x, y, 0
    if y.ndim == 1 and x.ndim > 1:
        fitted = without_padding(y, bare(x.shape))
        return None if fitted is None else (x, *fitted)
    if x.ndim == 1 and y.ndim > 1:
        fitted = without_padding(x, bare(y.shape))
        return None if fitted is None else (fitted[0], y, fitted[1])
    return None


def _factor(x: Array, y: Array) -> float:
    """What `y` has to be multiplied with to be as long as `x`."""
    lengths = [float(np.linalg.norm(v.astype(np.float64).reshape(-1))) for v in (x, y)]
    return lengths[0] / lengths[1] if lengths[1] else 1.0


def _finite(value: float) -> float | None:
    return value if abs(value) < float("inf") else None

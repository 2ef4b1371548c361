"""Two dumps compared layer by layer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from nnie_pipeline.compare.dumps import Dump, DumpedBlob
from nnie_pipeline.compare.metrics import difference
from nnie_pipeline.errors import InputError

THRESHOLD = 0.99
"""RuyiStudio's default: a cosine below it is shown in red."""


@dataclass(frozen=True)
class LayerDifference:
    """One layer of both dumps; a layer with several tops stands once for each."""

    name: str
    type: str
    blob: str
    shape: tuple[int, ...]
    cosine: float
    max_abs: float
    rel_euclid: float


@dataclass(frozen=True)
class Comparison:
    """Layers in execution order of the left dump, and what stands on one side only."""

    left: str
    right: str
    layers: tuple[LayerDifference, ...]
    only_left: tuple[str, ...]
    only_right: tuple[str, ...]
    threshold: float

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
                }
                for x in self.layers
            ],
            "first_below": first.name if first else None,
            "worst": worst.name if worst else None,
            "below": sum(x.cosine < self.threshold for x in self.layers),
            "only_left": list(self.only_left),
            "only_right": list(self.only_right),
        }


def compare(left: Dump, right: Dump, threshold: float = THRESHOLD) -> Comparison:
    """Compare the values of two dumps; `left` is the reference.

    Raises:
        InputError: no layer in common, or a layer of different shapes.
    """
    others = {_key(right, i): x for i, x in enumerate(right.blobs)}
    layers, only_left = [], []
    for i, blob in enumerate(left.blobs):
        other = others.pop(_key(left, i), None)
        if other is None:
            only_left.append(blob.value)
            continue
        if blob.shape != other.shape:
            raise InputError(
                f"layer {blob.layer} is {list(blob.shape)} on the left and {list(other.shape)} on "
                "the right; the dumps are of different networks or sizes: dump both again"
            )
        layers.append(_layer(left, blob, right, other))
    if not layers:
        raise InputError(
            f"{left.folder} and {right.folder} have no layer in common; are they dumps of one "
            "network?"
        )
    only_right = tuple(x.value for x in others.values())
    return Comparison(left.kind, right.kind, tuple(layers), tuple(only_left), only_right, threshold)


def _key(dump: Dump, index: int) -> tuple[str, int]:
    """A value's layer and its place among that layer's tops."""
    blob = dump.blobs[index]
    number = 0
    while index > number and dump.blobs[index - number - 1].layer == blob.layer:
        number += 1
    return blob.layer, number


def _layer(left: Dump, blob: DumpedBlob, right: Dump, other: DumpedBlob) -> LayerDifference:
    found = difference(left.load(blob), right.load(other))
    return LayerDifference(
        blob.layer, blob.type, blob.blob, blob.shape,
        found.cosine, found.max_abs, found.rel_euclid,
    )  # fmt: skip


def _finite(value: float) -> float | None:
    return value if abs(value) < float("inf") else None

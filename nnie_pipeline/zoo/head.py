"""Parameters of the head (decoder) that a spec may name."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from nnie_pipeline.zoo.model import Model

Share = Annotated[float, Field(ge=0, le=1)]
Stride = Annotated[int, Field(ge=1, le=256)]
Pixels = Annotated[float, Field(gt=0, le=4096)]
Count = Annotated[int, Field(ge=1, le=4096)]
Run = Literal["float", "16", "8"]


class _Head(Model):
    """`judged`: which runs have to hold the accuracy bars of `stages.evaluate`.

    "float" is the Caffe network, "16" and "8" the simulations by their bits; the others are
    reported only.
    """

    judged: tuple[Run, ...] = ("float",)

    @property
    def parameters(self) -> dict[str, object]:
        """The fields of the head's class in `nnie_pipeline.heads`."""
        return self.model_dump(exclude={"decoder", "judged"})


class _Detector(_Head):
    """A detection lies above `score`; it overlaps a better one by `nms` at most."""

    strides: tuple[Stride, ...] = Field(min_length=1)
    score: Share = 0.5
    nms: Share = 0.4


class _Priors(_Detector):
    """`min_sizes` holds the side in pixels of the square prior boxes at each stride; `variance`
    scales centre and side.
    """  # fmt: skip

    min_sizes: tuple[tuple[Pixels, ...], ...]
    variance: tuple[Share, Share] = (0.1, 0.2)

    @model_validator(mode="after")
    def _one_row_a_stride(self) -> _Priors:
        _same_rows(self.strides, self.min_sizes)
        return self


def _same_rows(strides: tuple[int, ...], min_sizes: tuple[tuple[float, ...], ...]) -> None:
    if len(strides) != len(min_sizes):
        raise ValueError(
            f"min_sizes has {len(min_sizes)} rows for {len(strides)} strides; give one a stride"
        )


class RetinafaceHead(_Priors):
    """Boxes, two classes and five landmarks a prior box.

    Outputs in order: box, class, landmark, each at every stride.
    """

    decoder: Literal["retinaface"]
    judged: tuple[Run, ...] = ("float", "16", "8")

    @property
    def outputs(self) -> int:
        """How many outputs the head reads."""
        return 3 * len(self.strides)


class RetinafaceMxnetHead(_Detector):
    """Two classes, a box and five landmarks a prior box, as MXNet's RetinaFace has them.

    `min_sizes` holds the side in pixels of the square prior boxes at each stride, in the order
    of the channels. `logits`: the classes are taken before their Softmax. The outputs' order
    does not matter.
    """

    decoder: Literal["retinaface-mxnet"]
    min_sizes: tuple[tuple[Pixels, ...], ...]
    logits: bool = False

    @model_validator(mode="after")
    def _one_row_a_stride(self) -> RetinafaceMxnetHead:
        _same_rows(self.strides, self.min_sizes)
        return self

    @property
    def outputs(self) -> int:
        """How many outputs the head reads."""
        return 3 * len(self.strides)


class ScrfdHead(_Detector):
    """A score, a box as distances and `landmarks` points (0: none) for each of the cell's anchors.

    Outputs in order: score, box, landmark, each at every stride. `logits`: the scores are
    taken before their Sigmoid.
    """

    decoder: Literal["scrfd"]
    anchors: Count = 2
    landmarks: Annotated[int, Field(ge=0, le=1024)] = 5
    logits: bool = True

    @property
    def outputs(self) -> int:
        """How many outputs the head reads."""
        return (3 if self.landmarks else 2) * len(self.strides)


class UltrafaceHead(_Priors):
    """Two classes and a box for each prior box.

    Outputs in order: class, box, each at every stride.
    """

    decoder: Literal["ultraface"]

    @property
    def outputs(self) -> int:
        """How many outputs the head reads."""
        return 2 * len(self.strides)


class YoloxHead(_Detector):
    """A box, an objectness and `classes` classes a cell.

    Outputs in order: box, objectness, class, each at every stride and before its Sigmoid.
    """

    decoder: Literal["yolox"]
    classes: Count = 80

    @property
    def outputs(self) -> int:
        """How many outputs the head reads."""
        return 3 * len(self.strides)


class EmbeddingHead(_Head):
    """The one output of a recogniser, compared by cosine."""

    decoder: Literal["embedding"]

    @property
    def outputs(self) -> int:
        """How many outputs the head reads."""
        return 1


Head = Annotated[
    RetinafaceHead | RetinafaceMxnetHead | ScrfdHead | UltrafaceHead | YoloxHead | EmbeddingHead,
    Field(discriminator="decoder"),
]

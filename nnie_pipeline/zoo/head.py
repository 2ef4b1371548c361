"""Parameters of the head (decoder) that a spec may name."""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import Field, model_validator

from nnie_pipeline.zoo.model import Model

Share = Annotated[float, Field(ge=0, le=1)]
Stride = Annotated[int, Field(ge=1, le=256)]
Pixels = Annotated[float, Field(gt=0, le=4096)]


class RetinafaceHead(Model):
    """Boxes, two classes and five landmarks a prior box.

    Outputs in order: box, class, landmark, each at every stride. `min_sizes` holds the side
    in pixels of the square prior boxes at each stride; `variance` scales centre and side.
    """

    decoder: Literal["retinaface"]
    strides: tuple[Stride, ...] = Field(min_length=1)
    min_sizes: tuple[tuple[Pixels, ...], ...]
    variance: tuple[Share, Share] = (0.1, 0.2)
    score: Share = 0.5
    nms: Share = 0.4

    @model_validator(mode="after")
    def _one_row_a_stride(self) -> RetinafaceHead:
        if len(self.strides) != len(self.min_sizes):
            raise ValueError(
                f"min_sizes has {len(self.min_sizes)} rows for {len(self.strides)} strides; give "
                "one a stride"
            )
        return self

    @property
    def outputs(self) -> int:
        """How many outputs the head reads."""
        return 3 * len(self.strides)


Head = RetinafaceHead

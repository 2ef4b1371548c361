"""Which share of the faces in a folder of pictures a detector finds at each input size.

There are no annotations: the faces that count are those that the network finds at any of the sizes
tried. Every picture is laid onto each size as the network wants it, its detections are taken back
to the picture's own pixels, and those of two sizes are one face when they overlap by more than 0.4
(intersection over union). Sizes are gone through from the largest; a false alarm at one size so
counts as a face that the others miss.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from nnie_pipeline.caffe.net import Net
from nnie_pipeline.calibration.geometry import place
from nnie_pipeline.calibration.network_input import InputSpec, stored_pixels, to_blob
from nnie_pipeline.calibration.pictures import PictureFile, read_picture
from nnie_pipeline.chips.batch_shapes import picture_input
from nnie_pipeline.engine.onnxruntime_engine import Session
from nnie_pipeline.heads.detections import Detections
from nnie_pipeline.heads.matching import match
from nnie_pipeline.heads.registry import Detector

OVERLAP = 0.4

Size = tuple[int, int]


@dataclass(frozen=True)
class Share:
    """What is found at a size (height, width): `found` of the `faces` that any size finds, and
    the side in pixels of the picture (root of the area) of the smallest face found; None: none."""

    size: Size
    found: int
    faces: int
    smallest: float | None

    @property
    def share(self) -> float | None:
        """`found` / `faces`; None when no size finds anything."""
        return self.found / self.faces if self.faces else None

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        return {"found": self.found, "faces": self.faces, "share": self.share,
                "smallest": self.smallest}  # fmt: skip


def found_shares(
    net: Net,
    sizes: Sequence[Size],
    pictures: Sequence[PictureFile],
    spec: InputSpec,
    head: Detector,
    progress: Callable[[int, int], None] | None = None,
) -> list[Share]:
    """The share of each of `sizes`, in their order.

    Args:
        net: the network with weights, its outputs as the head reads them.
        sizes: valid (height, width), each at least once.
        pictures: the pictures.
        spec: how a picture becomes the input.
        head: the decoder of the outputs.
        progress: called with how many runs of the network are done and how many there are.

    Raises:
        InputError: a picture that cannot be read, or outputs that the head does not read.
    """
    known: list[Detections | None] = [None] * len(pictures)
    found: dict[Size, list[Detections]] = {}
    order = sorted(set(sizes), key=lambda x: (-x[0] * x[1], x))
    for number, size in enumerate(order):
        session = Session(_at(net, size))
        found[size] = []
        for index, picture in enumerate(pictures):
            detections = _detect(session, net, size, picture, spec, head)
            found[size].append(detections)
            known[index] = _joined(known[index], detections)
            if progress:
                progress(number * len(pictures) + index + 1, len(order) * len(pictures))
    faces = sum(len(x) for x in known if x is not None)
    shares = {
        size: Share(size, _count(found[size], known), faces, _smallest(found[size]))
        for size in order
    }
    return [shares[x] for x in sizes]


def _at(net: Net, size: Size) -> Net:
    sized = net.copy()
    name = picture_input(net)
    sized.inputs[name] = (*net.inputs[name][:2], *size)
    return sized


def _detect(
    session: Session, net: Net, size: Size, picture: PictureFile, spec: InputSpec, head: Detector
) -> Detections:
    """The detections in pixels of the picture."""
    pixels, _ = read_picture(picture.path)
    canvas, placed = place(pixels, size, spec.geometry, spec.anchor, spec.fill_bgr)
    blob = to_blob(stored_pixels(canvas, spec.colour), spec)
    outputs = session.run({picture_input(net): blob})
    detections = head.decode_maps([outputs[x] for x in net.outputs], size)
    corners = placed.to_picture(detections.boxes.reshape(-1, 2, 2))
    return replace(detections, boxes=corners.reshape(-1, 4))


def _joined(known: Detections | None, new: Detections) -> Detections:
    """`known`, and the detections of `new` that are none of them."""
    if known is None:
        return new
    more = new[np.array(match(known, new, OVERLAP).only_right, np.intp)]
    return Detections(
        np.concatenate((known.boxes, more.boxes)),
        np.concatenate((known.scores, more.scores)),
        np.concatenate((known.landmarks, more.landmarks)),
        np.concatenate((known.classes, more.classes)),
    )


def _count(found: Sequence[Detections], known: Sequence[Detections | None]) -> int:
    return sum(
        len(match(faces, one, OVERLAP).pairs)
        for faces, one in zip(known, found, strict=True)
        if faces is not None
    )


def _smallest(found: Sequence[Detections]) -> float | None:
    sides = [
        float(np.sqrt(np.prod(np.clip(box[2:] - box[:2], 0, None))))
        for one in found
        for box in one.boxes
    ]
    return round(min(sides), 1) if sides else None

"""evaluate on a folder of the user's own pictures."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

from nnie_pipeline.calibration.pictures import find_pictures
from nnie_pipeline.calibration.sets import write_set
from nnie_pipeline.errors import InputError
from nnie_pipeline.heads.registry import head
from nnie_pipeline.stages.built import Built
from nnie_pipeline.stages.evaluate import evaluate

OWN = "own"
"""Where it goes in the evaluate folder of a build."""

_MOST = 10_000


def evaluate_own(
    built: Built,
    pictures: Path,
    folder: Path,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """Compare the runs on every picture in the folder `pictures`, as `evaluate` into `folder`.

    Raises:
        InputError: no pictures, one that cannot be read, or a model without a head.
    """
    spec = built.spec
    if spec.head is None:
        raise InputError(
            f"{spec.name}: its spec names no head, so its outputs cannot be decoded; write a spec "
            "(.yaml) with a head and run nnie run with it"
        )
    found = find_pictures(pictures)
    with tempfile.TemporaryDirectory(prefix="nnie-own-") as place:
        calibration = Path(place) / "set"
        write_set(found, built.input, built.size, calibration, allow_gray=True)
        return evaluate(
            built.reference, built.net, built.order, built.ranges, calibration,
            head(spec.head.decoder, spec.head.parameters), spec.head.judged, folder, progress,
            original=built.original, most=_MOST,
        )  # fmt: skip

"""What a recogniser's accuracy on pairs of pictures loses on the way to the chip.

`pairs.json` holds `pairs` (how many), `folds`, `pictures`, and for each run ("onnx": the
original; "float", "16", "8") its `accuracy`, `deviation` over the folds, and `threshold`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import numpy as np

from nnie_pipeline import files
from nnie_pipeline.calibration.geometry import Picture, place
from nnie_pipeline.calibration.network_input import InputSpec, stored_pixels, to_blob
from nnie_pipeline.calibration.pictures import read_picture
from nnie_pipeline.errors import InputError
from nnie_pipeline.heads.embedding import Embedding, cosine
from nnie_pipeline.heads.verification import FOLDS, Pair, verify
from nnie_pipeline.stages.built import Built
from nnie_pipeline.stages.evaluate import ORIGINAL, RUNS, Runs

PAIRS = "pairs.json"


def accuracy_on_pairs(
    built: Built,
    pairs: Sequence[Pair],
    pictures: Path,
    folder: Path,
    progress: Callable[[int, int], None] | None = None,
) -> dict[str, Any]:
    """Verify `pairs` of files in the folder `pictures` in every run; writes pairs.json.

    Raises:
        InputError: a picture is missing, or the model is no recogniser.
    """
    if built.spec.head is None or built.spec.head.decoder != "embedding":
        raise InputError(
            f"{built.spec.name} is no recogniser (its spec names no head embedding): pairs of "
            "pictures say nothing of it"
        )
    names = sorted({name for x in pairs for name in (x.left, x.right)})
    missing = next((x for x in names if not _inside(pictures, x).is_file()), None)
    if missing is not None:
        raise InputError(f"the pairs name {missing}, which is not in {pictures}; see --images")
    runs = Runs(built.reference, built.net, built.order, built.ranges)
    head = Embedding()
    found = {}
    for number, name in enumerate(names, 1):
        picture, _ = read_picture(_inside(pictures, name))
        blobs = [_blob(picture, x, built.size) for x in (built.input, built.original)]
        found[name] = {run: head.embed(maps) for run, maps in runs.outputs(*blobs).items()}
        if progress:
            progress(number, len(names))
    same = np.array([x.same for x in pairs])
    result: dict[str, Any] = {"pairs": len(pairs), "folds": FOLDS, "pictures": len(names)}
    result["runs"] = {
        run: asdict(
            verify(np.array([cosine(found[x.left][run], found[x.right][run]) for x in pairs]), same)
        )
        for run in (ORIGINAL, *RUNS)
    }
    (folder / PAIRS).write_text(files.to_json(result), encoding="utf-8")
    return result


def _inside(folder: Path, name: str) -> Path:
    if Path(name).is_absolute() or ".." in Path(name).parts:
        raise InputError(f"the pairs name {name}, which leads out of {folder}")
    return folder / name


def _blob(picture: Picture, spec: InputSpec, size: tuple[int, int]) -> Any:
    canvas, _ = place(picture, size, spec.geometry, spec.anchor, spec.fill_bgr)
    return to_blob(stored_pixels(canvas, spec.colour), spec)

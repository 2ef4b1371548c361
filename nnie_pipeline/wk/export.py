"""The parameters of a compiled network as `.npy` files."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np

from nnie_pipeline.files import added_files
from nnie_pipeline.wk.model import WkModel
from nnie_pipeline.wk.proof import Proof

_UNSAFE = re.compile(r"[^A-Za-z0-9_.-]")


def export_model(model: WkModel, proof: Proof | None, folder: Path) -> None:
    """Write every decoded layer.

    Without `proof`: `layerNN.codes.npy`, int16 (outputs, cells), and `layerNN.words.npy`, int32
    (3, outputs): bias, scale, shift. z of weights is not in the file, so no weights can be
    told. With it: `NAME.npy`, float32 in the caffemodel's shape, and `NAME.words.npy`.

    Raises:
        InputError: the folder cannot be written.
    """
    with added_files(folder) as place:
        if proof is None:
            for layer in model.layers:
                name = f"layer{layer.number:02}"
                np.save(place / f"{name}.codes.npy", layer.parameters.codes)
                np.save(place / f"{name}.words.npy", layer.parameters.words())
            return
        for found in proof.fitted:
            name = _UNSAFE.sub("_", found.predicted.name)[:200]
            if name.strip(".") != name or not name:
                name = f"layer{found.layer.number:02}"
            np.save(place / f"{name}.npy", found.dequantised())
            np.save(place / f"{name}.words.npy", found.layer.parameters.words())

"""The parameters of a compiled network as `.npy` files."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from nnie_pipeline.errors import CheckError
from nnie_pipeline.files import added_files, to_json
from nnie_pipeline.wk.model import WkModel
from nnie_pipeline.wk.proof import Proof
from nnie_pipeline.wk.weight_z import known_weights

INDEX = "layers.json"
"""Beside the weights: number and name of each layer, and its two files."""

_UNSAFE = re.compile(r"[^A-Za-z0-9_.-]")
_LONGEST = 200


def export_model(model: WkModel, proof: Proof | None, folder: Path) -> None:
    """Write every decoded layer.

    Without `proof`: `layerNN.codes.npy`, int16 (outputs, cells), and `layerNN.words.npy`, int32
    (3, outputs): bias, scale, shift; where the file tells z of weights `layerNN.weights.npy`,
    float32 (outputs, cells), NaN in outputs of which it does not. With it: `NAME.npy`, float32
    in the caffemodel's shape, `NAME.words.npy`, and `layers.json`, which tells the files of each
    layer: not every name can be that of a file.

    Raises:
        CheckError: by `proof` the weights are others, so that z of weights is not known.
        InputError: the folder cannot be written.
    """
    if proof is not None and not proof.weights_hold:
        raise CheckError(
            f"the .wk {proof.verdict}; nothing is exported, since z of weights is known only of "
            "the network that a file holds; leave --against out to export codes and words"
        )
    with added_files(folder) as place:
        if proof is None:
            for layer in model.layers:
                name = f"layer{layer.number:02}"
                np.save(place / f"{name}.codes.npy", layer.parameters.codes)
                np.save(place / f"{name}.words.npy", layer.parameters.words())
                weights = known_weights(model, layer)
                if weights is not None:
                    np.save(place / f"{name}.weights.npy", weights)
            return
        rows = []
        names = file_names([(x.layer.number, x.predicted.name) for x in proof.fitted])
        for found, name in zip(proof.fitted, names, strict=True):
            file, words = _files(name)
            np.save(place / file, found.dequantised())
            np.save(place / words, found.layer.parameters.words())
            whose = {"number": found.layer.number, "name": found.predicted.name}
            rows.append({**whose, "weights": file, "words": words})
        (place / INDEX).write_text(to_json(rows), encoding="utf-8")


def file_names(layers: Sequence[tuple[int, str]]) -> list[str]:
    """A file name without ending for each (number, name); their files differ also in lower case."""
    used: set[str] = set()
    names = []
    for number, wanted in layers:
        name = _UNSAFE.sub("_", wanted)[:_LONGEST]
        if not name or name.strip(".") != name:
            name = f"layer{number:02}"
        while used & (files := {x.lower() for x in _files(name)}):
            name = f"{name}-layer{number:02}"
        used |= files
        names.append(name)
    return names


def _files(name: str) -> tuple[str, str]:
    """Weights and words; those of one layer must not be the others of the next."""
    return f"{name}.npy", f"{name}.words.npy"

"""The numbers of a compiled network, in the form that the simulation takes them."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from nnie_pipeline.quant.assumptions import Assumptions
from nnie_pipeline.quant.gfpq_format import number_format
from nnie_pipeline.quant.operations import RANGED, Operation
from nnie_pipeline.quant.ranges import Ranges, picture_z
from nnie_pipeline.quant.words import LARGEST_WORD, Shapes, Words, WordsOf, own_words
from nnie_pipeline.wk.fit import Fitted
from nnie_pipeline.wk.proof import Proof
from nnie_pipeline.wk.reading import makers_of

RULE = "compiled file"


@dataclass(frozen=True)
class RangePair:
    """z of one bottom of a layer: by calibration, and in the file (None where it tells none)."""

    layer: str
    type: str
    bottom: str
    own: int
    file: int | None


def words_of_file(proof: Proof) -> WordsOf:
    """Weights and words of the layers that the file holds; those of others are the network's."""
    fitted = {x.predicted.name: x for x in proof.fitted}

    def words_of(
        step: Operation, bits: int, z: Sequence[int], shapes: Shapes, assumptions: Assumptions
    ) -> Words | None:
        found = fitted.get(step.leader.name)
        if found is None:
            return own_words(step, bits, z, shapes, assumptions)
        return _words(found, z[0])

    return words_of


def ranges_of_file(proof: Proof, bits: int, own: Ranges) -> tuple[Ranges, list[RangePair]]:
    """z of every bottom as the file has it, and each beside that of `own`.

    The scale words tell z of what a layer with weights reads, the layer table that of what it
    makes; where neither does, z of `own` stays. Pictures too have the file's z.
    """
    fitted = {x.predicted.name: x for x in proof.fitted}
    makers = makers_of(proof.net, proof.fitted)
    table: dict[str, tuple[int, ...]] = {}
    pairs = []
    for layer in proof.net.layers:
        if layer.type not in RANGED:
            continue
        calibrated = list(own.of(layer.name, bits, len(layer.bottoms)))
        used = []
        for i, bottom in enumerate(layer.bottoms):
            if bottom in own.scales:
                calibrated[i] = picture_z(own.scales[bottom], bits)
            known = fitted[layer.name].z_in if layer.name in fitted else None
            if known is None and bottom in makers:
                known = makers[bottom].layer.z_out
            pairs.append(RangePair(layer.name, layer.type, bottom, calibrated[i], known))
            used.append(calibrated[i] if known is None else known)
        table[layer.name] = tuple(used)
    return Ranges({bits: table}, own.pictures, RULE), pairs


def _words(found: Fitted, z_in: int) -> Words:
    predicted, stored = found.predicted, found.layer.parameters
    steps = number_format(found.layer.bits).steps
    unit = np.exp2((predicted.z_w + z_in) / steps)
    unit[np.isneginf(predicted.z_w)] = 1.0
    # Nothing known in the file marks the words that count in 2^-31; those that must, do.
    large = np.abs(np.rint(predicted.factor * unit * 2.0**42)) >= LARGEST_WORD
    scale = stored.scale.astype(np.float64) * np.where(large, 2.0**11, 1.0)
    bias, shift = stored.bias.astype(np.float64), stored.shift.astype(np.float64)
    return Words(found.dequantised(), unit, bias, scale, shift, z_in)

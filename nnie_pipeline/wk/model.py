"""A compiled network as its file tells it."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import zip_longest
from typing import Any

import numpy as np

from nnie_pipeline.wk.codes import Parameters
from nnie_pipeline.wk.header import WkHeader
from nnie_pipeline.wk.programs import Program

RECORD_TYPES = {
    0: "Convolution", 1: "Deconvolution", 3: "Pooling", 5: "InnerProduct", 7: "ReLU or PReLU",
    16: "Softmax", 24: "BatchNorm", 25: "Scale", 27: "Eltwise", 39: "Reshape", 44: "input",
    45: "output",
}  # fmt: skip
"""Types of the layer table by number, read off files whose networks are public."""

FROM_CHIP, OUTPUT, PACKED = 1, 1 << 8, 1 << 24
"""Flags of a row: the next row reads it where it was made, without the temporary memory; an
output of the network; four channels side by side in memory."""


@dataclass(frozen=True)
class WkRecord:
    """One row of the layer table: something that the chip does, with its output.

    `bytes` is the size of an element (1 and 2: the number format; 4: Q20.12), `z` that of the
    output in steps of the format, None for 4 bytes; `offset` where the output lies in the
    temporary memory, `stride` the bytes of a row, `size` all bytes; `flags` are `FROM_CHIP`,
    `OUTPUT` and `PACKED`; `instruction` is where its instructions begin, in units of 8 bytes.
    `id` counts layers, those too that have no row (Concat). A depthwise layer has a row for
    each channel.
    """

    type: int
    bytes: int
    height: int
    width: int
    channels: int
    offset: int
    flags: int
    stride: int
    id: int
    instruction: int
    z: int | None
    size: int

    @property
    def type_name(self) -> str:
        """The type in words."""
        return RECORD_TYPES.get(self.type, f"type {self.type}")


@dataclass(frozen=True)
class WkLayer:
    """A layer with weights: its rows of the layer table, its blocks, its parameters.

    `records` and `blocks` are (first, one behind the last); `stored` and `raw` are bytes of
    its blocks in the file and decompressed. `z_out` is None where the result is Q20.12.
    """

    number: int
    type: str
    depthwise: bool
    outputs: int
    height: int
    width: int
    bits: int
    z_out: int | None
    records: tuple[int, int]
    blocks: tuple[int, int]
    stored: int
    raw: int
    parameters: Parameters

    @property
    def one_scale(self) -> bool:
        """Whether all outputs share a scale word, so that no BatchNorm factor is in it."""
        used = self.parameters.scale[self.parameters.scale != 0]
        return self.depthwise or not len(used) or bool((used == used[0]).all())

    @property
    def zeros(self) -> int:
        """Cells that hold zero, with the unused ones."""
        return int((self.parameters.codes == 0).sum())


@dataclass(frozen=True)
class Undecoded:
    """A part of the file that is not decoded: what, where in the file, how many bytes."""

    what: str
    offset: int
    size: int


@dataclass(frozen=True)
class WkModel:
    """All of a `.wk`: `layers` in the order in which the chip runs them.

    `bits` is None where no layer with weights could be decoded; `programs` has an entry for
    each row of the layer table, or none where the instructions are not understood.
    """

    header: WkHeader
    size: int
    bits: int | None
    records: tuple[WkRecord, ...]
    layers: tuple[WkLayer, ...]
    blocks: int
    undecoded: tuple[Undecoded, ...]
    programs: tuple[Program | None, ...] = ()

    @property
    def table_note(self) -> str:
        """What vouches for the layer table, which the header's checksum leaves out."""
        told = sum(x is not None and x.output is not None for x in self.programs)
        if not told:
            return "the layer table lies outside the checksum, and nothing else vouches for its z"
        return (
            f"the layer table lies outside the checksum; {told} of its {len(self.records)} rows "
            "agree with the instructions inside it"
        )

    def totals(self) -> dict[str, Any]:
        """Sums over the decoded layers.

        A cell holds a weight or is unused, and then zero; only the network tells which. So
        there are `parameters_at_least`, all biases with the weights that are not zero, and
        `parameters_at_most`, them with all cells. `zeros` is the share of cells.
        """
        cells = sum(x.parameters.codes.size for x in self.layers)
        outputs = sum(x.outputs for x in self.layers)
        not_zero = cells - sum(x.zeros for x in self.layers)
        stored, raw = sum(x.stored for x in self.layers), sum(x.raw for x in self.layers)
        return {
            "layers": len(self.layers),
            "outputs": outputs,
            "biases": outputs,
            "parameters_at_least": not_zero + outputs,
            "parameters_at_most": cells + outputs,
            "bits": self.bits,
            "blocks": self.blocks,
            "stored_bytes": stored,
            "raw_bytes": raw,
            "stored_share": stored / raw if raw else 0.0,
            "cells": cells,
            "weights_not_zero": not_zero,
            "zeros": 1 - not_zero / cells if cells else 0.0,
            "batch_norm": self.batch_norm,
        }

    @property
    def batch_norm(self) -> str:
        """Whether BatchNorm was merged into the weights, as far as the words tell."""
        if not self.layers:
            return "unknown: no layer with weights is decoded"
        if any(x.parameters.shift.any() for x in self.layers):
            return "not merged: words behind the scale hold its shifts"
        if any(not x.one_scale for x in self.layers):
            return "not merged: outputs of one layer have scale words of their own"
        return "merged or none: every layer has one scale word and no shift"

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it, without the codes of weights."""
        return {
            **self.header.to_dict(),
            "size": self.size,
            "totals": self.totals(),
            "layers": [_layer(x) for x in self.layers],
            "records": [_record(x, y) for x, y in zip_longest(self.records, self.programs)],
            "table_note": self.table_note,
            "undecoded": [vars(x) for x in self.undecoded],
        }


def _record(row: WkRecord, program: Program | None) -> dict[str, Any]:
    return {**vars(row), "type": row.type_name, "program": program and vars(program)}


def _layer(layer: WkLayer) -> dict[str, Any]:
    parameters = layer.parameters
    return {
        **{k: v for k, v in vars(layer).items() if k != "parameters"},
        "cells_of_an_output": parameters.codes.shape[1],
        "zeros": layer.zeros,
        "largest_code": int(np.abs(parameters.codes).max(initial=0)) - 1,
        "one_scale": layer.one_scale,
        "scale": parameters.scale.tolist(),
        "bias": parameters.bias.tolist(),
        "shift": parameters.shift.tolist(),
    }

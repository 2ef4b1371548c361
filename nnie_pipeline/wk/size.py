"""How large the parameters of a compiled network will be, before it is compiled."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from nnie_pipeline.caffe.net import Net
from nnie_pipeline.wk.block_writer import layer_lengths, place_blocks
from nnie_pipeline.wk.codes import Parameters, write_layer
from nnie_pipeline.wk.predict import Predicted, predict

_TYPICAL_Z = {8: -100, 16: -1100}
"""Near the z of activations in public files. Only the words depend on it, not their number."""


@dataclass(frozen=True)
class ExpectedSize:
    """Bytes of the parameter area, and a line for each layer that is not counted in them."""

    parameters: int
    not_counted: tuple[str, ...]


def expected_size(net: Net, bits: int) -> ExpectedSize:
    """How large the parameters of the `.wk` are that nnie_mapper makes of `net`.

    The weights are quantised, laid out and compressed as the mapper does it; BatchNorm counts
    as it stands in `net`. Within 1 % of two public compiled files, mnet_640_inst.wk and
    mnet_mergebn_640L_inst.wk. Instructions come on top; layers whose layout is not known do not
    count.

    Raises:
        InputError: as `predict`.
    """
    predicted, open_parts = predict(net, bits)
    lengths = [length for item in predicted for length in _lengths(item)]
    return ExpectedSize(place_blocks(lengths)[-1], tuple(open_parts))


def said_size(net: Net) -> str:
    """The expected sizes at 8 and 16 bits in words.

    Raises:
        InputError: as `predict`.
    """
    sizes = {x: expected_size(net, x) for x in _TYPICAL_Z}
    text = " and ".join(f"{size.parameters:,} bytes at {x} bits" for x, size in sizes.items())
    rest = dict.fromkeys(y for x in sizes.values() for y in x.not_counted)
    left_out = f"; not counted: {'; '.join(rest)}" if rest else ""
    return f"parameters in the .wk will take {text}; instructions come on top{left_out}"


def _lengths(item: Predicted) -> list[int]:
    bias, scale, shift = item.words(_TYPICAL_Z[item.bits])
    if item.bits == 8:
        shift = np.zeros_like(shift)
    parameters = Parameters(item.codes, bias, scale, shift)
    depthwise = item.geometry.depthwise
    bodies = write_layer(parameters, depthwise, item.bits)
    if not depthwise:
        return layer_lengths(bodies)
    return [length for body in bodies for length in layer_lengths([body])]

"""How many bits each layer computes with.

nnie_mapper's compile_mode: 0 is 8 bit, 1 is 16 bit, and with 2 a layer whose name ends in
`_hp` has a 16-bit input and the others 8 (HiSVP development guide, sections 3.2.8 and 3.4).
Layers that the CPU runs compute in float.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

from nnie_pipeline.caffe.net import Net
from nnie_pipeline.chips.segments import HP_MARKER, on_cpu
from nnie_pipeline.errors import InputError

FLOAT = 0
"""The number of bits that stands for float32."""

WIDTHS = (8, 16)
MIXED: Literal["mixed"] = "mixed"
Bits = int | Mapping[str, int]
"""8 or 16 for a whole network, or the bits of each layer by its name (`FLOAT` for float)."""


def parse_bits(text: str) -> int | Literal["mixed"]:
    """ "8", "16" or "mixed" as given on the command line.

    Raises:
        InputError: anything else.
    """
    if text == MIXED:
        return MIXED
    if text in [str(x) for x in WIDTHS]:
        return int(text)
    raise InputError(f"--bits {text}: NNIE computes with 8 or 16 bits, or mixed by _hp names")


def bits_of_layers(net: Net, bits: Bits | Literal["mixed"]) -> dict[str, int]:
    """The bits of every layer by its name; only the first layer's of an operation count.

    Raises:
        InputError: "mixed" in a network without a `_hp` layer, or a layer without a number.
    """
    names = [x.name for x in net.layers]
    if bits == MIXED:
        if not any(x.endswith(HP_MARKER) for x in names):
            raise InputError(
                f"--bits {MIXED}: no layer's name ends in {HP_MARKER}; mark layers with nnie mixed "
                "or nnie rewrite --hp, or use 8 or 16"
            )
        found = {x: 16 if x.endswith(HP_MARKER) else 8 for x in names}
    elif isinstance(bits, int):
        found = dict.fromkeys(names, bits)
    else:
        assert not isinstance(bits, str)
        missing = next((x for x in names if x not in bits), None)
        if missing is not None:
            raise InputError(f"no number of bits is given for layer {missing}")
        found = {x: bits[x] for x in names}
    return {x.name: FLOAT if on_cpu(x) else found[x.name] for x in net.layers}

"""What the chip does as one operation: a layer and the followers fused with it.

On the chip a convolution, the BatchNorm and Scale behind it and the activation are one
operation (shown by the scale words and the layer table of compiled files), and in-place
activations are merged into any layer (HiSVP development guide, section 3.2). Nothing is
quantised in between. A ReLU behind a Concat is an operation of its own (layer table of two
compiled RetinaFace).
"""

from __future__ import annotations

from dataclasses import dataclass

from nnie_pipeline.caffe.net import DEPTHWISE, Layer, Net
from nnie_pipeline.chips.segments import on_cpu
from nnie_pipeline.quant.assumptions import USUAL, Assumptions

WEIGHTED = frozenset({"Convolution", "Deconvolution", "InnerProduct", *DEPTHWISE})
RANGED = WEIGHTED | {"Pooling", "Eltwise", "Concat"}
"""Layers whose inputs are quantised, or may be: those that ranges are recorded for."""

_LEADING = RANGED - {"Concat"}
_FUSED = frozenset(
    {"AbsVal", "BatchNorm", "Bias", "ELU", "PReLU", "RReLU", "ReLU", "Scale", "Sigmoid", "TanH"}
)


@dataclass(frozen=True)
class Operation:
    """A leading layer and its fused followers; the last top is what is stored.

    `quantises`: whether the bottoms are quantised.
    """

    layers: tuple[Layer, ...]
    quantises: bool

    @property
    def leader(self) -> Layer:
        """The first layer."""
        return self.layers[0]

    @property
    def on_cpu(self) -> bool:
        """Whether the CPU or DSP runs it, in float."""
        return on_cpu(self.leader)

    @property
    def tops(self) -> list[str]:
        """Every value that the operation makes, in order."""
        return [x for layer in self.layers for x in layer.tops]


def operations(net: Net, assumptions: Assumptions = USUAL) -> list[Operation]:
    """The operations of a network in execution order."""
    consumers = net.consumers()
    outputs = set(net.outputs)
    taken: set[int] = set()
    result = []
    for layer in net.layers:
        if id(layer) in taken:
            continue
        chain = [layer]
        while layer.type in _LEADING and assumptions.fused != "none" and not on_cpu(layer):
            value = chain[-1].tops[0]
            readers = consumers.get(value, [])
            if value in outputs or len(chain[-1].tops) != 1 or len(readers) != 1:
                break
            follower = readers[0]
            if follower.type not in _FUSED or follower.bottoms != [value] or on_cpu(follower):
                break
            if assumptions.fused == "in_place" and not follower.in_place:
                break
            chain.append(follower)
        taken.update(id(x) for x in chain)
        result.append(Operation(tuple(chain), _quantises(layer, assumptions)))
    return result


def _quantises(layer: Layer, assumptions: Assumptions) -> bool:
    if on_cpu(layer):
        return False
    if layer.type == "Concat":
        return assumptions.concat == "quantised"
    if layer.type == "Pooling":
        return assumptions.pooling == "quantised"
    return layer.type in RANGED


def is_depthwise(layer: Layer) -> bool:
    """Whether every channel is convolved on its own (one z a channel on the chip)."""
    if layer.type in DEPTHWISE:
        return True
    if layer.type not in ("Convolution", "Deconvolution"):
        return False
    group = layer.params.convolution_param.group
    return group > 1 and layer.weights[0].shape[:2] == (group, 1)

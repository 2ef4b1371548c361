"""What the chip does as one operation: a layer and the followers fused with it.

On the chip a convolution, the BatchNorm and Scale behind it and the activation are one
operation (shown by the scale words of compiled files), and in-place activations are merged
into any layer (HiSVP development guide, section 3.2). Nothing is quantised in between.
"""

from __future__ import annotations

from dataclasses import dataclass

from nnie_pipeline.caffe.net import Layer, Net

WEIGHTED = frozenset({"Convolution", "DepthwiseConv", "Deconvolution", "InnerProduct"})
QUANTISED = WEIGHTED | {"Pooling", "Eltwise", "Concat"}
"""Layers whose inputs are quantised, all bottoms of a layer with one z."""

_FUSED = frozenset(
    {"AbsVal", "BatchNorm", "Bias", "ELU", "PReLU", "RReLU", "ReLU", "Scale", "Sigmoid", "TanH"}
)


@dataclass(frozen=True)
class Operation:
    """A leading layer and its fused followers; the last top is what is stored."""

    layers: tuple[Layer, ...]

    @property
    def leader(self) -> Layer:
        """The first layer."""
        return self.layers[0]

    @property
    def quantises(self) -> bool:
        """Whether the bottoms are quantised."""
        return self.leader.type in QUANTISED

    @property
    def tops(self) -> list[str]:
        """Every value that the operation makes, in order."""
        return [x for layer in self.layers for x in layer.tops]


def operations(net: Net) -> list[Operation]:
    """The operations of a network in execution order."""
    consumers = net.consumers()
    outputs = set(net.outputs)
    taken: set[int] = set()
    result = []
    for layer in net.layers:
        if id(layer) in taken:
            continue
        chain = [layer]
        while layer.type in QUANTISED:
            value = chain[-1].tops[0]
            readers = consumers.get(value, [])
            if value in outputs or len(chain[-1].tops) != 1 or len(readers) != 1:
                break
            follower = readers[0]
            if follower.type not in _FUSED or follower.bottoms != [value]:
                break
            chain.append(follower)
        taken.update(id(x) for x in chain)
        result.append(Operation(tuple(chain)))
    return result


def is_depthwise(layer: Layer) -> bool:
    """Whether every channel is convolved on its own (one z a channel on the chip)."""
    if layer.type == "DepthwiseConv":
        return True
    if layer.type not in ("Convolution", "Deconvolution"):
        return False
    group = layer.params.convolution_param.group
    return group > 1 and layer.weights[0].shape[:2] == (group, 1)

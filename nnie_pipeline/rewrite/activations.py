"""ReLU6, Clip, HardSigmoid, HardSwish and Swish become layers that NNIE has.

Given:   y = ReLU6(x)
Result:  r = ReLU(x);  s = Bias(x) {-6};  t = ReLU(s);  y = Eltwise(r, t) {SUM, coeff: 1 -1}

Caffe's forks have these layers, the mapper does not (HiSVP development guide, section 4.3.2).
The forms are those of the converter; `caffe.compose` tells why and what they cost in NNIE's
number format. They equal the layer but for the rounding of float32.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import NoReturn

import numpy as np
import numpy.typing as npt

from nnie_pipeline.caffe.caffe_pb2 import LayerParameter
from nnie_pipeline.caffe.compose import SUM, Composition, Value
from nnie_pipeline.caffe.net import Layer, Net, Shape
from nnie_pipeline.caffe.shapes import infer
from nnie_pipeline.errors import NotExpressibleError
from nnie_pipeline.rewrite.base import Changes
from nnie_pipeline.rewrite.free_names import FreeNames

REASON = (
    "NNIE has no ReLU6, Clip, HardSigmoid, HardSwish or Swish (HiSVP guide, section 4.3.2); "
    "ReLU, Bias, Sigmoid and Eltwise make the same"
)


@dataclass
class _Layers(Composition):
    """The layers that take the place of `source`."""

    source: Layer
    names: FreeNames
    made: list[Layer] = field(default_factory=list)

    def layer(
        self,
        kind: str,
        bottoms: Sequence[Value],
        weights: Sequence[npt.NDArray[np.floating]] = (),
        params: LayerParameter | None = None,
        shape: Shape | None = None,
    ) -> Value:
        name = self.names.take(f"{self.source.name}_{kind.lower()}")
        stored = [np.asarray(x, np.float32) for x in weights]
        origin = (*self.source.origin, f"part of {self.source.type}")
        self.made.append(
            Layer(name, kind, [x.blob for x in bottoms], [name], params or LayerParameter(),
                  stored, origin=origin)
        )  # fmt: skip
        return Value(name, bottoms[0].shape if shape is None else shape)

    def refuse_without_channels(self) -> NoReturn:
        raise NotExpressibleError(
            f"layer {self.source.name} ({self.source.type}): its blob has no channel axis; "
            "keep the batch axis in front (shape 1 x C)"
        )


def apply(net: Net) -> Changes:
    """Replace every such layer.

    Raises:
        NotExpressibleError: a Clip whose bounds leave no value.
    """
    changes = Changes()
    shapes = infer(net)
    names = FreeNames(net)
    layers: list[Layer] = []
    for layer in net.layers:
        form = _FORMS.get(layer.type)
        if form is None:
            layers.append(layer)
            continue
        composed = _Layers(layer, names)
        form(composed, Value(layer.bottoms[0], shapes[layer.bottoms[0]]), layer)
        last = composed.made[-1]
        last.name, last.tops = layer.name, layer.tops
        layers += composed.made
        types = " ".join(x.type for x in composed.made)
        changes.lines.append(f"{layer.name}: {layer.type} is now {types}")
    net.layers = layers
    return changes


def _relu6(c: _Layers, value: Value, layer: Layer) -> Value:
    """min(max(x, 0) + slope * min(x, 0), threshold), as the forks' relu6_layer."""
    param = layer.params.relu6_param
    if param.threshold <= 0:
        raise _refused(layer, f"its threshold {param.threshold:g} is not above 0")
    if not param.negative_slope:
        return c.clip(value, 0.0, param.threshold)
    leaky = LayerParameter()
    leaky.relu_param.negative_slope = param.negative_slope
    above = c.relu(c.affine(value, 1.0, -param.threshold))
    return c.eltwise(SUM, [c.layer("ReLU", [value], params=leaky), above], (1, -1))


def _clip(c: _Layers, value: Value, layer: Layer) -> Value:
    param = layer.params.clip_param
    if not param.min < param.max:
        raise _refused(layer, f"its bounds {param.min:g} and {param.max:g} leave no value")
    return c.clip(value, param.min, param.max)


def _hard_sigmoid(c: _Layers, value: Value, layer: Layer) -> Value:
    param = layer.params.hardsigmoid_param
    return c.hard_sigmoid(value, param.alpha, param.beta)


def _hard_swish(c: _Layers, value: Value, layer: Layer) -> Value:
    return c.hard_swish(value)


def _swish(c: _Layers, value: Value, layer: Layer) -> Value:
    return c.swish(value, layer.params.swish_param.beta)


def _refused(layer: Layer, why: str) -> NotExpressibleError:
    return NotExpressibleError(f"layer {layer.name} ({layer.type}): {why}; correct the prototxt")


_FORMS: dict[str, Callable[[_Layers, Value, Layer], Value]] = {
    "Clip": _clip,
    "HardSigmoid": _hard_sigmoid,
    "HardSwish": _hard_swish,
    "ReLU6": _relu6,
    "Swish": _swish,
}

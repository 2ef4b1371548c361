"""Mean and scale of the input go into the first layer, as far as that is exact.

Given:   the network reads (pixel - mean) * scale;  y = Convolution {w, b}, without pads
Result:  it reads pixels;  y = Convolution {w * scale, b - sum of w * scale * mean}

nnie_mapper's data_scale is one number for all channels, so deviations a channel (0.229, 0.224,
0.225) stand in no cfg (HiSVP development guide, table of norm_type); folded into the weights
they cost nothing. A scale is always exact. A mean is not where the first layer has pads, whose
zeros stand for pixels that equal the mean: it is left to the cfg, or on request a Bias layer in
front takes it away (a map plus a vector of channels: HiSVP guide, legal forms of Bias). What is
left, a mean or a scale, is what nnie calibrate and the cfg have to say.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from typing import Literal

import numpy as np

from nnie_pipeline.caffe.caffe_pb2 import LayerParameter
from nnie_pipeline.caffe.net import Layer, Net
from nnie_pipeline.caffe.shapes import infer
from nnie_pipeline.errors import InputError
from nnie_pipeline.rewrite.affine import (
    WEIGHTED,
    Affine,
    has_channel_outputs,
    scale_inputs,
    takes_addend,
)
from nnie_pipeline.rewrite.base import Changes, InputForm

REASON = "nnie_mapper's data_scale is one number for all channels (HiSVP guide, norm_type)"


def input_form(net: Net, mean: Sequence[float], scale: Sequence[float]) -> InputForm:
    """`mean` (default 0) and `scale` (default 1) for the network's picture input.

    Raises:
        InputError: a count that is neither 1 nor that of the channels, a scale of 0, or not
            exactly one input that holds a map.
    """
    channels = net.inputs[_picture(net)][1]
    values = []
    for name, given, default in (("mean", mean, 0.0), ("scale", scale, 1.0)):
        numbers = tuple(map(float, given)) or (default,)
        if len(numbers) not in (1, channels) or not np.isfinite(numbers).all():
            raise InputError(
                f"input {name} {list(numbers)}: give one finite number for all channels, or "
                f"{channels}, one a channel"
            )
        values.append(numbers * (channels if len(numbers) == 1 else 1))
    if not all(values[1]):
        raise InputError(f"input scale {list(values[1])}: 0 makes every input the same")
    return InputForm(*values)


Fold = Literal["all", "scale", "none", "network"]
"""What may go into the first layer: "scale" leaves the mean to the cfg, "none" all.

With "network" nothing is left: what does not fit into weights becomes a layer in front.
"""


def apply(net: Net, form: InputForm | None = None, fold: Fold = "all") -> Changes:
    """Take as much of `form` in as `fold` allows; without a form there is nothing to do.

    All layers that read the input take it in, or none does. `Changes.input` is what is left,
    and `Changes.as_before` gives the new network the inputs of the old one.
    """
    changes = Changes(input=form)
    if form is None or form.is_plain or fold == "none":
        return changes
    name = _picture(net)
    shapes = infer(net)
    readers = net.consumers().get(name, [])
    if name in net.outputs or not all(
        x.type in WEIGHTED
        and x.weights
        and x.bottoms == [name]
        and has_channel_outputs(x, shapes[name])
        for x in readers
    ):
        if fold == "network" and name not in net.outputs:
            return _in_front(net, name, form, changes)
        changes.lines.append("the input's mean and scale stay: not only convolutions read it")
        return changes
    mean, scale = np.array(form.mean), np.array(form.scale)
    whole = fold in ("all", "network") and all(takes_addend(x) for x in readers)
    folded: Affine = (scale, -mean * scale if whole else 0 * mean)
    if not folded[1].any() and (scale == 1).all():
        if fold == "network":
            return _in_front(net, name, form, changes)
        changes.lines.append("the input's mean stays and is left to the cfg")
        return changes
    kept = [(x.weights, LayerParameter.FromString(x.params.SerializeToString())) for x in readers]
    if not all(scale_inputs(x, folded, shapes[name]) for x in readers):
        for layer, (weights, params) in zip(readers, kept, strict=True):
            layer.weights, layer.params = weights, params
        if fold == "network":
            return _in_front(net, name, form, changes)
        changes.lines.append("the input's mean and scale stay: float32 cannot hold the weights")
        return changes
    rest = InputForm(tuple(0.0 for _ in mean) if whole else form.mean, (1.0,) * scale.size)
    changes.input = rest
    position = list(net.inputs).index(name)
    # (pixel - mean) * scale back to pixel - what is left of the mean.
    back = 1 / scale, mean - np.array(rest.mean)
    changes.as_before = partial(_with_front, position=position, affine=back)
    what = "mean and scale" if whole and mean.any() else "scale"
    for layer in readers:
        layer.origin = (*layer.origin, f"folded the input's {what}")
        changes.lines.append(f"the input's {what} folded into {layer.name}")
    if fold == "network" and any(rest.mean):
        # What pixels minus mean were multiplied by is in the weights.
        plain = InputForm(rest.mean, (1.0,) * scale.size)
        _in_front(net, name, plain, changes)
        changes.as_before = partial(_with_front, position=position, affine=(1 / scale, mean))
    return changes


def _in_front(net: Net, name: str, form: InputForm, changes: Changes) -> Changes:
    """Put a layer in front that does what `form` says: Bias, or Scale where it multiplies."""
    mean, scale = np.array(form.mean), np.array(form.scale)
    front = f"{name}_minus_mean"
    while front in net.values() or any(x.name == front for x in net.layers):
        front += "_"
    params = LayerParameter()
    factors = [] if (scale == 1).all() else [scale.astype(np.float32)]
    if factors:
        params.scale_param.bias_term = True
    weights = [*factors, (-mean * scale).astype(np.float32)]
    for layer in net.layers:
        layer.bottoms = [front if x == name else x for x in layer.bottoms]
    kind = "Scale" if factors else "Bias"
    origin = ("the input's mean and scale" if factors else "the input's mean",)
    net.layers.insert(0, Layer(front, kind, [name], [front], params, weights, origin=origin))
    changes.lines.append(f"{origin[0]} done by the {kind} layer {front}")
    changes.input = InputForm(tuple(0.0 for _ in mean), (1.0,) * scale.size)
    position = list(net.inputs).index(name)
    changes.as_before = partial(_with_front, position=position, affine=(1 / scale, mean))
    return changes


def _picture(net: Net) -> str:
    maps = [name for name, shape in net.inputs.items() if len(shape) == 4]
    if len(maps) != 1:
        raise InputError(
            f"the network has {len(maps)} inputs that hold maps; a mean and a scale can be given "
            "for a network with one"
        )
    return maps[0]


def _with_front(net: Net, position: int, affine: Affine) -> Net:
    """A copy of `net` that applies `affine` to its input first."""
    result = net.copy()
    name = list(result.inputs)[position]
    front = f"{name}@before"
    for layer in result.layers:
        layer.bottoms = [front if x == name else x for x in layer.bottoms]
    params = LayerParameter()
    params.scale_param.bias_term = True
    weights = [x.astype(np.float32) for x in affine]
    result.layers.insert(0, Layer(front, "Scale", [name], [front], params, weights))
    return result

"""A training network made the deployed one: no data layers, no labels, no losses.

Given:   data, label = Data();  fc = InnerProduct(data);  loss = SoftmaxWithLoss(fc, label)
Result:  input data;  fc = InnerProduct(data);  prob = Softmax(fc)

The prototxts that Caffe ships with its models differ so: deploy.prototxt has an input in place
of the data layer and a Softmax called prob in place of the loss (Caffe 1.0, models/). All other
losses and measures, and what depends on a label, are left out.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from nnie_pipeline.caffe.caffe_pb2 import TEST, LayerParameter, NetState, NetStateRule
from nnie_pipeline.caffe.layer_types import feeds, trains
from nnie_pipeline.caffe.net import IN_PLACE_TYPES, Array, Shape
from nnie_pipeline.errors import InputError


@dataclass
class Deployed:
    """The layers that stay, the inputs that data layers became, and a line for each change."""

    layers: list[LayerParameter] = field(default_factory=list)
    inputs: dict[str, Shape] = field(default_factory=dict)
    notes: list[str] = field(default_factory=list)


def deployed(
    layers: Sequence[LayerParameter],
    inputs: Iterable[str],
    weights: Mapping[str, Sequence[Array]],
    size: tuple[int, int] | None,
    path: Path,
) -> Deployed:
    """The deployed part of `layers`.

    Args:
        layers: all layers of the file.
        inputs: the inputs that the file declares.
        weights: blobs by layer name, which tell the channels of a picture; may be empty.
        size: (height, width) of the picture, instead of what the data layer says.
        path: the file, for messages.

    Raises:
        InputError: a data layer feeds the network in a shape that is not known.
    """
    tested = [x for x in layers if in_test_phase(x)]
    declared = {*inputs, *(t for x in tested if x.type == "Input" for t in x.top)}
    sources = [x for x in tested if feeds(x.type, len(x.bottom))]
    if not sources and not declared:
        sources = [x for x in layers if feeds(x.type, len(x.bottom))]
    result = Deployed()
    labels = {x for source in sources for x in _labels(source)} - declared
    for layer in tested:
        if feeds(layer.type, len(layer.bottom)):
            continue
        if trains(layer.type):
            prob = _softmax(layer, tested) if not labels & set(layer.bottom[:1]) else None
            if prob is not None:
                result.layers.append(prob)
                result.notes.append(f"{layer.name} ({layer.type}) is now the Softmax {prob.name}")
                continue
        elif not labels.intersection(layer.bottom):
            result.layers.append(layer)
            labels.difference_update(layer.top)
            continue
        labels.update(layer.top)
        result.notes.append(f"{layer.name} ({layer.type}) is gone: it is for training only")
    read = {x for layer in result.layers for x in layer.bottom}
    for source in sources:
        for index, top in enumerate(source.top):
            if top in read and top not in labels and top not in declared:
                shape = _shape(source, index, _channels(source, top, result.layers, weights), size)
                if shape is None:
                    raise InputError(_missing(source, top, path))
                result.inputs[top] = shape
        taken = [x for x in source.top if x in result.inputs]
        gone = "gone: it is for training only"
        became = f"now the input {' and '.join(taken)}" if taken else gone
        result.notes.append(f"{source.name} ({source.type}) is {became}")
    return result


def in_test_phase(layer: LayerParameter) -> bool:
    """Whether the layer belongs to the deployed network (Caffe's include/exclude rules)."""
    state = NetState(phase=TEST)
    if layer.include:
        return any(_meets(state, x) for x in layer.include)
    return not any(_meets(state, x) for x in layer.exclude)


def _meets(state: NetState, rule: NetStateRule) -> bool:
    if rule.HasField("phase") and rule.phase != state.phase:
        return False
    if rule.HasField("min_level") and state.level < rule.min_level:
        return False
    if rule.HasField("max_level") and state.level > rule.max_level:
        return False
    return not rule.stage


def _labels(source: LayerParameter) -> list[str]:
    """The tops of a data layer that are no picture: all but the first, or called label."""
    if source.type in ("DummyData", "HDF5Data", "Python"):
        return [x for x in source.top if "label" in x.lower()]
    pictures = [x for x in source.top if "label" not in x.lower()][:1] or list(source.top[:1])
    return [x for x in source.top if x not in pictures]


def _softmax(loss: LayerParameter, layers: Sequence[LayerParameter]) -> LayerParameter | None:
    """The Softmax within a SoftmaxWithLoss, unless the network has one already."""
    if loss.type != "SoftmaxWithLoss" or not loss.bottom:
        return None
    scores = loss.bottom[0]
    if any(x.type == "Softmax" and scores in x.bottom for x in layers):
        return None
    used = {x.name for x in layers} | {x for layer in layers for x in layer.top}
    # A second top of the loss is its Softmax.
    name = "prob" if "prob" not in used else loss.name
    top = loss.top[1] if len(loss.top) > 1 else name
    layer = LayerParameter(name=name, type="Softmax", bottom=[scores], top=[top])
    if loss.HasField("softmax_param"):
        layer.softmax_param.CopyFrom(loss.softmax_param)
    return layer


def _channels(
    source: LayerParameter,
    top: str,
    layers: Sequence[LayerParameter],
    weights: Mapping[str, Sequence[Array]],
) -> int:
    """The channels of a picture by what the data layer says or the first filters take; or 0.

    Without weights 3: nothing is computed then, and pictures that are cropped are in colour.
    """
    transform = source.transform_param
    if transform.force_gray:
        return 1
    if transform.force_color or len(transform.mean_value) == 3 or source.type == "WindowData":
        return 3
    if source.type == "ImageData":
        return 3 if source.image_data_param.is_color else 1
    same = {top}
    for layer in layers:
        if not same.intersection(layer.bottom):
            continue
        blobs = weights.get(layer.name, ())
        if layer.type == "Convolution" and blobs and blobs[0].ndim == 4:
            return int(blobs[0].shape[1]) * max(layer.convolution_param.group, 1)
        if len(layer.bottom) == 1 and layer.type in IN_PLACE_TYPES | {"Split"}:
            same.update(layer.top)
    return 0 if weights else 3


def _shape(
    source: LayerParameter, index: int, channels: int, size: tuple[int, int] | None
) -> Shape | None:
    """The shape of a data layer's top for one picture, when all of it is known."""
    if source.type == "DummyData":
        return _dummy_shape(source, index)
    height, width = _picture_size(source)
    if source.type == "MemoryData":
        channels = source.memory_data_param.channels
    if size is not None:
        height, width = size
    return (1, channels, height, width) if min(channels, height, width) > 0 else None


def _picture_size(source: LayerParameter) -> tuple[int, int]:
    transform, image = source.transform_param, source.image_data_param
    crops = (
        transform.crop_size, source.data_param.crop_size, image.crop_size,
        source.window_data_param.crop_size,
    )  # fmt: skip
    if any(crops):
        return max(crops), max(crops)
    if transform.resize_param.height:
        return transform.resize_param.height, transform.resize_param.width
    if source.type == "MemoryData":
        return source.memory_data_param.height, source.memory_data_param.width
    return image.new_height, image.new_width


def _dummy_shape(source: LayerParameter, index: int) -> Shape | None:
    param = source.dummy_data_param
    if param.shape:
        return tuple(param.shape[min(index, len(param.shape) - 1)].dim)
    old = (param.num, param.channels, param.height, param.width)
    if not all(old):
        return None
    return tuple(x[min(index, len(x) - 1)] for x in old)


def _missing(source: LayerParameter, top: str, path: Path) -> str:
    return (
        f"{path}: the data layer {source.name} ({source.type}) does not say in what shape it feeds "
        f'{top}; write input: "{top}" input_shape {{ dim: 1 dim: C dim: H dim: W }} at the top of '
        "the file instead of it"
    )

"""What the chip runs for each layer of a Caffe network, as the layer table counts it.

Seen in mnet_640_inst.wk and mnet_mergebn_640L_inst.wk: BatchNorm, Scale and ReLU behind a
convolution run with it; Pooling, Eltwise, Reshape, Softmax and a ReLU behind Concat have a row
of their own; Concat has an id and no row, its bottoms lie one behind another in memory; a
depthwise layer has a row for each channel and an id before and behind them. Of other layers it
is not known whether they have a row.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from nnie_pipeline.caffe.axes import axis_of, concat_axis
from nnie_pipeline.caffe.net import Layer, Net, Shape
from nnie_pipeline.rewrite.affine import only_reader
from nnie_pipeline.wk.fit import Fitted
from nnie_pipeline.wk.model import WkRecord
from nnie_pipeline.wk.rows import KNOWN, RESHAPE, fits

CONCAT = "Concat"
_ROWS = {"Pooling": 3, "ReLU": 7, "Softmax": 16, "Eltwise": 27, "Reshape": 39}
_UNSEEN = {"PReLU": 7, "BatchNorm": 24, "Scale": 25}
_NOTHING = frozenset({"Dropout", "Split"})
_SLOPED = frozenset({"ReLU", "PReLU"})


@dataclass(frozen=True)
class Operation:
    """One layer, or a convolution with what runs with it.

    `row` is the type of its row, None where it has none or an unknown one; `sure` says whether
    that is known; `tops` are all values that it makes, `shape` that of the last; `relu` is
    whether a convolution ends with ReLU; `fitted` is what the file has for a convolution; `idle`
    marks a Crop that cuts nothing at this size.
    """

    layer: Layer
    tops: tuple[str, ...]
    shape: Shape
    row: int | None
    sure: bool
    relu: bool = False
    fitted: Fitted | None = None
    idle: bool = False

    @property
    def name(self) -> str:
        """The name of the first layer."""
        return self.layer.name

    @property
    def said(self) -> str:
        """Type, name and size in words."""
        return f"{self.layer.type} {self.name} of {'x'.join(map(str, self.shape[1:]))}"

    @property
    def ids(self) -> int:
        """How many ids it takes."""
        if self.fitted is None or not self.fitted.layer.depthwise:
            return 1
        first, last = self.fitted.layer.records
        return last - first + 2


def operations(net: Net, fitted: Sequence[Fitted], shapes: Mapping[str, Shape]) -> list[Operation]:
    """What the file has to run for `net`, in the network's order."""
    by_name = {x.predicted.name: x for x in fitted}
    readers = net.consumers()
    makers = net.producers()
    inside: set[str] = set()
    found: list[Operation] = []
    for layer in net.layers:
        if layer.name in inside:
            continue
        if layer.name in by_name:
            one = _convolution(net, readers, by_name[layer.name], shapes)
            inside.update(readers[x][0].name for x in one.tops[:-1])
        else:
            behind = [makers[x].type for x in layer.bottoms if x in makers]
            one = _other(layer, behind, shapes)
        found.append(one)
    return found


def _convolution(
    net: Net, readers: dict[str, list[Layer]], found: Fitted, shapes: Mapping[str, Shape]
) -> Operation:
    layer = found.predicted.layer
    tops = [layer.tops[0], *(x.tops[0] for x in found.predicted.chain)]
    follower = only_reader(net, readers, tops[-1])
    relu = follower is not None and follower.type == "ReLU" and layer.type != "Deconvolution"
    if relu and follower is not None:
        tops.append(follower.tops[0])
    kind = int(layer.type == "Deconvolution")
    return Operation(layer, tuple(tops), shapes[tops[-1]], kind, True, relu, found)


def _other(layer: Layer, behind: Sequence[str], shapes: Mapping[str, Shape]) -> Operation:
    tops, shape = tuple(layer.tops), shapes[layer.tops[0]]
    idle = layer.type == "Crop" and shapes[layer.bottoms[0]] == shape
    if layer.type == CONCAT:
        return Operation(layer, tops, shape, None, True)
    # ReLU is seen behind convolutions, where it runs with them, and behind Concat.
    if layer.type in _ROWS and (layer.type != "ReLU" or behind == [CONCAT]):
        return Operation(layer, tops, shape, _ROWS[layer.type], True)
    row = _ROWS.get(layer.type, _UNSEEN.get(layer.type))
    return Operation(layer, tops, shape, row, False, idle=idle)


def rowless(operation: Operation) -> bool:
    """Whether it surely has no row, or needs none since it changes nothing."""
    idle = operation.idle or operation.layer.type in _NOTHING
    return operation.row is None and (operation.sure or idle)


def strange(operation: Operation) -> bool:
    """Whether no file shows how a layer of this type runs."""
    known = operation.idle or operation.layer.type in {*_ROWS, CONCAT, *_NOTHING}
    return operation.fitted is None and not known


def may_be(operation: Operation, row: WkRecord) -> bool:
    """Whether a row, none of a convolution, may stand for it by type and size.

    A layer of a type that no file shows may have a row of a type that none shows, or a Reshape.
    """
    if operation.fitted is not None or rowless(operation) or not fits(row, operation.shape):
        return False
    if operation.row is not None:
        return row.type == operation.row
    return row.type not in KNOWN or row.type == RESHAPE


def ending(relu: bool, operation: Operation, readers: Sequence[Operation]) -> str | None:
    """How a convolution that ends with ReLU in the file, or does not, contradicts the network.

    `readers` are those of its result.
    """
    if relu == operation.relu:
        return None
    if operation.relu:
        return f"{operation.name} ends with ReLU in the network and has none in the file"
    sloped = [x for x in readers if x.layer.type in _SLOPED]
    if sloped and len(sloped) == len(readers):
        return None
    if sloped:
        return (
            f"{operation.name} ends with ReLU in the file; in the network "
            f"{next(x.name for x in readers if x.layer.type not in _SLOPED)} reads it without"
        )
    other = next((x for x in readers if strange(x)), None)
    ours = "none" if other is None else f"{other.layer.type} {other.name}"
    return f"{operation.name} ends with an activation in the file and has {ours} in the network"


def joins_channels(operation: Operation) -> bool:
    """Whether it is a Concat of channels."""
    layer = operation.layer
    return layer.type == CONCAT and axis_of(concat_axis(layer), operation.shape) == 1


def not_told(found: Sequence[Operation], softmax_told: bool) -> list[str]:
    """Settings of the network that no file tells, in words.

    `softmax_told` is whether the rows of all Softmax layers tell their axis.
    """
    types = {x.layer.type for x in found}
    said = [
        (_active(found), "slope of activations"),
        (any(_window(x.layer) for x in found), "shape of kernels of as many weights"),
        (any(_window(x.layer) for x in found), "padding and dilation beyond the size they give"),
        ("Pooling" in types, "method and window of Pooling"),
        ("Eltwise" in types, "operation and factors of Eltwise"),
        (not softmax_told, "axis of Softmax"),
    ]
    idle = [f"{x.said}, which cuts nothing (no row stands for it)" for x in found if x.idle]
    return [text for is_open, text in said if is_open] + idle


def not_wired(found: Sequence[Operation]) -> list[str]:
    """What a file does not tell whose instructions are not understood, in words."""
    said = [
        (_active(found), "activations behind convolutions"),
        (any(x.layer.type == CONCAT for x in found), "order of Concat"),
        (
            sum(len(x.layer.bottoms) for x in found) > 1,
            "which of several blobs of one size and z a layer reads",
        ),
    ]
    return [text for is_open, text in said if is_open]


def _active(found: Sequence[Operation]) -> bool:
    return any(x.relu or x.layer.type in _SLOPED for x in found)


def _window(layer: Layer) -> bool:
    return bool(layer.weights) and layer.weights[0].ndim == 4 and layer.weights[0][0, 0].size > 1

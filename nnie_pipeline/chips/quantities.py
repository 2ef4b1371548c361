"""The numbers that the declarative limits of `rules.yaml` compare.

A dimension is an int, or an int64 array with one value a candidate size: the same functions
serve the check of one network and the search over many sizes.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias, cast

import numpy as np
import numpy.typing as npt

from nnie_pipeline.caffe.axes import concat_axis, slice_axis
from nnie_pipeline.caffe.net import Layer
from nnie_pipeline.caffe.windows import Window, conv_window, pool_window
from nnie_pipeline.chips.rule import INPUT

Dim: TypeAlias = "int | npt.NDArray[np.int64]"
Dims: TypeAlias = tuple[Dim, ...]
Values: TypeAlias = dict[str, Any]
"""What is compared, by the name that a message gives it: numbers, arrays or words."""

_CHANNEL_BLOCK = 16
_COLUMN_BLOCK = 16


class UnknownShapeError(Exception):
    """A quantity needs a shape that is not known, or has another number of axes."""


@dataclass(frozen=True)
class Site:
    """A layer with the shapes of its bottoms and tops (None where unknown).

    `readers` are the types of the layers that read an input.
    """

    layer: Layer
    bottoms: Sequence[Dims | None]
    tops: Sequence[Dims | None]
    readers: frozenset[str] = frozenset()

    def bottom(self, index: int = 0) -> Dims:
        """The shape of a bottom."""
        return _known(self.bottoms, index)

    def top(self, index: int = 0) -> Dims:
        """The shape of a top."""
        return _known(self.tops, index)

    def map(self, index: int = 0) -> Dims:
        """The shape of a bottom that has four axes."""
        return _map(self.bottom(index))

    def window(self) -> Window:
        """Kernel, stride, pad and dilation of a convolution or pooling."""
        try:
            if self.layer.type == "Pooling":
                size = cast("tuple[int, int]", self.map()[2:4])
                return pool_window(self.layer.params.pooling_param, size)
            return conv_window(self.layer.params.convolution_param)
        except ValueError as error:
            raise UnknownShapeError from error


def blocks(value: Dim, size: int) -> Dim:
    """`value` / `size`, rounded up."""
    return -(-value // size)


def measure(name: str, site: Site) -> Values:
    """The values of a quantity, or of a field of the layer's parameters ("lrn_param.beta").

    Raises:
        UnknownShapeError: a shape that it needs is not known.
    """
    if "." in name:
        return _field(name, site.layer)
    return QUANTITIES[name](site)


def bound(name: str, site: Site, limits: Mapping[str, int]) -> Any:
    """A limit by name: a number of the chip, or a formula.

    Raises:
        UnknownShapeError: as `measure`.
    """
    return BOUNDS[name](site, limits) if name in BOUNDS else limits[name]


def field_written(name: str, layer: Layer) -> bool:
    """Whether the prototxt gives the field "message.field"."""
    message, field = name.split(".")
    param = getattr(layer.params, message)
    value = getattr(param, field)
    return bool(value) if _repeated(value) else bool(param.HasField(field))


def coefficients(site: Site) -> Values:
    """The layer's values that the chip stores as Q20.12."""
    p = site.layer.params
    match site.layer.type:
        case "LRN":
            return {"alpha": p.lrn_param.alpha, "k": p.lrn_param.k}
        case "Eltwise":
            return {f"coeff {i}": x for i, x in enumerate(p.eltwise_param.coeff)}
        case "ReLU":
            return {"negative_slope": p.relu_param.negative_slope}
        case "RReLU":
            return {"slope": (p.rrelu_param.lower + p.rrelu_param.upper) / 2}
        case "PReLU":
            slopes = [x for blob in site.layer.weights[:1] for x in blob.ravel().tolist()]
            return {f"slope {i}": x for i, x in enumerate(slopes)}
        case "ELU":
            return {"alpha": p.elu_param.alpha}
        case "Exp":
            return {"scale": p.exp_param.scale, "shift": p.exp_param.shift}
        case "Power":
            return {"scale": p.power_param.scale, "shift": p.power_param.shift}
        case "Threshold":
            return {"threshold": p.threshold_param.threshold}
        case "Reduction":
            return {"coeff": p.reduction_param.coeff}
    return {}


def _known(shapes: Sequence[Dims | None], index: int) -> Dims:
    shape = shapes[index] if index < len(shapes) else None
    if shape is None:
        raise UnknownShapeError
    return shape


def _map(shape: Dims) -> Dims:
    if len(shape) != 4:
        raise UnknownShapeError
    return shape


def _repeated(value: Any) -> bool:
    return not isinstance(value, bool | int | float | str)


def _field(name: str, layer: Layer) -> Values:
    message, field = name.split(".")
    param = getattr(layer.params, message)
    value = getattr(param, field)
    if _repeated(value):
        return {field if len(value) == 1 else f"{field} {i}": x for i, x in enumerate(value)}
    enum = param.DESCRIPTOR.fields_by_name[field].enum_type
    return {field: enum.values_by_number[value].name if enum is not None else value}


def _axis(value: int, shape: Dims) -> int:
    return value + len(shape) if value < 0 else value


def _batch(site: Site) -> Values:
    shape = site.top()
    # A recurrent network's inputs begin with the frames (Caffe 1.0, recurrent_layer).
    frames = len(shape) == 3 or site.readers & {"LSTM", "RNN"}
    return {} if frames else {"the first dim": shape[0]}


def _picture_side(site: Site) -> Values:
    shape = site.top()
    is_picture = len(shape) == 4 and isinstance(shape[1], int) and shape[1] in (1, 3)
    if site.readers and site.readers <= {"LSTM", "MatMul", "RNN"}:
        return {}  # Vectors and matrices, fed as S32.
    return {"height": shape[2], "width": shape[3]} if is_picture else {}


def _picture_channels(site: Site) -> Values:
    shape = site.top()
    return {"the number of channels": shape[1]} if len(shape) == 4 else {}


def _top_width(site: Site) -> Values:
    shape = site.top()
    if site.layer.type == INPUT and _picture_side(site):
        return {}
    return {"the width of the top": shape[3]} if len(shape) == 4 else {}


def _softmax_axis(site: Site) -> Values:
    return {"axis": _axis(site.layer.params.softmax_param.axis, site.bottom())}


def _softmax_channels(site: Site, vector: bool) -> Values:
    shape = site.bottom()
    if len(shape) < 2:
        return {}
    along_channels = _axis(site.layer.params.softmax_param.axis, shape) == 1
    is_vector = all(isinstance(x, int) and x == 1 for x in shape[2:])
    return {"channels": shape[1]} if along_channels and is_vector == vector else {}


def _roi_rows(site: Site) -> Values:
    shape = site.map()
    return {"rows": 2048 // (shape[3] * blocks(shape[1], _CHANNEL_BLOCK * 16))}


def _psroi_blocks(site: Site) -> Values:
    param = site.layer.params.psroi_pooling_param
    width = site.map()[3]
    outputs = blocks(param.output_dim, _CHANNEL_BLOCK)
    return {"blocks": width * outputs * blocks(param.group_size**2, _CHANNEL_BLOCK)}


def _window_rows(site: Site, limits: Mapping[str, int]) -> Dim:
    stride = max(site.window().stride[1], 1)
    return limits["kernel_rows"] // (blocks(site.map()[3], _COLUMN_BLOCK * stride) * stride)


def _deconv_rows(site: Site, limits: Mapping[str, int]) -> Dim:
    stride = site.window().stride[0]
    return limits["deconv_rows"] * stride // site.map()[3] - stride + 1


def _passthrough_rows(site: Site, limits: Mapping[str, int]) -> Dim:
    shape = site.map()
    width = max(site.layer.params.pass_through_param.block_width, 1)
    columns = blocks(shape[3], _COLUMN_BLOCK * width) * width
    return limits["kernel_rows"] // (columns * blocks(shape[1], _CHANNEL_BLOCK))


def _psroi_area(site: Site, _: Mapping[str, int]) -> Dim:
    outputs = max(site.layer.params.psroi_pooling_param.output_dim, 1)
    return 32768 // blocks(outputs, _CHANNEL_BLOCK)


QUANTITIES: dict[str, Callable[[Site], Values]] = {
    "batch": _batch,
    "picture_side": _picture_side,
    "picture_channels": _picture_channels,
    "top_width": _top_width,
    "kernel_h": lambda s: {"kernel_h": s.window().kernel[0]},
    "kernel_w": lambda s: {"kernel_w": s.window().kernel[1]},
    "stride_h": lambda s: {"stride_h": s.window().stride[0]},
    "stride_w": lambda s: {"stride_w": s.window().stride[1]},
    "pad_h": lambda s: {"pad_h": s.window().pad[0]},
    "pad_w": lambda s: {"pad_w": s.window().pad[1]},
    "extent_h": lambda s: {"the height of the dilated kernel": s.window().extent[0]},
    "extent_w": lambda s: {"the width of the dilated kernel": s.window().extent[1]},
    "coefficients": coefficients,
    "bottoms": lambda s: {"the number of bottoms": len(s.layer.bottoms)},
    "tops": lambda s: {"the number of tops": len(s.layer.tops)},
    "softmax_axis": _softmax_axis,
    "softmax_vector": lambda s: _softmax_channels(s, vector=True),
    "softmax_channels": lambda s: _softmax_channels(s, vector=False),
    "concat_axis": lambda s: {"axis": _axis(concat_axis(s.layer), s.bottom())},
    "slice_axis": lambda s: {"axis": _axis(slice_axis(s.layer), s.bottom())},
    "reshape_rank": lambda s: {"number of dims": len(s.layer.params.reshape_param.shape.dim)},
    "bottom_rank": lambda s: {"number of axes": len(s.bottom())},
    "bottom_height": lambda s: {"the height of the map": s.map()[2]},
    "bottom_width": lambda s: {"the width of the map": s.map()[3]},
    "bottom_area": lambda s: {"w * h": s.map()[2] * s.map()[3]},
    "roi_rows": _roi_rows,
    "psroi_blocks": _psroi_blocks,
}

BOUNDS: dict[str, Callable[[Site, Mapping[str, int]], Any]] = {
    "window_rows": _window_rows,
    "deconv_rows": _deconv_rows,
    "passthrough_rows": _passthrough_rows,
    "psroi_area": _psroi_area,
}

"""Kernel, stride, pad and dilation of a layer as Caffe reads them from its parameters."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from nnie_pipeline.caffe.caffe_pb2 import ConvolutionParameter, PoolingParameter

Pair = tuple[int, int]


@dataclass(frozen=True)
class Window:
    """(height, width) pairs of a sliding window, in pixels."""

    kernel: Pair
    stride: Pair = (1, 1)
    pad: Pair = (0, 0)
    dilation: Pair = (1, 1)

    @property
    def extent(self) -> Pair:
        """Rows and columns that the dilated kernel spans."""
        return (
            (self.kernel[0] - 1) * self.dilation[0] + 1,
            (self.kernel[1] - 1) * self.dilation[1] + 1,
        )


def conv_window(param: ConvolutionParameter) -> Window:
    """The window of a Convolution, Deconvolution or DepthwiseConv (2-D).

    Caffe 1.0, base_conv_layer: `kernel_h`/`kernel_w` or one or two `kernel_size` values;
    the same for stride (default 1), pad (default 0) and dilation (default 1).

    Raises:
        ValueError: no kernel size is given.
    """
    if param.HasField("kernel_h") or param.HasField("kernel_w"):
        kernel = (param.kernel_h, param.kernel_w)
    elif param.kernel_size:
        kernel = _pair(param.kernel_size, 0)
    else:
        raise ValueError("no kernel_size")
    stride = (
        (param.stride_h, param.stride_w)
        if param.HasField("stride_h") or param.HasField("stride_w")
        else _pair(param.stride, 1)
    )
    pad = (
        (param.pad_h, param.pad_w)
        if param.HasField("pad_h") or param.HasField("pad_w")
        else _pair(param.pad, 0)
    )
    return Window(kernel, stride, pad, _pair(param.dilation, 1))


def pool_window(param: PoolingParameter, size: Pair) -> Window:
    """The window of a Pooling layer over a map of `size` (height, width).

    Raises:
        ValueError: no kernel size is given and the pooling is not global.
    """
    if param.global_pooling:
        return Window(size)
    if param.HasField("kernel_h") or param.HasField("kernel_w"):
        kernel = (param.kernel_h, param.kernel_w)
    elif param.HasField("kernel_size"):
        kernel = (param.kernel_size, param.kernel_size)
    else:
        raise ValueError("no kernel_size")
    stride = (param.stride_h, param.stride_w) if param.HasField("stride_h") else (param.stride,) * 2
    pad = (param.pad_h, param.pad_w) if param.HasField("pad_h") else (param.pad,) * 2
    return Window(kernel, (stride[0], stride[1]), (pad[0], pad[1]))


def spp_window(level: int, size: Pair) -> Window:
    """The pooling window of level `level` of an SPP (2^level bins a side) over a map of `size`.

    Caffe 1.0, spp_layer: the smallest kernel that covers the map, stride as large, and what
    the bins reach beyond the map as padding, half of it (rounded up) on each side.
    """
    bins = 1 << level
    kernel = (-(-size[0] // bins), -(-size[1] // bins))
    beyond = (kernel[0] * bins - size[0], kernel[1] * bins - size[1])
    return Window(kernel, kernel, ((beyond[0] + 1) // 2, (beyond[1] + 1) // 2))


def check_window(window: Window, pooling: bool = False) -> Window:
    """`window`, if it is one that Caffe takes.

    Raises:
        ValueError: a kernel, stride or dilation under 1, or a pooling's pad that is not
            smaller than its kernel.
    """
    for name in ("kernel", "stride", "dilation"):
        height, width = getattr(window, name)
        if min(height, width) < 1:
            raise ValueError(f"its {name} {height}x{width} must be at least 1x1")
    (ph, pw), (kh, kw) = window.pad, window.kernel
    if pooling and (ph >= kh or pw >= kw):
        raise ValueError(f"its pad {ph}x{pw} must be smaller than its kernel {kh}x{kw}")
    return window


def rounds_up(param: PoolingParameter) -> bool:
    """Whether the pooling rounds its output up, as Caffe and NNIE do unless told otherwise."""
    return param.round_mode == PoolingParameter.CEIL and param.ceil_mode


def conv_output(window: Window, size: Pair) -> Pair:
    """Output (height, width) of a convolution: Caffe rounds down."""
    return (
        (size[0] + 2 * window.pad[0] - window.extent[0]) // window.stride[0] + 1,
        (size[1] + 2 * window.pad[1] - window.extent[1]) // window.stride[1] + 1,
    )


def deconv_output(window: Window, size: Pair) -> Pair:
    """Output (height, width) of a deconvolution."""
    return (
        window.stride[0] * (size[0] - 1) + window.extent[0] - 2 * window.pad[0],
        window.stride[1] * (size[1] - 1) + window.extent[1] - 2 * window.pad[1],
    )


def pool_output(window: Window, size: Pair, round_up: bool = True) -> Pair:
    """Output (height, width) of a pooling.

    Caffe 1.0 rounds up and, when there is padding, drops a last window that would start
    in the padding behind the map.
    """
    if not round_up:
        return conv_output(window, size)
    result = []
    for axis in (0, 1):
        span = size[axis] + 2 * window.pad[axis] - window.kernel[axis]
        count = -(-span // window.stride[axis]) + 1
        if any(window.pad) and (count - 1) * window.stride[axis] >= size[axis] + window.pad[axis]:
            count -= 1
        result.append(count)
    return result[0], result[1]


def _pair(values: Sequence[int], default: int) -> Pair:
    if not values:
        return default, default
    if len(values) == 1:
        return values[0], values[0]
    return values[0], values[1]

"""A pooling window that is too tall for its map's width becomes several smaller poolings.

Given:   y = Pooling(x) {pool: AVE global_pooling: true}, x 310x234
Result:  a = Pooling(x) {pool: AVE kernel 31x13 stride 31x13};  y = Pooling(a) {10x18}

The pooling unit holds 2048 / (w / (16 * stride_w) * stride_w) rows (HiSVP development guide,
table 3-2, the inner division rounded up). The average of the averages of equal windows is
the average of all, and the maximum of maxima the maximum, so a window is split into factors
of its sides that divide exactly.
"""

from __future__ import annotations

from collections.abc import Iterator

from nnie_pipeline.caffe.caffe_pb2 import LayerParameter, PoolingParameter
from nnie_pipeline.caffe.net import Layer, Net
from nnie_pipeline.caffe.shapes import infer
from nnie_pipeline.caffe.windows import Pair, pool_window
from nnie_pipeline.rewrite.base import Changes
from nnie_pipeline.rewrite.free_names import FreeNames

REASON = "the pooling unit holds 2048 / (w / 16) rows (HiSVP guide, table 3-2)"

_ROWS = 2048
_BLOCK = 16
_LARGEST = 255


def apply(net: Net) -> Changes:
    """Split every pooling over its whole map that breaks the limit and divides exactly."""
    changes = Changes()
    shapes = infer(net)
    names = FreeNames(net)
    layers: list[Layer] = []
    for layer in net.layers:
        size = (0, 0)
        if layer.type == "Pooling" and len(layer.tops) == 1:
            size = (shapes[layer.bottoms[0]][2], shapes[layer.bottoms[0]][3])
            window = pool_window(layer.params.pooling_param, size)
        if size == (0, 0) or window.kernel != size or any(window.pad) or _fits(size, size):
            layers.append(layer)
            continue
        first = next((x for x in _factors(size) if _works(size, x)), None)
        if first is None:
            layers.append(layer)
            continue
        layers += _split(layer, size, first, names.take(f"{layer.name}_part"))
        changes.lines.append(
            f"{layer.name}: {size[0]}x{size[1]} pooled by {first[0]}x{first[1]}, then by "
            f"{size[0] // first[0]}x{size[1] // first[1]}"
        )
    net.layers = layers
    return changes


def _works(size: Pair, first: Pair) -> bool:
    rest = (size[0] // first[0], size[1] // first[1])
    return _fits(first, size) and _fits(rest, rest)


def _fits(kernel: Pair, size: Pair) -> bool:
    """Whether a window of `kernel`, as its own stride, is within the limit on a map of `size`."""
    blocks = -(-size[1] // (_BLOCK * kernel[1])) * kernel[1]
    return max(kernel) <= _LARGEST and kernel[0] * blocks <= _ROWS


def _factors(size: Pair) -> Iterator[Pair]:
    """Exact factors of both sides, those nearest to the square root first."""
    rows = [x for x in range(1, size[0] + 1) if size[0] % x == 0]
    columns = [x for x in range(1, size[1] + 1) if size[1] % x == 0]
    pairs = [(x, y) for x in rows for y in columns if (x, y) not in ((1, 1), size)]
    yield from sorted(
        pairs, key=lambda p: abs(p[0] ** 2 - size[0]) / size[0] + abs(p[1] ** 2 - size[1]) / size[1]
    )


def _split(layer: Layer, size: Pair, first: Pair, middle: str) -> list[Layer]:
    method = layer.params.pooling_param.pool
    rest = (size[0] // first[0], size[1] // first[1])
    origin = (*layer.origin, "split")
    return [
        Layer(middle, "Pooling", layer.bottoms, [middle], _pooling(method, first), origin=origin),
        Layer(layer.name, "Pooling", [middle], layer.tops, _pooling(method, rest), origin=origin),
    ]


def _pooling(method: PoolingParameter.PoolMethod, window: Pair) -> LayerParameter:
    params = LayerParameter()
    pooling = params.pooling_param
    pooling.pool = method
    pooling.kernel_h, pooling.kernel_w = window
    pooling.stride_h, pooling.stride_w = window
    return params

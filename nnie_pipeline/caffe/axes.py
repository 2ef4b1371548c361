"""Which axis a layer works along, and where it cuts, as Caffe reads its parameters."""

from __future__ import annotations

import itertools

from nnie_pipeline.caffe.net import Layer, Shape


def axis_of(value: int, shape: Shape) -> int:
    """A Caffe axis, counted from the end when negative, as an index into `shape`.

    Raises:
        ValueError: out of range.
    """
    if not -len(shape) <= value < len(shape):
        raise ValueError(f"axis {value} of a blob of {len(shape)} axes")
    return value % len(shape)


def concat_axis(layer: Layer) -> int:
    """The axis of a Concat: `axis`, or the older `concat_dim`."""
    param = layer.params.concat_param
    return param.concat_dim if param.HasField("concat_dim") else param.axis


def slice_axis(layer: Layer) -> int:
    """The axis of a Slice: `axis`, or the older `slice_dim`."""
    param = layer.params.slice_param
    return param.slice_dim if param.HasField("slice_dim") else param.axis


def slice_points(layer: Layer, length: int) -> list[int]:
    """Where a Slice cuts an axis of `length`, with 0 and the end."""
    points = list(layer.params.slice_param.slice_point)
    if not points:
        if length % len(layer.tops):
            raise ValueError(f"{length} does not split into {len(layer.tops)} equal parts")
        step = length // len(layer.tops)
        points = list(range(step, length, step))
    if len(points) != len(layer.tops) - 1:
        raise ValueError(f"{len(points)} slice points for {len(layer.tops)} tops")
    cuts = [0, *points, length]
    if any(a >= b for a, b in itertools.pairwise(cuts)):
        raise ValueError(f"slice points {points} do not ascend between 0 and {length}")
    return cuts


def permute_order(layer: Layer, rank: int) -> list[int]:
    """The full order of a Permute; axes that are not named follow in their old order."""
    order = list(layer.params.permute_param.order)
    if len(set(order)) != len(order) or any(x >= rank for x in order):
        raise ValueError(f"order {order}")
    return order + [x for x in range(rank) if x not in order]


def crop_offsets(layer: Layer, bottom: Shape, like: Shape) -> list[int]:
    """Where a Crop starts on each axis (0 on axes before its own)."""
    param = layer.params.crop_param
    axis = axis_of(param.axis, bottom)
    given = list(param.offset)
    if len(like) != len(bottom):
        raise ValueError("the bottoms of a Crop must have as many axes")
    if len(given) > 1 and len(given) != len(bottom) - axis:
        raise ValueError(f"{len(given)} offsets for {len(bottom) - axis} axes")
    offsets = [0] * len(bottom)
    for i in range(axis, len(bottom)):
        if given:
            offsets[i] = given[0] if len(given) == 1 else given[i - axis]
        if offsets[i] + like[i] > bottom[i]:
            raise ValueError(f"offset {offsets[i]} and {like[i]} exceed {bottom[i]} on axis {i}")
    return offsets

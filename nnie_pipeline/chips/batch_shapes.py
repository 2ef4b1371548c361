"""Shape inference for many input sizes at once.

The same rounding as `nnie_pipeline.caffe.shapes`, on arrays with one value a candidate size:
a network of 200 layers takes a few hundred small array operations, however many candidates
there are.
"""

from __future__ import annotations

import itertools

import numpy as np
import numpy.typing as npt

from nnie_pipeline.caffe.net import Layer, Net
from nnie_pipeline.caffe.shapes import ShapeError
from nnie_pipeline.chips.batch_extensions import EXTENSIONS
from nnie_pipeline.chips.batch_rules import RULES, Candidates, Mask
from nnie_pipeline.chips.quantities import Dims

Ints = npt.NDArray[np.int64]


def infer_all(net: Net, heights: Ints, widths: Ints) -> Candidates:
    """Shapes of all values for input sizes heights[i] x widths[i].

    The first input of four axes is resized, other inputs keep their shapes. A Crop that cuts
    anything makes a size invalid, and so does an InnerProduct whose number of inputs is not
    that of the file's size, because its trained weights fit only that.

    Raises:
        ShapeError: a layer whose type is not known, or that fits at no size.
    """
    picture = picture_input(net)
    height, width = net.inputs[picture][2:]
    rows = np.concatenate([[height], heights]).astype(np.int64)
    columns = np.concatenate([[width], widths]).astype(np.int64)
    shapes: dict[str, Dims] = dict(net.inputs)
    shapes[picture] = (*net.inputs[picture][:2], rows, columns)
    found = Candidates(shapes, _true(rows), (_true(rows), _true(rows)), (_true(rows), _true(rows)))
    for layer in net.layers:
        tops = _tops(layer, [shapes[x] for x in layer.bottoms], found)
        for dim in itertools.chain.from_iterable(tops):
            found.ok &= np.asarray(dim) >= 1
        shapes.update(zip(layer.tops, map(_at_least_one, tops), strict=True))
    return found


def _at_least_one(shape: Dims) -> Dims:
    """The shape without the zeros of sizes that are refused already: nothing divides by them."""
    return tuple(max(x, 1) if isinstance(x, int) else np.maximum(x, 1) for x in shape)


def picture_input(net: Net) -> str:
    """The input whose height and width are the network's size: the first of four axes.

    Raises:
        ShapeError: there is none.
    """
    for name, shape in net.inputs.items():
        if len(shape) == 4:
            return name
    raise ShapeError("the network has no input of four axes (N, C, H, W), so it has no size")


def _true(like: Ints) -> Mask:
    return np.ones(like.shape, dtype=np.bool_)


def _tops(layer: Layer, bottoms: list[Dims], found: Candidates) -> list[Dims]:
    rule = RULES.get(layer.type) or EXTENSIONS.get(layer.type)
    if rule is None:
        raise ShapeError(f"layer {layer.name}: the type {layer.type} is not known")
    try:
        with np.errstate(divide="raise", invalid="raise"):
            tops = rule(layer, bottoms, found)
        if len(tops) != len(layer.tops):
            raise ValueError(f"{len(layer.tops)} tops for {len(tops)} results")
    except (ValueError, IndexError, ArithmeticError) as error:
        raise ShapeError(f"layer {layer.name} ({layer.type}) fits at no size: {error}") from error
    return tops

"""ONNX constants in the forms that Caffe's layers take."""

from __future__ import annotations

from collections.abc import Iterable

import numpy as np
import numpy.typing as npt

from nnie_pipeline.caffe.compose import Constant
from nnie_pipeline.caffe.net import Shape
from nnie_pipeline.onnx2caffe.graph import Graph, Node

LARGEST = float(np.finfo(np.float32).max)


def canonical(graph: Graph, node: Node, value: npt.ArrayLike, shape: Shape) -> Constant:
    """A constant that is combined with a blob of `shape`, in its smallest form.

    Gives back an array without axes (one number), of shape (C,) (one a channel), or of
    shape[1:].

    Raises:
        NotExpressibleError: it is not finite as float32, does not broadcast to `shape`, or
            differs from picture to picture of the batch.
    """
    array = np.asarray(value, dtype=np.float64)
    if not (np.abs(array) <= LARGEST).all():
        graph.refuse(
            node,
            "its constant holds infinity or a value that is no float32",
            "use finite constants in the model",
        )
    first = array.reshape(-1)[:1]
    if (array == first).all():
        return first.reshape(())
    full: Constant = array.reshape((1,) * (len(shape) - array.ndim) + array.shape)
    if full.shape[0] != 1 or len(shape) < 2:
        graph.refuse(
            node,
            f"its constant of shape {list(array.shape)} varies along the batch axis, NNIE's "
            "Scale and Bias lie along the channels",
            "give the constant the shape C x 1 x 1 or C x H x W",
        )
    rows = np.broadcast_to(full, (1, *shape[1:])).reshape(shape[1], -1)
    uniform = bool((rows == rows[:, :1]).all())
    return np.array(rows[:, 0] if uniform else rows.reshape(shape[1:]))


def fold(function: np.ufunc, constants: Iterable[npt.ArrayLike], start: float) -> Constant:
    """The constants of a node joined into one, in float64."""
    total: Constant = np.asarray(start, np.float64)
    for value in constants:
        total = np.asarray(function(total, np.asarray(value, np.float64)))
    return total

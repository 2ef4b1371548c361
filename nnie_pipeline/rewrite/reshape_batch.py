"""Every Reshape is written as NNIE reads it: first dim 0, at most 4 dims.

Given:   y = Reshape(x) {dim: 1 dim: 2 dim: -1 dim: 1}
Result:  y = Reshape(x) {dim: 0 dim: 2 dim: -1 dim: 1}

The mapper refuses a number in the first place, because only channels, rows and columns may be
set (hanson-young, RetinaFace on NNIE, zhihu p/111399987; the same in the yolov5 and MegEngine
notes). Four dims are the most (HiSVP development guide, table 3-2; yolov5 on NNIE: "must be 4-D
and the first dim 0"). A -1 stays where it stands, NNIE works it out as Caffe does; a first dim
of -1 that comes to the batch becomes 0, and joined layers have every dim as a number.

Given:   a = Reshape(x) {dim: 1 dim: 3 dim: 9 dim: 80 dim: 80};  y = Reshape(a) {dim: 1 dim: 27
         dim: -1}, nothing else reads a
Result:  y = Reshape(x) {dim: 0 dim: 27 dim: 6400}

What stays as it is, for the rules of `nnie check` to name: a Reshape that does change the batch
axis, and one of more than 4 dims that another layer than a Reshape reads. One of more than 4 dims
that ends the network is cut off (`cut_tail`). Fewer than 4 dims stay too: a 1 put among them
would move the axes that layers behind count.
"""

from __future__ import annotations

from nnie_pipeline.caffe.caffe_pb2 import LayerParameter
from nnie_pipeline.caffe.net import Layer, Net, Shape
from nnie_pipeline.caffe.shapes import infer
from nnie_pipeline.rewrite.base import Changes

REASON = (
    "the mapper refuses a Reshape that sets N: only C, H and W can be set, so the first of its 1 "
    "to 4 dims is 0"
)
MOST_DIMS = 4


def apply(net: Net) -> Changes:
    """Join what passes through more than 4 dims; write 0 where the batch axis is set."""
    changes = Changes()
    shapes = infer(net)
    for layer in list(net.layers):
        if layer.type != "Reshape":
            continue
        if len(shapes[layer.tops[0]]) > MOST_DIMS:
            _join(net, layer, shapes, changes)
        else:
            _keep_batch(layer, shapes, changes)
    return changes


def _join(net: Net, layer: Layer, shapes: dict[str, Shape], changes: Changes) -> None:
    """Let the Reshapes behind `layer` read its bottom, if nothing else reads its top."""
    value = layer.tops[0]
    readers = net.consumers().get(value, [])
    if value in net.outputs or not readers or any(x.type != "Reshape" for x in readers):
        return
    batch = shapes[layer.bottoms[0]][0]
    for reader in readers:
        target = shapes[reader.tops[0]]
        reader.bottoms = list(layer.bottoms)
        reader.params = LayerParameter()
        dims = (0 if target[0] == batch else target[0], *target[1:])
        reader.params.reshape_param.shape.dim.extend(dims)
        changes.lines.append(
            f"{reader.name}: joined with {layer.name}, which had {len(shapes[value])} dims; "
            f"the dims are now {' '.join(map(str, dims))}"
        )
    net.layers = [x for x in net.layers if x is not layer]


def _keep_batch(layer: Layer, shapes: dict[str, Shape], changes: Changes) -> None:
    param = layer.params.reshape_param
    bottom, top = shapes[layer.bottoms[0]], shapes[layer.tops[0]]
    # A negative axis of Reshape counts from behind the last one: -1 is "after all axes".
    start = param.axis if param.axis >= 0 else len(bottom) + param.axis + 1
    dims = param.shape.dim
    if start == 0 and dims and dims[0] != 0 and bottom[0] == top[0]:
        changes.lines.append(f"{layer.name}: first dim {dims[0]} is now 0")
        dims[0] = 0

"""The first dim of a Reshape becomes 0, which keeps the batch axis.

Given:   y = Reshape(x) {dim: 1 dim: 2 dim: -1 dim: 1}
Result:  y = Reshape(x) {dim: 0 dim: 2 dim: -1 dim: 1}

The mapper refuses a number there: only channels, rows and columns may be set (hanson-young,
RetinaFace on NNIE, zhihu p/111399987; the same in the yolov5 and MegEngine notes).
"""

from __future__ import annotations

from nnie_pipeline.caffe.net import Net
from nnie_pipeline.caffe.shapes import infer
from nnie_pipeline.rewrite.base import Changes

REASON = "NNIE reshapes C, H and W only: the first dim of a Reshape must be 0"


def apply(net: Net) -> Changes:
    """Write 0 where a Reshape sets the batch axis to what it is anyway."""
    changes = Changes()
    shapes = infer(net)
    for layer in net.layers:
        if layer.type != "Reshape":
            continue
        param = layer.params.reshape_param
        keeps_batch = shapes[layer.bottoms[0]][0] == shapes[layer.tops[0]][0]
        if param.axis == 0 and param.shape.dim and param.shape.dim[0] != 0 and keeps_batch:
            old = list(param.shape.dim)
            param.shape.dim[0] = 0
            changes.lines.append(f"{layer.name}: first dim {old[0]} is now 0")
    return changes

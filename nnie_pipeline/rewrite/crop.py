"""A Crop that cuts nothing at this size is taken out.

Given:   c = Crop(up, like) {axis: 2}, up and like of the same height and width
Result:  readers of c read up

NNIE has no Crop (hanson-young, RetinaFace on NNIE, zhihu p/111399987; it is not in the layer
list of the HiSVP development guide). MXNet's exporter writes one behind every upsampling,
though at sizes that divide by the stride it has nothing to cut.
"""

from __future__ import annotations

from nnie_pipeline.caffe.net import Net
from nnie_pipeline.caffe.shapes import infer
from nnie_pipeline.errors import NotExpressibleError
from nnie_pipeline.rewrite.base import Changes

REASON = (
    "NNIE has no Crop; MXNet's exporter leaves one behind every upsampling, and at this input size "
    "it cuts nothing"
)


class CropError(NotExpressibleError):
    """A Crop cuts at this input size; at another it may not."""


def apply(net: Net) -> Changes:
    """Take out every Crop.

    Raises:
        CropError: one cuts something at this size.
    """
    changes = Changes()
    shapes = infer(net)
    for layer in [x for x in net.layers if x.type == "Crop"]:
        bottom, top = shapes[layer.bottoms[0]], shapes[layer.tops[0]]
        if bottom != top:
            raise CropError(
                f"layer {layer.name} (Crop) cuts {list(bottom)} to {list(top)} at this input "
                "size, and NNIE has no Crop"
            )
        like = layer.bottoms[1:]
        layer.bottoms = layer.bottoms[:1]
        for old, new in net.bypass(layer).items():
            changes.rename(old, new)
        changes.lines.append(f"{layer.name}: Crop to the size of {like[0]} cuts nothing, gone")
    return changes

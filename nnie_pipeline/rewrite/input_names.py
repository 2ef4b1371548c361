"""An input keeps its name where the file's first layers overwrite it.

Given:   data = BatchNorm(data);  y = Convolution(data)
Result:  bn = BatchNorm(data);  y = Convolution(bn)

The mapper gives the input node the name that it has in the prototxt, and the board program and
the cfg find the input by it. An activation is merged into the layer before it when it works in
place (HiSVP development guide, sections 3.1.7 and 3.2); in front of the first layer there is none.
"""

from __future__ import annotations

from nnie_pipeline.caffe.net import Net
from nnie_pipeline.rewrite.base import Changes

REASON = (
    "an input keeps the name by which the board finds it, so what overwrites it in the file has "
    "a top of its own; there is no layer before it that an in-place layer could be merged into"
)

_OVERWRITTEN = "@input"


def apply(net: Net) -> Changes:
    """Name the values that overwrite an input after their layers, and the input as in the file."""
    changes = Changes()
    for value in [x for x in net.inputs if _OVERWRITTEN in x]:
        blob = value[: value.rindex(_OVERWRITTEN)]
        readers, makers = net.consumers(), net.producers()
        for old, maker in makers.items():
            if old != blob and not old.startswith(f"{blob}@"):
                continue
            new = maker.name
            while new in {blob, *net.values()}:
                new += "_"
            net.rename(old, new)
            changes.rename(old, new)
            changes.lines.append(
                f"{maker.name} ({maker.type}) no longer overwrites the input {blob}"
            )
            changes.lines += [
                f"{x.name} ({x.type}) reads what {maker.name} gives, in the file called {blob} too"
                for x in readers.get(old, [])
            ]
        net.rename(value, blob)
        changes.rename(value, blob)
    return changes

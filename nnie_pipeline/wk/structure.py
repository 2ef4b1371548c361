"""Whether the rows of a compiled network are the layers of a Caffe network, and read the same.

The rows are dealt to the network's operations (`operations`) in the file's order; each then has
to have the size of its layer and, where the instructions are understood, to read what the
network's layer reads. An address tells that: it belongs to the last row that wrote there.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from nnie_pipeline.caffe.net import Net
from nnie_pipeline.wk.dealing import Dealing
from nnie_pipeline.wk.fit import Fitted
from nnie_pipeline.wk.model import WkModel
from nnie_pipeline.wk.operations import not_told, not_wired
from nnie_pipeline.wk.wiring import MismatchError


@dataclass(frozen=True)
class Structure:
    """`reasons` why the rows are not those of the network; what they do not tell.

    `open` is what of the structure is not proven, `unproven` settings that no file tells.
    `z_before` has, by layer of the file, the z of the rows that make its input, where they
    have one z.
    """

    reasons: tuple[str, ...]
    open: tuple[str, ...]
    unproven: tuple[str, ...]
    z_before: dict[int, int]


def structure(model: WkModel, net: Net, fitted: Sequence[Fitted]) -> Structure:
    """Hold the rows of the file against `net`.

    `fitted` has every layer of the file that has weights, each beside its own.

    Raises:
        InputError: the network's shapes do not fit.
    """
    dealing = Dealing(model, net, fitted)
    try:
        dealing.run()
    except MismatchError as error:
        dealing.reasons.append(str(error))
    found = dealing.open
    if all(x is None for x in model.programs):
        found = not_wired(dealing.all) + found
    unproven = not_told(dealing.all, dealing.softmax_told)
    reasons, found = (list(dict.fromkeys(x)) for x in (dealing.reasons, found))
    return Structure(tuple(reasons), tuple(found), tuple(unproven), dealing.z_before)

"""z of what a layer reads: by its scale words, by its instructions, by the rows before it.

A scale word holds z of the weights and z of the input as one sum, so that weights times a step
of the format look like an input whose z is a step lower. The instructions hold z of the input
alone and tell the two apart.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from nnie_pipeline.quant.gfpq_format import number_format
from nnie_pipeline.wk.model import WkLayer, WkModel
from nnie_pipeline.wk.rows import INPUT

if TYPE_CHECKING:
    from nnie_pipeline.caffe.net import Net
    from nnie_pipeline.wk.fit import Fitted

_FUSED = frozenset({"BatchNorm", "Scale", "Bias", "ReLU", "Dropout"})
_RANGE_STEPS = 1
"""In both measured files a consumer's z may be one step beside that of the layer before."""


def makers_of(net: Net, fitted: Sequence[Fitted]) -> dict[str, Fitted]:
    """The layer of the file that makes each value, through what is fused with it."""
    by_name = {x.predicted.name: x for x in fitted}
    makers: dict[str, Fitted] = {}
    for layer in net.layers:
        own = by_name.get(layer.name)
        if own is None and layer.type in _FUSED and len(layer.bottoms) == 1:
            own = makers.get(layer.bottoms[0])
        if own is not None:
            makers.update(dict.fromkeys(layer.tops, own))
    return makers


def z_of_rows(model: WkModel, net: Net, found: Fitted, makers: dict[str, Fitted]) -> int | None:
    """z of the rows that make the layer's input, where one row or layer does."""
    bottom = found.predicted.layer.bottoms[0]
    if bottom in net.inputs:
        inputs = [x.z for x in model.records if x.type == INPUT]
        return inputs[0] if len(inputs) == 1 else None
    maker = makers.get(bottom)
    return None if maker is None else maker.layer.z_out


def z_read(model: WkModel, layer: WkLayer) -> tuple[float, ...]:
    """The different z with which the layer's rows read their input; none where one is not told.

    In steps of the format. A row that reads the one before it without the memory has no z of
    its own: it takes that row's (so in all five such rows of both measured files).
    """
    step = 128 / number_format(layer.bits).steps
    found: dict[float, None] = {}
    for number in range(*layer.records):
        program = model.programs[number] if model.programs else None
        if program is not None and program.z_in:
            found[program.z_in[0] / step] = None
        elif program is not None and program.from_chip and number:
            before = model.records[number - 1].z
            if before is None:
                return ()
            found[before] = None
        else:
            return ()
    return tuple(found)


def scaled_reason(
    found: Fitted, net: Net, read: Sequence[float], before: int | None, wired: bool
) -> str | None:
    """Why the scale words tell another z of the input than the layer reads; None if the same.

    `read` is what `z_read` gives, `before` what `z_of_rows`, `wired` whether the layer is known
    to read what it reads in the network.
    """
    if found.z_in is None:
        return None
    picture = found.predicted.layer.bottoms[0] in net.inputs
    if len(read) > 1:
        return f"its rows read their input with different z: {', '.join(f'{x:g}' for x in read)}"
    if read:
        apart = f"its scale words tell z {found.z_in} of its input, its instructions {read[0]:g}"
        other, steps, known = read[0], 0, True
    elif before is not None:
        apart = f"its input has z {found.z_in}, the layer before writes z {before}"
        other, steps, known = before, 0 if picture else _RANGE_STEPS, wired
    else:
        return None
    if abs(other - found.z_in) <= steps or _same_words(found, other):
        return None
    if not known:
        return apart
    factor = 2.0 ** ((found.z_in - other) / number_format(found.layer.bits).steps)
    text = f"its weights in the file are those of the caffemodel times {factor:.6g} ({apart})"
    if picture:
        text += "; so it is when a data_scale is in the first layer of one and not of the other"
    return text


def factor_open(found: Fitted, net: Net, read: Sequence[float], before: int | None) -> str | None:
    """What factor on the layer's weights the file does not tell, in words; None if it does."""
    if read or found.z_in is None:
        return None
    if before is None:
        return "a factor of any size"
    if found.predicted.layer.bottoms[0] in net.inputs:
        return None
    return f"a factor of {2 ** (_RANGE_STEPS / number_format(found.layer.bits).steps):.3g}"


def _same_words(found: Fitted, z_in: float) -> bool:
    """Whether small words are the same with this z too."""
    if z_in != int(z_in) or found.z_in is None:
        return False
    pairs = zip(found.predicted.words(int(z_in)), found.predicted.words(found.z_in), strict=True)
    return all((a == b).all() for a, b in pairs)

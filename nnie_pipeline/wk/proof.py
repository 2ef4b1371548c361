"""Whether a compiled network was made from a given Caffe network, and if not, why."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np

from nnie_pipeline.caffe.net import Net
from nnie_pipeline.caffe.shapes import infer
from nnie_pipeline.errors import InputError
from nnie_pipeline.rewrite import merge_batch_norm
from nnie_pipeline.wk.fit import Fitted, fit, pair
from nnie_pipeline.wk.inputs_outputs import blob_reasons, order_reason
from nnie_pipeline.wk.model import WkLayer, WkModel
from nnie_pipeline.wk.orders import exchanged_layers
from nnie_pipeline.wk.predict import Predicted, predict, require_numbers
from nnie_pipeline.wk.reading import factor_open, makers_of, scaled_reason, z_of_rows, z_read
from nnie_pipeline.wk.reasons import headline, layer_reason
from nnie_pipeline.wk.structure import Structure, structure


@dataclass(frozen=True)
class LayerProof:
    """One layer of the file: how much of it is as predicted.

    `weights`, `bias`, `scale` and `shift` are (as predicted, all); `z_w` is that of the weights,
    one for each channel of a depthwise layer, None where all are zero; `z_in` is what the scale
    words tell, `z_before` what the layer table says of the rows that make the input, None where
    they have several, `z_read` what the instructions say of the input, None where they do not.
    `reason` says what is wrong, None for a complete layer.
    """

    number: int
    name: str | None
    type: str
    outputs: int
    weights: tuple[int, int]
    z_w: tuple[float | None, ...]
    z_in: int | None
    z_before: int | None
    z_read: float | None
    z_out: int | None
    bias: tuple[int, int]
    scale: tuple[int, int]
    shift: tuple[int, int]
    reason: str | None


@dataclass(frozen=True)
class Proof:
    """The verdict in one line, its reasons and the layers behind it.

    `holds` is whether weights and structure are proven; `weights_hold` whether the weights are
    and nothing contradicts the structure, of which `open` names what is not proven. `unproven`
    names settings of the network that no file tells, `output_order` the first output that stands
    at another place than in the network. `fitted` are the layers of the file that have one of
    the network beside them; `net` is the network as the file holds it: as it was given, or with
    BatchNorm merged.
    """

    holds: bool
    weights_hold: bool
    verdict: str
    reasons: tuple[str, ...]
    open: tuple[str, ...]
    unproven: tuple[str, ...]
    output_order: str | None
    layers: tuple[LayerProof, ...]
    fitted: tuple[Fitted, ...]
    net: Net

    def to_dict(self) -> dict[str, Any]:
        """As JSON has it."""
        return {
            "holds": self.holds,
            "proven": self.holds,
            "weights_hold": self.weights_hold,
            "verdict": self.verdict,
            "reasons": list(self.reasons),
            "open": list(self.open),
            "unproven": list(self.unproven),
            "output_order": self.output_order,
            "layers": [vars(x) for x in self.layers],
        }


def prove(model: WkModel, net: Net, bits: int | None = None) -> Proof:
    """Hold every layer of the file against the network, as it is and with BatchNorm merged.

    `bits` is the width that the file should have, where that is to be checked too.

    Raises:
        InputError: the file has no layer that could be decoded, or the network none with
            weights, or its shapes do not fit, or weights that are no finite numbers.
    """
    if model.bits is None or not model.layers:
        raise InputError(
            "this .wk holds no parameters that can be decoded; give a chip (inst) file, not one "
            "for the functional simulation"
        )
    require_numbers(net)
    merged = net.copy()
    changed = bool(merge_batch_norm.apply(merged).lines)
    variants = [(net, False), (merged, True)] if changed else [(net, False)]
    if changed and model.batch_norm.startswith("merged"):
        variants.reverse()
    fits = []
    for variant, is_merged in variants:
        fitted, predicted, open_parts = _fit(model, variant)
        fits.append((variant, is_merged, fitted, predicted, open_parts))
        if len(fitted) == len(model.layers) and all(x.complete for x in fitted):
            break
    counts = [sum(y.weights[0] for y in x[2]) for x in fits]
    closest = fits[int(np.argmax(counts))]
    if max(counts) * 2 < sum(y.weights[1] for y in closest[2]):
        closest = fits[0]  # chance makes weights equal; the file's words tell which it may be
    best = _judge(model, net, changed, *closest)
    if bits in (None, model.bits):
        return best
    reason = f"it is {model.bits} bit, not {bits}"
    if not best.weights_hold:
        verdict = f"{best.verdict}; {reason}"
    else:
        verdict = f"is not as asked: {reason}, though it {best.verdict}"
    reasons = (reason, *best.reasons)
    return replace(best, holds=False, weights_hold=False, verdict=verdict, reasons=reasons)


def _fit(model: WkModel, net: Net) -> tuple[list[Fitted], list[Predicted], list[str]]:
    assert model.bits is not None
    predicted, open_parts = predict(net, model.bits)
    if not predicted and not open_parts:
        raise InputError("the network has no weights; give its caffemodel with the prototxt")
    pairs = zip(model.layers, pair(model.layers, predicted), strict=True)
    return [fit(model, x, y) for x, y in pairs if y is not None], predicted, open_parts


def _judge(
    model: WkModel,
    given: Net,
    has_norm: bool,
    net: Net,
    merged: bool,
    fits: list[Fitted],
    predicted: list[Predicted],
    open_parts: list[str],
) -> Proof:
    fitted = {x.layer.number: x for x in fits}
    shapes = infer(given)
    makers = makers_of(net, fits)
    whole = len(fits) == len(model.layers) == len(predicted) and all(x.complete for x in fits)
    rows = structure(model, net, fits) if whole else Structure((), (), (), {})
    layers = []
    factors: list[str | None] = []
    for layer in model.layers:
        found = fitted.get(layer.number)
        if found is None:
            layers.append(_unknown(layer))
            continue
        before = rows.z_before.get(layer.number, z_of_rows(model, net, found, makers))
        read = z_read(model, layer)
        one = read[0] if len(read) == 1 else None
        if found.complete:
            wired = bool(model.programs) and not rows.reasons
            reason = scaled_reason(found, net, read, before, wired)
            factors.append(factor_open(found, net, read, before))
        else:
            near = before if one is None or one != int(one) else int(one)
            reason = layer_reason(found, model, given, shapes, merged, near)
        layers.append(_known(found, before, one, reason))
    reasons = _reasons(model, net, layers, fits, predicted, open_parts, rows.reasons)
    equal, total = (sum(x.weights[i] for x in layers) for i in (0, 1))
    norm = ("merged" if merged else "not merged") if has_norm else "merged or none"
    counts = f"{equal} of {total} weights, {model.bits} bit, BatchNorm {norm}"
    unproven = (*rows.unproven, *_factors(factors))
    open_rows = () if reasons else rows.open
    if reasons:
        verdict = f"does not hold this network: {reasons[0]} ({counts})"
    elif open_rows:
        more = f" and {len(open_rows) - 1} more" if len(open_rows) > 1 else ""
        verdict = (
            "holds the weights of this network, its structure is not proven: "
            f"{open_rows[0]}{more} ({counts})"
        )
    else:
        verdict = f"holds this network: {counts}"
    return Proof(
        not reasons and not open_rows, not reasons, verdict, tuple(reasons), open_rows, unproven,
        order_reason(model.header, given), tuple(layers), tuple(fits), net,
    )  # fmt: skip


def _factors(found: Sequence[str | None]) -> list[str]:
    counts = Counter(x for x in found if x is not None)
    return [
        f"{text} on the weights of {count} of {len(found)} layers" for text, count in counts.items()
    ]


def _reasons(
    model: WkModel,
    net: Net,
    layers: Sequence[LayerProof],
    fitted: Sequence[Fitted],
    predicted: Sequence[Predicted],
    open_parts: Sequence[str],
    rows: Sequence[str],
) -> list[str]:
    """What is wrong, the most telling first; empty where the file holds the network."""
    blobs = blob_reasons(model.header, net)
    unpaired = [x for x in layers if x.name is None]
    wrong = [x for x in layers if x.reason is not None and x.name is not None]
    used = {x.predicted.name for x in fitted}
    missing = [x.name for x in predicted if x.name not in used]
    reasons = []
    nothing_equal = not any(x.equal.all() for x in fitted)
    if (unpaired or missing) and (nothing_equal or len(unpaired) * 2 > len(layers)):
        reasons.append(
            f"another network altogether: {len(unpaired)} of the file's {len(layers)} layers "
            f"have no counterpart among the network's {len(predicted)}, and the rest other weights"
            if nothing_equal
            else f"another network: {len(unpaired)} of the file's {len(layers)} layers have no "
            f"counterpart among the network's {len(predicted)}"
        )
    order, both = _order(net, fitted), exchanged_layers(net, fitted)
    if order is not None and both is not None:
        # What the layers around them read and their own words differ by that alone.
        known = {*both, *(x.predicted.name for x in fitted if x.complete)}
        wrong = [x for x in wrong if x.name not in known]
        order = f"layers in another order: the file has {both[0]} and {both[1]} exchanged"
    if order is not None:
        reasons.append(order)
    if rows:
        reasons += [*blobs, *rows]
    if wrong:
        place, alike, text = headline([x.reason or "" for x in wrong])
        first = wrong.pop(place)
        others = f"; {len(wrong) + 1 - alike} differ otherwise" if alike <= len(wrong) else ""
        where = f"in {alike} of {len(layers)} layers, first {first.name}{others}"
        reasons.append(f"{text} ({where})")
        reasons += [f"{x.name}: {x.reason}" for x in wrong]
    reasons += [f"layer {x.number} of the file: {x.reason}" for x in unpaired]
    reasons += [f"layer {x} of the network is not in the file" for x in missing]
    reasons += list(open_parts)
    reasons += [f"{x.what} is not decoded" for x in model.undecoded if "parameters" in x.what]
    return list(dict.fromkeys(reasons + blobs))


def _order(net: Net, fitted: Sequence[Fitted]) -> str | None:
    """Whether the file runs a layer before one that the network needs for it."""
    place = {x.predicted.name: x.layer.number for x in fitted if x.equal.all()}
    newest: dict[str, tuple[int, str]] = {}
    for layer in net.layers:
        latest = max((newest.get(x, (-1, "")) for x in layer.bottoms), default=(-1, ""))
        own = place.get(layer.name)
        if own is not None:
            if own < latest[0]:
                return (
                    f"layers in another order: the file has the weights of {layer.name} in layer "
                    f"{own}, before those of {latest[1]} in layer {latest[0]}, which it follows "
                    "in the network"
                )
            latest = max(latest, (own, layer.name))
        for top in layer.tops:
            newest[top] = latest
    return None


def _known(found: Fitted, before: int | None, read: float | None, reason: str | None) -> LayerProof:
    layer, outputs = found.layer, found.layer.outputs
    z_w = [x if np.isfinite(x) else None for x in found.predicted.z_w.tolist()]
    return LayerProof(
        layer.number, found.predicted.name, layer.type, outputs, found.weights,
        tuple(z_w if layer.depthwise else z_w[:1]), found.z_in, before, read,
        layer.z_out,
        (int(found.bias.sum()), outputs), (int(found.scale.sum()), outputs),
        (int(found.shift.sum()), outputs), reason,
    )  # fmt: skip


def _unknown(layer: WkLayer) -> LayerProof:
    cells = layer.parameters.codes
    return LayerProof(
        layer.number, None, layer.type, layer.outputs, (0, int((cells != 0).sum())), (), None,
        None, None, layer.z_out, (0, layer.outputs), (0, layer.outputs), (0, layer.outputs),
        f"{layer.type} of {layer.outputs} outputs and {cells.shape[1]} cells each has no "
        "counterpart in the network",
    )  # fmt: skip

"""Why a layer of a compiled network is not that of the caffemodel, found by trying."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np

from nnie_pipeline.caffe.net import Array, Layer, Net, Shape
from nnie_pipeline.quant.gfpq import quantize
from nnie_pipeline.quant.gfpq_format import number_format
from nnie_pipeline.rewrite import merge_batch_norm
from nnie_pipeline.wk.codes import Codes
from nnie_pipeline.wk.fit import Fitted, fit
from nnie_pipeline.wk.layout import Geometry, cell_places, conv_order
from nnie_pipeline.wk.model import WkModel
from nnie_pipeline.wk.predict import Predicted, Vector, levels_of, predict

EPS = (1e-5, 2e-5, 1e-3, 1e-4, 1e-6, 1e-7, 1e-8, 1e-9, 1e-10, 1e-12, 2e-3, 1e-2, 5e-5, 0.0)
"""What frameworks and exporters use as eps of BatchNorm."""

_SAME_STEP = 1.001
"""How far apart, in steps, two codes of one weight may be by rounding alone."""

_ON_A_LEVEL = 0.01
"""How far from a level, in steps, a weight that was rounded to it may be stored as float32."""


def layer_reason(
    found: Fitted,
    model: WkModel,
    given: Net,
    shapes: Mapping[str, Shape],
    merged: bool,
    before: int | None = None,
) -> str:
    """What makes the layer differ.

    `given` is the network before BatchNorm was merged here, `shapes` are those of its values;
    `before` is the z that the layer before writes, where one is known.
    """
    if found.equal.all() and found.padding:
        return _eps(found, model, given, shapes, merged) or _words(found)
    factors = _row_factors(found)
    eps = None if factors is None else _eps(found, model, given, shapes, merged)
    return (
        _channels(found)
        or eps
        or _clip(found)
        or _sparse(found)
        or _width(found)
        or (None if factors is None else _one_factor(found, model, factors))
        or _other(found)
    )


def _channels(found: Fitted) -> str | None:
    """The input channels in reverse, of a layer that reads a picture."""
    if found.predicted.geometry.inputs != 3 or found.equal.all():
        return None
    flipped = _straight_codes(found)[:, ::-1]
    if (flipped == _network_codes(found)).all():
        return "the channels of its input are swapped (RGB against BGR)"
    return None


def _eps(
    found: Fitted, model: WkModel, given: Net, shapes: Mapping[str, Shape], merged: bool
) -> str | None:
    """An eps of BatchNorm with which the layer is complete."""
    own = given.find(found.predicted.name)
    chain = _followers(given, own)
    norms = [x for x in chain if x.type == "BatchNorm"]
    if not norms:
        return None
    has = float(norms[0].params.batch_norm_param.eps)
    for eps in EPS:
        if np.float32(eps) == np.float32(has):
            continue
        alone = _alone(shapes, own, chain, eps)
        if merged:
            merge_batch_norm.apply(alone)
        predicted, _ = predict(alone, found.layer.bits)
        if predicted and fit(model, found.layer, predicted[0]).complete:
            how = "merged with" if merged else "computed with"
            return f"BatchNorm is {how} eps {eps:g} in the file, {has:g} in the network"
    return None


def _followers(net: Net, layer: Layer) -> list[Layer]:
    readers = net.consumers()
    chain: list[Layer] = []
    value = layer.tops[0]
    while len(readers.get(value, [])) == 1 and value not in net.outputs:
        follower = readers[value][0]
        if follower.type not in ("BatchNorm", "Scale", "Bias"):
            break
        chain.append(follower)
        value = follower.tops[0]
    return chain


def _alone(shapes: Mapping[str, Shape], layer: Layer, chain: list[Layer], eps: float) -> Net:
    """The layer and its followers as a network of their own, with another eps."""
    copies = [x.copy() for x in (layer, *chain)]
    for follower in copies:
        if follower.type == "BatchNorm":
            follower.params.batch_norm_param.eps = eps
    bottom = layer.bottoms[0]
    return Net("alone", {bottom: shapes[bottom]}, copies, [copies[-1].tops[0]])


def _clip(found: Fitted) -> str | None:
    """A range that is not that of the weights: a clip table, or a clipped caffemodel."""
    steps = number_format(found.layer.bits).steps
    file, network = _straight_codes(found), _network_codes(found)
    weights = _straight_weights(found)
    by = 0
    for rows in _tensors(found.predicted):
        one, two = file[rows], network[rows]
        if (one == two).all():
            continue
        moved = _moved(one, two, _top(found))
        z = found.predicted.z_w[rows][0]
        if not moved or z != int(z):
            return None
        by = moved
        if by > 0:  # the file counts from a lower z
            again, _ = quantize(weights[rows], found.layer.bits, int(z) - by)
            same = again == levels_of(one, z - by, found.layer.bits).astype(np.float32)
        else:
            values = levels_of(one, z - by, found.layer.bits).astype(np.float32)
            again, _ = quantize(values, found.layer.bits, int(z))
            same = again == levels_of(two, z, found.layer.bits).astype(np.float32)
            # The wider range ends earlier at small weights: they are its smallest or zero.
            same |= (np.abs(one) <= 2) & (np.abs(two) <= 2 - by)
        if np.count_nonzero(~same) > max(1, same.size // 1000):
            return None
    if by == 0:
        return None
    top = number_format(found.layer.bits).top
    if by > 0:
        limit = 2.0 ** ((z - by + top) / steps)
        return (
            f"its range is clipped: the file's z is {by} steps lower, weights beyond {limit:.4g} "
            "are cut (a clip table, gfpq_param_file)"
        )
    return (
        f"its range is wider in the file by {-by} steps: the caffemodel's weights were clipped at "
        f"{2.0 ** ((z + top) / steps):.4g}"
    )


def _sparse(found: Fitted) -> str | None:
    """Small weights set to zero on one side only."""
    file, network = _straight_codes(found), _network_codes(found)
    apart = file != network
    if not apart.any():
        return None
    share = 100 * np.count_nonzero(apart) / apart.size
    if (file[apart] == 0).all():
        return (
            f"{share:.1f} % of its weights are zero in the file only: a sparse_rate was applied "
            "by the mapper"
        )
    if (network[apart] == 0).all():
        return f"{share:.1f} % of its weights are zero in the caffemodel only, made sparse later"
    return None


def _width(found: Fitted) -> str | None:
    """Weights that were rounded to the other width before they were compiled."""
    other = 8 if found.layer.bits == 16 else 16
    weights = _straight_weights(found).astype(np.float64)
    places = number_format(other).steps * np.log2(np.abs(weights[weights != 0]))
    if not places.size or np.abs(places - np.rint(places)).max() > _ON_A_LEVEL:
        return None
    if _relative(found) > 2.0 ** (1.0 / number_format(8).steps) - 1:
        return None
    return (
        f"the caffemodel's weights are rounded to {other} bits already, the file is "
        f"{found.layer.bits} bit and was made from others"
    )


def _row_factors(found: Fitted) -> Vector | None:
    """By how many steps each output's weights differ, where that is one number an output."""
    steps = number_format(found.layer.bits).steps
    codes = _straight_codes(found).astype(np.float64).reshape(found.layer.outputs, -1)
    weights = _straight_weights(found).astype(np.float64).reshape(found.layer.outputs, -1)
    inner = (np.abs(codes) > 1 + steps) & (np.abs(codes) < _top(found)) & (weights != 0)
    with np.errstate(divide="ignore"):
        ratio = np.where(inner, np.abs(codes) - 1 - steps * np.log2(np.abs(weights)), np.nan)
    rows = inner.sum(axis=1) > 1
    if not rows.any():
        return None
    spread = np.nanmax(ratio[rows], axis=1) - np.nanmin(ratio[rows], axis=1)
    signs = np.where(inner, np.sign(codes * weights), 0)[rows]
    alike = np.abs(signs.sum(axis=1)) == np.abs(signs).sum(axis=1)
    if np.mean((spread <= _SAME_STEP) & alike) < 0.95:
        return None
    return np.asarray(np.nanmedian(ratio[rows], axis=1), np.float64)


def _one_factor(found: Fitted, model: WkModel, factors: Vector) -> str | None:
    """Weights that differ by a factor of their own in each output."""
    if np.ptp(factors) <= _SAME_STEP:
        return None
    if model.batch_norm.startswith("not merged"):
        return "BatchNorm is merged in the caffemodel and not in the file"
    if found.predicted.chain:
        return "BatchNorm is merged in the file with other statistics or another eps"
    return "BatchNorm is merged in the file, and the caffemodel has other factors or none"


def _words(found: Fitted) -> str:
    parts = []
    for name, marks in (("bias", found.bias), ("scale", found.scale), ("shift", found.shift)):
        if not marks.all():
            parts.append(f"{int((~marks).sum())} of {marks.size} {name} words")
    return f"its weights are equal, but {', '.join(parts)} differ: another bias or BatchNorm"


def _other(found: Fitted) -> str:
    equal, total = found.weights
    if equal == total:
        return "its unused cells do not hold zero"
    apart = f"{total - equal} of {total} differ"
    return f"other weights: {apart}, by {100 * _relative(found):.3g} % of their size (rms)"


def _relative(found: Fitted) -> float:
    """The distance of the file's weights from the network's, as a share of the network's."""
    ours = _straight_weights(found).astype(np.float64)
    file, network = _straight_codes(found), _network_codes(found)
    theirs = np.zeros(ours.shape)
    for rows in _tensors(found.predicted):
        by = _moved(file[rows], network[rows], _top(found))
        z = found.predicted.z_w[rows][0] - (by or 0)
        theirs[rows] = levels_of(file[rows], z, found.layer.bits)
    size = float(np.sqrt(np.mean(ours**2)))
    return float(np.sqrt(np.mean((ours - theirs) ** 2))) / size if size else float("inf")


def _moved(file: Codes, network: Codes, top: int) -> int | None:
    """By how many steps most codes of the file lie above the network's; None if none tells."""
    used = np.sign(file) * np.sign(network) > 0
    used &= (np.abs(file) < top) & (np.abs(network) < top)
    if not used.any():
        return None
    moves = (np.abs(file) - np.abs(network))[used]
    return int(np.bincount(moves - moves.min()).argmax() + moves.min())


def _tensors(predicted: Predicted) -> Iterator[slice]:
    """The outputs that share a z."""
    if not predicted.geometry.depthwise:
        yield slice(0, predicted.geometry.outputs)
        return
    for output in range(predicted.geometry.outputs):
        yield slice(output, output + 1)


def _top(found: Fitted) -> int:
    return number_format(found.layer.bits).top + 1


def _straight_weights(found: Fitted) -> Array:
    weights: Array = conv_order(found.predicted.layer.weights[0], found.predicted.geometry)
    return np.ascontiguousarray(weights)


def _straight_codes(found: Fitted) -> Codes:
    return _shaped(found.layer.parameters.codes, found.predicted.geometry, found.layer.bits)


def _network_codes(found: Fitted) -> Codes:
    return _shaped(found.predicted.codes, found.predicted.geometry, found.layer.bits)


def _shaped(codes: Codes, geometry: Geometry, bits: int) -> Codes:
    """Codes as (outputs, inputs, height, width)."""
    _, places = cell_places(geometry, bits)
    return codes[:, places.reshape(-1)].reshape(geometry.outputs, geometry.inputs, *geometry.kernel)

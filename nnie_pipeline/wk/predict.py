"""What a compiled network has to hold if it was made from a given Caffe network.

Weights are quantised as `quant.gfpq` does it, an ordinary convolution with one z, a depthwise
one with one z a channel. A BatchNorm that stays behind a convolution goes into the scale and
shift words; `quant.words` has their formulas.

Measured on two public compiled files: every word of mnet_640_inst.wk (16 bits, f and addend of
BatchNorm and Scale) and of mnet_mergebn_640L_inst.wk (8 bits, f = 1).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import numpy as np
import numpy.typing as npt

from nnie_pipeline.caffe.net import Array, Layer, Net, Shape
from nnie_pipeline.caffe.shapes import infer
from nnie_pipeline.errors import InputError
from nnie_pipeline.quant.gfpq import EQUAL_WEIGHTS, quantize_weights
from nnie_pipeline.quant.gfpq_format import number_format
from nnie_pipeline.quant.words import LARGEST_WORD, bias_words, scale_words
from nnie_pipeline.rewrite.affine import affine_of, joined, only_reader
from nnie_pipeline.wk.codes import Codes, Vector, Words
from nnie_pipeline.wk.layout import Geometry, cell_places, conv_order, geometry_of

Weights = Callable[[Array], Array]

FLOAT_ROUNDING = 2.0**-21
"""How far apart two programs' float32 of one weight may be, in octaves."""


@dataclass(frozen=True)
class Predicted:
    """A layer as it has to be stored, up to z_in, which calibration decides.

    `codes` is int16 (outputs, cells); `z_w` float64 (outputs,), no integer where all weights
    are equal; `factor`, `bias` and `addend` float64 (outputs,). `tie` marks the codes whose
    weight lies within a rounding of float32 of the next level. `shape` is (height, width) of
    the result, `layer` the first of the operation, `chain` what is behind it.
    """

    layer: Layer
    chain: tuple[Layer, ...]
    geometry: Geometry
    bits: int
    shape: tuple[int, int]
    codes: Codes
    tie: npt.NDArray[np.bool_]
    z_w: Vector
    factor: Vector
    bias: Vector
    addend: Vector

    @property
    def name(self) -> str:
        """The name of the Caffe layer."""
        return self.layer.name

    def words(self, z_in: int) -> tuple[Words, Words, Words]:
        """Bias, scale and shift words where the input has offset `z_in`."""
        steps = number_format(self.bits).steps
        unit = np.exp2((self.z_w + z_in) / steps)
        unit[np.isneginf(self.z_w)] = 1.0
        scale = scale_words(self.factor, unit)
        scale[np.isneginf(self.z_w)] = 0
        bias = bias_words(self.bias, unit, scale)
        # In the file a large word counts in 2^-31.
        scale = np.where(np.abs(scale) < LARGEST_WORD, scale, scale / 2.0**11)
        return tuple(_word(x) for x in (bias, scale, self.addend * 4096))  # type: ignore[return-value]


def require_numbers(net: Net) -> None:
    """Refuse weights that no file can hold.

    Raises:
        InputError: a blob with NaN or infinity, or a BatchNorm without a finite factor.
    """
    for layer in net.layers:
        for number, blob in enumerate(layer.weights):
            wrong = int(np.count_nonzero(~np.isfinite(blob)))
            if wrong:
                raise InputError(
                    f"layer {layer.name} ({layer.type}): {wrong} of {blob.size} numbers of its "
                    f"blob {number} in the caffemodel are NaN or infinite; give the caffemodel "
                    "that the file was made from"
                )
        if layer.type != "BatchNorm" or len(layer.weights) < 3:
            continue
        factor, _ = affine_of(layer, (1, layer.weights[0].size)) or (np.ones(1), None)
        wrong = int(np.count_nonzero(~np.isfinite(factor)))
        if wrong:
            raise InputError(
                f"layer {layer.name} (BatchNorm): variance + eps is not above 0 in {wrong} of "
                f"{factor.size} channels; check its blob 1 and eps"
            )


def predict(net: Net, bits: int) -> tuple[list[Predicted], list[str]]:
    """All layers of `net` with weights, and a line for each whose layout is not known.

    Raises:
        InputError: the network's shapes do not fit, or wrong `bits`.
    """
    shapes = infer(net)
    readers = net.consumers()
    found, open_parts = [], []
    for layer in net.layers:
        if not layer.weights or layer.type in ("BatchNorm", "Scale", "Bias", "PReLU"):
            continue
        geometry = geometry_of(layer)
        if isinstance(geometry, Geometry) and bits == 8 and geometry.open is not None:
            geometry = geometry.open
        if isinstance(geometry, str):
            open_parts.append(f"{layer.name}: {geometry} is not known")
            continue
        found.append(_predict(net, layer, geometry, bits, shapes, readers))
    return found, open_parts


def _predict(
    net: Net,
    layer: Layer,
    geometry: Geometry,
    bits: int,
    shapes: Mapping[str, Shape],
    readers: dict[str, list[Layer]],
) -> Predicted:
    value = layer.tops[0]
    affine = np.ones(geometry.outputs), np.zeros(geometry.outputs)
    chain: list[Layer] = []
    while (follower := only_reader(net, readers, value)) is not None:
        one = affine_of(follower, shapes[value])
        if one is None:
            break
        affine = joined(affine, one)
        chain.append(follower)
        value = follower.tops[0]
    codes, tie, z_w = quantised(layer.weights[0], geometry, bits)
    bias = np.zeros(geometry.outputs)
    if len(layer.weights) > 1:
        bias = layer.weights[1].reshape(-1).astype(np.float64)
    height, width = shapes[layer.tops[0]][2:]
    return Predicted(
        layer, tuple(chain), geometry, bits, (height, width), codes, tie, z_w, affine[0], bias,
        affine[1],
    )  # fmt: skip


def quantised(
    weights: Array, geometry: Geometry, bits: int
) -> tuple[Codes, npt.NDArray[np.bool_], Vector]:
    """Weights of the caffemodel as codes (outputs, cells), which are ties, and z of each output.

    Where all weights of a tensor are equal within 1e-6 the code is one octave above z =
    n*log2(a) - n, a the first of them; all-zero weights have z -inf.
    """
    steps = number_format(bits).steps
    straight = np.ascontiguousarray(conv_order(weights, geometry))
    values, z = quantize_weights(straight, bits, geometry.depthwise)
    offset = np.broadcast_to(np.asarray(z, np.float64), geometry.outputs).copy()
    # The tensors that share a z, as rows.
    rows = np.abs(straight).reshape(geometry.outputs if geometry.depthwise else 1, -1)
    equal = np.ptp(rows, axis=1) <= EQUAL_WEIGHTS
    with np.errstate(divide="ignore"):
        of_first = steps * np.log2(rows[:, 0].astype(np.float64)) - steps
        exponent = steps * np.log2(np.abs(values.astype(np.float64)))
        exact = steps * np.log2(np.abs(straight.astype(np.float64)))
    offset[np.broadcast_to(equal, geometry.outputs)] = np.broadcast_to(of_first, geometry.outputs)[
        np.broadcast_to(equal, geometry.outputs)
    ]
    used = values != 0
    column = np.where(np.isneginf(offset), 0.0, offset).reshape(-1, 1, 1, 1)
    level = np.rint(np.where(used, exponent, column) - column) + 1
    signed = np.where(used, np.sign(values) * level, 0).astype(np.int16)
    count, places = cell_places(geometry, bits)
    codes = np.zeros((geometry.outputs, count), np.int16)
    codes[:, places.reshape(-1)] = signed.reshape(geometry.outputs, -1)
    tie = np.zeros(codes.shape, np.bool_)
    with np.errstate(invalid="ignore"):
        near = np.abs(exact - np.floor(exact) - 0.5) < steps * FLOAT_ROUNDING
    tie[:, places.reshape(-1)] = near.reshape(geometry.outputs, -1)
    return codes, tie, offset


def _word(values: Vector) -> Words:
    whole = np.rint(values)
    return np.clip(whole, -LARGEST_WORD, LARGEST_WORD - 1).astype(np.int32)

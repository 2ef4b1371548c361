"""The data of blocks: scale and bias words, and codes of weights.

Codes stand in int16 arrays: 0 for zero, else c for sign(c) * 2^((|c|-1+z)/n), n = 16 steps an
octave at 8 bits and 128 at 16. In the file a code is sign and magnitude |c|-1, at 16 bits
shifted left by two; the sign alone is zero. A negative weight never has magnitude 0.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from nnie_pipeline.quant.gfpq_format import number_format
from nnie_pipeline.wk.blocks import Bytes
from nnie_pipeline.wk.layout import LANES, OUTPUTS, dealt

Codes = npt.NDArray[np.int16]
Words = npt.NDArray[np.int32]
Vector = npt.NDArray[np.float64]
HEAD = 64
_RECORD = 16
_WORDS = 4
_ZERO = {8: 0x80, 16: 0x8000}
_SHIFT = {8: 0, 16: 2}


@dataclass(frozen=True)
class Parameters:
    """What the blocks of one layer hold, in its outputs' order.

    `codes` is int16 (outputs, cells), the others int32 (outputs,): `bias` in units of the
    accumulator, `scale` in 2^-42 (or 2^-31), `shift` behind the scale in 1/4096.
    """

    codes: Codes
    bias: Words
    scale: Words
    shift: Words

    def words(self) -> Words:
        """Bias, scale and shift as int32 (3, outputs)."""
        return np.stack([self.bias, self.scale, self.shift])


def cells_of(size: int, bits: int) -> int | None:
    """How many cells an output of a block of `size` bytes has; None if it cannot be one."""
    body = size - HEAD
    unit = LANES[bits] * OUTPUTS[bits] if bits == 8 else LANES[bits] * 2 * 4
    if body <= 0 or body % unit:
        return None
    return body // OUTPUTS[bits] // (bits // 8)


def read_layer(bodies: Bytes, outputs: int, depthwise: bool, bits: int) -> Parameters | str:
    """The parameters in the data of a layer's blocks, uint8 (blocks, bytes).

    What is not as it is in every known file is told in words instead.
    """
    words = np.ascontiguousarray(bodies[:, :HEAD]).view("<i4").reshape(-1, _WORDS, _WORDS)
    if bits == 8:
        if not depthwise:
            words = words.reshape(1, -1, _WORDS)
        elif (bodies[:, _RECORD:HEAD] != _ZERO[8]).any():
            return "a head with more than one channel's words"
        used = words[:, 0] if depthwise else words[0, :outputs]
        if used[:, 2:].any():
            return "words behind the scale word, whose meaning at 8 bits is not proven"
        raw: npt.NDArray[Any] = bodies[:, HEAD:].astype(np.uint16)
        raw = raw.reshape(len(raw), -1, OUTPUTS[8], LANES[8]).transpose(0, 2, 1, 3)
        rest = raw[:, 1:] if depthwise else raw.reshape(-1, *raw.shape[2:])[outputs:]
        if (rest != _ZERO[8]).any():
            return "codes where no output is"
        raw = raw[:, 0] if depthwise else raw.reshape(-1, *raw.shape[2:])[:outputs]
    else:
        used = words[:, 0]
        if words[:, 1:].any() or used[:, 3].any():
            return "words behind the shift word, whose meaning is not known"
        raw = np.ascontiguousarray(bodies[:, HEAD:]).view("<u2")
        raw = raw.reshape(len(raw), -1, LANES[16])
        straight = np.empty_like(raw)
        straight[:, dealt(raw.shape[1])] = raw
        raw = straight
    codes = _signed(raw.reshape(outputs, -1), bits)
    if codes is None:
        return "codes that the number format does not have"
    return Parameters(codes, used[:, 0].copy(), used[:, 1].copy(), used[:, 2].copy())


def write_layer(parameters: Parameters, depthwise: bool, bits: int) -> list[Bytes]:
    """The data of the layer's blocks: the inverse of `read_layer`."""
    outputs = len(parameters.codes)
    words = np.zeros((outputs, _WORDS), "<i4")
    words[:, 0], words[:, 1], words[:, 2] = parameters.bias, parameters.scale, parameters.shift
    heads = words.view(np.uint8).reshape(outputs, _RECORD)
    raw = _raw(parameters.codes, bits).reshape(outputs, -1, LANES[bits])
    if bits == 16:
        head = np.zeros((outputs, HEAD), np.uint8)
        head[:, :_RECORD] = heads
        body = np.ascontiguousarray(raw[:, dealt(raw.shape[1])]).view(np.uint8)
        return list(np.concatenate([head, body.reshape(outputs, -1)], axis=1))
    count = outputs if depthwise else -(-outputs // OUTPUTS[8])
    head = np.full((count, OUTPUTS[8], _RECORD), _ZERO[8] if depthwise else 0, np.uint8)
    body = np.full((count, OUTPUTS[8], *raw.shape[1:]), _ZERO[8], np.uint8)
    if depthwise:
        head[:, 0], body[:, 0] = heads, raw
    else:
        head.reshape(-1, _RECORD)[:outputs] = heads
        body.reshape(-1, *raw.shape[1:])[:outputs] = raw
    body = body.transpose(0, 2, 1, 3).reshape(count, -1)
    return list(np.concatenate([head.reshape(count, HEAD), body], axis=1))


def _signed(raw: npt.NDArray[Any], bits: int) -> Codes | None:
    zero, shift = _ZERO[bits], _SHIFT[bits]
    magnitude = (raw & (zero - 1)) >> shift
    if bits == 16 and ((raw & 3).any() or magnitude.max(initial=0) > number_format(16).top):
        return None
    codes: Codes = magnitude.astype(np.int16) + np.int16(1)
    codes[raw & zero != 0] *= -1
    codes[raw == zero] = 0
    return codes


def _raw(codes: Codes, bits: int) -> npt.NDArray[Any]:
    magnitude = np.maximum(np.abs(codes.astype(np.int32)) - 1, 0) << _SHIFT[bits]
    raw = np.where(codes > 0, magnitude, magnitude | _ZERO[bits])
    return np.asarray(raw, np.uint8 if bits == 8 else "<u2")


def levels_of(codes: Codes, z: npt.ArrayLike, bits: int) -> Vector:
    """The values that codes (outputs, ...) stand for, z a number or one for each output."""
    offset = np.asarray(z, np.float64).reshape(-1, *[1] * (codes.ndim - 1))
    offset = np.where(np.isneginf(offset), 0.0, offset)
    steps = number_format(bits).steps
    size = np.exp2((np.abs(codes.astype(np.float64)) - 1 + offset) / steps)
    return np.asarray(np.sign(codes) * size, np.float64)

"""Mode fixed against a slow convolution written here with Python's own whole numbers."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
import pytest

from nnie_pipeline.caffe.net import Array, Layer, Net
from nnie_pipeline.errors import InputError
from nnie_pipeline.quant.assumptions import parse_assumptions
from nnie_pipeline.quant.ranges import RangeRecorder, Ranges
from nnie_pipeline.quant.simulate import Simulator
from tests.caffe_nets import conv, every_value, feed, header, layer, net_of, random_net
from tests.test_simulate import FORMATS, slow_affine, slow_quantise, slow_weights, slow_z

CASES = {
    "padded": conv("x", "data", 5, 3, "pad: 1"),
    "stride": conv("x", "data", 3, 3, "stride: 2 bias_term: false"),
    "dilation": conv("x", "data", 3, 3, "dilation: 2 pad: 1"),
    "wide": conv("x", "data", 3, 0, "kernel_h: 1 kernel_w: 5 pad_h: 0 pad_w: 2").replace(
        "kernel_size: 0", ""),
    "groups": conv("x", "data", 6, 3, "group: 2"),
    "depthwise": conv("x", "data", 4, 3, "group: 4 pad: 1"),
    "deconvolution": layer("Deconvolution", "x", "data", "x",
        "convolution_param { num_output: 3 kernel_size: 3 stride: 2 pad: 1 }"),
    "groups up": layer("Deconvolution", "x", "data", "x",
        "convolution_param { num_output: 6 kernel_size: 2 stride: 2 group: 2 }"),
    "depthwise up": layer("Deconvolution", "x", "data", "x",
        "convolution_param { num_output: 4 kernel_size: 4 stride: 2 pad: 1 group: 4 "
        "bias_term: false }"),
    "thin up": layer("Deconvolution", "x", "data", "x",
        "convolution_param { num_output: 2 kernel_size: 1 stride: 2 pad: 1 }"),
    "batch norm": conv("x", "data", 5, 3, "pad: 1 bias_term: false")
    + layer("BatchNorm", "bn", "x", "bn", "batch_norm_param { eps: 0.001 }")
    + layer("Scale", "scale", "bn", "scale", "scale_param { bias_term: true }"),
}  # fmt: skip


def code_of(value: float, bits: int, z: float) -> int:
    """k of a value 2^((k+z)/n)."""
    steps, _ = FORMATS[bits]
    return round(steps * math.log2(abs(value)) - z)


def slow_sums(entry: Layer, x: Array, bits: int, z_in: int, rule: str) -> tuple[Any, list[float]]:
    """Sums of each output in units of the accumulator, and those units.

    Every input is carried to the outputs it takes part in, so that a deconvolution is one.
    """
    steps, _ = FORMATS[bits]
    param = entry.params.convolution_param
    group, outputs = param.group, param.num_output
    kernel = entry.weights[0].shape[2:]
    stride = (list(param.stride) or [1])[0]
    dilation = (list(param.dilation) or [1])[0]
    pad = (
        [param.pad_h, param.pad_w] if param.HasField("pad_w") else [(list(param.pad) or [0])[0]] * 2
    )
    up = entry.type == "Deconvolution"
    depthwise = group > 1 and entry.weights[0].shape[:2] == (group, 1)
    tensors = entry.weights[0] if depthwise else entry.weights[0][None]
    levels = np.concatenate([slow_weights(t, bits, False) for t in tensors]).reshape(
        entry.weights[0].shape
    )
    z_w = []
    for t in tensors:
        if np.ptp(np.abs(t)) <= 1e-6:
            z_w.append(steps * math.log2(float(np.abs(t).ravel()[0])) - steps)
        else:
            z_w.append(slow_z([t], bits))
    z_w = z_w if depthwise else z_w * outputs
    units = [2 ** ((z + z_in) / steps) for z in z_w]
    height, width = x.shape[2:]

    def size(n: int, k: int, p: int) -> int:
        extent = (k - 1) * dilation + 1
        return (n - 1) * stride + extent - 2 * p if up else (n + 2 * p - extent) // stride + 1

    shape = (outputs, size(height, kernel[0], pad[0]), size(width, kernel[1], pad[1]))
    bias = entry.weights[1] if len(entry.weights) > 1 else np.zeros(outputs)
    sums = np.empty(shape, object)
    for o in range(outputs):
        sums[o] = int(np.rint(float(bias[o]) / units[o])) * (65536 if rule == "exact" else 1)
    per_out, per_in = outputs // group, x.shape[1] // group
    for o in range(outputs):
        for i in range(per_in):
            c = o // per_out * per_in + i
            for ky in range(kernel[0]):
                for kx in range(kernel[1]):
                    w = float(levels[c, o % per_out, ky, kx] if up else levels[o, i, ky, kx])
                    if w == 0:
                        continue
                    k_w = code_of(w, bits, z_w[o])
                    for a in range(height):
                        for b in range(width):
                            value = float(x[0, c, a, b])
                            if up:
                                y, z = (
                                    a * stride - pad[0] + ky * dilation,
                                    b * stride - pad[1] + kx * dilation,
                                )
                                whole = True
                            else:
                                y, z = a + pad[0] - ky * dilation, b + pad[1] - kx * dilation
                                whole = y % stride == 0 and z % stride == 0
                                y, z = y // stride, z // stride
                            if (
                                value == 0
                                or not whole
                                or not (0 <= y < shape[1] and 0 <= z < shape[2])
                            ):
                                continue
                            product = 2 ** ((k_w + code_of(value, bits, z_in)) / steps)
                            if rule == "exact":
                                product *= 65536
                            size_of = math.floor(product) if rule == "down" else round(product)
                            sums[o, y, z] += size_of if (w > 0) == (value > 0) else -size_of
    return sums, units


def slow_result(net: Net, x: Array, bits: int, z_in: int, rule: str, half: bool) -> Array:
    """The last value, by whole numbers without any limit."""
    entry = net.layers[0]
    sums, units = slow_sums(entry, slow_quantise(x, bits, z_in), bits, z_in, rule)
    factor, addend = np.ones(len(units)), np.zeros(len(units))
    for follower in net.layers[1:]:
        f, t = slow_affine(follower)
        factor, addend = factor * f, addend * f + t
    found = np.empty(sums.shape)
    below = 46 if rule == "exact" else 30
    for o, unit in enumerate(units):
        word = round(factor[o] * unit * 2**42)
        if abs(word) >= 2**31:
            word = round(factor[o] * unit * 2**31) * 2**11
        shift = round(addend[o] * 4096)
        for place in np.ndindex(sums.shape[1:]):
            total = sums[o][place] * word + ((1 << (below - 1)) if half else 0)
            found[o][place] = ((total >> below) + shift) / 4096
    return found[None].astype(np.float32)


def ranges_of(net: Net, inputs: Mapping[str, Array]) -> Ranges:
    recorder = RangeRecorder(net)
    recorder.add({**inputs, **every_value(net, inputs)})
    return recorder.ranges()


@pytest.mark.parametrize("rule", ["nearest", "down", "exact"])
@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("case", CASES)
def test_whole_numbers_are_those_of_the_words(case: str, bits: int, rule: str) -> None:
    net, _ = random_net(header(1, 4, 5, 6) + CASES[case], seed=3)
    inputs = feed(net, 1)
    ranges = ranges_of(net, inputs)
    half = rule != "down"
    switches = parse_assumptions([f"products={rule}", f"outputs={'nearest' if half else 'down'}"])
    found = dict(Simulator(net, bits, ranges, switches, mode="fixed").run(inputs))
    last = net.layers[-1].tops[0]
    z_in = ranges.z[bits]["x"][0]
    expected = slow_result(net, inputs["data"], bits, z_in, rule, half)
    np.testing.assert_array_equal(found[last], expected)


@pytest.mark.parametrize("bits", [8, 16])
def test_equal_weights_have_a_z_of_their_own(bits: int) -> None:
    text = header(1, 4, 5, 6) + layer(
        "Deconvolution", "x", "data", "x",
        "convolution_param { num_output: 4 kernel_size: 2 stride: 2 group: 4 bias_term: false }",
    )  # fmt: skip
    net = net_of(text, {"x": [np.full((4, 1, 2, 2), 0.3, np.float32)]})
    inputs = feed(net, 1)
    ranges = ranges_of(net, inputs)
    found = dict(Simulator(net, bits, ranges, mode="fixed").run(inputs))["x"]
    expected = slow_result(net, inputs["data"], bits, ranges.z[bits]["x"][0], "nearest", True)
    np.testing.assert_array_equal(found, expected)


def test_products_to_a_fraction_of_a_unit_come_near_mode_float() -> None:
    """Both compute the same numbers: apart by a float32's rounding of Q20.12 at most."""
    net, _ = random_net(header(1, 4, 9, 9) + CASES["batch norm"] + layer("ReLU", "r", "scale", "r"))
    inputs = feed(net, 1)
    ranges = ranges_of(net, inputs)
    plain = dict(Simulator(net, 8, ranges).run(inputs))
    switches = parse_assumptions(["products=exact"])
    fixed = dict(Simulator(net, 8, ranges, switches, mode="fixed").run(inputs))
    assert list(plain) == list(fixed)
    for name, array in plain.items():
        assert np.abs(fixed[name] - array).max() <= 1.01 / 4096, name
    coarse = dict(Simulator(net, 8, ranges, mode="fixed").run(inputs))
    assert (coarse["scale"] != fixed["scale"]).any()


@pytest.mark.parametrize("sign", [1, -1])
def test_results_saturate(sign: int) -> None:
    weight = np.full((1, 64, 1, 1), sign * 200.0, np.float32)
    weight[0, 0] = 1
    net = net_of(header(1, 64, 1, 1) + conv("x", "data", 1), {"x": [weight, [0.0]]})
    inputs = {"data": np.full((1, 64, 1, 1), 200, np.float32)}
    found = dict(Simulator(net, 8, ranges_of(net, inputs), mode="fixed").run(inputs))["x"]
    assert found.item() == {1: (2**31 - 128) / 4096, -1: -(2.0**31) / 4096}[sign]


def test_switches_that_are_no_whole_numbers_are_refused() -> None:
    net, _ = random_net(header(1, 4, 5, 6) + CASES["padded"])
    ranges = ranges_of(net, feed(net, 1))
    with pytest.raises(InputError, match="bias=exact: mode fixed computes in whole numbers"):
        Simulator(net, 8, ranges, parse_assumptions(["bias=exact"]), mode="fixed")

"""The simulation against a slow one written here from the rules, operation by operation."""

from __future__ import annotations

import itertools
import json
import math
from collections.abc import Mapping, Sequence
from typing import get_args, get_type_hints

import numpy as np
import pytest

from nnie_pipeline.caffe.caffe_pb2 import LayerParameter
from nnie_pipeline.caffe.net import Array, Layer, Net
from nnie_pipeline.errors import InputError
from nnie_pipeline.quant.assumptions import Assumptions, parse_assumptions
from nnie_pipeline.quant.operations import is_depthwise, operations
from nnie_pipeline.quant.ranges import RangeRecorder, Ranges, picture_z
from nnie_pipeline.quant.simulate import Mode, Simulator
from tests import caffe_reference
from tests.caffe_nets import conv, every_value, feed, header, layer, net_of, random_net

# The number format: steps an octave and largest code (HiSilicon's libgfpq, measured).
FORMATS = {8: (16, 127), 16: (128, 1407)}
STEP = 1 / 4096


def slow_z(arrays: Sequence[Array], bits: int) -> int:
    """The z of the largest magnitude in several arrays."""
    steps, top = FORMATS[bits]
    largest = max(float(np.abs(x).max()) for x in arrays)
    return math.floor(steps * math.log2(largest or 1e-6)) - top


def slow_quantise(x: Array, bits: int, z: int) -> Array:
    """Every number by itself: the nearest power, nothing below half the smallest one."""
    steps, top = FORMATS[bits]
    out = np.zeros(x.size, np.float32)
    for i, value in enumerate(np.asarray(x, np.float64).ravel().tolist()):
        if value == 0:
            continue
        exponent = steps * math.log2(abs(value))
        smallest = 0 if value > 0 else 1
        if exponent <= z + smallest - steps:
            continue
        code = min(max(math.floor(exponent + 0.5) - z, smallest), top)
        out[i] = math.copysign(2 ** ((code + z) / steps), value)
    return out.reshape(x.shape)


def slow_weights(w: Array, bits: int, per_channel: bool) -> Array:
    if per_channel:
        return np.stack([slow_weights(x, bits, False) for x in w])
    if np.ptp(np.abs(w)) <= 1e-6:
        return np.sign(w) * np.abs(w.ravel()[0])
    return slow_quantise(w, bits, slow_z([w], bits))


def slow_round(x: Array) -> Array:
    return np.floor(np.asarray(x, np.float64) * 4096 + 0.5) / 4096


def slow_truncate(x: Array) -> Array:
    return np.trunc(np.asarray(x, np.float64) * 4096) / 4096


def slow_unit(w: Array, bits: int, z_in: int) -> float:
    """What one step of the accumulator is worth."""
    steps, _ = FORMATS[bits]
    magnitudes = np.abs(w).ravel()
    if np.ptp(magnitudes) <= 1e-6:
        return float(magnitudes[0]) / 2 * 2 ** (z_in / steps)
    return float(2 ** ((slow_z([w], bits) + z_in) / steps))


def slow_affine(entry: Layer) -> tuple[Array, Array]:
    """Factor and addend of a BatchNorm or Scale."""
    w = [np.asarray(x, np.float64) for x in entry.weights]
    if entry.type == "Scale":
        return w[0], w[1]
    deviation = np.sqrt(w[1] / w[2] + entry.params.batch_norm_param.eps)
    return 1 / deviation, -w[0] / w[2] / deviation


def slow_words(
    group: Sequence[Layer], bits: int, z_in: int, depthwise: bool
) -> tuple[Array, Array, Array]:
    """Bias, and what rounding the scale and shift words does: a ratio, and what is added."""
    conv_layer = group[0]
    outputs = len(conv_layer.weights[1]) if len(conv_layer.weights) > 1 else 8
    tensors = list(conv_layer.weights[0]) if depthwise else [conv_layer.weights[0]] * outputs
    factor, addend = np.ones(outputs), np.zeros(outputs)
    for entry in group[1:]:
        if entry.type not in ("BatchNorm", "Scale"):
            break
        f, t = slow_affine(entry)
        factor, addend = factor * f, addend * f + t
    bias, ratio = np.zeros(outputs), np.ones(outputs)
    for i, tensor in enumerate(tensors):
        unit = slow_unit(tensor, bits, z_in)
        if len(conv_layer.weights) > 1:
            bias[i] = round(float(conv_layer.weights[1][i]) / unit) * unit
        word = round(factor[i] * unit * 2**42)
        if abs(word) >= 2**31:
            word = round(factor[i] * unit * 2**31) * 2**11
        ratio[i] = word / (factor[i] * unit * 2**42)
    return bias, ratio, np.round(addend * 4096) / 4096 - addend


def slow_operation(
    group: Sequence[Layer],
    values: Mapping[str, Array],
    bits: int,
    z: Sequence[int] | None,
    depthwise: bool,
) -> dict[str, Array]:
    """All tops of layers that are one operation on the chip; z None quantises no input."""
    made = dict(values)
    if z is not None:
        for name, own in zip(group[0].bottoms, z, strict=True):
            made[name] = slow_quantise(values[name], bits, own)
    moved = np.zeros(1)
    last = max((i for i, x in enumerate(group) if x.type in ("BatchNorm", "Scale")), default=-1)
    for number, entry in enumerate(group):
        p = LayerParameter(type=entry.type, top=entry.tops)
        p.MergeFrom(entry.params)
        weights = [np.asarray(x, np.float64) for x in entry.weights]
        if entry.type in ("Convolution", "Deconvolution", "InnerProduct"):
            weights[0] = slow_weights(entry.weights[0], bits, depthwise)
            if z is None:
                pass
            elif entry.type != "InnerProduct":
                bias, ratio, moved = slow_words(group, bits, z[0], depthwise)
                along = ratio.reshape(-1, *[1] * (weights[0].ndim - 1))
                weights = [weights[0] * along, *([bias * ratio] if len(weights) > 1 else [])]
            else:
                unit = slow_unit(entry.weights[0], bits, z[0])
                weights[1] = np.round(weights[1] / unit) * unit
        elif entry.type == "PReLU":
            weights = [slow_truncate(x) for x in weights]
        elif entry.type == "ReLU":
            p.relu_param.negative_slope = float(slow_truncate(p.relu_param.negative_slope))
        elif entry.type == "Eltwise":
            p.eltwise_param.coeff[:] = [float(slow_truncate(x)) for x in p.eltwise_param.coeff]
        tops = list(caffe_reference.run_layer(p, [made[x] for x in entry.bottoms], weights))
        if number == last:
            tops[0] = tops[0] + moved.reshape(1, -1, 1, 1)
        made.update(zip(entry.tops, tops, strict=True))
    return {x: made[x] for entry in group for x in entry.tops}


TEXT = (
    header(1, 3, 16, 12)
    + conv("conv1", "data", 8, 3, "pad: 1 stride: 2 bias_term: false")
    + layer("BatchNorm", "bn1", "conv1", "conv1", "batch_norm_param { eps: 0.001 }")
    + layer("Scale", "scale1", "conv1", "conv1", "scale_param { bias_term: true }")
    + layer("ReLU", "relu1", "conv1", "conv1", "relu_param { negative_slope: 0.1003 }")
    + conv("dw", "conv1", 8, 3, "pad: 1 group: 8")
    + layer("PReLU", "prelu", "dw", "dw")
    + conv("pw", "dw", 8)
    + layer("TanH", "gate", "pw")
    + layer("ReLU", "apart", "pw", "", "relu_param { negative_slope: 0.3333 }")
    + layer("Eltwise", "sum", "apart conv1", "", "eltwise_param { coeff: 0.7 coeff: -1.3 }")
    + layer("ReLU", "sum_relu", "sum", "sum")
    + layer("Pooling", "pool", "sum", "", "pooling_param { pool: AVE kernel_size: 3 stride: 2 }")
    + layer("Deconvolution", "up", "pool", "",
            "convolution_param { num_output: 8 group: 8 kernel_size: 2 stride: 2 "
            "bias_term: false }")
    + layer("Concat", "join", "sum up gate")
    + layer("Slice", "cut", "join", "first second", "slice_param { slice_point: 20 }")
    + layer("InnerProduct", "fc", "second", "", "inner_product_param { num_output: 10 }")
    + layer("Softmax", "prob", "fc")
    + layer("Pooling", "most", "first", "", "pooling_param { kernel_size: 2 stride: 2 }")
)  # fmt: skip

GROUPS = (
    ("conv1", "bn1", "scale1", "relu1"), ("dw", "prelu"), ("pw",), ("gate",), ("apart",),
    ("sum", "sum_relu"), ("pool",), ("up",), ("join",), ("cut",), ("fc",), ("prob",), ("most",),
)  # fmt: skip
QUANTISED = {"conv1", "dw", "pw", "sum", "pool", "up", "fc", "most"}
RANGED = QUANTISED | {"join"}
DEPTHWISE = {"dw", "up"}


def example() -> Net:
    """The network, with channels of the depthwise convolution of very different sizes."""
    net, _ = random_net(TEXT, seed=2)
    dw = net.find("dw")
    sizes = np.float32(2.0) ** np.arange(-14, 2, 2, dtype=np.float32)
    dw.weights = [dw.weights[0] * sizes.reshape(-1, 1, 1, 1), dw.weights[1]]
    net.find("up").weights = [np.ones((8, 1, 2, 2), np.float32)]
    return net


def pictures(net: Net, seeds: Sequence[int] = (0, 1, 2)) -> list[dict[str, Array]]:
    sizes = {0: 20.0, 1: 3.0, 2: 50.0}
    return [{k: v * np.float32(sizes[s]) for k, v in feed(net, s).items()} for s in seeds]


def record(net: Net, inputs: Sequence[Mapping[str, Array]]) -> Ranges:
    recorder = RangeRecorder(net)
    for one in inputs:
        recorder.add({**one, **every_value(net, one)})
    return recorder.ranges()


def simulated(net: Net, bits: int, inputs: Mapping[str, Array], *settings: str) -> dict[str, Array]:
    """Every value of a simulation that `inputs` calibrate themselves."""
    switches = parse_assumptions(settings)
    return dict(Simulator(net, bits, record(net, [inputs]), switches).run(inputs))


def test_what_is_one_operation() -> None:
    found = [tuple(x.name for x in y.layers) for y in operations(example())]
    assert tuple(found) == GROUPS
    assert {x.leader.name for x in operations(example()) if x.quantises} == QUANTISED
    assert {x.name for x in example().layers if is_depthwise(x)} == DEPTHWISE


@pytest.mark.parametrize("bits", [8, 16])
def test_every_value_follows_from_the_rules(bits: int) -> None:
    """Each operation alone, from the simulation's own inputs, so that errors do not add up.

    The engine sums in float32, this test in float64: where a sum lies within 1e-6 of half a
    step of 1/4096, the two round to neighbouring steps. More than one step is a wrong rule.
    """
    net = example()
    inputs = pictures(net)
    ranges = record(net, inputs)
    simulated = dict(Simulator(net, bits, ranges).run(inputs[0]))
    assert list(simulated) == [x for y in GROUPS for z in y for x in net.find(z).tops]
    values = {**inputs[0], **simulated}
    equal = total = 0
    for names in GROUPS:
        group = [net.find(x) for x in names]
        z = None
        if names[0] in QUANTISED:
            floats = [{**x, **every_value(net, x)} for x in inputs]
            z = [slow_z([x[y] for x in floats], bits) for y in group[0].bottoms]
            assert list(ranges.z[bits][names[0]]) == z
        expected = slow_operation(group, values, bits, z, names[0] in DEPTHWISE)
        for name, array in expected.items():
            found = simulated[name]
            assert found.dtype == np.float32
            assert found.shape == array.shape
            np.testing.assert_array_equal(found * 4096, np.round(found * 4096))
            difference = np.abs(found - slow_round(array))
            allowed = STEP + 2e-6 * np.abs(array).max()
            assert difference.max() <= allowed, (names[0], name, difference.max())
            equal += int((difference == 0).sum())
            total += array.size
    assert equal > 0.98 * total


@pytest.mark.parametrize("mistake", ["not quantised", "range of half the size"])
@pytest.mark.parametrize("bits", [8, 16])
def test_the_comparison_would_notice_a_wrong_rule(mistake: str, bits: int) -> None:
    """The tolerance above is far below what a broken rule moves."""
    net = example()
    inputs = pictures(net, [2])
    ranges = record(net, inputs)
    values = {**inputs[0], **dict(Simulator(net, bits, ranges).run(inputs[0]))}
    noticed = set()
    for names in GROUPS:
        if names[0] not in QUANTISED:
            continue
        group = [net.find(x) for x in names]
        wrong = [x - FORMATS[bits][0] for x in ranges.z[bits][names[0]]]
        z = None if mistake == "not quantised" else wrong
        expected = slow_operation(group, values, bits, z, names[0] in DEPTHWISE)
        if any(np.abs(values[x] - slow_round(y)).max() > 3 * STEP for x, y in expected.items()):
            noticed.add(names[0])
    assert len(noticed) >= len(QUANTISED) - 2


def test_nothing_is_quantised_between_a_convolution_and_its_followers() -> None:
    """w 1, mean 1: BatchNorm must see the sum itself, not its nearest step of 1/4096."""
    text = (
        header(1, 1, 1, 1)
        + conv("conv", "data", 1, more="bias_term: false")
        + layer("BatchNorm", "bn", "conv")
        + layer("Scale", "scale", "bn")
    )
    weights = {
        "conv": [np.full((1, 1, 1, 1), 2.0**-10)],
        "bn": [[0.0], [1.0], [1.0]],
        "scale": [[1024.0]],
    }
    net = net_of(text, weights)
    x = np.full((1, 1, 1, 1), 2.0**-5 + 2.0**-9, np.float32)
    inputs = {"data": x}
    found = dict(Simulator(net, 16, record(net, [inputs])).run(inputs))
    steps = FORMATS[16][0]
    quantised = 2 ** (math.floor(steps * math.log2(float(x[0, 0, 0, 0])) + 0.5) / steps)
    # conv and bn hold 2**-15, less than half a step: stored as 0, and still not lost.
    assert found["conv"].item() == found["bn"].item() == 0
    assert found["scale"].item() == pytest.approx(quantised, abs=STEP / 2 + 1e-6)


def test_an_output_between_ends_the_operation() -> None:
    net, _ = random_net(
        header(1, 2, 4, 4) + conv("conv", "data", 2) + layer("BatchNorm", "bn", "conv")
        + layer("ReLU", "relu", "bn")
    )  # fmt: skip
    assert [len(x.layers) for x in operations(net)] == [3]
    net.outputs = ["bn", "relu"]
    assert [[y.name for y in x.layers] for x in operations(net)] == [["conv", "bn"], ["relu"]]
    net.outputs = ["conv", "relu"]
    assert [[y.name for y in x.layers] for x in operations(net)] == [["conv"], ["bn"], ["relu"]]


@pytest.mark.parametrize(
    ("text", "groups"),
    [
        (conv("a", "data", 2) + layer("ReLU", "b", "a") + layer("ReLU", "c", "a"), "a b c"),
        (conv("a", "data", 2) + layer("Softmax", "b", "a"), "a b"),
        (conv("a", "data", 2) + layer("ReLU", "g", "data")
         + layer("Scale", "s", "a g", "", "scale_param { axis: 0 }"), "a g s"),
        (layer("ReLU", "a", "data") + layer("ReLU", "b", "a"), "a b"),
        (layer("BatchNorm", "a", "data") + layer("ReLU", "b", "a"), "a b"),
        (layer("Pooling", "a", "data", "", "pooling_param { kernel_size: 2 }")
         + layer("BatchNorm", "b", "a") + layer("Sigmoid", "c", "b"), "a+b+c"),
        (conv("a", "data", 2) + conv("b", "a", 2) + layer("ReLU", "c", "b"), "a b+c"),
        (conv("a", "data", 2) + layer("ReLU", "b", "a") + layer("PReLU", "c", "b")
         + layer("TanH", "d", "c"), "a+b+c+d"),
    ],
)  # fmt: skip
def test_followers(text: str, groups: str) -> None:
    found = operations(net_of(header(1, 2, 4, 4) + text))
    assert " ".join("+".join(y.name for y in x.layers) for x in found) == groups


def test_what_is_fused_is_a_switch() -> None:
    net = net_of(
        header(1, 2, 4, 4) + conv("a", "data", 2) + layer("BatchNorm", "b", "a", "a")
        + layer("ReLU", "c", "a") + layer("TanH", "d", "c", "c")
    )  # fmt: skip
    for value, groups in (("behind", "a+b+c+d"), ("in_place", "a+b c d"), ("none", "a b c d")):
        found = operations(net, parse_assumptions([f"fused={value}"]))
        assert " ".join("+".join(y.name for y in x.layers) for x in found) == groups


def test_followers_that_stand_apart_in_the_file() -> None:
    """A later branch comes first in the file; the values come out in a runnable order."""
    text = (
        header(1, 2, 4, 4)
        + conv("a", "data", 2)
        + conv("b", "data", 2)
        + layer("ReLU", "relu_b", "b")
        + layer("ReLU", "relu_a", "a")
        + layer("Eltwise", "sum", "relu_a relu_b")
    )
    net, _ = random_net(text)
    inputs = feed(net)
    found = [x for x, _ in Simulator(net, 8, record(net, [inputs])).run(inputs)]
    assert found == ["a", "relu_a", "b", "relu_b", "sum"]


LARGE_AND_SMALL = header(1, 2, 3, 3, name="large") + header(1, 2, 3, 3, name="small")


def large_and_small() -> dict[str, Array]:
    rng = np.random.default_rng(0)
    large = rng.uniform(50, 100, (1, 2, 3, 3)).astype(np.float32)
    return {"large": large, "small": rng.uniform(-1, 1, (1, 2, 3, 3)).astype(np.float32)}


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("sharing", ["own", "shared"])
def test_the_bottoms_of_an_eltwise(sharing: str, bits: int) -> None:
    """Beside a large one, a small bottom keeps its own steps unless the switch says shared."""
    net = net_of(LARGE_AND_SMALL + layer("Eltwise", "both", "large small"))
    inputs = large_and_small()
    large, small = inputs.values()
    found = simulated(net, bits, inputs, f"eltwise={sharing}")["both"]
    z = [slow_z([x], bits) for x in (large, small)]
    a = slow_quantise(large, bits, z[0])
    own, shared = (slow_quantise(small, bits, x) for x in (z[1], z[0]))
    assert np.abs(own - shared).max() > 3 * STEP
    expected = a + (own if sharing == "own" else shared)
    assert np.abs(found - slow_round(expected)).max() <= STEP


@pytest.mark.parametrize("concat", ["q20_12", "quantised"])
def test_the_bottoms_of_a_concat(concat: str) -> None:
    """Q20.12 numbers are only joined; quantised ones have one z."""
    net = net_of(LARGE_AND_SMALL + layer("Concat", "both", "large small"))
    inputs = large_and_small()
    found = simulated(net, 8, inputs, f"concat={concat}")["both"]
    expected = np.concatenate(list(inputs.values()), 1)
    if concat == "quantised":
        expected = slow_quantise(expected, 8, slow_z([expected], 8))
        assert (expected == 0).any()  # a small one, lost beside the large ones
    np.testing.assert_array_equal(found, slow_round(expected).astype(np.float32))


@pytest.mark.parametrize(
    ("bits", "z", "top"), [(8, 0, 2 ** (127 / 16)), (16, -384, 2 ** (1023 / 128))]
)
def test_pictures_have_a_fixed_range(bits: int, z: int, top: float) -> None:
    """8 bit: 246 to 255 saturate to 245.1, whatever is in the calibration pictures."""
    net = net_of(header(1, 1, 16, 16) + layer("Eltwise", "x", "data", "", ""))
    pixels = np.arange(256, dtype=np.float32).reshape(1, 1, 16, 16)
    dark = {"data": np.full_like(pixels, 40)}
    recorder = RangeRecorder(net, {"data": 1.0})
    recorder.add(dark)
    ranges = recorder.ranges()
    found = dict(Simulator(net, bits, ranges).run({"data": pixels}))["x"].ravel()
    expected = slow_round(slow_quantise(pixels, bits, z)).ravel()
    assert np.abs(found - expected).max() <= STEP
    assert found.max() == pytest.approx(top, abs=STEP)
    assert (found[246:] == found[255]).all() == (bits == 8)
    assert ((found > 0) == (pixels.ravel() > 0)).all()
    switched = Simulator(net, bits, ranges, parse_assumptions(["picture=calibrated"]))
    assert dict(switched.run({"data": pixels}))["x"].max() < 41


def test_a_scaled_picture_has_the_range_of_its_pixels() -> None:
    """data_scale 1/256 moves z by eight octaves, as in a compiled CenterFace."""
    assert (picture_z(1.0, 8), picture_z(1 / 256, 8)) == (0, -128)
    assert (picture_z(1.0, 16), picture_z(1 / 256, 16)) == (-384, -384 - 1024)
    assert picture_z(0.0078125, 8) == -112
    assert picture_z(1 / 255, 8) == math.floor(16 * math.log2(1 / 255)) == -128


WORDS = (
    header(1, 2, 1, 1)
    + conv("conv", "data", 2)
    + layer("BatchNorm", "bn", "conv", "conv")
    + layer("Scale", "scale", "conv", "conv", "scale_param { bias_term: true }")
)


def words_net(bias: float, mean: float, beta: float) -> Net:
    weights = {
        "conv": [np.float32([[1, 0.5], [0.25, 1]]).reshape(2, 2, 1, 1), [bias, bias]],
        "bn": [[mean, mean], [1 - 1e-5, 1 - 1e-5], [1.0]],
        "scale": [[1.0, 1.0], [beta, beta]],
    }
    return net_of(WORDS, weights)


def test_a_bias_is_a_multiple_of_the_accumulator_s_unit() -> None:
    """8 bit, data 1024 and weights 1: U = 2^((-127 + 33) / 16), about 1/58.7."""
    unit = 2 ** ((-127 + 160 - 127) / 16)
    inputs = {"data": np.full((1, 2, 1, 1), 1024, np.float32)}
    for bias, steps in ((0.4 * unit, 0), (0.6 * unit, 1), (-7.4 * unit, -7)):
        net = words_net(bias, 0, 0)
        exact = simulated(net, 8, inputs, "bias=exact")["conv"].ravel()
        found = simulated(net, 8, inputs)["conv"].ravel()
        assert found[0] == pytest.approx(1536 + steps * unit, abs=2 * STEP)
        assert exact[0] == pytest.approx(1536 + bias, abs=2 * STEP)


def test_the_unit_of_all_equal_weights() -> None:
    """Weights of 0.75: U = 0.75 / 2 of the data's unit, 2^(33/16) of data up to 1024."""
    net = words_net(0, 0, 0)
    net.find("conv").weights[0] = np.full((2, 2, 1, 1), 0.75, np.float32)
    unit = 0.75 / 2 * 2 ** ((160 - 127) / 16)
    inputs = {"data": np.full((1, 2, 1, 1), 1024, np.float32)}
    for bias, steps in ((0.4 * unit, 0), (0.6 * unit, 1), (2.4 * unit, 2)):
        net.find("conv").weights[1] = np.full(2, bias, np.float32)
        found = simulated(net, 8, inputs)["conv"].ravel()
        assert found[0] == pytest.approx(1536 + steps * unit, abs=2 * STEP)


@pytest.mark.parametrize("count", [1.0, 4.0])
def test_the_shift_of_a_batch_norm_alone_is_q20_12(count: float) -> None:
    """Mean and variance stand in the file times `count`."""
    text = header(1, 1, 1, 1) + conv("conv", "data", 1, 1, "bias_term: false")
    text += layer("BatchNorm", "bn", "conv", "conv")
    mean, variance = -0.4 * STEP, 0.25
    weights = {
        "conv": [np.ones((1, 1, 1, 1))],
        "bn": [[mean * count], [(variance - 1e-5) * count], [count]],
    }
    inputs = {"data": np.full((1, 1, 1, 1), 1, np.float32)}
    # 2 * 0.4 steps become 1.
    for setting, shift in (("shift=word", STEP), ("shift=exact", 0.8 * STEP)):
        found = simulated(net_of(text, weights), 16, inputs, setting, "outputs=exact")["conv"]
        assert found.item() == pytest.approx(2 + shift, abs=STEP / 100)


def test_the_shift_of_batch_norm_is_q20_12() -> None:
    """Three tenths of a step, not there when the result is a whole number of steps."""
    inputs = {"data": np.full((1, 2, 1, 1), 1, np.float32)}
    for mean, beta, steps in (
        (-0.3 * STEP, 0, 0),
        (0, 0.7 * STEP, 1),
        (-0.4 * STEP, 0.4 * STEP, 1),
    ):
        net = words_net(0, mean, beta)
        for setting, more in (("shift=word", 0.0), ("shift=exact", 0.0)):
            found = simulated(net, 16, inputs, setting, "outputs=exact")["conv"].ravel()[0]
            shift = steps * STEP if setting == "shift=word" else beta - mean
            assert found == pytest.approx(1.5 + shift + more, abs=STEP / 50)


def test_a_factor_is_a_word_of_32_bits() -> None:
    """A scale word of a few steps is coarse: 16 bit, tiny weights and data."""
    net = words_net(0, 0, 0)
    net.find("conv").weights[0] = net.find("conv").weights[0] * np.float32(2.0**-10)
    net.find("scale").weights[0] = np.float32([2.0**20 / 1.9, 2.0**20])
    inputs = {"data": np.full((1, 2, 1, 1), 2.0**-19, np.float32)}
    unit = 2.0 ** ((-1407 - 10 * 128 - 1407 - 19 * 128) / 128)
    for i, factor in enumerate((2.0**20 / 1.9, 2.0**20)):
        word = round(factor * unit * 2**42)
        exact = simulated(net, 16, inputs, "scale=exact", "outputs=exact")["conv"].ravel()[i]
        found = simulated(net, 16, inputs, "outputs=exact")["conv"].ravel()[i]
        assert found / exact == pytest.approx(word / (factor * unit * 2**42), rel=1e-5)
        assert 0 < word < 4000


def test_layers_named_hp_have_16_bits() -> None:
    net, _ = random_net(
        header(1, 3, 8, 8) + conv("a", "data", 4, 3) + layer("ReLU", "r", "a", "a")
        + conv("b_hp", "a", 4, 3) + layer("ReLU", "s", "b_hp", "b_hp") + conv("c", "b_hp", 2)
    )  # fmt: skip
    inputs = feed(net)
    ranges = record(net, [inputs])
    found = dict(Simulator(net, "mixed", ranges).run(inputs))
    values = {**inputs, **found}
    for names, bits in ((("a", "r"), 8), (("b_hp", "s"), 16), (("c",), 8)):
        group = [net.find(x) for x in names]
        for width in (8, 16):
            z = ranges.z[width][names[0]]
            expected = slow_operation(group, values, width, z, False)[group[-1].tops[0]]
            close = np.abs(found[group[-1].tops[0]] - slow_round(expected)).max() <= 2 * STEP
            assert close == (width == bits), (names, width)
    plain = net.copy()
    plain.find("b_hp").name = "b"
    unmarked = record(plain, [inputs])
    again = dict(Simulator(net, "mixed", unmarked).run(inputs))  # calibrated before the mark
    assert all((again[x] == found[x]).all() for x in found)
    assert "no layer's name ends in _hp" in refusal(Simulator, plain, "mixed", unmarked)


def test_layers_on_the_cpu_compute_in_float() -> None:
    net, _ = random_net(
        header(1, 3, 8, 8) + conv("a", "data", 4, 3) + conv("b_cpu", "a", 4, 3)
        + layer("Power", "r", "b_cpu", "", "power_param { scale: 1000 }") + conv("c", "r", 2)
    )  # fmt: skip
    assert [[y.name for y in x.layers] for x in operations(net)] == [["a"], ["b_cpu"], ["r"], ["c"]]
    inputs = feed(net)
    found = dict(Simulator(net, 8, record(net, [inputs])).run(inputs))
    part = net_of(header(1, 4, 6, 6, name="a") + conv("b_cpu", "a", 4, 3))
    part.find("b_cpu").weights = net.find("b_cpu").weights
    exact = every_value(part, {"a": found["a"]})["b_cpu"]
    np.testing.assert_allclose(found["b_cpu"], exact, rtol=1e-5, atol=1e-6)
    assert (found["b_cpu"] * 4096 % 1 != 0).any()  # not rounded
    # NNIE gets Q20.12 from the CPU: multiples of 1000 steps, which a float would not be.
    np.testing.assert_allclose(found["r"], 1000 * slow_round(found["b_cpu"]), rtol=1e-6)


def test_bits_of_each_layer() -> None:
    net = example()
    inputs = pictures(net)
    ranges = record(net, inputs)
    names = [x.name for x in net.layers]
    nothing = dict(Simulator(net, dict.fromkeys(names, 0), ranges).run(inputs[0]))
    for name, array in every_value(net, inputs[0]).items():
        np.testing.assert_allclose(nothing[name], array, rtol=1e-4, atol=1e-4)
    same = dict(Simulator(net, dict.fromkeys(names, 8), ranges).run(inputs[0]))
    for name, array in Simulator(net, 8, ranges).run(inputs[0]):
        np.testing.assert_array_equal(same[name], array)
    assert "given for layer conv1" in refusal(Simulator, net, {}, ranges)


@pytest.mark.parametrize(
    "name", [x for x in get_type_hints(Assumptions) if x not in ("scale", "fused")]
)
def test_every_switch_changes_something(name: str) -> None:
    net = example()
    net.find("up").weights[0] *= np.float32(0.3)
    inputs = pictures(net)[0]
    recorder = RangeRecorder(net, {"data": 1.0})
    recorder.add({**inputs, **every_value(net, inputs)})
    ranges = recorder.ranges()
    mode: Mode = "fixed" if name == "products" else "float"
    usual = dict(Simulator(net, 8, ranges, mode=mode).run(inputs))
    for value in get_args(get_type_hints(Assumptions)[name]):
        switches = parse_assumptions([f"{name}={value}"])
        found = dict(Simulator(net, 8, ranges, switches, mode=mode).run(inputs))
        same = all(np.array_equal(found[x], usual[x]) for x in usual)
        assert same == (switches == Assumptions()), value


def test_wrong_switches_are_refused() -> None:
    assert "did you mean pooling?" in refusal(parse_assumptions, ["poling=quantised"])
    assert "there are picture, eltwise" in refusal(parse_assumptions, ["x"])
    assert "one of own, shared" in refusal(parse_assumptions, ["eltwise=each"])
    assert parse_assumptions(["bias=exact", "bias=word"]) == Assumptions()
    assert parse_assumptions(["bias=exact"]).changed() == {"bias": "exact"}


def test_depthwise_weights_have_a_z_a_channel_and_others_one() -> None:
    """A channel 2**12 times smaller survives in a depthwise convolution only."""
    weight = np.stack([np.linspace(0.5, 1, 9), np.linspace(0.5, 1, 9) * 2.0**-12])
    data = np.full((1, 2, 3, 3), 4096, np.float32)
    for kind, survives in (("DepthwiseConv", True), ("group: 2", True), ("", False)):
        if kind == "DepthwiseConv":
            param = "convolution_param { num_output: 2 kernel_size: 3 bias_term: false }"
            text = layer(kind, "x", "data", "", param)
        else:
            text = conv("x", "data", 2, 3, f"bias_term: false {kind}")
        shape = (2, 2 if not kind else 1, 3, 3)
        blob = np.broadcast_to(weight.reshape(2, 1, 3, 3), shape)
        net = net_of(header(1, 2, 3, 3) + text, {"x": [blob]})
        inputs = {"data": data}
        found = dict(Simulator(net, 8, record(net, [inputs])).run(inputs))["x"].ravel()
        assert found[0] > 0
        assert (found[1] > 0) == survives, kind


def test_all_equal_weights_are_exact() -> None:
    """0.3 is no power of 2**(1/16); the ones of an upsampling deconvolution must stay ones."""
    for value in (1.0, 0.3, -0.3):
        weight = np.full((2, 1, 2, 2), value, np.float32)
        param = (
            "convolution_param { num_output: 2 group: 2 kernel_size: 2 stride: 2 bias_term: false }"
        )
        text = header(1, 2, 2, 2) + layer("Deconvolution", "x", "data", "", param)
        net = net_of(text, {"x": [weight]})
        inputs = {"data": np.full((1, 2, 2, 2), 2.0, np.float32)}
        found = dict(Simulator(net, 8, record(net, [inputs])).run(inputs))["x"]
        np.testing.assert_array_equal(
            found, np.float32(slow_round(np.array(2 * np.float32(value))))
        )


def test_layers_that_are_not_quantised_see_what_is_stored() -> None:
    net = net_of(header(1, 1, 1, 3) + layer("AbsVal", "x", "data") + layer("TanH", "y", "x"))
    x = np.array([0.12345, -3.3333, 1e-5], np.float32).reshape(1, 1, 1, 3)
    found = dict(Simulator(net, 8, Ranges({8: {}}, 1)).run({"data": x}))
    np.testing.assert_array_equal(found["x"], slow_round(np.abs(x)).astype(np.float32))
    np.testing.assert_array_equal(found["y"], slow_round(np.tanh(slow_round(np.abs(x)))))


@pytest.mark.parametrize(
    ("text", "weights", "expected"),
    [
        (layer("ReLU", "x", "data", "", "relu_param { negative_slope: 0.00048 }"), {},
         lambda x: np.where(x > 0, x, x / 4096)),
        (layer("PReLU", "x", "data"), {"x": [[0.0001, 0.00072]]},
         lambda x: np.where(x > 0, x, x * np.array([0, 2 / 4096]).reshape(1, 2, 1, 1))),
        (layer("RReLU", "x", "data", "", "rrelu_param { lower: 0.0004 upper: 0.0005 }"), {},
         lambda x: np.where(x > 0, x, x / 4096)),
        (layer("ELU", "x", "data", "", "elu_param { alpha: 0.1 }"), {},
         lambda x: np.where(x > 0, x, 409 / 4096 * (np.exp(np.minimum(x, 0)) - 1))),
        (layer("Power", "x", "data", "", "power_param { scale: 0.0001 shift: 0.0004 }"), {},
         lambda x: x * 0 + 1 / 4096),
        (layer("Exp", "x", "data", "", "exp_param { scale: 0.0001 shift: 0.0001 }"), {},
         lambda x: x * 0 + 1),
        (layer("Threshold", "x", "data", "", "threshold_param { threshold: 0.0001 }"), {},
         lambda x: (x > 0) * 1.0),
    ],
    ids=["ReLU", "PReLU", "RReLU", "ELU", "Power", "Exp", "Threshold"],
)  # fmt: skip
def test_slopes_and_coefficients_are_q20_12(text: str, weights: object, expected: object) -> None:
    net = net_of(header(1, 2, 1, 4) + text, weights)  # type: ignore[arg-type]
    x = np.array([-1000, -100.5, 0.00005, 7, -2000, 3, -1, -4], np.float32).reshape(1, 2, 1, 4)
    found = dict(Simulator(net, 8, Ranges({8: {}}, 1)).run({"data": x}))["x"]
    np.testing.assert_allclose(found, slow_round(expected(x)), atol=1e-6)  # type: ignore[operator]


def test_ranges_keep_the_largest_of_all_pictures() -> None:
    net = example()
    inputs = pictures(net)
    for bits, count in itertools.product((8, 16), (1, 2, 3)):
        for order in itertools.permutations(inputs, count):
            ranges = record(net, order)
            assert ranges.pictures == count
            runs = [{**x, **every_value(net, x)} for x in order]
            for name in QUANTISED:
                bottoms = net.find(name).bottoms
                expected = [slow_z([x[y] for x in runs], bits) for y in bottoms]
                assert list(ranges.z[bits][name]) == expected
    assert set(ranges.z[8]) == set(ranges.z[16]) == RANGED


def test_a_black_picture_does_not_shrink_a_range() -> None:
    net = net_of(
        header(1, 1, 2, 2) + layer("Pooling", "p", "data", "", "pooling_param { kernel_size: 2 }")
    )
    black = {"data": np.zeros((1, 1, 2, 2), np.float32)}
    bright = {"data": np.full((1, 1, 2, 2), 200, np.float32)}
    for order in ([black, bright], [bright, black], [bright]):
        assert record(net, order).z[8]["p"] == (slow_z([bright["data"]], 8),)
    # Only zeros count as 1e-6.
    assert record(net, [black]).z[8]["p"] == (slow_z([np.array(1e-6)], 8),)


def test_larger_values_than_calibrated_are_clipped_to_the_largest_level() -> None:
    net, _ = random_net(header(1, 2, 3, 3) + layer("Eltwise", "x", "data data"))
    small = {"data": np.full((1, 2, 3, 3), 1.0, np.float32)}
    ranges = record(net, [small])
    large = {"data": np.full((1, 2, 3, 3), 100.0, np.float32)}
    found = dict(Simulator(net, 8, ranges).run(large))["x"]
    np.testing.assert_array_equal(found, 2)


def test_the_picture_changes_between_runs_and_nothing_stays_behind() -> None:
    net = example()
    inputs = pictures(net)
    simulator = Simulator(net, 8, record(net, inputs))
    first = dict(simulator.run(inputs[0]))
    second = dict(simulator.run(inputs[1]))
    again = dict(simulator.run(inputs[0]))
    for name, array in first.items():
        np.testing.assert_array_equal(array, again[name])
    assert not np.array_equal(first["fc"], second["fc"])


def test_the_given_weights_are_left_alone() -> None:
    net = example()
    before = [[y.copy() for y in x.weights] for x in net.layers]
    inputs = pictures(net)
    dict(Simulator(net, 8, record(net, inputs)).run(inputs[0]))
    for entry, blobs in zip(net.layers, before, strict=True):
        for array, other in zip(entry.weights, blobs, strict=True):
            np.testing.assert_array_equal(array, other)


def refusal(call: object, *arguments: object) -> str:
    with pytest.raises(InputError) as caught:
        call(*arguments)  # type: ignore[operator]
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_missing_ranges_and_inputs() -> None:
    net = example()
    inputs = pictures(net)
    ranges = record(net, inputs)
    del ranges.z[8]["pool"]
    message = refusal(Simulator, net, 8, ranges)
    assert "no 8-bit range for layer pool" in message
    assert "calibrate again" in message
    Simulator(net, 16, ranges)
    assert "no 8-bit range for layer conv1" in refusal(Simulator, net, 8, Ranges({16: {}}, 1))
    simulator = Simulator(net, 16, ranges)
    for wrong in ({}, {"data": np.zeros((1, 3, 16, 13), np.float32)}):
        message = refusal(lambda x: dict(simulator.run(x)), wrong)
        assert "input data must be a blob of [1, 3, 16, 12]" in message
    assert "at least one" in refusal(RangeRecorder(net).ranges)


def test_a_layer_without_weights() -> None:
    net = net_of(header(1, 2, 4, 4) + conv("x", "data", 2))
    message = refusal(Simulator, net, 8, Ranges({8: {"x": (0,)}}, 1))
    assert "layer x (Convolution) has no weights" in message
    text = header(1, 2, 4, 4) + conv("x", "data", 2, more="group: 2")
    refusal(Simulator, net_of(text), 8, Ranges({8: {"x": (0,)}}, 1))


def test_ranges_survive_their_file() -> None:
    net = example()
    ranges = record(net, pictures(net))
    again = Ranges.from_json(json.loads(json.dumps(ranges.to_json())), "ranges.json")
    assert again == ranges


@pytest.mark.parametrize(
    "text",
    [
        "[]", "1", "null", "{}", '{"z": []}', '{"z": {"8": []}, "pictures": 1}',
        '{"z": {"x": {}}, "pictures": 1}', '{"z": {"8": {"a": "b"}}, "pictures": 1}',
        '{"z": {"8": {"a": null}}, "pictures": 1}', '{"z": {"8": {}}}',
        '{"z": {"8": {"a": NaN}}, "pictures": 1}', '{"z": {"8": {"a": Infinity}}, "pictures": 1}',
        '{"z": {"8": {"a": 1.5}}, "pictures": 1}', '{"z": {"8": {"a": 999}}, "pictures": 1}',
        '{"z": {"16": {"a": -4096}}, "pictures": 1}', '{"z": {"12": {"a": 1}}, "pictures": 1}',
    ],
)  # fmt: skip
def test_damaged_ranges(text: str) -> None:
    message = refusal(Ranges.from_json, json.loads(text), "my/ranges.json")
    assert message.startswith("my/ranges.json holds no ranges")

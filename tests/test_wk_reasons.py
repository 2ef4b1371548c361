"""Why a compiled file does not hold a network: caffemodels made wrong in one known way each."""

from __future__ import annotations

import math
import re
import warnings
from collections import Counter
from collections.abc import Callable
from dataclasses import replace
from functools import partial
from itertools import permutations
from pathlib import Path

import numpy as np
import pytest

from nnie_pipeline.caffe.net import Array, Layer, Net
from nnie_pipeline.errors import InputError
from nnie_pipeline.wk.decode import decode
from nnie_pipeline.wk.model import WkModel
from nnie_pipeline.wk.proof import prove
from nnie_pipeline.wk.reasons import headline
from tests import wk_encoder
from tests.test_wk_decode import random_net
from tests.test_wk_proof import changed, compiled, complete, network, reason_of

both_widths = pytest.mark.parametrize("bits", [8, 16])


def other(net: Net, name: str, change: Callable[[Array], Array]) -> None:
    layer = net.find(name)
    layer.weights = [change(layer.weights[0].copy()).astype(np.float32), *layer.weights[1:]]


def norm_behind(net: Net, name: str) -> tuple[Layer, Layer]:
    """BatchNorm and Scale behind a layer."""
    value = net.find(name).tops[0]
    norm = next(x for x in net.layers if value in x.bottoms)
    scale = next(x for x in net.layers if norm.tops[0] in x.bottoms)
    return norm, scale


@both_widths
@pytest.mark.parametrize("count", [1, 2, 10])
@pytest.mark.parametrize("factor", [-1.7, 0.3])
@pytest.mark.parametrize(
    "name",
    ["mobilenet0_conv0", "mobilenet0_conv13", "mobilenet0_conv14", "face_rpn_bbox_pred_stride8"],
)
def test_few_other_weights_are_counted(
    shared: Path, bits: int, count: int, factor: float, name: str
) -> None:
    def change(weights: Array) -> Array:
        # Weights that both widths hold; some are the largest of their tensor.
        size = np.abs(weights)
        held = (size > 0.05) & (size > 0.3 * size.max(axis=(1, 2, 3), keepdims=True))
        places = np.random.default_rng(count).choice(np.flatnonzero(held), count, replace=False)
        weights.reshape(-1)[places] *= factor
        return weights

    proof = changed(shared, bits, lambda net: other(net, name, change))
    size = network(shared).find(name).weights[0].size
    assert reason_of(proof, name).startswith(f"other weights: {count} of {size} differ, by ")
    assert complete(proof) == 57


@both_widths
@pytest.mark.parametrize("name", ["mobilenet0_conv13", "mobilenet0_conv14"])
@pytest.mark.parametrize("factor", [1.5, -1.5, 0.5, 0])
@pytest.mark.parametrize("count", [1, 2])
def test_the_largest_weights_are_others(
    shared: Path, bits: int, name: str, factor: float, count: int
) -> None:
    def change(weights: Array) -> Array:
        weights.reshape(-1)[np.argsort(-np.abs(weights.reshape(-1)))[:count]] *= factor
        return weights

    proof = changed(shared, bits, lambda net: other(net, name, change))
    assert reason_of(proof, name).startswith(f"other weights: {count} of ")


def exchange(net: Net, one: str, two: str, what: str) -> None:
    pairs = [(net.find(one), net.find(two))] if "weights" in what else []
    norms = (
        zip(norm_behind(net, one), norm_behind(net, two), strict=True) if what != "weights" else ()
    )
    for first, second in [*pairs, *norms][: 1 if what == "norm alone" else None]:
        first.weights, second.weights = second.weights, first.weights


@both_widths
@pytest.mark.parametrize("what", ["weights", "norm", "norm alone", "weights and norm"])
@pytest.mark.parametrize("pair", [("14", "18"), ("15", "17")])
def test_exchanged_layers(shared: Path, bits: int, what: str, pair: tuple[str, str]) -> None:
    one, two = (f"mobilenet0_conv{x}" for x in pair)
    proof = changed(shared, bits, lambda net: exchange(net, one, two, what))
    assert "layers in another order" in proof.verdict
    if what == "norm alone":
        assert "batchnorm" in proof.verdict


@pytest.mark.parametrize("what", ["weights", "weights and norm"])
def test_two_exchanged_layers_are_the_whole_reason(shared: Path, what: str) -> None:
    one, two = "mobilenet0_conv14", "mobilenet0_conv16"
    proof = changed(shared, 16, lambda net: exchange(net, one, two, what))
    assert proof.reasons[0] == f"layers in another order: the file has {one} and {two} exchanged"
    assert not any("times" in x or "conv15" in x or "conv17" in x for x in proof.reasons)


@both_widths
def test_layers_in_a_ring(shared: Path, bits: int) -> None:
    def change(net: Net) -> None:
        layers = [net.find(f"mobilenet0_conv{x}") for x in (14, 16, 18, 20, 22)]
        weights = [x.weights for x in layers]
        for layer, now in zip(layers, weights[1:] + weights[:1], strict=True):
            layer.weights = now

    assert "layers in another order" in changed(shared, bits, change).verdict


@both_widths
def test_heads_of_other_sizes_exchanged(shared: Path, bits: int) -> None:
    names = "face_rpn_bbox_pred_stride8", "face_rpn_bbox_pred_stride16"

    def change(net: Net) -> None:
        one, two = (net.find(x) for x in names)
        one.weights, two.weights = two.weights, one.weights

    proof = changed(shared, bits, change)
    assert "layers in another order" in proof.verdict
    assert f"weights of {names[1]}" in reason_of(proof, names[0])


def with_norms(net: Net, random: np.random.Generator, plain: bool) -> Net:
    """`net` with BatchNorm and Scale behind each layer; `plain` leaves no bias to tell by."""
    layers: list[Layer] = []
    for layer in net.layers:
        own = layer.tops[0]
        count = layer.params.convolution_param.num_output
        middle = Layer(f"{own}_norm", "BatchNorm", [own], [f"{own}_norm"])
        last = Layer(f"{own}_scale", "Scale", middle.tops, [f"{own}_out"])
        mean = np.zeros(count) if plain else random.standard_normal(count)
        variance = random.uniform(1e-3, 0.5, count)
        blobs = (mean, variance, np.ones(1))
        middle.weights = [x.astype(np.float32) for x in blobs]
        shift = np.zeros(count) if plain else random.standard_normal(count)
        gamma = random.uniform(0.5, 2, count) * random.choice([-1, 1], count)
        last.weights = [x.astype(np.float32) for x in (gamma, shift)]
        last.params.scale_param.bias_term = True
        if plain:
            layer.weights = layer.weights[:1]
            layer.params.convolution_param.bias_term = False
        layer.bottoms = [x if x in net.inputs else f"{x}_out" for x in layer.bottoms]
        layers += [layer, middle, last]
    return Net(net.name, net.inputs, layers, [f"{net.outputs[0]}_out"])


def merged_by_hand(net: Net, eps: float) -> Net:
    """The layers alone, with BatchNorm of that eps in their weights."""
    layers = []
    for layer, norm, scale in zip(*(net.layers[i::3] for i in range(3)), strict=True):
        mean, variance, _ = (x.astype(np.float64) for x in norm.weights)
        gamma, shift = (x.astype(np.float64) for x in scale.weights)
        factor = gamma / np.sqrt(variance + np.float64(np.float32(eps)))
        own = layer.copy()
        bias = layer.weights[1] if len(layer.weights) > 1 else 0
        along = (1, -1, 1, 1) if layer.name == "up" else (-1, 1, 1, 1)
        own.weights = [
            (layer.weights[0] * factor.reshape(along)).astype(np.float32),
            ((bias - mean) * factor + shift).astype(np.float32),
        ]
        own.params.convolution_param.bias_term = True
        own.bottoms = [x.removesuffix("_out") for x in layer.bottoms]
        layers.append(own)
    return Net(net.name, net.inputs, layers, [net.outputs[0].removesuffix("_out")])


def file_of(net: Net, bits: int, path: Path) -> WkModel:
    z_of = {8: [-90, -92, -76, -97, -80, -81, -70, -60], 16: [-1100 - 9 * i for i in range(8)]}
    path.write_bytes(wk_encoder.encode(net, bits, z_of[bits]))
    return decode(path)


def set_eps(net: Net, eps: float) -> None:
    for layer in net.layers:
        if layer.type == "BatchNorm":
            layer.params.batch_norm_param.eps = eps


@both_widths
@pytest.mark.parametrize("eps", [3.7e-4, 0.0213, 1.0])
def test_an_uncommon_eps_of_merged_weights_is_solved(tmp_path: Path, bits: int, eps: float) -> None:
    net = with_norms(random_net(5, (8, 8, 16)), np.random.default_rng(5), plain=False)
    model = file_of(merged_by_hand(net, eps), bits, tmp_path / "net.wk")
    set_eps(net, eps)
    assert not any("eps" in x for x in prove(model, net).reasons)
    set_eps(net, 1e-5)
    reasons = [x.reason for x in prove(model, net).layers]
    exact = f"BatchNorm is merged with eps {eps:g} in the file, 1e-05 in the network"
    for reason in reasons:
        if reason != exact:
            # At 8 bits some layers do not tell it to the last digit, and say so.
            found = re.search(r"with eps .*; all from (\S+) to (\S+) are as good", reason or "")
            assert found, reason
            low, high = found.groups()
            assert float(low) < eps < float(high)
            assert bits == 8
    assert exact in reasons


@both_widths
def test_eps_of_merged_weights_is_solved_from_weights_alone(tmp_path: Path, bits: int) -> None:
    net = with_norms(random_net(6, (8, 8, 16)), np.random.default_rng(6), plain=True)
    model = file_of(merged_by_hand(net, 0.00437), bits, tmp_path / "net.wk")
    set_eps(net, 1e-5)
    for layer in prove(model, net).layers:
        found = re.match(r"BatchNorm is merged with eps (\S+) in the file", layer.reason or "")
        assert found, layer.reason
        # Codes tell no more than within which rounding it lies.
        assert float(found[1]) == pytest.approx(0.00437, rel={8: 0.15, 16: 0.01}[bits])


@pytest.mark.parametrize("eps", [3.7e-4, 0.0213, 1.0])
def test_an_uncommon_eps_beside_the_weights_is_solved(tmp_path: Path, eps: float) -> None:
    net = with_norms(random_net(7, (8, 8, 16)), np.random.default_rng(7), plain=False)
    raw = merged_by_hand(net, 1.0)
    for layer, own in zip(raw.layers, net.layers[::3], strict=True):
        layer.weights = own.weights
        layer.params.convolution_param.bias_term = len(own.weights) > 1
    model = file_of(raw, 16, tmp_path / "net.wk")
    # The words of a BatchNorm of that eps, into the file of the layers without one.
    layers = []
    z_in = wk_encoder.Z_DATA[16]
    for stored, own, norm, scale in zip(
        model.layers, *(net.layers[i::3] for i in range(3)), strict=True
    ):
        _, outputs = wk_encoder.codes_of(own, 16)
        words, shifts = [], []
        for output, (z, _) in enumerate(outputs):
            mean, variance = (float(norm.weights[i][output]) for i in range(2))
            gamma, shift = (float(scale.weights[i][output]) for i in range(2))
            factor = gamma / math.sqrt(variance + float(np.float32(eps)))
            word = factor * 2.0 ** ((z + z_in) / 128 + 42)
            words.append(round(word if abs(word) < 2**31 else word / 2**11))
            shifts.append(round(4096 * (shift - mean * factor)))
        parameters = replace(
            stored.parameters, scale=np.array(words, np.int32), shift=np.array(shifts, np.int32)
        )
        layers.append(replace(stored, parameters=parameters))
        z_in = stored.z_out or 0
    model = replace(model, layers=tuple(layers))
    set_eps(net, eps)
    assert [x.reason for x in prove(model, net).layers] == [None] * 8
    set_eps(net, 1e-5)
    text = f"BatchNorm is computed with eps {eps:g} in the file, 1e-05 in the network"
    assert [x.reason for x in prove(model, net).layers] == [text] * 8


@both_widths
@pytest.mark.parametrize("share", [0.9, 0.99])
def test_a_clipped_caffemodel(shared: Path, bits: int, share: float) -> None:
    limits: dict[str, str] = {}

    def change(net: Net) -> None:
        for layer in net.layers:
            if layer.type == "Convolution":
                limit = float(np.float32(np.quantile(np.abs(layer.weights[0]), share)))
                limits[layer.name] = f"weights were clipped at {limit:.4g}: "
                other(net, layer.name, partial(np.clip, a_min=-limit, a_max=limit))

    proof = changed(shared, bits, change)
    assert "weights were clipped at" in proof.verdict
    for name in ("mobilenet0_conv14", "mobilenet0_conv26", "face_rpn_landmark_pred_stride8"):
        assert limits[name] in reason_of(proof, name)


@both_widths
@pytest.mark.parametrize("merged", [False, True])
def test_a_file_made_of_clipped_weights(tmp_path: Path, bits: int, merged: bool) -> None:
    net = random_net(8, (8, 16, 16))
    if merged:
        net = with_norms(net, np.random.default_rng(8), plain=False)
        set_eps(net, 1e-5)
    clipped = net.copy()
    limit = float(np.quantile(np.abs(net.find("far").weights[0]), 0.97))
    other(clipped, "far", lambda x: np.clip(x, -limit, limit))
    source = merged_by_hand(clipped, 1e-5) if merged else clipped
    proof = prove(file_of(source, bits, tmp_path / "net.wk"), net)
    found = re.search(r"are cut at (\S+) \(a clip table", reason_of(proof, "far"))
    assert found, reason_of(proof, "far")
    assert float(found[1]) == pytest.approx(limit, rel={8: 0.05, 16: 0.006}[bits])
    assert complete(proof) == 7


@pytest.mark.parametrize("wrong", [np.nan, np.inf])
@pytest.mark.parametrize(("name", "blob"), [("mobilenet0_conv14", 0), ("rf_c3_lateral", 1)])
def test_numbers_that_are_none_are_refused(
    shared: Path, wrong: float, name: str, blob: int
) -> None:
    net = network(shared)
    layer = net.find(name)
    if blob == 1:
        layer = norm_behind(net, name)[0]
    values = layer.weights[blob].copy()
    values.reshape(-1)[:3] = wrong
    layer.weights = [values if i == blob else x for i, x in enumerate(layer.weights)]
    text = f"{layer.name} .* 3 of {values.size} numbers of its blob {blob} .*NaN or infinite"
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        with pytest.raises(InputError, match=text) as error:
            prove(compiled(shared, 8), net)
    assert "\n" not in str(error.value)


def test_a_variance_below_zero_is_refused(shared: Path) -> None:
    net = network(shared)
    norm, _ = norm_behind(net, "mobilenet0_conv14")
    variance = norm.weights[1].copy()
    variance[:2] = -1
    norm.weights = [norm.weights[0], variance, *norm.weights[2:]]
    with pytest.raises(InputError, match=r"variance \+ eps is not above 0 in 2 of 128 channels"):
        prove(compiled(shared, 16), net)


@both_widths
@pytest.mark.parametrize("factor", [1.5, 0.37, -1.0])
@pytest.mark.parametrize("name", ["mobilenet0_conv13", "mobilenet0_conv14"])
def test_all_weights_times_one_number(shared: Path, bits: int, factor: float, name: str) -> None:
    proof = changed(shared, bits, lambda net: other(net, name, lambda x: x * factor))
    found = re.search(r"those of the caffemodel times about (\S+)", reason_of(proof, name))
    assert found, reason_of(proof, name)
    assert float(found[1]) == pytest.approx(1 / factor, rel=0.01)


@both_widths
def test_another_bias(shared: Path, bits: int) -> None:
    def change(net: Net) -> None:
        layer = net.find("face_rpn_landmark_pred_stride8")
        layer.weights = [layer.weights[0], layer.weights[1] + np.float32(0.1)]

    proof = changed(shared, bits, change)
    reason = reason_of(proof, "face_rpn_landmark_pred_stride8")
    assert reason == "its weights are equal, but it has another bias; 20 of 20 bias words differ"
    assert complete(proof) == 57


@both_widths
def test_statistics_of_another_epoch(shared: Path, bits: int) -> None:
    def change(net: Net) -> None:
        random = np.random.default_rng(2)
        for layer in net.layers:
            if layer.type == "BatchNorm":
                mean, variance, count = layer.weights
                near = np.exp(0.1 * random.standard_normal(variance.shape))
                layer.weights = [mean * np.float32(1.02), (variance * near).astype("f4"), count]

    proof = changed(shared, bits, change)
    expected = {8: "BatchNorm is merged in the file with other statistics", 16: "another BatchNorm"}
    assert expected[bits] in proof.verdict
    assert "in 47 of 58 layers, first mobilenet0_conv0" in proof.verdict


@both_widths
def test_an_addend_of_batch_norm(shared: Path, bits: int) -> None:
    def change(net: Net) -> None:
        _, scale = norm_behind(net, "mobilenet0_conv14")
        scale.weights = [scale.weights[0], scale.weights[1] + np.float32(0.1)]

    reason = reason_of(changed(shared, bits, change), "mobilenet0_conv14")
    words = {8: "128 of 128 bias words", 16: "128 of 128 shift words"}
    assert reason.startswith("its weights are equal, but it has another ")
    assert reason.endswith(f"; {words[bits]} differ")
    assert "mean or addend of BatchNorm" in reason


def test_a_network_without_the_files_batch_norm(shared: Path) -> None:
    def change(net: Net) -> None:
        for layer in [x for x in net.layers if x.type in ("BatchNorm", "Scale")]:
            net.bypass(layer)

    assert "a BatchNorm that the network does not have" in changed(shared, 16, change).verdict


@both_widths
def test_zeros_only(shared: Path, bits: int) -> None:
    proof = changed(shared, bits, lambda net: other(net, "mobilenet0_conv14", lambda x: x * 0))
    assert "all its weights are zero in the caffemodel" in proof.verdict


def test_the_headline_is_the_most_frequent_kind() -> None:
    reasons = ["clipped at 0.5: 3 of 9", "other: 1 of 9", "other: 2.5e-3 of 72; or clipped at 1"]
    assert headline(reasons) == (1, 2, reasons[1])
    assert headline(reasons[:2]) == (0, 1, reasons[0])


@both_widths
def test_each_eps_is_named_with_its_layers(shared: Path, bits: int) -> None:
    given = Counter(
        f"{x.params.batch_norm_param.eps:g}"
        for x in network(shared).layers
        if x.type == "BatchNorm"
    )
    proof = changed(shared, bits, lambda net: set_eps(net, 1e-3))
    for eps, count in given.items():
        assert f"{eps} ({count} layers)" in proof.verdict
    assert len(given) == 2
    assert " in the file, 0.001 in the network (in 47 of 58 layers, first " in proof.verdict


def test_a_scale_on_the_picture_is_no_eps(shared: Path) -> None:
    def change(net: Net) -> None:
        first = net.find("mobilenet0_conv0")
        scale = Layer("ahead", "Scale", list(first.bottoms), ["scaled"])
        scale.weights = [np.array([1, 2, 3], np.float32)]
        net.layers.insert(net.layers.index(first), scale)
        first.bottoms = ["scaled"]

    reason = reason_of(changed(shared, 8, change), "mobilenet0_conv0")
    assert reason == "the network has ahead (Scale) in front of the layer, the file has not"


@both_widths
@pytest.mark.parametrize("eps", [None, 1e-3])
@pytest.mark.parametrize("order", [x for x in permutations(range(3)) if x != (0, 1, 2)])
def test_any_order_of_channels(
    shared: Path, bits: int, order: tuple[int, ...], eps: float | None
) -> None:
    def change(net: Net) -> None:
        other(net, "mobilenet0_conv0", lambda x: x[:, order])
        if eps is not None:
            norm_behind(net, "mobilenet0_conv0")[0].params.batch_norm_param.eps = eps

    reason = reason_of(changed(shared, bits, change), "mobilenet0_conv0")
    # The network's channel order[i] stands at i; the file's at i is the network's inverse.
    places = ", ".join(str(x + 1) for x in np.argsort(order))
    text = "are swapped (RGB against BGR)" if order == (2, 1, 0) else f"the network's {places}"
    assert text in reason
    assert ("eps 1e-05 in the file, 0.001 in the network" in reason) == (eps is not None)


# Merged weights do not tell the order of inputs.
@pytest.mark.parametrize(
    ("bits", "axis", "what"), [(8, 0, "outputs"), (16, 0, "outputs"), (16, 1, "inputs")]
)
def test_outputs_and_inputs_in_another_order(shared: Path, bits: int, axis: int, what: str) -> None:
    order = np.random.default_rng(4).permutation(128)
    proof = changed(
        shared, bits, lambda net: other(net, "mobilenet0_conv14", lambda x: x.take(order, axis))
    )
    moved = int(np.count_nonzero(order != np.arange(128)))
    expected = f"its {what} stand in another order in the file, {moved} of 128 of them"
    assert reason_of(proof, "mobilenet0_conv14") == expected


@pytest.mark.parametrize("blob", ["variance", "gamma"])
def test_merged_batch_norm_explains_factors_as_well(shared: Path, blob: str) -> None:
    def change(net: Net, channels: slice) -> None:
        norm, scale = norm_behind(net, "mobilenet0_conv8")
        layer, at = (norm, 1) if blob == "variance" else (scale, 0)
        values = layer.weights[at].copy()
        values[channels] *= np.float32(1.1)
        layer.weights = [values if i == at else x for i, x in enumerate(layer.weights)]

    proof = changed(shared, 8, lambda net: change(net, slice(None)))
    # Small variances stand beside eps, so that the factors of the outputs differ.
    text = {"gamma": "another variance or gamma of its BatchNorm", "variance": "other statistics"}
    assert text[blob] in reason_of(proof, "mobilenet0_conv8")
    proof = changed(shared, 8, lambda net: change(net, slice(3, 4)))
    assert reason_of(proof, "mobilenet0_conv8").startswith("1 of its 64 outputs are times a number")
    assert "another variance or gamma of BatchNorm" in reason_of(proof, "mobilenet0_conv8")


def halved(net: Net) -> None:
    for layer in net.layers:
        layer.weights = [
            np.clip(x, -65504, 65504).astype(np.float16).astype(np.float32) for x in layer.weights
        ]


@both_widths
def test_a_caffemodel_that_went_through_float16(shared: Path, bits: int) -> None:
    proof = changed(shared, bits, halved)
    assert "the caffemodel's numbers are rounded to float16" in proof.verdict
    assert not any("sparse" in (x.reason or "") for x in proof.layers)


@both_widths
def test_a_file_made_through_float16(tmp_path: Path, bits: int) -> None:
    net = random_net(9, (8, 16, 16))
    tiny = np.float32(1e-4)  # float16 leaves few digits of these
    other(net, "far", lambda x: x * tiny)
    source = net.copy()
    halved(source)
    proof = prove(file_of(source, bits, tmp_path / "net.wk"), net)
    expected = "the file was made from the caffemodel's numbers rounded to float16"
    assert expected in proof.verdict
    assert reason_of(proof, "far") == expected


def test_an_eps_beside_dead_channels(shared: Path) -> None:
    def change(net: Net) -> None:
        norm_behind(net, "mobilenet0_conv25")[0].params.batch_norm_param.eps = 1e-3

    reason = reason_of(changed(shared, 8, change), "mobilenet0_conv25")
    assert reason == "BatchNorm is merged with eps 1e-05 in the file, 0.001 in the network"

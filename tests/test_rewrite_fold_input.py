"""Mean and scale of the input in the first layer, and what is left for the cfg."""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial

import numpy as np
import pytest

from nnie_pipeline.caffe.net import Array, Net
from nnie_pipeline.chips.check import check as rules_of
from nnie_pipeline.engine.onnxruntime_engine import Session
from nnie_pipeline.errors import CheckError, InputError
from nnie_pipeline.rewrite import fold_input
from nnie_pipeline.rewrite.base import Changes, InputForm
from nnie_pipeline.rewrite.fold_input import Fold, input_form
from nnie_pipeline.rewrite.run import rewrite
from tests.caffe_nets import conv, error_of, header, layer, random_net

MEAN, SCALE = (123.675, 116.28, 103.53), (1 / 58.395, 1 / 57.12, 1 / 57.375)
PLAIN = conv("y", "data", 6, 3, "stride: 2")
READERS = {
    "no pads": PLAIN,
    "no bias": conv("y", "data", 6, 3, "bias_term: false"),
    "groups": conv("y", "data", 6, 3, "group: 3"),
    "DepthwiseConv": layer("DepthwiseConv", "y", "data", "",
                           "convolution_param { num_output: 3 kernel_size: 3 }"),
    "inner product": layer("InnerProduct", "y", "data", "",
                           "inner_product_param { num_output: 5 }"),
    "two": conv("x", "data", 6, 3) + conv("z", "data", 6, 3) + layer("Eltwise", "y", "x z"),
}  # fmt: skip
PADDED = {
    "pads": conv("y", "data", 6, 3, "pad: 1"),
    "one with pads": conv("x", "data", 6, 3, "pad: 1") + conv("z", "data", 6)
                     + layer("Eltwise", "y", "x z"),
    "deconvolution": layer("Deconvolution", "y", "data", "",
                           "convolution_param { num_output: 4 kernel_size: 2 stride: 2 }"),
}  # fmt: skip


def pixels(seed: int = 0) -> Array:
    return np.random.default_rng(seed).integers(0, 256, (1, 3, 8, 8)).astype(np.float32)


def prepared(x: Array, mean: Sequence[float], scale: Sequence[float]) -> Array:
    m, s = (np.asarray(v, np.float64).reshape(1, -1, 1, 1) for v in (mean, scale))
    return ((x - m) * s).astype(np.float32)


def folded(net: Net, form: InputForm, fold: Fold = "all") -> tuple[Net, Changes]:
    work = net.copy()
    return work, fold_input.apply(work, form, fold)


def check(net: Net, after: Net, left: InputForm | None) -> None:
    """The new network, fed with what is left, against the old one fed with all of it."""
    assert left is not None
    for seed in (0, 1):
        x = pixels(seed)
        expected = Session(net).run({"data": prepared(x, MEAN, SCALE)})["y"]
        found = Session(after).run({"data": prepared(x, left.mean, left.scale)})["y"]
        assert error_of(expected, found) < 1e-5


@pytest.mark.parametrize("reader", READERS)
def test_all_of_it(reader: str) -> None:
    net, _ = random_net(header(1, 3, 8, 8) + READERS[reader])
    after, changes = folded(net, InputForm(MEAN, SCALE))
    assert changes.input == InputForm((0, 0, 0), (1, 1, 1))
    assert len(changes.lines) == len(net.consumers()["data"])
    assert all("mean and scale" in x for x in changes.lines)
    check(net, after, changes.input)


@pytest.mark.parametrize("reader", PADDED)
def test_the_scale_alone(reader: str) -> None:
    """A mean that is not 0 in pixels stands for the zeros around the map."""
    net, _ = random_net(header(1, 3, 8, 8) + PADDED[reader])
    after, changes = folded(net, InputForm(MEAN, SCALE))
    assert changes.input == InputForm(MEAN, (1, 1, 1))
    check(net, after, changes.input)
    assert not folded(net, InputForm(MEAN, (1, 1, 1)))[1].as_before
    _, changes = folded(net, InputForm((0, 0, 0), SCALE))
    assert changes.input == InputForm((0, 0, 0), (1, 1, 1))
    assert all("scale folded" in x for x in changes.lines)


def test_the_mean_may_be_left_out() -> None:
    net, _ = random_net(header(1, 3, 8, 8) + PLAIN)
    after, changes = folded(net, InputForm(MEAN, SCALE), fold="scale")
    assert changes.input == InputForm(MEAN, (1, 1, 1))
    check(net, after, changes.input)


@pytest.mark.parametrize(
    "text",
    [
        layer("ReLU", "y", "data"),
        conv("x", "data", 3, 1) + layer("Eltwise", "y", "x data"),
        layer("InnerProduct", "y", "data", "", "inner_product_param { num_output: 4 axis: 2 }"),
    ],
    ids=["no weights", "read by another", "another axis"],
)
def test_what_other_layers_read_is_left_to_the_cfg(text: str) -> None:
    net, _ = random_net(header(1, 3, 8, 8) + text)
    form = InputForm(MEAN, SCALE)
    after, changes = folded(net, form)
    assert changes.input == form
    assert changes.as_before is None
    assert "stay" in changes.lines[0]
    check(net, after, form)


def test_weights_that_float32_cannot_hold_stay_as_they_were() -> None:
    """The first of two layers could take it in, the second could not."""
    net, _ = random_net(header(1, 3, 8, 8) + READERS["two"])
    net.find("z").weights[0][:] = 3e38
    form = InputForm((0, 0, 0), (2, 2, 3))
    after, changes = folded(net, form)
    assert changes.input == form
    for old, new in zip(net.layers, after.layers, strict=True):
        for a, b in zip(old.weights, new.weights, strict=True):
            np.testing.assert_array_equal(a, b)


def test_all_may_be_left_to_the_cfg() -> None:
    net, _ = random_net(header(1, 3, 8, 8) + PLAIN)
    after, changes = folded(net, InputForm(MEAN, SCALE), fold="none")
    assert changes.input == InputForm(MEAN, SCALE)
    assert not changes.lines
    assert after.layers[0].weights[0] is net.layers[0].weights[0]


def test_nothing_is_said_where_nothing_is_given() -> None:
    net, _ = random_net(header(1, 3, 8, 8) + PLAIN)
    work = net.copy()
    changes = fold_input.apply(work)
    assert changes.input is None
    assert not changes.lines
    assert not folded(net, InputForm((0, 0, 0), (1, 1, 1)))[1].lines


def test_by_hand() -> None:
    """(p - 4) * 0.5 in front of weight 6 and bias 1: 3 p - 11."""
    net, _ = random_net(header(1, 1, 1, 1) + conv("y", "data", 1))
    net.layers[0].weights = [np.full((1, 1, 1, 1), 6, np.float32), np.ones(1, np.float32)]
    after, _ = folded(net, InputForm((4,), (0.5,)))
    assert [x.ravel().tolist() for x in after.layers[0].weights] == [[3], [-11]]


def runner(x: Array, mean: Sequence[float], scale: Sequence[float]) -> object:
    return lambda net: [
        [Session(net).run({next(iter(net.inputs)): prepared(x, mean, scale)})[y]
         for y in net.outputs]
    ]  # fmt: skip


def test_a_whole_rewrite_compares_with_the_same_pictures() -> None:
    """Passes behind the folding too, and an input that gets another name."""
    text = (
        header(1, 3, 8, 8, name="the/picture")
        + layer("Power", "p", "the/picture", "p", "power_param { scale: 2 }")
        + conv("c", "p", 4, 3, "pad: 1")
        + layer("BatchNorm", "bn", "c")
        + layer("ReLU", "relu", "bn")
        + layer("Pooling", "y", "relu", "", "pooling_param { kernel_size: 2 stride: 2 }")
    )
    net, _ = random_net(text)
    run = runner(pixels(), MEAN, SCALE)
    instead = {"fold-input": partial(fold_input.apply, form=InputForm(MEAN, SCALE))}
    result = rewrite(net, run, instead=instead)  # type: ignore[arg-type]
    assert result.input == InputForm(MEAN, (1, 1, 1))
    assert [x.type for x in result.net.layers] == ["Convolution", "ReLU", "Pooling"]
    assert next(x.difference for x in result.passes if x.name == "fold-input") < 1e-5
    given = prepared(pixels(), result.input.mean, result.input.scale)
    expected = Session(net).run({"the/picture": prepared(pixels(), MEAN, SCALE)})["y"]
    found = Session(result.net).run({"the_picture": given})["y"]
    assert error_of(expected, found) < 1e-5
    assert rewrite(net, run).input is None  # type: ignore[arg-type]


def test_a_wrong_folding_is_caught() -> None:
    def wrong(net: Net) -> Changes:
        changes = fold_input.apply(net, InputForm(MEAN, SCALE))
        net.layers[0].weights = [net.layers[0].weights[0] * np.float32(1.01),
                                 *net.layers[0].weights[1:]]  # fmt: skip
        return changes

    net, _ = random_net(header(1, 3, 8, 8) + PLAIN)
    run = runner(pixels(), MEAN, SCALE)
    with pytest.raises(CheckError, match="pass fold-input moves"):
        rewrite(net, run, instead={"fold-input": wrong})  # type: ignore[arg-type]


def test_one_number_for_all_channels_or_one_each() -> None:
    net, _ = random_net(header(1, 3, 8, 8) + PLAIN)
    assert input_form(net, (127.5,), ()) == InputForm((127.5,) * 3, (1, 1, 1))
    assert input_form(net, (), (0.5, 1, 2)) == InputForm((0, 0, 0), (0.5, 1, 2))
    for mean, scale, said in (
        ((1, 2), (), "input mean"),
        ((), (1, 2, 3, 4), "input scale"),
        ((float("nan"),), (), "input mean"),
        ((), (0,), "0 makes every input"),
    ):
        with pytest.raises(InputError, match=said):
            input_form(net, mean, scale)
    two, _ = random_net(
        header(1, 3, 8, 8) + header(1, 3, 8, 8, name="b") + layer("Eltwise", "y", "data b")
    )
    with pytest.raises(InputError, match="2 inputs"):
        input_form(two, (1,), ())


IN_NETWORK = {
    **READERS,
    **PADDED,
    "no weights": layer("ReLU", "y", "data"),
    "read by another": conv("x", "data", 3, 1) + layer("Eltwise", "y", "x data"),
}


@pytest.mark.parametrize("scale", [SCALE, (1, 1, 1)], ids=["scale", "mean alone"])
@pytest.mark.parametrize("reader", IN_NETWORK)
def test_nothing_is_left_to_the_cfg(reader: str, scale: tuple[float, ...]) -> None:
    """With pads too: the layer in front makes the zeros around the map stand for the mean."""
    net, _ = random_net(header(1, 3, 8, 8) + IN_NETWORK[reader])
    after, changes = folded(net, InputForm(MEAN, scale), fold="network")
    assert changes.input == InputForm((0, 0, 0), (1, 1, 1))
    for seed in (0, 1):
        x = pixels(seed)
        expected = Session(net).run({"data": prepared(x, MEAN, scale)})["y"]
        assert error_of(expected, Session(after).run({"data": x})["y"]) < 1e-5
    front = after.layers[0]
    if reader in READERS:
        assert len(after.layers) == len(net.layers)
        return
    kinds = {"no weights": "Scale", "read by another": "Scale"} if scale == SCALE else {}
    assert front.type == kinds.get(reader, "Bias")
    assert front.bottoms == ["data"]
    if front.type == "Bias":
        np.testing.assert_array_equal(front.weights[0], -np.asarray(MEAN, np.float32))


@pytest.mark.parametrize("text", [PADDED["pads"], IN_NETWORK["no weights"]])
def test_a_layer_in_front_passes_the_rewrite_and_the_rules(text: str) -> None:
    net, _ = random_net(header(1, 3, 8, 8) + text)
    form = InputForm(MEAN, SCALE)
    run = runner(pixels(), MEAN, SCALE)
    instead = {"fold-input": partial(fold_input.apply, form=form, fold="network")}
    result = rewrite(net, run, instead=instead)  # type: ignore[arg-type]
    assert result.input == InputForm((0, 0, 0), (1, 1, 1))
    assert result.net.layers[0].type in ("Bias", "Scale")
    found = Session(result.net).run({"data": pixels()})[result.net.outputs[0]]
    expected = Session(net).run({"data": prepared(pixels(), MEAN, SCALE)})["y"]
    assert error_of(expected, found) < 1e-5
    assert [x for x in rules_of(result.net) if x.severity == "error"] == []

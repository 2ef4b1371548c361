"""Depthwise convolutions in another form, and more groups than the chip takes."""

from __future__ import annotations

from functools import partial

import pytest

from nnie_pipeline.caffe.net import Array, Net
from nnie_pipeline.caffe.shapes import infer
from nnie_pipeline.chips.check import check
from nnie_pipeline.engine.onnxruntime_engine import Session
from nnie_pipeline.errors import NotExpressibleError
from nnie_pipeline.rewrite import depthwise, split_groups
from nnie_pipeline.rewrite.depthwise import Form
from nnie_pipeline.rewrite.run import max_difference, rewrite
from tests import caffe_reference
from tests.caffe_nets import conv, error_of, feed, header, layer, parse, random_net


def outputs(net: Net) -> list[list[Array]]:
    runs = [Session(net).run(feed(net, seed)) for seed in (0, 1)]
    return [[x[name] for name in net.outputs] for x in runs]


def reshaped(net: Net, form: Form = "leave") -> tuple[Net, list[str]]:
    work = net.copy()
    return work, depthwise.apply(work, form).lines


def fork(more: str = "", kind: str = "ConvolutionDepthwise") -> str:
    return layer(kind, "y", "data", "", f"convolution_param {{ kernel_size: 3 {more} }}")


# --- depthwise-form -------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["ConvolutionDepthwise", "DepthwiseConvolution"])
@pytest.mark.parametrize("form", ["leave", "convolution", "depthwiseconv"])
def test_the_forks_names_go(kind: str, form: Form) -> None:
    text = header(1, 4, 6, 5) + fork("num_output: 4 pad: 1 stride: 2", "DepthwiseConv")
    net, weights = random_net(text)
    net.layers[0].type = kind
    after, lines = reshaped(net, form)
    wanted = "DepthwiseConv" if form == "depthwiseconv" else "Convolution"
    assert [x.type for x in after.layers] == [wanted]
    param = after.layers[0].params.convolution_param
    assert param.num_output == 4
    assert param.HasField("group") == (wanted == "Convolution")
    assert param.group == (4 if wanted == "Convolution" else 1)
    assert len(lines) == 1
    assert max_difference(outputs(net), outputs(after)) == 0
    expected = caffe_reference.run_net(parse(text), weights, feed(net))
    assert error_of(expected["y"], Session(after).run(feed(net))["y"]) < 1e-6
    assert not [x for x in check(after, "hi3516dv300") if x.severity == "error"]


def test_a_form_is_made_only_when_asked_for() -> None:
    own = header(1, 4, 6, 5) + fork("num_output: 4", "DepthwiseConv")
    grouped = header(1, 4, 6, 5) + conv("y", "data", 4, 3, "group: 4")
    for text, form, kind in (
        (own, "leave", "DepthwiseConv"),
        (own, "depthwiseconv", "DepthwiseConv"),
        (own, "convolution", "Convolution"),
        (grouped, "leave", "Convolution"),
        (grouped, "convolution", "Convolution"),
        (grouped, "depthwiseconv", "DepthwiseConv"),
    ):
        net, _ = random_net(text)
        after, lines = reshaped(net, form)  # type: ignore[arg-type]
        assert after.layers[0].type == kind
        assert bool(lines) == (kind != net.layers[0].type)
        assert max_difference(outputs(net), outputs(after)) == 0


@pytest.mark.parametrize("form", ["leave", "depthwiseconv"])
def test_what_only_a_group_can_express(form: Form) -> None:
    for text in (
        fork("num_output: 4 dilation: 2", "DepthwiseConv"),
        fork("num_output: 8", "DepthwiseConv"),
    ):
        net, _ = random_net(header(1, 4, 7, 7) + text)
        after, lines = reshaped(net, form)
        assert after.layers[0].type == "Convolution"
        assert after.layers[0].params.convolution_param.group == 4
        assert len(lines) == 1
        assert max_difference(outputs(net), outputs(after)) == 0


@pytest.mark.parametrize("more", ["group: 2", "group: 1", "group: 4 dilation: 2"])
def test_convolutions_that_are_not_depthwise_stay(more: str) -> None:
    net, _ = random_net(header(1, 4, 7, 7) + conv("y", "data", 4, 3, more))
    assert not reshaped(net, "depthwiseconv")[1]


def test_fields_that_the_mapper_refuses_go() -> None:
    net, _ = random_net(
        header(1, 4, 6, 5) + fork("num_output: 4 group: 4 dilation: 1", "DepthwiseConv")
    )
    after, lines = reshaped(net)
    param = after.layers[0].params.convolution_param
    assert after.layers[0].type == "DepthwiseConv"
    assert not param.HasField("group")
    assert not param.dilation
    assert len(lines) == 1


# --- split-groups ---------------------------------------------------------------------------

GROUPED = {
    "convolution": conv("y", "data", 14, 3, "group: 7 pad: 1"),
    "no bias": conv("y", "data", 7, 1, "group: 7 bias_term: false"),
    "deconvolution": layer("Deconvolution", "y", "data", "",
                           "convolution_param { num_output: 21 kernel_size: 2 group: 7 }"),
}  # fmt: skip


@pytest.mark.parametrize("kind", GROUPED)
def test_groups_are_split(kind: str) -> None:
    text = header(1, 14, 4, 5) + GROUPED[kind] + layer("ReLU", "relu", "y")
    net, weights = random_net(text)
    after = net.copy()
    lines = split_groups.apply(after, 3).lines
    groups = [x.params.convolution_param.group for x in after.layers if x.weights]
    assert groups == [3, 3, 1]
    assert [x.type for x in after.layers if not x.weights] == ["Slice", "Concat", "ReLU"]
    assert len(lines) == 1
    assert infer(after)["y"] == infer(net)["y"]
    expected = caffe_reference.run_net(parse(text), weights, feed(net))
    assert error_of(expected["relu"], Session(after).run(feed(net))["relu"]) < 1e-6


def test_as_many_groups_as_the_limit_stay() -> None:
    net, _ = random_net(header(1, 14, 4, 5) + GROUPED["convolution"])
    work = net.copy()
    assert not split_groups.apply(work, 7).lines
    assert not split_groups.apply(work).lines
    assert [x.type for x in work.layers] == ["Convolution"]


def test_more_parts_than_a_slice_makes_are_refused() -> None:
    net, _ = random_net(header(1, 33, 2, 2) + conv("y", "data", 33, 1, "group: 33"))
    with pytest.raises(NotExpressibleError, match=r"layer y .*33 groups"):
        split_groups.apply(net.copy(), 1)


def test_the_chips_limit_in_a_whole_rewrite() -> None:
    """2056 groups: an error of the check before, none after; every output the same."""
    net, _ = random_net(
        header(1, 3, 2, 2) + conv("x", "data", 2056) + conv("y", "x", 2056, 1, "group: 2056")
    )
    assert "conv-group" in [x.id for x in check(net, "hi3516dv300")]
    for limit, groups in ((2048, [2048, 8]), (1028, [1028, 1028])):
        instead = {"split-groups": partial(split_groups.apply, limit=limit)}
        result = rewrite(net, outputs, instead=instead)
        found = [x.params.convolution_param.group for x in result.net.layers if x.weights]
        assert found[1:] == groups
        assert "conv-group" not in [x.id for x in check(result.net, "hi3516dv300")]

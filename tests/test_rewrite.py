"""The passes one by one, the runner that checks them, and the table of names."""

from __future__ import annotations

import string
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nnie_pipeline.caffe.files import caffe_names, read_net, write_net
from nnie_pipeline.caffe.net import Array, Layer, Net
from nnie_pipeline.engine.onnxruntime_engine import Session
from nnie_pipeline.errors import CheckError, InputError, NotExpressibleError
from nnie_pipeline.rewrite import (
    cut_tail,
    in_place,
    merge_batch_norm,
    names,
    order,
    reshape_batch,
    run,
    upsample,
)
from nnie_pipeline.rewrite.base import Changes, Pass
from nnie_pipeline.rewrite.passes import PASSES
from nnie_pipeline.rewrite.run import Rewritten, max_difference, rewrite
from tests import caffe_reference
from tests.caffe_nets import (
    conv,
    error_of,
    every_value,
    feed,
    header,
    layer,
    net_of,
    parse,
    random_net,
)


def runner(seeds: Sequence[int] = (0, 1)) -> Callable[[Net], list[list[Array]]]:
    """Outputs in the order of `Net.outputs`, for several random inputs."""

    def outputs(net: Net) -> list[list[Array]]:
        session = Session(net)
        runs = [session.run(feed(net, seed)) for seed in seeds]
        return [[x[name] for name in net.outputs] for x in runs]

    return outputs


def text_of(net: Net, folder: Path) -> str:
    write_net(net, folder / "n.prototxt", folder / "n.caffemodel")
    return (folder / "n.prototxt").read_text()


def applied(module: object, net: Net) -> tuple[Net, Changes]:
    """A copy of the net after one pass."""
    work = net.copy()
    changes = module.apply(work)  # type: ignore[attr-defined]
    return work, changes


def moved(before: Net, after: Net) -> float:
    return max_difference(runner()(before), runner()(after))


def same_text(left: str, right: str) -> None:
    assert parse(left) == parse(right)


# --- upsample-to-deconvolution -------------------------------------------------------------


@pytest.mark.parametrize(
    ("given_param", "wanted", "factor"),
    [
        ("", "kernel_size: 2 stride: 2", (2, 2)),
        ("upsample_param { scale: 3 }", "kernel_size: 3 stride: 3", (3, 3)),
        ("upsample_param { scale_h: 1 scale_w: 2 }",
         "kernel_h: 1 kernel_w: 2 stride_h: 1 stride_w: 2", (1, 2)),
        ("upsample_param { upsample_h: 8 upsample_w: 10 }", "kernel_size: 2 stride: 2", (2, 2)),
    ],
)  # fmt: skip
def test_upsample(given_param: str, wanted: str, factor: tuple[int, int], tmp_path: Path) -> None:
    net = net_of(header(1, 3, 4, 5) + layer("Upsample", "up", "data", "", given_param))
    after, changes = applied(upsample, net)
    same_text(
        text_of(after, tmp_path),
        'name: "net" '
        + header(1, 3, 4, 5)
        + layer("Deconvolution", "up", "data", "",
                f"convolution_param {{ num_output: 3 bias_term: false group: 3 {wanted} }}"),
    )  # fmt: skip
    assert [x.shape for x in after.layers[0].weights] == [(3, 1, *factor)]
    assert all((x == 1).all() for x in after.layers[0].weights)
    assert len(changes.lines) == 1
    assert moved(net, after) == 0


def test_unpooling_stays() -> None:
    net = net_of(header(1, 3, 4, 5) + layer("Upsample", "up", "data data"))
    after, changes = applied(upsample, net)
    assert after.layers[0].type == "Upsample"
    assert not changes.lines


@pytest.mark.parametrize("size", ["upsample_h: 7 upsample_w: 10", "scale: 256"])
def test_upsample_that_is_no_repetition_is_refused(size: str) -> None:
    text = layer("Upsample", "up", "data", "", f"upsample_param {{ {size} }}")
    with pytest.raises(NotExpressibleError, match=r"layer up \(Upsample, 4x5 to .*--outputs data"):
        applied(upsample, net_of(header(1, 3, 4, 5) + text))


# --- reshape-batch-axis --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("dims", "after"),
    [
        ("dim: 1 dim: 2 dim: -1 dim: 5", "dim: 0 dim: 2 dim: -1 dim: 5"),
        ("dim: -1 dim: 12 dim: 5", "dim: 0 dim: 12 dim: 5"),
        ("dim: 1 dim: -1", "dim: 0 dim: -1"),
        ("dim: 0 dim: -1", "dim: 0 dim: -1"),
        ("dim: 3 dim: 20", "dim: 3 dim: 20"),
    ],
)
def test_reshape(dims: str, after: str, tmp_path: Path) -> None:
    text = header(1, 3, 4, 5) + layer("Reshape", "r", "data", "", "reshape_param { shape { %s } }")
    net = net_of(text % dims)
    rewritten, changes = applied(reshape_batch, net)
    same_text(text_of(rewritten, tmp_path), 'name: "net" ' + text % after)
    assert bool(changes.lines) == (dims != after)
    assert moved(net, rewritten) == 0


def test_a_first_dim_is_first_by_a_negative_axis_too() -> None:
    param = "reshape_param { shape { dim: 1 dim: -1 } axis: -5 }"
    net = net_of(header(1, 3, 4, 5) + layer("Reshape", "r", "data", "", param))
    after, _ = applied(reshape_batch, net)
    assert list(after.layers[0].params.reshape_param.shape.dim) == [0, -1]
    assert moved(net, after) == 0


FIVE = "reshape_param { shape { dim: 1 dim: 3 dim: 2 dim: 4 dim: 5 } }"


@pytest.mark.parametrize(
    ("second", "dims"),
    [
        ("dim: 1 dim: 6 dim: -1", [0, 6, 20]),
        ("dim: 0 dim: -1 dim: 4 dim: 5", [0, 6, 4, 5]),
        ("dim: 2 dim: -1", [2, 60]),
    ],
)
def test_reshapes_through_more_than_four_dims_are_joined(second: str, dims: list[int]) -> None:
    text = (
        header(1, 6, 4, 5)
        + conv("c", "data", 6)
        + layer("Reshape", "five", "c", "", FIVE)
        + layer("Reshape", "r", "five", "", f"reshape_param {{ shape {{ {second} }} }}")
    )
    net, _ = random_net(text)
    after, changes = applied(reshape_batch, net)
    assert [x.name for x in after.layers] == ["c", "r"]
    assert after.layers[1].bottoms == ["c"]
    assert list(after.layers[1].params.reshape_param.shape.dim) == dims
    assert len(changes.lines) == 1
    assert moved(net, after) == 0


@pytest.mark.parametrize("reader", ["ReLU", ""])
def test_five_dims_that_something_else_needs_are_left_to_the_rules(reader: str) -> None:
    text = header(1, 6, 4, 5) + layer("Reshape", "five", "data", "", FIVE)
    net = net_of(text + (layer(reader, "r", "five") if reader else ""))
    after, changes = applied(reshape_batch, net)
    assert [x.name for x in after.layers] == [x.name for x in net.layers]
    assert not changes.lines


def test_a_reshape_behind_the_batch_axis_stays() -> None:
    param = "reshape_param { shape { dim: 6 dim: 10 } axis: 1 }"
    net = net_of(header(1, 3, 4, 5) + layer("Reshape", "r", "data", "", param))
    assert not applied(reshape_batch, net)[1].lines


# --- cut-cpu-tail --------------------------------------------------------------------------


def test_an_ssd_tail_is_cut_off() -> None:
    text = (
        header(1, 3, 8, 8)
        + conv("c", "data", 4)
        + conv("loc", "c", 8)
        + layer("Permute", "p", "loc", "", "permute_param { order: 0 order: 2 order: 3 order: 1 }")
        + layer("Flatten", "loc_flat", "p")
        + conv("conf", "c", 4)
        + layer("Flatten", "conf_flat", "conf")
        + layer("PriorBox", "prior", "c data", "", "prior_box_param { min_size: 4 }")
        + layer("DetectionOutput", "out", "loc_flat conf_flat prior", "",
                "detection_output_param { num_classes: 2 }")
    )  # fmt: skip
    after, changes = applied(cut_tail, net_of(text))
    assert [x.name for x in after.layers] == ["c", "loc", "p", "loc_flat", "conf", "conf_flat"]
    assert after.outputs == ["loc_flat", "conf_flat"]
    assert changes.lines == [
        "prior (PriorBox) is cut off",
        "out (DetectionOutput) is cut off",
        "the outputs are now loc_flat, conf_flat",
    ]


def test_a_yolo_tail_ends_in_the_convolution() -> None:
    """Its 5-D Reshape and Permute are the CPU's work; the convolution has the same numbers."""
    order_of_five = "permute_param { order: 0 order: 1 order: 3 order: 4 order: 2 }"
    text = (
        header(1, 3, 4, 5)
        + conv("head", "data", 6)
        + layer("Reshape", "five", "head", "", FIVE)
        + layer("Permute", "p", "five", "", order_of_five)
        + layer("Sigmoid", "s", "p")
    )
    net, _ = random_net(text)
    after, changes = applied(cut_tail, net)
    assert [x.name for x in after.layers] == ["head"]
    assert after.outputs == ["head"]
    assert changes.lines[-2:] == [
        "five (Reshape to 5 dims) is cut off: head holds the same numbers",
        "the outputs are now head",
    ]


def test_five_dims_inside_a_network_are_not_cut() -> None:
    text = (
        header(1, 6, 4, 5)
        + layer("Reshape", "five", "data", "", FIVE)
        + layer("Reshape", "r", "five", "", "reshape_param { shape { dim: 0 dim: 6 dim: 20 } }")
    )
    net = net_of(text)
    after, changes = applied(cut_tail, net)
    assert [x.name for x in after.layers] == ["five", "r"]
    assert not changes.lines


# --- merge-batch-norm ----------------------------------------------------------------------

BN = layer("BatchNorm", "bn", "x", "", "batch_norm_param { eps: 0.01 use_global_stats: true }")
SCALE = layer("Scale", "scale", "bn", "", "scale_param { bias_term: true }")
LEADERS = {
    "plain": conv("x", "data", 6, 3, "pad: 1"),
    "no bias": conv("x", "data", 6, 3, "pad: 1 bias_term: false"),
    "groups": conv("x", "data", 6, 3, "group: 2"),
    "depthwise": conv("x", "data", 4, 3, "group: 4 bias_term: false"),
    "DepthwiseConv": layer("DepthwiseConv", "x", "data", "",
                           "convolution_param { num_output: 8 kernel_size: 3 }"),
    "deconvolution": layer("Deconvolution", "x", "data", "",
                           "convolution_param { num_output: 6 kernel_size: 2 stride: 2 }"),
    "deconvolution groups": layer("Deconvolution", "x", "data", "",
                                  "convolution_param { num_output: 6 kernel_size: 3 group: 2 "
                                  "bias_term: false }"),
    "deconvolution depthwise": layer("Deconvolution", "x", "data", "",
                                     "convolution_param { num_output: 4 kernel_size: 2 group: 4 }"),
    "inner product": layer("InnerProduct", "x", "data", "",
                           "inner_product_param { num_output: 5 }"),
    "transposed": layer("InnerProduct", "x", "data", "",
                        "inner_product_param { num_output: 5 transpose: true bias_term: false }"),
}  # fmt: skip
CHAINS = {
    "both": BN + SCALE,
    "scale without bias": BN + layer("Scale", "scale", "bn"),
    "BatchNorm alone": BN.replace('top: "bn"', 'top: "scale"'),
    "Scale alone": SCALE.replace('bottom: "bn"', 'bottom: "x"'),
    "Bias": layer("Bias", "scale", "x"),
    "long": BN + SCALE.replace('top: "scale"', 'top: "s"')
            + layer("Bias", "b", "s") + layer("Scale", "again", "b", "scale"),
}  # fmt: skip


@pytest.mark.parametrize("chain", CHAINS)
@pytest.mark.parametrize("leader", LEADERS)
def test_merging(leader: str, chain: str) -> None:
    text = header(1, 4, 6, 7) + LEADERS[leader] + CHAINS[chain] + layer("ReLU", "relu", "scale")
    net, weights = random_net(text, seed=3)
    if "bn" in weights:
        assert weights["bn"][2][0] != 1
    after, changes = applied(merge_batch_norm, net)
    assert [x.name for x in after.layers] == ["x", "relu"]
    assert after.layers[0].tops == ["scale"]
    assert len(changes.lines) == 1
    merged = [x.name for x in net.layers[1:-1]]
    assert all(x in changes.lines[0] for x in merged)
    assert all(f"merged {x}" in after.layers[0].origin for x in merged)
    assert [x.shape for x in after.layers[0].weights[:1]] == [net.layers[0].weights[0].shape]
    params = after.layers[0].params
    assert params.inner_product_param.bias_term
    assert params.convolution_param.bias_term
    assert [x.dtype for x in after.layers[0].weights] == [np.float32] * 2
    for seed in (0, 1):
        inputs = feed(net, seed)
        expected = caffe_reference.run_net(parse(text), weights, inputs)
        assert error_of(expected["relu"], Session(after).run(inputs)["relu"]) < 1e-5
        assert error_of(expected["relu"], Session(net).run(inputs)["relu"]) < 1e-5


def test_the_files_own_eps_and_scale_factor_by_hand() -> None:
    """w 2, b 3; mean 8/4, var 12/4, eps 1: f = 10/2; weight 2*5, bias (3 - 2) * 5 + 7."""
    text = (
        header(1, 1, 1, 1)
        + conv("x", "data", 1)
        + layer("BatchNorm", "bn", "x", "", "batch_norm_param { eps: 1 }")
        + SCALE
    )
    weights = {
        "x": [np.full((1, 1, 1, 1), 2.0), [3.0]],
        "bn": [[8.0], [12.0], [4.0]],
        "scale": [[10.0], [7.0]],
    }
    after, _ = applied(merge_batch_norm, net_of(text, weights))
    assert after.layers[0].weights[0].ravel().tolist() == [10]
    assert after.layers[0].weights[1].tolist() == [12]


def test_a_batch_norm_that_never_learnt_counts_as_zero_statistics() -> None:
    """Caffe: a scale factor of 0 makes mean and variance 0."""
    net, weights = random_net(header(1, 2, 3, 3) + conv("x", "data", 2) + BN)
    net.layers[1].weights = [*net.layers[1].weights[:2], np.zeros(1, np.float32)]
    weights["bn"] = net.layers[1].weights
    after, _ = applied(merge_batch_norm, net)
    assert moved(net, after) < 1e-6


@pytest.mark.parametrize(
    "rest",
    [
        layer("ReLU", "also", "x") + BN,
        layer("Eltwise", "sum", "x bn").join([BN, ""]),
        layer("Pooling", "between", "x", "p", "pooling_param { kernel_size: 2 }")
        + BN.replace('bottom: "x"', 'bottom: "p"'),
        layer("Scale", "s", "x", "", "scale_param { axis: 2 }"),
        layer("Scale", "s", "x", "", "scale_param { num_axes: -1 }"),
        layer("Bias", "s", "x", "", "bias_param { axis: 3 }"),
        layer("ReLU", "gate", "data")
        + layer("Scale", "s", "x gate", "", "scale_param { axis: 0 }"),
    ],
    ids=["read twice", "read behind", "something between", "other axis", "whole map", "rows",
         "two bottoms"],
)  # fmt: skip
def test_what_must_not_be_merged(rest: str) -> None:
    net, _ = random_net(header(1, 4, 4, 4) + conv("x", "data", 4) + rest)
    after, changes = applied(merge_batch_norm, net)
    assert [x.name for x in after.layers] == [x.name for x in net.layers]
    assert not changes.lines
    assert moved(net, after) == 0


def test_a_computed_factor_is_not_merged() -> None:
    """Its layer has one blob of the right size, which is the addend."""
    text = (
        header(1, 4, 3, 3)
        + header(4, name="factor")
        + conv("x", "data", 4)
        + layer("Scale", "s", "x factor", "", "scale_param { bias_term: true }")
    )
    net, _ = random_net(text)
    assert net.find("s").weights[0].shape == (4,)
    after, changes = applied(merge_batch_norm, net)
    assert not changes.lines
    assert moved(net, after) == 0


def test_a_value_that_is_an_output_is_not_merged_away() -> None:
    net, _ = random_net(header(1, 4, 4, 4) + conv("x", "data", 4) + BN + SCALE)
    net.outputs = ["bn", "scale"]
    after, _ = applied(merge_batch_norm, net)
    assert [x.name for x in after.layers] == ["x", "scale"]
    assert after.outputs == ["bn", "scale"]
    net.outputs = ["x", "scale"]
    assert not applied(merge_batch_norm, net)[1].lines


def test_outputs_along_another_axis_are_not_merged() -> None:
    """The statistics are those of axis 1, the outputs of this InnerProduct lie along axis 2."""
    inner = layer("InnerProduct", "x", "data", "", "inner_product_param { num_output: 3 axis: 2 }")
    net, _ = random_net(header(1, 3, 4) + inner + BN)
    after, changes = applied(merge_batch_norm, net)
    assert not changes.lines
    assert moved(net, after) == 0


def test_a_batch_norm_without_statistics_is_an_error() -> None:
    net, _ = random_net(header(1, 4, 4, 4) + conv("x", "data", 4) + BN)
    net.layers[1].weights = []
    with pytest.raises(InputError, match=r"layer bn .*no mean and variance"):
        applied(merge_batch_norm, net)


def test_merging_leaves_the_given_weights_alone() -> None:
    net, weights = random_net(header(1, 4, 6, 7) + LEADERS["plain"] + CHAINS["both"])
    applied(merge_batch_norm, net)
    for entry in net.layers:
        for array, other in zip(entry.weights, weights[entry.name], strict=True):
            np.testing.assert_array_equal(array, other)


# --- canonical-order -----------------------------------------------------------------------


@st.composite
def dags(draw: st.DrawFn) -> Net:
    """Random networks of ReLU, Eltwise and Slice; any unread value may be an output."""
    count = draw(st.integers(1, 14))
    values = ["data"]
    layers = []
    for i in range(count):
        bottoms = draw(st.lists(st.sampled_from(values), min_size=1, max_size=3))
        tops = [f"v{i}"] if draw(st.booleans()) else [f"v{i}", f"w{i}"]
        kind = "Split" if len(tops) > 1 else "Eltwise" if len(bottoms) > 1 else "ReLU"
        layers.append(Layer(f"n{i}", kind, bottoms[:1] if kind == "Split" else bottoms, tops))
        values += tops
    read = {x for y in layers for x in y.bottoms}
    free = [x for x in values[1:] if x not in read]
    extra = draw(st.lists(st.sampled_from(values[1:]), max_size=2))
    outputs = draw(st.permutations(list(dict.fromkeys([*free, *extra]))))
    keep = draw(st.integers(1, len(outputs)))
    return Net("n", {"data": (1, 2, 2, 2)}, layers, list(outputs[:keep]))


@given(dags(), st.randoms(use_true_random=False))
@settings(max_examples=200, deadline=None)
def test_canonical_order(net: Net, random: object) -> None:
    after, _ = applied(order, net)
    position = {id(x): i for i, x in enumerate(after.layers)}
    assert len(position) == len(after.layers)
    producers = after.producers()
    # Every layer stands behind what it reads.
    for entry in after.layers:
        for bottom in entry.bottoms:
            if bottom != "data":
                assert position[id(producers[bottom])] < position[id(entry)]
    # What an output needs is there, and nothing else.
    needed: set[str] = set()
    pending = [producers[x] for x in net.outputs]
    while pending:
        entry = pending.pop()
        if entry.name not in needed:
            needed.add(entry.name)
            pending += [producers[x] for x in entry.bottoms if x in producers]
    assert {x.name for x in after.layers} == needed
    # Outputs that belong to themselves alone come in the order that was asked for.
    assert after.outputs == net.outputs
    feeds = {x: {y.name for y in after.layers if needs(after, y, x)} for x in net.outputs}
    own = [
        x for x in net.outputs
        if not any(producers[x].name in feeds[y] for y in net.outputs if y != x)
    ]  # fmt: skip
    places = [position[id(producers[x])] for x in own]
    assert places == sorted(places)
    # What only one output needs stands behind all that several need.
    common = [i for i, y in enumerate(after.layers) if sum(y.name in z for z in feeds.values()) > 1]
    assert common == list(range(len(common)))
    # The pass changes nothing the second time, and nothing depends on the order before.
    again, changes = applied(order, after)
    assert [x.name for x in again.layers] == [x.name for x in after.layers]
    assert not changes.lines


def needs(net: Net, entry: Layer, output: str) -> bool:
    """Whether `output` depends on `entry`."""
    producers = net.producers()
    seen: set[str] = set()
    pending = [output]
    while pending:
        maker = producers.get(pending.pop())
        if maker is None or maker.name in seen:
            continue
        if maker is entry:
            return True
        seen.add(maker.name)
        pending += maker.bottoms
    return False


@given(dags(), st.data())
@settings(max_examples=100, deadline=None)
def test_the_order_before_does_not_matter(net: Net, data: st.DataObject) -> None:
    """Any other topological order of the same layers ends in the same order."""
    made = {"data"}
    left, shuffled = list(net.layers), []
    while left:
        ready = [x for x in left if made.issuperset(x.bottoms)]
        chosen = data.draw(st.sampled_from(ready))
        left.remove(chosen)
        shuffled.append(chosen)
        made.update(chosen.tops)
    other = Net(net.name, dict(net.inputs), [x.copy() for x in shuffled], list(net.outputs))
    assert [x.name for x in applied(order, net)[0].layers] == [
        x.name for x in applied(order, other)[0].layers
    ]


def test_a_branch_stays_together_and_tails_stand_last() -> None:
    text = (
        header(1, 2, 4, 4)
        + conv("trunk", "data", 2)
        + conv("a1", "trunk", 2)
        + conv("b1", "trunk", 2)
        + conv("a2", "a1", 2)
        + conv("b2", "b1", 2)
        + layer("Eltwise", "join", "a2 b2")
        + conv("box", "join", 2)
        + conv("class", "join", 2)
        + layer("Softmax", "prob", "class")
        + layer("ReLU", "box_tail", "box")
    )
    net = net_of(text)
    net.outputs = ["prob", "box_tail"]
    after, _ = applied(order, net)
    assert [x.name for x in after.layers] == [
        "trunk", "a1", "a2", "b1", "b2", "join", "class", "prob", "box", "box_tail",
    ]  # fmt: skip


def test_only_what_moved_is_said_to_have_moved() -> None:
    """A torn branch is put together; what it is taken out of has not moved."""
    text = (
        header(1, 2, 4, 4)
        + conv("trunk", "data", 2)
        + conv("a1", "trunk", 2)
        + conv("b1", "trunk", 2)
        + conv("b2", "b1", 2)
        + conv("a2", "a1", 2)
        + layer("Eltwise", "join", "a2 b2")
        + conv("unread", "a2", 2)
    )
    net = net_of(text)
    net.outputs = ["join"]
    _, changes = applied(order, net)
    assert changes.lines == ["a2 moved behind a1", "unread is gone: no output needs it"]


def test_long_diamond_chains_take_polynomial_time() -> None:
    """2**500 ways lead through the chain; every layer is visited once."""
    layers = []
    value = "data"
    for i in range(500):
        layers.append(Layer(f"l{i}", "ReLU", [value], [f"l{i}"]))
        layers.append(Layer(f"r{i}", "ReLU", [value], [f"r{i}"]))
        layers.append(Layer(f"s{i}", "Eltwise", [f"l{i}", f"r{i}"], [f"s{i}"]))
        value = f"s{i}"
    tails = [Layer(f"t{i}", "ReLU", [value], [f"t{i}"]) for i in range(20)]
    net = Net("n", {"data": (1, 1, 1, 1)}, layers + tails, [x.name for x in tails])
    start = time.perf_counter()
    after, _ = applied(order, net)
    assert time.perf_counter() - start < 5
    assert len(after.layers) == 1520


# --- in-place-activations ------------------------------------------------------------------


def test_in_place(tmp_path: Path) -> None:
    text = (
        header(1, 2, 4, 4)
        + conv("conv", "data", 2)
        + layer("BatchNorm", "bn", "conv")
        + layer("Scale", "scale", "bn")
        + layer("ReLU", "relu", "scale")
        + conv("last", "relu", 2)
        + layer("Sigmoid", "sigmoid", "last")
    )
    net, _ = random_net(text)
    after, changes = applied(in_place, net)
    same_text(
        text_of(after, tmp_path),
        'name: "net" '
        + header(1, 2, 4, 4)
        + conv("conv", "data", 2, top="relu")
        + layer("BatchNorm", "bn", "relu", "relu")
        + layer("Scale", "scale", "relu", "relu")
        + layer("ReLU", "relu", "relu", "relu")
        + conv("last", "relu", 2, top="sigmoid")
        + layer("Sigmoid", "sigmoid", "sigmoid", "sigmoid"),
    )
    assert len(changes.lines) == 4
    assert after.outputs == ["sigmoid"]
    assert moved(net, after) == 0
    again = read_net(tmp_path / "n.prototxt", tmp_path / "n.caffemodel")
    assert list(again.values()) == list(after.values())
    assert moved(net, again) == 0


@pytest.mark.parametrize(
    ("text", "why"),
    [
        (conv("x", "data", 2) + layer("ReLU", "r", "x") + layer("TanH", "t", "x"), "two readers"),
        (conv("x", "data", 2) + layer("ReLU", "r", "x") + layer("Eltwise", "e", "x r"),
         "read behind"),
        (layer("ReLU", "r", "data"), "the input"),
        (conv("x", "data", 2) + layer("ELU", "r", "x"), "an activation the mapper does not merge"),
        (conv("x", "data", 2) + layer("ReLU", "g", "data") + layer(
            "Scale", "s", "x g", "", "scale_param { axis: 0 }"), "two bottoms"),
        (layer("Split", "x", "data", "a b") + layer("ReLU", "r", "a") + layer("TanH", "t", "b"),
         "shared memory"),
        (conv("x", "data", 2) + layer("Flatten", "f", "x") + layer("ReLU", "r", "f")
         + layer("Pooling", "p", "x", "", "pooling_param { kernel_size: 2 }"), "shared memory"),
    ],
)  # fmt: skip
def test_what_must_not_work_in_place(text: str, why: str) -> None:
    net, _ = random_net(header(1, 2, 4, 4) + text)
    after, changes = applied(in_place, net)
    assert not changes.lines, why
    assert not any(x.in_place for x in after.layers), why


def test_an_output_is_never_overwritten() -> None:
    net, _ = random_net(header(1, 2, 4, 4) + conv("x", "data", 2) + layer("ReLU", "r", "x"))
    net.outputs = ["x", "r"]
    assert not applied(in_place, net)[1].lines


def test_in_place_behind_slice_and_pooling() -> None:
    text = header(1, 2, 4, 4) + layer("Slice", "x", "data", "a b") + layer("ReLU", "r", "a")
    after, _ = applied(in_place, net_of(text))
    assert after.find("r").in_place
    assert after.find("x").tops == ["r@x", "b"]


CHAIN = (
    header(1, 2, 4, 4)
    + conv("conv", "data", 2, top="blob")
    + layer("BatchNorm", "bn", "blob", "blob")
    + layer("ReLU", "relu", "blob", "blob")
    + conv("last", "blob", 2)
)


def test_apart_gives_every_layer_a_top_of_its_own(tmp_path: Path) -> None:
    net, _ = random_net(CHAIN)
    result = rewrite(net, runner(), skip=["merge-batch-norm"], apart=True)
    same_text(
        text_of(result.net, tmp_path),
        'name: "net" '
        + header(1, 2, 4, 4)
        + conv("conv", "data", 2)
        + layer("BatchNorm", "bn", "conv", "", "batch_norm_param { use_global_stats: true }")
        + layer("ReLU", "relu", "bn", "blob")
        + conv("last", "blob", 2),
    )
    found = {x.name: x for x in result.passes}
    assert len(found["own-tops"].changed) == 2
    assert "in-place-activations" not in found
    # The blob stands for what it stood for in the file.
    assert check_table(net, result, tmp_path) == 2
    assert result.names == {}


def test_apart_takes_no_name_that_is_another_blobs(tmp_path: Path) -> None:
    text = header(1, 2, 4, 4) + conv("x", "data", 2) + layer("ReLU", "relu", "x", "x")
    net, _ = random_net(text + conv("x_x", "x", 2) + layer("ReLU", "r", "x_x", "x_x"))
    result = rewrite(net, runner(), apart=True)
    assert list(result.net.values()) == ["data", "x_x_", "x", "x_x_x_x", "x_x"]
    assert not any(x.in_place for x in read_back(result.net, tmp_path).layers)


def test_what_was_in_place_in_the_file_is_no_change() -> None:
    result = rewrite(random_net(CHAIN)[0], runner(), skip=["merge-batch-norm"])
    assert {x.name: x.changed for x in result.passes}["in-place-activations"] == []


def test_what_can_no_longer_work_in_place_is_said() -> None:
    text = (
        header(1, 2, 4, 4)
        + conv("conv", "data", 2, top="a")
        + layer("Pooling", "pool", "a", "", "pooling_param { kernel_size: 2 stride: 2 }")
        + layer("ReLU", "relu", "a", "a")
    )
    result = rewrite(random_net(text)[0], runner())
    assert {x.name: x.changed for x in result.passes}["in-place-activations"] == [
        "relu (ReLU) has a top of its own: its bottom has another use"
    ]


@given(dags())
@settings(max_examples=200, deadline=None)
def test_only_values_with_one_reader_are_overwritten(net: Net) -> None:
    readers = {k: len(v) for k, v in net.consumers().items()}
    before = [list(x.bottoms) for x in net.layers]
    after, _ = applied(in_place, net)
    for entry, bottoms in zip(after.layers, before, strict=True):
        if entry.in_place:
            assert readers[bottoms[0]] == 1
            assert bottoms[0] not in net.outputs
    assert after.outputs == net.outputs
    assert len(set(after.values())) == len(list(after.values()))


# --- short-names ---------------------------------------------------------------------------

NAMES = st.text(
    string.ascii_letters + string.digits + "/:. _-\u00e9\u4e2d", min_size=1, max_size=80
)


def named(given_names: list[str], blobs: list[str]) -> Net:
    layers = []
    value = "data"
    for name, blob in zip(given_names, blobs, strict=True):
        layers.append(Layer(name, "AbsVal", [value], [blob]))
        value = blob
    return Net("n", {"data": (1, 2, 2, 2)}, layers, [value])


@given(st.integers(1, 6).flatmap(
    lambda n: st.tuples(
        st.lists(NAMES, min_size=n, max_size=n, unique=True),
        st.lists(NAMES.filter(lambda x: x != "data"), min_size=n, max_size=n, unique=True),
    )
))  # fmt: skip
@settings(max_examples=300, deadline=None)
def test_names_are_short_unique_and_plain(both: tuple[list[str], list[str]]) -> None:
    net = named(*both)
    after, changes = applied(names, net)
    valid = set(string.ascii_letters + string.digits + "_.-")
    layers = [x.name for x in after.layers]
    blobs = list(after.values())
    for found in (layers, blobs):
        assert len(set(found)) == len(found)
        assert all(0 < len(x) <= 31 and set(x) <= valid for x in found)
    # Good names stay, and the changes say what became of each.
    for old, new in zip(net.layers, after.layers, strict=True):
        assert changes.layers.get(old.name, old.name) == new.name
        assert changes.values.get(old.tops[0], old.tops[0]) == new.tops[0]
        for a, b in ((old.name, new.name), (old.tops[0], new.tops[0])):
            if set(a) <= valid and len(a) <= 31:
                assert a == b
    assert moved(net, after) == 0


def test_names_that_would_be_cut_alike() -> None:
    """The three outputs that became one name in public .wk files."""
    given_names = [f"face_rpn_cls_prob_reshape_stride{x}" for x in (32, 16, 8)]
    after, _ = applied(names, named(given_names, given_names))
    found = [x.name for x in after.layers]
    assert len({x[:31] for x in found}) == 3
    assert [x.endswith(f"stride{y}") for x, y in zip(found, (32, 16, 8), strict=True)] == [True] * 3
    assert [x.tops[0] for x in after.layers] == found


def test_names_swapped_between_values() -> None:
    """A new name that was another's old one."""
    net = named(["l1", "l2"], ["a/b", "a_b"])
    after, _ = applied(names, net)
    assert after.layers[1].tops == ["a_b"]
    assert after.layers[0].tops[0] not in ("a/b", "a_b")
    assert after.layers[1].bottoms == after.layers[0].tops


def test_a_blob_is_called_as_its_layer_where_it_was() -> None:
    """Two layers' names clash when cleaned, their blobs do not."""
    after, _ = applied(names, named(["a_b", "a/b"], ["other", "a/b"]))
    assert after.layers[1].name not in ("a/b", "a_b")
    assert after.layers[1].tops == [after.layers[1].name]


def test_in_place_values_keep_one_blob() -> None:
    long = "a/very_long_scope/of/blocks/with/many/parts/"
    text = (
        header(1, 2, 4, 4)
        + conv(f"{long}conv", "data", 2, top=f"{long}blob")
        + layer("ReLU", f"{long}relu@1", f"{long}blob", f"{long}blob")
        + layer("TanH", f"{long}tanh@1", f"{long}blob", f"{long}blob")
        + conv("last", f"{long}blob", 2)
    )
    net, _ = random_net(text)
    after, changes = applied(names, net)
    blobs = caffe_names(after)
    assert len({blobs[x.tops[0]] for x in after.layers[:3]}) == 1
    assert all(len(x) <= 31 and "@" not in x for x in blobs.values())
    assert len(set(after.values())) == len(list(after.values())) == 5
    makers = {f"{blobs[x.tops[0]]}@{x.name}": x for x in after.layers[:2]}
    assert [x.tops[0] for x in after.layers[:2]] == list(makers)
    assert set(changes.values.values()) >= set(makers)
    assert moved(net, after) == 0


def test_outputs_that_are_read_are_marked_for_the_file(tmp_path: Path) -> None:
    """A file has no list of outputs: unread blobs are, and those that end in _report."""
    text = (
        header(1, 2, 4, 4)
        + conv("conv", "data", 2)
        + layer("ReLU", "relu", "conv")
        + conv("last", "relu", 2)
    )
    net, _ = random_net(text)
    net.outputs = ["last", "conv", "relu"]
    after, changes = applied(names, net)
    assert after.outputs == ["last", "conv_report", "relu_report"]
    assert changes.values == {"conv": "conv_report", "relu": "relu_report"}
    assert moved(net, after) == 0
    again = read_back(after, tmp_path)
    assert sorted(again.outputs) == sorted(after.outputs)
    assert not applied(names, after)[1].lines
    result = rewrite(net, runner())
    assert result.net.outputs == after.outputs
    assert check_table(net, result, tmp_path) == 3


def test_a_mark_survives_shortening() -> None:
    text = header(1, 2, 4, 4)
    value = "data"
    for i in range(3):
        name = f"a/scope/of/a/long/name/in/front/{i}/of/a/long/name/behind"
        text += conv(name, value, 2)
        value = name
    net, _ = random_net(text)
    net.outputs = [x.tops[0] for x in net.layers]
    after, changes = applied(names, net)
    assert [x.endswith("_report") for x in after.outputs] == [True, True, False]
    assert len(set(after.outputs)) == 3
    assert all(len(x) <= 31 for x in after.outputs)
    assert [changes.values[x] for x in net.outputs] == after.outputs


# --- the runner ----------------------------------------------------------------------------

FULL = (
    header(1, 3, 8, 8)
    + conv("stem/convolution_with_a_name_of_more_than_31_characters", "data", 4, 3, "pad: 1",
           top="stem")
    + layer("BatchNorm", "stem/bn", "stem", "stem_bn")
    + layer("Scale", "stem/scale", "stem_bn", "stem_scale", "scale_param { bias_term: true }")
    + layer("ReLU", "stem/relu", "stem_scale", "stem_relu")
    + layer("Pooling", "pool", "stem_relu", "", "pooling_param { kernel_size: 2 stride: 2 }")
    + conv("side", "pool", 4)
    + layer("ReLU", "side/relu", "side")
    + layer("Upsample", "up", "side/relu")
    + layer("Eltwise", "sum", "stem_relu up")
    + conv("box/a_name_that_is_much_longer_than_the_chip_can_hold", "sum", 2)
    + conv("class", "sum", 3)
    + layer("Reshape", "flat", "class", "", "reshape_param { shape { dim: 1 dim: 3 dim: -1 } }")
    + layer("Softmax", "prob", "flat")
    + layer("Sigmoid", "box/sigmoid", "box/a_name_that_is_much_longer_than_the_chip_can_hold")
)  # fmt: skip


def read_back(net: Net, folder: Path) -> Net:
    folder.mkdir(exist_ok=True)
    write_net(net, folder / "n.prototxt", folder / "n.caffemodel")
    return read_net(folder / "n.prototxt", folder / "n.caffemodel")


def last_states(net: Net, seed: int = 7) -> dict[str, Array]:
    """The last state of each blob, by the name that the file gives it."""
    made = every_value(net, feed(net, seed))
    blobs = caffe_names(net)
    return {blobs[x]: made[x] for x in made}


def check_table(before: Net, result: Rewritten, folder: Path) -> int:
    """Every blob that both files have, by its old or its new name, holds the same values."""
    old = last_states(read_back(before, folder / "old"))
    new = last_states(read_back(result.net, folder / "new"))
    layers = {x.name for x in result.net.layers}
    compared = 0
    for name, array in old.items():
        now = result.names.get(name, name)
        if now not in new:
            assert now in layers or name not in result.names, f"{name}: {now} is nowhere"
            continue
        np.testing.assert_allclose(
            new[now], array.reshape(new[now].shape), rtol=1e-4, atol=1e-4, err_msg=f"{name}: {now}"
        )
        compared += 1
    for name, now in result.names.items():
        assert name in old or now in layers
        assert name != now
    return compared


@pytest.mark.parametrize("in_place_before", [False, True])
def test_a_whole_rewrite(tmp_path: Path, in_place_before: bool) -> None:
    net, _ = random_net(FULL)
    if in_place_before:
        net, _ = applied(in_place, net)
    result = rewrite(net, runner())
    assert [x.name for x in result.passes] == [x.name for x in PASSES]
    by_name = {x.name: x for x in result.passes}
    for item in PASSES:
        difference = by_name[item.name].difference
        assert difference < 1e-5 if item.arithmetic else difference == 0
    assert by_name["merge-batch-norm"].difference > 0
    types = [x.type for x in result.net.layers]
    assert "BatchNorm" not in types
    assert "Scale" not in types
    assert "Upsample" not in types
    assert sum(x.in_place for x in result.net.layers) == 3
    assert max_difference(runner()(net), runner()(read_back(result.net, tmp_path))) < 1e-4
    # Outputs keep their order; long names are short and found in the table.
    assert len(result.net.outputs) == 2
    assert [result.names.get(x, x) for x in net.outputs] == result.net.outputs
    long = "stem/convolution_with_a_name_of_more_than_31_characters"
    assert len(result.names[long]) <= 31
    assert result.net.layers[0].name == result.names[long]
    assert check_table(net, result, tmp_path) >= 6


def test_the_network_that_was_given_is_left_alone() -> None:
    net, weights = random_net(FULL)
    before = net.copy()
    rewrite(net, runner())
    assert [(x.name, x.type, x.bottoms, x.tops, x.params) for x in net.layers] == [
        (x.name, x.type, x.bottoms, x.tops, x.params) for x in before.layers
    ]
    for entry in net.layers:
        for array, other in zip(entry.weights, weights.get(entry.name, []), strict=True):
            np.testing.assert_array_equal(array, other)


@pytest.mark.parametrize("skipped", [x.name for x in PASSES])
def test_every_pass_may_be_left_out(skipped: str, tmp_path: Path) -> None:
    net, _ = applied(in_place, random_net(FULL)[0])
    result = rewrite(net, runner(), skip=[skipped])
    assert skipped not in [x.name for x in result.passes]
    values = list(result.net.values())
    assert len(set(values)) == len(values)
    assert moved(net, read_back(result.net, tmp_path)) < 1e-4
    check_table(net, result, tmp_path)


def test_a_chain_in_place_in_the_file_survives_without_merging(tmp_path: Path) -> None:
    """conv, BatchNorm, Scale and ReLU on one blob, which Caffe's files usually hold."""
    text = (
        header(1, 3, 6, 6)
        + conv("conv", "data", 4, top="a")
        + layer("BatchNorm", "bn", "a", "a", "batch_norm_param { use_global_stats: true }")
        + layer("Scale", "scale", "a", "a", "scale_param { bias_term: true }")
        + layer("ReLU", "relu", "a", "a")
        + layer("Pooling", "pool", "a", "", "pooling_param { kernel_size: 2 }")
    )
    net, _ = random_net(text)
    result = rewrite(net, runner(), skip=["merge-batch-norm"])
    same_text(text_of(result.net, tmp_path), 'name: "net" ' + text)
    assert result.names == {}


def test_a_value_read_before_it_is_overwritten_keeps_its_reader(tmp_path: Path) -> None:
    """The order of the outputs moves the pooling behind the ReLU that overwrote its bottom."""
    text = (
        header(1, 2, 4, 4)
        + conv("conv", "data", 3, top="a")
        + layer("Pooling", "pool", "a", "", "pooling_param { kernel_size: 2 stride: 2 }")
        + layer("ReLU", "relu", "a", "a")
        + conv("last", "a", 2)
    )
    net, _ = random_net(text)
    net.outputs = ["last", "pool"]
    result = rewrite(net, runner())
    assert [x.name for x in result.net.layers] == ["conv", "relu", "last", "pool"]
    again = read_back(result.net, tmp_path)
    assert again.outputs == net.outputs
    assert moved(net, again) == 0


def broken(change: Callable[[Net], None], lines: list[str]) -> Pass:
    def apply(net: Net) -> Changes:
        change(net)
        return Changes(list(lines))

    return Pass("broken-pass", apply, False, "it is broken")


def rewrite_with(item: Pass, net: Net) -> Rewritten:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run, "PASSES", (item,))
        return rewrite(net, runner())


def other_weight(net: Net) -> None:
    entry = net.layers[0]
    entry.weights = [entry.weights[0] * np.float32(1.001), *entry.weights[1:]]


def slightly_other_weight(net: Net) -> None:
    entry = net.layers[0]
    entry.weights = [entry.weights[0] * np.float32(1.00001), *entry.weights[1:]]


def other_layer(net: Net) -> None:
    net.find("pool").params.pooling_param.pool = 1


def lost_output(net: Net) -> None:
    net.outputs.pop()


def other_order(net: Net) -> None:
    net.outputs.reverse()


@pytest.mark.parametrize(
    "change", [other_weight, slightly_other_weight, other_layer, lost_output, other_order]
)
@pytest.mark.parametrize("lines", [["something changed"], []])
def test_a_broken_pass_is_caught(
    monkeypatch: pytest.MonkeyPatch, change: Callable[[Net], None], lines: list[str]
) -> None:
    """Also when it claims to have done nothing."""
    monkeypatch.setattr(run, "PASSES", (PASSES[0], broken(change, lines), *PASSES[1:]))
    net, _ = random_net(FULL)
    with pytest.raises(CheckError) as caught:
        rewrite(net, runner())
    message = str(caught.value)
    assert message.startswith("pass broken-pass moves an output by ")
    assert "--skip broken-pass" in message
    assert "\n" not in message
    rewrite(net, runner(), skip=["broken-pass"])


def test_a_pass_cannot_write_into_weights() -> None:
    """It would change the network that was given, and what the outputs are compared with."""

    def write(net: Net) -> None:
        net.layers[0].weights[0][:] = 0

    net, _ = random_net(FULL)
    with pytest.raises(ValueError, match="read-only"):
        rewrite_with(broken(write, []), net)


def test_what_changed_nothing_is_not_run_again() -> None:
    runs = []

    def counting(net: Net) -> list[list[Array]]:
        runs.append(1)
        return runner()(net)

    net, _ = random_net(header(1, 3, 4, 4) + conv("class", "data", 3))
    done = rewrite(net, counting)
    assert not runs
    assert all(not x.changed and x.difference == 0 for x in done.passes)


def test_what_only_got_other_names_is_not_run_again() -> None:
    runs = []

    def counting(net: Net) -> list[list[Array]]:
        runs.append([x.tops for x in net.layers])
        return runner()(net)

    relu = 'layer { name: "relu" type: "ReLU" bottom: "class" top: "relu" }'
    net, _ = random_net(header(1, 3, 4, 4) + conv("class", "data", 3) + relu)
    done = rewrite(net, counting)
    assert [x.name for x in done.passes if x.changed] == ["in-place-activations"]
    assert len(runs) == 1  # what came before the pass


def test_values_that_change_places_are_run_again() -> None:
    """The same names and layers, another wiring."""

    def exchange(net: Net) -> None:
        net.layers[-1].bottoms.reverse()

    text = conv("a", "data", 3) + conv("b", "data", 3)
    minus = """layer { name: "minus" type: "Eltwise" bottom: "a" bottom: "b" top: "minus"
        eltwise_param { coeff: 1 coeff: -1 } }"""
    net, _ = random_net(header(1, 3, 4, 4) + text + minus)
    with pytest.raises(CheckError, match="moves an output"):
        rewrite_with(broken(exchange, []), net)


def test_an_arithmetic_pass_may_move_outputs_a_little_and_no_more(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    for amount, fine in ((1e-5, True), (2e-3, False)):

        def nudge(net: Net, amount: float = amount) -> Changes:
            entry = net.find("class")
            entry.weights = [x + np.float32(amount) for x in entry.weights]
            return Changes(["nudged"])

        monkeypatch.setattr(run, "PASSES", (Pass("nudge", nudge, True, "test"),))
        net, _ = random_net(header(1, 3, 4, 4) + conv("class", "data", 3))
        if fine:
            assert 0 < rewrite(net, runner()).passes[0].difference < 1e-4
        else:
            with pytest.raises(CheckError, match="pass nudge"):
                rewrite(net, runner())


@pytest.mark.parametrize(
    ("left", "right", "expected"),
    [
        ([1.0, -4.0], [1.0, -4.0], 0),
        ([1.0, -4.0], [1.5, -4.0], 0.125),
        ([0.0, 0.0], [0.0, 0.0], 0),
        ([0.0, 0.0], [0.0, 1e-30], np.inf),
        ([1.0, np.nan], [1.0, np.nan], np.inf),
        ([1.0, 2.0], [1.0, np.nan], np.inf),
        ([1.0, np.inf], [1.0, 2.0], np.inf),
        ([1.0, np.inf], [1.0, np.inf], np.inf),
        ([1.0, -np.inf], [1.0, -np.inf], np.inf),
        ([1.0, 2.0], [1.0], np.inf),
        ([], [], 0),
    ],
)
def test_difference(left: list[float], right: list[float], expected: float) -> None:
    a, b = np.array(left, np.float32), np.array(right, np.float32)
    with np.errstate(invalid="ignore"):
        assert max_difference([[a]], [[b]]) == pytest.approx(expected)


def test_the_worst_of_all_outputs_and_inputs_counts() -> None:
    a, b, c = (np.array([1.0, x], np.float32) for x in (2.0, 2.2, 2.02))
    assert max_difference([[a, a], [a, a]], [[a, c], [b, a]]) == pytest.approx(0.1, rel=1e-5)
    assert max_difference([[a, a]], [[a]]) == np.inf


def test_real_network(shared: Path, tmp_path: Path) -> None:
    """The article's RetinaFace at 64x64: everything that the hand-made repair did, and proof."""
    folder = shared / "models/retinaface_mnet025"
    net = read_net(folder / "mnet.prototxt", folder / "mnet.caffemodel")
    net.inputs = dict.fromkeys(net.inputs, (1, 3, 64, 64))

    def outputs(candidate: Net) -> list[list[Array]]:
        x = np.random.default_rng(0).uniform(0, 255, (1, 3, 64, 64)).astype(np.float32)
        found = Session(candidate).run({next(iter(candidate.inputs)): x})
        return [[found[y] for y in candidate.outputs]]

    result = rewrite(net, outputs)
    assert max(x.difference for x in result.passes) < run.TOLERANCE
    again = read_back(result.net, tmp_path)
    assert not {"BatchNorm", "Scale"}.intersection(x.type for x in again.layers)
    assert max(len(x) for x in [*caffe_names(again).values(), *(x.name for x in again.layers)]) < 32
    assert again.outputs == result.net.outputs
    assert len(again.outputs) == 9
    assert all(
        x.params.reshape_param.shape.dim[0] == 0 for x in again.layers if x.type == "Reshape"
    )
    assert max_difference(outputs(net), outputs(again)) < run.TOLERANCE

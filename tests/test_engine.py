"""The onnxruntime engine against Caffe's layers written in numpy, layer type by layer type."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from google.protobuf import text_format
from onnx import TensorProto, helper

from nnie_pipeline.caffe.caffe_pb2 import LayerParameter, NetParameter
from nnie_pipeline.caffe.files import caffe_names, read_net
from nnie_pipeline.caffe.net import Net
from nnie_pipeline.caffe.shapes import layer_shapes
from nnie_pipeline.chips.rule import rules
from nnie_pipeline.engine import choice, to_onnx
from nnie_pipeline.engine.onnxruntime_engine import Session, all_values, open_session
from nnie_pipeline.errors import InputError
from tests import caffe_reference
from tests.caffe_nets import (
    conv,
    error_of,
    every_value,
    feed,
    header,
    layer,
    net_of,
    random_net,
)
from tests.layer_cases import CASES, Shape, by_formula, one_layer
from tests.layer_table import MODELS, PLACE, documented, rows_without_figures

TOLERANCE = 1e-5


def check(label: str, text: str, bottoms: tuple[Shape, ...]) -> None:
    """One layer in the engine and in the reference, on the same random numbers."""
    net, inputs = one_layer(label, text, bottoms)
    found = Session(net).run(inputs)
    expected = by_formula(net, inputs)
    assert list(found) == list(expected)
    shapes = layer_shapes(net.layers[0], list(bottoms))
    for (name, array), shape, other in zip(expected.items(), shapes, found.values(), strict=True):
        assert array.shape == shape
        assert other.dtype == np.float32
        assert np.isfinite(array).all()
        assert error_of(array, other) < TOLERANCE, (label, text, name)


def test_every_type_of_the_engine_is_tested() -> None:
    other_names = {"ConvolutionDepthwise", "DepthwiseConvolution"}  # of DepthwiseConv
    assert {x.split()[0] for x in CASES} == set(to_onnx._EMITTERS) - other_names


def test_every_type_that_nnie_knows_runs() -> None:
    (rule,) = [x for x in rules() if x.id == "unsupported-type"]
    # Input is the network's own, Proposal and Custom are the user's code on the CPU.
    assert set(rule.known) - set(to_onnx._EMITTERS) == {"Input", "Proposal", "Custom"}


def test_the_documented_table_is_current() -> None:
    """Its figures are held in test_pycaffe."""
    text = (Path(__file__).parents[1] / PLACE).read_text(encoding="utf-8")
    assert list(documented()) == [*(x for x in sorted(CASES) if CASES[x]), *MODELS]
    for row in rows_without_figures():
        assert f"\n{row} " in text, "python -m tests.layer_table writes it"


@pytest.mark.parametrize("label", sorted(CASES))
def test_layer(label: str) -> None:
    for text, bottoms in CASES[label]:
        check(label, text, bottoms)


def test_the_poolings_reach_the_border() -> None:
    """Some windows hang over map and padding: where Caffe's rounding up is seen."""
    hanging = 0
    for text, ((_, _, size, _),) in CASES["Pooling"]:
        p = text_format.Parse(text, LayerParameter()).pooling_param
        if p.kernel_size and p.pad_h == p.pad_w:
            starts = caffe_reference.pool_starts(
                size, p.kernel_size, p.stride, p.pad_h, p.pad_h > 0
            )
            hanging += starts[-1] + p.kernel_size > size + p.pad_h
    assert hanging > 10


def test_bnll_of_large_numbers_does_not_overflow() -> None:
    net = net_of(header(1, 4) + layer("BNLL", "x", "data"))
    x = np.array([[-200, -90, 90, 200]], np.float32)
    found = Session(net).run({"data": x})["x"]
    np.testing.assert_allclose(found, [[0, 0, 90, 200]], atol=1e-30)


def test_threshold_of_the_limit_itself_is_zero() -> None:
    net = net_of(
        header(1, 3) + layer("Threshold", "x", "data", "", "threshold_param { threshold: 0.5 }")
    )
    x = np.array([[0.5, np.nextafter(np.float32(0.5), np.float32(1)), 0.4]], np.float32)
    assert Session(net).run({"data": x})["x"].tolist() == [[0, 1, 0]]


def test_average_over_the_border_by_hand() -> None:
    """3 rows, kernel 2, stride 2, pad 1: windows {pad, 0}, {1, 2}; the divisor is 2 each."""
    text = header(1, 1, 3, 1) + layer(
        "Pooling", "y", "data", "",
        "pooling_param { pool: AVE kernel_h: 2 kernel_w: 1 stride: 2 pad_h: 1 pad_w: 0 }",
    )  # fmt: skip
    x = np.array([6, 10, 20], np.float32).reshape(1, 1, 3, 1)
    assert Session(net_of(text)).run({"data": x})["y"].ravel().tolist() == [3, 15]
    # 4 rows, kernel 3, stride 2, no pad: the last window holds rows 2 and 3 only.
    text = header(1, 1, 4, 1) + layer(
        "Pooling", "y", "data", "",
        "pooling_param { pool: AVE kernel_h: 3 kernel_w: 1 stride_h: 2 stride_w: 1 }",
    )  # fmt: skip
    x = np.array([6, 10, 20, 30], np.float32).reshape(1, 1, 4, 1)
    assert Session(net_of(text)).run({"data": x})["y"].ravel().tolist() == [12, 25]


def test_pooling_rounded_down() -> None:
    text = header(1, 1, 5, 5) + layer(
        "Pooling", "y", "data", "", "pooling_param { kernel_size: 2 stride: 2 round_mode: FLOOR }"
    )
    x = np.arange(25, dtype=np.float32).reshape(1, 1, 5, 5)
    assert Session(net_of(text)).run({"data": x})["y"].ravel().tolist() == [6, 8, 16, 18]


def refusal(net: Net, values: list[str] | None = None) -> str:
    with pytest.raises(InputError) as caught:
        Session(net, values)
    message = str(caught.value)
    assert "\n" not in message
    assert "layer x" in message
    return message


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (layer("Proposal", "x", "data data data"), "--engine pycaffe"),
        (layer("Custom", "x", "data", "", "custom_param { shape { dim: 2 } }"),
         "cannot run the type Custom"),
        (layer("Clip", "x", "data", "", "clip_param { min: 0 }"), "both min and max"),
        (layer("Normalize", "x", "data"), "no weights"),
        (layer("CReLU", "x", "data"), "no weights"),
        (layer("Parameter", "x", "", "", "parameter_param { shape { dim: 2 } }"), "no weights"),
        (layer("SPP", "x", "data", "", "spp_param { pyramid_height: 2 pool: STOCHASTIC }"),
         "STOCHASTIC"),
        (conv("x", "data", 2), "no weights in the caffemodel"),
        (conv("x", "data", 2).replace("Convolution", "Deconvolution"), "no weights"),
        (layer("InnerProduct", "x", "data", "", "inner_product_param { num_output: 2 }"),
         "no weights"),
        (layer("BatchNorm", "x", "data"), "0 of 3 blobs"),
        (layer("Scale", "x", "data"), "no weights"),
        (layer("Scale", "x", "data data", "", "scale_param { axis: 0 bias_term: true }"),
         "no weights"),
        (layer("Bias", "x", "data"), "no weights"),
        (layer("PReLU", "x", "data"), "no weights"),
        (layer("Pooling", "x", "data", "", "pooling_param { pool: STOCHASTIC kernel_size: 2 }"),
         "STOCHASTIC"),
        (layer("Upsample", "x", "data", "", "upsample_param { upsample_h: 7 upsample_w: 12 }"),
         "whole factor"),
        (layer("Exp", "x", "data", "", "exp_param { base: 0 }"), "base 0"),
        (layer("Log", "x", "data", "", "log_param { base: 1 }"), "base 1"),
        (layer("BatchNorm", "x", "data", "", "batch_norm_param { use_global_stats: false }"),
         "use_global_stats"),
    ],
)  # fmt: skip
def test_what_the_engine_cannot_run_is_one_clear_line(text: str, words: str) -> None:
    net = net_of(header(1, 2, 6, 6) + text)
    if "use_global_stats" in words:
        net.layers[0].weights = [np.ones(2, np.float32)] * 2 + [np.ones(1, np.float32)]
    assert words in refusal(net)


def test_a_pooling_undone_with_its_mask() -> None:
    """Every maximum goes back to where it was, also under windows that hang over the border."""
    pooled = layer("Pooling", "x", "data", "y mask", "pooling_param { kernel_size: 2 stride: 2 }")
    size = "upsample_param { upsample_h: 5 upsample_w: 7 }"
    net = net_of(header(2, 3, 5, 7) + pooled + layer("Upsample", "up", "y mask", "", size))
    inputs = feed(net)
    found = Session(net, ["y", "mask", "up"]).run(inputs)
    data, back = inputs["data"], found["up"]
    kept = back != 0
    np.testing.assert_array_equal(back[kept], data[kept])
    np.testing.assert_array_equal(np.sort(back[kept]), np.sort(found["y"].ravel()))
    assert list(Session(net, ["up"]).run(inputs)) == ["up"]


def test_a_maximum_of_several_windows_comes_back_once() -> None:
    pooled = layer("Pooling", "x", "data", "y mask", "pooling_param { kernel_size: 3 stride: 1 }")
    size = "upsample_param { upsample_h: 5 upsample_w: 7 }"
    net = net_of(header(1, 2, 5, 7) + pooled + layer("Upsample", "up", "y mask", "", size))
    inputs = feed(net)
    found = Session(net, ["y", "up"]).run(inputs)
    kept = found["up"] != 0
    assert 2 < kept.sum() < found["y"].size
    np.testing.assert_array_equal(found["up"][kept], inputs["data"][kept])


def test_a_mask_that_points_outside_is_one_clear_line() -> None:
    net = net_of(header(1, 1, 2, 2) + header(1, 1, 2, 2, name="mask")
                 + layer("Upsample", "up", "data mask"))  # fmt: skip
    ones = np.ones((1, 1, 2, 2), np.float32)
    session = Session(net)
    with pytest.raises(InputError, match="onnxruntime cannot run the network") as caught:
        session.run({"data": ones, "mask": ones * 16})
    assert "\n" not in str(caught.value)


def test_an_lstm_of_endless_steps_is_refused() -> None:
    text = header(5000, 1, 1) + header(5000, 1, name="cont")
    net, _ = random_net(
        text + layer("LSTM", "x", "data cont", "", "recurrent_param { num_output: 1 }")
    )
    assert "5000 steps" in refusal(net)


def test_equal_numbers_the_last_is_caffes_maximum() -> None:
    net = net_of(header(1, 4) + layer("ArgMax", "x", "data", "", "argmax_param { top_k: 2 }"))
    found = Session(net).run({"data": np.array([[1, 3, 3, 0]], np.float32)})
    assert found["x"].ravel().tolist() == [2, 1]


def test_zeros_around_negative_numbers_stay_zeros() -> None:
    """A Pad in front of a MaxPool is no padding of the MaxPool, which would be -infinity."""
    nodes = [
        helper.make_node("Pad", ["x", "pads"], ["y"]),
        helper.make_node("MaxPool", ["y"], ["z"], kernel_shape=[3, 3], strides=[2, 2]),
    ]
    pads = helper.make_tensor("pads", TensorProto.INT64, [8], [0, 0, 1, 1, 0, 0, 0, 0])
    values = [
        helper.make_tensor_value_info(x, TensorProto.FLOAT, (1, 1, y, y))
        for x, y in (("x", 4), ("z", 2))
    ]
    model = helper.make_model(
        helper.make_graph(nodes, "net", values[:1], values[1:], [pads]),
        opset_imports=[helper.make_opsetid("", 17)], ir_version=8,
    )  # fmt: skip
    session = open_session(model.SerializeToString())
    (found,) = session.run(None, {"x": np.full((1, 1, 4, 4), -1, np.float32)})
    assert found.ravel().tolist() == [0, 0, 0, -1]


def test_a_value_that_is_not_there() -> None:
    net = net_of(header(1, 2, 6, 6) + layer("ReLU", "x", "data"))
    with pytest.raises(InputError, match="no value nope"):
        Session(net, ["x", "nope"])


def test_an_input_may_be_asked_for() -> None:
    net = net_of(header(1, 2, 6, 6) + layer("ReLU", "x", "data"))
    inputs = feed(net)
    found = Session(net, ["data", "x"]).run(inputs)
    np.testing.assert_array_equal(found["data"], inputs["data"])
    np.testing.assert_array_equal(found["x"], np.maximum(inputs["data"], 0))


def test_a_network_may_use_the_names_of_the_engines_own_values() -> None:
    text = header(1, 2) + layer("Power", "temporary:1", "data", "", "power_param { scale: 2 }")
    text += layer("Power", "constant:0", "temporary:1", "", "power_param { scale: 3 shift: 1 }")
    text += layer("Power", "temporary:2", "constant:0", "", "power_param { scale: 5 shift: 1 }")
    found = Session(net_of(text)).run({"data": np.array([[1, -1]], np.float32)})
    assert found["temporary:2"].tolist() == [[36, -24]]


def test_nothing_may_be_asked_for() -> None:
    net, _ = one_layer("Parameter", *CASES["Parameter"][0])
    assert Session(net, []).run({}) == {}


def test_weights_without_weight_do_not_slow_the_engine_down() -> None:
    """Denormal weights count as 0, and only they; nothing else in the process changes."""
    text = header(1, 3, 1, 1) + layer("Scale", "x", "data")
    smallest = 2.0**-126
    net = net_of(
        text, {"x": [[smallest, np.nextafter(np.float32(smallest), np.float32(0)), -1e-40]]}
    )
    assert net.layers[0].weights[0].all()
    x = np.full((1, 3, 1, 1), 2.0**100, np.float32)
    assert Session(net).run({"data": x})["x"].ravel().tolist() == [2.0**-26, 0, 0]
    assert net.layers[0].weights[0].all()
    assert np.array([1e-45], np.float32).astype(np.float64)[0] > 0


def test_inputs_are_checked() -> None:
    session = Session(net_of(header(1, 2, 6, 6) + layer("ReLU", "x", "data")))
    with pytest.raises(InputError, match=r"input data is \[1, 2, 6, 6\]; it is missing"):
        session.run({})
    with pytest.raises(InputError, match=r"it is of shape \[1, 2, 6, 5\]"):
        session.run({"data": np.zeros((1, 2, 6, 5), np.float32)})
    strided = np.zeros((1, 2, 12, 6), np.float64)[:, :, ::2]
    assert session.run({"data": strided})["x"].shape == (1, 2, 6, 6)  # type: ignore[dict-item]


def test_every_value_of_a_net_with_in_place_layers() -> None:
    text = (
        header(1, 3, 9, 7)
        + conv("conv", "data", 4, 3, "pad: 1 stride: 2", top="a")
        + layer("BatchNorm", "bn", "a", "a")
        + layer("Scale", "scale", "a", "a", "scale_param { bias_term: true }")
        + layer("PReLU", "prelu", "a", "a")
        + layer("Pooling", "pool", "a", "", "pooling_param { pool: AVE kernel_size: 3 stride: 2 }")
        + layer("InnerProduct", "fc", "pool", "", "inner_product_param { num_output: 6 }")
        + layer("Softmax", "prob", "fc")
    )
    net, weights = random_net(text)
    inputs = feed(net)
    made = every_value(net, inputs)
    assert list(made) == all_values(net)
    # Step by step: each value must follow from the engine's own value before it.
    for entry in net.layers:
        p = LayerParameter(type=entry.type, top=entry.tops)
        p.MergeFrom(entry.params)
        bottoms = [{**inputs, **made}[x] for x in entry.bottoms]
        expected = caffe_reference.run_layer(p, bottoms, weights.get(entry.name, []))
        assert error_of(expected[0], made[entry.tops[0]]) < TOLERANCE, entry.name


def test_a_real_network_equals_its_onnx_twin(shared: Path) -> None:
    """A third party's Caffe conversion of Ultra-Light-Fast against the author's ONNX."""
    folder = shared / "models/ultraface"
    net = read_net(folder / "RFB-320.prototxt", folder / "RFB-320.caffemodel")
    reference = open_session(str(folder / "version-RFB-320.onnx"))
    rng = np.random.default_rng(5)
    x = rng.normal(0, 1, (1, 3, 240, 320)).astype(np.float32)
    found = Session(net).run({"input": x})
    # The ONNX decodes its boxes; the scores it gives as they are.
    (scores,) = reference.run(["scores"], {"input": x})
    assert scores.std() > 0.01
    assert error_of(scores, found["scores"]) < 1e-4


def test_a_real_network_equals_the_slow_reference(shared: Path) -> None:
    """The RetinaFace that ran on a board, at the smallest input, in-place blobs and all."""
    folder = shared / "models/retinaface_mnet025"
    text = (folder / "mnet.prototxt").read_text().replace("640", "64")
    proto = text_format.Parse(text, NetParameter())
    stored = NetParameter.FromString((folder / "mnet.caffemodel").read_bytes())
    weights = {
        x.name: [np.array(b.data, np.float32).reshape(tuple(b.shape.dim)) for b in x.blobs]
        for x in stored.layer
    }
    net = read_net(folder / "mnet.prototxt", folder / "mnet.caffemodel")
    net.inputs = dict.fromkeys(net.inputs, (1, 3, 64, 64))
    name = next(iter(net.inputs))
    x = np.random.default_rng(1).uniform(0, 255, (1, 3, 64, 64)).astype(np.float32)
    expected = caffe_reference.run_net(proto, weights, {caffe_names(net)[name]: x})
    found = Session(net).run({name: x})
    assert len(found) == 9
    for output, array in found.items():
        assert error_of(expected[output], array) < 1e-4, output


def test_an_engine_is_chosen_by_its_name() -> None:
    net = net_of(header(1, 2) + layer("ReLU", "x", "data"))
    x = np.array([[-1, 2]], np.float32)
    made = choice.session(choice.ENGINES[0], net, ["x"])
    assert made.run({"data": x})["x"].tolist() == [[0, 2]]
    with pytest.raises(InputError, match="no engine caffe2; choose onnxruntime or pycaffe"):
        choice.session("caffe2", net)

"""The onnxruntime engine against Caffe's layers written in numpy, layer type by layer type."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest
from google.protobuf import text_format

from nnie_pipeline.caffe.caffe_pb2 import LayerParameter, NetParameter
from nnie_pipeline.caffe.files import caffe_names, read_net
from nnie_pipeline.caffe.net import Layer, Net
from nnie_pipeline.caffe.shapes import layer_shapes
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
    random_weights,
)

Shape = tuple[int, ...]
TOLERANCE = 1e-5
MAP = (1, 3, 7, 5)


def check(text: str, *bottoms: Shape, positive: bool = False, weights: bool = True) -> None:
    """One layer in the engine and in the reference, on the same random numbers."""
    p = text_format.Parse(f'name: "layer" {text}', LayerParameter())
    rng = np.random.default_rng(len(text))
    arrays = [rng.normal(0, 1.5, x).astype(np.float32) for x in bottoms]
    if positive:
        arrays = [np.abs(x) + np.float32(0.1) for x in arrays]
    names = [f"b{i}" for i in range(len(bottoms))]
    if not p.top:
        p.top.append("top")
    blobs = random_weights(p, bottoms, rng) if weights else []
    params = LayerParameter()
    params.CopyFrom(p)
    for field in ("name", "type", "top"):
        params.ClearField(field)  # type: ignore[arg-type]
    made = Layer("layer", p.type, names, list(p.top), params, blobs)
    net = Net("net", dict(zip(names, bottoms, strict=True)), [made], list(p.top))
    expected = caffe_reference.run_layer(p, arrays, blobs)
    found = Session(net).run(dict(zip(names, arrays, strict=True)))
    assert list(found) == list(p.top)
    shapes = layer_shapes(made, list(bottoms))
    for array, shape, (name, other) in zip(expected, shapes, found.items(), strict=True):
        assert array.shape == shape
        assert other.dtype == np.float32
        assert np.isfinite(array).all()
        assert error_of(array, other) < TOLERANCE, (text, name)


CASES: dict[str, list[tuple[str, tuple[Shape, ...]]]] = {
    "AbsVal": [("", (MAP,))],
    "BNLL": [("", (MAP,)), ("", ((2, 4),))],
    "BatchNorm": [
        ("", (MAP,)),
        ("batch_norm_param { eps: 0.02 use_global_stats: true }", ((2, 3, 4, 5),)),
        ("", ((3, 6),)),
    ],
    "Bias": [
        ("", (MAP,)),
        ("bias_param { axis: -3 }", (MAP,)),
        ("bias_param { num_axes: -1 }", (MAP,)),
        ("bias_param { axis: 2 num_axes: 2 }", (MAP,)),
        ("bias_param { axis: 0 }", (MAP, MAP)),
        ("", (MAP, (3,))),
        ("bias_param { axis: -1 }", (MAP, (5,))),
    ],
    "Concat": [
        ("", (MAP, (1, 4, 7, 5))),
        ("concat_param { axis: -2 }", (MAP, (1, 3, 2, 5), (1, 3, 1, 5))),
        ("concat_param { concat_dim: 3 }", (MAP, MAP)),
        ("concat_param { axis: 0 }", (MAP, MAP)),
        ("", (MAP,)),
    ],
    "Crop": [
        ("", (MAP, (1, 9, 4, 5))),
        ("crop_param { offset: 1 offset: 2 }", (MAP, (1, 9, 4, 3))),
        ("crop_param { axis: 1 offset: 1 }", (MAP, (1, 2, 4, 3))),
        ("crop_param { axis: -1 offset: 2 }", (MAP, (6, 6, 6, 3))),
    ],
    "Dropout": [("dropout_param { dropout_ratio: 0.9 }", (MAP,))],
    "ELU": [("", (MAP,)), ("elu_param { alpha: 0.3 }", (MAP,))],
    "Eltwise": [
        ("", (MAP, MAP, MAP)),
        ("eltwise_param { operation: SUM coeff: 1 coeff: -1 }", (MAP, MAP)),
        ("eltwise_param { coeff: 0.3 coeff: 0 coeff: 2.5 }", (MAP, MAP, MAP)),
        ("eltwise_param { operation: PROD }", (MAP, MAP, MAP)),
        ("eltwise_param { operation: MAX }", (MAP, MAP, MAP)),
    ],
    "Exp": [
        ("", (MAP,)),
        ("exp_param { base: 2 scale: 0.5 shift: 1 }", (MAP,)),
        ("exp_param { scale: -0.5 shift: 0.25 }", (MAP,)),
    ],
    "Flatten": [
        ("", ((2, 3, 4, 5),)),
        ("flatten_param { axis: 2 }", ((2, 3, 4, 5),)),
        ("flatten_param { axis: -3 end_axis: -2 }", ((2, 3, 4, 5),)),
    ],
    "InnerProduct": [
        ("inner_product_param { num_output: 4 }", (MAP,)),
        ("inner_product_param { num_output: 4 bias_term: false }", ((3, 6),)),
        ("inner_product_param { num_output: 4 transpose: true }", ((2, 3, 4, 5),)),
        ("inner_product_param { num_output: 4 axis: 2 }", ((2, 3, 4, 5),)),
        ("inner_product_param { num_output: 4 axis: -1 transpose: true }", ((2, 3, 4, 5),)),
    ],
    "LRN": [
        ("", ((2, 9, 3, 2),)),
        ("lrn_param { local_size: 3 alpha: 0.7 beta: 0.4 k: 2 }", ((2, 9, 3, 2),)),
    ],
    "PReLU": [
        ("", (MAP,)),
        ("prelu_param { channel_shared: true }", (MAP,)),
        ("", ((2, 6),)),
        ("", ((2, 3, 4),)),
    ],
    "Permute": [
        ("permute_param { order: 0 order: 2 order: 3 order: 1 }", (MAP,)),
        ("permute_param { order: 0 order: 3 }", (MAP,)),
        ("permute_param { order: 3 order: 2 order: 1 order: 0 }", (MAP,)),
    ],
    "Power": [
        ("", (MAP,)),
        ("power_param { scale: -2 shift: 0.5 }", (MAP,)),
        ("power_param { power: 2 shift: 0.5 }", (MAP,)),
        ("power_param { power: 3 scale: 0.7 }", (MAP,)),
        ("power_param { power: 0 shift: 1 scale: 0 }", (MAP,)),
    ],
    "RReLU": [("", (MAP,)), ("rrelu_param { lower: 0.1 upper: 0.4 }", (MAP,))],
    "ReLU": [("", (MAP,)), ("relu_param { negative_slope: 0.1 }", (MAP,)),
             ("relu_param { negative_slope: -0.5 }", (MAP,))],
    "Reshape": [
        ("reshape_param { shape { dim: 0 dim: -1 dim: 5 } }", (MAP,)),
        ("reshape_param { shape { dim: 5 dim: -1 } axis: 1 }", (MAP,)),
        ("reshape_param { shape { dim: -1 } axis: -3 num_axes: 2 }", (MAP,)),
    ],
    "Scale": [
        ("", (MAP,)),
        ("scale_param { bias_term: true }", (MAP,)),
        ("scale_param { axis: -3 bias_term: true }", (MAP,)),
        ("scale_param { num_axes: -1 bias_term: true }", (MAP,)),
        ("scale_param { axis: 2 num_axes: 1 bias_term: true }", (MAP,)),
        ("scale_param { num_axes: 0 bias_term: true }", (MAP,)),
        ("scale_param { axis: 0 }", (MAP, MAP)),
        ("", (MAP, (3,))),
        ("", (MAP, (3, 7))),
        ("scale_param { axis: 0 bias_term: true }", ((2, 3, 4, 5), (2, 3))),
        ("scale_param { axis: -1 bias_term: true }", (MAP, (5,))),
        ("scale_param { bias_term: true }", ((2, 6),)),
    ],
    "Sigmoid": [("", (MAP,))],
    "Slice": [
        ('top: "a" top: "b" slice_param { slice_point: 1 }', (MAP,)),
        ('top: "a" top: "b" top: "c"', (MAP,)),
        ('top: "a" top: "b" top: "c" slice_param { axis: -2 slice_point: 1 slice_point: 5 }',
         (MAP,)),
        ('top: "a" slice_param { slice_dim: 2 }', (MAP,)),
    ],
    "Softmax": [
        ("", (MAP,)),
        ("softmax_param { axis: -1 }", (MAP,)),
        ("softmax_param { axis: 2 }", (MAP,)),
        ("", ((2, 9),)),
    ],
    "Split": [('top: "a" top: "b" top: "c"', (MAP,))],
    "TanH": [("", (MAP,))],
    "Threshold": [("", (MAP,)), ("threshold_param { threshold: -0.4 }", (MAP,))],
    "Upsample": [
        ("", (MAP,)),
        ("upsample_param { scale: 3 }", (MAP,)),
        ("upsample_param { scale_h: 1 scale_w: 4 }", (MAP,)),
        ("upsample_param { upsample_h: 14 upsample_w: 15 }", (MAP,)),
    ],
}  # fmt: skip

WINDOWED = {"Convolution", "DepthwiseConv", "Deconvolution", "Pooling"}
POSITIVE = {"Log"}


def test_every_type_of_the_engine_is_tested() -> None:
    assert set(CASES) | WINDOWED | POSITIVE == set(to_onnx._EMITTERS)


@pytest.mark.parametrize("kind", sorted(CASES))
def test_layer(kind: str) -> None:
    for text, bottoms in CASES[kind]:
        check(f'type: "{kind}" {text}', *bottoms)


def test_log() -> None:
    check('type: "Log"', MAP, positive=True)
    check('type: "Log" log_param { base: 10 scale: 2 shift: 0.5 }', MAP, positive=True)


def test_powers_that_need_positive_numbers() -> None:
    for power in (-3, -2, -1, -0.5, 0.5, 1.7):
        check(f'type: "Power" power_param {{ power: {power} shift: 0.5 }}', MAP, positive=True)


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


@pytest.mark.parametrize("group", [1, 2, 4])
def test_convolution(group: int) -> None:
    settings = itertools.product((1, 2, 3), (1, 2), (0, 1, 2), (1, 2))
    for number, (kernel, stride, pad, dilation) in enumerate(settings):
        bias = "false" if number % 3 else "true"
        text = (
            f'type: "Convolution" convolution_param {{ num_output: 8 group: {group} '
            f"bias_term: {bias} kernel_h: {kernel} kernel_w: 3 stride_h: {stride} stride_w: 1 "
            f"pad_h: {pad} pad_w: 1 dilation: {dilation} dilation: 1 }}"
        )
        check(text, (2 if number % 2 else 1, 4, 7, 5))


def test_depthwise_convolution() -> None:
    text = 'type: "DepthwiseConv" convolution_param { num_output: %d kernel_size: 3 pad: 1 %s }'
    check(text % (4, ""), (1, 4, 7, 5))
    check(text % (4, "stride: 2 bias_term: false"), (1, 4, 7, 5))
    check(text % (8, ""), (1, 4, 7, 5))


@pytest.mark.parametrize("group", [1, 2, 4])
def test_deconvolution(group: int) -> None:
    settings = itertools.product((1, 2, 3, 4), (1, 2, 3), (0, 1), (1, 2))
    for number, (kernel, stride, pad, dilation) in enumerate(settings):
        if kernel == 1 and pad:
            continue
        bias = "false" if number % 3 else "true"
        text = (
            f'type: "Deconvolution" convolution_param {{ num_output: 8 group: {group} '
            f"bias_term: {bias} kernel_h: {kernel} kernel_w: 3 stride_h: {stride} stride_w: 2 "
            f"pad_h: {pad} pad_w: 1 dilation: {dilation} dilation: 1 }}"
        )
        check(text, (1, 4, 3, 4))


@pytest.mark.parametrize("method", ["MAX", "AVE"])
def test_pooling(method: str) -> None:
    """Odd and even sizes, windows that hang over the map, and over the padding."""
    hanging = checked = 0
    for kernel, stride, pad, size in itertools.product(
        (1, 2, 3, 4), (1, 2, 3), (0, 1, 2), range(3, 9)
    ):
        if pad >= kernel:
            continue
        text = (
            f'type: "Pooling" pooling_param {{ pool: {method} kernel_size: {kernel} '
            f"stride: {stride} pad_h: {pad} pad_w: {min(pad, 1)} }}"
        )
        starts = caffe_reference.pool_starts(size, kernel, stride, pad, pad > 0)
        columns = caffe_reference.pool_starts(7, kernel, stride, min(pad, 1), pad > 0)
        if starts[-1] >= size or columns[-1] >= 7 or size + 2 * pad - kernel <= -stride:
            continue  # Caffe cannot run it, see test_caffe_shapes
        hanging += starts[-1] + kernel > size + pad
        check(text, (1, 2, size, 7))
        checked += 1
    assert hanging > 10
    assert checked > 60


def test_pooling_in_other_spellings() -> None:
    for method in ("MAX", "AVE"):
        for text in (
            "kernel_h: 3 kernel_w: 2 stride_h: 2 stride_w: 1 pad_h: 1 pad_w: 0",
            "kernel_size: 3 stride: 2 pad: 1",
            "global_pooling: true",
        ):
            check(f'type: "Pooling" pooling_param {{ pool: {method} {text} }}', (2, 3, 8, 6))


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
        (layer("MVN", "x", "data"), "cannot run the type MVN"),
        (layer("LRN", "x", "data", "", "lrn_param { norm_region: WITHIN_CHANNEL }"),
         "within a channel"),
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
        (layer("Upsample", "x", "data data"), "un-pooling"),
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


def test_the_mask_of_a_pooling_cannot_be_had() -> None:
    net = net_of(
        header(1, 2, 6, 6)
        + layer("Pooling", "x", "data", "y mask", "pooling_param { kernel_size: 2 stride: 2 }")
    )
    assert "mask" in refusal(net)
    assert list(Session(net, ["y"]).run(feed(net))) == ["y"]


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

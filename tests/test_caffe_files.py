"""Reading and writing prototxt and caffemodel files."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from google.protobuf import text_format

from nnie_pipeline.caffe.caffe_pb2 import NetParameter
from nnie_pipeline.caffe.files import caffe_names, read_net, write_net
from nnie_pipeline.caffe.net import Net
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
    parse,
    random_net,
    save,
)

IN_PLACE = (
    header(1, 3, 6, 5)
    + conv("conv", "data", 4, top="a")
    + layer("BatchNorm", "bn", "a", "a")
    + layer("Scale", "scale", "a", "a", "scale_param { bias_term: true }")
    + layer("ReLU", "relu", "a", "a", "relu_param { negative_slope: 0.1 }")
    + conv("next", "a", 2)
    + layer("Sigmoid", "sigmoid", "next", "next")
)

READ_BETWEEN = (
    header(1, 2, 7, 7)
    + layer("Power", "shift", "data", "data", "power_param { shift: -0.2 }")
    + conv("conv", "data", 3, top="a")
    + layer("Pooling", "before", "a", "p", "pooling_param { kernel_size: 2 stride: 2 }")
    + layer("ReLU", "relu", "a", "a")
    + layer("Pooling", "middle", "a", "q", "pooling_param { kernel_size: 2 stride: 2 }")
    + layer("AbsVal", "square", "p", "p")
    + layer("Scale", "gate", "p q", "p", "scale_param { axis: 0 }")
    + layer("TanH", "tanh", "p", "p")
)


def values_by_file_name(net: Net, inputs: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    """The last state of every blob, as the file names it."""
    made = every_value(net, inputs)
    names = caffe_names(net)
    return {names[x]: made[x] for x in made}


def same_net(left: Net, right: Net) -> None:
    assert left.name == right.name
    assert list(left.inputs.items()) == list(right.inputs.items())
    assert left.outputs == right.outputs
    assert len(left.layers) == len(right.layers)
    for a, b in zip(left.layers, right.layers, strict=True):
        assert (a.name, a.type, a.bottoms, a.tops) == (b.name, b.type, b.bottoms, b.tops)
        assert a.params == b.params
        assert a.in_place == b.in_place
        assert len(a.weights) == len(b.weights)
        for x, y in zip(a.weights, b.weights, strict=True):
            assert x.dtype == y.dtype == np.float32
            np.testing.assert_array_equal(x, y, strict=True)


def written(net: Net, folder: Path) -> tuple[Path, Path]:
    folder.mkdir(exist_ok=True)
    paths = folder / "net.prototxt", folder / "net.caffemodel"
    write_net(net, *paths)
    return paths


REAL = (
    ("retinaface_mnet025/mnet", "retinaface_mnet025/mnet"),
    ("retinaface_mnet025/mnet_hand_rewritten", "retinaface_mnet025/mnet"),
    ("ultraface/RFB-320", "ultraface/RFB-320"),
    ("ultraface/slim-320", "ultraface/slim-320"),
    ("mobilefacenet/mxnet2caffe_mobilefacenet", "mobilefacenet/mxnet2caffe_mobilefacenet"),
    ("enet/bn_conv_merged_model", "enet/bn_conv_merged_weights"),
)


@pytest.mark.parametrize(("prototxt", "caffemodel"), REAL)
def test_real_networks_survive_reading_and_writing(
    shared: Path, tmp_path: Path, prototxt: str, caffemodel: str
) -> None:
    source = shared / "models" / f"{prototxt}.prototxt"
    net = read_net(source, shared / "models" / f"{caffemodel}.caffemodel")
    again = read_net(*written(net, tmp_path))
    same_net(net, again)

    # What stands in the new file is what stood in the old one, blob names in place included.
    old = text_format.Parse(source.read_text(encoding="utf-8"), NetParameter())
    new = text_format.Parse((tmp_path / "net.prototxt").read_text(), NetParameter())
    layers = [x for x in old.layer if x.type != "Input"]
    assert [(x.name, x.type, *x.bottom, *x.top) for x in layers] == [
        (x.name, x.type, *x.bottom, *x.top) for x in new.layer
    ]
    weighted = {"Convolution", "Deconvolution", "InnerProduct", "BatchNorm", "Scale", "PReLU"}
    assert all(x.weights for x in net.layers if x.type in weighted)
    assert any(x.in_place for x in net.layers) == any(
        set(x.bottom).intersection(x.top) for x in layers
    )


def test_the_weights_are_those_in_the_file(shared: Path) -> None:
    folder = shared / "models/ultraface"
    net = read_net(folder / "RFB-320.prototxt", folder / "RFB-320.caffemodel")
    proto = NetParameter.FromString((folder / "RFB-320.caffemodel").read_bytes())
    stored = {x.name: x.blobs for x in proto.layer if x.blobs}
    assert {x.name for x in net.layers if x.weights} == set(stored)
    for entry in net.layers:
        for array, blob in zip(entry.weights, stored.get(entry.name, ()), strict=True):
            assert list(array.shape) == list(blob.shape.dim)
            assert array.ravel().tolist() == list(blob.data)


@pytest.mark.parametrize("text", [IN_PLACE, READ_BETWEEN], ids=["chain", "read between"])
def test_in_place_blobs_hold_what_caffe_leaves_in_them(text: str, tmp_path: Path) -> None:
    net, weights = random_net(text)
    assert len(set(net.values())) == len(list(net.values()))
    inputs = feed(net)
    data = next(iter(inputs.values()))
    expected = caffe_reference.run_net(parse(text), weights, {"data": data})
    again = read_net(*written(net, tmp_path))
    for candidate in (net, again):
        found = values_by_file_name(candidate, inputs)
        assert set(expected) - {"data"} <= set(found)
        for blob, array in found.items():
            assert error_of(expected[blob], array) < 1e-5, blob
    assert net.outputs == again.outputs
    same_net(net, again)


def test_in_place_values_are_named_after_their_makers() -> None:
    net = net_of(IN_PLACE)
    assert [x.tops for x in net.layers] == [
        ["a@conv"], ["a@bn"], ["a@scale"], ["a"], ["next@next"], ["next"],
    ]  # fmt: skip
    assert net.outputs == ["next"]
    assert [x.in_place for x in net.layers] == [False, True, True, True, False, True]


def test_an_overwritten_input_keeps_its_place_among_the_inputs(tmp_path: Path) -> None:
    text = (
        header(1, 3, 4, 4, name="left")
        + header(1, 2, 4, 4, name="right")
        + layer("ReLU", "relu", "left", "left")
        + layer("Concat", "join", "left right")
    )
    net = net_of(text)
    assert list(net.inputs.values()) == [(1, 3, 4, 4), (1, 2, 4, 4)]
    again = read_net(written(net, tmp_path)[0])
    assert list(again.inputs) == list(net.inputs) == ["left@input", "right"]
    assert list(parse((tmp_path / "net.prototxt").read_text()).input) == ["left", "right"]


def test_a_layer_called_input_does_not_take_the_inputs_name() -> None:
    text = header(1, 1, 2, 2) + "".join(
        layer("ReLU", name, "data", "data") for name in ("input", "relu", "more")
    )
    values = list(net_of(text).values())
    assert len(values) == len(set(values)) == 4


@pytest.mark.parametrize(
    "head",
    [
        'input: "data" input_shape { dim: 1 dim: 3 dim: 8 dim: 6 }',
        'input: "data" input_dim: 1 input_dim: 3 input_dim: 8 input_dim: 6',
        'layer { name: "data" type: "Input" top: "data" '
        "input_param { shape { dim: 1 dim: 3 dim: 8 dim: 6 } } }",
    ],
    ids=["input_shape", "input_dim", "Input"],
)
def test_every_form_of_input(head: str, tmp_path: Path) -> None:
    net = net_of(head + "\n" + conv("conv", "data", 2))
    assert net.inputs == {"data": (1, 3, 8, 6)}
    assert [x.name for x in net.layers] == ["conv"]
    paths = written(net, tmp_path)
    assert read_net(paths[0]).inputs == net.inputs
    new = parse(paths[0].read_text())
    assert list(new.input) == ["data"]
    assert list(new.input_shape[0].dim) == [1, 3, 8, 6]
    assert not new.input_dim


def test_several_inputs_in_every_form() -> None:
    header_form = 'input: "a" input: "b" ' + "".join(
        f"input_dim: {x} " for x in (1, 3, 8, 6, 1, 2, 4, 4)
    )
    one_layer = (
        'layer { name: "in" type: "Input" top: "a" top: "b" input_param { '
        "shape { dim: 1 dim: 3 dim: 8 dim: 6 } shape { dim: 1 dim: 2 dim: 4 dim: 4 } } }"
    )
    for head in (header_form, one_layer):
        net = net_of(head + conv("x", "a", 2) + conv("y", "b", 2))
        assert list(net.inputs.items()) == [("a", (1, 3, 8, 6)), ("b", (1, 2, 4, 4))]
    both = 'layer { name: "in" type: "Input" top: "a" top: "b" input_param { shape { dim: 2 } } }'
    assert net_of(both + layer("ReLU", "x", "a")).inputs == {"a": (2,), "b": (2,)}


@pytest.mark.parametrize(
    ("rule", "kept"),
    [
        ("", True),
        ("include { phase: TRAIN }", False),
        ("include { phase: TEST }", True),
        ("exclude { phase: TRAIN }", True),
        ("exclude { phase: TEST }", False),
        ("include { phase: TRAIN } include { phase: TEST }", True),
        ("include { stage: 'deploy' }", False),
        ("include { not_stage: 'deploy' }", True),
        ("exclude { stage: 'deploy' }", True),
        ("include { min_level: 1 }", False),
        ("include { max_level: 0 }", True),
        ("include { max_level: -1 }", False),
        ("include { phase: TEST stage: 'deploy' }", False),
    ],
)
def test_only_layers_of_the_deployed_network_are_kept(rule: str, kept: bool) -> None:
    text = header(1, 2, 3, 3) + conv("conv", "data", 2) + layer("ReLU", "x", "conv", "", rule)
    assert ("x" in [y.name for y in net_of(text).layers]) == kept


def test_layers_of_the_training_phase_may_read_what_is_not_there() -> None:
    text = (
        header(1, 2, 3, 3)
        + conv("conv", "data", 2)
        + layer("SoftmaxWithLoss", "loss", "conv label", "", "include { phase: TRAIN }")
    )
    assert net_of(text).outputs == ["conv"]


def test_weights_in_every_form_of_blob(tmp_path: Path) -> None:
    """New shapes, the older num/channels/height/width, doubles, and a scalar (no shape)."""
    text = (
        header(1, 2, 1, 1)
        + conv("conv", "data", 3)
        + layer("PReLU", "prelu", "conv", "", "prelu_param { channel_shared: true }")
        + layer("InnerProduct", "fc", "prelu", "", "inner_product_param { num_output: 2 }")
    )
    proto = NetParameter()
    entry = proto.layer.add(name="conv")
    blob = entry.blobs.add(num=3, channels=2, height=1, width=1)
    blob.double_data.extend([0.1, 2, 3, 4, 5, 6])
    entry.blobs.add(num=1, channels=1, height=1, width=3).data.extend([1, -2, 3])
    proto.layer.add(name="prelu").blobs.add().data.append(0.25)
    entry = proto.layer.add(name="fc")
    entry.blobs.add(num=1, channels=1, height=2, width=3).data.extend([1, 0, 0, 0, 1, 0])
    entry.blobs.add(num=1, channels=1, height=1, width=2).data.extend([0.5, -0.5])
    prototxt, caffemodel = save(tmp_path, text)
    caffemodel.write_bytes(proto.SerializeToString())

    net = read_net(prototxt, caffemodel)
    assert net.layers[0].weights[0].tolist()[0][0] == [[np.float32(0.1)]]
    assert net.layers[1].weights[0].shape == ()
    x = np.array([1.0, -1.0], np.float32).reshape(1, 2, 1, 1)
    made = every_value(net, {"data": x})
    # conv: (0.1 - 2 + 1, 3 - 4 - 2, 5 - 6 + 3); prelu: negative ones times 0.25.
    np.testing.assert_allclose(made["conv"].ravel(), [-0.9, -3, 2], rtol=1e-6)
    np.testing.assert_allclose(made["prelu"].ravel(), [-0.225, -0.75, 2], rtol=1e-6)
    np.testing.assert_allclose(made["fc"].ravel(), [0.275, -1.25], rtol=1e-6)

    again = read_net(*written(net, tmp_path / "again"))
    assert again.layers[1].weights[0].shape == ()
    stored = NetParameter.FromString((tmp_path / "again/net.caffemodel").read_bytes())
    scalar = next(x for x in stored.layer if x.name == "prelu").blobs[0]
    assert list(scalar.shape.dim) == []
    assert not scalar.HasField("num")


def test_private_fields_never_reach_the_caffemodel(tmp_path: Path) -> None:
    text = (
        header(1, 2, 4, 4)
        + layer("Pooling", "pool", "data", "", "pooling_param { kernel_size: 2 ceil_mode: true }")
        + layer("Upsample", "up", "pool", "", "upsample_param { scale: 2 }")
    )
    prototxt, caffemodel = written(net_of(text), tmp_path)
    assert "ceil_mode: true" in prototxt.read_text()
    assert "scale: 2" in prototxt.read_text()
    proto = NetParameter.FromString(caffemodel.read_bytes())
    assert [x.name for x in proto.layer] == ["pool", "up"]
    assert not any(x.pooling_param.HasField("ceil_mode") for x in proto.layer)
    assert not any(x.HasField("upsample_param") for x in proto.layer)


def test_a_marked_top_is_an_output_though_it_is_read(tmp_path: Path) -> None:
    text = (
        header(1, 2, 4, 4)
        + conv("conv", "data", 2, top="a_report")
        + layer("ReLU", "relu", "a_report", "a_report")
        + conv("last", "a_report", 3)
    )
    net = net_of(text)
    assert net.outputs == ["a_report", "last"]
    assert [x.tops[0] for x in net.layers] == ["a_report@conv", "a_report", "last"]
    assert read_net(written(net, tmp_path)[0]).outputs == net.outputs


def test_a_byte_order_mark_is_no_part_of_the_text(tmp_path: Path) -> None:
    path = tmp_path / "windows.prototxt"
    path.write_text(GOOD, encoding="utf-8-sig")
    assert read_net(path).outputs == ["conv"]


def reads(tmp_path: Path, text: str | bytes, weights: bytes | None = None) -> Callable[[], Net]:
    prototxt = tmp_path / "n.prototxt"
    prototxt.write_bytes(text.encode() if isinstance(text, str) else text)
    caffemodel = None
    if weights is not None:
        caffemodel = tmp_path / "n.caffemodel"
        caffemodel.write_bytes(weights)
    return lambda: read_net(prototxt, caffemodel)


def refusal(call: Callable[[], object]) -> str:
    """The one line with which `call` ends."""
    with pytest.raises(InputError) as caught:
        call()
    message = str(caught.value)
    assert "\n" not in message
    return message


GOOD = header(1, 2, 3, 3) + conv("conv", "data", 2)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (b"\x89PNG\r\n\x1a\n\x00\xff\xfe", ["n.prototxt is not a prototxt", "byte 0"]),
        (b"layer {\x80", ["is not a prototxt", "byte 7"]),
        ("", ["holds no layer"]),
        ("name: 'x'\n", ["holds no layer"]),
        ("\n\nlayer { name: }", ["not a Caffe network", "line 3:"]),
        ("hello, world\n", ["not a Caffe network", "line 1:"]),
        (
            "layer {\n name: 'a' type: 'ReLU'\n colour: 'red'\n}",
            ["line 3: layer a: no field colour in a layer"],
        ),
        ("layer { name: 'a'", ["not a Caffe network", "line 1:"]),
        ("layers { name: 'a' type: CONVOLUTON }", ["line 1:", "did you mean CONVOLUTION"]),
        (header(1, 2, 3, 3) + conv("x", "dta", 2), ["layer x reads blob dta", "no layer before"]),
        (header(1, 2, 3, 3) + conv("x", "y", 2) + conv("y", "data", 2), ["layer x reads blob y"]),
        (GOOD + conv("more", "data", 2, top="conv"), ["blob conv twice", "more"]),
        (GOOD + layer("Scale", "s", "data conv", "conv"), ["blob conv twice", "in s"]),
        (GOOD + layer("Slice", "s", "conv", "x x"), ["blob x twice", "in s"]),
        (GOOD + layer("Eltwise", "e", "conv data", "conv"), ["layer e (Eltwise) overwrites"]),
        (GOOD + conv("more", "conv", 2, top="conv"), ["layer more (Convolution) overwrites"]),
        (conv("x", "x", 2), ["reads blob x"]),
        (layer("DummyData", "x", ""), ["has no input"]),
        ('input: "data"' + conv("conv", "data", 2), ["1 inputs but 0 input shapes"]),
        ('input: "data" input_dim: 1 input_dim: 3 ' + conv("c", "data", 2), ["2 times input_dim"]),
        (header(1, 0, 3, 3) + conv("c", "data", 2), ["input data", "[1, 0, 3, 3]"]),
        (header(1, -3, 3, 3) + conv("c", "data", 2), ["input data", "[1, -3, 3, 3]"]),
        (header(1, 3, 1 << 20, 1 << 20) + conv("c", "data", 2), ["input data", "1048576"]),
        (header(1, 2, 3, 3) + header(1, 2, 3, 3) + conv("c", "data", 2), ["input data", "twice"]),
        (
            header(1, 2, 3, 3)
            + layer("Input", "in", "", "data", "input_param { shape { dim: 1 } }")
            + conv("c", "data", 2),
            ["input data", "twice"],
        ),
        (
            layer("Input", "in", "", "a b", "input_param { shape { dim: 1 } shape { dim: 1 } "
                  "shape { dim: 1 } }") + conv("c", "a", 2),
            ["Input layer in", "2 tops but 3 shapes"],
        ),
    ],
)  # fmt: skip
def test_damaged_prototxt(tmp_path: Path, text: str | bytes, words: list[str]) -> None:
    message = refusal(reads(tmp_path, text))
    assert "n.prototxt" in message
    for word in words:
        assert word in message


def caffemodel(*blobs: tuple[tuple[int, ...], int]) -> bytes:
    proto = NetParameter()
    entry = proto.layer.add(name="conv")
    for shape, count in blobs:
        blob = entry.blobs.add()
        blob.shape.dim.extend(shape)
        blob.data.extend([1.0] * count)
    return proto.SerializeToString()


@pytest.mark.parametrize(
    ("weights", "words"),
    [
        (b"", ["holds no layer"]),
        (b"\x00\x01\x02 not protobuf", ["not a caffemodel or is truncated"]),
        (GOOD.encode(), ["not a caffemodel"]),
        (caffemodel(((2, 2, 1, 1), 4))[:-3], ["truncated"]),
        (caffemodel(((2, 2, 1, 1), 3)), ["layer conv has 3 weights", "[2, 2, 1, 1]"]),
        (caffemodel(((2, -2, -1, 1), 4)), ["layer conv", "[2, -2, -1, 1]"]),
        (caffemodel(((1 << 40, 1 << 40), 4)), ["layer conv has 4 weights"]),
    ],
)
def test_damaged_caffemodel(tmp_path: Path, weights: bytes, words: list[str]) -> None:
    message = refusal(reads(tmp_path, GOOD, weights))
    assert "n.caffemodel" in message
    for word in words:
        assert word in message


def test_a_network_without_weights_has_an_empty_caffemodel(tmp_path: Path) -> None:
    net = net_of(header(1, 2, 3, 3) + layer("ReLU", "x", "data"))
    same_net(net, read_net(*written(net, tmp_path)))


def test_two_layers_of_one_name_cannot_have_weights(tmp_path: Path) -> None:
    text = GOOD + conv("conv", "conv", 2, top="b")
    assert len(net_of(text).layers) == 2
    message = refusal(reads(tmp_path, text, caffemodel(((2, 2, 1, 1), 4))))
    assert "n.prototxt: two layers are called conv" in message


def test_real_caffemodel_cut_short(shared: Path, tmp_path: Path) -> None:
    folder = shared / "models/ultraface"
    data = (folder / "slim-320.caffemodel").read_bytes()
    short = tmp_path / "short.caffemodel"
    for end in (1, 100, len(data) // 2, len(data) - 1):
        short.write_bytes(data[:end])
        message = refusal(lambda: read_net(folder / "slim-320.prototxt", short))
        assert "short.caffemodel is not a caffemodel or is truncated" in message


def test_files_that_are_not_there(tmp_path: Path) -> None:
    assert "cannot read prototxt" in refusal(lambda: read_net(tmp_path / "none.prototxt"))
    assert "cannot read prototxt" in refusal(lambda: read_net(tmp_path))
    good = save(tmp_path, GOOD)[0]
    message = refusal(lambda: read_net(good, tmp_path / "none.caffemodel"))
    assert "cannot read caffemodel" in message
    assert "none.caffemodel" in message


def test_an_enormous_prototxt_is_not_read(tmp_path: Path) -> None:
    path = tmp_path / "huge.prototxt"
    with path.open("wb") as file:
        file.truncate((32 << 20) + 1)
    assert "larger than" in refusal(lambda: read_net(path))

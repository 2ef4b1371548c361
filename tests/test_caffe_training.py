"""A training prototxt is read as the network that is deployed."""

from __future__ import annotations

import importlib
from pathlib import Path

import numpy as np
import pytest

from nnie_pipeline.caffe.files import read_net, write_net
from nnie_pipeline.engine import pycaffe_engine
from nnie_pipeline.errors import InputError
from tests.caffe_nets import conv, every_value, header, layer, save
from tests.conftest import missing

BODY = (
    layer("Convolution", "conv", "data", "",
          "param { lr_mult: 1 decay_mult: 1 } param { lr_mult: 2 } convolution_param { "
          "num_output: 4 kernel_size: 3 weight_filler { type: 'xavier' } bias_filler {} }")
    + layer("Dropout", "drop", "conv", "conv")
    + layer("InnerProduct", "fc", "conv", "", "inner_product_param { num_output: 3 }")
)  # fmt: skip
ENDS = layer("Accuracy", "acc", "fc label", "", "accuracy_param { top_k: 1 }") + layer(
    "SoftmaxWithLoss", "loss", "fc label", "loss", "loss_weight: 0.5"
)


def data(params: str, phase: str = "", kind: str = "Data", tops: str = "data label") -> str:
    include = f"include {{ phase: {phase} }} " if phase else ""
    return layer(kind, "source", "", tops, include + params)


def weights() -> dict[str, list[np.ndarray]]:
    rng = np.random.default_rng(0)
    return {
        "conv": [rng.normal(0, 1, (4, 2, 3, 3)), rng.normal(0, 1, 4)],
        "fc": [rng.normal(0, 1, (3, 16)), rng.normal(0, 1, 3)],
    }


def test_it_computes_what_caffe_tests_with(tmp_path: Path) -> None:
    """In Caffe the Softmax beside the loss is what the loss becomes here; the data is constant."""
    if not pycaffe_engine.is_available():
        missing("pycaffe (make pycaffe)")
    caffe = importlib.import_module("caffe")
    shapes = "dummy_data_param { shape { dim: 1 dim: 2 dim: 4 dim: 4 } shape { dim: 1 } }"
    text = data(shapes, kind="DummyData") + BODY + ENDS
    prototxt, caffemodel = save(tmp_path, text + layer("Softmax", "p", "fc"), weights())
    real = caffe.Net(str(prototxt), caffe.TEST, weights=str(caffemodel))
    real.forward()
    prototxt.write_text(text)
    net = read_net(prototxt, caffemodel)
    assert list(net.inputs.items()) == [("data", (1, 2, 4, 4))]
    assert net.outputs == ["prob"]
    found = every_value(net, {"data": np.array(real.blobs["data"].data)})["prob"]
    np.testing.assert_allclose(found, real.blobs["p"].data, rtol=1e-5)


def test_the_train_val_form(tmp_path: Path) -> None:
    text = (
        data("transform_param { crop_size: 6 mirror: true } data_param { batch_size: 9 }", "TRAIN")
        + data("transform_param { crop_size: 4 mean_file: 'x' } data_param { source: 'l' }", "TEST")
        + BODY
        + ENDS
    )
    net = read_net(*save(tmp_path, text, weights()))
    assert net.inputs == {"data": (1, 2, 4, 4)}  # channels from the filters
    assert [(x.name, x.type) for x in net.layers] == [
        ("conv", "Convolution"), ("drop", "Dropout"), ("fc", "InnerProduct"), ("prob", "Softmax"),
    ]  # fmt: skip
    assert net.notes == [
        "acc (Accuracy) is gone: it is for training only",
        "loss (SoftmaxWithLoss) is now the Softmax prob",
        "source (Data) is now the input data",
    ]
    new = tmp_path / "new.prototxt"
    write_net(net, new, tmp_path / "new.caffemodel")
    for gone in ("filler", "lr_mult", "decay", "loss", "label", "phase", "transform"):
        assert gone not in new.read_text()


def test_losses_and_all_that_reads_a_label_go(tmp_path: Path) -> None:
    text = (
        header(1, 2, 4, 4)
        + header(1, 1, 1, 1, name="label")
        + data("", tops="unused more_label")
        + BODY
        + layer("Slice", "cut", "more_label", "one two")
        + layer("Silence", "quiet", "one", "q")
        + layer("Eltwise", "margin", "fc two")
        + layer("EuclideanLoss", "e", "margin label")
        + layer("SmoothL1Loss", "s", "fc label")
        + layer("CenterLoss", "c", "fc label", "c", "center_loss_param { num_output: 3 }")
        + layer("Sigmoid", "out", "fc")
    )
    net = read_net(save(tmp_path, text)[0])
    assert [x.name for x in net.layers] == ["conv", "drop", "fc", "out"]
    assert net.outputs == ["out"]


def test_a_softmax_that_is_there_is_kept_alone(tmp_path: Path) -> None:
    text = header(1, 2, 4, 4) + BODY + layer("Softmax", "p", "fc") + ENDS.replace("label", "data")
    assert read_net(save(tmp_path, text)[0]).outputs == ["p"]


@pytest.mark.parametrize(
    ("kind", "params", "shape"),
    [
        ("Data", "transform_param { crop_size: 8 force_gray: true }", (1, 1, 8, 8)),
        ("Data", "transform_param { crop_size: 8 mean_value: [1, 2, 3] }", (1, 3, 8, 8)),
        ("Data", "data_param { crop_size: 7 } transform_param { force_color: true }", (1, 3, 7, 7)),
        ("ImageData", "image_data_param { new_height: 5 new_width: 6 }", (1, 3, 5, 6)),
        ("ImageData", "image_data_param { new_height: 9 new_width: 9 is_color: false } "
         "transform_param { crop_size: 4 }", (1, 1, 4, 4)),
        ("MemoryData", "memory_data_param { batch_size: 8 channels: 4 height: 5 width: 6 }",
         (1, 4, 5, 6)),
        ("AnnotatedData", "annotated_data_param { label_map_file: 'x' } transform_param { "
         "mean_value: [1, 2, 3] resize_param { prob: 1 height: 30 width: 40 } }", (1, 3, 30, 40)),
        ("WindowData", "window_data_param { crop_size: 9 source: 'x' }", (1, 3, 9, 9)),
    ],
)  # fmt: skip
def test_what_a_data_layer_says(
    kind: str, params: str, shape: tuple[int, ...], tmp_path: Path
) -> None:
    text = data(params, "TRAIN", kind) + conv("conv", "data", 2)
    assert read_net(save(tmp_path, text)[0]).inputs == {"data": shape}


def test_a_size_stands_in_for_a_crop(tmp_path: Path) -> None:
    text = data("transform_param { mean_value: [1, 2, 3] }") + conv("conv", "data", 2)
    assert read_net(save(tmp_path, text)[0], size=(48, 64)).inputs == {"data": (1, 3, 48, 64)}


def test_channels_are_assumed_only_where_nothing_is_computed(tmp_path: Path) -> None:
    text = data("transform_param { crop_size: 4 }") + layer("Flatten", "flat", "data")
    text += layer("InnerProduct", "fc", "flat", "", "inner_product_param { num_output: 3 }")
    prototxt, caffemodel = save(tmp_path, text, weights())
    assert read_net(prototxt).inputs == {"data": (1, 3, 4, 4)}
    with pytest.raises(InputError, match="does not say in what shape"):
        read_net(prototxt, caffemodel)


@pytest.mark.parametrize("kind", ["Data", "HDF5Data", "RoiData"])
def test_an_unknown_shape_is_asked_for(kind: str, tmp_path: Path) -> None:
    text = data("", kind=kind) + BODY
    prototxt = save(tmp_path, text)[0]
    with pytest.raises(InputError) as caught:
        read_net(prototxt)
    for words in (f"source ({kind})", 'write input: "data" input_shape {'):
        assert words in str(caught.value)
    prototxt.write_text(header(1, 2, 4, 4) + text)  # what it asks for
    assert read_net(prototxt).inputs == {"data": (1, 2, 4, 4)}

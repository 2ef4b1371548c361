"""Networks in Caffe's older forms are read as Caffe itself upgrades them."""

from __future__ import annotations

import importlib
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nnie_pipeline.caffe.caffe_pb2 import V1LayerParameter
from nnie_pipeline.caffe.files import read_net, write_net
from nnie_pipeline.caffe.layer_types import KNOWN
from nnie_pipeline.caffe.shapes import _RULES
from nnie_pipeline.caffe.upgrade import _TYPES
from nnie_pipeline.chips.check import check_files
from nnie_pipeline.engine import pycaffe_engine
from nnie_pipeline.errors import InputError
from tests.caffe_nets import conv, every_value, feed, header, layer, save
from tests.conftest import missing

V1 = """
name: "old"
input: "data"
input_dim: 1 input_dim: 4 input_dim: 9 input_dim: 8
layers { name: "conv" type: CONVOLUTION bottom: "data" top: "conv" blobs_lr: 1 blobs_lr: 2
  weight_decay: 1 weight_decay: 0 convolution_param { num_output: 6 kernel_size: 3 pad: 1 group: 2
  weight_filler { type: "gaussian" std: 0.01 } } }
layers { name: "relu" type: RELU bottom: "conv" top: "conv" relu_param { negative_slope: 0.1 } }
layers { name: "norm" type: LRN bottom: "conv" top: "norm" lrn_param { local_size: 3 alpha: 0.5 } }
layers { name: "pool" type: POOLING bottom: "norm" top: "pool"
  pooling_param { pool: AVE kernel_size: 3 stride: 2 pad: 1 } }
layers { name: "parts" type: SLICE bottom: "pool" top: "left" top: "right"
  slice_param { slice_dim: 1 slice_point: 2 } }
layers { name: "join" type: CONCAT bottom: "right" bottom: "left" top: "join"
  concat_param { concat_dim: 1 } }
layers { name: "sum" type: ELTWISE bottom: "join" bottom: "pool" top: "sum"
  eltwise_param { operation: SUM coeff: 1 coeff: -0.5 } }
layers { name: "up" type: DECONVOLUTION bottom: "sum" top: "up" param: "shared_w" param: "shared_b"
  convolution_param { num_output: 3 kernel_size: 2 stride: 2 } }
layers { name: "power" type: POWER bottom: "up" top: "power" power_param { scale: 0.5 shift: 1 } }
layers { name: "drop" type: DROPOUT bottom: "power" top: "power"
  dropout_param { dropout_ratio: 0.4 } }
layers { name: "fc" type: INNER_PRODUCT bottom: "power" top: "fc"
  inner_product_param { num_output: 5 } }
layers { name: "tanh" type: TANH bottom: "fc" top: "fc" }
layers { name: "prob" type: SOFTMAX bottom: "fc" top: "prob" }
"""

V1_BLOBS = {
    "conv": [(6, 2, 3, 3), (1, 1, 1, 6)],
    "up": [(6, 3, 2, 2), (1, 1, 1, 3)],
    "fc": [(1, 1, 5, 3 * 10 * 10), (1, 1, 1, 5)],
}


def real_caffe() -> Any:
    if not pycaffe_engine.is_available():
        missing("pycaffe (make pycaffe)")
    return importlib.import_module("caffe")


def v1_weights(proto_type: Any, enum: dict[str, int]) -> bytes:
    """A caffemodel as Caffe wrote it in 2014: V1 layers, every blob with four dims."""
    rng = np.random.default_rng(1)
    proto = proto_type()
    for name, shapes in V1_BLOBS.items():
        kind = {"conv": "CONVOLUTION", "up": "DECONVOLUTION", "fc": "INNER_PRODUCT"}[name]
        entry = proto.layers.add(name=name, type=enum[kind])
        for shape in shapes:
            num, channels, height, width = shape
            blob = entry.blobs.add(num=num, channels=channels, height=height, width=width)
            blob.data.extend(rng.normal(0, 0.2, shape).ravel().tolist())
    data: bytes = proto.SerializeToString()
    return data


def v1_files(folder: Path, caffe_pb2: Any) -> tuple[Path, Path]:
    prototxt, caffemodel = folder / "old.prototxt", folder / "old.caffemodel"
    prototxt.write_text(V1, encoding="utf-8")
    enum = dict(caffe_pb2.V1LayerParameter.LayerType.items())
    caffemodel.write_bytes(v1_weights(caffe_pb2.NetParameter, enum))
    return prototxt, caffemodel


def test_a_v1_network_computes_what_caffe_makes_of_it(tmp_path: Path) -> None:
    caffe = real_caffe()
    prototxt, caffemodel = v1_files(tmp_path, importlib.import_module("caffe.proto.caffe_pb2"))
    net = read_net(prototxt, caffemodel)
    inputs = feed(net)
    ours = every_value(net, inputs)
    real = caffe.Net(str(prototxt), caffe.TEST, weights=str(caffemodel))
    real.blobs["data"].data[...] = inputs["data"]
    real.forward()
    for blob in ("norm", "pool", "left", "join", "sum", "up", "power", "fc", "prob"):
        np.testing.assert_allclose(ours[blob], real.blobs[blob].data, rtol=1e-4, atol=1e-5)
    assert net.notes == ['layers { type: ENUM } are now layer { type: "Name" }']


def test_old_blobs_get_the_axes_that_their_layers_have(tmp_path: Path) -> None:
    from nnie_pipeline.caffe import caffe_pb2

    net = read_net(*v1_files(tmp_path, caffe_pb2))
    shapes = {x.name: [y.shape for y in x.weights] for x in net.layers if x.weights}
    assert shapes == {
        "conv": [(6, 2, 3, 3), (6,)],
        "up": [(6, 3, 2, 2), (3,)],
        "fc": [(5, 300), (5,)],
    }
    new = tmp_path / "new.prototxt"
    write_net(net, new, tmp_path / "new.caffemodel")
    text = new.read_text()
    for gone in ("layers", "input_dim", "filler", "blobs_lr", "param {\n    name", "dropout_ratio"):
        assert gone not in text
    assert 'type: "Deconvolution"' in text


def test_old_types_are_numbered_and_named_as_in_caffe() -> None:
    caffe = real_caffe()
    real = importlib.import_module("caffe.proto.caffe_pb2").V1LayerParameter.LayerType
    assert dict(V1LayerParameter.LayerType.items()) == dict(real.items())
    assert set(_TYPES) == set(real.keys())
    # Two data layers need OpenCV, which a pycaffe may be built without.
    unbuilt = {"", "ImageData", "WindowData"}
    assert set(_TYPES.values()) - set(caffe.layer_type_list()) <= unbuilt


def test_every_layer_with_a_shape_rule_is_known() -> None:
    assert set(_RULES) <= KNOWN


def test_one_axis_in_front_is_no_old_axis_where_the_layer_has_it(tmp_path: Path) -> None:
    text = header(1, 3, 4, 4) + conv("conv", "data", 1, 3)
    files = save(tmp_path, text, {"conv": [np.ones((1, 3, 3, 3)), np.ones((1, 1, 1, 1))]})
    assert [x.shape for x in read_net(*files).layers[0].weights] == [(1, 3, 3, 3), (1,)]


def test_shared_weights_are_those_of_the_first_owner(tmp_path: Path) -> None:
    names = "param { name: 'w' lr_mult: 1 } param { name: 'b' }"
    text = header(1, 2, 4, 4) + "".join(
        layer("Convolution", x, "data", "", f"{names} convolution_param {{ num_output: 3 "
              "kernel_size: 1 }") for x in ("first", "second")
    )  # fmt: skip
    weights = {"first": [np.arange(6).reshape(3, 2, 1, 1), [1, 2, 3]]}
    net = read_net(*save(tmp_path, text, weights))
    for a, b in zip(net.layers[0].weights, net.layers[1].weights, strict=True):
        np.testing.assert_array_equal(a, b)
    assert len(net.layers[1].weights) == 2


def test_the_check_names_the_old_form_instead_of_refusing_it(tmp_path: Path) -> None:
    path = tmp_path / "old.prototxt"
    path.write_text(V1, encoding="utf-8")
    found = {x.id: x for x in check_files(path, None, "hi3516dv300")}
    assert found["old-layers-form"].line == 5
    assert found["old-input-dim"].severity == "error"


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ('layers { layer { name: "c" type: "relu" } bottom: "data" top: "c" }', "before 2014"),
        (V1.replace('layers { name: "relu"', 'layer { } layers { name: "relu"'), "both old"),
        (V1.replace("RELU", "RELUU"), "line 8: LayerType has no value RELUU; did you mean RELU?"),
        (V1.replace("kernel_size: 3 pad", "kernal_size: 3 pad"), "line 6: layer conv: no field "
         "kernal_size in convolution_param; did you mean kernel_size?"),
    ],
)  # fmt: skip
def test_old_forms_that_are_refused(tmp_path: Path, text: str, words: str) -> None:
    path = tmp_path / "old.prototxt"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError) as caught:
        read_net(path)
    assert words in str(caught.value)


def test_weights_of_the_oldest_form_and_hdf5_are_named(tmp_path: Path) -> None:
    prototxt, caffemodel = save(tmp_path, header(1, 2, 3, 3) + conv("conv", "data", 2), {})
    from nnie_pipeline.caffe.caffe_pb2 import NetParameter

    proto = NetParameter()
    proto.layers.add().layer.name = "conv"
    for data, words in ((proto.SerializeToString(), "before 2014"), (b"\x89HDF\r\n\x1a\n", "HDF5")):
        caffemodel.write_bytes(data)
        with pytest.raises(InputError, match=words):
            read_net(prototxt, caffemodel)


def test_private_numbers_of_a_fork_do_no_harm(tmp_path: Path) -> None:
    """Field 20001 is a message in the schema here and may be text in a fork's caffemodel."""
    prototxt, caffemodel = save(
        tmp_path, header(1, 2, 3, 3) + conv("conv", "data", 1), {"conv": [np.ones((1, 2, 1, 1))]}
    )
    from nnie_pipeline.caffe.caffe_pb2 import NetParameter

    proto = NetParameter.FromString(caffemodel.read_bytes())
    entry = proto.layer[0].SerializeToString() + bytes.fromhex("8ae2090378ff79")
    caffemodel.write_bytes(b"\xa2\x06" + bytes([len(entry)]) + entry)
    assert read_net(prototxt, caffemodel).layers[0].weights[0].shape == (1, 2, 1, 1)

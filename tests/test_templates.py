from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nnie_pipeline.caffe.caffe_pb2 import LayerParameter
from nnie_pipeline.caffe.files import read_net, write_net
from nnie_pipeline.caffe.net import Array, Layer, Net
from nnie_pipeline.caffe.shapes import infer
from nnie_pipeline.caffe.templates import render, template_names
from nnie_pipeline.caffe.windows import conv_window
from nnie_pipeline.calibration.geometry import place
from nnie_pipeline.calibration.network_input import InputSpec, to_blob
from nnie_pipeline.calibration.pictures import read_picture
from nnie_pipeline.engine.onnxruntime_engine import Session
from nnie_pipeline.errors import InputError
from nnie_pipeline.resources import data_folder
from nnie_pipeline.rewrite import merge_batch_norm
from nnie_pipeline.rewrite.run import max_difference


@dataclass(frozen=True)
class Public:
    """The public files of a template's network, under the folder of test data."""

    prototxt: str
    caffemodel: str
    photograph: str
    input: InputSpec
    size: tuple[int, int]


PUBLIC = {
    "retinaface-mnet025": Public(
        "models/retinaface_mnet025/mnet.prototxt",
        "models/retinaface_mnet025/mnet.caffemodel",
        "images/crowd/12.jpg",
        InputSpec("RGB", (0.0,) * 3, (1.0,) * 3),
        (640, 640),
    ),
    "mobilefacenet": Public(
        "models/mobilefacenet/mxnet2caffe_mobilefacenet.prototxt",
        "models/mobilefacenet/mxnet2caffe_mobilefacenet.caffemodel",
        "images/lfw112/Al_Gore_0004.jpg",
        InputSpec("RGB", (127.5,) * 3, (1 / 128,) * 3),
        (112, 112),
    ),
}
WINDOW = {"kernel_size", "kernel_h", "kernel_w", "stride", "stride_h", "stride_w", "pad", "pad_h",
          "pad_w", "dilation"}  # fmt: skip
NOT_ARITHMETIC = {"engine", "moving_average_fraction"}

both = pytest.mark.parametrize("name", sorted(PUBLIC))


def rendered(
    folder: Path, caffemodel: Path | None, name: str, size: tuple[int, int], **options: bool | int
) -> Net:
    file = folder / f"{name}.prototxt"
    file.write_text(render(name, *size, **options))
    return read_net(file, caffemodel)


def exported(shared: Path, name: str) -> Net:
    return read_net(shared / PUBLIC[name].prototxt, shared / PUBLIC[name].caffemodel)


def photograph(shared: Path, name: str, size: tuple[int, int]) -> Array:
    picture, _ = read_picture(shared / PUBLIC[name].photograph)
    return to_blob(place(picture, size, "letterbox")[0], PUBLIC[name].input)


def outputs(net: Net, blob: Array) -> dict[str, Array]:
    return Session(net).run({"data": blob})


def settings(layer: Layer) -> dict[str, Any]:
    """Every parameter with its value or Caffe's default, windows as Caffe reads them."""
    found: dict[str, Any] = {}
    for field in LayerParameter.DESCRIPTOR.fields:
        if field.name.endswith("_param"):
            message = getattr(layer.params, field.name)
            for entry in message.DESCRIPTOR.fields:
                if entry.name in NOT_ARITHMETIC:
                    continue
                if field.name == "convolution_param" and entry.name in WINDOW:
                    continue
                value = getattr(message, entry.name)
                found[f"{field.name}.{entry.name}"] = (
                    list(value) if hasattr(value, "extend") else value
                )
    if layer.type in ("Convolution", "Deconvolution"):
        found["window"] = conv_window(layer.params.convolution_param)
    return found


def graph(net: Net) -> dict[str, tuple[str, list[str], list[str], dict[str, Any]]]:
    assert len({x.name for x in net.layers}) == len(net.layers)
    return {x.name: (x.type, x.bottoms, x.tops, settings(x)) for x in net.layers}


def assert_near(left: Mapping[str, Array], right: Mapping[str, Array]) -> None:
    assert list(left) == list(right)
    for output, values in left.items():
        np.testing.assert_allclose(values, right[output], rtol=0, atol=1e-6, err_msg=output)


def test_the_folder_is_found_and_its_files_are_the_templates() -> None:
    folder = data_folder("prototxt_templates")
    files = sorted(x.name.removesuffix(".prototxt.j2") for x in folder.glob("*.prototxt.j2"))
    assert files == template_names() == sorted(PUBLIC)
    readme = (folder / "README.md").read_text()
    assert all(f"| `{x}` |" in readme for x in files)


@both
def test_same_layers_as_the_public_prototxt(tmp_path: Path, shared: Path, name: str) -> None:
    net = rendered(tmp_path, shared / PUBLIC[name].caffemodel, name, PUBLIC[name].size)
    public = exported(shared, name)
    assert graph(net) == graph(public)
    assert (net.inputs, net.outputs) == (public.inputs, public.outputs)
    for layer, like in ((x, public.find(x.name)) for x in net.layers):
        assert [x.shape for x in layer.weights] == [x.shape for x in like.weights]


@both
def test_same_outputs_as_the_public_prototxt(tmp_path: Path, shared: Path, name: str) -> None:
    net = rendered(tmp_path, shared / PUBLIC[name].caffemodel, name, PUBLIC[name].size)
    blob = photograph(shared, name, PUBLIC[name].size)
    assert_near(outputs(net, blob), outputs(exported(shared, name), blob))


@pytest.mark.parametrize("size", [(512, 768), (608, 608)])
def test_retinaface_at_other_sizes(tmp_path: Path, shared: Path, size: tuple[int, int]) -> None:
    name = "retinaface-mnet025"
    net = rendered(tmp_path, shared / PUBLIC[name].caffemodel, name, size)
    shapes = infer(net)
    for stride in (8, 16, 32):
        cells = (size[0] // stride, size[1] // stride)
        assert shapes[f"face_rpn_bbox_pred_stride{stride}"] == (1, 8, *cells)
        assert shapes[f"face_rpn_landmark_pred_stride{stride}"] == (1, 20, *cells)
        assert shapes[f"face_rpn_cls_prob_reshape_stride{stride}"] == (1, 4, *cells)
    crops = [x for x in net.layers if x.type == "Crop"]
    assert [shapes[x.bottoms[0]] == shapes[x.tops[0]] for x in crops] == [True, True]
    public = exported(shared, name)
    public.inputs = {"data": (1, 3, *size)}
    blob = photograph(shared, name, size)
    found = outputs(net, blob)
    assert_near(found, outputs(public, blob))
    faces = [x[:, 2:].max() for output, x in found.items() if "cls_prob" in output]
    assert len(faces) == 3
    assert max(faces) > 0.9


@both
def test_merged_is_the_network_that_merging_makes(tmp_path: Path, shared: Path, name: str) -> None:
    public = exported(shared, name)
    merged = public.copy()
    merge_batch_norm.apply(merged)
    caffemodel = tmp_path / "merged.caffemodel"
    write_net(merged, tmp_path / "merged.prototxt", caffemodel)
    net = rendered(tmp_path, caffemodel, name, PUBLIC[name].size, merged=True)
    assert graph(net) == graph(read_net(tmp_path / "merged.prototxt"))
    blob = photograph(shared, name, PUBLIC[name].size)
    found, before = outputs(net, blob), outputs(public, blob)
    assert_near(found, outputs(merged, blob))
    assert list(found) == list(before)
    assert max_difference([list(before.values())], [list(found.values())]) < 5e-4


@both
def test_merged_has_a_bias_in_place_of_batch_norm(tmp_path: Path, name: str) -> None:
    plain = rendered(tmp_path, None, name, PUBLIC[name].size)
    merged = rendered(tmp_path, None, name, PUBLIC[name].size, merged=True)
    gone = {"BatchNorm", "Scale"}
    assert gone <= {x.type for x in plain.layers}
    assert [x.name for x in merged.layers] == [x.name for x in plain.layers if x.type not in gone]
    convolutions = [x for x in merged.layers if x.type == "Convolution"]
    assert all(x.params.convolution_param.bias_term for x in convolutions)
    assert merged.outputs == plain.outputs
    shapes, before = infer(merged), infer(plain)
    assert all(shapes[x] == before[x] for x in merged.outputs)


@pytest.mark.parametrize("merged", [False, True])
def test_the_embedding_has_the_size_asked_for(tmp_path: Path, merged: bool) -> None:
    net = rendered(tmp_path, None, "mobilefacenet", (112, 112), embedding=256, merged=merged)
    assert infer(net)["fc1"] == (1, 256)


@pytest.mark.parametrize(
    ("name", "size", "options", "words"),
    [
        ("mobilenet", (112, 112), {}, ["'mobilenet'", "mobilefacenet and retinaface-mnet025"]),
        ("../README", (112, 112), {}, ["'../README'"]),
        ("mobilefacenet", (112, 96), {}, ["112x96", "use 112x112"]),
        ("mobilefacenet", (128, 128), {}, ["128x128", "use 112x112"]),
        ("retinaface-mnet025", (641, 640), {}, ["641x640", "use 640x640 or 672x640"]),
        ("retinaface-mnet025", (20, 650), {}, ["20x650", "32", "use 32x672"]),
        ("retinaface-mnet025", (0, 640), {}, ["height 0"]),
        ("retinaface-mnet025", (640, -32), {}, ["width -32"]),
        ("retinaface-mnet025", (640, 1 << 40), {}, ["width"]),
        ("retinaface-mnet025", (640, 640), {"embedding": 128}, ["'embedding'", "has merged"]),
        ("mobilefacenet", (112, 112), {"size": 1}, ["'size'", "merged, embedding"]),
        ("mobilefacenet", (112, 112), {"embedding": 0}, ["embedding 0"]),
        ("mobilefacenet", (112, 112), {"embedding": True}, ["embedding", "whole number"]),
        ("mobilefacenet", (112, 112), {"embedding": "1 }"}, ["embedding", "whole number"]),
        ("mobilefacenet", (112, 112), {"merged": 1}, ["merged", "true or false"]),
    ],
)
def test_what_cannot_be_rendered_is_refused_in_one_line(
    name: str, size: tuple[int, int], options: dict[str, Any], words: list[str]
) -> None:
    with pytest.raises(InputError) as caught:
        render(name, *size, **options)
    message = str(caught.value)
    assert "\n" not in message
    assert [x for x in words if x not in message] == []

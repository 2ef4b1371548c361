"""`nnie export-onnx`: the file runs in onnxruntime as it is and gives what Caffe gives."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
import onnxruntime
import pytest

from nnie_pipeline.caffe.files import caffe_names, read_net
from nnie_pipeline.engine import pycaffe_engine
from nnie_pipeline.engine.onnxruntime_engine import all_values
from tests.builds import here
from tests.caffe_nets import conv, header, layer, parse, random_weights, save
from tests.conftest import missing

NET = (
    header(1, 3, 9, 7)
    + conv("conv", "data", 4, 3, "pad: 1 stride: 2", top="a")
    + layer("BatchNorm", "bn", "a", "a")
    + layer("Scale", "scale", "a", "a", "scale_param { bias_term: true }")
    + layer("ReLU", "relu", "a", "a")
    + layer("Pooling", "pool", "a", "", "pooling_param { pool: AVE kernel_size: 3 stride: 2 }")
    + layer("Softmax", "prob", "pool")
)


@pytest.fixture
def small(tmp_path: Path) -> tuple[Path, Path]:
    rng = np.random.default_rng(3)
    shapes = {"conv": (1, 3, 9, 7), "bn": (1, 4, 5, 4), "scale": (1, 4, 5, 4)}
    protos = {x.name: x for x in parse(NET).layer}
    weights = {k: random_weights(protos[k], [v], rng) for k, v in shapes.items()}
    return save(tmp_path, NET, weights)


def test_every_layer_can_be_had_in_place_ones_too(small: tuple[Path, Path], tmp_path: Path) -> None:
    out = tmp_path / "all.onnx"
    done = here("export-onnx", *small, "--out", out, "--all-layers")
    assert done.status == 0, done
    assert done.out.splitlines()[-1] == f"next: nnie inspect {out}"
    onnx.checker.check_model(onnx.load(out), full_check=True)
    session = onnxruntime.InferenceSession(out)
    names = [x.name for x in session.get_outputs()]
    assert names == ["a@conv", "a@bn", "a@scale", "a", "pool", "prob"]
    if not pycaffe_engine.is_available():
        missing("pycaffe (make pycaffe)")
    net = read_net(*small)
    x = np.random.default_rng(0).normal(0, 1, (1, 3, 9, 7)).astype(np.float32)
    expected = pycaffe_engine.Session(net, all_values(net)).run({"data": x})
    for name, found in zip(names, session.run(None, {"data": x}), strict=True):
        np.testing.assert_allclose(found, expected[name], rtol=1e-4, atol=1e-5)
    assert expected["a@scale"].min() < 0 <= expected["a"].min()


def test_without_a_wish_only_the_outputs(small: tuple[Path, Path], tmp_path: Path) -> None:
    out = tmp_path / "net.onnx"
    assert here("export-onnx", *small, "--out", out, "--size", "12x10").status == 0
    session = onnxruntime.InferenceSession(out)
    assert [x.name for x in session.get_outputs()] == ["prob"]
    assert [(x.name, x.shape) for x in session.get_inputs()] == [("data", [1, 3, 12, 10])]


def test_mnet_at_another_size_as_pycaffe_computes_it(shared: Path, tmp_path: Path) -> None:
    if not pycaffe_engine.is_available():
        missing("pycaffe (make pycaffe)")
    folder, out = shared / "models/retinaface_mnet025", tmp_path / "mnet.onnx"
    files = (folder / "mnet.prototxt", folder / "mnet.caffemodel")
    done = here("export-onnx", *files, "--out", out, "--size", "96x160", "--all-layers")
    assert done.status == 0, done
    net = read_net(*files)
    net.inputs = dict.fromkeys(net.inputs, (1, 3, 96, 160))
    session = onnxruntime.InferenceSession(out)
    names = [x.name for x in session.get_outputs()]
    assert len(names) == len(net.layers) == 209
    assert set(names) >= set(net.outputs)
    x = np.random.default_rng(0).uniform(0, 255, (1, 3, 96, 160)).astype(np.float32)
    (name,) = net.inputs
    expected = pycaffe_engine.Session(net, names).run({name: x})
    for value, found in zip(names, session.run(None, {name: x}), strict=True):
        largest = np.abs(expected[value]).max()
        assert np.abs(found - expected[value]).max() <= 1e-4 * largest, value
    assert len(set(caffe_names(net).values())) < len(names)  # some are overwritten in Caffe


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        (("--out", "net.txt"), "ends in .onnx"),
        (("--out", "net.onnx", "--size", "1x1"), "smaller than the window"),
        (("--out", "net.onnx", "--size", "wide"), "not a size"),
    ],
)
def test_what_cannot_be_is_one_clear_line(
    small: tuple[Path, Path], tmp_path: Path, arguments: tuple[str, ...], words: str
) -> None:
    out = tmp_path / "new" / arguments[1]
    done = here("export-onnx", *small, "--out", out, *arguments[2:])
    assert done.status == 2
    assert words in done.err
    assert len(done.err.splitlines()) == 1
    assert not out.parent.exists()


def test_a_layer_that_onnx_lacks_is_named(tmp_path: Path) -> None:
    text = header(1, 3, 4, 4) + conv("c", "data", 2) + layer(
        "Custom", "mine", "c", "", "custom_param { shape { dim: 2 dim: 3 } }"
    )  # fmt: skip
    files = save(tmp_path, text, {"c": [np.ones((2, 3, 1, 1)), np.ones(2)]})
    done = here("export-onnx", *files, "--out", tmp_path / "net.onnx")
    assert done.status == 2
    assert "layer mine: the onnxruntime engine cannot run the type Custom" in done.err

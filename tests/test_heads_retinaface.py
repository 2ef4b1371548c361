"""RetinaFace's decoding against the paper's formulas, written out one anchor at a time."""

from __future__ import annotations

import functools
import itertools
import math
from typing import Any

import cv2
import numpy as np
import onnx
import onnxruntime
import pytest

from nnie_pipeline.calibration.geometry import place
from nnie_pipeline.calibration.pictures import read_picture
from nnie_pipeline.errors import InputError
from nnie_pipeline.heads.registry import head
from nnie_pipeline.heads.retinaface import RetinaFace
from nnie_pipeline.zoo.spec import load_spec
from tests.models import photographs, retinaface_onnx

SIZES = [(640, 640), (480, 640)]


def overlap(a: list[float], b: list[float]) -> float:
    width = max(0.0, min(a[2], b[2]) - max(a[0], b[0]))
    height = max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
    area = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - width * height
    return width * height / area


def written_out(
    loc: np.ndarray, conf: np.ndarray, points: np.ndarray, size: tuple[int, int]
) -> list[tuple[float, list[float], list[tuple[float, float]]]]:
    """(score, box, landmarks) of each face, best first: SSD's decoding, then greedy NMS.

    Coordinates are shares of the picture, as the network was trained, and become pixels last.
    """
    height, width = size
    found = []
    index = 0
    for stride, sides in ((8, (16, 32)), (16, (64, 128)), (32, (256, 512))):
        cells = itertools.product(
            range(math.ceil(height / stride)), range(math.ceil(width / stride))
        )
        for (row, column), side in itertools.product(cells, sides):
            score = float(conf[0, index, 1])
            if score > 0.5:
                cx, cy = (column + 0.5) * stride / width, (row + 0.5) * stride / height
                w, h = side / width, side / height
                dx, dy, dw, dh = (float(x) for x in loc[0, index])
                mx, my = cx + dx * 0.1 * w, cy + dy * 0.1 * h
                bw, bh = w * math.exp(dw * 0.2), h * math.exp(dh * 0.2)
                box = [(mx - bw / 2) * width, (my - bh / 2) * height,
                       (mx + bw / 2) * width, (my + bh / 2) * height]  # fmt: skip
                p = [float(x) for x in points[0, index]]
                marks = [
                    ((cx + p[2 * k] * 0.1 * w) * width, (cy + p[2 * k + 1] * 0.1 * h) * height)
                    for k in range(5)
                ]
                found.append((score, box, marks))
            index += 1
    assert index == loc.shape[1]
    kept: list[tuple[float, list[float], list[tuple[float, float]]]] = []
    for candidate in sorted(found, key=lambda x: -x[0]):
        if all(overlap(candidate[1], other[1]) <= 0.4 for other in kept):
            kept.append(candidate)
    return kept


@functools.cache
def canvas(name: str, size: tuple[int, int]) -> np.ndarray:
    picture, _ = read_picture(photographs()[name].path)
    return place(picture, size, "letterbox", "top-left", (104, 117, 123))[0]


@functools.cache
def outputs(name: str, size: tuple[int, int]) -> tuple[list[np.ndarray], list[np.ndarray]]:
    """What the original network gives, and its nine head convolutions."""
    model = onnx.load(str(retinaface_onnx()))
    kept = load_spec("retinaface").outputs
    model.graph.output.extend(onnx.ValueInfoProto(name=x) for x in kept)
    session = onnxruntime.InferenceSession(model.SerializeToString())
    blob = canvas(name, size).astype(np.float32) - np.array((104, 117, 123), np.float32)
    values = session.run(
        ["loc", "conf", "landmarks", *kept], {"input": blob.transpose(2, 0, 1)[np.newaxis]}
    )
    return values[:3], values[3:]


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", ["astronaut", "obama_partial_face", "solvay_conference_1927"])
def test_the_original_outputs_decode_as_the_formulas_say(name: str, size: tuple[int, int]) -> None:
    original, _ = outputs(name, size)
    expected = written_out(*original, size)
    found = RetinaFace().decode_outputs(*original, size)
    assert len(found) == len(expected) > 0
    assert found.scores == pytest.approx([x[0] for x in expected], abs=1e-6)
    assert found.boxes == pytest.approx(np.array([x[1] for x in expected]), abs=1e-3)
    assert found.landmarks == pytest.approx(np.array([x[2] for x in expected]), abs=1e-3)


@pytest.mark.parametrize("size", SIZES)
@pytest.mark.parametrize("name", ["astronaut", "solvay_conference_1927"])
def test_head_maps_give_the_same_faces_in_any_order(name: str, size: tuple[int, int]) -> None:
    original, maps = outputs(name, size)
    expected = RetinaFace().decode_outputs(*original, size)
    for order in (maps, maps[::-1], maps[4:] + maps[:4]):
        found = RetinaFace().decode_maps(order, size)
        assert found.scores == pytest.approx(expected.scores, abs=1e-5)
        assert found.boxes == pytest.approx(expected.boxes, abs=1e-3)
        assert found.landmarks == pytest.approx(expected.landmarks, abs=1e-3)


def test_single_faces_are_found_once() -> None:
    for name, picture in photographs().items():
        if picture.faces == 1:
            original, _ = outputs(name, (640, 640))
            assert len(RetinaFace().decode_outputs(*original, (640, 640))) == 1, name


def test_the_astronauts_face_lies_where_one_sees_it() -> None:
    """Read off the photograph (512 x 512): eyes, nose tip, corners of the mouth, within 8 px."""
    original, _ = outputs("astronaut", (640, 640))
    face = RetinaFace().decode_outputs(*original, (640, 640))
    seen = np.array([(203, 101), (247, 102), (224, 128), (201, 139), (244, 140)]) * 640 / 512
    assert face.landmarks[0] == pytest.approx(seen, abs=8)


def one_anchor(stride: int, row: int, column: int, kind: int) -> list[np.ndarray]:
    """Head maps of a 64x96 input that show one face: one cell's anchor, shifted and grown."""
    maps = []
    for step in (8, 16, 32):
        h, w = 64 // step, 96 // step
        box, classes, marks = (np.zeros((1, 2 * n, h, w), np.float32) for n in (4, 2, 10))
        classes[:, 0::2] = 5
        if step == stride:
            box[0, 4 * kind : 4 * kind + 4, row, column] = (1, -2, math.log(2) / 0.2, 0)
            classes[0, 2 * kind : 2 * kind + 2, row, column] = (0, math.log(3))
            marks[0, 10 * kind : 10 * kind + 10, row, column] = np.arange(10)
        maps += [box, classes, marks]
    return maps


@pytest.mark.parametrize(
    ("stride", "row", "column", "kind", "side"),
    [(8, 5, 3, 0, 16), (8, 7, 11, 1, 32), (16, 1, 4, 1, 128), (32, 1, 2, 0, 256)],
)
def test_one_known_anchor(stride: int, row: int, column: int, kind: int, side: int) -> None:
    found = RetinaFace().decode_maps(one_anchor(stride, row, column, kind), (64, 96))
    x, y = (column + 0.5) * stride, (row + 0.5) * stride
    middle_x, middle_y = x + 0.1 * side, y - 0.2 * side
    assert found.scores == pytest.approx([0.75])
    assert found.boxes == pytest.approx(
        np.array([[middle_x - side, middle_y - side / 2, middle_x + side, middle_y + side / 2]]),
        rel=1e-5,
    )
    marks = [(x + 0.1 * side * 2 * k, y + 0.1 * side * (2 * k + 1)) for k in range(5)]
    assert found.landmarks == pytest.approx(np.array([marks]), rel=1e-5)


def test_nothing_is_found_in_nothing() -> None:
    maps = one_anchor(8, 0, 0, 0)
    maps[1][:, 1::2] = -5
    found = RetinaFace().decode_maps(maps, (64, 96))
    assert (found.boxes.shape, found.scores.shape, found.landmarks.shape) == (
        (0, 4), (0,), (0, 5, 2)
    )  # fmt: skip


def test_numbers_out_of_hand_are_no_faces() -> None:
    maps = one_anchor(8, 5, 3, 0)
    maps[0][0, 2, 5, 3] = 1e6
    maps[1][0, 2, 0, 0] = -1e4
    maps[1][0, 0:2, 1, 1] = np.nan
    assert len(RetinaFace().decode_maps(maps, (64, 96))) <= 1
    assert np.isfinite(RetinaFace().decode_maps(maps, (64, 96)).boxes).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (lambda maps: maps[1:], "no box output .* for stride 8 of 64x96"),
        (lambda maps: [*maps, maps[0][:, :3]], "belong to no stride"),
        (lambda maps: [*maps, maps[0].copy()], "two outputs of the shape"),
        (lambda maps: [], "no box output"),
    ],
)
def test_other_outputs_are_refused(change: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        RetinaFace().decode_maps(change(one_anchor(8, 0, 0, 0)), (64, 96))


def test_outputs_of_another_size_are_refused() -> None:
    original, _ = outputs("astronaut", (640, 640))
    with pytest.raises(InputError, match="do not fit the 12600 anchors of 480x640"):
        RetinaFace().decode_outputs(*original, (480, 640))


def test_a_spec_names_the_head_and_its_parameters() -> None:
    spec = load_spec("retinaface")
    assert spec.head is not None
    assert head(spec.head.decoder, spec.head.parameters) == RetinaFace()
    assert head("retinaface", {"score": 0.9}) == RetinaFace(score=0.9)
    with pytest.raises(
        InputError, match="head 'palm' is not known; known: embedding, retinaface, retina"
    ):
        head("palm", {})
    with pytest.raises(InputError, match=r"head retinaface: .*speed"):
        head("retinaface", {"speed": 1})


def test_the_threshold_and_suppression_follow_the_parameters() -> None:
    original, _ = outputs("solvay_conference_1927", (640, 640))
    found = RetinaFace(score=0.9).decode_outputs(*original, (640, 640))
    assert 0 < len(found) == sum(RetinaFace().decode_outputs(*original, (640, 640)).scores > 0.9)
    every = RetinaFace(nms=1.0).decode_outputs(*original, (640, 640))
    assert len(every) > len(RetinaFace().decode_outputs(*original, (640, 640)))


def test_suppression_is_exact_on_fractions_of_a_pixel() -> None:
    """OpenCV's suppression against the plain greedy rule, on many overlapping boxes."""
    rng = np.random.default_rng(4)
    for _ in range(20):
        corners = rng.uniform(-20, 40, (60, 2))
        boxes = np.concatenate((corners, corners + rng.uniform(0.3, 30, (60, 2))), axis=1)
        scores = rng.permutation(60) / 60 + 0.001
        sides = np.concatenate((boxes[:, :2], boxes[:, 2:] - boxes[:, :2]), axis=1)
        kept: list[int] = []
        for index in np.argsort(-scores):
            if all(overlap(boxes[index], boxes[other]) <= 0.4 for other in kept):
                kept.append(int(index))
        assert cv2.dnn.NMSBoxes(sides.tolist(), scores.tolist(), 0.0, 0.4).tolist() == kept

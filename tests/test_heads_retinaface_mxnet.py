"""MXNet's RetinaFace against its published formulas, written out one anchor at a time."""

from __future__ import annotations

import math
from pathlib import Path

import cv2
import numpy as np
import pytest

from nnie_pipeline.caffe.files import read_net
from nnie_pipeline.calibration.geometry import place
from nnie_pipeline.calibration.pictures import read_picture
from nnie_pipeline.engine.onnxruntime_engine import Session
from nnie_pipeline.errors import InputError
from nnie_pipeline.heads.retinaface_mxnet import RetinaFaceMxnet
from nnie_pipeline.stages.rewrite import at_size
from nnie_pipeline.zoo.spec import load_spec
from tests.models import photographs

SCALES = {32: (32, 16), 16: (8, 4), 8: (2, 1)}
Found = list[tuple[float, list[float], list[tuple[float, float]]]]


def overlap(a: list[float], b: list[float]) -> float:
    width = max(0.0, min(a[2], b[2]) - max(a[0], b[0]))
    height = max(0.0, min(a[3], b[3]) - max(a[1], b[1]))
    area = (a[2] - a[0]) * (a[3] - a[1]) + (b[2] - b[0]) * (b[3] - b[1]) - width * height
    return width * height / area


def written_out(maps: dict[str, np.ndarray], least: float) -> Found:
    """(score, box, landmarks), best first. Anchors as corners, the way py-faster-rcnn makes them:
    the box 0, 0, 15, 15, scaled about its middle and shifted by whole strides."""
    found: Found = []
    for stride, scales in SCALES.items():
        scores, boxes, marks = (
            maps[f"face_rpn_{kind}_stride{stride}"][0]
            for kind in ("cls_prob_reshape", "bbox_pred", "landmark_pred")
        )
        for row, column, a in np.ndindex(*scores.shape[1:], 2):
            score = float(scores[2 + a, row, column])
            if score <= least:
                continue
            side = 16 * scales[a]
            x1, y1 = (7.5 - 0.5 * (side - 1) + stride * cell for cell in (column, row))
            width = (x1 + side - 1) - x1 + 1
            cx, cy = x1 + 0.5 * (width - 1), y1 + 0.5 * (width - 1)
            dx, dy, dw, dh = (float(x) for x in boxes[4 * a : 4 * a + 4, row, column])
            px, py = dx * width + cx, dy * width + cy
            pw, ph = math.exp(dw) * width, math.exp(dh) * width
            box = [px - (pw - 1) / 2, py - (ph - 1) / 2, px + (pw - 1) / 2, py + (ph - 1) / 2]
            points = marks[10 * a : 10 * a + 10, row, column].reshape(5, 2)
            found.append((score, box, [(cx + x * width, cy + y * width) for x, y in points]))
    kept: Found = []
    for one in sorted(found, key=lambda x: -x[0]):
        if all(overlap(one[1], other[1]) <= 0.4 for other in kept):
            kept.append(one)
    return kept


def outputs(
    shared: Path, picture: np.ndarray, size: tuple[int, int]
) -> tuple[dict[str, np.ndarray], tuple[str, ...]]:
    spec = load_spec("retinaface-mnet025")
    folder = shared / "models" / "retinaface_mnet025"
    net = at_size(read_net(folder / "mnet.prototxt", folder / "mnet.caffemodel"), size)
    canvas = place(picture, size, "letterbox", "top-left", (0, 0, 0))[0]
    blob = cv2.cvtColor(canvas, cv2.COLOR_BGR2RGB).transpose(2, 0, 1)[None].astype(np.float32)
    return Session(net, list(spec.outputs)).run({"data": blob}), spec.outputs


@pytest.mark.parametrize("size", [(640, 640), (480, 640)])
@pytest.mark.parametrize("name", ["astronaut", "obama"])
def test_one_face_as_written_out(shared: Path, name: str, size: tuple[int, int]) -> None:
    picture, _ = read_picture(photographs()[name].path)
    maps, order = outputs(shared, picture, size)
    found = RetinaFaceMxnet().decode_maps([maps[x] for x in order], size)
    expected = written_out(maps, 0.8)
    assert len(found) == len(expected) == 1
    np.testing.assert_allclose(found.boxes, [x[1] for x in expected], rtol=1e-9)
    np.testing.assert_allclose(found.landmarks, [x[2] for x in expected], rtol=1e-6)
    left, top, right, bottom = found.boxes[0]
    eyes, mouth = found.landmarks[0][:2], found.landmarks[0][3:]
    assert eyes[0][0] < eyes[1][0]
    assert top < eyes[:, 1].max() < mouth[:, 1].min() < bottom
    assert left < eyes[0][0] < eyes[1][0] < right


def test_many_faces_as_written_out(shared: Path) -> None:
    crowd = sorted((shared / "images" / "crowd").glob("*.jpg"))[0]
    picture, _ = read_picture(crowd)
    maps, order = outputs(shared, picture, (640, 640))
    found = RetinaFaceMxnet(score=0.5).decode_maps([maps[x] for x in reversed(order)], (640, 640))
    expected = written_out(maps, 0.5)
    assert len(found) == len(expected) > 5
    np.testing.assert_allclose(found.boxes, [x[1] for x in expected], rtol=1e-9)


def test_logits_are_what_softmax_makes_probabilities_of() -> None:
    rng = np.random.default_rng(3)
    maps = [rng.normal(0, 2, (1, 2 * n, 64 // s, 64 // s)) for n in (2, 4, 10) for s in (32, 16, 8)]
    soft = list(maps)
    for i in range(3):
        pair = np.exp(maps[i].reshape(2, -1))
        soft[i] = (pair / pair.sum(0)).reshape(maps[i].shape)
    head = RetinaFaceMxnet(logits=True, score=0.6)
    ours, theirs = (
        head.decode_maps(maps, (64, 64)),
        RetinaFaceMxnet(score=0.6).decode_maps(soft, (64, 64)),
    )
    assert len(ours) > 3
    np.testing.assert_allclose(ours.scores, theirs.scores)
    np.testing.assert_allclose(ours.boxes, theirs.boxes)


def test_a_missing_output_is_named() -> None:
    with pytest.raises(InputError, match=r"no class output \(1, 4, 2, 2\) for stride 32"):
        RetinaFaceMxnet().decode_maps([np.zeros((1, 8, 2, 2))], (64, 64))

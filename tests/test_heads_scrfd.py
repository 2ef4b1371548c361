"""SCRFD's decoding against InsightFace's formulas, written out one anchor at a time."""

from __future__ import annotations

import math

import numpy as np
import pytest

from nnie_pipeline.errors import InputError
from nnie_pipeline.heads.scrfd import SCRFD
from tests.models import kept_outputs, network_input, original_outputs
from tests.plain_decoding import Found, assert_same, best


def written_out(rows: list[np.ndarray], size: tuple[int, int]) -> list[Found]:
    """From the network's own outputs: probabilities, distances and offsets in rows."""
    found = []
    for level, stride in enumerate((8, 16, 32)):
        scores, boxes, points = (
            rows[level + 3 * k].reshape(-1, n) for k, n in enumerate((1, 4, 10))
        )
        columns = size[1] // stride
        for index, (score,) in enumerate(scores.tolist()):
            if score <= 0.5:
                continue
            x, y = index // 2 % columns * stride, index // 2 // columns * stride
            left, top, right, low = (float(v) * stride for v in boxes[index])
            marks = tuple(
                (
                    x + float(points[index, 2 * k]) * stride,
                    y + float(points[index, 2 * k + 1]) * stride,
                )
                for k in range(5)
            )
            found.append(Found(score, (x - left, y - top, x + right, y + low), marks))
        assert len(scores) == 2 * columns * (size[0] // stride)
    return best(found, 0.4)


@pytest.mark.parametrize("name", ["astronaut", "solvay_conference_1927"])
def test_the_original_outputs_decode_as_the_formulas_say(name: str) -> None:
    blob = network_input("scrfd", name, (640, 640))
    expected = written_out(original_outputs("scrfd", blob), (640, 640))
    assert expected
    assert_same(SCRFD().decode_maps(kept_outputs("scrfd", blob), (640, 640)), expected)
    whole = SCRFD(logits=False).decode_maps(original_outputs("scrfd", blob), (640, 640))
    assert_same(whole, expected)


def test_maps_of_another_size_decode_as_the_formulas_say() -> None:
    maps = kept_outputs("scrfd", network_input("scrfd", "solvay_conference_1927", (480, 640)))
    rows = []
    for array, values in zip(maps, [1] * 3 + [4] * 3 + [10] * 3, strict=True):
        _, channels, height, width = array.shape
        assert channels == 2 * values
        rows.append(
            np.array(
                [
                    [array[0, anchor * values + k, row, column] for k in range(values)]
                    for row in range(height)
                    for column in range(width)
                    for anchor in range(2)
                ]
            )
        )
    rows[:3] = [1 / (1 + np.exp(-x.astype(np.float64))) for x in rows[:3]]
    expected = written_out(rows, (480, 640))
    assert len(expected) > 10
    assert_same(SCRFD().decode_maps(maps, (480, 640)), expected)


def test_the_astronauts_face_lies_where_one_sees_it() -> None:
    """Read off the photograph (512 x 512): eyes, nose tip, corners of the mouth, within 8 px."""
    blob = network_input("scrfd", "astronaut", (640, 640))
    found = SCRFD().decode_maps(kept_outputs("scrfd", blob), (640, 640))
    seen = np.array([(203, 101), (247, 102), (224, 128), (201, 139), (244, 140)]) * 640 / 512
    assert len(found) == 1
    assert found.landmarks[0] == pytest.approx(seen, abs=8)


def one_face(landmarks: int) -> list[np.ndarray]:
    """Maps of a 64x96 input with one face: the second anchor of stride 16, row 1, column 4."""
    maps = []
    for values in (1, 4, 2 * landmarks):
        for stride in (8, 16, 32):
            array = np.zeros((1, 2 * values, 64 // stride, 96 // stride), np.float32)
            if values == 1:
                array[:] = -9
            if stride == 16:
                array[0, values:, 1, 4] = math.log(3) if values == 1 else np.arange(1, values + 1)
            maps.append(array)
    return maps[: 9 if landmarks else 6]


def test_one_known_anchor_with_and_without_landmarks() -> None:
    found = SCRFD(landmarks=2).decode_maps(one_face(2), (64, 96))
    assert found.scores == pytest.approx([0.75])
    assert found.boxes.tolist() == [[64 - 16, 16 - 32, 64 + 48, 16 + 64]]
    assert found.landmarks.tolist() == [[[64 + 16, 16 + 32], [64 + 48, 16 + 64]]]
    bare = SCRFD(landmarks=0).decode_maps(one_face(0), (64, 96))
    assert bare.boxes.tolist() == found.boxes.tolist()
    assert bare.landmarks.shape == (1, 0, 2)


def test_other_outputs_are_refused() -> None:
    with pytest.raises(InputError, match=r"9 outputs are needed .*score, box, landmark.*not 6"):
        SCRFD().decode_maps(one_face(0), (64, 96))
    with pytest.raises(InputError, match=r"score output at stride 8 should be \(1, 2, 8, 12\)"):
        SCRFD().decode_maps(one_face(5)[::-1], (64, 96))

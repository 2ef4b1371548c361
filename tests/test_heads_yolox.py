"""YOLOX's decoding against its published formulas, written out one cell at a time."""

from __future__ import annotations

import math

import numpy as np
import pytest

from nnie_pipeline.errors import InputError
from nnie_pipeline.heads.yolox import YOLOX
from tests.conftest import missing
from tests.models import kept_outputs, network_input, original_outputs
from tests.plain_decoding import Found, assert_same, best

PERSON = 0


def written_out(rows: np.ndarray, size: tuple[int, int]) -> list[Found]:
    """From the network's own output (A, 85): box, objectness and classes as probabilities."""
    found = []
    index = 0
    for stride in (8, 16, 32):
        for row in range(size[0] // stride):
            for column in range(size[1] // stride):
                x, y, w, h, objectness, *classes = rows[index].tolist()
                index += 1
                score = objectness * max(classes)
                if score <= 0.3:
                    continue
                cx, cy = (column + x) * stride, (row + y) * stride
                w, h = math.exp(w) * stride, math.exp(h) * stride
                box = (cx - w / 2, cy - h / 2, cx + w / 2, cy + h / 2)
                found.append(Found(score, box, (), classes.index(max(classes))))
    assert index == len(rows)
    return best(found, 0.45)


@pytest.mark.parametrize("picture", ["astronaut", "solvay_conference_1927", "obama_partial_face"])
def test_cut_outputs_decode_as_the_formulas_say(picture: str) -> None:
    size = (416, 416)
    blob = network_input("yolox-nano", picture, size)
    try:
        expected = written_out(original_outputs("yolox-nano", blob)[0][0], size)
    except LookupError as error:
        missing(str(error))
    assert PERSON in {x.kind for x in expected}
    assert_same(YOLOX().decode_maps(kept_outputs("yolox-nano", blob), size), expected)


def test_maps_of_another_size_decode_as_the_formulas_say() -> None:
    size = (352, 608)
    try:
        maps = kept_outputs(
            "yolox-nano", network_input("yolox-nano", "solvay_conference_1927", size)
        )
    except LookupError as error:
        missing(str(error))
    rows = []
    for level in range(3):
        box, objectness, classes = (maps[level + 3 * k][0].astype(float) for k in range(3))
        for row in range(box.shape[1]):
            for column in range(box.shape[2]):
                logits = [objectness[0, row, column], *classes[:, row, column]]
                chances = [1 / (1 + math.exp(-x)) for x in logits]
                rows.append([*box[:, row, column], *chances])
    expected = written_out(np.array(rows), size)
    assert len(expected) > 3
    assert_same(YOLOX().decode_maps(maps, size), expected)


def maps_of(classes: int, cells: dict[tuple[int, int, int], tuple[float, int]]) -> list[np.ndarray]:
    """Maps of a 64x96 input; `cells` gives (stride, row, column) a score's logit and a class."""
    maps = []
    for values in (4, 1, classes):
        for stride in (8, 16, 32):
            array = np.full((1, values, 64 // stride, 96 // stride), -20, np.float32)
            if values == 4:
                array[:] = 0
            for (step, row, column), (logit, kind) in cells.items():
                if step == stride:
                    array[0, kind if values == classes else 0, row, column] = (
                        0.5 if values == 4 else logit if values == 1 else 20
                    )
            maps.append(array)
    return maps


def test_one_known_cell() -> None:
    found = YOLOX(classes=7).decode_maps(maps_of(7, {(16, 2, 3): (math.log(3), 5)}), (64, 96))
    assert found.scores == pytest.approx([0.75])
    assert found.classes.tolist() == [5]
    x, y = (3 + 0.5) * 16, 2 * 16
    assert found.boxes == pytest.approx(np.array([[x - 8, y - 8, x + 8, y + 8]]))
    assert found.landmarks.shape == (1, 0, 2)


def test_only_boxes_of_the_same_class_suppress_each_other() -> None:
    def cells(kind: int) -> list[np.ndarray]:
        maps = maps_of(7, {(8, 2, 3): (2.0, 1), (8, 2, 4): (1.0, kind)})
        maps[0][0, 0, 2, 3:5] = (1.0, 0.0)  # both have the same centre
        return maps

    assert YOLOX(classes=7).decode_maps(cells(1), (64, 96)).classes.tolist() == [1]
    assert YOLOX(classes=7).decode_maps(cells(6), (64, 96)).classes.tolist() == [1, 6]


def test_other_outputs_are_refused() -> None:
    with pytest.raises(InputError, match=r"9 outputs .*box, objectness, class.*not 8"):
        YOLOX(classes=7).decode_maps(maps_of(7, {})[1:], (64, 96))
    with pytest.raises(InputError, match=r"class output at stride 8 should be \(1, 80, 8, 12\)"):
        YOLOX().decode_maps(maps_of(7, {}), (64, 96))

"""UltraFace's decoding against the decode that its ONNX files carry themselves."""

from __future__ import annotations

import math

import numpy as np
import onnx
import pytest
from onnx import numpy_helper

from nnie_pipeline.errors import InputError
from nnie_pipeline.heads.ultraface import UltraFace
from tests.conftest import missing
from tests.models import kept_outputs, network_file, network_input, original_outputs
from tests.plain_decoding import Found, assert_same, best

SIDES = {8: (10, 16, 24), 16: (32, 48), 32: (64, 96), 64: (128, 192, 256)}


def own_decode(outputs: list[np.ndarray], size: tuple[int, int]) -> list[Found]:
    """Probabilities and boxes in shares of the picture, as the file's last nodes give them."""
    scores, boxes = outputs
    found = []
    for (_, score), (x1, y1, x2, y2) in zip(scores[0].tolist(), boxes[0].tolist(), strict=True):
        if score > 0.7:
            box = (x1 * size[1], y1 * size[0], x2 * size[1], y2 * size[0])
            found.append(Found(score, box))
    return best(found, 0.3)


@pytest.mark.parametrize("picture", ["astronaut", "solvay_conference_1927", "grace_hopper"])
@pytest.mark.parametrize("name", ["ultraface-rfb", "ultraface-slim"])
def test_cut_outputs_decode_as_the_files_own_decode(name: str, picture: str) -> None:
    size = (240, 320)
    blob = network_input(name, picture, size)
    try:
        expected = own_decode(original_outputs(name, blob), size)
    except LookupError as error:
        missing(str(error))
    assert expected
    assert_same(UltraFace().decode_maps(kept_outputs(name, blob), size), expected)


def test_priors_are_the_files_own() -> None:
    """The file holds centres and sides of its priors as constants, in shares of the picture."""
    held = [
        numpy_helper.to_array(x.attribute[0].t)[0]
        for x in onnx.load(network_file("ultraface-rfb")).graph.node
        if x.op_type == "Constant" and list(x.attribute[0].t.dims) == [1, 4420, 2]
    ]
    sides, middles, again = held
    assert (sides == again).all()
    ours = UltraFace().priors((240, 320)) / [320, 240, 320, 240]
    assert ours == pytest.approx(np.concatenate((middles, sides), axis=1), abs=1e-6)


@pytest.mark.parametrize("size", [(360, 480), (480, 640)])
def test_other_sizes_decode_as_the_published_formulas(size: tuple[int, int]) -> None:
    maps = kept_outputs(
        "ultraface-rfb", network_input("ultraface-rfb", "solvay_conference_1927", size)
    )
    height, width = size
    found = []
    for level, (stride, sides) in enumerate(SIDES.items()):
        rows, columns = math.ceil(height / stride), math.ceil(width / stride)
        classes, boxes = maps[level].astype(float), maps[level + 4].astype(float)
        assert classes.shape == (1, 2 * len(sides), rows, columns)
        for row in range(rows):
            for column in range(columns):
                for k, side in enumerate(sides):
                    no, yes = classes[0, 2 * k : 2 * k + 2, row, column]
                    score = math.exp(yes) / (math.exp(no) + math.exp(yes))
                    if score <= 0.7:
                        continue
                    cx, cy = (column + 0.5) / columns, (row + 0.5) / rows
                    w, h = min(side / width, 1), min(side / height, 1)
                    dx, dy, dw, dh = boxes[0, 4 * k : 4 * k + 4, row, column]
                    cx, cy = cx + dx * 0.1 * w, cy + dy * 0.1 * h
                    w, h = w * math.exp(dw * 0.2), h * math.exp(dh * 0.2)
                    box = ((cx - w / 2) * width, (cy - h / 2) * height,
                           (cx + w / 2) * width, (cy + h / 2) * height)  # fmt: skip
                    found.append(Found(score, box))
    expected = best(found, 0.3)
    assert expected
    assert_same(UltraFace().decode_maps(maps, size), expected)


def test_the_astronauts_face_lies_where_one_sees_it() -> None:
    blob = network_input("ultraface-rfb", "astronaut", (240, 320))
    found = UltraFace().decode_maps(kept_outputs("ultraface-rfb", blob), (240, 320))
    assert len(found) == 1
    x1, y1, x2, y2 = found.boxes[0] * 512 / np.array([320, 240, 320, 240])
    for x, y in [(203, 101), (247, 102), (224, 128), (201, 139), (244, 140)]:
        assert x1 < x < x2
        assert y1 < y < y2
    assert found.landmarks.shape == (1, 0, 2)


def test_other_outputs_are_refused() -> None:
    blob = network_input("ultraface-rfb", "astronaut", (240, 320))
    maps = kept_outputs("ultraface-rfb", blob)
    with pytest.raises(InputError, match=r"8 outputs are needed .*not 7"):
        UltraFace().decode_maps(maps[1:], (240, 320))
    with pytest.raises(InputError, match=r"class output at stride 8 should be \(1, 6, 60, 80\)"):
        UltraFace().decode_maps(maps, (480, 640))

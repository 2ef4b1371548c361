"""Embeddings: faces of one person lie nearer than faces of two."""

from __future__ import annotations

import csv
import math
from pathlib import Path

import cv2
import numpy as np
import onnxruntime
import pytest

from nnie_pipeline.errors import InputError
from nnie_pipeline.heads.embedding import Embedding, cosine
from nnie_pipeline.heads.registry import head
from nnie_pipeline.zoo.spec import load_spec
from tests.models import network_file


def test_length_and_angle() -> None:
    left = Embedding().embed([np.array([3, 4], np.float32).reshape(1, 2, 1, 1)])
    right = Embedding().embed([np.array([[4, 3]], np.float32)])
    assert left == pytest.approx([0.6, 0.8])
    assert cosine(left, right) == pytest.approx(24 / 25)
    assert cosine(left, -left) == pytest.approx(-1)
    nothing = Embedding().embed([np.zeros((1, 2))])
    assert nothing.tolist() == [0, 0]
    assert cosine(nothing, left) == 0


def test_several_outputs_are_refused() -> None:
    with pytest.raises(InputError, match="1 output is needed, not 2"):
        Embedding().embed([np.zeros(2), np.zeros(2)])


@pytest.mark.parametrize("name", ["mobilefacenet", "mobilefacenet-relu6"])
def test_pairs_of_one_person_are_told_from_pairs_of_two(name: str, shared: Path) -> None:
    """LFW's aligned faces, prepared as the spec says."""
    spec = load_spec(name)
    assert spec.head is not None
    decoder = head(spec.head.decoder, spec.head.parameters)
    assert isinstance(decoder, Embedding)
    folder = shared / "images" / "lfw112"
    with (folder / "pairs.csv").open(newline="") as file:
        pairs = list(csv.DictReader(file))
    chosen = [[x for x in pairs if x["same"] == same][:12] for same in "10"]
    options = onnxruntime.SessionOptions()
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    # One of the networks has many weights that are as good as zero and slow to compute with.
    options.add_session_config_entry("session.set_denormal_as_zero", "1")
    session = onnxruntime.InferenceSession(network_file(name), options)

    def embed(file: str) -> np.ndarray:
        pixels = cv2.imread(str(folder / file)).astype(np.float32)
        if spec.input.colour == "RGB":
            pixels = pixels[..., ::-1]
        blob = (pixels - np.float32(spec.input.mean)) * np.float32(spec.input.scale)
        blob = np.ascontiguousarray(blob.transpose(2, 0, 1)[np.newaxis])
        maps = session.run(None, {session.get_inputs()[0].name: blob})
        vector = decoder.embed(maps)
        assert math.isclose(sum(float(x) ** 2 for x in vector), 1)
        plain = maps[0].reshape(-1).tolist()
        length = math.sqrt(sum(x * x for x in plain))
        assert vector.tolist() == pytest.approx([x / length for x in plain])
        return vector

    same, other = (
        sorted(cosine(embed(x["image_a"]), embed(x["image_b"])) for x in pairs) for pairs in chosen
    )
    assert same[1] > other[-2]

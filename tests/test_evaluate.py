"""evaluate: what is compared, what is judged, and what evaluate.json says of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nnie_pipeline.caffe.files import read_net
from nnie_pipeline.caffe.net import Net
from nnie_pipeline.calibration.pictures import PictureFile
from nnie_pipeline.calibration.sets import load_input, load_inputs, write_set
from nnie_pipeline.cli import translate
from nnie_pipeline.engine.onnxruntime_engine import Session, open_session
from nnie_pipeline.quant.ranges import Ranges
from nnie_pipeline.quant.simulate import Simulator
from nnie_pipeline.stages.convert import REFERENCE, convert_files
from nnie_pipeline.stages.dump import feeds_of, record_ranges
from nnie_pipeline.stages.evaluate import RUNS, evaluate
from nnie_pipeline.stages.probe import Probe
from nnie_pipeline.stages.verdict import verdict
from nnie_pipeline.zoo.spec import load_spec
from tests.models import network_file, photographs

PICTURES = ("solvay_conference_1927", "astronaut")


class Case:
    """A network of the zoo, converted, with calibration pictures and ranges."""

    def __init__(self, name: str, folder: Path) -> None:
        self.spec = load_spec(name)
        wanted = translate.input_spec(self.spec)
        found = [photographs()[x] for x in PICTURES]
        pictures = [PictureFile(x.path, x.name, x.licence) for x in found]
        assert self.spec.default_size is not None
        self.calibration = folder / "calibration"
        write_set(pictures, wanted, self.spec.default_size, self.calibration)
        done = convert_files(
            network_file(name), name, folder, self.spec.default_size, self.spec.outputs,
            Probe(found[-1].path, PICTURES[-1], wanted),
        )  # fmt: skip
        self.reference = folder / REFERENCE
        self.net: Net = read_net(done.prototxt, done.caffemodel)
        self.order = list(done.outputs.values())
        self.ranges: Ranges = record_ranges(
            self.net, feeds_of(self.net, load_inputs(self.calibration))
        )

    def evaluate(self, folder: Path, judged: tuple[str, ...], net: Net | None = None) -> Any:
        head = translate.head(self.spec)
        assert head is not None
        folder.mkdir()
        steps: list[tuple[int, int]] = []
        result = evaluate(
            self.reference, net or self.net, self.order, self.ranges, self.calibration, head,
            judged, folder, lambda done, total: steps.append((done, total)),
        )  # fmt: skip
        assert steps == [(1, 2), (2, 2)]
        assert json.loads((folder / "evaluate.json").read_text()) == result
        return result

    def spoilt(self, size: float) -> Net:
        """The network with another first convolution: noise of `size` times its weights' spread."""
        net = self.net.copy()
        first = next(x for x in net.layers if x.type == "Convolution")
        weights = first.weights[0]
        noise = np.random.default_rng(0).normal(0, size * weights.std(), weights.shape)
        first.weights = [(weights + noise).astype(np.float32), *first.weights[1:]]
        return net


@pytest.fixture(scope="module")
def recogniser(tmp_path_factory: pytest.TempPathFactory) -> Case:
    return Case("mobilefacenet", tmp_path_factory.mktemp("recogniser"))


@pytest.fixture(scope="module")
def detector(tmp_path_factory: pytest.TempPathFactory) -> Case:
    return Case("ultraface-rfb", tmp_path_factory.mktemp("detector"))


def plain_cosine(a: np.ndarray, b: np.ndarray) -> float:
    x, y = a.reshape(-1).astype(float), b.reshape(-1).astype(float)
    return float((x * y).sum() / np.sqrt((x * x).sum() * (y * y).sum()))


def test_embeddings_are_compared_with_the_originals(recogniser: Case, tmp_path: Path) -> None:
    found = recogniser.evaluate(tmp_path / "out", ("float",))
    assert (found["pictures"], found["bars"], found["skipped"]) == ([], [], 0)
    assert [x["name"] for x in found["embeddings"]] == list(PICTURES)
    for index, entry in enumerate(found["embeddings"]):
        blob = load_input(recogniser.calibration, index)
        session = open_session(str(recogniser.reference))
        original = session.run(None, {session.get_inputs()[0].name: blob})[0]
        feed = next(feeds_of(recogniser.net, [blob]))
        name = recogniser.order[0]
        made = {"float": Session(recogniser.net).run(feed)[name]}
        for bits in (16, 8):
            values = dict(Simulator(recogniser.net, bits, recogniser.ranges).run(feed))
            made[str(bits)] = values[name]
        expected = {run: plain_cosine(original, x) for run, x in made.items()}
        assert entry["cosines"] == pytest.approx(expected, abs=1e-6)
        assert expected["float"] > expected["16"] > expected["8"]
    assert [(x["picture"], x["run"]) for x in found["cosine_bars"]] == [
        (x, "float") for x in PICTURES
    ]
    assert found["passed"]
    assert verdict([], found).status == "ready"


def test_an_embedding_that_turned_fails_its_bar(recogniser: Case, tmp_path: Path) -> None:
    spoilt = recogniser.spoilt(0.1)
    found = recogniser.evaluate(tmp_path / "out", ("float",), spoilt)
    assert not found["passed"]
    judged = verdict([], found)
    assert judged.status == "not ready"
    cosine = found["cosine_bars"][0]["cosine"]
    assert f"embedding has a cosine of {cosine:.5f} with that of the original" in judged.reasons[0]
    assert "(limit 0.9999)" in judged.reasons[0]
    unjudged = recogniser.evaluate(tmp_path / "free", (), spoilt)
    assert unjudged["passed"]
    assert unjudged["embeddings"] == found["embeddings"]


@pytest.mark.parametrize("judged", [("float",), RUNS])
def test_only_the_named_runs_are_judged(
    detector: Case, tmp_path: Path, judged: tuple[str, ...]
) -> None:
    found = detector.evaluate(tmp_path / "out", judged)
    crowd, single = found["pictures"]
    assert (crowd["judged"], single["judged"]) == (False, True)
    assert crowd["counts"]["onnx"] > 10
    assert [(x["picture"], x["run"]) for x in found["bars"]] == [("astronaut", x) for x in judged]
    assert found["judged"] == list(judged)
    assert (found["embeddings"], found["cosine_bars"]) == ([], [])
    for picture in found["pictures"]:
        assert set(picture["differences"]) == set(RUNS)
        assert all((tmp_path / "out" / picture["drawn"][run]).stat().st_size for run in RUNS)


def test_a_detector_that_moves_fails_its_float_bar(detector: Case, tmp_path: Path) -> None:
    found = detector.evaluate(tmp_path / "out", ("float",), detector.spoilt(0.2))
    assert not found["passed"]
    assert verdict([], found).status == "not ready"


def test_retinaface_is_judged_by_every_run_and_the_others_by_float() -> None:
    for name in ("retinaface", "retinaface-pytorch"):
        head = load_spec(name).head
        assert head is not None
        assert head.judged == RUNS
    for name in ("scrfd", "ultraface-rfb", "ultraface-slim", "yolox-nano", "mobilefacenet"):
        head = load_spec(name).head
        assert head is not None
        assert head.judged == ("float",)

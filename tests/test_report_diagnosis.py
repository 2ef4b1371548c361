"""The report's own conclusions: BatchNorm that only looks broken, diagnoses, precision."""

from __future__ import annotations

import json
import math
import shutil
from pathlib import Path

import numpy as np
import pytest

from nnie_pipeline.caffe.files import read_net
from nnie_pipeline.engine.normalise import batch_norm_statistics
from nnie_pipeline.report.misleading import misleading
from nnie_pipeline.report.records import Compared, LayerDifference
from nnie_pipeline.report.runs import Run
from nnie_pipeline.report.study_records import Mixed, NetworkDrawn
from nnie_pipeline.report.texts import Texts
from tests import browser
from tests.builds import built_once, nnie
from tests.test_report import change, folder, parsed, record

__all__ = ["folder"]


@pytest.fixture(scope="module")
def unmerged(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`nnie run retinaface-mnet025 --size 640 --skip merge-batch-norm`: not to be changed."""
    weights = shared / "models" / "retinaface_mnet025" / "mnet.caffemodel"
    built = built_once(
        tmp_path_factory, "unmerged", "retinaface-mnet025", "--weights", str(weights),
        "--size", "640", "--skip", "merge-batch-norm",
    )  # fmt: skip
    assert built.ran.status == 0, built.ran
    return built.folder


def test_the_report_names_the_batch_norms_that_only_look_broken(
    unmerged: Path, tmp_path: Path
) -> None:
    text = parsed(unmerged).text
    here = text[text.index("BatchNorm layers that look broken and are not") :]
    here = here[: here.index("What the number format does")]
    layers = {x["name"]: x for x in record(unmerged, "compare/8.json")["layers"]}
    norms = [x for x in layers.values() if x["type"] == "BatchNorm"]
    assert len(norms) == 47

    # Which layers look broken: the worst dump of the network is the first BatchNorm's.
    worst = min(layers.values(), key=lambda x: x["cosine"])
    assert worst["name"] == "mobilenet0_batchnorm0"
    assert worst["cosine"] < 0.8
    assert f"worst {worst['name']} with a cosine of {worst['cosine']:.9f}"[:-5] in here
    assert "of 47 BatchNorm layers look broken" in here
    # and so it does with 16 bits, where precision cannot be the reason.
    sixteen = {x["name"]: x["cosine"] for x in record(unmerged, "compare/16.json")["layers"]}
    assert sixteen[worst["name"]] < 0.8 < min(v for k, v in sixteen.items() if k != worst["name"])
    assert "In the dump of the 16 bit run 1 of 47 BatchNorm layers look broken" in here

    # What the operation ends with is as good as the convolution.
    assert layers["mobilenet0_conv0"]["cosine"] > 0.999
    assert layers["mobilenet0_relu0"]["cosine"] > 0.999
    assert "what its operation ends with has 0.9999" in here

    # The final error is small, in pixels of what is found.
    evaluated = record(unmerged, "evaluate/evaluate.json")
    assert evaluated["passed"]
    judged = [x["differences"]["8"] for x in evaluated["pictures"] if x["judged"]]
    farthest = max(y for x in judged for y in (x["box_pixels"], x["landmark_pixels"]))
    assert f"The final error is small: on {len(judged)} judged pictures" in here
    assert f"no point moves by more than {farthest:.2f} px" in here
    assert farthest < 5

    # Why.
    assert "its Scale and its activation are one operation" in here
    assert "the dump between convolution and BatchNorm misleads" in here
    assert "--skip merge-batch-norm" in here

    # The verdict does not count them: the tile of 16 bit is good, and leads here.
    tiles = text[: text.index("Next step", text.index("Worst layer, 16 bit"))]
    best = min(v for k, v in sixteen.items() if k != worst["name"])
    shown = f"Worst layer, 16 bit {math.floor(best * 1e4) / 1e4:.4f} cosine; 0 of"
    assert shown in tiles
    assert "1 BatchNorm layers that only look broken are not counted" in tiles
    assert (unmerged / "report.html").stat().st_size < 8_000_000

    with browser.chromium(tmp_path / "profile") as tab:
        tab.resize(1300)
        tab.open((unmerged / "report.html").as_uri())
        tab.wait("document.querySelectorAll('.line.chosen').length === 1")
        tab.run("document.querySelector('#diagnosis a[data-layer=mobilenet0_batchnorm3]').click()")
        facts = tab.run("document.getElementById('drawing-facts').innerText")
        assert "mobilenet0_batchnorm3 BatchNorm" in facts
        assert "Inside an operation: on the chip this value does not exist" in facts
        operation = "mobilenet0_conv3 + mobilenet0_batchnorm3 + mobilenet0_batchnorm3_scale"
        assert operation in facts
        assert tab.problems == []


def test_the_channel_that_spoils_the_dump_is_the_one_that_scale_turns_off(unmerged: Path) -> None:
    stem = unmerged / "rewrite" / "retinaface-mnet025"
    net = read_net(stem.with_suffix(".prototxt"), stem.with_suffix(".caffemodel"))
    layers = {x.name: x for x in net.layers}
    norm, scale = layers["mobilenet0_batchnorm0"], layers["mobilenet0_batchnorm0_scale"]
    name = f"{norm.tops[0]}.npy".replace("/", "_")
    left, right = (np.load(unmerged / x / name) for x in ("dump", "simulate/8"))
    error = ((left - right).astype(np.float64) ** 2).sum(axis=(0, 2, 3))
    channel = int(error.argmax())
    found = next(
        x for x in record(unmerged, "compare/network.json")["batch_norms"]
        if x["layer"] == norm.name
    )  # fmt: skip
    assert (found["before"], found["behind"]) == ("mobilenet0_conv0", "mobilenet0_relu0")
    assert found["channel"] == channel
    assert found["share"] == pytest.approx(error[channel] / error.sum())
    assert found["share"] > 0.9
    mean, variance = batch_norm_statistics(norm)
    spread = math.sqrt(variance[channel] + norm.params.batch_norm_param.eps)
    assert found["mean"] == pytest.approx(mean[channel])
    assert found["spread"] == pytest.approx(spread)
    assert found["factor"] == pytest.approx(float(scale.weights[0].reshape(-1)[channel]))
    assert abs(found["factor"]) < 1e-3


def cosines(**values: float) -> Run:
    layers = tuple(
        LayerDifference(
            name=name, type="?", shape=(1,), cosine=value, max_abs=None, rel_euclid=None
        )
        for name, value in values.items()
    )
    return Run("8", "8 bit", "8", "run-8", Compared(layers=layers, threshold=0.99))


@pytest.mark.parametrize(
    ("conv", "norm", "end", "named"),
    [
        (0.9999, 0.75, 0.9999, True),  # the dip of a dump
        (0.9999, 0.991, 0.9999, False),  # nobody would call it broken
        (0.75, 0.75, 0.75, False),  # the convolution is bad itself
        (0.9999, 0.75, 0.75, False),  # and so is what is stored: the BatchNorm is to blame
        (0.7, 0.75, 0.9, False),
    ],
)
def test_only_a_dip_inside_an_operation_misleads(
    conv: float, norm: float, end: float, named: bool
) -> None:
    batch_norm = {
        "layer": "b", "before": "a", "behind": "c", "channels": 1, "channel": 0, "share": 1.0,
        "mean": 0.0, "spread": 1.0,
    }  # fmt: skip
    network = NetworkDrawn.model_validate(
        {"inputs": {}, "outputs": [], "layers": [], "values": {}, "batch_norms": [batch_norm]}
    )
    assert [x.layer.layer for x in misleading(network, cosines(a=conv, b=norm, c=end))] == (
        ["b"] if named else []
    )


def test_a_merged_network_has_nothing_that_misleads(folder: Path) -> None:
    text = parsed(folder).text
    assert "look broken" not in text
    assert "None was explained yet" in text
    kinds = {x["kind"] for x in record(folder, "compare/network.json")["effects"]}
    assert kinds
    for kind in kinds:
        assert f"{kind}:" in text


def test_a_diagnosis_in_the_build_is_shown(folder: Path, build_folder: Path) -> None:
    build = folder.parent / "whole"
    shutil.copytree(build_folder, build)
    ran = nnie("diagnose", build, build / "simulate" / "16", "--bits", "8", "--json", "--save")
    assert ran.status in (0, 1), ran
    found = ran.json
    assert record(build, "diagnose/16.json") == found
    (folder / "diagnose").mkdir()
    change(folder, "diagnose/diagnose.json", found)
    text = parsed(folder).text
    words = {"healthy": "is healthy", "explained": "the cause is found", "unexplained": "no cause"}
    assert words[found["state"]] in text
    if found["state"] != "healthy":
        best = found["ranked"][0]
        assert best["title"] in text
        assert best["remedy"] in text
    for name in found["unjudged"]:
        assert name in text
    (folder / "diagnose" / "diagnose.json").write_text("{}", encoding="utf-8")
    assert "diagnose/diagnose.json is not as this version writes it" in parsed(folder).text


def test_tied_causes_stand_with_the_test_that_separates_them(folder: Path) -> None:
    (folder / "diagnose").mkdir()
    ranked = [
        {"cause": x, "title": f"cause {x}", "variant": "v", "bits": 8, "distance": 0.1,
         "outputs": 0.2, "remedy": f"mend {x}", "test": f"look at {x}"}
        for x in ("one", "two", "three")
    ]  # fmt: skip
    value = {"state": "explained", "picture": "p", "tied": ["one", "two"], "ranked": ranked}
    change(folder, "diagnose/diagnose.json", value)
    text = parsed(folder).text
    assert text.count(" tie ") == 2
    assert "To tell them apart: look at one" in text
    assert "To tell them apart: look at two" in text
    assert "look at three" not in text


def test_sensitivity_and_mixed_precision_are_shown(
    folder: Path, build_folder: Path, tmp_path: Path
) -> None:
    assert "Not studied yet." in parsed(folder).text
    stem = build_folder / "rewrite" / "retinaface"
    ran = nnie(
        "mixed", stem.with_suffix(".prototxt"), stem.with_suffix(".caffemodel"),
        "--calibration", build_folder / "calibration", "--out", folder / "mixed",
        "--pictures", "1", "--target-cosine", "0.9", "--max-slowdown", "2",
    )  # fmt: skip
    assert ran.status == 0, ran
    study = record(folder, "mixed/sensitivity.json")
    mixed = Mixed.model_validate(record(folder, "mixed/mixed.json"))
    assert mixed.met
    found = parsed(folder)
    worst = max(study["layers"], key=lambda x: x["only"]["error"])
    at = found.text.index("Sensitivity 1 − cosine")
    shown = found.text[at:]
    assert worst["name"] in shown[: shown.index("layers in execution order")]
    assert f"{len(mixed.chosen.layers)} layers at 16 bit reach a cosine" in found.text
    for name in mixed.chosen.layers:
        assert name in shown[shown.index("Layers to mark _hp") :]
    kinds = [x.get("type") for tag, x in found.elements if tag == "script"]
    _, _, sensitivity, curve, *_ = [
        json.loads(x) for x, kind in zip(found.scripts, kinds, strict=True) if kind
    ]
    assert len(sensitivity["traces"][0]["x"]) == len(study["layers"])
    front, mixes, chosen = curve["traces"]
    assert front["y"] == sorted(front["y"], reverse=True)
    assert len(mixes["x"]) == len(mixed.curve)
    assert chosen["x"] == [mixed.chosen.slowdown]
    with browser.chromium(tmp_path / "profile") as tab:
        tab.open((folder / "report.html").as_uri())
        tab.wait("document.querySelectorAll('#precision .plot .main-svg').length > 1")
        bars = "document.querySelectorAll('#precision-sensitivity .bars .point').length"
        tab.wait(f"{bars} === {len(study['layers'])}")
        assert tab.problems == []


def test_the_histograms_of_the_calibration_pictures(folder: Path, build_folder: Path) -> None:
    found = record(folder, "calibration/histograms.json")
    assert found["channels"] == ["B", "G", "R"]
    raw = [np.fromfile(x, np.uint8) for x in sorted((build_folder / "calibration/raw").iterdir())]
    planes = np.stack(raw).reshape(len(raw), 3, -1)
    for number, counts in enumerate(found["counts"]):
        assert counts == np.bincount(planes[:, number].reshape(-1), minlength=256).tolist()
    text = parsed(folder).text
    mean, deviation = planes[:, 2].mean(), planes[:, 2].std()
    assert f"Histogram of channel R: mean {mean:.1f}, deviation {deviation:.1f}" in text
    # With a mean taken off the brightest pixels stay under the top level.
    assert "pixels from 246 to 255 saturate" not in text
    calibrated = record(folder, "calibration/calibration.json")
    calibrated["input"]["mean"] = [0, 0, 0]
    change(folder, "calibration/calibration.json", calibrated)
    text = parsed(folder).text
    assert "pixels from 246 to 255 saturate" in text
    assert f"level 246 to 255: {100 * (planes[:, 2] > 245).mean():.1f} %" in text


def test_pairs_and_own_pictures_are_shown(folder: Path) -> None:
    own = record(folder, "evaluate/evaluate.json")
    (folder / "evaluate" / "own").mkdir()
    change(folder, "evaluate/own/evaluate.json", own)
    eight = [x["differences"]["8"] for x in own["pictures"]]
    text = parsed(folder).text
    at = text.index("Your own pictures")
    largest = max(x["box_pixels"] for x in eight if x["box_pixels"] is not None)
    sums = [sum(x[y] for x in eight) for y in ("matched", "lost", "new")]
    assert f"8 bit {sums[0]} {sums[1]} {sums[2]} {largest:.2f}" in text[at:]
    embedded = {
        "embeddings": [{"name": "anna", "cosines": {"float": 1, "16": 0.99, "8": 0.9}}],
        "passed": True,
    }
    change(folder, "evaluate/evaluate.json", embedded)
    assert "adds the accuracy on pairs of pictures" in parsed(folder).text
    runs = {
        x: {"accuracy": y, "deviation": 0.01, "threshold": 0.25}
        for x, y in (("onnx", 0.975), ("float", 0.975), ("16", 0.97125), ("8", 0.94))
    }
    pairs = {"pairs": 1200, "folds": 10, "pictures": 800, "runs": runs}
    change(folder, "evaluate/pairs.json", pairs)
    text = parsed(folder).text
    assert "1,200 pairs of 800 pictures, 10 folds" in text
    assert "original 97.50 % 1.00 % 0.250" in text
    assert "16 bit 97.12 % 1.00 %" in text


def test_words_of_state_are_those_of_diagnose() -> None:
    sentences = Texts("en").sentences
    assert {f"diagnosis.{x}" for x in ("healthy", "explained", "unexplained")} <= set(sentences)

"""`nnie evaluate`: one's own pictures, and pairs of faces."""

from __future__ import annotations

import csv
import json
import shutil
from pathlib import Path

import numpy as np
import pytest

from nnie_pipeline.calibration.pictures import read_picture
from nnie_pipeline.stages.built import open_build
from nnie_pipeline.stages.evaluate import Runs
from tests.builds import Build, Cli, Ran, hashes, nnie

WEIGHTS = "models/mobilefacenet/mxnet2caffe_mobilefacenet.caffemodel"


@pytest.fixture(scope="module")
def recogniser(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A build of MobileFaceNet."""
    place = tmp_path_factory.mktemp("recogniser")
    ran = nnie("run", "mobilefacenet-mxnet", "--weights", shared / WEIGHTS, "--build", place)
    assert ran.status == 0, ran
    return place / "mobilefacenet-mxnet-112x112"


def some_pairs(shared: Path, folder: Path, each: int) -> Path:
    """The first `each` pairs of one person and of two."""
    with (shared / "images" / "lfw112" / "pairs.csv").open() as file:
        rows = list(csv.reader(file))
    same = [x for x in rows[1:] if x[2] == "1"][:each]
    other = [x for x in rows[1:] if x[2] == "0"][:each]
    path = folder / "pairs.csv"
    path.write_text("\n".join(",".join(x) for x in [rows[0], *same, *other]))
    return path


def test_faces_of_one_person_are_told_from_others(
    recogniser: Path, shared: Path, tmp_path: Path
) -> None:
    faces = shared / "images" / "lfw112"
    pairs = some_pairs(shared, tmp_path, 40)
    ran = nnie("evaluate", recogniser, "--pairs", pairs, "--images", faces)
    assert ran.status == 0, ran
    assert "80 pairs of" in ran.out
    found = json.loads((recogniser / "evaluate" / "pairs.json").read_text())
    runs = found["runs"]
    # The published accuracy on LFW is 99 %; these pairs are fewer and no picture is mirrored.
    assert runs["float"]["accuracy"] >= 0.95
    assert runs["float"] == pytest.approx(runs["onnx"], abs=1e-3)
    assert min(x["accuracy"] for x in runs.values()) >= 0.9
    assert (recogniser / "evaluate" / "evaluate.json").is_file()


def test_an_embedding_is_that_of_the_documented_input(recogniser: Path, shared: Path) -> None:
    """RGB, (x - 127.5) / 128, computed here by hand."""
    built = open_build(recogniser)
    runs = Runs(built.reference, built.net, built.order, built.ranges)
    picture, _ = read_picture(shared / "images" / "lfw112" / "Abdullah_Gul_0009.jpg")
    blob = (picture[:, :, ::-1].transpose(2, 0, 1)[None].astype(np.float32) - 127.5) / 128
    swapped = np.ascontiguousarray(blob[:, ::-1])
    mine, other = (runs.outputs(x, x)["float"][0].ravel() for x in (blob, swapped))
    assert (built.original.colour, set(built.original.mean)) == ("RGB", {127.5})
    assert np.linalg.norm(mine - other) > 0.1 * np.linalg.norm(mine)


@pytest.fixture
def detector(tmp_path: Path, small_build: Build) -> Path:
    return Path(shutil.copytree(small_build.folder, tmp_path / "build"))


def test_own_pictures_of_a_detector(
    detector: Path, tmp_path: Path, build_folder: Path, cli: Cli
) -> None:
    (tmp_path / "mine").mkdir()
    for picture in sorted((build_folder / "calibration" / "pictures").glob("*.bmp"))[:2]:
        shutil.copy(picture, tmp_path / "mine")
    before = hashes(detector)
    ran = cli("evaluate", detector, "--images", tmp_path / "mine", "--json")
    assert ran.status == 0, ran
    assert [Path(x["name"]).suffix for x in ran.json["pictures"]] == [".bmp"] * 2
    after = hashes(detector)
    assert {x: after[x] for x in before} == before
    made = {x for x in after if x not in before}
    assert "evaluate/own/evaluate.json" in made
    assert all(x.startswith("evaluate/own") for x in made)


@pytest.mark.parametrize(
    ("change", "words", "said"),
    [
        (None, ("--images", "nowhere"), "nowhere"),
        ("convert/spec.json", ("--images", "pics"), "no build of nnie run"),
        (None, ("--images", "pics", "--pairs", "pairs.csv"), "is no recogniser"),
        (None, ("--images", "pics", "--pairs", "no.csv"), "found nothing there"),
    ],
)
def test_bad_input_is_one_line(
    detector: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    cli: Cli,
    change: str | None,
    words: tuple[str, ...],
    said: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "pics").mkdir()
    rows = [f"a.jpg,b.jpg,{i % 2}" for i in range(20)]
    (tmp_path / "pairs.csv").write_text("\n".join(["image_a,image_b,same", *rows]))
    if change is not None:
        (detector / change).unlink()
    ran: Ran = cli("evaluate", detector, *words)
    assert ran.status == 2
    assert said in ran.error


def test_pairs_may_not_lead_out_of_their_folder(recogniser: Path, tmp_path: Path, cli: Cli) -> None:
    rows = [f"../a.jpg,b.jpg,{i % 2}" for i in range(20)]
    (tmp_path / "pairs.csv").write_text("\n".join(["image_a,image_b,same", *rows]))
    ran = cli("evaluate", recogniser, "--pairs", tmp_path / "pairs.csv", "--images", tmp_path)
    assert ran.status == 2
    assert "leads out of" in ran.error

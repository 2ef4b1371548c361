"""`nnie run`: what is up to date, what runs again, what the verdict is, and the task bars."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import subprocess
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
import pytest

from nnie_pipeline.caffe.files import read_net
from nnie_pipeline.engine.onnxruntime_engine import Session
from nnie_pipeline.quant.ranges import Ranges
from nnie_pipeline.quant.simulate import Simulator
from nnie_pipeline.stages import evaluate, steps
from nnie_pipeline.stages.run import STAGES
from tests.builds import Build, Cli, Ran, command, hashes, pictures
from tests.models import photographs, retinaface_onnx
from tests.tiny_models import two_convolutions, wide_strides

Values = npt.NDArray[np.float64]
NAMES = [x for x, _ in STAGES]
RETINAFACE = ("run", "retinaface", "--size", "128")
TINY = ("run", "tiny.onnx", "--images", "pics")


def stages_of(ran: Ran) -> list[str]:
    """The stages that a run printed as done."""
    return re.findall(r"^ ?\d+/11 (\w+)", ran.out, re.MULTILINE)


@pytest.fixture
def good(tmp_path: Path, small_build: Build, monkeypatch: pytest.MonkeyPatch) -> Path:
    """An earlier run of RETINAFACE in `tmp_path`, which is the current folder."""
    assert small_build.ran.status == 0, small_build.ran
    monkeypatch.chdir(tmp_path)
    folder = small_build.folder
    return Path(shutil.copytree(folder, tmp_path / "build" / folder.name))


@pytest.fixture
def here(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """`tiny` as the current folder; the path of its model is new, so its run is not current."""
    monkeypatch.chdir(tiny)
    return tiny


# ------------------------------------------------------------------------------- up to date


def test_a_second_run_has_nothing_to_do(good: Path, small_build: Build, cli: Cli) -> None:
    before = hashes(good)
    again = cli(*RETINAFACE)
    assert (again.status, again.err) == (small_build.ran.status, "")
    assert stages_of(again) == []
    assert "everything is up to date" in again.out
    assert hashes(good) == before
    assert "everything is up to date" not in small_build.ran.out
    assert stages_of(small_build.ran) == NAMES
    verdict = re.compile("^verdict: .*", re.MULTILINE)
    assert verdict.findall(again.out) == verdict.findall(small_build.ran.out) != []


@pytest.mark.parametrize(
    ("file", "change", "first"),
    [
        ("compare/8.json", "deleted", "compare"),
        ("report.html", "deleted", "report"),
        ("evaluate/evaluate.json", "written", "evaluate"),
        ("compare/16.json", "touched", "compare"),
        ("mapper/retinaface_inst_8bit.cfg", "written", "cfg"),
        ("compare", "deleted", "compare"),
    ],
)
def test_a_changed_result_is_made_again(
    good: Path, cli: Cli, file: str, change: str, first: str
) -> None:
    before = hashes(good)
    place = good / file
    if place.is_dir():
        shutil.rmtree(place)
    elif change == "deleted":
        place.unlink()
    elif change == "written":
        place.write_text("mine")
    else:
        os.utime(place, (0, 0))
    done = cli(*RETINAFACE)
    assert done.status == 0, done
    number = NAMES.index(first)
    assert stages_of(done) == NAMES[number:]
    assert f"stages 1 to {number} are up to date" in done.out
    after = hashes(good)
    assert set(after) == set(before)
    changed = {x for x in before if after[x] != before[x]}
    assert changed <= {".state.json", "report.html"}
    assert "everything is up to date" in cli(*RETINAFACE).out


def test_what_others_put_beside_the_results_stays(good: Path, cli: Cli) -> None:
    compiled, notes = good / "mapper" / "retinaface_inst_8bit.wk", good / "notes.txt"
    for file in (compiled, notes):
        file.write_bytes(b"mine")
    assert "everything is up to date" in cli(*RETINAFACE).out
    (good / "mapper" / "retinaface_inst_8bit.cfg").unlink()
    assert stages_of(cli(*RETINAFACE))[0] == "cfg"
    assert compiled.read_bytes() == notes.read_bytes() == b"mine"


def test_options_and_pictures_count_from_where_they_enter(here: Path, cli: Cli) -> None:
    assert stages_of(cli(*TINY)) == NAMES
    assert "everything is up to date" in cli(*TINY).out
    assert stages_of(cli(*TINY, "--chip", "hi3559v200")) == NAMES[NAMES.index("check") :]
    assert stages_of(cli(*TINY)) == NAMES[NAMES.index("check") :]
    pictures(here / "more", count=3, seed=5)
    shutil.copy(here / "more" / "2.png", here / "pics" / "2.png")
    assert stages_of(cli(*TINY)) == NAMES[NAMES.index("convert") :]
    record = json.loads((here / "build/tiny-32x32/calibration/calibration.json").read_text())
    assert [x["source"] for x in record["pictures"]] == ["0.png", "1.png", "2.png"]
    assert stages_of(cli(*TINY[:2], "--images", "more"))[0] == "convert"


def test_weights_count_by_their_content(here: Path, cli: Cli) -> None:
    assert cli(*TINY).status == 0
    os.utime(here / "tiny.onnx", (0, 0))
    assert "everything is up to date" in cli(*TINY).out
    model = (here / "tiny.onnx").read_bytes()
    two_convolutions(here / "tiny.onnx", (1, 3, 32, "w"))
    assert (here / "tiny.onnx").read_bytes() != model
    assert stages_of(cli(*TINY, "--size", "32")) == NAMES


def test_weights_beside_the_model_count_as_well(here: Path, cli: Cli) -> None:
    onnx.save(
        onnx.load(here / "tiny.onnx"), here / "tiny.onnx", save_as_external_data=True,
        location="numbers.bin", size_threshold=0,
    )  # fmt: skip
    assert stages_of(cli(*TINY)) == NAMES
    assert "everything is up to date" in cli(*TINY).out
    values = np.fromfile(here / "numbers.bin", np.float32)
    (values * 2).tofile(here / "numbers.bin")
    assert stages_of(cli(*TINY)) == NAMES
    (here / "numbers.bin").unlink()
    before = hashes(here)
    gone = cli(*TINY)
    assert gone.status == 2
    assert "numbers.bin" in gone.error
    assert hashes(here) == before


def test_a_first_run_that_was_killed_is_continued(here: Path, cli: Cli) -> None:
    place = here / "build" / "tiny-32x32"
    shutil.rmtree(place)
    kill(here, " cfg ")
    left = [x.name for x in place.iterdir() if x.name.startswith(".tmp.")]
    done = cli(*TINY)
    assert done.status == 0
    assert stages_of(done) in [NAMES[x:] for x in range(6, 9)], left
    assert not list(place.glob(".tmp.*"))


def test_what_a_killed_run_changed_is_put_back(here: Path, cli: Cli) -> None:
    place = here / "build" / "tiny-32x32"
    assert cli(*TINY).status == 0
    before = hashes(place)
    kill(here, " calibrate ", "--chip", "hi3559v200")
    assert (place / ".earlier").is_dir()
    assert "everything is up to date" in cli(*TINY).out
    assert hashes(place) == before


def kill(folder: Path, line: str, *more: str) -> None:
    """Kill a run of TINY when it prints `line`."""
    with subprocess.Popen(
        command(*TINY, *more),
        cwd=folder,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        text=True,
    ) as running:
        assert running.stdout is not None
        assert any(line in x for x in running.stdout)
        running.send_signal(signal.SIGKILL)
    assert running.returncode == -signal.SIGKILL


# ------------------------------------------------------------------------------- models


@pytest.mark.parametrize(
    ("shape", "size", "said"),
    [
        ((1, 3, 48, 64), "48x64", ", as its file says"),
        (("n", 3, 48, "w"), "48x640", " (dynamic axes fixed: N=1, W=640)"),
    ],
)
def test_a_bare_model_says_its_own_size(
    here: Path, cli: Cli, shape: tuple[Any, ...], size: str, said: str
) -> None:
    model = two_convolutions(here / "My Net.onnx", shape)
    done = cli("run", model, "--images", "pics")
    assert (done.status, done.err) == (0, "")
    assert [x for x in done.out.splitlines() if "no size given" in x] == [
        f"no size given: My_Net takes {size}{said}"
    ]
    assert (here / "build" / f"My_Net-{size}" / "report.html").exists()
    given = cli("run", model, "--images", "pics", "--size", size)
    assert "everything is up to date" in given.out
    assert "no size given" not in given.out


def test_a_spec_of_one_s_own(here: Path, cli: Cli) -> None:
    (here / "specs").mkdir()
    shutil.move(here / "tiny.onnx", here / "specs")
    sha256 = hashes(here)["specs/tiny.onnx"]
    (here / "specs" / "mine.yaml").write_text(
        f"name: mine\nlicence: MIT\noutputs: [middle]\n"
        f"source: {{kind: file, path: tiny.onnx, sha256: '{sha256}'}}\n"
        "input: {colour: RGB, mean: [1, 2, 3], scale: 0.5, geometry: stretch}\n"
    )
    done = cli("run", "specs/mine.yaml", "--images", "pics")
    assert (done.status, done.err) == (0, "")
    place = here / "build" / "mine-32x32"
    record = json.loads((place / "convert" / "convert.json").read_text())
    assert [x["onnx"] for x in record["outputs"]] == ["middle"]
    assert (place / "calibration" / "mean.txt").read_text().split() == ["1.0", "2.0", "3.0"]
    cfg = (place / "mapper" / "mine_inst_8bit.cfg").read_text()
    assert re.search(r"^\[RGB_order\] RGB$", cfg, re.MULTILINE)


def test_the_user_s_own_file_of_a_model_in_the_zoo(here: Path, cli: Cli) -> None:
    own = shutil.copy(retinaface_onnx(), here / "downloaded.bin")
    done = cli("run", "retinaface", "--size", "64", "--weights", own, "--images", "pics")
    assert (done.status, done.err) == (0, "")
    assert "downloaded.bin" in done.out


# ------------------------------------------------------------------------------- verdict


def test_a_broken_rule_ends_with_1_and_a_report(here: Path, cli: Cli) -> None:
    wide_strides(here / "wide.onnx")
    words = ("run", "wide.onnx", "--images", "pics")
    for done in (cli(*words), cli(*words)):
        assert done.status == 1
        assert "wide is not ready for the board" in done.error
        assert "verdict: not ready" in done.out
        assert "window-stride" in done.out
    assert stages_of(done) == []
    place = here / "build" / "wide-320x320"
    assert (place / "report.html").stat().st_size > 1000
    assert (place / "mapper" / "wide_inst_8bit.cfg").exists()


def test_a_missed_bar_ends_with_1_and_a_report(
    good: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    """8 bit moves faces by more than nothing."""
    monkeypatch.setattr(evaluate, "BARS", (evaluate.Bar("8", "float", 0.0),))
    (good / "evaluate" / "evaluate.json").unlink()
    done = cli(*RETINAFACE)
    assert done.status == 1
    assert "verdict: not ready" in done.out
    assert re.search(r"obama: the 8-bit simulation moves a point by \d", done.out)
    assert stages_of(done) == NAMES[NAMES.index("evaluate") :]
    assert (good / "report.html").exists()


def test_low_cosines_alone_do_not_decide(small_build: Build) -> None:
    compared = json.loads((small_build.folder / "compare" / "8.json").read_text())
    assert min(x["cosine"] for x in compared["layers"]) < 0.99
    assert small_build.ran.status == 0


def test_every_stage_has_a_step() -> None:
    assert list(steps.STEPS) == NAMES


# ------------------------------------------------------------------------------- task bars


def anchors(size: int) -> Values:
    """(A, 3): centre x, centre y, side, as the public PyTorch implementation makes them."""
    rows = []
    for stride, sides in ((8, (16, 32)), (16, (64, 128)), (32, (256, 512))):
        for y in range(size // stride):
            for x in range(size // stride):
                rows += [((x + 0.5) * stride, (y + 0.5) * stride, side) for side in sides]
    return np.array(rows)


def faces(loc: Values, scores: Values, points: Values, size: int) -> list[Values]:
    """The 14 coordinates (box corners, five landmarks) of each face, best first."""
    found: list[Values] = []
    centres, sides = anchors(size)[:, :2], anchors(size)[:, 2:]
    middle = centres + 0.1 * sides * loc[:, :2]
    half = sides * np.exp(0.2 * loc[:, 2:]) / 2
    marks = (centres[:, None] + 0.1 * sides[:, None] * points.reshape(-1, 5, 2)).reshape(-1, 10)
    all_faces = np.concatenate([middle - half, middle + half, marks], axis=1)
    for number in np.argsort(-scores):
        if scores[number] <= 0.5:
            break
        if all(overlap(all_faces[number], x) <= 0.4 for x in found):
            found.append(all_faces[number])
    return found


def overlap(a: Values, b: Values) -> float:
    """Intersection over union of two boxes."""
    sides = np.clip(np.minimum(a[2:4], b[2:4]) - np.maximum(a[:2], b[:2]), 0, None)
    shared = float(sides.prod())
    areas = [float((x[2:4] - x[:2]).prod()) for x in (a, b)]
    return shared / (sum(areas) - shared)


def decoded(maps: list[npt.NDArray[np.float32]], size: int) -> list[Values]:
    """Faces out of nine maps: boxes, classes and landmarks at strides 8, 16 and 32."""
    parts = []
    for start, values in ((0, 4), (3, 2), (6, 10)):
        rows = [
            x.astype(np.float64).reshape(2, values, -1).transpose(2, 0, 1).reshape(-1, values)
            for x in maps[start : start + 3]
        ]
        parts.append(np.concatenate(rows))
    boxes, classes, points = parts
    odds = np.exp(classes)
    return faces(boxes, odds[:, 1] / odds.sum(axis=1), points, size)


def test_the_task_bars_hold_at_640(large_build: Build) -> None:
    """Worked out again from the build's networks, ranges and raw pictures."""
    assert large_build.ran.status == 0, large_build.ran
    folder = large_build.folder
    names = json.loads((folder / "rewrite" / "rewrite.json").read_text())["names"]
    outputs = json.loads((folder / "convert" / "convert.json").read_text())["outputs"]
    order = [names.get(x["caffe"], x["caffe"]) for x in outputs]
    net = read_net(*(folder / "rewrite" / f"retinaface.{x}" for x in ("prototxt", "caffemodel")))
    ranges = Ranges.from_json(json.loads((folder / "simulate" / "ranges.json").read_text()), "")
    original = onnxruntime.InferenceSession(retinaface_onnx())
    float_net = Session(net, order)
    simulators = {bits: Simulator(net, bits, ranges) for bits in (16, 8)}
    record = json.loads((folder / "calibration" / "calibration.json").read_text())
    said = json.loads((folder / "evaluate" / "evaluate.json").read_text())
    judged = set()
    for picture in record["pictures"]:
        if photographs()[picture["source"]].faces != 1:
            continue
        judged.add(picture["source"])
        planes = np.fromfile(folder / "calibration" / picture["raw"], np.uint8)
        means = np.float32([104, 117, 123]).reshape(1, 3, 1, 1)
        blob = planes.reshape(1, 3, 640, 640).astype(np.float32) - means
        loc, conf, marks = original.run(
            ["loc", "conf", "landmarks"], {original.get_inputs()[0].name: blob}
        )
        made = float_net.run({next(iter(net.inputs)): blob})
        found = {
            "onnx": faces(loc[0], conf[0, :, 1], marks[0], 640),
            "float": decoded([made[x] for x in order], 640),
        }
        for bits, simulator in simulators.items():
            values = {k: v for k, v in simulator.run({next(iter(net.inputs)): blob}) if k in order}
            found[str(bits)] = decoded([values[x] for x in order], 640)
        assert {k: len(x) for k, x in found.items()} == dict.fromkeys(found, 1), picture["source"]
        only = {k: x[0] for k, x in found.items()}
        assert np.abs(only["float"] - only["onnx"]).max() <= 0.5
        assert np.abs(only["16"] - only["float"]).max() <= 1.0
        assert overlap(only["8"], only["float"]) > 0.5
        for bar in said["bars"]:  # and the report says the same
            if bar["picture"] == picture["source"]:
                moved = np.abs(only[bar["run"]] - only[bar["against"]]).max()
                assert bar["pixels"] == pytest.approx(moved, abs=1e-3)
                assert bar["passed"]
    assert len(judged) == 8
    assert {x["picture"] for x in said["bars"]} == judged

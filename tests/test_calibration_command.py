"""What `nnie calibrate` says of its pictures, its options and numbers that are not the model's."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

from nnie_pipeline.calibration.sets import read_set
from nnie_pipeline.zoo.spec import load_spec
from tests.builds import Cli
from tests.caffe_nets import conv, header, random_net, save
from tests.test_calibration_choice import scene


@pytest.fixture
def work(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Three scenes and a plain blue in pics, and a network without a spec."""
    (tmp_path / "pics").mkdir()
    blue = np.zeros((90, 160, 3), np.uint8)
    blue[..., 0] = 200
    for name, picture in (("a", scene(1)), ("b", scene(2)), ("blue", blue), ("c", scene(3))):
        data = cv2.imencode(".png", picture)[1]
        (tmp_path / "pics" / f"{name}.png").write_bytes(bytes(data))
    text = header(1, 3, 64, 96) + conv("y", "data", 4, 3)
    save(tmp_path, text, random_net(text)[1])
    monkeypatch.chdir(tmp_path)
    return tmp_path


BARE = ("calibrate", "net.prototxt", "--size", "64x96", "--images", "pics", "--out", "s")
KNOWN = ("calibrate", "retinaface-mnet025", "--size", "64x96", "--images", "pics", "--out", "s")


def test_a_useless_picture_is_named_and_only_a_choice_drops_it(work: Path, cli: Cli) -> None:
    done = cli(*KNOWN)
    assert "warning: nothing for ranges to learn from (--count 30 leaves them out): 1" in done.out
    assert "  blue.png: of one colour (100% of it)" in done.out
    assert "4 pictures at 64x96" in done.out
    assert [x.source for x in read_set(work / "s").useless] == ["blue.png"]
    done = cli(*KNOWN, "--count", "30")
    assert "3 of 4 pictures chosen, dropped beforehand: 1\n  blue.png: of one colour" in done.out
    assert "nothing for ranges" not in done.out
    assert read_set(work / "s").useless == ()
    assert "1 picture at 64x96" in cli(*KNOWN, "--count", "1").out


def test_numbers_that_are_not_the_models_are_named_in_the_cfg_too(work: Path, cli: Cli) -> None:
    own = load_spec("retinaface-mnet025").input
    assert (set(own.mean), set(own.scale)) == ({0.0}, {1.0})
    cfg = ("cfg", "net.prototxt", "net.caffemodel", "--calibration", "s", "--out", "m")
    assert "warning" not in cli(*KNOWN, "--count", "2", "--mean", "0", "--scale", "1").out
    assert "feed the first layer as the model was trained (exactly" in cli(*cfg).out
    done = cli(*KNOWN, "--mean", "127.5", "--scale", "0.0078125")
    said = (
        "given on the command line: mean 127.5, scale 0.0078125; the model's own: mean 0, scale 1"
    )
    assert f"warning: {said}; right only where the network itself does the rest" in done.out
    assert json.loads((work / "s/calibration.json").read_text())["unproven"] == said
    done = cli(*cfg)
    assert f"norm_type 5 feed the first layer as the calibration set says ({said})" in done.out
    assert "trained" not in done.out


def test_unequal_means_warn_wherever_mean_txt_is_written(work: Path, cli: Cli) -> None:
    words = ("--mean", "104,117,123", "--colour", "RGB")
    warning = "warning: means 104, 117, 123: no document says how the lines of mean.txt go"
    done = cli(*BARE, *words)
    assert warning in done.out
    done = cli("cfg", "net.prototxt", "net.caffemodel", "--calibration", "s", "--out", "m")
    line = next(x for x in done.out.splitlines() if x.startswith(warning))
    assert "--mean-in-network" in line
    assert "probe/" in line
    assert "network's order (RGB)" in line


def test_what_is_assumed_of_a_file_without_a_spec_is_said(work: Path, cli: Cli) -> None:
    done = cli(*BARE)
    assert (
        "input assumed: BGR, no mean, no scale, pixels 0 to 255; --colour, --mean, --scale or a "
        "spec (.yaml) can say otherwise\n"
        "geometry assumed: letterbox top-left fill 0; --geometry, --anchor, --fill can say"
    ) in done.out
    blob = np.fromfile(work / "s/raw/000_a.bgr", np.uint8)
    done = cli(*BARE, "--colour", "RGB", "--geometry", "stretch")
    assert "input assumed: no mean, no scale, pixels 0 to 255; --mean, --scale or" in done.out
    assert "geometry assumed" not in done.out
    assert read_set(work / "s").input.colour == "RGB"
    done = cli("cfg", "net.prototxt", "net.caffemodel", "--calibration", "s", "--out", "m")
    assert "RGB_order RGB" in done.out
    assert "as the calibration set says (assumed or given on the command line" in done.out
    done = cli(*BARE, "--colour", "GRAY", "--mean", "127.5", "--scale", "2", "--fill", "7")
    assert "input assumed" not in done.out
    record = read_set(work / "s")
    assert (record.input.colour, record.input.mean, record.input.fill) == ("GRAY", (127.5,), (7,))
    assert (work / "s/raw/000_a.gray").stat().st_size == blob.size // 3
    assert "assumed" not in cli(*KNOWN).out


def test_another_colour_than_the_spec_says_is_named(work: Path, cli: Cli) -> None:
    done = cli(*KNOWN, "--colour", "BGR")
    assert "the spec says colour RGB, --colour BGR takes its place; is that what" in done.out
    assert read_set(work / "s").unproven.startswith("given on the command line: colour BGR; the")
    for words, message in (
        (("retinaface", "--colour", "GRAY"), "--colour GRAY: the mean of the spec should be one"),
        (("net.prototxt", "--colour", "rgb"), "--colour rgb: should be 'BGR', 'RGB' or 'GRAY'"),
    ):
        done = cli("calibrate", *words, "--size", "64x96", "--images", "pics", "--out", "s2")
        assert done.status == 2
        assert message in done.error


@pytest.mark.parametrize("command", ["calibrate", "run"])
def test_options_that_would_say_nothing_are_refused(work: Path, cli: Cli, command: str) -> None:
    place = "--out" if command == "calibrate" else "--build"
    words = (command, "net.prototxt", "--size", "64x96", place, "s2")
    done = cli(*words, "--images", "pics", "--range", "limited")
    assert done.status == 2
    assert "--range limited says nothing without --yuv" in done.error
    done = cli(*words, "--images", "pics", "--every", "3")
    assert done.status == 2
    assert "--every 3 says nothing of pics: it counts a video's frames" in done.error
    assert "says nothing of the built-in pictures" in cli(*words, "--every", "3").error
    assert not (work / "s2").exists()


def test_a_killed_run_leaves_nothing_for_ever(work: Path, cli: Cli) -> None:
    (work / "list.txt").write_text("pics/a.png\n" * 3000)
    words = ("calibrate", "net.prototxt", "--size", "640", "--images", "list.txt", "--out", "s")
    process = subprocess.Popen(
        [sys.executable, "-m", "nnie_pipeline", *words],
        stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
    )  # fmt: skip
    end = time.monotonic() + 60
    while not list(work.glob(".tmp.s.*/raw/*.bgr")):
        assert process.poll() is None
        assert time.monotonic() < end
        time.sleep(0.02)
    os.kill(process.pid, signal.SIGKILL)
    process.wait(30)
    assert list(work.glob(".tmp.s.*"))
    assert cli(*BARE).status == 0
    assert not list(work.glob(".tmp.*"))

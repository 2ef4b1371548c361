"""The two commands as a user calls them."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import cv2
import numpy as np
import pytest

from tests.caffe_nets import conv, header, layer, random_net, save


def nnie(folder: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "nnie_pipeline", *arguments],
        cwd=folder, capture_output=True, text=True, check=False, timeout=120,
    )  # fmt: skip


@pytest.fixture
def work(tmp_path: Path) -> Path:
    (tmp_path / "[mine]").mkdir()
    for number, picture in enumerate((np.full((50, 40, 3), (9, 99, 199)), np.full((30, 30), 7))):
        data = cv2.imencode(".png", picture.astype(np.uint8))[1]
        (tmp_path / "[mine]" / f"{number}.png").write_bytes(bytes(data))
    (tmp_path / "net.prototxt").write_text(
        'name: "n" input: "data" input_shape { dim: 1 dim: 3 dim: 64 dim: 96 }\n'
        'layer { name: "relu" type: "ReLU" bottom: "data" top: "out" }\n'
    )
    (tmp_path / "net.caffemodel").write_bytes(b"weights")
    return tmp_path


def test_from_pictures_to_cfg_files(work: Path) -> None:
    done = nnie(
        work, "calibrate", "retinaface", "--size", "64x96", "--images", "[mine]", "--out", "[set]"
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "2 pictures at 64x96, letterbox top-left, fill 104, 117, 123 (BGR): [set]" in done.stdout
    assert "1 of them gray (cannot reveal swapped channels): 1.png" in done.stdout
    assert "20 to 50" in done.stdout
    assert "warning: means 104, 117, 123: no document says" in done.stdout
    raw = np.fromfile(work / "[set]" / "raw" / "000_0.bgr", np.uint8).reshape(3, 64, 96)
    assert raw[:, 30, 10].tolist() == [9, 99, 199]
    assert raw[:, 30, 90].tolist() == [104, 117, 123]

    done = nnie(
        work, "cfg", "net.prototxt", "net.caffemodel", "--calibration", "[set]", "--out", "mapper"
    )
    assert (done.returncode, done.stderr) == (0, "")
    assert "nnie_mapper_12 net_inst_8bit.cfg" in done.stdout
    assert "RGB_order BGR and norm_type 2 feed the first layer as the model" in done.stdout
    assert len(list((work / "mapper").glob("net_*.cfg"))) == 4


def test_a_cfg_in_front_of_a_network_that_takes_its_own_mean(work: Path) -> None:
    """What --mean-in-network makes, with a set that was written as if it had not been."""
    text = header(1, 3, 64, 96) + layer("Bias", "b", "data") + conv("y", "b", 4, 3, "pad: 1")
    _, weights = random_net(text)
    weights["b"][0][:] = (-104, -117, -123)
    prototxt, caffemodel = save(work, text, weights)
    nnie(work, "calibrate", "retinaface", "--size", "64x96", "--images", "[mine]", "--out", "s")
    done = nnie(
        work, "cfg", str(prototxt), str(caffemodel), "--calibration", "s", "--out", "mapper"
    )
    assert done.returncode == 0, done
    assert "warning: double normalisation: the network begins with b, which is" in done.stdout
    nnie(
        work, "calibrate", "retinaface", "--size", "64x96", "--images", "[mine]", "--out", "s",
        "--mean", "0",
    )  # fmt: skip
    done = nnie(
        work, "cfg", str(prototxt), str(caffemodel), "--calibration", "s", "--out", "mapper"
    )
    assert "norm_type 0 feed the first layer as the calibration set says (given on" in done.stdout
    assert "double normalisation" not in done.stdout


def test_a_choice_of_a_list_with_yuv_files(work: Path) -> None:
    noise = np.random.default_rng(5).integers(0, 256, (6, 8, 3), np.uint8)
    scene = cv2.resize(noise, (80, 60), interpolation=cv2.INTER_CUBIC)
    other = np.ascontiguousarray(scene[::-1])
    for name, picture in (("scene", scene), ("again", scene), ("dark", scene // 40), ("o", other)):
        (work / f"{name}.png").write_bytes(bytes(cv2.imencode(".png", picture)[1]))
    (work / "list.txt").write_text("scene.png\nagain.png\ngone.png\no.png\ndark.png\n")
    done = nnie(
        work, "calibrate", "retinaface", "--size", "64", "--images", "list.txt", "--out", "set",
        "--count", "30", "--yuv", "bt709", "--range", "limited", "--mean", "0",
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")
    assert "2 of 4 pictures chosen, dropped beforehand: 2" in done.stdout
    assert "left out: 1\n  gone.png: not there (list.txt, line 3)\n" in done.stdout
    assert "again.png: near-duplicate of scene.png" in done.stdout
    assert "dark.png: black (100% of it)" in done.stdout
    assert "YVU420SP by bt709, limited range; back to B, G, R it is off by" in done.stdout
    assert "warning: means" not in done.stdout
    assert (work / "set" / "mean.txt").read_text().split() == ["0.0"] * 3
    assert (work / "set" / "raw" / "000_scene.yuv").stat().st_size == 64 * 96
    record = json.loads((work / "set" / "calibration.json").read_text())
    assert record["choice"]["dropped"][0]["source"] == "again.png"
    assert record["yuv"] == {"matrix": "bt709", "range": "limited"}


def test_the_geometry_of_a_file_that_says_none(work: Path) -> None:
    """A bare file's input is assumed; the options say what holds on the board."""
    conv_net = header(1, 3, 64, 96) + conv("y", "data", 4, 3)
    save(work, conv_net, random_net(conv_net)[1])
    words = ("calibrate", "net.prototxt", "--size", "64x96", "--images", "[mine]", "--out", "s")
    done = nnie(work, *words, "--geometry", "letterbox", "--anchor", "centre", "--fill", "114")
    assert done.returncode == 0, done
    assert "at 64x96, letterbox centre, fill 114, 114, 114 (BGR)" in done.stdout
    assert "takes its place" not in done.stdout
    first = cv2.imread(str(next((work / "s" / "pictures").iterdir())))
    shown = {tuple(first[0, 0].tolist()), tuple(first[-1, -1].tolist())}
    assert shown == {(114, 114, 114)}
    done = nnie(work, *words, "--geometry", "stretch")
    assert "at 64x96, stretch: s" in done.stdout


@pytest.mark.parametrize(
    ("change", "message"),
    [
        (("retinafaze",), "did you mean retinaface"),
        (("retinaface", "--size", "641"), "use 640 or 672"),
        (("retinaface", "--images", "nowhere"), "picture folder nowhere: found nothing there"),
        (("retinaface", "--images", "empty"), "picture folder empty holds no pictures"),
        (("retinaface", "--images", "broken"), "picture broken/a.jpg is corrupt"),
        (("retinaface", "--images", "net.caffemodel"), "a list of them (.txt) or a video"),
        (("retinaface", "--images", "[mine]", "--count", "0"), "--count 0: a calibration set"),
        (("retinaface", "--images", "[mine]", "--yuv", "601"), "write --yuv bt601 or bt709"),
        (("retinaface", "--images", "[mine]", "--align", "5"), "--align 5: rows are multiples"),
        (("retinaface", "--images", "[mine]", "--mean", "1,2"), "input mean has 2 values"),
        (("retinaface", "--images", "[mine]", "--out", "."), "which is no part of a calibration"),
        (("retinaface", "--images", "[mine]", "--out", "net.prototxt"), "net.prototxt is a file"),
    ],
)
def test_bad_input_is_one_line(work: Path, change: tuple[str, ...], message: str) -> None:
    (work / "empty").mkdir()
    (work / "broken").mkdir()
    (work / "broken" / "a.jpg").write_bytes(b"\xff\xd8\xff\xe0 no picture")
    arguments = change if "--out" in change else (*change, "--out", "set")
    done = nnie(work, "calibrate", *arguments)
    assert done.returncode == 2
    assert done.stdout == ""
    assert len(done.stderr.splitlines()) == 1
    assert message in done.stderr
    assert not (work / "set").exists()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("no.prototxt", "net.caffemodel"), "network no.prototxt: found nothing there"),
        (("net.prototxt", "no.caffemodel"), "weights no.caffemodel: found nothing there"),
        (("net.prototxt", "net.caffemodel"), "nowhere holds no calibration set; write one with"),
        (("net.prototxt", "net.caffemodel", "--name", "größe"), "ASCII"),
    ],
)
def test_bad_cfg_input_is_one_line(work: Path, arguments: tuple[str, ...], message: str) -> None:
    done = nnie(work, "cfg", *arguments, "--calibration", "nowhere", "--out", "mapper")
    assert done.returncode == 2
    assert len(done.stderr.splitlines()) == 1
    assert message in done.stderr
    assert not (work / "mapper").exists()

"""`nnie run` and `nnie rewrite` on networks whose input no cfg can describe."""

from __future__ import annotations

import json
from pathlib import Path

import cv2
import numpy as np
import onnx
import onnxruntime
import pytest
import yaml
from onnx import helper

from nnie_pipeline.caffe.files import read_net
from nnie_pipeline.calibration.sets import load_input, read_set
from nnie_pipeline.engine.onnxruntime_engine import Session
from nnie_pipeline.mapper.cfg import read_cfg
from tests.builds import Cli, here, pictures
from tests.caffe_nets import conv, header, layer, random_net, save
from tests.test_calibration_choice import scene
from tests.tiny_models import save as save_onnx
from tests.tiny_models import two_convolutions

MEAN, SCALE = [10.0, 20.0, 30.0], [0.01, 0.02, 0.04]


def spec_of(folder: Path, **of_input: object) -> Path:
    path = folder / "mine.yaml"
    given = {"colour": "RGB", "mean": MEAN, "scale": SCALE, "geometry": "stretch", **of_input}
    source = {"kind": "file", "path": "tiny.onnx"}
    path.write_text(
        yaml.safe_dump(
            {"name": "mine", "licence": "MIT", "source": source, "input": given,
             "head": {"decoder": "embedding"}}
        )
    )  # fmt: skip
    return path


def run(cli: Cli, folder: Path, monkeypatch: pytest.MonkeyPatch, *options: str) -> Path:
    monkeypatch.chdir(folder)
    words = ("--size", "32", "--images", "pics", "--build", "build")
    ran = cli("run", "mine.yaml", *words, *options)
    assert ran.status == 0, ran
    return folder / "build" / "mine-32x32"


def test_a_scale_a_channel_goes_into_the_first_layer(
    tmp_path: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The original gets what its spec says, everything behind rewrite what is left of it."""
    two_convolutions(tmp_path / "tiny.onnx")
    pictures(tmp_path / "pics")
    spec_of(tmp_path)
    build = run(cli, tmp_path, monkeypatch)
    record = json.loads((build / "rewrite/rewrite.json").read_text())
    assert record["input"] == {"mean": MEAN, "scale": [1, 1, 1]}
    by_name = {x["name"]: x for x in record["passes"]}
    assert by_name["fold-input"]["changed"] == 1
    assert by_name["fold-input"]["difference"] < 1e-5
    calibration = read_set(build / "calibration")
    assert calibration.input.mean == tuple(MEAN)
    assert calibration.input.scale == (1, 1, 1)
    cfg = read_cfg((build / "mapper/mine_func_8bit.cfg").read_text())
    assert cfg.get("norm_type") == "2"
    assert (build / "mapper/mean.txt").read_text().split() == [str(x) for x in MEAN]
    # The board's network on the set's input, against the model on the spec's.
    net = read_net(build / "rewrite/mine.prototxt", build / "rewrite/mine.caffemodel")
    blob = load_input(build / "calibration", -1)
    found = Session(net).run({next(iter(net.inputs)): blob})[net.outputs[0]]
    session = onnxruntime.InferenceSession(str(tmp_path / "tiny.onnx"))
    scaled = blob * np.array(SCALE, np.float32).reshape(1, 3, 1, 1)
    expected = session.run(["out"], {"data": scaled})[0]
    np.testing.assert_allclose(found, expected, atol=1e-4 * np.abs(expected).max())
    embeddings = json.loads((build / "evaluate/evaluate.json").read_text())["embeddings"]
    assert embeddings
    assert min(x["cosines"]["float"] for x in embeddings) > 0.9999


def test_one_scale_for_all_is_left_to_the_cfg(
    tmp_path: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    two_convolutions(tmp_path / "tiny.onnx")
    pictures(tmp_path / "pics")
    spec_of(tmp_path, scale=0.02)
    build = run(cli, tmp_path, monkeypatch)
    record = json.loads((build / "rewrite/rewrite.json").read_text())
    assert record["input"] == {"mean": MEAN, "scale": [0.02] * 3}
    assert next(x["changed"] for x in record["passes"] if x["name"] == "fold-input") == 0
    assert read_set(build / "calibration").input.scale == (0.02,) * 3
    cfg = read_cfg((build / "mapper/mine_func_8bit.cfg").read_text())
    assert (cfg.get("norm_type"), cfg.get("data_scale")) == ("5", "0.02")


def test_a_scale_that_nothing_takes_in_is_refused(tmp_path: Path, cli: Cli) -> None:
    """The first layer is no convolution."""
    nodes = [
        helper.make_node("Relu", ["data"], ["r"], "first"),
        helper.make_node("Conv", ["r", "w"], ["out"], "conv"),
    ]
    save_onnx(tmp_path / "tiny.onnx", nodes, {"w": (4, 3, 3, 3)})
    onnx.checker.check_model(str(tmp_path / "tiny.onnx"))
    pictures(tmp_path / "pics")
    spec = spec_of(tmp_path)
    ran = cli("run", spec, "--size", "32", "--images", tmp_path / "pics", "--build", tmp_path / "b")
    assert ran.status == 3
    assert "data_scale is one number for all channels" in ran.error


def network(folder: Path) -> tuple[Path, Path]:
    text = (
        header(1, 3, 16, 16)
        + conv("c", "data", 4, 3)
        + layer("DepthwiseConv", "d", "c", "", "convolution_param { num_output: 4 kernel_size: 3 }")
    )
    _, weights = random_net(text)
    return save(folder, text, weights)


def test_the_options_of_rewrite(tmp_path: Path) -> None:
    files = network(tmp_path)
    out = tmp_path / "out"
    ran = here(
        "rewrite", *files, "--out", out, "--mean", "104,117,123", "--scale", "0.017",
        "--depthwise", "convolution",
    )  # fmt: skip
    assert ran.status == 0, ran
    assert "the network now reads pixels 0 to 255" in ran.out
    record = json.loads((out / "rewrite.json").read_text())
    assert record["input"] == {"mean": [0, 0, 0], "scale": [1, 1, 1]}
    before, after = read_net(*files), read_net(out / "net.prototxt", out / "net.caffemodel")
    assert [x.type for x in after.layers] == ["Convolution", "Convolution"]
    pixels = np.random.default_rng(0).integers(0, 256, (1, 3, 16, 16)).astype(np.float32)
    mean = np.array([104, 117, 123], np.float32).reshape(1, 3, 1, 1)
    expected = Session(before).run({"data": (pixels - mean) * np.float32(0.017)})["d"]
    found = Session(after).run({"data": pixels})["d"]
    np.testing.assert_allclose(found, expected, atol=1e-5 * np.abs(expected).max())
    # Without a word on the input nothing is folded, and nothing recorded.
    assert here("rewrite", *files, "--out", tmp_path / "plain").status == 0
    record = json.loads((tmp_path / "plain/rewrite.json").read_text())
    assert record["input"] is None
    # Left out, all of it stays.
    skipped = tmp_path / "skipped"
    ran = here("rewrite", *files, "--out", skipped, "--scale", "0.5", "--skip", "fold-input")
    assert "(pixel - mean) * scale with scale 0.5, 0.5, 0.5" in ran.out
    assert json.loads((skipped / "rewrite.json").read_text())["input"]["scale"] == [0.5] * 3


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--mean", "1,2"), "input mean [1.0, 2.0]: give one finite number"),
        (("--mean", "1,x"), "--mean '1,x' holds what is no number"),
        (("--scale", "0"), "0 makes every input the same"),
        (("--scale", "nan"), "give one finite number"),
        (("--depthwise", "group"), "write leave, convolution, depthwiseconv"),
        (("--chip", "hi3516"), "the chip 'hi3516' is not known"),
    ],
)
def test_options_that_cannot_be(options: tuple[str, str], said: str, tmp_path: Path) -> None:
    ran = here("rewrite", *network(tmp_path), "--out", tmp_path / "out", *options)
    assert ran.status == 2
    assert said in ran.error
    assert not (tmp_path / "out").exists()


def test_mean_and_scale_in_the_network(
    tmp_path: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The first convolution has pads: a Bias layer takes the mean away, the cfg says nothing."""
    two_convolutions(tmp_path / "tiny.onnx")
    pictures(tmp_path / "pics")
    spec_of(tmp_path)
    build = run(cli, tmp_path, monkeypatch, "--mean-in-network")
    record = json.loads((build / "rewrite/rewrite.json").read_text())
    assert record["input"] == {"mean": [0, 0, 0], "scale": [1, 1, 1]}
    for path in (build / "mapper").glob("*.cfg"):
        cfg = read_cfg(path.read_text())
        assert (cfg.get("norm_type"), cfg.get("mean_file")) == ("0", "null")
        assert cfg.get("data_scale") is None
    net = read_net(build / "rewrite/mine.prototxt", build / "rewrite/mine.caffemodel")
    assert [x.type for x in net.layers][:2] == ["Bias", "Convolution"]
    blob = load_input(build / "calibration", -1)
    assert set(np.unique(blob)) <= set(range(256))
    found = Session(net).run({next(iter(net.inputs)): blob})[net.outputs[0]]
    session = onnxruntime.InferenceSession(str(tmp_path / "tiny.onnx"))
    mean, scale = (np.array(x, np.float32).reshape(1, 3, 1, 1) for x in (MEAN, SCALE))
    expected = session.run(["out"], {"data": (blob - mean) * scale})[0]
    np.testing.assert_allclose(found, expected, atol=1e-4 * np.abs(expected).max())
    embeddings = json.loads((build / "evaluate/evaluate.json").read_text())["embeddings"]
    assert min(x["cosines"]["float"] for x in embeddings) > 0.9999


def test_a_choice_of_a_video(tmp_path: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch) -> None:
    two_convolutions(tmp_path / "tiny.onnx")
    spec_of(tmp_path)
    writer = cv2.VideoWriter(
        str(tmp_path / "film.avi"), cv2.VideoWriter_fourcc(*"MJPG"), 25, (160, 90)
    )
    for number in range(40):
        writer.write(scene(number // 10) if number else np.zeros((90, 160, 3), np.uint8))
    writer.release()
    monkeypatch.chdir(tmp_path)
    words = ("run", "mine.yaml", "--size", "32", "--images", "film.avi", "--count", "3",
             "--every", "5", "--build", "build")  # fmt: skip
    ran = cli(*words)
    assert ran.status == 0, ran
    record = read_set(tmp_path / "build/mine-32x32/calibration")
    assert len(record.pictures) == 3
    assert record.choice is not None
    assert (record.choice.found, record.choice.wanted) == (8, 3)
    assert record.choice.dropped[0].reason.startswith("black")
    assert "RGB_order RGB and norm_type 2 feed the first layer as the model was trained" in ran.out
    line = next(x for x in ran.out.splitlines() if "no document says how the lines of mean" in x)
    assert line.startswith("warning: means ")
    assert "--mean-in-network" in line
    assert "nnie bringup" in line
    assert "everything is up to date" in cli(*words).out
    again = cli(*words[:-3], "4", "--build", "build")
    assert "everything is up to date" not in again.out


def test_geometry_and_yuv_go_all_the_way(
    tmp_path: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Into the spec's copy, the set, the cfg files and the kit; what the spec said is named."""
    two_convolutions(tmp_path / "tiny.onnx")
    pictures(tmp_path / "pics")
    spec_of(tmp_path)
    options = ("--geometry", "letterbox", "--anchor", "centre", "--fill", "9,8,7", "--yuv", "bt709",
               "--range", "limited")  # fmt: skip
    monkeypatch.chdir(tmp_path)
    words = ("run", "mine.yaml", "--size", "32x48", "--images", "pics", "--build", "build")
    ran = cli(*words, *options)
    assert ran.status == 0, ran
    assert "the spec says geometry stretch, --geometry letterbox takes its place" in ran.out
    assert "YVU420SP by bt709, limited range (off by " in ran.out
    build = tmp_path / "build/mine-32x48"
    stored = json.loads((build / "convert/spec.json").read_text())["input"]
    assert (stored["geometry"], stored["anchor"], stored["fill"]) == (
        "letterbox",
        "centre",
        [9, 8, 7],
    )
    record = read_set(build / "calibration")
    assert (record.input.geometry, record.input.fill) == ("letterbox", (9, 8, 7))
    cfg = read_cfg((build / "mapper/mine_inst_8bit.cfg").read_text())
    assert [x["image_type"] for x in cfg.inputs()] == ["3"]
    assert "everything is up to date" in cli(*words, *options).out
    kit = cli("bringup", str(build), "--count", "1")
    assert kit.status == 0, kit
    inputs = sorted((build / "bringup/inputs").iterdir())
    assert [x.suffix for x in inputs] == [".yuv", ".yuv"]
    assert {x.stat().st_size for x in inputs} == {32 * 48 * 3 // 2}
    # The set's own files have rows of 16 bytes, of which 48 is a multiple.
    last = next(x for x in inputs if x.stem != "probe")
    assert last.read_bytes() == (build / "calibration/raw" / last.name).read_bytes()
    about = json.loads((build / "bringup/kit.json").read_text())
    assert {"u-first", "bt601-full", "bt601-limited", "bt709-full"} < set(
        about["readings"]["others"]
    )
    header = (build / "bringup/nnie_model.h").read_text()
    assert '#define NNIE_INPUT_ORDER "YVU420SP"' in header
    assert f"#define NNIE_INPUT_BYTES {32 * 48 * 3 // 2}" in header
    for language in ("en", "zh-CN"):
        text = (build / f"bringup/CHECKLIST.{language}.md").read_text()
        assert "bt709, limited range" in text
        assert "image_type 3" in text
        assert "INTER_AREA" in text
    plain = cli(*words)
    assert plain.status == 0, plain
    cfg = read_cfg((build / "mapper/mine_inst_8bit.cfg").read_text())
    assert [x["image_type"] for x in cfg.inputs()] == ["1"]


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("--geometry", "round"), "--geometry round: should be 'letterbox', 'stretch' or 'crop'"),
        (("--anchor", "left"), "--anchor left: should be 'top-left' or 'centre'"),
        (("--geometry", "crop", "--fill", "1"), "--fill says nothing with the geometry crop"),
        (("--anchor", "centre"), "--anchor says nothing with the geometry stretch"),
        (("--geometry", "letterbox", "--fill", "1,2"), "--fill 1,2: should be one number, or 3"),
        (("--geometry", "letterbox", "--fill", "256"), "--fill 256: should be less than or equal"),
        (("--geometry", "letterbox", "--fill", "x"), "--fill 'x' holds what is no number"),
        (("--yuv", "bt2020"), "write --yuv bt601 or bt709"),
        (("--yuv", "bt601", "--size", "33x32"), "size 33x32: YVU420SP has one V and U"),
    ],
    ids=lambda x: " ".join(x) if isinstance(x, tuple) else "",
)
def test_geometry_and_yuv_that_cannot_be(
    tmp_path: Path, cli: Cli, options: tuple[str, ...], said: str
) -> None:
    two_convolutions(tmp_path / "tiny.onnx")
    spec_of(tmp_path)
    size = () if "--size" in options else ("--size", "32")
    words = ("run", str(tmp_path / "mine.yaml"), *size, "--build", str(tmp_path / "b"), *options)
    ran = cli(*words)
    assert ran.status == 2, ran
    assert said in ran.err
    assert len(ran.err.splitlines()) == 1


def test_pictures_that_cannot_be_read_are_left_out(
    tmp_path: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The last one too, on which conversions are verified."""
    two_convolutions(tmp_path / "tiny.onnx")
    spec_of(tmp_path)
    pictures(tmp_path / "pics")
    (tmp_path / "pics" / "zz.jpg").write_bytes(b"broken")
    (tmp_path / "pics" / "zzz.gif").write_bytes(b"GIF89a")
    (tmp_path / "pics" / "gone.png").symlink_to(tmp_path / "gone.png")
    monkeypatch.chdir(tmp_path)
    words = ("run", "mine.yaml", "--size", "32", "--images", "pics", "--build", "build")
    ran = cli(*words)
    assert ran.status == 0, ran
    assert "picture zz.jpg is left out: corrupt or no picture" in ran.out
    assert "picture zzz.gif is left out: of a type that is not read (.gif)" in ran.out
    record = read_set(tmp_path / "build/mine-32x32/calibration")
    assert sorted(x.source for x in record.dropped) == ["gone.png", "zz.jpg", "zzz.gif"]
    assert "everything is up to date" in cli(*words).out


def test_a_network_that_begins_with_its_normalisation(
    tmp_path: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    nodes = [
        helper.make_node("Sub", ["data", "m"], ["s"], "minus"),
        helper.make_node("Conv", ["s", "w"], ["out"], "conv"),
    ]
    save_onnx(tmp_path / "tiny.onnx", nodes, {"m": (1, 3, 1, 1), "w": (4, 3, 3, 3)})
    model = onnx.load(tmp_path / "tiny.onnx")
    for tensor in model.graph.initializer:
        if tensor.name == "m":
            tensor.raw_data = np.array([104, 117, 123], np.float32).tobytes()
    onnx.save(model, tmp_path / "tiny.onnx")
    pictures(tmp_path / "pics")
    spec_of(tmp_path)
    monkeypatch.chdir(tmp_path)
    words = ("--size", "32", "--images", "pics", "--build", "build")
    ran = cli("run", "mine.yaml", *words)
    assert "double normalisation: the network begins with s, which is" in ran.out, ran
    assert "(x - [104, 117, 123]) * [1], and (pixel - [10, 20, 30])" in ran.out
    spec_of(tmp_path, mean=0, scale=1)
    assert "double normalisation" not in cli("run", "mine.yaml", *words).out


def test_a_cfg_that_says_something_else_fails_the_stage(
    tmp_path: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    two_convolutions(tmp_path / "tiny.onnx")
    pictures(tmp_path / "pics")
    spec_of(tmp_path)
    monkeypatch.setattr("nnie_pipeline.mapper.folder._rgb_order", lambda _: "BGR")
    monkeypatch.chdir(tmp_path)
    ran = cli("run", "mine.yaml", "--size", "32", "--images", "pics", "--build", "build")
    assert ran.status == 1
    assert "the cfg (RGB_order BGR, norm_type 2) makes" in ran.error

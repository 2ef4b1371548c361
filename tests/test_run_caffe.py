"""`nnie run` on Caffe networks: every stage, both engines, and what is refused."""

from __future__ import annotations

import json
import re
import shutil
from pathlib import Path

import pytest

from nnie_pipeline.caffe.files import read_net, write_net
from nnie_pipeline.engine.pycaffe_engine import is_available
from nnie_pipeline.files import read_json
from nnie_pipeline.stages.run import STAGES
from tests.builds import Cli, Ran, nnie
from tests.conftest import missing

ENGINES = ("onnxruntime", "pycaffe")
MNET = "retinaface_mnet025"
NETWORKS = {
    "mnet": (f"{MNET}/mnet.prototxt", None, "320"),
    "mobilefacenet": ("mobilefacenet/mxnet2caffe_mobilefacenet.prototxt", None, "112"),
    "RFB-320": ("ultraface/RFB-320.prototxt", None, "240x320"),
    "slim-320": ("ultraface/slim-320.prototxt", None, "240x320"),
    "enet": ("enet/bn_conv_merged_model.prototxt", "enet/bn_conv_merged_weights.caffemodel", "128"),
}


def engine_here(engine: str) -> str:
    if engine == "pycaffe" and not is_available():
        missing("pycaffe (make pycaffe)")
    return engine


def stages_of(ran: Ran) -> list[str]:
    return re.findall(r"^ ?\d+/11 (\w+)", ran.out, re.MULTILINE)


def folder_of(place: Path) -> Path:
    (folder,) = place.iterdir()
    return folder


@pytest.mark.parametrize("engine", ENGINES)
@pytest.mark.parametrize("network", NETWORKS)
def test_every_stage_runs(shared: Path, tmp_path: Path, network: str, engine: str) -> None:
    prototxt, caffemodel, size = NETWORKS[network]
    weights = ("--weights", shared / "models" / caffemodel) if caffemodel else ()
    ran = nnie(
        "run", shared / "models" / prototxt, "--size", size, *weights,
        "--engine", engine_here(engine), "--build", tmp_path / "build",
    )  # fmt: skip
    assert ran.status == 0, ran
    assert stages_of(ran) == [x for x, _ in STAGES]
    build = folder_of(tmp_path / "build")
    converted = read_json(build / "convert" / "convert.json", "the record")
    assert converted["engine"] == engine
    assert all(x <= 1e-4 for x in converted["verification"]["max_relative_error"].values())
    rewritten = read_json(build / "rewrite" / "rewrite.json", "the record")
    assert rewritten["engine"] == engine
    assert all(x["difference"] <= 5e-4 for x in rewritten["passes"])
    assert read_json(build / "dump" / "dump.json", "the record")["engine"] == engine
    assert "<html" in (build / "report.html").read_text(encoding="utf-8")


@pytest.mark.parametrize("engine", ENGINES)
def test_only_the_caffemodel_of_mnet_is_needed(shared: Path, tmp_path: Path, engine: str) -> None:
    ran = nnie(
        "run", "retinaface-mnet025", "--weights", shared / "models" / MNET / "mnet.caffemodel",
        "--size", "320x256", "--engine", engine_here(engine), "--build", tmp_path / "build",
    )  # fmt: skip
    assert ran.status == 0, ran
    assert stages_of(ran) == [x for x, _ in STAGES]
    build = tmp_path / "build" / "retinaface-mnet025-320x256"
    found = read_json(build / "evaluate" / "evaluate.json", "the evaluation")
    moved = [x["pixels"] for x in found["bars"] if x["run"] == "float"]
    assert len(moved) >= 5
    assert max(moved) < 0.01
    rewritten = read_net(build / "rewrite" / "retinaface-mnet025.prototxt")
    assert rewritten.inputs == {"data": (1, 3, 320, 256)}
    assert not {x.type for x in rewritten.layers} & {"Crop", "BatchNorm", "Scale"}


def test_a_second_run_has_nothing_to_do_and_another_engine_has(
    shared: Path, tmp_path: Path
) -> None:
    words = ("run", shared / "models" / "ultraface" / "slim-320.prototxt", "--size", "120x160",
             "--build", tmp_path / "build")  # fmt: skip
    assert nnie(*words).status == 0
    assert "everything is up to date" in nnie(*words).out
    again = nnie(*words, "--engine", engine_here("pycaffe"))
    assert stages_of(again)[0] == "convert"


def test_named_outputs_are_the_only_ones(shared: Path, tmp_path: Path) -> None:
    ran = nnie(
        "run", shared / "models" / MNET / "mnet.prototxt", "--size", "128", "--outputs",
        "face_rpn_landmark_pred_stride16,face_rpn_bbox_pred_stride32", "--build", tmp_path / "b",
    )  # fmt: skip
    assert ran.status == 0, ran
    record = read_json(folder_of(tmp_path / "b") / "rewrite" / "rewrite.json", "the record")
    old = {new: before for before, new in record["names"].items()}
    assert [old.get(x, x) for x in record["outputs"]] == [
        "face_rpn_landmark_pred_stride16",
        "face_rpn_bbox_pred_stride32",
    ]


def test_a_size_that_would_cut_is_refused_with_the_nearest(
    shared: Path, tmp_path: Path, cli: Cli
) -> None:
    ran = cli("run", shared / "models" / MNET / "mnet.prototxt", "--size", "650",
              "--build", tmp_path / "b")  # fmt: skip
    assert ran.status != 0
    assert "640" in ran.error
    assert "672" in ran.error


@pytest.fixture
def tiny_caffe(tiny: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder, made the current one, with net.prototxt, net.caffemodel and pictures."""
    write_net(
        read_net(tiny / "raw" / "tiny.prototxt", tiny / "raw" / "tiny.caffemodel"),
        tiny / "net.prototxt",
        tiny / "net.caffemodel",
    )
    monkeypatch.chdir(tiny)
    return tiny


RUN = ("run", "net.prototxt", "--images", "pics")


def test_the_size_and_the_weights_are_those_beside(tiny_caffe: Path, cli: Cli) -> None:
    ran = cli(*RUN)
    assert ran.status == 0, ran
    assert "no size given: net takes 32x32, as its file says" in ran.out
    assert (tiny_caffe / "build" / "net-32x32" / "report.html").is_file()


def test_a_spec_may_name_a_prototxt(tiny_caffe: Path, cli: Cli) -> None:
    (tiny_caffe / "mine").mkdir()
    shutil.move(tiny_caffe / "net.prototxt", tiny_caffe / "mine")
    (tiny_caffe / "mine" / "spec.yaml").write_text(
        "name: mine\nlicence: MIT\nprototxt: net.prototxt\n"
        "source: {kind: file, path: ../net.caffemodel}\n"
        "input: {colour: RGB, mean: [1, 2, 3]}\n"
    )
    ran = cli("run", "mine/spec.yaml", "--images", "pics")
    assert ran.status == 0, ran
    mean = (tiny_caffe / "build" / "mine-32x32" / "mapper" / "mean.txt").read_text()
    assert [float(x) for x in mean.split()] == [1, 2, 3]


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (("run", "net.caffemodel"), "a caffemodel holds no network"),
        (("run", "other.prototxt"), "found nothing there"),
        ((*RUN, "--engine", "tensorrt"), "there is no engine tensorrt"),
        ((*RUN, "--outputs", "nothing"), "the network has no blob nothing; did you mean"),
        ((*RUN, "--weights", "pics/0.png"), "pics/0.png"),
    ],
)
def test_bad_input_is_one_line(
    tiny_caffe: Path, cli: Cli, words: tuple[str, ...], said: str
) -> None:
    ran = cli(*words)
    assert ran.status == 2
    assert said in ran.error


def test_missing_weights_are_asked_for(tiny_caffe: Path, cli: Cli) -> None:
    (tiny_caffe / "net.caffemodel").unlink()
    ran = cli(*RUN)
    assert ran.status == 2
    assert "no net.caffemodel lies beside the prototxt" in ran.error
    assert "WEIGHTS=FILE" in ran.error


def test_a_failed_run_leaves_the_good_one(tiny_caffe: Path, cli: Cli) -> None:
    assert cli(*RUN).status == 0
    before = (tiny_caffe / "build" / "net-32x32" / "report.html").read_bytes()
    text = (tiny_caffe / "net.prototxt").read_text()
    (tiny_caffe / "net.prototxt").write_text(text.replace("bottom", "button", 1))
    ran = cli(*RUN)
    assert ran.status == 2
    assert (tiny_caffe / "build" / "net-32x32" / "report.html").read_bytes() == before
    (tiny_caffe / "net.prototxt").write_text(text)
    assert "everything is up to date" in cli(*RUN).out


def test_dump_with_both_engines_agrees(tiny_caffe: Path, cli: Cli) -> None:
    names = []
    for engine in ENGINES:
        ran = cli("dump", "net.prototxt", "net.caffemodel", "--input", "x.npy", "--out", engine,
                  "--engine", engine_here(engine))  # fmt: skip
        assert ran.status == 0, ran
        record = json.loads((tiny_caffe / engine / "dump.json").read_text())
        assert record["engine"] == engine
        names.append(len(list((tiny_caffe / engine).glob("*.npy"))))
    assert names[0] == names[1] > 0
    ran = cli("compare", *ENGINES)
    assert ran.status == 0, ran

from __future__ import annotations

import shutil
from pathlib import Path

import cv2
import numpy as np
import pytest

from nnie_pipeline.calibration.network_input import InputSpec
from nnie_pipeline.calibration.pictures import find_pictures
from nnie_pipeline.calibration.sets import write_set
from nnie_pipeline.errors import InputError, NotExpressibleError
from nnie_pipeline.mapper.cfg import read_cfg
from nnie_pipeline.mapper.folder import write_mapper_folder

RGB = InputSpec("RGB", (127.5, 127.5, 127.5), (1 / 128,) * 3)
KINDS = {
    "func_8bit": ("0", "1", "3"),
    "func_16bit": ("1", "1", "3"),
    "inst_8bit": ("0", "0", "0"),
    "inst_16bit": ("1", "0", "0"),
}


def network(path: Path, channels: int = 3, height: int = 32, width: int = 64) -> Path:
    dims = " ".join(f"dim: {x}" for x in (1, channels, height, width))
    path.write_text(
        f'name: "n" input: "data" input_shape {{ {dims} }}\n'
        'layer { name: "relu" type: "ReLU" bottom: "data" top: "out" }\n'
    )
    return path


def calibrated(tmp_path: Path, spec: InputSpec = RGB, count: int = 3) -> Path:
    folder = tmp_path / f"in{count}"
    folder.mkdir(exist_ok=True)
    for number in range(count):
        noise = np.random.default_rng(number).integers(0, 256, (20, 30, 3), dtype=np.uint8)
        (folder / f"bild {number} é.png").write_bytes(bytes(cv2.imencode(".png", noise)[1]))
    write_set(find_pictures(folder), spec, (32, 64), tmp_path / "calibration")
    return tmp_path / "calibration"


@pytest.fixture
def net(tmp_path: Path) -> tuple[Path, Path]:
    weights = tmp_path / "größe v1.caffemodel"
    weights.write_bytes(b"weights")
    return network(tmp_path / "größe v1.prototxt"), weights


def test_the_folder_stands_on_its_own(tmp_path: Path, net: tuple[Path, Path]) -> None:
    result = write_mapper_folder(*net, calibrated(tmp_path), tmp_path / "mapper")
    moved = tmp_path / "somewhere else"
    shutil.copytree(tmp_path / "mapper", moved)
    assert list(result.runs) == [f"groe_v1_{kind}" for kind in KINDS]
    for run, (compile_mode, is_simulation, log_level) in zip(
        result.runs, KINDS.values(), strict=True
    ):
        text = (moved / f"{run}.cfg").read_bytes().decode("ascii")
        cfg = read_cfg(text)
        assert (cfg.get("compile_mode"), cfg.get("is_simulation"), cfg.get("log_level")) == (
            compile_mode, is_simulation, log_level
        )  # fmt: skip
        assert cfg.get("instruction_name") == f"./{run}"
        assert cfg.get("RGB_order") == "RGB"
        assert (cfg.get("norm_type"), cfg.get("data_scale")) == ("5", "0.0078125")
        for key in ("prototxt_file", "caffemodel_file", "mean_file", "image_list"):
            path = cfg.get(key)
            assert path is not None
            assert path.startswith("./")
            assert (moved / path).is_file()
    names = (moved / "image_list.txt").read_bytes().decode("ascii").splitlines()
    assert len(names) == 3
    for name in names:
        assert (moved / name).read_bytes() == (tmp_path / "calibration" / name).read_bytes()
    assert [float(x) for x in (moved / "mean.txt").read_text().split()] == [127.5] * 3
    assert (moved / "groe_v1.prototxt").read_bytes() == net[0].read_bytes()
    assert (moved / "groe_v1.caffemodel").read_bytes() == b"weights"


def test_the_readme_names_every_command(tmp_path: Path, net: tuple[Path, Path]) -> None:
    result = write_mapper_folder(*net, calibrated(tmp_path), tmp_path / "mapper", "face")
    text = (tmp_path / "mapper" / "README.txt").read_bytes().decode("ascii")
    for run, command in zip(result.runs, result.commands, strict=True):
        assert run.startswith("face_")
        assert command.startswith(f"nnie_mapper_12 {run}.cfg")
        assert f"    {command}\n" in text
        assert ("mv mapper_quant" in command) == ("func" in run)
    assert "pictures/002_bild_2_e.bmp" in text
    assert "The network wants RGB" in text
    assert "The means differ" not in text


def test_unequal_means_are_pointed_out(tmp_path: Path, net: tuple[Path, Path]) -> None:
    spec = InputSpec("BGR", (104, 117, 123), (1, 1, 1))
    write_mapper_folder(*net, calibrated(tmp_path, spec), tmp_path / "mapper", "face")
    assert "The means differ" in (tmp_path / "mapper" / "README.txt").read_text()
    cfg = read_cfg((tmp_path / "mapper" / "face_inst_8bit.cfg").read_text())
    assert (cfg.get("norm_type"), cfg.get("data_scale"), cfg.get("RGB_order")) == ("2", None, "BGR")


def test_a_network_without_normalisation_names_no_mean_file(
    tmp_path: Path, net: tuple[Path, Path]
) -> None:
    spec = InputSpec("BGR", (0, 0, 0), (1, 1, 1))
    write_mapper_folder(*net, calibrated(tmp_path, spec), tmp_path / "mapper", "face")
    cfg = read_cfg((tmp_path / "mapper" / "face_func_16bit.cfg").read_text())
    assert (cfg.get("norm_type"), cfg.get("mean_file")) == ("0", "null")


def test_a_gray_network_is_written(tmp_path: Path) -> None:
    spec = InputSpec("GRAY", (128,), (1,), fill=(0,))
    weights = tmp_path / "g.caffemodel"
    weights.write_bytes(b"weights")
    net = network(tmp_path / "g.prototxt", channels=1)
    write_mapper_folder(net, weights, calibrated(tmp_path, spec), tmp_path / "mapper")
    assert "one gray U8 plane" in (tmp_path / "mapper" / "README.txt").read_text()
    assert (tmp_path / "mapper" / "mean.txt").read_text().split() == ["128.0"]


def test_a_second_time_keeps_compiled_files_and_drops_old_pictures(
    tmp_path: Path, net: tuple[Path, Path]
) -> None:
    out = tmp_path / "mapper"
    write_mapper_folder(*net, calibrated(tmp_path, count=3), out, "face")
    (out / "face_inst_8bit.wk").write_bytes(b"hours of work")
    (out / "pictures" / "mine.bmp").write_bytes(b"mine")
    write_mapper_folder(*net, calibrated(tmp_path, count=2), out, "face")
    assert (out / "face_inst_8bit.wk").read_bytes() == b"hours of work"
    names = sorted(x.name for x in (out / "pictures").iterdir())
    assert names == ["000_bild_0_e.bmp", "001_bild_1_e.bmp", "mine.bmp"]
    assert not [x for x in out.iterdir() if x.name.startswith(".")]


@pytest.mark.parametrize(("channels", "height", "width"), [(1, 32, 64), (3, 64, 32), (3, 32, 32)])
def test_a_set_of_another_size_is_refused(
    tmp_path: Path, net: tuple[Path, Path], channels: int, height: int, width: int
) -> None:
    network(net[0], channels, height, width)
    message = f"reads {channels}x{height}x{width} .* set is 3x32x64; run nnie calibrate"
    with pytest.raises(InputError, match=message):
        write_mapper_folder(*net, calibrated(tmp_path), tmp_path / "mapper")
    assert not (tmp_path / "mapper").exists()


TWO_INPUTS = (
    'input: "a" input_shape { dim: 1 dim: 3 dim: 32 dim: 64 }\n'
    'input: "b" input_shape { dim: 1 dim: 2 dim: 3 dim: 1 }\n'
    'layer { name: "one" type: "ReLU" bottom: "a" top: "c" }\n'
    'layer { name: "two_hp" type: "ReLU" bottom: "b" top: "d" }\n'
)


def test_every_input_has_its_own_data(tmp_path: Path, net: tuple[Path, Path]) -> None:
    net[0].write_text(TWO_INPUTS)
    text = tmp_path / "tensors.txt"
    text.write_text("1,2,3 4 5 -6e-1\n1 2 3 4 5 6\n")
    out = tmp_path / "mapper"
    result = write_mapper_folder(*net, [calibrated(tmp_path), text], out, "two")
    assert result.runs[-2:] == ("two_func_mixed", "two_inst_mixed")  # a layer is marked _hp
    cfg = read_cfg((out / "two_inst_mixed.cfg").read_text())
    assert cfg.get("compile_mode") == "2"
    assert cfg.inputs() == [
        {"image_list": "./input1/image_list.txt", "image_type": "1", "norm_type": "5",
         "mean_file": "./input1/mean.txt"},
        {"image_list": "./input2/input.txt", "image_type": "0", "norm_type": "0",
         "mean_file": "null"},
    ]  # fmt: skip
    names = (out / "input1" / "image_list.txt").read_text().splitlines()
    assert len(names) == 3
    assert all((out / x).is_file() for x in names)
    assert (out / "input2" / "input.txt").read_text() == text.read_text()
    readme = (out / "README.txt").read_text()
    assert "input2/input.txt" in readme
    assert "input1/pictures/002_bild_2_e.bmp" in readme


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "holds no tensor"),
        ("1 2 3 4 5\n", "tensor 1 has 5 numbers, the network's input 6"),
        ("1 2 3 4 5 6\n1 2 3 4 5 x\n", "tensor 2: could not convert"),
        ("1 2 3 4 5 nan\n", "not finite"),
    ],
)
def test_tensors_that_do_not_fit_are_refused(
    tmp_path: Path, net: tuple[Path, Path], text: str, message: str
) -> None:
    net[0].write_text(TWO_INPUTS)
    (tmp_path / "t.txt").write_text(text)
    with pytest.raises(InputError, match=message):
        write_mapper_folder(*net, [calibrated(tmp_path), tmp_path / "t.txt"], tmp_path / "mapper")
    assert not (tmp_path / "mapper").exists()


def test_too_few_inputs_are_refused(tmp_path: Path, net: tuple[Path, Path]) -> None:
    net[0].write_text(TWO_INPUTS)
    with pytest.raises(
        InputError, match=r"has 2 inputs \(a, b\); give --calibration once for each"
    ):
        write_mapper_folder(*net, calibrated(tmp_path), tmp_path / "mapper")


def test_tops_of_custom_layers_are_inputs_of_the_cfg(
    tmp_path: Path, net: tuple[Path, Path]
) -> None:
    network(net[0])
    net[0].write_text(
        net[0].read_text()
        + 'layer { name: "mine" type: "Custom" bottom: "out" top: "t1" top: "t2"\n'
        "  custom_param { shape { dim: 1 dim: 2 } shape { dim: 1 dim: 3 } } }\n"
        'layer { name: "end" type: "ReLU" bottom: "t1" top: "e" }\n'
    )
    texts = [tmp_path / "t1.txt", tmp_path / "t2.txt"]
    for text, numbers in zip(texts, ("1 2\n", "1 2 3\n"), strict=True):
        text.write_text(numbers)
    write_mapper_folder(*net, [calibrated(tmp_path), *texts], tmp_path / "mapper", "c")
    cfg = read_cfg((tmp_path / "mapper" / "c_inst_8bit.cfg").read_text())
    assert [x["image_type"] for x in cfg.inputs()] == ["1", "0", "0"]


def test_yuv_is_written_and_needs_an_even_size(tmp_path: Path, net: tuple[Path, Path]) -> None:
    out = tmp_path / "mapper"
    write_mapper_folder(*net, calibrated(tmp_path), out, "y", image_type=3)
    cfg = read_cfg((out / "y_inst_8bit.cfg").read_text())
    assert (cfg.get("image_type"), cfg.get("norm_type"), cfg.get("RGB_order")) == ("3", "5", "RGB")
    assert "YUV420SP, V before U" in (out / "README.txt").read_text()
    # A set with YVU420SP files says itself what the board feeds.
    record = tmp_path / "calibration" / "calibration.json"
    text = record.read_text()
    assert '"yuv": null' in text
    record.write_text(text.replace('"yuv": null', '"yuv": {"matrix": "bt601", "range": "full"}'))
    for asked, kind in ((None, "3"), (1, "1")):
        write_mapper_folder(*net, tmp_path / "calibration", out, "y", image_type=asked)
        cfg = read_cfg((out / "y_inst_8bit.cfg").read_text())
        assert cfg.get("image_type") == kind
    with pytest.raises(InputError, match="image_type 0: pictures are 1"):
        write_mapper_folder(*net, calibrated(tmp_path), out, "y", image_type=0)


def test_options_are_set_and_their_files_copied(tmp_path: Path, net: tuple[Path, Path]) -> None:
    clips = tmp_path / "Größe.json"
    clips.write_text("{}")
    out = tmp_path / "mapper"
    given = {"batch_num": "16", "internal_stride": "32", "gfpq_param_file": str(clips)}
    write_mapper_folder(*net, calibrated(tmp_path), out, "o", settings=given)
    cfg = read_cfg((out / "o_inst_8bit.cfg").read_text())
    assert (cfg.get("batch_num"), cfg.get("internal_stride")) == ("16", "32")
    assert cfg.get("gfpq_param_file") == "./gfpq_param_file.json"
    assert (out / "gfpq_param_file.json").read_text() == "{}"
    for settings, message in (
        ({"batch_num": "257"}, "it can be 0 to 256"),
        ({"compile_mode": "1"}, "cannot be set here"),
        ({"nothing": "1"}, "cannot be set here"),
        ({"gfpq_param_file": "no.json"}, "cannot read no.json"),
    ):
        with pytest.raises(InputError, match=message):
            write_mapper_folder(*net, calibrated(tmp_path), out, "o", settings=settings)


def test_the_chip_names_the_mapper(tmp_path: Path, net: tuple[Path, Path]) -> None:
    result = write_mapper_folder(
        *net, calibrated(tmp_path), tmp_path / "mapper", "old", chip="hi3559av100"
    )
    assert result.commands[-1] == "nnie_mapper_11 old_inst_16bit.cfg"
    assert "nnie_mapper_11 is the mapper of NNIE 1.1" in (
        tmp_path / "mapper" / "README.txt"
    ).read_text()  # fmt: skip


@pytest.mark.parametrize("name", ["", "größe", "a b", "../x", "-x", "x" * 81, "a\n"])
def test_other_names_are_refused(tmp_path: Path, net: tuple[Path, Path], name: str) -> None:
    with pytest.raises(InputError, match="use 1 to 80 of"):
        write_mapper_folder(*net, calibrated(tmp_path), tmp_path / "mapper", name)


def test_a_scale_a_channel_is_not_expressible(tmp_path: Path, net: tuple[Path, Path]) -> None:
    spec = InputSpec("RGB", (1, 2, 3), (0.1, 0.2, 0.3))
    with pytest.raises(NotExpressibleError):
        write_mapper_folder(*net, calibrated(tmp_path, spec), tmp_path / "mapper")
    assert not (tmp_path / "mapper" / "mean.txt").exists()


def test_a_missing_picture_is_named(tmp_path: Path, net: tuple[Path, Path]) -> None:
    calibration = calibrated(tmp_path)
    (calibration / "pictures" / "001_bild_1_e.bmp").unlink()
    with pytest.raises(InputError, match=r"001_bild_1_e\.bmp is missing; run nnie calibrate again"):
        write_mapper_folder(*net, calibration, tmp_path / "mapper")

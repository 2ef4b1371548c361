"""`nnie cfg --check` and `--explain`: a cfg that is right, and one fault at a time."""

from __future__ import annotations

import re
import time
from pathlib import Path

import cv2
import numpy as np
import pytest

from nnie_pipeline.caffe.caffe_pb2 import BlobProto, LayerParameter, NetParameter
from nnie_pipeline.calibration.network_input import InputSpec
from nnie_pipeline.calibration.pictures import find_pictures
from nnie_pipeline.calibration.sets import write_set
from nnie_pipeline.mapper.cfg import scan_cfg
from nnie_pipeline.mapper.cfg_rules import text_findings
from nnie_pipeline.mapper.options import options
from nnie_pipeline.stages.check_cfg import check_cfg, explain_cfg, explain_options
from tests.branched_net import branched
from tests.builds import Cli
from tests.published_cfgs import CFGS

NET = """
name: "n" input: "data" input_shape { dim: 1 dim: 3 dim: 32 dim: 64 }
layer { name: "relu" type: "ReLU" bottom: "data" top: "out" }
"""
GOOD = """\
[prototxt_file] ./net.prototxt
[caffemodel_file] ./net.caffemodel
[net_type] 0
[batch_num] 1
[compile_mode] 0
[is_simulation] 1
[log_level] 3
[instruction_name] ./net
[RGB_order] RGB
[image_list] ./list.txt
[image_type] 1
[norm_type] 5
[mean_file] ./mean.txt
[data_scale] 0.0078125
"""
SPEC = InputSpec("RGB", (127.5,) * 3, (1 / 128,) * 3)


def encoded(suffix: str, size: tuple[int, int] = (32, 64)) -> bytes:
    noise = np.random.default_rng(0).integers(0, 256, (*size, 3), dtype=np.uint8)
    return bytes(cv2.imencode(suffix, noise)[1])


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "net.prototxt").write_text(NET)
    (tmp_path / "net.caffemodel").write_bytes(
        NetParameter(layer=[LayerParameter(name="relu", type="ReLU")]).SerializeToString()
    )
    (tmp_path / "mean.txt").write_text("127.5\n127.5\n127.5\n")
    (tmp_path / "other.txt").write_text("1\n2\n")
    (tmp_path / "one.txt").write_text("0.5\n0.5\n0.5\n")
    (tmp_path / "bad.txt").write_text("127.5 BGR\n")
    (tmp_path / "row.txt").write_text("127.5 127.5 127.5\n")
    (tmp_path / "a folder").mkdir()
    (tmp_path / "tensors.txt").write_text(" ".join(["1"] * 6144) + "\n")
    (tmp_path / "short.txt").write_text(" ".join(["1"] * 6143) + "\n")
    picture = BlobProto(channels=3, height=1, width=1, num=1, data=[1, 2, 3])
    (tmp_path / "mean.binaryproto").write_bytes(picture.SerializeToString())
    names = [f"{i}.png" for i in range(20)]
    for name in names:
        (tmp_path / name).write_bytes(encoded(".png"))
    (tmp_path / "list.txt").write_text("".join(f"./{x}\n" for x in names))
    (tmp_path / "crlf.txt").write_bytes(b"".join(b"./%d.png\r\n" % x for x in range(20)))
    (tmp_path / "a b.png").write_bytes(encoded(".png"))
    (tmp_path / "space.txt").write_text("./0.png\n./a b.png\n")
    (tmp_path / "false.bmp").write_text("hi\n")
    (tmp_path / "false.txt").write_text("./0.png\n./false.bmp\n")
    (tmp_path / "large.jpg").write_bytes(encoded(".jpg", (48, 64)))
    (tmp_path / "sizes.txt").write_text("./0.png\n./large.jpg\n")
    (tmp_path / "gone.txt").write_text("./0.png\n./nowhere.png\n./weg.jpg\n")
    (tmp_path / "umlaut.txt").write_text("./0.png\n./größe.png\n")
    (tmp_path / "größe.png").write_bytes(encoded(".png"))
    (tmp_path / "kinds.txt").write_text("./0.png\n./mean.txt\n./sub.GIF\n")
    (tmp_path / "sub.GIF").write_bytes(b"")
    (tmp_path / "empty.txt").write_text("\n")
    return tmp_path


def findings(folder: Path, text: str, spec: InputSpec | None = SPEC) -> list[tuple[int, str, str]]:
    """(line, severity, message) of each finding."""
    (folder / "my.cfg").write_text(text, encoding="utf-8")
    found = check_cfg(folder / "my.cfg", spec=spec)
    assert all(x.fix for x in found)
    return [(x.line, x.severity, x.message) for x in found]


def test_a_right_cfg_has_no_findings(folder: Path) -> None:
    assert findings(folder, GOOD) == []


@pytest.mark.parametrize(
    ("old", "new", "line", "severity", "message"),
    [
        # files
        ("./net.prototxt", "./no.prototxt", 1, "error", "found nothing there"),
        ("./net.caffemodel", "./a folder", 2, "error", "found a folder there"),
        ("./list.txt", "./no.txt", 10, "error", "found nothing there"),
        ("./mean.txt", "./no.txt", 13, "error", "found nothing there"),
        ("./net\n", "./gone/net\n", 8, "warning", "of the .wk is not there"),
        # entries of the list
        ("./list.txt", "./gone.txt", 10, "error",
         "2 of 3 entries of ./gone.txt are not there: ./nowhere.png, ./weg.jpg"),
        ("./list.txt", "./umlaut.txt", 10, "error", "1 of 2 entries .* not in ASCII: ./größe.png"),
        ("./list.txt", "./kinds.txt", 10, "error", "2 of 3 entries .* no pictures by their names"),
        ("./list.txt", "./empty.txt", 10, "error", "names no picture"),
        ("./list.txt", "./gone.txt", 10, "hint", "names 3 pictures"),
        ("./list.txt", "./crlf.txt", 10, "warning", "the line ends of Windows"),
        ("./list.txt", "./space.txt", 10, "warning", "1 of 2 entries .* with a space.*: ./a b.png"),
        ("./list.txt", "./false.txt", 10, "error",
         "1 of 2 entries .* no whole pictures: ./false.bmp is corrupt or no picture"),
        ("./list.txt", "./sizes.txt", 10, "warning",
         r"1 of 2 entries .* are not 32x64 .*: ./large.jpg \(48x64\); the guide does not say"),
        # scale and norm against the model
        ("0.0078125", "0.00390625", 14, "error",
         "the model multiplies pixels by 0.0078125, the cfg by 0.00390625"),
        ("0.0078125", "0.0078", 14, "warning", "0.0078 has too few digits"),
        ("0.0078125", "0.00784313725", 14, "error", "0.0078125, the cfg by 0.00784313725"),
        ("[norm_type] 5", "[norm_type] 2", 14, "error", "by 0.0078125, the cfg by 1"),
        ("[norm_type] 5", "[norm_type] 3", 12, "error",
         "the model's means are 127.5, 127.5, 127.5, those of the cfg none"),
        ("./mean.txt", "./one.txt", 13, "warning", "means of at most 1"),
        ("./mean.txt", "./one.txt", 13, "error", "those of the cfg 0.5, 0.5, 0.5"),
        ("./mean.txt", "./other.txt", 13, "error", "has 2 means, the input data 3 channels"),
        ("./mean.txt", "./bad.txt", 13, "error", "is no list of numbers"),
        ("./mean.txt", "./row.txt", 13, "warning", "has 3 numbers in 1 lines"),
        ("[RGB_order] RGB", "[RGB_order] BGR", 9, "error", "the model takes RGB, the cfg says BGR"),
        ("[RGB_order] RGB\n", "", 0, "error", "the model takes RGB, the cfg says BGR"),
        ("[data_scale] 0.0078125\n", "", 0, "warning", "the mapper takes 1/256"),
        ("[norm_type] 5", "[norm_type] 0", 14, "hint", "no norm_type reads data_scale"),
        ("./mean.txt", "null", 13, "error", "norm_type 5 and mean_file null do not go together"),
        ("./mean.txt", "./mean.binaryproto", 13, "error", "norm_type 5 reads a text file"),
        ("[norm_type] 5", "[norm_type] 4", 13, "error", "norm_type 4 reads a .binaryproto"),
        ("[image_type] 1", "[image_type] 0", 12, "warning", "norm_type 5 with image_type 0"),
        # spelling, paths, comments, form
        ("[instruction_name]", "[instructions_name]", 8, "warning", "all working files say instru"),
        ("./net.prototxt", "./größe.prototxt", 1, "error", "ASCII paths only"),
        ("[net_type] 0", "[net_type] 0 # a CNN", 3, "warning", "a comment"),
        ("[net_type] 0\n", "# a CNN\n[net_type] 0\n", 3, "warning", "a comment"),
        ("[net_type] 0", "net_type 0", 3, "error", "'net_type 0' is no option"),
        ("[net_type] 0", "net_type 0", 0, "error", r"the line \[net_type\] is missing"),
        ("[mean_file] ./mean.txt\n", "", 0, "error", r"the line \[mean_file\] is missing"),
        ("[batch_num] 1", "[bf16_mode] 1", 4, "warning", "no document says what bf16_mode does"),
        ("./list.txt", "./a folder/my list.txt", 10, "warning", "a path with a space"),
        ("[batch_num]", "[batchnum]", 4, "error", "is no option of the mapper"),
        ("[batch_num] 1\n", "[batch_num] 1\n[batch_num] 2\n", 5, "error", "stands there 2 times"),
        ("[instruction_name] ./net", "[instruction_name] ./net.wk", 8, "warning", "adds .wk"),
        # ranges
        ("[batch_num] 1", "[batch_num] 257", 4, "error", "is 257; it can be 0 to 256"),
        ("[compile_mode] 0", "[compile_mode] 3", 5, "error", "is 3; it can be 0, 1, 2"),
        ("[image_type] 1", "[image_type] 2", 11, "error", "is 2; it can be 0, 1, 3, 5"),
        ("[net_type] 0", "[net_type] 5", 3, "error", "5, but the network's layers ask for 0"),
        ("[net_type] 0", "[net_type]", 3, "error", "net_type has no value"),
        # the network
        ("[net_type] 0", "[net_type] 2", 3, "error", "the network's layers ask for 0"),
        ("[compile_mode] 0", "[compile_mode] 2", 5, "warning", "no layer's name ends in _hp"),
        ("[image_type] 1", "[image_type] 1\n[image_type] 1", 12, "error", "2 times image_type"),
        ("[is_simulation] 1", "[is_simulation] 0", 7, "hint", "still slower"),
    ],
)  # fmt: skip
def test_each_fault_is_found_in_its_line(
    folder: Path, old: str, new: str, line: int, severity: str, message: str
) -> None:
    assert GOOD.count(old) == 1
    found = findings(folder, GOOD.replace(old, new))
    matching = [x for x in found if x[:2] == (line, severity) and re.search(message, x[2])]
    assert len(matching) == 1, found


def test_floats_are_counted(folder: Path) -> None:
    text = GOOD.replace("[norm_type] 5", "[norm_type] 0").replace(
        "[image_type] 1", "[image_type] 0"
    )
    text = text.replace("[data_scale] 0.0078125\n", "").replace("./mean.txt", "null")
    assert findings(folder, text.replace("./list.txt", "./tensors.txt")) == []
    ((line, severity, message),) = findings(folder, text.replace("./list.txt", "./short.txt"))
    assert (line, severity) == (10, "error")
    assert "tensor 1 has 6143 numbers, the network's input 6144" in message


def test_mean_pictures_are_read(folder: Path) -> None:
    text = GOOD.replace("[norm_type] 5", "[norm_type] 4")
    assert findings(folder, text.replace("./mean.txt", "./mean.binaryproto"), None) == []
    (folder / "mean.binaryproto").write_bytes(b"\xff\xff")
    ((_, severity, message),) = findings(
        folder, text.replace("./mean.txt", "./mean.binaryproto"), None
    )
    assert (severity, "is no .binaryproto" in message) == ("error", True)


@pytest.mark.parametrize(
    ("layer", "message"),
    [
        ('name: "bn" type: "Power" bottom: "data" top: "out"', "may be normalised twice"),
        ('name: "relu_hp" type: "ReLU" bottom: "data" top: "out"', "only compile_mode 2 reads"),
        ('name: "x" type: "NoSuch" bottom: "data" top: "out"', "to have the type NoSuch (x)"),
        (
            'name: "x" type: "Convolutiom" bottom: "data" top: "out"',
            "type Convolutiom (x); did you mean Convolution?",
        ),
        (
            'name: "x" type: "Pooling" bottom: "data" top: "out" pooling_param { kernel_size: 99 }',
            "the map is smaller than the window",
        ),
        ('name: "x" type: "ReLU" bottom: "nothing" top: "out"', "reads blob nothing"),
    ],
)
def test_the_network_is_looked_at(folder: Path, layer: str, message: str) -> None:
    (folder / "net.prototxt").write_text(NET.partition("layer")[0] + f"layer {{ {layer} }}\n")
    found = findings(folder, GOOD)
    assert [message in x[2] for x in found] == [True]


def test_the_weights_are_the_network_s(folder: Path) -> None:
    prototxt, caffemodel = branched(folder)
    data = caffemodel.read_bytes()
    text = GOOD.replace("./net.prototxt", f"./{prototxt.name}")
    text = text.replace("./net.caffemodel", "./w.caffemodel").replace("./list.txt", "./b.txt")
    (folder / "b.png").write_bytes(encoded(".png", (16, 24)))
    (folder / "b.txt").write_text("./b.png\n" * 20)

    def judged(weights: bytes) -> list[tuple[int, str, str]]:
        (folder / "w.caffemodel").write_bytes(weights)
        return findings(folder, text)

    assert judged(data) == []
    ((line, severity, message),) = judged(data[: len(data) // 2])
    assert (line, severity, "is not a caffemodel or is truncated" in message) == (2, "error", True)
    proto = NetParameter.FromString(data)
    for layer in proto.layer:
        layer.name += "_x" if layer.name in ("conv1", "fc") else ""
    ((line, severity, message),) = judged(proto.SerializeToString())
    assert (line, severity) == (2, "error")
    assert message.endswith("2 of 5 layers have no weights: conv1, fc")
    proto = NetParameter.FromString(data)
    (side,) = (x for x in proto.layer if x.name == "side")
    side.blobs[0].CopyFrom(proto.layer[[x.name for x in proto.layer].index("conv1")].blobs[0])
    ((line, severity, message),) = judged(proto.SerializeToString())
    assert (line, severity) == (2, "error")
    assert "1 of 5 layers have others' weights: side (its weights are 8x3x3x3, not" in message


def test_of_public_models_only_their_own_weights_pass(folder: Path, shared: Path) -> None:
    models = shared / "models"
    text = GOOD.replace("./net.prototxt", str(models / "retinaface_mnet025" / "mnet.prototxt"))
    for name, fits in (("retinaface_mnet025/mnet", True), ("ultraface/RFB-320", False)):
        given = text.replace("./net.caffemodel", str(models / f"{name}.caffemodel"))
        found = [x for x in findings(folder, given) if x[0] == 2]
        assert (not found) == fits, found


def test_many_pictures_are_looked_at_quickly(folder: Path) -> None:
    data = encoded(".png", (720, 1280))
    lines = []
    for number in range(100):
        lines.append(f"./large{number}.png\n")
        (folder / f"large{number}.png").write_bytes(data)
    (folder / "large.txt").write_text("".join(lines))
    (folder / "my.cfg").write_text(GOOD.replace("./list.txt", "./large.txt"))
    told: list[tuple[int, int]] = []
    started = time.process_time()
    found = check_cfg(folder / "my.cfg", progress=lambda *x: told.append(x))
    # To decode one takes 30 ms and more.
    assert time.process_time() - started < 1
    assert any("100 of 100 entries" in x.message for x in found)
    assert told == [(x, 100) for x in range(1, 101)]


def test_yuv_needs_an_even_size(folder: Path) -> None:
    text = GOOD.replace("[image_type] 1", "[image_type] 3")
    assert findings(folder, text) == []
    (folder / "net.prototxt").write_text(NET.replace("dim: 32", "dim: 33"))
    assert [x[0] for x in findings(folder, text) if "even height and width" in x[2]] == [11]
    other = findings(folder, text.replace("[image_type] 3", "[image_type] 5"))
    assert [x[0] for x in other if "are not 33x64" not in x[2]] == []
    (folder / "net.prototxt").write_text(NET.replace("dim: 3 ", "dim: 7 "))
    assert any("which no picture is" in x[2] for x in findings(folder, GOOD))


def test_groups_and_inputs_are_counted(folder: Path) -> None:
    (folder / "net.prototxt").write_text(
        'input: "a" input_shape { dim: 1 dim: 3 dim: 32 dim: 64 }\n'
        'input: "b" input_shape { dim: 1 dim: 3 dim: 32 dim: 64 }\n'
        'layer { name: "s" type: "Eltwise" bottom: "a" bottom: "b" top: "out" }\n'
    )
    ((line, severity, message),) = findings(folder, GOOD)
    assert (line, severity) == (10, "error")
    assert "1 groups of input options, but the network has 2 inputs (a, b)" in message
    second = "[image_list] ./list.txt\n[image_type] 1\n[norm_type] 5\n[mean_file] ./mean.txt\n"
    assert findings(folder, GOOD + second) == []


def test_scales_a_channel_cannot_be_said(folder: Path) -> None:
    spec = InputSpec("RGB", (127.5,) * 3, (0.1, 0.2, 0.3))
    assert any("no cfg can say" in x[2] for x in findings(folder, GOOD, spec))


def test_the_chip_s_mapper_is_known(folder: Path) -> None:
    (folder / "clips.json").write_text("{}")
    (folder / "my.cfg").write_text(GOOD + "[gfpq_param_file] ./clips.json\n")
    assert check_cfg(folder / "my.cfg", nnie="1.2") == []
    (found,) = check_cfg(folder / "my.cfg", nnie="1.1")
    assert "the mapper of NNIE 1.1 has no such option" in found.message


# What each published file has wrong by itself: comments of j and k2, d's norm_type beside
# image_type 0, empty values of the skeletons c and g, h without what its wrapper adds.
PUBLISHED = {
    "a": set(), "b": set(), "e": set(), "f": set(), "i": set(), "k1": set(), "l": set(),
    "m": set(), "n": set(),
    "j": {"compile_mode"}, "k2": {"is_simulation"},
    "c": {"prototxt_file", "caffemodel_file", "net_type", "instruction_name", "norm_type",
          "image_type", "image_list"},
    "d": {"norm_type", "data_scale"},
    "g": {"prototxt_file", "caffemodel_file", "image_list"},
    "h": {"prototxt_file", "caffemodel_file"},
}  # fmt: skip


@pytest.mark.parametrize("name", sorted(CFGS))
def test_published_cfg_files_are_judged(name: str) -> None:
    found = text_findings(scan_cfg(CFGS[name][0]))
    assert {x.key for x in found if x.severity != "hint"} == PUBLISHED[name]


@pytest.mark.parametrize("name", sorted(CFGS))
def test_published_cfg_files_are_explained_line_by_line(name: str) -> None:
    text, count, _, _ = CFGS[name]
    lines = explain_cfg(scan_cfg(text))
    assert len(lines) == count + len(scan_cfg(text).foreign)
    assert all(meaning for _, meaning in lines)


def test_every_option_is_explained() -> None:
    lines = dict(explain_options())
    assert set(lines) == {f"[{x}]" for x in options()}
    assert "0 to 256" in lines["[batch_num]"]
    assert "16 bit for the inputs of layers whose names end in _hp" in lines["[compile_mode]"]


def test_the_command_ends_with_1_when_something_is_wrong(folder: Path, cli: Cli) -> None:
    (folder / "my.cfg").write_text(GOOD)
    done = cli("cfg", "--check", folder / "my.cfg", "--explain")
    assert (done.status, done.err) == (0, "")
    assert (
        "[compile_mode] 0\n    the width of weights and inputs: 8 bit (low bandwidth)" in done.out
    )
    assert "[compress_mode] 0" in done.out.partition("not in the file")[2]
    assert "nothing wrong" in done.out
    (folder / "my.cfg").write_text(GOOD.replace("[net_type] 0", "[net_type] 7 # what"))
    done = cli("cfg", "--check", folder / "my.cfg")
    assert done.status == 1
    assert done.error.endswith("my.cfg: 1 errors, 1 warnings")
    assert "line 3 [net_type] error: net_type is 7; it can be 0, 1, 2; write one of" in done.out
    record = cli("cfg", "--check", folder / "my.cfg", "--json").json
    assert [(x["line"], x["severity"]) for x in record["findings"]] == [
        (3, "warning"), (3, "error")
    ]  # fmt: skip


def test_warnings_alone_end_with_0(folder: Path, cli: Cli) -> None:
    (folder / "my.cfg").write_text(GOOD.replace("[net_type] 0", "[net_type] 0 # a CNN"))
    done = cli("cfg", "--check", folder / "my.cfg")
    assert (done.status, done.err) == (0, "")
    assert "warning: a comment" in done.out
    assert "my.cfg: no errors, 1 warnings" in done.out
    assert cli("cfg", "--check", folder / "my.cfg", "--json").status == 0
    (folder / "my.cfg").write_text(GOOD.replace("[is_simulation] 1", "[is_simulation] 0"))
    assert "nothing wrong" in cli("cfg", "--check", folder / "my.cfg").out
    assert cli("cfg", "--check", folder).status == 2


@pytest.mark.parametrize(
    ("old", "new"),
    [
        ("[norm_type] 5", "[norm_type] x"),
        ("[norm_type] 5", "[norm_type]"),
        ("[image_type] 1", "[image_type] planar"),
        ("[net_type] 0", "[net_type] CNN"),
        ("[net_type] 0", "net_type = 0"),
        ("./net.prototxt", "./no.prototxt"),
        ("0.0078125", "1/128"),
        ("[compile_mode] 0", "[compile_mode] 8bit"),
    ],
)
def test_one_bad_value_hides_no_other_fault(folder: Path, old: str, new: str) -> None:
    text = GOOD.replace("RGB_order] RGB", "RGB_order] BGR").replace("./list.txt", "./gone.txt")
    text = text.replace("./mean.txt", "./bad.txt").replace("[batch_num] 1", "[batch_num] 1000")
    before = {(line, message) for line, _, message in findings(folder, text)}
    assert len(before) == 5
    after = {(line, message) for line, _, message in findings(folder, text.replace(old, new))}
    assert before <= after
    assert len(after) > len(before)


def test_a_value_of_another_issue_of_the_guide_is_said_once(folder: Path) -> None:
    (folder / "my.cfg").write_text("[net_type] 5\n")
    (found,) = (x for x in check_cfg(folder / "my.cfg") if x.key == "net_type")
    assert (found.severity, found.message) == ("warning", "net_type is 5; it can be 0, 1, 2")
    assert found.fix.count("write 2") == 1
    assert "00B06" in found.fix


def test_paths_that_are_not_ascii_are_named_wherever_they_stand(tmp_path: Path) -> None:
    home = tmp_path / "größe"
    home.mkdir()
    (home / "my.cfg").write_text(GOOD.replace("./net\n", "./nätz/net\n"), encoding="utf-8")
    found = [(x.line, x.severity) for x in check_cfg(home / "my.cfg") if "ASCII" in x.message]
    assert found == [(0, "warning"), (8, "error")]


def test_windows_paths_are_told_apart(folder: Path, cli: Cli) -> None:
    (folder / "my.cfg").write_text(GOOD.replace("./list.txt", ".\\list.txt"))
    assert "write / between folders" in cli("cfg", "--check", folder / "my.cfg").out


def test_lines_are_explained_as_they_stand(tmp_path: Path, cli: Cli) -> None:
    (tmp_path / "my.cfg").write_text(
        "# by hand\n[bf16_mode] 1 # what\n[net_type] 7\nhello\x1b[2J\n[data_scale] 0.0039215686\n"
        "[image_type] 1\n[image_type] 0\n[mean_file] null\n[nothing] 1\n"
    )
    lines = cli("cfg", "--explain", tmp_path / "my.cfg").out.partition("not in the file")[0]
    assert lines.splitlines() == [
        "# by hand",
        "    a comment (no document says that the mapper skips it)",
        "[bf16_mode] 1",
        "    no document says what this option does",
        "    comment: what (no document says that the mapper skips it)",
        "[net_type] 7",
        "    what kind of network it is",
        "    wrong: net_type is 7; it can be 0, 1, 2",
        "hello?[2J",
        "    no option: a line is [key] value",
        "[data_scale] 0.0039215686",
        "    the factor of norm_type 3, 4 and 5, one number for all channels: 1/255",
        "[image_type] 1",
        "    input 1: what the board will feed into this input: U8, gray or planar with 3 channels",
        "[image_type] 0",
        "    input 2: what the board will feed into this input: 32-bit numbers, a feature map or "
        "vector; image_list holds tensors",
        "[mean_file] null",
        f"    input 1: {options()['mean_file'].meaning}",
        "    here none are read",
        "[nothing] 1",
        "    no option of the mapper",
    ]


def test_what_is_wanted_comes_from_a_model_or_a_set(folder: Path, tmp_path: Path, cli: Cli) -> None:
    (folder / "my.cfg").write_text(GOOD)
    wrong = cli("cfg", "--check", folder / "my.cfg", "--model", "retinaface")
    assert wrong.status == 1
    assert "the model's means are 104, 117, 123" in wrong.out
    (tmp_path / "in").mkdir()
    noise = np.random.default_rng(0).integers(0, 256, (20, 30, 3), dtype=np.uint8)
    (tmp_path / "in" / "a.png").write_bytes(bytes(cv2.imencode(".png", noise)[1]))
    write_set(find_pictures(tmp_path / "in"), SPEC, (32, 64), tmp_path / "set")
    given = ("cfg", "--check", folder / "my.cfg", "--calibration", tmp_path / "set")
    assert cli(*given).status == 0
    (folder / "my.cfg").write_text(GOOD.replace("0.0078125", "0.00784313725"))
    assert cli(*given).status == 1
    moved = tmp_path / "else"
    moved.mkdir()
    (folder / "my.cfg").rename(moved / "my.cfg")
    assert "found nothing there" in cli("cfg", "--check", moved / "my.cfg").out
    there = cli("cfg", "--check", moved / "my.cfg", "--from", folder)
    assert (there.status, there.err) == (0, "")


def test_damaged_and_foreign_files_are_judged(folder: Path, cli: Cli) -> None:
    (folder / "gbk.cfg").write_bytes(
        GOOD.replace("[net_type] 0", "[net_type] 0 # 网络").encode("gbk")
    )
    done = cli("cfg", "--check", folder / "gbk.cfg")
    assert "line 3 [net_type] warning: a comment" in done.out
    (folder / "random.cfg").write_bytes(bytes(range(256)) * 20)
    assert cli("cfg", "--check", folder / "random.cfg").status == 1
    (folder / "empty.cfg").write_bytes(b"")
    assert "the line [image_list] is missing" in cli("cfg", "--check", folder / "empty.cfg").out
    (folder / "large.cfg").write_bytes(b"[net_type] 0\n" * 100_000)
    done = cli("cfg", "--check", folder / "large.cfg")
    assert (done.status, "is it a cfg file" in done.error) == (2, True)
    assert "found nothing there" in cli("cfg", "--check", folder / "no.cfg").error


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((), "to write cfg files give PROTOTXT"),
        (("net.prototxt",), "to write cfg files give PROTOTXT"),
        (("--check", "my.cfg", "--from", "nowhere"), "found no folder there"),
        (("--check", "my.cfg", "--model", "retinafac"), "did you mean retinaface"),
        (("--check", "my.cfg", "--model", "retinaface", "--calibration", "x"), "give one"),
        (("--explain", "no.cfg"), "found nothing there"),
        (("--check", "my.cfg", "--chip", "hi1"), "is not known"),
    ],
)
def test_bad_use_is_one_line(
    folder: Path,
    cli: Cli,
    monkeypatch: pytest.MonkeyPatch,
    arguments: tuple[str, ...],
    message: str,
) -> None:
    monkeypatch.chdir(folder)
    (folder / "my.cfg").write_text(GOOD)
    done = cli("cfg", *arguments)
    assert (done.status, message in done.error) == (2, True), done

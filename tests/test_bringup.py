"""`nnie bringup`: what is in the kit, and that it agrees with the build."""

from __future__ import annotations

import io
import json
import os
import shlex
import shutil
import subprocess
import sys
import tarfile
from pathlib import Path

import numpy as np
import onnxruntime
import pytest
from onnx import helper

from nnie_pipeline.bringup.commands import board_commands
from nnie_pipeline.bringup.golden import Goldens
from nnie_pipeline.caffe.files import read_net
from nnie_pipeline.errors import InputError
from nnie_pipeline.quant.ranges import Ranges
from tests.builds import Build, Cli, Ran, hashes, nnie, pictures
from tests.conftest import missing
from tests.fake_mapper import ROOT, install
from tests.test_wk_header import Chip, Segment, func
from tests.tiny_models import save

OUTPUTS = 9
RUNS = {"16bit": "simulate/16", "8bit": "simulate/8", "float": "dump"}


def read_words(path: Path) -> np.ndarray:
    """The words of a file, line by line."""
    lines = path.read_text(encoding="ascii").splitlines()
    assert all(len(x) == 8 and x == x.lower() for x in lines)
    return np.array([int(x, 16) for x in lines], np.uint32).view(np.int32)


def test_what_is_in_the_kit(kit: Path, small_build: Build) -> None:
    assert sorted(x.name for x in kit.iterdir()) == [
        "CHECKLIST.en.md", "CHECKLIST.zh-CN.md", "PICTURES.txt", "check.py", "golden", "inputs",
        "kit.json", "nnie_decoder.c", "nnie_model.h", "run_on_board.sh",
    ]  # fmt: skip
    last = small_build.folder / "calibration" / "raw" / "008_astronaut.bgr"
    assert (kit / "inputs" / "008_astronaut.bgr").read_bytes() == last.read_bytes()
    names = [x.name for x in sorted((kit / "inputs").iterdir())]
    assert names == ["007_solvay_conference_1927.bgr", "008_astronaut.bgr", "probe.bgr"]


def test_the_coloured_input_is_the_last_behind_glass(kit: Path) -> None:
    shape = (3, 128, 128)
    plain, tinted = (
        np.frombuffer((kit / "inputs" / f"{x}.bgr").read_bytes(), np.uint8).reshape(shape)
        for x in ("008_astronaut", "probe")
    )
    assert np.array_equal(tinted[2], plain[2])
    assert np.abs(tinted[1] - plain[1] / 2).max() <= 0.5
    assert np.abs(tinted[0] - plain[0] / 10).max() <= 0.5 + 1e-9


def test_golden_outputs_are_those_of_the_build(kit: Path, small_build: Build) -> None:
    """Of the last picture the build has every value: of its outputs each is a golden file."""
    about = json.loads((kit / "kit.json").read_text(encoding="utf-8"))
    dump = json.loads((small_build.folder / "dump" / "dump.json").read_text(encoding="utf-8"))
    prototxt = (small_build.folder / "rewrite" / "retinaface.prototxt").read_text(encoding="utf-8")
    names = [x["name"] for x in about["outputs"]]
    assert names == sorted(names, key=lambda x: prototxt.index(f'top: "{x}"'))
    assert len(names) == OUTPUTS
    assert set(names) == set(dump["outputs"])
    for run, place in RUNS.items():
        for number, output in enumerate(about["outputs"]):
            golden = kit / "golden" / run / "008_astronaut"
            words = read_words(golden / f"seg0_layer{number}_output0_inst.linear.hex")
            array = np.load(small_build.folder / place / f"{output['name']}.npy")
            assert list(array.shape[1:]) == output["shape"]
            # Other threads may sum in another order; the words are rounded.
            difference = np.abs(words - np.float64(array).reshape(-1) * 4096).max()
            assert difference <= 0.5 + (0.05 if run == "float" else 1e-6), (run, output["name"])


def test_limits_are_what_the_number_format_costs(kit: Path) -> None:
    about = json.loads((kit / "kit.json").read_text(encoding="utf-8"))
    golden = kit / "golden"
    for run in ("8bit", "16bit"):
        for number in (0, 4, 8):
            file = f"008_astronaut/seg0_layer{number}_output0_inst.linear.hex"
            one, exact = (read_words(golden / x / file) / 4096 for x in (run, "float"))
            found = about["limits"]["008_astronaut"][run][number]
            noise = float(np.sqrt(np.sum((one - exact) ** 2)))
            norm = float(np.sqrt(np.sum(one**2)))
            assert found["noise"] == pytest.approx(noise)
            assert found["norm"] == pytest.approx(norm)
            least = max(0.002 * norm, 4 / 4096 * len(one) ** 0.5)
            assert found["limit"] == pytest.approx(max(1.5 * noise, least))


def test_the_decoder_finds_what_found_txt_says(kit: Path, tmp_path: Path) -> None:
    if shutil.which("gcc") is None:
        missing("gcc")
    gcc = ["gcc", "-Wall", "-Wextra", "-Werror", "-std=c99", "-DNNIE_HOST", "-o", "decode"]
    subprocess.run([*gcc, kit / "nnie_decoder.c", "-lm"], cwd=tmp_path, check=True, timeout=60)
    faces = 0
    for folder in sorted((kit / "golden").glob("*/*")):
        if "." in folder.name:  # another reading of the probe: nothing to find in it
            continue
        files = [folder / f"seg0_layer{i}_output0_inst.linear.hex" for i in range(OUTPUTS)]
        done = subprocess.run(
            [tmp_path / "decode", *files], capture_output=True, text=True, check=True, timeout=60
        )
        ours, theirs = (
            [[float(y) for y in x.split()] for x in text.splitlines()]
            for text in (done.stdout, (folder / "found.txt").read_text(encoding="ascii"))
        )
        assert np.shape(ours) == np.shape(theirs)
        assert np.allclose(ours, theirs, rtol=0, atol=2e-4)
        faces += len(ours)
    assert faces >= 3


def test_where_the_pictures_come_from_stays_with_them(kit: Path, small_build: Build) -> None:
    text = (kit / "PICTURES.txt").read_text(encoding="utf-8")
    record = json.loads(
        (small_build.folder / "calibration" / "calibration.json").read_text(encoding="utf-8")
    )
    for picture in record["pictures"][-2:]:
        assert picture["sha256"] in text
        assert picture["licence"] in text
    for path in (kit / "inputs").iterdir():
        assert f"inputs/{path.name}: " in text


def test_the_archive_is_the_folder_and_always_the_same(
    kit_run: tuple[Path, Ran], small_build: Build, tmp_path: Path, cli: Cli
) -> None:
    place, _ = kit_run
    again = tmp_path / "other name"
    assert cli("bringup", small_build.folder, "--out", again, "--count", "2").status == 0
    packed = (place / "kit.tar.gz").read_bytes()
    assert (tmp_path / "other name.tar.gz").read_bytes() == packed
    assert hashes(again) == hashes(place / "kit")
    with tarfile.open(fileobj=io.BytesIO(packed)) as tar:
        entries = tar.getmembers()
        names = [x.name for x in entries]
        assert names == sorted(names)
        assert len({x.mtime for x in entries}) == 1
        assert {(x.uid, x.gid, x.uname, x.gname) for x in entries} == {(0, 0, "", "")}
        assert all(x.isdir() or x.isfile() for x in entries)
        assert all(x.startswith("retinaface-128x128-bringup/") and ".." not in x for x in names)
        files = [x for x in entries if x.isfile()]
        assert len(files) == sum(x.is_file() for x in (place / "kit").rglob("*"))
        for entry in files:
            path = place / "kit" / entry.name.partition("/")[2]
            stored = tar.extractfile(entry)
            assert stored is not None
            assert stored.read() == path.read_bytes()
            assert bool(entry.mode & 0o111) == (path.name == "run_on_board.sh")


def test_the_checklists_name_the_network(kit: Path) -> None:
    english, chinese = (
        (kit / f"CHECKLIST.{x}.md").read_text(encoding="utf-8") for x in ("en", "zh-CN")
    )
    for text in (english, chinese):
        for word in ("hi3516dv300", "nnie_mapper_12", "NNIE 1.2", "49152", "DDR4", "u32Stride",
                     "SVP_BLOB_TYPE_YVU420SP", "arch_version", "probe.bgr", "RGB_order",
                     "run_on_board.sh", "retinaface_inst_16bit.wk", "104"):  # fmt: skip
            assert word in text, word
        assert "{" not in text
    assert "V before U" in english
    assert "V 在 U 之前" in chinese
    assert english.count("- [ ]") == chinese.count("- [ ]") >= 12


def test_outputs_that_8_bit_blurs_are_named(kit_run: tuple[Path, Ran]) -> None:
    place, ran = kit_run
    about = json.loads((place / "kit" / "kit.json").read_text(encoding="utf-8"))
    blurred = [
        about["outputs"][number]["name"]
        for picture in about["limits"].values()
        for number, x in enumerate(picture["8bit"])
        if 1.5 * x["noise"] >= 0.7 * x["norm"]
    ]
    counts = [f"{x} ({blurred.count(x)} of 3 inputs)" for x in dict.fromkeys(blurred)]
    assert counts
    said = " ".join(ran.out.split())
    assert (
        "8 bit blurs outputs so far that check.py cannot compare them with the board's: "
        f"{', '.join(counts)}; remedy: 16 bit, more calibration pictures or nnie mixed" in said
    )
    assert "16 bit blurs" not in said
    assert "no nnie_decoder.c" not in said


@pytest.mark.parametrize("compiler", [["gcc", "-x", "c", "-std=c99"], ["g++", "-x", "c++"]])
def test_the_header_alone_compiles_without_a_warning(kit: Path, compiler: list[str]) -> None:
    if shutil.which(compiler[0]) is None:
        missing(compiler[0])
    warnings = ["-Wall", "-Wextra", "-Wpedantic", "-Wunused-const-variable=2", "-Werror"]
    done = subprocess.run(
        [*compiler, *warnings, "-c", "-o", "/dev/null", kit / "nnie_model.h"],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, "")


def test_the_commands_for_the_board(kit_run: tuple[Path, Ran], small_build: Build) -> None:
    place, ran = kit_run
    mapper = small_build.folder / "mapper" / "retinaface_inst_16bit.wk"
    assert [x.strip() for x in ran.out.splitlines()[-6:]] == [
        f"scp {place / 'kit.tar.gz'} {mapper} root@BOARD:",
        "ssh root@BOARD 'tar xzf kit.tar.gz retinaface-128x128-bringup/inputs "
        "retinaface-128x128-bringup/run_on_board.sh && sh retinaface-128x128-bringup/"
        "run_on_board.sh ./sample_nnie_main retinaface_inst_16bit.wk'",
        f"rm -rf {place / 'kit-pulled'} && scp -r root@BOARD:retinaface-128x128-bringup/pulled "
        f"{place / 'kit-pulled'}",
        f"python3 {place / 'kit' / 'check.py'} {place / 'kit-pulled'}",
        "BOARD is the board's address; the SDK's sample_nnie_main lies in its home folder",
        "then the same with retinaface_inst_8bit.wk; the kit's CHECKLIST.en.md has the rest",
    ]


def test_names_with_spaces_stay_one_word_on_the_board() -> None:
    lines = board_commands("net", (8, 8), Path("a build"), Path("my kit"))
    assert shlex.split(lines[0])[1:3] == ["my kit.tar.gz", "a build/mapper/net_inst_16bit.wk"]
    ssh, board, remote = shlex.split(lines[1])
    assert (ssh, board) == ("ssh", "root@BOARD")
    assert shlex.split(remote)[:3] == ["tar", "xzf", "my kit.tar.gz"]


NNIE = f"""#!/bin/sh
PYTHONPATH={ROOT} exec {sys.executable} -m nnie_pipeline "$@"
"""

SSH = """#!/bin/sh
[ "$1" = root@BOARD ] && cd "$BOARD" && exec sh -c "$2"
"""

SCP = """#!/bin/sh
# cp, where root@BOARD: is a folder.
[ "$1" = -r ] && shift
for word; do
    case $word in root@BOARD:*) word=$BOARD/${word#root@BOARD:} ;; esac
    set -- "$@" "$word"
    shift
done
exec cp -r "$@"
"""

SAMPLE = """#!/bin/sh
# Segnet of the SDK: what the simulation computes for the input in ./data, as the board's words.
if [ $# -eq 0 ]; then
    printf 'index:\\n\\t 0) RFCN(Read File).\\n\\t 1) Segnet(Read File).\\n'
    exit 1
fi
for picture in "$KIT"/inputs/*; do
    if cmp -s data/nnie_image/rgb_planar/segnet_image_224x224.bgr "$picture"; then
        name=$(basename "$picture")
        for file in "$KIT/golden/16bit/${name%.*}"/seg*.hex; do
            cp "$file" "$(basename "$file" | sed s/layer/layer4/)"
        done
    fi
done
"""


@pytest.mark.parametrize("place", ["build", "my builds"])
def test_the_commands_that_nnie_run_prints_work_as_they_are(tiny: Path, place: str) -> None:
    """To the verdict, with programs in the place of the mapper and the board."""
    for folder in ("wk", "bin", "board"):
        (tiny / folder).mkdir()
    segment: Segment = ([("data", 32, 32, 3, 1)], [("out", 16, 16, 4, 0)])
    (tiny / "wk" / "func.wk").write_bytes(func(segment))
    (tiny / "wk" / "inst.wk").write_bytes(Chip().build(segment))
    wk = {"1": str(tiny / "wk" / "func.wk"), "0": str(tiny / "wk" / "inst.wk")}
    mapper = install(tiny / "sdk", wk=wk)
    programs = {
        "nnie": NNIE, "ssh": SSH, "scp": SCP, "sample_nnie_main": SAMPLE,
        "nnie_mapper_12": f'#!/bin/sh\nmkdir -p mapper_quant\nexec {mapper} "$@"\n',
    }  # fmt: skip
    for name, text in programs.items():
        program = tiny / ("board" if name.startswith("sample") else "bin") / name
        program.write_text(text, encoding="ascii")
        program.chmod(0o755)
    path = f"{tiny / 'bin'}:{os.environ['PATH']}"
    environment = {**os.environ, "PATH": path, "BOARD": str(tiny / "board")}
    ran = nnie("run", "tiny.onnx", "--images", "pics", "--build", place, cwd=tiny)
    assert ran.status == 0, ran
    lines = [x.removeprefix("board:").strip() for x in ran.out.splitlines()]
    (folder,) = (tiny / place).iterdir()
    environment["KIT"] = str(folder / "bringup")

    def run(line: str, where: Path = tiny) -> str:
        done = subprocess.run(
            line, shell=True, cwd=where, env=environment, capture_output=True, text=True,
            timeout=120, check=False,
        )  # fmt: skip
        assert done.returncode == 0, (line, done)
        return done.stdout

    (mapped,) = (x for x in lines if x.startswith("NNIE_MAPPER="))
    run(mapped.replace("/path/to", str(tiny / "bin")))
    compiled = {x.name: x.read_bytes() for x in (folder / "mapper").glob("*.wk")}
    assert len(compiled) == 4
    for other in folder.glob("mapper/*.wk"):
        other.unlink()
    by_hand = [x for x in lines if x.startswith("nnie_mapper_12 ")]
    assert len(by_hand) == 4
    for line in by_hand:
        run(line, folder / "mapper")
    assert {x.name: x.read_bytes() for x in (folder / "mapper").glob("*.wk")} == compiled
    first = next(i for i, x in enumerate(lines) if x.startswith("nnie bringup "))
    assert lines[first + 5].startswith("BOARD is the board's address; the SDK's sample")
    for _ in range(2):  # a second run meets what the first left
        for line in lines[first : first + 5]:
            said = run(line)
        assert said.splitlines()[-1].startswith("verdict: all ")
        assert not (folder / "bringup-pulled" / "pulled").exists()


def test_a_network_without_a_head(tiny: Path, cli: Cli) -> None:
    """tiny.onnx names no head: no decoder, but a header, and check.py."""
    folder = next((tiny / "build").glob("tiny-*"))
    ran = cli("bringup", folder)
    assert ran.status == 0, ran
    assert not (folder / "bringup" / "nnie_decoder.c").exists()
    assert "no nnie_decoder.c: the model's spec names no head" in ran.out
    english = (folder / "bringup" / "CHECKLIST.en.md").read_text("utf-8")
    assert "the network takes pixels as they are (norm_type 0)" in english
    assert (folder / "bringup.tar.gz").is_file()
    assert "nnie_decoder" not in (folder / "bringup" / "CHECKLIST.en.md").read_text("utf-8")
    again = cli("bringup", folder)
    assert again.status == 0, again


TWO_INPUTS = """
input: "left" input_shape { dim: 1 dim: 3 dim: 8 dim: 8 }
input: "right" input_shape { dim: 1 dim: 3 dim: 8 dim: 8 }
layer { name: "sum" type: "Eltwise" bottom: "left" bottom: "right" top: "sum" }
"""

ON_CPU = """
input: "data" input_shape { dim: 1 dim: 3 dim: 8 dim: 8 }
layer { name: "own" type: "Custom" bottom: "data" top: "own"
        custom_param { shape { dim: 1 dim: 2 dim: 3 dim: 4 } } }
"""

BATCH = """
input: "data" input_shape { dim: 2 dim: 3 dim: 8 dim: 8 }
layer { name: "act" type: "ReLU" bottom: "data" top: "act" }
"""


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (TWO_INPUTS, "the network has 2 inputs; the kit is made for networks of one"),
        (ON_CPU, "layer own runs on the CPU of the board; the kit is made for networks that run"),
        (BATCH, "N has to be 1"),
    ],
)
def test_networks_that_the_kit_is_not_made_for(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "net.prototxt").write_text(text, encoding="ascii")
    net = read_net(tmp_path / "net.prototxt")
    with pytest.raises(InputError, match=said):
        Goldens(net, Ranges({8: {}, 16: {}}, 1))


GRAY = """
name: plain
licence: own
source: {kind: file, path: plain.onnx}
input: {colour: GRAY, mean: 10, scale: 0.5, geometry: stretch}
default_size: [24, 40]
outputs: [out]
head: {decoder: embedding}
"""


def test_a_gray_recogniser(tmp_path: Path, cli: Cli) -> None:
    """One plane, no channels to exchange, and the embedding as the board's words give it."""
    node = helper.make_node("Conv", ["data", "w"], ["out"], "last", strides=[24, 40])
    save(tmp_path / "plain.onnx", [node], {"w": (6, 1, 24, 40)}, size=(1, 1, 24, 40))
    (tmp_path / "plain.yaml").write_text(GRAY, encoding="utf-8")
    words = ("--images", pictures(tmp_path / "pics"), "--build", tmp_path / "build")
    assert cli("run", tmp_path / "plain.yaml", *words).status in {0, 1}
    folder = tmp_path / "build" / "plain-24x40"
    ran = cli("bringup", folder)
    assert ran.status == 0, ran
    made = folder / "bringup"
    assert sorted(x.name for x in (made / "inputs").iterdir()) == ["000_0.gray", "001_1.gray"]
    assert (made / "inputs" / "001_1.gray").stat().st_size == 24 * 40
    about = json.loads((made / "kit.json").read_text(encoding="utf-8"))
    assert about["readings"] == {}
    (output,) = about["outputs"]
    golden = made / "golden" / "16bit" / "001_1"
    vector = read_words(golden / output["file"]) / 4096
    embedding = np.array((golden / "found.txt").read_text("ascii").split(), float)
    assert embedding == pytest.approx(vector / np.linalg.norm(vector), abs=1e-8)
    assert "one gray plane" in (made / "CHECKLIST.en.md").read_text("utf-8")
    assert '#define NNIE_INPUT_ORDER "GRAY"' in (made / "nnie_model.h").read_text("ascii")
    found = check(made, made / "golden" / "8bit")
    assert found.status == 0, found
    assert "compared with the 8 bit network" in found.out
    assert "proven" not in check(made, made / "golden" / "8bit" / "001_1").out
    said = {"en": "the .wk does it (norm_type)", "zh-CN": ".wk 自己会做（norm_type）"}
    for language, who in said.items():
        assert who in (made / f"CHECKLIST.{language}.md").read_text("utf-8")


def test_who_applies_the_mean_that_is_in_the_network(tmp_path: Path, cli: Cli) -> None:
    node = helper.make_node("Conv", ["data", "w"], ["out"], "last", strides=[24, 40])
    save(tmp_path / "plain.onnx", [node], {"w": (6, 1, 24, 40)}, size=(1, 1, 24, 40))
    (tmp_path / "plain.yaml").write_text(GRAY, encoding="utf-8")
    words = ("--images", pictures(tmp_path / "pics"), "--build", tmp_path / "build")
    assert cli("run", tmp_path / "plain.yaml", *words, "--mean-in-network").status in {0, 1}
    folder = tmp_path / "build" / "plain-24x40"
    assert "[norm_type] 0" in (folder / "mapper" / "plain_inst_8bit.cfg").read_text("ascii")
    assert cli("bringup", folder).status == 0
    for language, who, other in (
        ("en", "the network does it in its first layer (norm_type 0)", "the .wk does it"),
        ("zh-CN", "网络的第一层会做（norm_type 0）", ".wk 自己会做"),
    ):
        text = (folder / "bringup" / f"CHECKLIST.{language}.md").read_text("utf-8")
        assert who in text
        assert other not in text


def check(kit: Path, *words: str | Path) -> Ran:
    done = subprocess.run(
        [sys.executable, kit / "check.py", *words], capture_output=True, text=True, timeout=60,
        check=False,
    )  # fmt: skip
    return Ran(done.returncode, done.stdout, done.stderr)


def test_a_board_that_reads_yuv(tiny: Path, cli: Cli) -> None:
    """Its golden outputs are those of the picture as the chip turns it back, V first."""
    words = ("run", tiny / "tiny.onnx", "--images", tiny / "pics", "--build", tiny / "yuv")
    ran = cli(*words, "--yuv", "bt601")
    assert ran.status == 0, ran
    (build,) = (tiny / "yuv").iterdir()
    assert cli("bringup", build).status == 0
    made = build / "bringup"
    values = np.frombuffer((made / "inputs" / "probe.yuv").read_bytes(), np.uint8).astype(float)
    luma, pairs = values[: 32 * 32].reshape(32, 32), values[32 * 32 :].reshape(16, 16, 2) - 128
    v, u = (pairs[..., i].repeat(2, 0).repeat(2, 1) for i in (0, 1))
    # ITU-R BT.601, full range
    blue, red = luma + 1.772 * u, luma + 1.402 * v
    green = (luma - 0.299 * red - 0.114 * blue) / 0.587
    seen = np.rint(np.clip([blue, green, red], 0, 255)).astype(np.float32)[None]
    about = json.loads((made / "kit.json").read_text(encoding="utf-8"))
    session = onnxruntime.InferenceSession(str(tiny / "tiny.onnx"))
    (expected,) = session.run(None, {session.get_inputs()[0].name: seen})
    (output,) = about["outputs"]
    words_made = read_words(made / "golden" / "float" / "probe" / output["file"])
    apart = np.abs(words_made / 4096 - np.asarray(expected).reshape(-1)).max()
    assert apart <= 0.01 * np.abs(expected).max()  # a level of 255, where a tie is rounded
    assert about["readings"]["others"][-4:] == [
        "u-first", "bt601-limited", "bt709-full", "bt709-limited"
    ]  # fmt: skip
    header = (made / "nnie_model.h").read_text("ascii")
    for line in ('NNIE_INPUT_ORDER "YVU420SP"', "NNIE_INPUT_BLOB_TYPE 2", "NNIE_INPUT_BYTES 1536",
                 'NNIE_YUV_MATRIX "bt601"', 'NNIE_YUV_RANGE "full"'):  # fmt: skip
        assert f"#define {line}\n" in header
    for language, said in (("en", "**V before U**, 1536 bytes"), ("zh-CN", "**V 在 U 之前**")):
        text = (made / f"CHECKLIST.{language}.md").read_text("utf-8")
        assert said in text
        assert "SVP_BLOB_TYPE_YVU420SP" in text
        assert "SVP_BLOB_TYPE_U8" not in text
    for reading, said in (("u-first", "feed V before U"), ("bt709-full", "by bt709, full range")):
        pulled = tiny / reading
        shutil.copytree(made / "golden" / "16bit", pulled)
        shutil.rmtree(pulled / "probe")
        shutil.copytree(made / "golden" / "16bit" / f"probe.{reading}", pulled / "probe")
        found = check(made, pulled)
        assert found.status == 1
        assert any(x.startswith("FAIL") and said in x for x in found.out.splitlines()), found


def test_folders_with_other_files_are_left_alone(tiny: Path, cli: Cli) -> None:
    folder = next((tiny / "build").glob("tiny-*"))
    own = tiny / "own"
    own.mkdir()
    (own / "letter.txt").write_text("mine", encoding="utf-8")
    before = hashes(own)
    ran = cli("bringup", folder, "--out", own)
    assert ran.status == 2
    assert "holds letter.txt, which is no part of a kit" in ran.error
    assert hashes(own) == before


def test_a_folder_in_the_archives_place(tiny: Path, cli: Cli) -> None:
    folder = next((tiny / "build").glob("tiny-*"))
    (tiny / "kit.tar.gz").mkdir()
    ran = cli("bringup", folder, "--out", tiny / "kit")
    assert ran.status == 2
    assert f"{tiny / 'kit.tar.gz'} is a folder" in ran.error
    assert not (tiny / "kit").exists()


@pytest.mark.parametrize("count", ["0", "-1", "51"])
def test_counts_out_of_range(tiny: Path, cli: Cli, count: str) -> None:
    ran = cli("bringup", next((tiny / "build").glob("tiny-*")), "--count", count)
    assert ran.status == 2
    assert "a kit holds 1 to 50 pictures" in ran.error


def test_a_build_without_its_simulation(tiny: Path, cli: Cli) -> None:
    """The advice holds."""
    folder = next((tiny / "build").glob("tiny-*"))
    shutil.rmtree(folder / "simulate")
    ran = cli("bringup", folder)
    assert ran.status == 2
    assert f"{folder} has no simulate/ranges.json" in ran.error
    assert "nnie run again" in ran.error
    words = ("--images", tiny / "pics", "--build", tiny / "build")
    assert cli("run", tiny / "tiny.onnx", *words).status == 0
    assert cli("bringup", folder).status == 0


def test_what_is_no_build(tmp_path: Path, tiny: Path, cli: Cli) -> None:
    ran = cli("bringup", tmp_path / "nothing")
    assert ran.status == 2
    assert "is no build of nnie run" in ran.error
    folder = next((tiny / "build").glob("tiny-*"))
    (folder / "check" / "check.json").write_text("[]", encoding="utf-8")
    ran = cli("bringup", folder)
    assert ran.status == 2
    assert "names no chip" in ran.error
    assert not (folder / "bringup").exists()

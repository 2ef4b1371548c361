"""Bad input through the command line: one clear line, its exit status, nothing changed."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nnie_pipeline import files
from nnie_pipeline.stages.run import STAGES
from tests.builds import Build, Cli, command, hashes, nnie, pictures
from tests.conftest import missing
from tests.limits import full_device, no_special_rights, small_files
from tests.models import retinaface_onnx
from tests.tiny_models import not_in_caffe, two_convolutions

Refused = Callable[..., str]
NAME = "retinaface-128x128"
RETINAFACE = ("run", "retinaface", "--size", "128")
HEADS = "/bbox_head/bbox_head.0/Conv_output_0,/class_head/class_head.2/Conv_output_0"


@pytest.fixture
def refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, cli: Cli) -> Refused:
    """Run `nnie` in `tmp_path` and give back its one line; nothing there may change."""
    monkeypatch.chdir(tmp_path)

    def run(*arguments: str | Path, status: int = 2) -> str:
        before = hashes(tmp_path)
        done = cli(*arguments)
        assert done.status == status, done
        assert hashes(tmp_path) == before
        assert "Traceback" not in done.out
        return done.error

    return run


@pytest.fixture
def good(tmp_path: Path, small_build: Build) -> Path:
    """An earlier good run of RETINAFACE in `tmp_path`."""
    assert small_build.ran.status == 0, small_build.ran
    return Path(shutil.copytree(small_build.folder, tmp_path / "build" / NAME))


# ------------------------------------------------------------------------------- words


def test_an_unknown_model_and_its_nearest_name(refused: Refused, good: Path) -> None:
    line = refused("run", "retina-fase", "--size", "128")
    assert "'retina-fase' is not in the zoo" in line
    assert "did you mean retinaface" in line
    assert ".onnx" in line


def test_no_model(refused: Refused) -> None:
    line = refused("run")
    assert line.startswith("no model given")
    assert "MODEL=" in line
    assert "retinaface" in line


@pytest.mark.parametrize(
    "size", ["0", "-1", "abc", "99999", "640x", "640 x640", "", "x", "640x480x3", "1e3", "６４０"]
)
def test_a_size_that_is_none(refused: Refused, good: Path, size: str) -> None:
    for words in (["run", "retinaface"], ["convert", retinaface_onnx(), "--out", "c"]):
        line = refused(*words, f"--size={size}")
        assert f"size {size!r}" in line
        assert "640" in line
        assert "480x640" in line


def test_a_size_that_the_model_cannot_take(refused: Refused, good: Path) -> None:
    line = refused("run", "retinaface", "--size", "641")
    assert "size 641" in line
    assert "multiples of 32" in line
    assert line.endswith("use 640 or 672")
    assert refused("run", "retinaface", "--size", "480x650").endswith("use 480x640 or 480x672")


@pytest.mark.parametrize("outputs", [["--outputs", HEADS], []])
def test_a_size_at_which_a_bare_model_does_not_hold(refused: Refused, outputs: list[str]) -> None:
    """Nobody wrote down that this network needs multiples of 32: it is found out."""
    line = refused("convert", retinaface_onnx(), "--size", "641x641", "--out", "c", *outputs)
    assert "size 641x641" in line
    assert "use 640 or 672" in line


def test_a_size_at_which_a_caffe_network_does_not_hold(refused: Refused, good: Path) -> None:
    net = [good / "rewrite" / f"retinaface.{x}" for x in ("prototxt", "caffemodel")]
    line = refused("rewrite", *net, "--out", "w", "--size", "641")
    assert "use 640 or 672" in line


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["walk"], "no such command 'walk'"),
        (["--fast"], "no such option: --fast"),
        (["run", "retinaface", "--sise", "640"], "--sise"),
        (["run", "retinaface", "mobilefacenet"], "unexpected extra argument"),
        (["run", "retinaface", "--size"], "'--size' requires an argument"),
        (["run", "retinaface", "--chip", "hi9999"], "hi3516dv300"),
        (["convert"], "missing argument"),
        (["convert", "m.onnx"], "missing option '--out'"),
        (["compare", "a"], "missing argument"),
        (["compare", "a", "b", "--min-cosine", "0,9"], "--min-cosine"),
        (["compare", "a", "b", "--min-cosine", "nan"], "between -1 and 1"),
        (["compare", "a", "b", "--min-cosine", "2"], "between -1 and 1"),
        (["compare", "a", "b"], "a is no dump"),
        (["report", "nothing"], "nothing is no build"),
        (["wk"], "missing argument"),
        (["wk", "nothing.wk"], "found nothing there"),
        (["check", ""], "found a folder there"),
        (["check", "a" * 5000], "File name too long"),
        (["check", "x\x1b[31m\n.prototxt"], "network x?[31m .prototxt: found nothing"),
    ],
)
def test_bad_usage(refused: Refused, words: list[str], said: str) -> None:
    line = refused(*words)
    assert said in line
    assert len(line) < 1100


# ------------------------------------------------------------------------------- weights


def damaged(folder: Path) -> dict[str, Path]:
    model = two_convolutions(folder / "whole.onnx").read_bytes()
    contents = {
        "truncated": model[: len(model) // 2],
        "text": b"no network, just words\n",
        "empty": b"",
        "picture": b"\x89PNG\r\n\x1a\n" + bytes(500),
    }
    made = {}
    for name, content in contents.items():
        made[name] = folder / f"{name}.onnx"
        made[name].write_bytes(content)
    made["folder"] = folder / "folder.onnx"
    made["folder"].mkdir()
    made["nothing"] = folder / "nothing.onnx"
    return made


@pytest.mark.parametrize("kind", ["truncated", "text", "empty", "picture", "folder", "nothing"])
def test_a_model_that_is_none(refused: Refused, tmp_path: Path, kind: str) -> None:
    model = damaged(tmp_path)[kind]
    for words in (["convert", model, "--out", "c"], ["run", model], ["run", model, "--size", "32"]):
        line = refused(*words)
        assert str(model) in line
        if kind in {"folder", "nothing"}:
            assert f"found {'a folder' if kind == 'folder' else 'nothing'} there" in line
        else:
            assert "not an ONNX model" in line
            assert "again" in line


def test_a_model_that_was_good_and_is_truncated_now(refused: Refused, tiny: Path) -> None:
    model = tiny / "tiny.onnx"
    model.write_bytes(model.read_bytes()[:700])
    for size in ([], ["--size", "32"]):
        line = refused("run", "tiny.onnx", "--images", "pics", *size)
        assert str(model) in line
        assert "truncated (700 bytes)" in line


def test_an_operator_that_caffe_lacks(refused: Refused, tmp_path: Path) -> None:
    model = not_in_caffe(tmp_path / "m.onnx")
    line = refused("convert", model, "--out", "c", "--outputs", "out", status=3)
    for part in ("choice", "Hardmax", "[1, 4, 30, 30]", "no such operator", "--outputs"):
        assert part in line
    line = refused("convert", model, "--out", "c", "--outputs", "out", "--size", "40", status=3)
    assert "Hardmax" in line  # no other size would help


@pytest.mark.parametrize(
    ("outputs", "said"),
    [
        ("nothing", "makes no tensor nothing"),
        ("out,nothing", "makes no tensor nothing"),
        ("out,out", "names out twice"),
        ("out,", "leaves a name empty"),
        ("", "leaves a name empty"),
    ],
)
def test_outputs_that_are_none(refused: Refused, tmp_path: Path, outputs: str, said: str) -> None:
    model = two_convolutions(tmp_path / "m.onnx")
    assert said in refused("convert", model, "--out", "c", f"--outputs={outputs}")


def test_a_wrong_hash(refused: Refused, tiny: Path) -> None:
    claimed = "0123456789abcdef" * 4
    found = hashes(tiny)["tiny.onnx"]
    source = f"kind: file, path: tiny.onnx, sha256: '{claimed}'"
    (tiny / "m.yaml").write_text(
        f"name: tiny\nlicence: MIT\nsource: {{{source}}}\ndefault_size: [32, 32]\n"
    )
    for words in (["run", "m.yaml", "--images", "pics"], ["fetch", "m.yaml", "--out", "here"]):
        line = refused(*words)
        assert line.startswith("wrong hash")
        assert claimed in line
        assert found in line


def test_weights_of_another_model(refused: Refused, good: Path, tmp_path: Path) -> None:
    other = two_convolutions(tmp_path / "other.onnx")
    line = refused(*RETINAFACE, "--weights", other)
    assert "wrong hash" in line
    assert hashes(tmp_path)["other.onnx"] in line
    assert refused(*RETINAFACE, "--weights", "nothing").startswith("weights nothing: found nothing")


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("{{{", "not YAML"),
        ("just words", "fields"),
        ("name: x\nlicence: MIT\n", "source: is missing"),
        ("name: ../x\nlicence: MIT\nsource: {kind: given}\n", "name:"),
    ],
)
def test_a_spec_that_is_none(refused: Refused, tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "s.yaml").write_text(text)
    line = refused("run", "s.yaml")
    assert "s.yaml" in line
    assert said in line


# ------------------------------------------------------------------------------- pictures


def test_a_folder_without_pictures(refused: Refused, good: Path, tmp_path: Path) -> None:
    (tmp_path / "pics").mkdir()
    (tmp_path / "pics" / "words.txt").write_text("words")
    for words in (RETINAFACE, ("calibrate", "retinaface", "--size", "128", "--out", "c")):
        line = refused(*words, "--images", "pics")
        assert line.startswith("picture folder pics holds no pictures")
        assert "png" in line
        assert "found nothing there" in refused(*words, "--images", "nowhere")
        line = refused(*words, "--images", "pics/words.txt")
        assert line.startswith("list pics/words.txt: it names one picture, which is not there:")


@pytest.mark.parametrize("kind", ["truncated.png", "words.jpg", "empty.bmp"])
def test_a_corrupt_picture_among_good_ones(
    cli: Cli, good: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, kind: str
) -> None:
    """It is left out with its reason; the run goes on with the others."""
    monkeypatch.chdir(tmp_path)
    folder = pictures(tmp_path / "pics")
    whole = (folder / "0.png").read_bytes()
    content = {"truncated.png": whole[:1000], "words.jpg": b"words", "empty.bmp": b""}[kind]
    (folder / f"00_{kind}").write_bytes(content)
    done = cli(*RETINAFACE, "--images", "pics")
    assert done.status == 0, done
    assert f"00_{kind}" in done.out
    record = json.loads((good / "calibration" / "calibration.json").read_text())
    assert len(record["pictures"]) == len(list(folder.iterdir())) - 1
    assert kind in str(record["dropped"])


# ------------------------------------------------------------------------------- places


def test_a_file_in_the_place_of_a_folder(refused: Refused, tmp_path: Path, good: Path) -> None:
    (tmp_path / "taken").write_text("mine")
    named = tmp_path / "builds" / "retinaface-128x128"
    named.parent.mkdir()
    named.write_text("mine")
    for words in (
        [*RETINAFACE, "--build", "taken"],
        [*RETINAFACE, "--build", "taken/deeper"],
        [*RETINAFACE, "--build", "builds"],
        ["convert", retinaface_onnx(), "--size", "64", "--out", "taken"],
        ["calibrate", "retinaface", "--size", "128", "--out", "taken"],
        ["fetch", "retinaface", "--out", "taken"],
    ):
        line = refused(*words)
        assert "is a file; move it away" in line


def test_a_file_in_the_place_of_a_stage(refused: Refused, good: Path) -> None:
    shutil.rmtree(good / "dump")
    (good / "dump").write_text("mine")
    assert f"{NAME}/dump is a file" in refused(*RETINAFACE)


def test_a_folder_without_permission(tmp_path: Path, good: Path) -> None:
    if not no_special_rights.works:
        missing("a way to give up root's right to write anywhere")
    changed = pictures(tmp_path / "pics", 1)
    before = hashes(tmp_path)
    (tmp_path / "shut").mkdir()
    for place in (good, tmp_path / "shut"):
        place.chmod(0o555)
    try:
        for words in (
            [*RETINAFACE, "--images", changed],
            [*RETINAFACE, "--build", "shut"],
            ["convert", retinaface_onnx(), "--size", "64", "--out", "shut"],
        ):
            ran = nnie(*words, cwd=tmp_path, preexec_fn=no_special_rights)
            assert ran.status == 2, ran
            assert "ermission" in ran.error
            assert "choose another folder" in ran.error
    finally:
        good.chmod(0o755)
    (tmp_path / "shut").rmdir()
    assert hashes(tmp_path) == before


def test_files_that_may_not_grow(tmp_path: Path, good: Path) -> None:
    """A limit on file sizes is what a full device is to a program, and needs no root."""
    pictures(tmp_path / "pics", 1)
    before = hashes(tmp_path)
    for words in (
        [*RETINAFACE, "--images", "pics"],
        ["convert", retinaface_onnx(), "--size", "64", "--out", "c"],
    ):
        ran = nnie(*words, cwd=tmp_path, preexec_fn=small_files)
        assert ran.status == 2, ran
        assert "cannot write" in ran.error
        assert "make room" in ran.error
    assert hashes(tmp_path) == before


def test_a_full_device(tmp_path: Path, small_build: Build) -> None:
    pics = pictures(tmp_path / "pics", 1)
    with full_device(tmp_path / "device", small_build.folder.parent, left=300_000) as place:
        if place is None:
            missing("the right to mount a tmpfs")
        before = hashes(place)
        for words in (
            [*RETINAFACE, "--images", pics, "--build", place],
            ["run", "retinaface", "--size", "64", "--build", place],
            ["convert", retinaface_onnx(), "--size", "64", "--out", place / "c"],
            ["calibrate", "retinaface", "--size", "640", "--images", pics, "--out", place / "s"],
        ):
            ran = nnie(*words)
            assert ran.status == 2, ran
            assert f"cannot write {place}" in ran.error
            assert "No space left on device" in ran.error
            assert ".tmp." not in ran.error
        assert hashes(place) == before


def test_standard_output_on_a_full_device(tiny: Path) -> None:
    with open("/dev/full", "w") as full:
        for words in (["check", "ready/tiny.prototxt"], ["check", "ready/tiny.prototxt", "--json"]):
            done = subprocess.run(
                command(*words),
                cwd=tiny,
                stdout=full,
                stderr=subprocess.PIPE,
                text=True,
                check=False,
            )
            assert done.returncode == 2
            assert done.stderr.count("\n") == 1, done.stderr
            assert "No space left" in done.stderr


def test_a_reader_that_has_gone(tiny: Path) -> None:
    """`nnie sizes ... | head -1` is no error."""
    for words in (
        ["check", "ready/tiny.prototxt"],
        ["check", "ready/tiny.prototxt", "--json"],
        ["sizes", "ready/tiny.prototxt", "--max", "512"],
    ):
        reading, writing = os.pipe()
        os.close(reading)
        done = subprocess.run(
            command(*words),
            cwd=tiny,
            stdout=writing,
            stderr=subprocess.PIPE,
            text=True,
            check=False,
        )
        os.close(writing)
        assert (done.returncode, done.stderr) == (0, "")


def test_another_run_at_work_in_the_folder(refused: Refused, good: Path) -> None:
    with files.locked(good):
        line = refused(*RETINAFACE)
    assert line.startswith("another nnie run is at work in build/")


# ------------------------------------------------------------------------------- inputs


def array(kind: str) -> bytes:
    """The content of a .npy file that is wrong for the tiny network, or none at all."""
    import io

    x: Any = np.ones((1, 3, 32, 32), np.float32)
    if kind == "nan":
        x[0, 1, 2, 3] = np.nan
    made: dict[str, Any] = {
        "shape": x[:, :, :16],
        "rank": x[0],
        "nan": x,
        "inf": x.astype(np.float64) * 1e300,
        "words": np.array(["a", "b"]),
        "complex": x.astype(np.complex64),
        "pickle": np.array([{"a": 1}], dtype=object),
    }
    file = io.BytesIO()
    if kind in made:
        np.save(file, made[kind], allow_pickle=True)
    elif kind == "npz":
        np.savez(file, x=x)
    elif kind == "truncated":
        np.save(file, x)
        return file.getvalue()[:5000]
    elif kind == "text":
        return b"1 2 3\n"
    return file.getvalue()


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("shape", "[1, 3, 16, 32]"),
        ("rank", "[3, 32, 32]"),
        ("nan", "not finite"),
        ("inf", "not finite"),
        ("words", "no array of numbers"),
        ("complex", "no array of numbers"),
        ("pickle", "float32"),
        ("npz", "no array of numbers"),
        ("truncated", "float32"),
        ("text", "float32"),
        ("empty", "float32"),
    ],
)
def test_an_input_that_is_none(refused: Refused, tiny: Path, kind: str, said: str) -> None:
    (tiny / "bad.npy").write_bytes(array(kind))
    net = ("ready/tiny.prototxt", "ready/tiny.caffemodel", "--input", "bad.npy", "--out", "d")
    for words in (["dump", *net], ["simulate", *net, "--bits", "8"]):
        line = refused(*words)
        assert "bad.npy" in line
        assert said in line
        assert "allow_pickle" not in line
        if kind in {"shape", "rank"}:
            assert "[1, 3, 32, 32]" in line


def test_an_input_is_never_unpickled(refused: Refused, tiny: Path) -> None:
    class Trap:
        def __reduce__(self) -> tuple[Any, ...]:
            return (Path.touch, (tiny / "sprung",))

    np.save(tiny / "trap.npy", np.array([Trap()], dtype=object), allow_pickle=True)
    net = ("ready/tiny.prototxt", "ready/tiny.caffemodel")
    refused("dump", *net, "--input", "trap.npy", "--out", "d")
    assert not (tiny / "sprung").exists()


@pytest.mark.parametrize(
    ("content", "said"),
    [
        ({"z": {"8": {"another": 100}, "16": {}}, "pictures": 1}, "another network"),
        ({"z": {}, "pictures": 1}, "another network"),
        ({"outputs": []}, "holds no ranges"),
        ([], "holds no ranges"),
        ({"z": {"8": "x"}, "pictures": 1}, "holds no ranges"),
        ({"z": {"8": {"c1": None}}, "pictures": 1}, "holds no ranges"),
        ({"z": {"8": {"c1": 10**40, "out": 10**40}}, "pictures": 1}, "outside -511..511"),
        ({"z": {"8": {"c1": -(10**6), "out": 10**6}}, "pictures": 1}, "outside -511..511"),
        (b"{", "is not a ranges file"),
        (b"\xff\xfe\x00", "is not a ranges file: byte 0 is not text"),
        (b"[" * 100_000, "is not a ranges file"),
    ],
)
def test_ranges_that_do_not_fit(refused: Refused, tiny: Path, content: Any, said: str) -> None:
    text = content if isinstance(content, bytes) else json.dumps(content).encode()
    (tiny / "r.json").write_bytes(text)
    net = ("ready/tiny.prototxt", "ready/tiny.caffemodel", "--input", "x.npy", "--out", "d")
    line = refused("simulate", *net, "--bits", "8", "--ranges", "r.json")
    assert "r.json" in line or "another network" in line
    assert said in line


def test_missing_ranges_and_other_widths(refused: Refused, tiny: Path) -> None:
    net = ("ready/tiny.prototxt", "ready/tiny.caffemodel", "--input", "x.npy", "--out", "d")
    assert "found nothing" in refused("simulate", *net, "--bits", "8", "--ranges", "no.json")
    assert "8 or 16" in refused("simulate", *net, "--bits", "7")
    assert "onnxruntime" in refused("dump", *net, "--engine", "abacus")


def test_networks_that_are_none(refused: Refused, tiny: Path) -> None:
    (tiny / "text.caffemodel").write_text("words")
    for words in (
        ["check", "ready/tiny.caffemodel"],
        ["sizes", "x.npy"],
        ["rewrite", "ready/tiny.caffemodel", "ready/tiny.prototxt", "--out", "w"],
        ["dump", "ready/tiny.prototxt", "text.caffemodel", "--input", "x.npy", "--out", "d"],
        ["wk", "tiny.onnx"],
    ):
        line = refused(*words)
        assert "is not" in line or "not this file" in line


def test_weights_of_another_network(refused: Refused, tiny: Path, good: Path) -> None:
    weights = good / "rewrite" / "retinaface.caffemodel"
    net = ("ready/tiny.prototxt", weights)
    for words in (
        ["rewrite", *net, "--out", "w"],
        ["dump", *net, "--input", "x.npy", "--out", "d"],
        ["simulate", *net, "--input", "x.npy", "--out", "d", "--bits", "16"],
    ):
        line = refused(*words)
        assert "has no weights in the caffemodel" in line
        assert "belongs to the prototxt" in line


def test_nothing_is_written_over_what_is_read(refused: Refused, tiny: Path) -> None:
    net = ("ready/tiny.prototxt", "ready/tiny.caffemodel")
    assert "holds the network itself" in refused("rewrite", *net, "--out", "ready")
    shutil.copy(tiny / "x.npy", tiny / "out.npy")  # the last blob is called out
    for words in (["dump", *net], ["simulate", *net, "--bits", "8"]):
        line = refused(*words, "--input", "out.npy", "--out", ".")
        assert "cannot write out.npy: it is what this command reads" in line
    shutil.copy(tiny / "raw" / "reference.onnx", tiny)
    line = refused("convert", "reference.onnx", "--out", ".")
    assert "cannot write reference.onnx: it is what this command reads" in line


def test_dumps_that_do_not_belong_together(refused: Refused, tiny: Path, good: Path) -> None:
    mine = "build/tiny-32x32/dump"
    assert "no layer in common" in refused("compare", mine, f"build/{NAME}/dump")
    assert "is no dump" in refused("compare", mine, "ready")
    record = tiny / mine / "dump.json"
    record.write_text(record.read_text().replace('"out.npy"', '"../../../x.npy"'))
    assert "no file of its folder" in refused("compare", mine, mine)


# ------------------------------------------------------------------------------- a bug, Ctrl-C


def test_a_bug_here_names_its_log(
    refused: Refused, tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    logs = tiny.parent / f"{tiny.name}-logs"
    logs.mkdir()
    monkeypatch.setattr("nnie_pipeline.chips.check.read_net", lambda *_, **__: 1 / 0)
    with monkeypatch.context() as place:
        place.setattr("tempfile.tempdir", str(logs))
        line = refused("check", "ready/tiny.prototxt", status=4)
        place.setattr("tempfile.tempdir", str(logs / "nowhere"))
        without = refused("check", "ready/tiny.prototxt", status=4)
    (log,) = logs.iterdir()
    assert "bug in nnie-pipeline (ZeroDivisionError" in line
    assert line.endswith(f"report it with the log {log}")
    assert "Traceback" in log.read_text()
    assert "no log could be written" in without


@pytest.mark.parametrize("stage", [x for x, _ in STAGES])
def test_ctrl_c_in_a_stage(
    refused: Refused, tiny: Path, monkeypatch: pytest.MonkeyPatch, stage: str
) -> None:
    """The signal comes when the stage has written its files, before they are recorded."""
    from nnie_pipeline.stages import steps

    two_convolutions(tiny / "tiny.onnx", (1, 3, "h", 32))  # every stage has to run again
    real = steps.STEPS[stage]

    def interrupted(job: Any) -> str:
        said = real(job)
        signal.raise_signal(signal.SIGINT)
        return said

    monkeypatch.setitem(steps.STEPS, stage, interrupted)
    pictures(tiny / "others", seed=9)
    line = refused("run", "tiny.onnx", "--images", "others", "--size", "32", status=130)
    assert line.startswith("interrupted")


@pytest.mark.parametrize(
    ("last", "sent"),
    [("convert", signal.SIGINT), ("calibrate", signal.SIGTERM), ("simulate", signal.SIGINT)],
)
def test_a_signal_while_it_runs(
    tmp_path: Path, good: Path, last: str, sent: signal.Signals
) -> None:
    """The signal comes somewhere in the stage after `last`."""
    pictures(tmp_path / "pics", 3)
    before = hashes(tmp_path)
    status, error = interrupt(tmp_path, [*RETINAFACE, "--images", "pics"], f" {last} ", sent)
    assert status == 128 + sent
    assert error.count("\n") == 1, error
    assert hashes(tmp_path) == before


def test_ctrl_c_in_a_first_run_leaves_no_temporary_files(tmp_path: Path) -> None:
    status, error = interrupt(tmp_path, [*RETINAFACE], " cfg ", signal.SIGINT)
    assert status == 130
    assert error == "nnie: interrupted; nothing is left half done\n"
    left = {x.name for x in (tmp_path / "build" / NAME).iterdir()}
    assert {"model", "convert", "rewrite", "check", "calibration", "mapper"} <= left
    assert not [x for x in left if x.startswith(".tmp.") or x == ".earlier"]


def interrupt(
    folder: Path, words: list[str | Path], line: str, sent: signal.Signals
) -> tuple[int, str]:
    """Send a signal to a run when it prints `line`; its exit status and standard error."""
    with subprocess.Popen(
        command(*words),
        cwd=folder,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as running:
        assert running.stdout is not None
        for printed in running.stdout:
            if line in printed:
                running.send_signal(sent)
                break
        _, error = running.communicate(timeout=120)
    return running.returncode, error


@pytest.mark.skipif(sys.platform == "win32", reason="no signals")
def test_ctrl_c_before_anything_began(tmp_path: Path) -> None:
    """While Python still imports the command."""
    script = (
        "import signal, sys\n"
        "from nnie_pipeline import cli\n"
        "real = cli.importlib.import_module\n"
        "def slow(name):\n"
        "    signal.raise_signal(signal.SIGINT)\n"
        "    return real(name)\n"
        "cli.importlib.import_module = slow\n"
        "sys.argv = ['nnie', 'run', 'retinaface']\n"
        "cli.main()\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script], cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.returncode == 130
    assert done.stderr.count("\n") == 1, done.stderr

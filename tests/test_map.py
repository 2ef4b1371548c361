"""`nnie map` on a program that stands in for nnie_mapper."""

from __future__ import annotations

import json
import os
import resource
import shutil
import signal
import subprocess
import sys
import time
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from nnie_pipeline import files
from nnie_pipeline.mapper.cfg import InputOptions, read_cfg, write_cfg
from nnie_pipeline.mapper.folder import write_mapper_folder
from nnie_pipeline.stages.mapped_wk import wk_problem
from tests.branched_net import branched
from tests.builds import Cli, command, hashes, nnie
from tests.fake_mapper import install
from tests.mapper_logs import BEGIN_12, FAILURES, STAGES, SUCCESS, SUCCESS_12, ZEROS
from tests.test_wk_header import ROI_SEGMENT, SEGMENT, Chip, Segment, func

# An InnerProduct's output is a vector (type 4), whose length is its width.
BRANCHED: Segment = ([("data", 16, 24, 3, 0)], [("fc", 1, 5, 1, 4), ("other", 16, 24, 2, 0)])
KINDS = ("func_16bit", "func_8bit", "inst_16bit", "inst_8bit")


@pytest.fixture
def place(tmp_path: Path) -> Path:
    """A folder of nnie cfg in a folder that is called as a build's would be."""
    (tmp_path / "net").mkdir()
    net = branched(tmp_path / "net")
    values = np.random.default_rng(1).normal(0, 1, (2, 3 * 16 * 24))
    text = tmp_path / "net" / "tensors.txt"
    text.write_text("".join(" ".join(map(repr, x.tolist())) + "\n" for x in values))
    build = tmp_path / "build"
    write_mapper_folder(*net, [text], build / "mapper", "net")
    return build


@pytest.fixture
def wk(tmp_path: Path) -> dict[str, str]:
    """Compiled files of the network by is_simulation."""
    return compiled(tmp_path, BRANCHED)


def compiled(folder: Path, *segments: Segment) -> dict[str, str]:
    (folder / "func.wk").write_bytes(func(*segments))
    (folder / "inst.wk").write_bytes(Chip().build(*segments))
    return {"1": str(folder / "func.wk"), "0": str(folder / "inst.wk")}


def test_results_are_collected(tmp_path: Path, place: Path, wk: dict[str, str], cli: Cli) -> None:
    mapper = install(tmp_path / "sdk", wk=wk, log=SUCCESS_12 + ZEROS, dump=True)
    before = hashes(place)
    done = cli("map", place, "--mapper", mapper)
    assert (done.status, done.err) == (0, "")
    lines = done.out.splitlines()
    for stage in STAGES:
        assert lines.count(f"  {stage} ...") == 4
    assert "  warning: a blob is all zero" in done.out
    out = place / "mapped"
    assert sorted(x.name for x in out.iterdir()) == [f"net_{x}" for x in KINDS]
    for kind in KINDS:
        run = out / f"net_{kind}"
        made = (run / f"net_{kind}.wk").read_bytes()
        assert made == (func(BRANCHED) if "func" in kind else Chip().build(BRANCHED))
        assert (run / "cnn_net_tree.dot").is_file()
        assert (run / "mapper.log").read_text() == SUCCESS_12 + ZEROS
        assert (run / "mapper_quant").is_dir() == ("func" in kind)
        record = json.loads((run / "map.json").read_text())
        assert (record["version"], record["nnie"]) == ("1.2.2.0_B010", "1.2")
        assert [x["name"] for x in record["stages"]] == STAGES
        assert not [x for x in run.iterdir() if x.is_symlink()]
    after = hashes(place)
    beside = {f"mapper/net_{x}.wk" for x in KINDS}
    assert {x for x in after if not x.startswith("mapped")} == {*before, *beside}
    assert {x: after[x] for x in before} == before
    assert (place / "mapper" / "net_inst_8bit.wk").read_bytes() == Chip().build(BRANCHED)
    assert not [x for x in after if ".tmp." in x]


def test_functional_runs_come_first_and_one_can_be_chosen(
    tmp_path: Path, place: Path, wk: dict[str, str], cli: Cli
) -> None:
    mapper = install(tmp_path / "sdk", wk=wk)
    done = cli("map", place, "--mapper", mapper)
    assert [x for x in done.out.splitlines() if x.startswith("net_")] == [f"net_{x}" for x in KINDS]
    only = cli("map", place / "mapper", "--mapper", mapper, "--run", "inst_8bit", "--again")
    assert [x for x in only.out.splitlines() if x.startswith("net_")] == ["net_inst_8bit"]
    assert (place / "mapper" / "mapped" / "net_inst_8bit" / "net_inst_8bit.wk").is_file()
    wrong = cli("map", place, "--mapper", mapper, "--run", "inst")
    assert (wrong.status, "no run inst in" in wrong.error) == (2, True)


def test_runs_that_are_up_to_date_are_left_out(
    tmp_path: Path, place: Path, wk: dict[str, str], cli: Cli
) -> None:
    mapper = install(tmp_path / "sdk", wk=wk)
    given = ("map", place, "--mapper", mapper, "--run", "func_8bit")
    calls = tmp_path / "sdk" / "calls.txt"
    assert cli(*given).status == 0
    again = cli(*given)
    assert "net_func_8bit is up to date" in again.out
    assert len(calls.read_text().splitlines()) == 1
    assert cli(*given, "--again").status == 0
    assert len(calls.read_text().splitlines()) == 2
    with (place / "mapper" / "input.txt").open("a") as file:
        file.write("1\n")
    cli(*given)
    assert len(calls.read_text().splitlines()) == 3


@pytest.mark.parametrize(
    ("name", "status"), [*((x, 1) for x in sorted(FAILURES)), ("permute-order", 0)]
)
def test_a_failure_is_explained_and_nothing_is_lost(
    tmp_path: Path, place: Path, wk: dict[str, str], cli: Cli, name: str, status: int
) -> None:
    given = ("map", place, "--run", "func_8bit", "--mapper")
    good = install(tmp_path / "good", wk=wk)
    assert cli(*given, good).status == 0
    kept = hashes(place / "mapped" / "net_func_8bit")
    text, cause, fix = FAILURES[name]
    bad = install(tmp_path / "bad", log=BEGIN_12 + text, status=status)
    done = cli(*given, bad)
    assert done.status == 1
    assert cause in done.error
    assert fix in done.error
    log = place / "mapped" / "net_func_8bit.failed.log"
    assert str(log) in done.error
    assert log.read_text() == BEGIN_12 + text
    assert hashes(place / "mapped" / "net_func_8bit") == kept
    assert not [x for x in hashes(place) if ".tmp." in x]


def test_an_error_in_the_mapper_s_own_log_is_found(tmp_path: Path, place: Path, cli: Cli) -> None:
    bad = install(tmp_path / "bad", error_log=FAILURES["permute-order"][0], status=1)
    done = cli("map", place, "--mapper", bad, "--run", "func_8bit")
    assert FAILURES["permute-order"][1] in done.error
    log = BEGIN_12 + FAILURES["other"][0]
    worse = install(tmp_path / "worse", log=log, error_log=FAILURES["permute-order"][0], status=1)
    done = cli("map", place, "--mapper", worse, "--run", "func_8bit")
    assert FAILURES["permute-order"][1] in done.error


def test_a_crash_names_the_stage(tmp_path: Path, place: Path, cli: Cli) -> None:
    log = SUCCESS_12.partition("end prev optimizing")[0]
    bad = install(tmp_path / "bad", log=log, die=signal.SIGSEGV)
    done = cli("map", place, "--mapper", bad, "--run", "func_8bit")
    assert done.status == 1
    assert "crashed during prev optimizing" in done.error
    assert "nnie bisect" in done.error
    killed = install(tmp_path / "killed", log=log, die=signal.SIGKILL)
    done = cli("map", place, "--mapper", killed, "--run", "func_8bit")
    assert "memory ran out" in done.error


def test_a_crash_between_stages_names_the_last_one(tmp_path: Path, place: Path, cli: Cli) -> None:
    log = SUCCESS_12.partition("begin optimizing")[0]
    bad = install(tmp_path / "bad", log=log, die=signal.SIGSEGV)
    done = cli("map", place, "--mapper", bad, "--run", "func_8bit")
    assert "crashed after net quantalizing(CPU), before another stage began" in done.error
    bad = install(tmp_path / "worse", log="Mapper Version\n", die=signal.SIGSEGV)
    done = cli("map", place, "--mapper", bad, "--run", "func_8bit")
    assert "crashed before its first stage" in done.error


@pytest.mark.parametrize(
    ("status", "text", "cause"),
    [
        (139, "", "the mapper crashed during prev optimizing"),
        (139, "Segmentation fault (core dumped)\n", "the mapper crashed during prev optimizing"),
        (137, ZEROS, "most often the system because memory ran out"),
        (127, "", "a library or program that it starts, was not found"),
        (127, FAILURES["library"][0], "the library libopencv_core.so.3.4 is not found"),
        (126, "", "cannot be run on this machine"),
        (3, "what now\n", 'read the end of its log ("what now")'),
    ],
)
def test_an_exit_status_is_explained(
    tmp_path: Path, place: Path, cli: Cli, status: int, text: str, cause: str
) -> None:
    log = SUCCESS_12.partition("end prev optimizing")[0] + text
    bad = install(tmp_path / "bad", log=log, status=status)
    done = cli("map", place, "--mapper", bad, "--run", "func_8bit")
    assert (done.status, cause in done.error) == (1, True), done
    assert done.out.count("  error: ") == 1


def test_what_the_mapper_says_stands_before_its_crash(
    tmp_path: Path, place: Path, cli: Cli
) -> None:
    text, cause, _ = FAILURES["permute-order"]
    bad = install(tmp_path / "bad", log=BEGIN_12 + text, status=139)
    done = cli("map", place, "--mapper", bad, "--run", "func_8bit")
    assert cause in done.error
    errors = [x for x in done.out.splitlines() if x.startswith("  error: ")]
    assert "crashed during net parsing" in errors[1]


def test_an_error_beside_a_good_end_is_not_hidden(
    tmp_path: Path, place: Path, wk: dict[str, str], cli: Cli
) -> None:
    text, cause, _ = FAILURES["other"]
    given = ("map", place, "--run", "func_8bit", "--mapper")
    mapper = install(tmp_path / "sdk", wk=wk, log=SUCCESS_12 + ZEROS + text)
    for again in (False, True):
        done = cli(*given, mapper)
        assert done.status == 1
        assert ("is up to date" in done.out) == again
        assert f"  error: {cause}" in done.out
        assert again or ", with errors in the log" in done.out
        assert "the mapper ended with status 0 and its results are in" in done.error
        assert cause in done.error
    run = place / "mapped" / "net_func_8bit"
    assert (run / "net_func_8bit.wk").read_bytes() == func(BRANCHED)
    assert str(run / "mapper.log") in done.error
    mended = install(tmp_path / "other", wk=wk, log=SUCCESS_12 + ZEROS)
    assert cli(*given, mended).status == 0


OTHER: Segment = ([("data", 16, 24, 3, 0)], [("fc", 1, 6, 1, 4), ("other", 16, 24, 2, 0)])
RENAMED: Segment = ([("data", 16, 24, 3, 0)], [("fc", 1, 5, 1, 4), ("others", 16, 24, 2, 0)])
LARGER: Segment = ([("data", 32, 24, 3, 0)], [("fc", 1, 5, 1, 4), ("other", 32, 24, 2, 0)])


@pytest.mark.parametrize(
    ("segment", "reason"),
    [
        (OTHER, "output fc is 1x1x6 in the file, 5 in the network"),
        (RENAMED, "output others of the file is none of the network's and 1 more"),
        (LARGER, "input data is 3x32x24 in the file, 3x16x24 in the network and 1 more"),
        (SEGMENT, "input data is 3x64x96 in the file, 3x16x24 in the network and 4 more"),
    ],
)
def test_the_wk_of_another_network_is_refused_but_kept(
    tmp_path: Path, place: Path, wk: dict[str, str], cli: Cli, segment: Segment, reason: str
) -> None:
    (tmp_path / "not").mkdir()
    mapper = install(tmp_path / "sdk", wk=compiled(tmp_path / "not", segment))
    given = ("map", place, "--run", "func_8bit", "--mapper")
    done = cli(*given, mapper)
    assert done.status == 1
    assert "net_func_8bit failed: the .wk is of another network than ./net.prototxt: " in done.error
    assert reason in done.error
    assert "done" not in done.out
    kept = place / "mapped" / "net_func_8bit.refused.wk"
    assert list(place.rglob("*.wk")) == [kept]
    assert kept.read_bytes() == func(segment)
    assert cli(*given, install(tmp_path / "right", wk=wk)).status == 0
    assert not kept.exists()


def test_what_cannot_be_compared_is_collected(tmp_path: Path, place: Path, cli: Cli) -> None:
    (tmp_path / "not").mkdir()
    given = ("map", place, "--run", "func_8bit", "--mapper")
    several = install(tmp_path / "sdk", wk=compiled(tmp_path / "not", SEGMENT, ROI_SEGMENT))
    done = cli(*given, several)
    assert (done.status, "warning" in done.out) == (0, False), done
    net = place / "mapper" / "net.prototxt"
    net.write_text(net.read_text().replace('"Eltwise"', '"Fltwise"'))
    done = cli(*given, install(tmp_path / "one", wk=compiled(tmp_path / "not", SEGMENT)))
    assert (done.status, "whether the .wk is of this network is not known" in done.out) == (0, True)


@pytest.mark.parametrize("name", ["other", "other_report"])
def test_a_reported_output_has_either_name(tmp_path: Path, name: str) -> None:
    prototxt, _ = branched(tmp_path)
    text = prototxt.read_text().replace('top: "other"', 'top: "other_report"')
    prototxt.write_text(text)
    outputs = [("fc", 1, 5, 1, 4), (name, 16, 24, 2, 0)]
    wk = compiled(tmp_path, ([("data", 16, 24, 3, 2)], outputs))
    cfg = read_cfg(f"[prototxt_file] {prototxt.name}\n[is_simulation] 1\n")
    assert wk_problem(Path(wk["1"]), cfg, tmp_path) is None


def test_yuv_pictures_may_have_any_channels(tmp_path: Path) -> None:
    prototxt, _ = branched(tmp_path)
    cfg = read_cfg(f"[prototxt_file] {prototxt.name}\n[is_simulation] 1\n")
    for height, fits in ((16, True), (24, False)):
        wk = compiled(tmp_path, ([("data", height, 24, 1, 2)], BRANCHED[1]))
        assert (wk_problem(Path(wk["1"]), cfg, tmp_path) is None) == fits


def test_public_files_are_of_their_own_networks_only(tmp_path: Path, shared: Path) -> None:
    models = shared / "models"
    wk = models / "retinaface_mnet025" / "mnet_640_inst.wk"
    for name, wrong in (("retinaface_mnet025/mnet", False), ("ultraface/RFB-320", True)):
        text = f"[prototxt_file] {models / name}.prototxt\n[is_simulation] 0\n"
        problem = wk_problem(wk, read_cfg(text), tmp_path)
        assert (problem is not None) == wrong, problem


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"part": 100}, "is damaged"),
        ({"part": 0}, "is damaged"),
        ({"wk": None}, "wrote no .wk"),
        ({"exchange": True}, "the .wk is for chip, the cfg asks for func"),
    ],
)
def test_a_half_written_wk_never_arrives(
    tmp_path: Path,
    place: Path,
    wk: dict[str, str],
    cli: Cli,
    change: dict[str, Any],
    message: str,
) -> None:
    if change.pop("exchange", False):
        wk = {"0": wk["1"], "1": wk["0"]}
    bad = install(tmp_path / "bad", **{"wk": wk, **change})
    done = cli("map", place, "--mapper", bad, "--run", "func_8bit")
    assert done.status == 1
    assert message in done.error
    assert not list(place.rglob("*.wk"))


def test_the_mapper_of_another_generation_is_ended_at_once(
    tmp_path: Path, place: Path, wk: dict[str, str], cli: Cli
) -> None:
    slow = install(tmp_path / "sdk", wk=wk, log=SUCCESS, pause=1)
    started = time.monotonic()
    done = cli("map", place, "--mapper", slow, "--chip", "hi3516dv300", "--run", "inst_8bit")
    assert time.monotonic() - started < 15
    assert done.status == 1
    assert "this is the mapper of NNIE 1.1, the chip has NNIE 1.2" in done.error
    assert not list(place.rglob("*.wk"))
    quick = install(tmp_path / "sdk2", wk=wk, log=SUCCESS)
    given = ("map", place, "--mapper", quick, "--run", "inst_8bit", "--chip")
    assert cli(*given, "hi3559av100").status == 0


@pytest.mark.parametrize("record", ["check/check.json", "cut.json"])
def test_the_chip_of_a_build_or_a_part_is_known(
    tmp_path: Path, place: Path, wk: dict[str, str], cli: Cli, record: str
) -> None:
    (place / record).parent.mkdir(exist_ok=True)
    (place / record).write_text('{"chip": "hi3559av100", "findings": []}')
    mapper = install(tmp_path / "sdk", wk=wk)
    done = cli("map", place, "--mapper", mapper, "--run", "inst_8bit")
    assert "the chip has NNIE 1.1" in done.error


def start(place: Path, *mapper: str | Path, before: str = "env") -> subprocess.Popen[str]:
    return subprocess.Popen(
        [before, *command("map", place, "--run", "func_8bit", *mapper)],
        stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, bufsize=1,
        env={**os.environ, "PYTHONUNBUFFERED": "1"},
    )  # fmt: skip


def wait_for(process: subprocess.Popen[str], text: str) -> None:
    assert process.stdout is not None
    for line in process.stdout:
        if text in line:
            return
    raise AssertionError(f"{text} was not printed")


def test_stages_are_shown_as_they_come(tmp_path: Path, place: Path, wk: dict[str, str]) -> None:
    slow = install(tmp_path / "sdk", wk=wk, pause=0.4)
    process = start(place, "--mapper", slow)
    wait_for(process, "net quantalizing(CPU)")
    assert process.poll() is None
    assert not list((place / "mapped").rglob("*.wk"))
    out, err = process.communicate(timeout=60)
    assert (process.returncode, err) == (0, "")
    assert "quant files writing ..." in out


def test_what_changes_during_a_run_makes_its_results_old(
    tmp_path: Path, place: Path, wk: dict[str, str], cli: Cli
) -> None:
    mapper = install(tmp_path / "sdk", wk=wk, pause=0.2)
    process = start(place, "--mapper", mapper)
    wait_for(process, "net parsing")
    with (place / "mapper" / "net.prototxt").open("a") as file:
        file.write("# changed\n")
    process.communicate(timeout=60)
    assert process.returncode == 0
    done = cli("map", place, "--mapper", mapper, "--run", "func_8bit")
    assert "is up to date" not in done.out


def alive(pid: int) -> bool:
    """Whether a process still runs two seconds after it was to end."""
    for _ in range(20):
        try:
            if Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] == "Z":
                return False
        except OSError:
            return False
        time.sleep(0.1)
    return True


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_when_it_is_ended_so_is_the_mapper(
    tmp_path: Path, place: Path, wk: dict[str, str], number: int
) -> None:
    slow = install(tmp_path / "sdk", wk=wk, pause=2, child=True)
    process = start(place, "--mapper", slow)
    wait_for(process, "net parsing")
    process.send_signal(number)
    process.communicate(timeout=30)
    assert process.returncode == (130 if number == signal.SIGINT else 128 + number)
    pid = json.loads((tmp_path / "sdk" / "calls.txt").read_text())["pid"]
    child = int((tmp_path / "sdk" / "child.txt").read_text())
    assert not alive(pid)
    assert not alive(child)
    assert not list(place.rglob("*.wk"))
    assert not [x for x in hashes(place) if ".tmp." in x]
    assert (place / "mapped" / "net_func_8bit.failed.log").read_text().startswith("Mapper Version")


def test_nohup_holds(tmp_path: Path, place: Path, wk: dict[str, str]) -> None:
    slow = install(tmp_path / "sdk", wk=wk, pause=0.2)
    process = start(place, "--mapper", slow, before="nohup")
    wait_for(process, "net parsing")
    process.send_signal(signal.SIGHUP)
    process.communicate(timeout=60)
    assert process.returncode == 0
    assert (place / "mapped" / "net_func_8bit" / "net_func_8bit.wk").is_file()


def test_a_terminal_that_is_closed_leaves_nothing(
    tmp_path: Path, place: Path, wk: dict[str, str]
) -> None:
    slow = install(tmp_path / "sdk", wk=wk, pause=1)
    ours, theirs = os.openpty()
    process = subprocess.Popen(
        ["setsid", "-c", *command("map", place, "--run", "func_8bit", "--mapper", slow)],
        stdin=theirs, stdout=theirs, stderr=theirs,
    )  # fmt: skip
    os.close(theirs)
    seen = b""
    while b"net parsing" not in seen:
        seen += os.read(ours, 1000)
    os.close(ours)
    process.wait(30)
    assert not alive(json.loads((tmp_path / "sdk" / "calls.txt").read_text())["pid"])
    assert not [x for x in hashes(place) if ".tmp." in x]
    assert not list(place.rglob("*.wk"))


def test_a_kill_ends_the_mapper_and_the_next_run_clears_up(
    tmp_path: Path, place: Path, wk: dict[str, str], cli: Cli
) -> None:
    slow = install(tmp_path / "sdk", wk=wk, pause=1, child=True)
    process = start(place, "--mapper", slow)
    wait_for(process, "net parsing")
    process.kill()
    process.communicate(timeout=30)
    pid = json.loads((tmp_path / "sdk" / "calls.txt").read_text())["pid"]
    assert not alive(pid)
    assert not alive(int((tmp_path / "sdk" / "child.txt").read_text()))
    (left,) = (place / "mapper").glob(".tmp.*")
    assert [x for x in place.rglob("*.wk") if x.parent != left] == []
    assert cli("map", place, "--mapper", install(tmp_path / "quick", wk=wk)).status == 0
    assert not [x for x in hashes(place) if ".tmp." in x]


def test_only_folders_of_runs_that_are_over_are_cleared(
    tmp_path: Path, place: Path, wk: dict[str, str], cli: Cli
) -> None:
    ended = subprocess.run(["true"], check=True) and subprocess.Popen(["true"])
    ended.wait()
    names = [f".tmp.map.{ended.pid}.a", f".tmp.map.{ended.pid}.b", f".tmp.map.{os.getpid()}.c",
             ".tmp.map.x.d", ".tmp.map"]  # fmt: skip
    for name in names:
        (place / "mapper" / name).mkdir()
        (place / "mapper" / name / "file").touch()
    with files.locked(place / "mapper" / names[1]):
        done = cli("map", place, "--mapper", install(tmp_path / "sdk", wk=wk))
    assert done.status == 0
    assert sorted(x.name for x in (place / "mapper").glob(".tmp.*")) == sorted(names[1:])


def test_a_run_may_take_only_so_long(
    tmp_path: Path, place: Path, wk: dict[str, str], cli: Cli
) -> None:
    slow = install(tmp_path / "sdk", wk=wk, pause=5)
    done = cli("map", place, "--mapper", slow, "--run", "func_8bit", "--timeout", "1.5")
    assert done.status == 2
    assert "was ended after 1.5 s; give it more with --timeout" in done.error
    assert not alive(json.loads((tmp_path / "sdk" / "calls.txt").read_text())["pid"])


def test_a_process_that_the_mapper_leaves_does_not_hold_it(
    tmp_path: Path, place: Path, wk: dict[str, str], cli: Cli
) -> None:
    mapper = install(tmp_path / "sdk", wk=wk, child=True)
    assert cli("map", place, "--mapper", mapper, "--run", "func_8bit").status == 0
    assert not alive(int((tmp_path / "sdk" / "child.txt").read_text()))


def test_the_mapper_is_found_with_its_libraries(
    tmp_path: Path, place: Path, wk: dict[str, str], cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    mapper = install(tmp_path / "sdk" / "bin", wk=wk)
    for library in ("sdk/lib/libprotobuf.so.15", "sdk/bin/opencv/libopencv_core.so"):
        (tmp_path / library).parent.mkdir(exist_ok=True)
        (tmp_path / library).touch()
    (tmp_path / "sdk" / "bin" / "doc").mkdir()
    monkeypatch.setenv("LD_LIBRARY_PATH", "/mine")
    monkeypatch.setenv("NNIE_MAPPER", str(mapper))
    monkeypatch.setenv("PATH", "/usr/bin:/bin")
    given = ("map", place, "--run", "func_8bit", "--again")
    assert cli(*given).status == 0
    monkeypatch.setenv("NNIE_MAPPER", str(mapper.parent))
    assert cli(*given).status == 0
    monkeypatch.delenv("NNIE_MAPPER")
    monkeypatch.setenv("PATH", f"{mapper.parent}:/usr/bin:/bin")
    assert cli(*given).status == 0
    calls = [json.loads(x) for x in (mapper.parent / "calls.txt").read_text().splitlines()]
    assert [x["libraries"].split(":") for x in calls] == [
        [str(mapper.parent), str(tmp_path / "sdk/lib"), str(mapper.parent / "opencv"), "/mine"]
    ] * 3
    assert {tuple(x["arguments"]) for x in calls} == {("net_func_8bit.cfg",)}


def test_without_a_mapper_it_is_said_how_to_name_one(
    tmp_path: Path, place: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.delenv("NNIE_MAPPER", raising=False)
    monkeypatch.delenv("NNIE_MAPPER_IMAGE", raising=False)
    for arguments, message in (
        ((place,), "no mapper: set NNIE_MAPPER to HiSilicon's nnie_mapper_12"),
        ((place, "--chip", "hi3559av100"), "nnie_mapper_11"),
        ((place, "--mapper", tmp_path / "no"), "found nothing there"),
        ((place, "--mapper", tmp_path), "the folder holds no nnie_mapper_12"),
        ((place, "--mapper", place / "mapper" / "net_func_8bit.cfg"), "is not executable"),
        ((place, "--docker", "img"), "docker, which is to run the image img, is not installed"),
        ((tmp_path / "net", "--mapper", "/bin/true"), "found no cfg file there"),
        ((tmp_path / "no",), "found no cfg file there"),
        ((), "nothing to map"),
        ((place, "--timeout", "0"), "write seconds above 0"),
    ):
        done = cli("map", *arguments)
        assert (done.status, message in done.error) == (2, True), (message, done)


def test_a_file_that_is_no_program_is_an_input_error(tmp_path: Path, place: Path, cli: Cli) -> None:
    program = tmp_path / "nnie_mapper_12"
    program.write_bytes(b"\x7fELF not for this machine")
    program.chmod(0o755)
    done = cli("map", place, "--mapper", program)
    assert (done.status, "is it a program for this machine" in done.error) == (2, True)


def install_docker(folder: Path, mapper: Path) -> Path:
    """A program in docker's place: `run` runs `mapper` as a process that no signal reaches."""
    docker = folder / "bin" / "docker"
    docker.parent.mkdir()
    docker.write_text(
        f"#!{sys.executable}\nimport json, os, subprocess, sys\n"
        f"open({str(folder / 'docker.txt')!r}, 'a').write(json.dumps(sys.argv[1:]) + '\\n')\n"
        "if sys.argv[1] == 'run':\n"
        "    os.chdir(sys.argv[sys.argv.index('--workdir') + 1])\n"
        f"    words = [{str(mapper)!r}, sys.argv[-1]]\n"
        "    sys.exit(subprocess.run(words, start_new_session=True).returncode)\n"
        f"pid = json.loads(open({str(mapper.parent / 'calls.txt')!r}).read())['pid']\n"
        "os.kill(pid, 9)\n"
    )
    docker.chmod(0o755)
    return docker


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL])
def test_a_container_is_ended_too(
    tmp_path: Path,
    place: Path,
    wk: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
    number: int,
) -> None:
    mapper = install(tmp_path / "sdk", wk=wk, pause=2)
    docker = install_docker(tmp_path, mapper)
    monkeypatch.setenv("PATH", f"{docker.parent}:/usr/bin:/bin")
    process = start(place, "--docker", "image")
    wait_for(process, "net parsing")
    process.send_signal(number)
    process.communicate(timeout=30)
    assert not alive(json.loads((mapper.parent / "calls.txt").read_text())["pid"])
    ran, ended = (json.loads(x) for x in (tmp_path / "docker.txt").read_text().splitlines())
    assert ended == ["kill", ran[ran.index("--name") + 1]]


def test_a_container_is_given_only_what_it_sees(
    tmp_path: Path, place: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    docker = install_docker(tmp_path, tmp_path / "no")
    monkeypatch.setenv("PATH", f"{docker.parent}:/usr/bin:/bin")
    shutil.move(place / "mapper" / "input.txt", tmp_path / "far.txt")
    (place / "mapper" / "input.txt").symlink_to(tmp_path / "far.txt")
    done = cli("map", place, "--docker", "image")
    assert (done.status, "names ./input.txt, which is not in" in done.error) == (2, True), done
    shutil.copytree(place / "mapper", tmp_path / "a:b")
    done = cli("map", tmp_path / "a:b", "--docker", "image")
    assert (done.status, "no folder with : in its path" in done.error) == (2, True)
    assert not (tmp_path / "docker.txt").exists()


def test_docker_runs_it_in_the_same_place(
    tmp_path: Path, place: Path, wk: dict[str, str], cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    mapper = install(tmp_path / "sdk", wk=wk)
    docker = install_docker(tmp_path, mapper)
    monkeypatch.setenv("PATH", f"{docker.parent}:/usr/bin:/bin")
    monkeypatch.setenv("NNIE_MAPPER_IMAGE", "nnie-mapper")
    monkeypatch.delenv("NNIE_MAPPER", raising=False)
    done = cli("map", place, "--run", "func_8bit")
    assert (done.status, done.err) == (0, "")
    (call,) = (tmp_path / "docker.txt").read_text().splitlines()
    words = json.loads(call)
    assert words[:2] == ["run", "--rm"]
    assert words[-3:] == ["nnie-mapper", "nnie_mapper_12", "net_func_8bit.cfg"]
    home = (place / "mapper").resolve()
    assert words[words.index("--volume") + 1] == f"{home}:{home}"
    assert Path(words[words.index("--workdir") + 1]).parent == home
    assert (place / "mapped" / "net_func_8bit" / "net_func_8bit.wk").is_file()


def test_anybody_s_cfg_runs_and_writes_no_wk_of_its_own(
    tmp_path: Path, place: Path, wk: dict[str, str], cli: Cli
) -> None:
    """Paths through .., and an instruction_name in a folder that is there."""
    project = tmp_path / "project"
    shutil.copytree(place / "mapper", project / "data" / "model")
    (project / "tool" / "inst").mkdir(parents=True)
    (project / "tool" / "list.txt").write_text((place / "mapper" / "input.txt").read_text())
    text = write_cfg(
        {"prototxt_file": "./../data/model/net.prototxt",
         "caffemodel_file": "./../data/model/net.caffemodel",
         "instruction_name": "./inst/old", "compile_mode": 0, "is_simulation": 0, "log_level": 0},
        [InputOptions("./list.txt", image_type=0)],
    )  # fmt: skip
    cfg = project / "tool" / "mine.cfg"
    cfg.write_bytes(text.replace("\n", "\r\n").encode())
    (project / "tool" / "inst" / "old.wk").write_bytes(b"of last week")
    done = cli("map", cfg, "--mapper", install(tmp_path / "sdk", wk=wk))
    assert (done.status, done.err) == (0, "")
    assert (project / "tool" / "inst" / "old.wk").read_bytes() == b"of last week"
    made = project / "tool" / "mapped" / "mine" / "mine.wk"
    assert made.read_bytes() == Chip().build(BRANCHED)
    assert not [x for x in hashes(project) if ".tmp." in x]


@pytest.mark.parametrize("entry", ["../pictures/a b.png", "{}/pictures/a b.png"])
def test_lists_may_lead_out_of_the_folder(
    tmp_path: Path, wk: dict[str, str], cli: Cli, monkeypatch: pytest.MonkeyPatch, entry: str
) -> None:
    home = tmp_path / "a net"
    home.mkdir()
    (tmp_path / "pictures").mkdir()
    (tmp_path / "pictures" / "a b.png").touch()
    prototxt, caffemodel = branched(home)
    (home / "list.txt").write_text(entry.format(tmp_path) + "\n")
    settings = {"prototxt_file": f"./{prototxt.name}", "caffemodel_file": f"./{caffemodel.name}",
                "instruction_name": "./inst", "compile_mode": 0, "is_simulation": 0,
                "log_level": 0}  # fmt: skip
    (home / "my.cfg").write_text(write_cfg(settings, [InputOptions("./list.txt")]))
    mapper = install(tmp_path / "the sdk", wk=wk)
    monkeypatch.chdir(home)
    done = cli("map", "my.cfg", "--mapper", "../the sdk")
    assert (done.status, done.err) == (0, "")
    assert cli("map", "my.cfg", "--mapper", mapper).out.count("up to date") == 1
    (tmp_path / "pictures" / "a b.png").write_bytes(b"another")
    assert "up to date" not in cli("map", "my.cfg", "--mapper", mapper).out
    assert not [x for x in hashes(tmp_path) if ".tmp." in x]


def test_a_full_disk_loses_nothing(tmp_path: Path, place: Path, wk: dict[str, str]) -> None:
    quick = install(tmp_path / "quick", wk=wk)
    given = ("map", place, "--run", "func_8bit", "--mapper")
    assert nnie(*given, quick).status == 0
    kept = hashes(place / "mapped" / "net_func_8bit")
    loud = install(tmp_path / "loud", wk=wk, log=SUCCESS_12 + "words\n" * 50_000)
    limit = partial(resource.setrlimit, resource.RLIMIT_FSIZE, (100_000, 100_000))
    done = nnie(*given, loud, preexec_fn=limit)
    assert (done.status, "cannot write" in done.error) == (2, True), done
    assert hashes(place / "mapped" / "net_func_8bit") == kept
    assert not [x for x in hashes(place) if ".tmp." in x]


def test_a_place_that_cannot_be_written_is_said_before_the_run(
    tmp_path: Path, place: Path, cli: Cli
) -> None:
    mapper = install(tmp_path / "sdk")
    (tmp_path / "file").touch()
    for out in (tmp_path / "file", tmp_path / "file" / "mapped"):
        done = cli("map", place, "--mapper", mapper, "--out", out)
        assert (done.status, "cannot write" in done.error) == (2, True)
    assert not (mapper.parent / "calls.txt").exists()


def test_an_output_that_nobody_reads_ends_the_mapper(
    tmp_path: Path, place: Path, wk: dict[str, str]
) -> None:
    process = start(place, "--mapper", install(tmp_path / "sdk", wk=wk, pause=0.5))
    wait_for(process, "net parsing")
    assert process.stdout is not None
    process.stdout.close()
    assert process.stderr is not None
    assert (process.stderr.read(), process.wait(30)) == ("", 0)
    process.stderr.close()
    assert not alive(json.loads((tmp_path / "sdk" / "calls.txt").read_text())["pid"])
    assert not [x for x in hashes(place) if ".tmp." in x]


def test_a_log_of_garbage_is_kept_and_harmless(
    tmp_path: Path, place: Path, wk: dict[str, str], cli: Cli
) -> None:
    mapper = install(tmp_path / "sdk", wk=wk, raw=1 << 20, status=1)
    done = cli("map", place, "--run", "func_8bit", "--mapper", mapper)
    assert done.status == 1
    assert "the mapper ended with exit status 1 after quant files writing" in done.error
    assert "\x1b" not in done.out + done.err
    assert (place / "mapped" / "net_func_8bit.failed.log").stat().st_size > 1 << 20


def test_checking_only_makes_no_wk(tmp_path: Path, place: Path, cli: Cli) -> None:
    cfg = place / "mapper" / "net_func_8bit.cfg"
    cfg.write_text(cfg.read_text() + "[is_check_prototxt] 1\n")
    done = cli("map", cfg, "--mapper", install(tmp_path / "sdk"))
    assert (done.status, done.err) == (0, "")
    assert not list(tmp_path.rglob("mapped/**/*.wk"))


def test_nnie_run_ends_with_the_commands_that_map_its_build(
    tiny: Path, cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tiny)
    ran = cli("run", "tiny.onnx", "--images", "pics", "--chip", "hi3559av100")
    (build,) = Path("build").iterdir()
    lines = [x.strip() for x in ran.out.splitlines()]
    assert f"NNIE_MAPPER=/path/to/nnie_mapper_11 nnie map {build}" in lines
    commands = [x for x in lines if x.startswith("nnie_mapper_11 ")]
    assert [x.split()[1] for x in commands] == [
        f"tiny_{x}.cfg" for x in ("func_8bit", "func_16bit", "inst_8bit", "inst_16bit")
    ]
    readme = (build / "mapper" / "README.txt").read_text()
    assert all(f"    {x}\n" in readme for x in commands)
    segment: Segment = ([("data", 32, 32, 3, 1)], [("out", 16, 16, 4, 0)])
    mapper = install(tiny / "sdk", "nnie_mapper_11", wk=compiled(tiny, segment), log=SUCCESS)
    monkeypatch.setenv("NNIE_MAPPER", str(mapper))
    assert cli("map", build).status == 0
    assert (build / "mapper" / "tiny_inst_16bit.wk").read_bytes() == Chip().build(segment)
    again = cli("run", "tiny.onnx", "--images", "pics", "--chip", "hi3559av100")
    assert "everything is up to date" in again.out
    assert (build / "mapped" / "tiny_inst_16bit" / "tiny_inst_16bit.wk").is_file()

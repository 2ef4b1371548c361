"""`nnie bisect` with a program that stands in for nnie_mapper, and without one."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from tests.branched_net import LAYERS, branched, picture
from tests.builds import Cli
from tests.fake_mapper import install
from tests.mapper_logs import FAILURES, SUCCESS, SUCCESS_12
from tests.test_wk_header import ROI_SEGMENT, SEGMENT, Chip, func


@pytest.fixture
def net(tmp_path: Path) -> tuple[str | Path, ...]:
    """The words that name the network and its input."""
    given = ("--input", picture(tmp_path / "x.npy"), "--out", tmp_path / "out")
    return ("bisect", *branched(tmp_path), *given)


@pytest.fixture
def wk(tmp_path: Path) -> dict[str, str]:
    # Of several segments, whose blobs nnie map compares with no network: one file for all parts.
    (tmp_path / "func.wk").write_bytes(func(SEGMENT, ROI_SEGMENT))
    (tmp_path / "inst.wk").write_bytes(Chip().build(SEGMENT, ROI_SEGMENT))
    return {"1": str(tmp_path / "func.wk"), "0": str(tmp_path / "inst.wk")}


def tried(tmp_path: Path) -> list[tuple[int, bool]]:
    record = json.loads((tmp_path / "out" / "bisect.json").read_text())
    return [(x["count"], x["holds"]) for x in record["trials"]]


@pytest.mark.parametrize("layer", ["conv1", "side", "other"])
def test_the_layer_that_the_mapper_refuses_is_found(
    tmp_path: Path, net: tuple[str | Path, ...], wk: dict[str, str], cli: Cli, layer: str
) -> None:
    text = FAILURES["permute-order"][0].replace("Transpose_174", layer)
    mapper = install(tmp_path / "sdk", wk=wk, dump=True, refuse={layer: text})
    done = cli(*net, "--mapper", mapper)
    assert done.status == 1
    assert f"the first layer that makes it fail is {layer} (" in done.error
    assert f"layer {layer} is a Permute of another order" in done.error
    trials = tried(tmp_path)
    assert trials[0] == (9, False)
    assert len(trials) <= 5
    fault = LAYERS.index(layer) + 1
    assert all(holds == (count < fault) for count, holds in trials)
    assert (fault, False) in trials
    assert fault == 1 or (fault - 1, True) in trials


@pytest.mark.parametrize("layer", ["sum"])
def test_the_layer_whose_dump_is_wrong_is_found(
    tmp_path: Path, net: tuple[str | Path, ...], wk: dict[str, str], cli: Cli, layer: str
) -> None:
    mapper = install(tmp_path / "sdk", wk=wk, dump=True, off=[layer])
    done = cli(*net, "--mapper", mapper)
    assert done.status == 1
    assert f"the first layer that makes it fail is {layer} (" in done.error
    assert "has cosine" in done.error


def test_a_crash_without_words_is_found(
    tmp_path: Path, net: tuple[str | Path, ...], wk: dict[str, str], cli: Cli
) -> None:
    mapper = install(
        tmp_path / "sdk", wk=wk, dump=True, refuse={"pool": "begin prev optimizing..\n"}
    )
    done = cli(*net, "--mapper", mapper)
    assert "is pool (Pooling): the mapper ended with exit status 1 during prev optim" in done.error


def test_a_network_that_holds_is_tried_once(
    tmp_path: Path, net: tuple[str | Path, ...], wk: dict[str, str], cli: Cli
) -> None:
    mapper = install(tmp_path / "sdk", wk=wk, dump=True)
    done = cli(*net, "--mapper", mapper, "--bits", "16")
    assert (done.status, done.err) == (0, "")
    assert "nothing fails up to other" in done.out
    assert tried(tmp_path) == [(9, True)]
    assert (tmp_path / "out" / "009_other" / "mapped" / "branched_func_16bit").is_dir()


def test_layers_that_are_known_are_not_tried(
    tmp_path: Path, net: tuple[str | Path, ...], wk: dict[str, str], cli: Cli
) -> None:
    mapper = install(tmp_path / "sdk", wk=wk, dump=True, refuse={"sum": "no\n", "other": "no\n"})
    done = cli(*net, "--mapper", mapper, "--after", "relu1", "--until", "pool")
    assert "is sum (Eltwise)" in done.error
    assert {x for x, _ in tried(tmp_path)} <= {3, 4, 5, 6, 7}
    calls = len((tmp_path / "sdk" / "calls.txt").read_text().splitlines())
    cli(*net, "--mapper", mapper, "--after", "relu1", "--until", "pool")
    again = len((tmp_path / "sdk" / "calls.txt").read_text().splitlines())
    failing = sum(not holds for _, holds in tried(tmp_path))
    assert again - calls == failing  # what held is up to date


def test_a_mapper_that_writes_no_dump_is_no_fault_of_the_network(
    tmp_path: Path, net: tuple[str | Path, ...], wk: dict[str, str], cli: Cli
) -> None:
    done = cli(*net, "--mapper", install(tmp_path / "sdk", wk=wk))
    assert (done.status, "the mapper left no mapper_quant" in done.error) == (2, True)


def test_the_mapper_of_another_generation_is_no_fault_of_the_network(
    tmp_path: Path, net: tuple[str | Path, ...], wk: dict[str, str], cli: Cli
) -> None:
    done = cli(*net, "--mapper", install(tmp_path / "sdk", wk=wk, log=SUCCESS))
    assert (done.status, "the chip has NNIE 1.2" in done.error) == (1, True)
    assert SUCCESS_12 != SUCCESS


def follow(checklist: Path, fault: int) -> str:
    """What a reader of the check list ends at, when the first `fault` layers fail."""
    rows = {}
    for line in checklist.read_text().splitlines():
        match = re.fullmatch(r"\| \[ \] (\d+) \| `(\S+)` \| (\d+) \| (.*) \| (.*) \|", line)
        if match:
            rows[int(match[1])] = (match[2], int(match[3]), match[4], match[5])
    number = max(rows)
    while True:
        folder, count, good, bad = rows[number]
        assert (checklist.parent / folder / "mapper" / "branched_func_8bit.cfg").is_file()
        step = bad if count >= fault else good
        if not step.startswith("go to "):
            return step
        number = int(step.removeprefix("go to "))


def test_without_a_mapper_a_check_list_leads_to_the_layer(
    tmp_path: Path, net: tuple[str | Path, ...], cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.delenv("NNIE_MAPPER", raising=False)
    monkeypatch.delenv("NNIE_MAPPER_IMAGE", raising=False)
    done = cli(*net)
    assert (done.status, done.err) == (0, "")
    assert "9 parts to try" in done.out
    checklist = tmp_path / "out" / "CHECKLIST.md"
    for number, layer in enumerate(LAYERS, 1):
        assert follow(checklist, number) == f"**the fault comes with layer `{layer}`**"
    assert follow(checklist, 10) == "nothing to find here"
    assert "nnie_mapper_12 branched_func_8bit.cfg" in checklist.read_text()


def test_a_short_set_names_the_command_that_narrows_down(
    tmp_path: Path, net: tuple[str | Path, ...], cli: Cli, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PATH", "/nowhere")
    monkeypatch.delenv("NNIE_MAPPER", raising=False)
    assert cli(*net, "--count", "3").status == 0
    out = tmp_path / "out"
    assert sorted(x.name for x in out.iterdir() if x.is_dir()) == [
        "003_conv2", "006_sum", "009_other"
    ]  # fmt: skip
    end = follow(out / "CHECKLIST.md", 5)
    assert end.startswith("narrow down: `nnie bisect ")
    assert end.endswith("--after conv2 --until sum`")
    words = end.partition("`nnie ")[2].rstrip("`").split()
    assert cli(*words).status == 0
    assert follow(out / "CHECKLIST.md", 5) == "**the fault comes with layer `side`**"


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--bits", "mixed"), "--bits mixed: write 8 or 16"),
        (("--count", "0"), "write 1 or more"),
        (("--min-cosine", "2"), "lies between -1 and 1"),
        (("--after", "no"), "has no layer no"),
        (("--after", "pool", "--until", "sum"), "does not stand before --until sum"),
        (("--mapper", "/nowhere/mapper"), "found nothing there"),
        (("--chip", "hi"), "is not known"),
    ],
)
def test_bad_input_is_one_line(
    net: tuple[str | Path, ...], cli: Cli, arguments: tuple[str, ...], message: str
) -> None:
    done = cli(*net, *arguments)
    assert (done.status, message in done.error) == (2, True), done

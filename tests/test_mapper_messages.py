from __future__ import annotations

import re
import signal
import time
from pathlib import Path

import pytest
import yaml

from nnie_pipeline.mapper.messages import during, explain, explain_end, follow, stage_of, version_of
from tests.builds import Cli
from tests.mapper_logs import BEGIN_12, BOARD, FAILURES, OLD, STAGES, SUCCESS, WARNINGS, ZEROS

TABLE = yaml.safe_load(
    (Path(__file__).parents[1] / "nnie_pipeline" / "mapper" / "messages.yaml").read_text()
)


@pytest.mark.parametrize("name", sorted(FAILURES))
def test_every_failure_has_one_cause_and_a_fix(name: str) -> None:
    text, cause, fix = FAILURES[name]
    found = [x for x in explain(BEGIN_12 + text) if x.severity == "error"]
    assert found[0].id == name
    assert cause in found[0].cause
    assert fix in found[0].fix
    assert {x.id for x in found} <= {name, "data-delta"}


@pytest.mark.parametrize("name", sorted(BOARD))
def test_what_a_board_says_is_explained(name: str) -> None:
    text, cause, fix = BOARD[name]
    (found,) = explain(text)
    assert (found.id, cause in found.cause, fix in found.fix) == (name, True, True)


@pytest.mark.parametrize("name", sorted(WARNINGS))
def test_warnings_are_no_errors(name: str) -> None:
    text, cause = WARNINGS[name]
    (found,) = explain(SUCCESS + text)
    assert (found.id, found.severity) == (name, "warning")
    assert cause in found.cause


def test_a_message_that_comes_again_stands_once_and_errors_stand_first() -> None:
    text, _, _ = FAILURES["permute-order"]
    found = explain(ZEROS * 3 + text + text.replace("_174", "_217"))
    assert [(x.id, x.count) for x in found] == [
        ("permute-order", 1), ("permute-order", 1), ("zeros", 3)
    ]  # fmt: skip
    assert "Transpose_217" in found[1].cause


def test_a_good_log_says_nothing() -> None:
    assert explain(SUCCESS) == []
    assert explain(OLD) == []


def test_every_published_message_is_tested() -> None:
    tested = {*FAILURES, *BOARD, *WARNINGS, "data-delta", "field-ceil-mode", "symbol"}
    assert tested == set(TABLE["messages"])
    for entry in TABLE["messages"].values():
        assert ("says" in entry) == ("statuses" in entry)
        assert set(entry) - {"statuses", "says"} == {
            "pattern",
            "severity",
            "from",
            "cause",
            "fix",
            "source",
        }
        assert entry["source"] in TABLE["sources"]
        named = set(re.findall(r"\{(\w+)\}", entry["cause"] + entry["fix"])) - {"meaning", "during"}
        assert named <= set(re.findall(r"\?P<(\w+)>", entry["pattern"]))


def test_fields_of_forks_are_told_apart() -> None:
    text = FAILURES["field-bn-param"][0]
    assert explain(text.replace("bn_param", "ceil_mode"))[0].id == "field-ceil-mode"
    assert explain("./m: undefined symbol: _ZN2cv3MatC1Ev\n")[0].id == "symbol"


def test_stages_are_those_of_the_log() -> None:
    edges = [x for x in map(stage_of, SUCCESS.splitlines()) if x]
    assert [name for edge, name in edges if edge == "begin"] == STAGES
    assert [edge for edge, _ in edges] == ["begin", "end"] * 10
    assert stage_of("begin the work of the day, said he") is None
    assert stage_of("Mapper Version 1.2") is None


def test_versions() -> None:
    first = version_of(SUCCESS)
    old = version_of(OLD)
    assert first is not None
    assert old is not None
    assert (first.text, first.nnie) == ("1.1.2.2_B010_P002", "1.1")
    assert (old.text.startswith("V100R001C003B003"), old.nnie) == (True, None)
    assert version_of("begin net parsing....") is None


@pytest.mark.parametrize(
    ("status", "cause", "fix"),
    [
        (-signal.SIGSEGV, "the mapper crashed during optimizing", "nnie bisect"),
        (139, "the mapper crashed during optimizing", "a later mapper may help"),
        (-signal.SIGBUS, "the mapper crashed during optimizing", "nnie bisect"),
        (
            -signal.SIGKILL,
            "during optimizing, most often the system because memory ran",
            "--memory",
        ),
        (137, "because memory ran out", "more memory or more swap"),
        (-signal.SIGABRT, "gave up during optimizing", "nnie bisect"),
        (132, "instructions that this processor lacks", "another machine"),
        (136, "divided by zero", "nnie check"),
        (143, "asked the mapper to end", "nohup"),
        (125, "docker run failed", "docker info"),
        (126, "cannot be run on this machine", "chmod +x"),
        (127, "a library or program that it starts, was not found", "ldd"),
        (3, "the mapper ended with exit status 3 during optimizing", "the end of its log"),
        (255, "the mapper ended with exit status 255", "the end of its log"),
        (-signal.SIGUSR1, f"the mapper ended with signal {int(signal.SIGUSR1)}", "the end of"),
    ],
)
def test_how_it_ended(status: int, cause: str, fix: str) -> None:
    found = explain_end(status, ("begin", "optimizing"))
    assert (cause in found.cause, fix in found.fix, found.severity) == (True, True, "error"), found


def test_where_it_was_when_it_ended() -> None:
    assert during(None) == "before its first stage"
    assert during(("begin", "net parsing")) == "during net parsing"
    between = follow(("begin", "net quantalizing(CPU)"), ("end", "quantalizing"))
    assert during(between) == "after net quantalizing(CPU), before another stage began"
    assert follow(between, ("begin", "optimizing")) == ("begin", "optimizing")
    assert follow(None, ("end", "optimizing")) == ("end", "optimizing")
    assert follow(between, ("end", "optimizing")) == ("end", "optimizing")


@pytest.mark.parametrize(
    ("until", "where"),
    [
        ("begin net parsing", "before its first stage"),
        ("end prev optimizing", "during prev optimizing"),
        ("begin optimizing", "after net quantalizing(CPU), before another stage began"),
    ],
)
def test_a_log_tells_where_it_ended(until: str, where: str) -> None:
    log = SUCCESS.partition(until)[0]
    (found,) = explain(log + "./run.sh: line 3:  4242 Segmentation fault (core dumped) ./m a.cfg\n")
    assert (found.id, found.cause) == ("crash", f"the mapper crashed {where}")


def test_what_the_system_says_hides_nothing_that_the_mapper_says() -> None:
    found = explain(FAILURES["other"][0] + "Segmentation fault\n")
    assert [x.id for x in found] == ["other", "crash"]


def test_an_error_that_nobody_knows_stands_beside_known_ones() -> None:
    permute = FAILURES["permute-order"][0]
    strange = "ERROR: file: foo  line: 3 the moon is full\n"
    for text in (strange + permute, permute + strange, f"{permute}begin optimizing..\n{strange}"):
        found = explain(BEGIN_12 + text + ZEROS)
        assert [x.id for x in found] == ["permute-order", "other", "zeros"]
        assert found[1].cause == "not known: the mapper's foo says: the moon is full"
        assert "the moon is full" in found[1].text
    (bare,) = explain("ERROR: file: foo  line: 3\nbegin optimizing....\n")
    assert bare.cause == "not known: the mapper's foo says: (not named)"


@pytest.mark.parametrize("text", ["Return = 524309", "Return=524309", "x line: 3 Return = 524309"])
def test_a_number_alone_is_known(text: str) -> None:
    assert [x.id for x in explain(text + "\n")] == ["return-524309"]
    assert explain(text + "1\n") == []


@pytest.mark.parametrize(
    ("code", "meaning"),
    [("01", "illegal device"), ("0c", "little memory"), ("0F", "full buffer"), ("41", "a query")],
)
def test_codes_of_the_api_are_known(code: str, meaning: str) -> None:
    assert meaning in explain(f"ret = 0xA03380{code}\n")[0].cause


def test_a_log_shows_no_control_characters() -> None:
    text = FAILURES["permute-order"][0].replace("Transpose_174", "a\x1b[2J\x07b\u202e")
    (found,) = explain(text)
    assert found.cause.startswith("layer a?[2J?b? is")
    assert (found.text + found.cause).isprintable()


def test_a_log_is_explained_without_a_mapper(tmp_path: Path, cli: Cli) -> None:
    log = tmp_path / "mapper.log"
    log.write_text(BEGIN_12 + FAILURES["permute-order"][0] + ZEROS)
    done = cli("map", "--explain-log", log)
    assert (done.status, done.err) == (0, "")
    assert "mapper 1.2.2.0_B010, NNIE 1.2" in done.out
    assert done.out.index("Transpose_174") < done.out.index("a blob is all zero")
    log.write_text(FAILURES["permute-order"][0] + "ERROR: file: foo  line: 3 the moon is full\n")
    done = cli("map", "--explain-log", log)
    assert "Permute of another order" in done.out
    assert "  error: not known: the mapper's foo says: the moon is full;" in done.out
    log.write_text("all is well\n")
    assert "no message that is known" in cli("map", "--explain-log", log).out


def test_the_end_of_a_large_log_is_read(tmp_path: Path, cli: Cli) -> None:
    log = tmp_path / "mapper.log"
    with log.open("w") as file:
        file.write(BEGIN_12)
        for _ in range(100):
            file.write("x" * 1_000_000 + "\n")
        file.write(FAILURES["permute-order"][0])
    done = cli("map", "--explain-log", log)
    assert "mapper 1.2.2.0_B010, NNIE 1.2" in done.out
    assert "Transpose_174" in done.out


@pytest.mark.parametrize(
    "part",
    [
        "layer name: [", "layer name: [x] ", "Permute can only support", "1", ":1", " ", "\n",
        "HI_MPI_SVP_NNIE_Forward", 'Message type "a', "undefined symbol: fixed_address",
        "ERROR: file: ", "ERROR: file: a line: 1\n", "setUpDataDelta line: 1", "only C , H",
        "layer[", "layer[a] value[", "[ERROR", "\n[ERROR] ",
        "ERROR\n", "WARNING: file: a line: 1\n", "Error parsing text-format caffe.NetParameter: ",
        "Return = ",
    ],
)  # fmt: skip
def test_strange_logs_take_no_longer_than_others(part: str) -> None:
    started = time.process_time()
    explain(part * (300_000 // len(part)))
    stage_of("begin " + part * 60_000)
    assert time.process_time() - started < 6

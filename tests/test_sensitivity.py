"""What a layer costs, against simulations of the whole network, and the choice of layers."""

from __future__ import annotations

import itertools
import json
import pickle
import shutil
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from pathlib import Path

import cv2
import numpy as np
import pytest

from nnie_pipeline.caffe.files import read_net, write_net
from nnie_pipeline.caffe.net import Array, Net
from nnie_pipeline.caffe.shapes import infer
from nnie_pipeline.calibration.network_input import InputSpec
from nnie_pipeline.calibration.pictures import find_pictures
from nnie_pipeline.calibration.sets import write_set
from nnie_pipeline.chips.chip import find_chip
from nnie_pipeline.chips.cost import macs, milliseconds
from nnie_pipeline.chips.cost import operations as chip_operations
from nnie_pipeline.errors import InputError
from nnie_pipeline.quant.operations import operations
from nnie_pipeline.quant.ranges import RangeRecorder
from nnie_pipeline.quant.simulate import Simulator
from nnie_pipeline.sensitivity.executors import cluster, processes, results
from nnie_pipeline.sensitivity.mixed import Search, costs_of, plan
from nnie_pipeline.sensitivity.network import Study
from nnie_pipeline.sensitivity.study import Sensitivity, measure
from nnie_pipeline.sensitivity.tasks import make_tasks, run_task, studied_layers
from nnie_pipeline.stages.sensitivity import marked_net
from tests.builds import Cli, cli  # noqa: F401
from tests.caffe_nets import conv, every_value, feed, header, layer, random_net

TEXT = (
    header(1, 3, 20, 20)
    + conv("a", "data", 8, 3, "pad: 1 stride: 2") + layer("ReLU", "a_relu", "a", "a")
    + conv("b", "a", 8, 3, "pad: 1 group: 8") + layer("ReLU", "b_relu", "b", "b")
    + conv("c", "a", 8, 1)
    + layer("Eltwise", "sum", "b c")
    + conv("left", "sum", 4, 3) + layer("Softmax", "prob", "left")
    + conv("d", "sum", 8, 1) + layer("Concat", "both", "d c") + conv("right", "both", 6, 1)
)  # fmt: skip
STUDIED = ["a", "b", "c", "sum", "left", "d", "right"]
RUN_AFTER = {  # layers that depend on each, itself and what is fused with it among them
    "a": 11, "b": 8, "c": 7, "sum": 6, "left": 2, "d": 3, "right": 1,
}  # fmt: skip


def example() -> tuple[Study, list[dict[str, Array]]]:
    net, _ = random_net(TEXT, seed=4)
    # One channel far above the others costs those their steps.
    weight = net.find("c").weights[0].copy()
    weight[0] *= 400
    net.find("c").weights = [weight, *net.find("c").weights[1:]]
    feeds = [feed(net, seed) for seed in range(2)]
    return Study(net, 8, recorded(net, feeds)), feeds


def recorded(net: Net, feeds: list[dict[str, Array]]):  # type: ignore[no-untyped-def]
    recorder = RangeRecorder(net)
    for one in feeds:
        recorder.add({**one, **every_value(net, one)})
    return recorder.ranges()


def cosine_error(exact: Array, found: Array) -> float:
    a, b = (x.astype(np.float64).ravel() for x in (exact, found))
    return float(1 - a @ b / np.linalg.norm(a) / np.linalg.norm(b))


def whole(study: Study, bits: Mapping[str, int], inputs: list[dict[str, Array]]) -> float:
    """The worst output's mean error of simulations of all layers, nothing reused."""
    net = study.net
    table = {x.name: bits[_leader(net, x.name)] for x in net.layers}
    simulator = Simulator(net, table, study.ranges, study.assumptions)
    found: dict[str, float] = dict.fromkeys(net.outputs, 0.0)
    for one in inputs:
        exact, made = every_value(net, one), dict(simulator.run(one))
        for name in net.outputs:
            found[name] += cosine_error(exact[name], made[name]) / len(inputs)
    return max(found.values())


def _leader(net: Net, name: str) -> str:
    return next(x.leader.name for x in operations(net) if name in [y.name for y in x.layers])


def study_of(study: Study, feeds: list[dict[str, Array]], place=None) -> Sensitivity:  # type: ignore[no-untyped-def]
    return measure(study, iter(feeds), len(feeds), place)


def test_each_layer_alone_and_all_but_one() -> None:
    study, feeds = example()
    leaders = [x.leader.name for x in operations(study.net)]
    found = study_of(study, feeds)
    assert [x.name for x in found.layers] == studied_layers(study) == STUDIED
    for effect in found.layers:
        only = {x: 8 if x == effect.name else 0 for x in leaders}
        without = {x: 0 if x == effect.name else 8 for x in leaders}
        assert effect.only.error == pytest.approx(whole(study, only, feeds), rel=0.01, abs=1e-9)
        assert effect.without.error == pytest.approx(whole(study, without, feeds), rel=0.01)
    assert found.everything.error == pytest.approx(
        whole(study, dict.fromkeys(leaders, 8), feeds), rel=0.01
    )
    errors = {x.name: x.only.error for x in found.layers}
    assert len({round(x, 9) for x in errors.values()}) == len(errors)  # no two by accident


def test_what_does_not_depend_on_a_layer_is_not_run_again() -> None:
    study, feeds = example()
    found = study_of(study, feeds)
    total = len(study.net.layers)
    assert total == 11
    # Two runs of the network, then what comes after each layer, twice.
    expected = 2 + 2 * sum(RUN_AFTER.values()) / total
    assert found.passes == pytest.approx(expected)
    assert 2 < found.mac_passes < 2 + 2 * len(STUDIED)


def test_an_output_that_a_layer_does_not_reach_has_no_error() -> None:
    study, feeds = example()
    effects = {x.name: x for x in study_of(study, feeds).layers}
    assert set(effects["left"].only.outputs) == {"prob"}
    assert set(effects["right"].only.outputs) == {"right"}
    assert set(effects["left"].without.outputs) == {"prob", "right"}


def test_the_json_of_a_study() -> None:
    study, feeds = example()
    record = json.loads(json.dumps(study_of(study, feeds).to_json(), allow_nan=False))
    assert record["bits"] == 8
    assert record["pictures"] == 2
    assert [x["name"] for x in record["layers"]] == STUDIED
    for row in record["layers"]:
        assert row["gain"] == pytest.approx(record["everything"]["error"] - row["without"]["error"])
        worst = min(x["cosine"] for x in row["only"]["outputs"].values())
        assert row["only"]["error"] == pytest.approx(1 - worst)


def test_tasks_are_picklable_and_read_pictures_as_they_are_needed() -> None:
    study, feeds = example()
    read = []

    def reading() -> Iterator[dict[str, Array]]:
        for number in range(50):
            read.append(number)
            yield feeds[number % 2]

    tasks = make_tasks("key", study, reading(), 2)
    assert not read
    task = pickle.loads(pickle.dumps(next(tasks)))
    assert read == [0]
    assert [x.layer for x in run_task(task).effects] == STUDIED[::2]
    assert [x.layer for x in run_task(next(tasks)).effects] == STUDIED[1::2]
    first = next(results(run_task, make_tasks("other", study, reading(), 1), None))
    assert read == [0, 0]
    assert [x.layer for x in first.effects] == STUDIED


def test_two_processes_find_the_same() -> None:
    study, feeds = example()
    expected = study_of(study, feeds)
    with processes(2) as place:
        found = study_of(study, feeds, place)
    assert found.layers == expected.layers
    assert found.everything == expected.everything
    with pytest.raises(InputError, match="--jobs 0"), processes(0):
        pass


def test_a_dask_cluster_of_two_worker_processes_finds_the_same(
    on_disk: Path,
    tmp_path: Path,
    cli: Cli,  # noqa: F811
) -> None:
    distributed = pytest.importorskip("distributed")
    study, feeds = example()
    expected = study_of(study, feeds)
    local = distributed.LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None
    )
    with local, cluster(local.scheduler_address) as place:
        assert place[1] == 2
        assert len(set(results(_process, range(40), place))) == 2
        found = study_of(study, feeds, place)
        words = ("sensitivity", *arguments(on_disk), "--pictures", "2")
        there = ("--scheduler", local.scheduler_address, "--out", tmp_path / "there")
        assert cli(*words, *there).status == 0
    assert found.layers == expected.layers
    assert found.everything == expected.everything
    assert cli(*words, "--out", tmp_path / "here").status == 0
    rows = [json.loads((tmp_path / x / "sensitivity.json").read_text()) for x in ("here", "there")]
    assert rows[0]["layers"] == rows[1]["layers"]


def _process(_: int) -> int:
    import os

    time.sleep(0.05)
    return os.getpid()


def test_no_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("nnie_pipeline.sensitivity.executors._CONNECT_SECONDS", 1)
    for address in ("tcp://127.0.0.1:1", "nonsense://x"):
        with pytest.raises(InputError, match="no Dask scheduler answers"), cluster(address):
            pass
    monkeypatch.setitem(sys.modules, "distributed", None)
    with pytest.raises(InputError, match=r"install nnie-pipeline\[dask\]"), cluster("tcp://x:1"):
        pass


def test_costs_add_up_to_the_cost_model_s() -> None:
    study, _ = example()
    chip = find_chip("hi3516dv300")
    costs = costs_of(study, chip)
    shapes = infer(study.net)
    blocks = sum(
        int(macs(x, [shapes[b] for b in x.bottoms], [shapes[t] for t in x.tops], in_blocks=True))
        for x in study.net.layers
    )
    count = chip_operations(study.net, dict(shapes))
    assert costs.total == pytest.approx(milliseconds(blocks, count, chip, 8))
    assert costs.slowdown([]) == 1
    assert costs.slowdown(STUDIED) < 2  # the Softmax has no width of its own
    assert costs.slowdown(STUDIED) + milliseconds(0, 1, chip, 8) / costs.total == pytest.approx(2)


def mixed(study: Study, feeds: list[dict[str, Array]], target: float, most: float):  # type: ignore[no-untyped-def]
    effects = study_of(study, feeds).layers
    costs = costs_of(study, find_chip("hi3516dv300"))
    return plan(study, effects, costs, lambda: iter(feeds), target, most), costs


def test_the_fewest_layers_that_reach_the_target() -> None:
    """Against all 128 sets of layers."""
    study, feeds = example()
    leaders = [x.leader.name for x in operations(study.net)]
    cosines = {
        chosen: 1 - whole(study, {x: 16 if x in chosen else 8 for x in leaders}, feeds)
        for count in range(len(STUDIED) + 1)
        for chosen in itertools.combinations(STUDIED, count)
    }
    low, high = cosines[()], cosines[tuple(STUDIED)]
    for share in (0.3, 0.6, 0.9):
        target = low + share * (high - low)
        found, _ = mixed(study, feeds, target, 2)
        least = min(len(x) for x, y in cosines.items() if y >= target)
        assert found.met
        assert found.chosen.cosine == pytest.approx(
            cosines[tuple(sorted(found.chosen.layers, key=STUDIED.index))], abs=1e-6
        )
        assert found.chosen.cosine >= target
        assert least <= len(found.chosen.layers) <= least + 1
        lengths = [len(x.layers) for x in found.curve]
        assert lengths == sorted(lengths)
        assert (lengths[0], lengths[-1]) == (0, len(STUDIED))


def test_layers_that_are_not_needed_are_taken_out() -> None:
    study, feeds = example()
    costs = costs_of(study, find_chip("hi3516dv300"))
    search = Search(study, costs, lambda: iter(feeds), None, None)
    none, everything = search.mixes([[], STUDIED])
    target = (none.cosine + everything.cosine) / 2
    found = search.without_needless(everything, target)
    assert found.cosine >= target
    assert 0 < len(found.layers) < len(STUDIED) - 1
    fewer = search.mixes([[x for x in found.layers if x != y] for y in found.layers])
    assert all(x.cosine < target for x in fewer)
    assert search.done >= 2 * (2 + len(STUDIED) + len(fewer))


def test_a_target_that_nothing_reaches_within_the_time() -> None:
    study, feeds = example()
    found, costs = mixed(study, feeds, 0.9999999, 1.2)
    assert not found.met
    assert found.chosen.slowdown <= 1.2
    assert found.chosen.slowdown == pytest.approx(costs.slowdown(found.chosen.layers))
    assert found.chosen.cosine == max(x.cosine for x in found.curve if x.slowdown <= 1.2)
    assert max(x.slowdown for x in found.curve) > 1.5  # the curve goes on
    nothing, _ = mixed(study, feeds, 0.5, 1.0)
    assert nothing.met
    assert nothing.chosen.layers == ()


@pytest.mark.parametrize(("target", "most"), [(0, 1.3), (1, 1.3), (0.9, 0.9), (0.9, 2.1)])
def test_targets_out_of_range(target: float, most: float) -> None:
    study, feeds = example()
    with pytest.raises(InputError, match=r"--target-cosine|--max-slowdown"):
        plan(
            study, [], costs_of(study, find_chip("hi3516dv300")), lambda: iter(feeds), target, most
        )


def test_marks_keep_to_31_characters_and_leave_the_network_alone() -> None:
    study, _ = example()
    study.net.find("a").name = "a" * 31
    marked, names = marked_net(study.net, ["a" * 31, "sum"])
    assert names["sum"] == "sum_hp"
    assert len(names["a" * 31]) == 31
    assert names["a" * 31].endswith("_hp")
    assert next(x.name for x in study.net.layers) == "a" * 31
    assert sum(x.name.endswith("_hp") for x in marked.layers) == 2


# --- the command line -----------------------------------------------------------------------


@pytest.fixture(scope="module")
def on_disk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("study")
    net = example()[0].net
    write_net(net, folder / "net.prototxt", folder / "net.caffemodel")
    (folder / "in").mkdir()
    for number in range(5):
        noise = np.random.default_rng(number).integers(0, 256, (6, 6, 3), dtype=np.uint8)
        smooth = cv2.resize(noise, (40, 40), interpolation=cv2.INTER_CUBIC)
        cv2.imwrite(str(folder / "in" / f"{number}.png"), smooth)
    spec = InputSpec("RGB", (127.5,) * 3, (1 / 128,) * 3)
    write_set(find_pictures(folder / "in"), spec, (20, 20), folder / "set")
    return folder


def arguments(on_disk: Path) -> tuple[str | Path, ...]:
    return (on_disk / "net.prototxt", on_disk / "net.caffemodel", "--calibration", on_disk / "set")


def test_nnie_sensitivity(on_disk: Path, tmp_path: Path, cli: Cli) -> None:  # noqa: F811
    done = cli("sensitivity", *arguments(on_disk), "--out", tmp_path, "--pictures", "3")
    assert done.status == 0, done
    record = json.loads((tmp_path / "sensitivity.json").read_text())
    assert record["pictures"] == 3
    assert [x["name"] for x in record["layers"]] == STUDIED
    assert f"of the network's {record['network_layers']}" in " ".join(done.out.split())
    ranges = json.loads((tmp_path / "ranges.json").read_text())
    assert ranges["pictures"] == 5
    assert ranges["scales"] == {"data": 1 / 128}
    worst = max(record["layers"], key=lambda x: x["only"]["error"])["name"]
    assert done.out.splitlines()[2].split()[0] == worst
    again = cli(
        "sensitivity", *arguments(on_disk), "--out", tmp_path / "b", "--pictures", "3",
        "--ranges", tmp_path / "ranges.json", "--jobs", "2",
    )  # fmt: skip
    assert again.status == 0, again
    other = json.loads((tmp_path / "b" / "sensitivity.json").read_text())
    assert other["layers"] == record["layers"]


def test_nnie_mixed_writes_a_network_that_is_what_it_says(
    on_disk: Path,
    tmp_path: Path,
    cli: Cli,  # noqa: F811
) -> None:
    done = cli(
        "mixed", *arguments(on_disk), "--out", tmp_path, "--target-cosine", "0.999",
        "--max-slowdown", "2",
    )  # fmt: skip
    assert done.status == 0, done
    record = json.loads((tmp_path / "mixed.json").read_text())
    assert record["met"]
    assert record["chosen"]["cosine"] >= 0.999
    assert record["verified"] == pytest.approx(record["chosen"]["cosine"], abs=1e-6)
    net = read_net(tmp_path / "net.prototxt", tmp_path / "net.caffemodel")
    marked = {x.name for x in net.layers if x.name.endswith("_hp")}
    runs = [x.split()[1] for x in done.out.splitlines() if "nnie_mapper" in x]
    assert runs == ["net_func_mixed.cfg", "net_inst_mixed.cfg"]
    assert (
        marked == {f"{x}_hp" for x in record["chosen"]["layers"]} == set(record["marked"].values())
    )
    assert 0 < len(marked) < len(STUDIED)
    for kind, simulation in (("func", "1"), ("inst", "0")):
        text = (tmp_path / "mapper" / f"net_{kind}_mixed.cfg").read_text()
        assert "[compile_mode] 2" in text
        assert f"[is_simulation] {simulation}" in text
    copied = (tmp_path / "mapper" / "net.prototxt").read_text()
    assert all(f'"{x}"' in copied for x in marked)
    # Without the mark it would not be reached.
    assert record["curve"][0]["layers"] == []
    assert record["curve"][0]["cosine"] < 0.999
    simulated = cli(
        "simulate", tmp_path / "net.prototxt", tmp_path / "net.caffemodel", "--bits", "mixed",
        "--calibration", on_disk / "set", "--ranges", tmp_path / "ranges.json",
        "--out", tmp_path / "dump",
    )  # fmt: skip
    assert simulated.status == 0, simulated
    assert "mixed" in json.loads((tmp_path / "dump" / "dump.json").read_text())["kind"]


def test_nnie_mixed_says_when_the_target_cannot_be_met(
    on_disk: Path,
    tmp_path: Path,
    cli: Cli,  # noqa: F811
) -> None:
    done = cli(
        "mixed", *arguments(on_disk), "--out", tmp_path, "--target-cosine", "0.99999999",
        "--max-slowdown", "1.1",
    )  # fmt: skip
    assert done.status == 1
    assert "no set of 16-bit layers within 1.1 times" in done.error
    record = json.loads((tmp_path / "mixed.json").read_text())
    assert not record["met"]
    assert record["chosen"]["slowdown"] <= 1.1
    assert f"reach {record['chosen']['cosine']:.5f}" in done.error


def test_bad_options(on_disk: Path, tmp_path: Path, cli: Cli) -> None:  # noqa: F811
    for words, message in (
        (("--pictures", "0"), "at least one picture"),
        (("--bits", "4"), "8 or 16 bits"),
        (("--assume", "x=y"), "no switch is called"),
        (("--jobs", "0"), "1 to 256"),
        (("--ranges", tmp_path), "give the path of the file"),
    ):
        done = cli("sensitivity", *arguments(on_disk), "--out", tmp_path / "x", *words)
        assert done.status == 2
        assert message in done.error
    assert not (tmp_path / "x").exists()
    net = arguments(on_disk)[:2]
    for words, message in (
        ((*arguments(on_disk), "--out", on_disk), "holds the network itself"),
        ((*net, "--out", tmp_path), "give --calibration"),
        (arguments(on_disk), "give --out"),
        (net[:1], "give its caffemodel"),
        ((tmp_path,), "no build folder"),
        (
            (*arguments(on_disk), "--out", tmp_path / "x", "--chip", "z80"),
            "chip 'z80' is not known",
        ),
    ):
        done = cli("mixed", *words)
        assert done.status == 2, done
        assert message in done.error


def test_a_build_folder_has_all_that_is_needed(on_disk: Path, tmp_path: Path, cli: Cli) -> None:  # noqa: F811
    build = tmp_path / "build"
    (build / "rewrite").mkdir(parents=True)
    for kind in ("prototxt", "caffemodel"):
        shutil.copy(on_disk / f"net.{kind}", build / "rewrite")
    shutil.copytree(on_disk / "set", build / "calibration")
    assert cli("sensitivity", build, "--pictures", "1").status == 0
    (build / "simulate").mkdir()
    (build / "sensitivity" / "ranges.json").rename(build / "simulate" / "ranges.json")
    done = cli("mixed", build, "--pictures", "1", "--target-cosine", "0.9")
    assert done.status == 0, done
    assert (build / "mixed" / "mapper" / "net.prototxt").is_file()
    record = json.loads((build / "mixed" / "mixed.json").read_text())
    assert record["chip"] == "hi3516dv300"


def test_a_started_process_has_no_own_command_line(on_disk: Path, tmp_path: Path) -> None:
    """Processes are spawned: the entry point must not start again in them."""
    words = [sys.executable, "-m", "nnie_pipeline", "sensitivity", *map(str, arguments(on_disk))]
    done = subprocess.run(
        [*words, "--out", str(tmp_path), "--jobs", "2", "--pictures", "1"],
        capture_output=True, text=True, timeout=120, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""

"""Ranges other than the maximum, what compiled files say of them, and nnie simulate."""

from __future__ import annotations

import json
import math
import tracemalloc
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import pytest

from nnie_pipeline.caffe.files import write_net
from nnie_pipeline.caffe.net import Array, Net
from nnie_pipeline.calibration.network_input import InputSpec
from nnie_pipeline.calibration.pictures import find_pictures
from nnie_pipeline.calibration.sets import load_input, load_inputs, write_set
from nnie_pipeline.errors import InputError
from nnie_pipeline.quant.clip import PercentileRecorder, clip_table, clip_z
from nnie_pipeline.quant.ranges import RangeRecorder, Ranges
from nnie_pipeline.quant.simulate import Simulator
from nnie_pipeline.stages.alternatives import compare_ranges
from nnie_pipeline.stages.dump import feeds_of, record_ranges, recorded
from nnie_pipeline.wk.decode import decode
from nnie_pipeline.wk.model import WkRecord
from tests.builds import Cli, cli  # noqa: F401
from tests.caffe_nets import conv, every_value, feed, header, layer, net_of, random_net

TEXT = (
    header(1, 3, 24, 24)
    + conv("a", "data", 8, 3, "stride: 2") + layer("ReLU", "a_relu", "a", "a")
    + conv("b", "a", 8, 1) + layer("Eltwise", "sum", "a b") + conv("c", "sum", 4, 1)
)  # fmt: skip


def example() -> Net:
    net, _ = random_net(TEXT, seed=1)
    return net


def identity(*shape: int) -> Net:
    return net_of(header(*shape) + layer("Eltwise", "x", "data"))


def z_of(largest: float, bits: int) -> int:
    steps, top = {8: (16, 127), 16: (128, 1407)}[bits]
    return math.floor(steps * math.log2(largest)) - top


@pytest.mark.parametrize("percentile", [10, 50, 90, 99, 99.9, 100])
def test_a_percentile_covers_its_share(percentile: float) -> None:
    """Against all numbers sorted; the bins are 1/256 octave wide."""
    rng = np.random.default_rng(0)
    pictures = [(rng.standard_normal((1, 3, 50, 60)) * 3**i).astype(np.float32) for i in range(4)]
    recorder = PercentileRecorder(identity(1, 3, 50, 60), percentile)
    for one in pictures:
        recorder.add({"data": one})
    found = recorder.ranges()
    everything = np.abs(np.concatenate([x.ravel() for x in pictures]))
    place = math.ceil(everything.size * Fraction(str(percentile)) / 100) - 1
    limit = np.sort(everything)[place]
    (z8,), (z16,) = found.z[8]["x"], found.z[16]["x"]
    assert z_of(limit, 8) <= z8 <= z_of(limit * 2 ** (1 / 128), 8)
    assert z_of(limit, 16) <= z16 <= z_of(limit * 2 ** (1 / 128), 16)
    assert found.rule == f"percentile {percentile:g}"
    assert found.pictures == 4
    if percentile == 100:
        assert (z8, z16) == (z_of(everything.max(), 8), z_of(everything.max(), 16))


def test_percentiles_of_zeros_and_out_of_range() -> None:
    net = identity(1, 1, 4, 4)
    recorder = PercentileRecorder(net, 50)
    mostly = np.zeros((1, 1, 4, 4), np.float32)
    mostly[0, 0, 0, 0] = 100
    recorder.add({"data": mostly})
    # Half of the numbers are 0: the edge of the first bin, below all that the format holds.
    assert recorder.ranges().z[8]["x"] == (-511,)
    for wrong in (0, -1, 100.1, math.nan):
        with pytest.raises(InputError, match="percentile is above 0"):
            PercentileRecorder(net, wrong)
    with pytest.raises(InputError, match="at least one"):
        PercentileRecorder(net, 50).ranges()


def test_clipping_an_outlier_helps_the_rest() -> None:
    """One number 500 times the others costs them their steps; without it they keep 8 octaves."""
    x = np.random.default_rng(0).uniform(0.01, 1, (1, 2, 40, 40)).astype(np.float32)
    x[0, 0, 0, 0] = 500
    inputs = {"data": x}
    net = identity(1, 2, 40, 40)
    largest, clipped = recorded([RangeRecorder(net), PercentileRecorder(net, 99.9)], net, [inputs])
    errors = []
    for ranges in (largest, clipped):
        made = dict(Simulator(net, 8, ranges).run(inputs))["x"]
        errors.append(np.abs(made - x).ravel()[1:].mean())
        assert (made[0, 0, 0, 0] > 400) == (ranges is largest)
    assert errors[1] < errors[0] / 2


def table(**layers: Any) -> dict[str, Any]:
    return {"nnie": {"gfpq_param_dict": layers}}


def test_imported_clip_values() -> None:
    net = example()
    others = record_ranges(net, [feed(net)])
    found = clip_table(table(a=[4.0], sum=[2 ** (3 / 16), 8]), net, others, "t.json")
    assert found.z[8]["a"] == (32 - 127,)
    assert found.z[8]["sum"] == (3 - 127, 48 - 127)
    assert found.z[16]["sum"] == (24 - 1407, 384 - 1407)
    assert found.z[8]["b"] == others.z[8]["b"]
    assert found.rule == "imported"
    assert clip_table(table(sum=[4.0]), net, others, "").of("sum", 8, 2) == (-95, -95)
    assert others.z[8]["a"] != found.z[8]["a"]  # not changed in place
    # Any clip in front of the next value of the mapper's table is the same.
    assert {clip_z(2 ** (x / 16), 8) for x in (2.6, 3, 3.4)} == {3 - 127}


@pytest.mark.parametrize(
    ("value", "message"),
    [
        ([], "no clip table"), ({}, "no clip table"), ({"nnie": 1}, "no clip table"),
        ({"nnie": {"gfpq_param_dict": []}}, "no clip table"),
        (table(a="4"), "no clip table"), (table(a=[]), "no clip table"),
        (table(a=["4"]), "no clip table"), (table(a=[None]), "no clip table"),
        (table(a=[[1]]), "no clip table"), (table(a=[0]), "not all above 0"),
        (table(a=[-1.0]), "not all above 0"), (table(a=[math.inf]), "not all above 0"),
        (table(a=[math.nan]), "not all above 0"), (table(sun=[1]), "near in name: sum"),
        (table(a_relu=[1]), "has not or which reads nothing quantised"),
        (table(sum=[1, 2, 3]), "3 clip values for layer sum of 2 bottoms"),
    ],
)  # fmt: skip
def test_damaged_clip_tables(value: Any, message: str) -> None:
    net = example()
    with pytest.raises(InputError, match=message) as caught:
        clip_table(value, net, record_ranges(net, [feed(net)]), "t.json")
    assert "t.json" in str(caught.value)
    assert "\n" not in str(caught.value)


def test_memory_does_not_grow_with_the_number_of_pictures() -> None:
    net, _ = random_net(header(1, 3, 100, 100) + conv("a", "data", 8, 3) + conv("b", "a", 4, 1))
    rng = np.random.default_rng(0)

    def feeds(count: int) -> Iterator[dict[str, Array]]:
        for _ in range(count):
            yield {"data": rng.standard_normal((1, 3, 100, 100)).astype(np.float32)}

    def peak(count: int) -> int:
        tracemalloc.start()
        recorded([RangeRecorder(net), PercentileRecorder(net, 99)], net, feeds(count))
        found = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        return found

    peak(2)
    few, many = peak(3), peak(40)
    assert many < few + 100_000  # a picture has 120,000 bytes, its values 460,000


def test_ways_to_choose_ranges_are_compared() -> None:
    net = example()
    inputs = feed(net)
    largest, low = recorded([RangeRecorder(net), PercentileRecorder(net, 5)], net, [inputs])
    record = json.loads(json.dumps(compare_ranges(net, inputs, [largest, low], 8)))
    exact = every_value(net, inputs)
    made = dict(Simulator(net, 8, low).run(inputs))
    assert [x["blob"] for x in record["layers"]] == ["a", "a", "b", "sum", "c"]
    for row, name in zip(record["layers"], exact, strict=True):
        a, b = (x.astype(np.float64).ravel() for x in (exact[name], made[name]))
        cosine = a @ b / np.linalg.norm(a) / np.linalg.norm(b)
        assert row["cosine"]["percentile 5"] == pytest.approx(cosine, abs=1e-6)
        assert row["cosine"]["maximum"] > 0.99
    assert record["outputs"]["percentile 5"] == record["layers"][-1]["cosine"]["percentile 5"]
    assert record["best"] == "maximum"


# --- compiled files ---------------------------------------------------------------------------


@pytest.fixture(params=["mnet_mergebn_640L_inst.wk", "mnet_640_inst.wk"])
def records(request: pytest.FixtureRequest, shared: Path) -> tuple[WkRecord, ...]:
    return decode(shared / "models" / "retinaface_mnet025" / request.param).records


def test_what_layer_tables_say_of_inputs(records: tuple[WkRecord, ...]) -> None:
    """What docs/simulation.md takes from files: pictures, Eltwise, Concat, the rest."""
    width = records[0].bytes
    assert (records[0].type_name, records[0].z) == ("input", 0 if width == 1 else -384)
    kinds = [x.type_name for x in records]
    for place in [i for i, x in enumerate(kinds) if x == "Eltwise"]:
        size = records[place].height
        lateral = [x for x in records[:place] if (x.height, x.channels) == (size, 64)][-1]
        upsampled = [x for x in records[:place] if x.type_name == "Deconvolution"][-1]
        assert upsampled.height == size
        assert lateral.bytes == upsampled.bytes == width
        assert lateral.z != upsampled.z
    for size in (20, 40, 80):  # 32 + 16 + 16 channels are joined in front of a ReLU of 64
        parts = [x.channels for x in records if (x.height, x.bytes) == (size, 4)]
        assert parts[:3] == [32, 16, 16]
        (relu,) = [x for x in records if x.type_name == "ReLU or PReLU" and x.height == size]
        assert (relu.channels, relu.bytes) == (64, width)
    assert "BatchNorm" not in kinds
    assert all(x.bytes == 4 for x in records if x.type_name in ("Softmax", "Reshape", "output"))


# --- the command line -------------------------------------------------------------------------


@pytest.fixture(scope="module")
def on_disk(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("simulate")
    write_net(example(), folder / "net.prototxt", folder / "net.caffemodel")
    (folder / "in").mkdir()
    for number in range(4):
        noise = np.random.default_rng(number).integers(0, 256, (24, 24, 3), dtype=np.uint8)
        cv2.imwrite(str(folder / "in" / f"{number}.png"), noise)
    spec = InputSpec("BGR", (0.0,) * 3, (1 / 256,) * 3)
    write_set(find_pictures(folder / "in"), spec, (24, 24), folder / "set")
    return folder


def arguments(on_disk: Path) -> tuple[str | Path, ...]:
    return ("simulate", on_disk / "net.prototxt", on_disk / "net.caffemodel")


def test_a_calibration_set_gives_ranges_and_input(on_disk: Path, tmp_path: Path, cli: Cli) -> None:  # noqa: F811
    done = cli(
        *arguments(on_disk), "--bits", "8", "--calibration", on_disk / "set", "--out", tmp_path
    )
    assert done.status == 0, done
    assert "its own calibration" not in done.out
    net = example()
    ranges = Ranges.from_json(json.loads((tmp_path / "ranges.json").read_text()), "")
    expected = record_ranges(
        net, feeds_of(net, load_inputs(on_disk / "set")), scales={"data": 1 / 256}
    )
    assert ranges == expected
    last = next(feeds_of(net, [load_input(on_disk / "set", -1)]))
    made = dict(Simulator(net, 8, expected).run(last))
    np.testing.assert_array_equal(np.load(tmp_path / "c.npy"), made["c"])
    assert not (tmp_path / "alternatives.json").exists()
    switched = cli(
        *arguments(on_disk), "--bits", "8", "--calibration", on_disk / "set",
        "--assume", "picture=calibrated", "--assume", "eltwise=shared", "--out", tmp_path / "b",
    )  # fmt: skip
    assert switched.status == 0, switched
    assert "assumed: picture=calibrated, eltwise=shared" in switched.out
    assert not np.array_equal(np.load(tmp_path / "b" / "c.npy"), made["c"])


def test_clip_and_table_are_compared_with_the_maximum(
    on_disk: Path,
    tmp_path: Path,
    cli: Cli,  # noqa: F811
) -> None:
    (tmp_path / "clip.json").write_text(json.dumps(table(a=[1.0], b=[0.5])))
    done = cli(
        *arguments(on_disk), "--bits", "8", "--calibration", on_disk / "set", "--clip", "99",
        "--clip-table", tmp_path / "clip.json", "--out", tmp_path / "out",
    )  # fmt: skip
    assert done.status == 0, done
    record = json.loads((tmp_path / "out" / "alternatives.json").read_text())
    assert set(record["outputs"]) == {"maximum", "percentile 99", "imported"}
    assert all(f"ranges by {x}: least cosine" in done.out for x in record["outputs"])
    ranges = json.loads((tmp_path / "out" / "ranges.json").read_text())
    assert ranges["rule"] == "imported"
    assert ranges["z"]["8"]["a"] == [-127]


def test_what_cannot_be_asked_for(on_disk: Path, tmp_path: Path, cli: Cli) -> None:  # noqa: F811
    (tmp_path / "r.json").write_text("{}")
    (tmp_path / "clip.json").write_text("{}")
    given = ("--calibration", on_disk / "set")
    cases: list[tuple[tuple[str | Path, ...], str]] = [
        (("--bits", "8"), "give --input FILE.npy or --calibration"),
        (("--bits", "4", *given), "--bits 4: NNIE computes with 8 or 16"),
        (("--bits", "mixed", *given), "no layer's name ends in _hp"),
        (("--bits", "8", *given, "--clip", "0"), "percentile is above 0"),
        (("--bits", "8", *given, "--clip", "9", "--ranges", tmp_path / "r.json"), "leave one out"),
        (("--bits", "8", *given, "--clip-table", tmp_path / "clip.json"), "is no clip table"),
        (("--bits", "8", *given, "--clip-table", tmp_path / "none.json"), "cannot read"),
        (("--bits", "8", *given, "--assume", "pooling"), "write pooling= one of"),
        (("--bits", "8", "--calibration", tmp_path), "holds no calibration set"),
    ]
    for words, message in cases:
        done = cli(*arguments(on_disk), *words, "--out", tmp_path / "out")
        assert done.status == 2, done
        assert message in done.error, words
        assert not (tmp_path / "out").exists()

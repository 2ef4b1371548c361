"""Metrics, dumps on disk, and their comparison layer by layer."""

from __future__ import annotations

import json
import math
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import pytest

from nnie_pipeline.caffe.net import Array, Net
from nnie_pipeline.compare.dumps import Dump, read_dump, write_dump
from nnie_pipeline.compare.layers import Comparison, compare
from nnie_pipeline.compare.metrics import difference, histogram_overlap
from nnie_pipeline.errors import InputError
from tests.caffe_nets import conv, every_value, feed, header, layer, net_of, random_net


class Difference(NamedTuple):
    """RuyiStudio's three."""

    cosine: float
    max_abs: float
    rel_euclid: float


def three(left: Array, right: Array) -> Difference:
    found = difference(left, right)
    return Difference(found.cosine, found.max_abs, found.rel_euclid)


def array(*values: float) -> Array:
    return np.array(values, np.float32)


# --- metrics -------------------------------------------------------------------------------


@pytest.mark.parametrize("size", [1, 7, 16383, 16384, 16385, 100_001])
def test_metrics_are_those_of_the_formulas(size: int) -> None:
    rng = np.random.default_rng(size)
    left = rng.normal(0.2, 3, size).astype(np.float32)
    right = (left + rng.normal(0, 0.7, size)).astype(np.float32)
    found = difference(left, right)
    a, b = left.astype(np.float64), right.astype(np.float64)
    assert found.cosine == pytest.approx(
        np.dot(a, b) / (np.linalg.norm(a) * np.linalg.norm(b)), rel=1e-12
    )
    assert found.max_abs == np.abs(a - b).max()
    assert found.rel_euclid == pytest.approx(np.linalg.norm(a - b) / np.linalg.norm(a), rel=1e-12)


def test_metrics_by_hand() -> None:
    # (3, 4) and (4, 3): 24 / 25; differences of 1; sqrt(2) / 5.
    found = difference(array(3, 4), array(4, 3))
    assert found.cosine == pytest.approx(0.96, rel=1e-12)
    assert found.max_abs == 1
    assert found.rel_euclid == pytest.approx(math.sqrt(2) / 5, rel=1e-12)
    # The distance is measured in the left one's length.
    assert three(array(1, 0), array(3, 0)) == Difference(1, 2, 2)
    assert difference(array(3, 0), array(1, 0)).rel_euclid == pytest.approx(2 / 3)
    assert difference(array(1, 2), array(-1, -2)).cosine == pytest.approx(-1, abs=1e-12)
    assert difference(array(1, 0), array(0, 1)).cosine == 0


def test_the_other_metrics_by_hand() -> None:
    found = difference(array(3, 4, 0, 0), array(3, 4, 0, 2))
    assert found.mean_abs == 0.5
    assert found.sqnr_db == pytest.approx(10 * math.log10(25 / 4), rel=1e-12)
    assert difference(array(1, 2), array(1, 2)).sqnr_db == math.inf
    assert difference(array(1, 2), array(0, 0)).sqnr_db == 0
    assert difference(array(0, 0), array(1, 2)).sqnr_db == -math.inf
    broken = difference(array(1, math.nan), array(1, 2))
    assert (broken.mean_abs, broken.sqnr_db, broken.overlap) == (math.inf, -math.inf, 0)


def test_histogram_overlap() -> None:
    rng = np.random.default_rng(0)
    left = rng.normal(0, 1, 40_000).astype(np.float32)
    assert histogram_overlap(left, rng.permutation(left)) == pytest.approx(1, abs=1e-12)
    assert histogram_overlap(array(0, 0, 0, 1), array(0, 1, 1, 1)) == pytest.approx(0.5)
    assert histogram_overlap(array(0, 0), array(5, 5)) == 0
    assert histogram_overlap(array(7), array(7, 7)) == 1
    right = (left + rng.normal(0, 0.5, left.size)).astype(np.float32)
    edges = np.linspace(min(left.min(), right.min()), max(left.max(), right.max()), 65)
    counts = [np.histogram(x, edges)[0] / x.size for x in (left, right)]
    assert histogram_overlap(left, right) == pytest.approx(np.minimum(*counts).sum(), abs=2e-3)


def test_shapes_need_not_be_equal_but_sizes() -> None:
    left = np.arange(6, dtype=np.float32)
    assert difference(left.reshape(2, 3), left).max_abs == 0
    assert difference(left.reshape(1, 6)[:, ::-1], left[::-1]).max_abs == 0
    with pytest.raises(ValueError, match="6 and 5 values"):
        difference(left, left[:5])


def test_the_same_is_the_same() -> None:
    values = np.random.default_rng(0).normal(0, 5, 50_000).astype(np.float32)
    found = difference(values, values)
    assert found.cosine == pytest.approx(1, abs=1e-15)
    assert found.cosine <= 1
    assert (found.max_abs, found.rel_euclid) == (0, 0)


@pytest.mark.parametrize(
    ("left", "right", "expected"),
    [
        ([0, 0], [0, 0], Difference(1, 0, 0)),
        ([0, 0], [0, 3], Difference(0, 3, math.inf)),
        ([0, 4], [0, 0], Difference(0, 4, 1)),
        ([], [], Difference(1, 0, 0)),
        ([1, math.nan], [1, 2], Difference(0, math.inf, math.inf)),
        ([1, 2], [math.nan, 2], Difference(0, math.inf, math.inf)),
        ([math.nan, 2], [math.nan, 2], Difference(0, math.inf, math.inf)),
        ([1, math.inf], [1, 2], Difference(0, math.inf, math.inf)),
        ([1, 2], [1, -math.inf], Difference(0, math.inf, math.inf)),
        ([1, math.inf], [1, math.inf], Difference(0, math.inf, math.inf)),
        ([0, 0], [0, math.inf], Difference(0, math.inf, math.inf)),
        ([math.inf, 0], [0, 0], Difference(0, math.inf, math.inf)),
    ],
)
def test_zero_and_not_finite(left: list[float], right: list[float], expected: Difference) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        assert three(array(*left), array(*right)) == expected


def test_a_broken_number_in_a_late_piece_is_found() -> None:
    left = np.ones(100_000, np.float32)
    right = left.copy()
    right[-1] = np.nan
    assert three(left, right) == Difference(0, math.inf, math.inf)
    right[-1] = 7
    assert difference(left, right).max_abs == 6


def test_the_largest_and_smallest_floats() -> None:
    large = np.full(10, 3e38, np.float32)
    assert difference(large, -large).cosine == pytest.approx(-1)
    assert difference(large, -large).max_abs == pytest.approx(6e38)
    tiny = np.full(10, 1e-45, np.float32)
    assert difference(tiny, tiny).cosine == pytest.approx(1)
    assert difference(tiny, tiny * 2).rel_euclid == pytest.approx(1)


# --- dumps ---------------------------------------------------------------------------------

TEXT = (
    header(1, 2, 4, 4)
    + conv("conv", "data", 4, top="a")
    + layer("BatchNorm", "bn", "a", "a")
    + layer("ReLU", "relu", "a", "a", "relu_param { negative_slope: 0.5 }")
    + layer("Slice", "cut", "a", "left right")
    + layer("Eltwise", "sum", "left right")
)


@pytest.fixture
def net() -> Net:
    return random_net(TEXT)[0]


def dump(net: Net, folder: Path, change: Callable[[str, Array], Array] | None = None) -> Dump:
    folder.mkdir(exist_ok=True)
    made = every_value(net, feed(net))
    items = [(k, change(k, v) if change else v) for k, v in made.items()]
    write_dump(net, items, "float", "onnxruntime", folder)
    return read_dump(folder)


def test_a_dump_gives_back_every_value_in_order(net: Net, tmp_path: Path) -> None:
    found = dump(net, tmp_path)
    made = every_value(net, feed(net))
    assert [x.value for x in found.blobs] == list(made)
    assert [(x.layer, x.type, x.blob) for x in found.blobs] == [
        ("conv", "Convolution", "a"), ("bn", "BatchNorm", "a"), ("relu", "ReLU", "a"),
        ("cut", "Slice", "left"), ("cut", "Slice", "right"), ("sum", "Eltwise", "sum"),
    ]  # fmt: skip
    for blob in found.blobs:
        np.testing.assert_array_equal(found.load(blob), made[blob.value])
        np.testing.assert_array_equal(np.load(tmp_path / blob.file), made[blob.value])
    assert {x.name for x in tmp_path.iterdir()} == {
        "a@conv.npy", "a@bn.npy", "a.npy", "left.npy", "right.npy", "sum.npy", "dump.json",
    }  # fmt: skip
    record = json.loads((tmp_path / "dump.json").read_text())
    assert [x["layer"] for x in record["blobs"]] == [x.layer for x in found.blobs]
    assert (found.kind, found.engine) == ("float", "onnxruntime")


def test_values_whose_files_would_have_one_name(tmp_path: Path) -> None:
    names = ["a/b", "a_b", "a:b", "A_b", "a_b_2", "\u00e4_b", "x" * 400, "x" * 401, "..", "."]
    text = header(1, 1, 1, 1)
    for i, name in enumerate(names):
        text += layer("Power", f"l{i}", "data", name, f"power_param {{ scale: 0 shift: {i} }}")
    found = dump(net_of(text), tmp_path)
    assert [found.load(x).item() for x in found.blobs] == list(range(len(names)))
    files = [x.file for x in found.blobs]
    assert len({x.lower() for x in files}) == len(files)
    assert all(x.isascii() and len(x) < 200 and not x.startswith(".") for x in files)
    assert [x.blob for x in found.blobs] == names
    # A name that can be a file's is, whatever stood before it.
    assert files[names.index("a_b")] == "a_b.npy"


def test_a_blob_whose_own_name_has_an_at_sign(tmp_path: Path) -> None:
    found = dump(net_of(header(1, 1) + layer("ReLU", "x", "data", "mail@home")), tmp_path)
    assert found.blobs[0].blob == "mail@home"


def refusal(call: Callable[[], object]) -> str:
    with pytest.raises(InputError) as caught:
        call()
    message = str(caught.value)
    assert "\n" not in message
    return message


def test_no_dump(tmp_path: Path) -> None:
    for folder in (tmp_path, tmp_path / "none"):
        message = refusal(lambda folder=folder: read_dump(folder))
        assert str(folder) in message
        assert "nnie dump" in message


@pytest.mark.parametrize(
    "text",
    [
        "", "{", "[]", "1", "null", "{}", '{"blobs": []}', '{"blobs": 3, "kind": "", "engine": ""}',
        '{"blobs": [1], "kind": "", "engine": ""}', '{"blobs": [{}], "kind": "", "engine": ""}',
        "\u0000", "[" * 100_000,
    ],
)  # fmt: skip
def test_a_damaged_record(text: str, tmp_path: Path) -> None:
    (tmp_path / "dump.json").write_text(text)
    assert "dump.json" in refusal(lambda: read_dump(tmp_path))


def test_a_record_of_bytes(tmp_path: Path) -> None:
    (tmp_path / "dump.json").write_bytes(b"\xff\xfe\x00\x01")
    assert "dump.json" in refusal(lambda: read_dump(tmp_path))


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("file", "../outside.npy"), ("file", "/etc/passwd"), ("file", "sub/inside.npy"),
        ("file", ".."), ("file", "."), ("file", ""), ("file", "a\u0000.npy"), ("file", None),
        ("file", 3), ("shape", "1x2"), ("shape", [1, None]), ("shape", 3),
        ("shape", [math.inf]), ("shape", [math.nan]), ("shape", [[1]]), ("shape", [-1]),
        ("shape", [1.5]), ("layer", None), ("type", {}), ("value", 1), ("blob", []),
    ],
)  # fmt: skip
def test_a_record_with_a_wrong_field(field: str, value: Any, net: Net, tmp_path: Path) -> None:
    dump(net, tmp_path)
    path = tmp_path / "dump.json"
    record = json.loads(path.read_text())
    record["blobs"][2][field] = value
    path.write_text(json.dumps(record))
    assert "dump.json" in refusal(lambda: read_dump(tmp_path))
    del record["blobs"][2][field]
    path.write_text(json.dumps(record))
    assert "dump.json" in refusal(lambda: read_dump(tmp_path))


def npz(path: Path) -> None:
    with path.open("wb") as file:
        np.savez(file, np.zeros(2))


def pickled(path: Path) -> None:
    np.save(path, np.array([{"evil": 1}], dtype=object), allow_pickle=True)


@pytest.mark.parametrize(
    "damage",
    [
        lambda p: p.unlink(),
        lambda p: p.write_bytes(b""),
        lambda p: p.write_bytes(b"\x93NUMPY"),
        lambda p: p.write_bytes(p.read_bytes()[:-4]),
        lambda p: p.write_bytes(p.read_bytes()[:60]),
        lambda p: p.write_text("1 2 3"),
        npz,
        pickled,
        lambda p: np.save(p, np.zeros((1, 4, 4, 4), np.int32)),
        lambda p: np.save(p, np.zeros((1, 4, 4, 4), np.complex64)),
        lambda p: np.save(p, np.zeros((1, 4, 4, 5), np.float32)),
        lambda p: np.save(p, np.zeros((), np.float32)),
        lambda p: np.save(p, np.zeros((1, 4, 4, 4), [("a", "f4")])),
        lambda p: (p.unlink(), p.mkdir()),
    ],
    ids=["missing", "empty", "magic only", "short data", "short header", "text", "npz", "pickle",
         "integers", "complex", "shape", "scalar", "structure", "folder"],
)  # fmt: skip
def test_a_damaged_blob(damage: Callable[[Path], object], net: Net, tmp_path: Path) -> None:
    found = dump(net, tmp_path)
    blob = found.blobs[2]
    path = tmp_path / blob.file
    damage(path)
    message = refusal(lambda: found.load(blob))
    assert str(path) in message
    assert "dump again" in message


def test_a_header_that_promises_more_than_the_file_holds(net: Net, tmp_path: Path) -> None:
    found = dump(net, tmp_path)
    blob = found.blobs[2]
    path = tmp_path / blob.file
    data = path.read_bytes()
    # Of the same length, so that everything else stays in its place.
    claim = data.replace(b"(1, 4, 4, 4), }      ", b"(1, 4, 4, 9999999), }")
    assert claim != data
    assert len(claim) == len(data)
    path.write_bytes(claim)
    assert "dump again" in refusal(lambda: found.load(blob))


def test_doubles_are_taken(net: Net, tmp_path: Path) -> None:
    found = dump(net, tmp_path)
    path = tmp_path / found.blobs[2].file
    np.save(path, np.load(path).astype(np.float64))
    assert found.load(found.blobs[2]).dtype == np.float32


# --- comparison ----------------------------------------------------------------------------


def compared(net: Net, folder: Path, **changes: Callable[[Array], Array]) -> Comparison:
    """Left as it is, right with some values changed (name of the value: function)."""

    def change(name: str, values: Array) -> Array:
        function = changes.get(name.replace("@", "_"))
        return values if function is None else function(values).astype(np.float32)

    left = dump(net, folder / "left")
    return compare(left, dump(net, folder / "right", change))


def test_layers_are_compared_in_execution_order(net: Net, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)

    def noisy(amount: float) -> Callable[[Array], Array]:
        return lambda x: x + amount * rng.normal(0, 1, x.shape)

    found = compared(net, tmp_path, a_bn=noisy(0.5), left=noisy(0.02), sum=noisy(2))
    assert [x.name for x in found.layers] == ["conv", "bn", "relu", "cut", "cut", "sum"]
    assert [x.type for x in found.layers][:2] == ["Convolution", "BatchNorm"]
    by_blob = {(x.name, x.blob): x for x in found.layers}
    made = every_value(net, feed(net))
    bn = by_blob["bn", "a"]
    right = read_dump(tmp_path / "right")
    other = right.load(right.blobs[1]).astype(np.float64).ravel()
    mine = made["a@bn"].astype(np.float64).ravel()
    assert bn.max_abs == np.abs(mine - other).max()
    assert bn.rel_euclid == pytest.approx(np.linalg.norm(mine - other) / np.linalg.norm(mine))
    assert by_blob["conv", "a"].max_abs == by_blob["cut", "right"].max_abs == 0
    assert 0 < by_blob["cut", "left"].max_abs < 0.2
    assert found.first_below is bn
    assert found.worst is by_blob["sum", "sum"]
    assert not found.only_left
    assert not found.only_right


def test_the_json_of_a_comparison(net: Net, tmp_path: Path) -> None:
    found = compared(net, tmp_path, a=lambda x: x * np.nan, left=lambda x: x * 0)
    value = json.loads(json.dumps(found.to_json(), allow_nan=False))
    assert set(value["layers"][0]) >= {"name", "type", "cosine", "max_abs", "rel_euclid"}
    relu = value["layers"][2]
    assert (relu["cosine"], relu["max_abs"], relu["rel_euclid"]) == (0, None, None)
    left = value["layers"][3]
    assert left["cosine"] == 0
    assert left["rel_euclid"] == 1
    assert value["first_below"] == "relu"
    assert value["worst"] == "relu"
    assert value["below"] == 2
    same = compared(net, tmp_path).to_json()
    assert same["first_below"] is None
    assert same["below"] == 0


def test_the_threshold_itself_is_not_below(net: Net, tmp_path: Path) -> None:
    left = dump(net, tmp_path / "left")
    right = dump(net, tmp_path / "right", lambda _, x: x * np.float32(2))
    found = compare(left, right, 1.0)
    worst = found.worst
    assert worst is not None
    at_worst = compare(left, right, worst.cosine)
    assert at_worst.first_below is None
    assert at_worst.to_json()["below"] == 0
    assert compare(left, right, math.nextafter(worst.cosine, 2)).first_below is not None


def test_layers_of_one_side_only_are_named(net: Net, tmp_path: Path) -> None:
    left = dump(net, tmp_path / "left")
    other, _ = random_net(TEXT.replace('"sum"', '"other"'))
    right = dump(other, tmp_path / "right")
    found = compare(left, right)
    assert found.only_left == ("sum",)
    assert found.only_right == ("other",)
    assert [x.name for x in found.layers] == ["conv", "bn", "relu", "cut", "cut"]


def test_layers_match_by_name_whatever_their_blobs_are_called(net: Net, tmp_path: Path) -> None:
    """A rewritten network names blobs otherwise, and in another order."""
    left = dump(net, tmp_path / "left")
    text = TEXT.replace('"a"', '"blob"').replace('"left"', '"first"').replace('"right"', '"second"')
    renamed, _ = random_net(text)
    found = compare(left, dump(renamed, tmp_path / "right"))
    assert [x.max_abs for x in found.layers] == [0] * 6
    assert not found.only_left


def test_tops_of_a_layer_are_matched_by_their_place(net: Net, tmp_path: Path) -> None:
    found = compared(net, tmp_path, right=lambda x: x + 1)
    assert [x.max_abs > 0 for x in found.layers] == [False, False, False, False, True, False]


def test_other_shapes_and_other_networks(net: Net, tmp_path: Path) -> None:
    left = dump(net, tmp_path / "left")
    wider = net.copy()
    wider.inputs = {"data": (1, 2, 4, 5)}
    message = refusal(lambda: compare(left, dump(wider, tmp_path / "wider")))
    assert "layer conv" in message
    assert "[1, 4, 4, 4]" in message
    assert "[1, 4, 4, 5]" in message
    stranger = net_of(header(1, 2) + layer("ReLU", "stranger", "data"))
    message = refusal(lambda: compare(left, dump(stranger, tmp_path / "stranger")))
    assert "no layer in common" in message

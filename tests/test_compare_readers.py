"""Dumps of the vendor's tools, written here from the description of their formats."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from nnie_pipeline.caffe.net import Array, Net
from nnie_pipeline.compare.dot import read_layer_names
from nnie_pipeline.compare.dumps import Dump, read_dump, write_dump
from nnie_pipeline.compare.layers import Comparison, compare
from nnie_pipeline.compare.layout import explain
from nnie_pipeline.compare.open import open_dump
from nnie_pipeline.compare.text_values import read_floats, read_hex, read_q20_12
from nnie_pipeline.errors import InputError
from tests.builds import Cli
from tests.caffe_nets import conv, every_value, feed, header, layer, random_net

TEXT = (
    header(1, 2, 6, 5)
    + conv("conv", "data", 4, top="a")
    + layer("BatchNorm", "bn", "a", "a")
    + layer("ReLU", "relu", "a", "a", "relu_param { negative_slope: 0.5 }")
    + conv("head/box", "a", 3)
    + conv("head/score", "a", 2)
)


@pytest.fixture
def net() -> Net:
    return random_net(TEXT)[0]


@pytest.fixture
def values(net: Net) -> dict[str, Array]:
    return every_value(net, feed(net))


@pytest.fixture
def ours(net: Net, values: dict[str, Array], tmp_path: Path) -> Dump:
    folder = tmp_path / "ours"
    folder.mkdir()
    write_dump(net, values.items(), "float", "onnxruntime", folder)
    return read_dump(folder)


def word(value: float) -> str:
    """A number in 20.12 fixed point, as the board's %08x prints the int32."""
    return f"{round(float(value) * 4096) & 0xFFFFFFFF:08x}"


def hexes(array: npt.ArrayLike) -> str:
    return "".join(f"{word(x)}\n" for x in np.asarray(array).reshape(-1))


def decimals(array: npt.ArrayLike) -> str:
    return "".join(f"{float(x):.18e}\n" for x in np.asarray(array).reshape(-1))


def padded_hexes(array: npt.NDArray[np.float32], alignment: int) -> str:
    """Every row followed by what else stands in its aligned memory."""
    text = ""
    for row in array.reshape(-1, array.shape[-1]):
        text += hexes(row)
        text += "deadbeef\n" * ((-4 * len(row) % alignment) // 4)
    return text


def write(folder: Path, files: Mapping[str, str]) -> Path:
    folder.mkdir(exist_ok=True)
    for name, text in files.items():
        (folder / name).write_text(text, encoding="ascii")
    return folder


def mapper_files(values: Mapping[str, Array]) -> dict[str, str]:
    return {
        "conv_output0_4_6_5_quant.linear.hex": hexes(values["a"]),
        "head_box_output0_3_6_5_quant.linear.hex": hexes(values["head/box"]),
        "head_score_output0_2_6_5._quant.linear.hex": hexes(values["head/score"]),
        "conv_weight.hex": "80\n00\nff\n",
        "conv_weight-anti.float": decimals([0, 1, -245]),
        "conv_bias.hex": "00000010\nfffffff0\n",
        "head_box_input0_4_6_5_quant.nonlinear.hex": "7f\n" * 120,
        "conv_input0_2_6_5_anti_quant.linear.float": decimals(np.ones(60)),
    }


def by_name(found: Comparison) -> dict[str, float]:
    return {x.name: x.max_abs for x in found.layers}


HALF = 0.5 / 4096 + 1e-6


def test_a_mapper_dump_is_compared_by_layer_names(
    ours: Dump, values: dict[str, Array], tmp_path: Path
) -> None:
    found = compare(ours, open_dump(write(tmp_path / "mapper_quant", mapper_files(values))))
    # The mapper's conv is the fused operation: what Caffe leaves in the blob.
    assert [x.name for x in found.layers] == ["relu", "head/box", "head/score"]
    assert all(x.max_abs <= HALF for x in found.layers), by_name(found)
    assert found.layers[0].shape == (1, 4, 6, 5)
    assert not found.only_left
    assert set(found.only_right) >= {"conv_weight", "conv_bias", "conv_input0"}


def test_the_folder_that_holds_mapper_quant_is_enough(
    values: dict[str, Array], tmp_path: Path
) -> None:
    write(tmp_path / "mapper_quant", mapper_files(values))
    assert open_dump(tmp_path).folder == tmp_path / "mapper_quant"


def test_a_mapper_dump_with_every_layer_of_a_chain(
    ours: Dump, values: dict[str, Array], tmp_path: Path
) -> None:
    files = {
        "conv_output0_4_6_5_quant.linear.hex": hexes(values["a@conv"]),
        "bn_output0_4_6_5_quant.linear.hex": hexes(values["a@bn"]),
        "relu_output0_4_6_5_quant.linear.hex": hexes(values["a"]),
    }
    found = compare(ours, open_dump(write(tmp_path / "mapper", files)))
    assert [x.name for x in found.layers] == ["conv", "bn", "relu"]
    assert all(x.max_abs <= HALF for x in found.layers), by_name(found)
    assert set(found.only_left) == {"head/box", "head/score"}


def test_all_kinds_of_a_mapper_dump(values: dict[str, Array], tmp_path: Path) -> None:
    folder = write(tmp_path / "mapper_quant", mapper_files(values))
    dump = open_dump(folder)
    loaded = {(x.layer, x.role): dump.load(x) for x in dump.blobs}
    np.testing.assert_array_equal(loaded["conv", "weight"], np.float32([0, 1, -245]))
    np.testing.assert_array_equal(loaded["conv", "bias"], [16, -16])
    assert loaded["head_box", "input"].shape == (4, 6, 5)
    # Without the floats beside it a code says how large a value is up to one factor.
    (folder / "conv_weight-anti.float").unlink()
    dump = open_dump(folder)
    weight = next(x for x in dump.blobs if x.role == "weight")
    assert not weight.scaled
    np.testing.assert_allclose(dump.load(weight), [0, 1, -(2 ** (127 / 16))], rtol=1e-6)


@pytest.mark.parametrize("shift", [0, 2])
def test_codes_of_16_bits(shift: int, tmp_path: Path) -> None:
    codes = [0, 128, 1407]
    text = "".join(f"{k << shift:04x}\n{0x8000 | k << shift:04x}\n" for k in codes)
    dump = open_dump(
        write(tmp_path / "m", {"c_input0_6_1_1_quant.nonlinear.hex": text, "x.txt": "no"})
    )
    expected = [1, 0, 2, -2, 2 ** (1407 / 128), -(2 ** (1407 / 128))]
    np.testing.assert_allclose(dump.load(dump.blobs[0]).reshape(-1), expected, rtol=1e-6)


def test_codes_are_compared_up_to_their_unit(tmp_path: Path) -> None:
    left = write(tmp_path / "l", {"c_input0_3_1_1_anti_quant.linear.float": decimals([8, 4, -2])})
    right = write(tmp_path / "r", {"c_input0_3_1_1_quant.nonlinear.hex": "20\n10\n80\n"})
    found = compare(open_dump(left), open_dump(right)).layers[0]
    assert found.cosine == pytest.approx(40 / math.sqrt(84 * 20))  # (8, 4, -2) and (4, 2, 0)
    assert "unit" in found.note


def test_the_scripts_floats(ours: Dump, values: dict[str, Array], tmp_path: Path) -> None:
    files = {
        "relu_output0_4_6_5_caffe.linear.float": decimals(values["a"]),
        "head_box_output0_3_6_5_caffe.linear.float": decimals(values["head/box"]),
        "head_score_output0_2_6_5_caffe.linear.float": decimals(values["head/score"]),
        "data_output0_2_6_5_caffe.linear.float": decimals(np.zeros(60)),
    }
    found = compare(ours, open_dump(write(tmp_path / "output", files)))
    assert [x.name for x in found.layers] == ["relu", "head/box", "head/score"]
    assert all(x.max_abs < 1e-6 for x in found.layers)
    assert found.only_right == ("data_output0",)
    turned = compare(open_dump(tmp_path / "output"), ours)
    assert [x.name for x in turned.layers] == ["relu", "head/box", "head/score"]
    assert turned.only_left == ("data_output0",)


def board_files(values: Mapping[str, Array], alignment: int = 0) -> dict[str, str]:
    return {
        name: padded_hexes(values[value], alignment) if alignment else hexes(values[value])
        for name, value in (
            ("seg0_layer9_output0_inst.linear.hex", "head/box"),
            ("seg0_layer38_output0_inst.linear.hex", "head/score"),
        )
    }


@pytest.mark.parametrize("alignment", [0, 16, 32])
def test_a_board_dump_is_matched_by_shape_and_order(
    alignment: int, ours: Dump, values: dict[str, Array], tmp_path: Path
) -> None:
    found = compare(ours, open_dump(write(tmp_path / "b", board_files(values, alignment))))
    assert [x.name for x in found.layers] == ["head/box", "head/score"]
    assert all(x.max_abs <= HALF for x in found.layers), by_name(found)
    assert all(bool(x.note) == bool(alignment) for x in found.layers)
    assert "2 of 2" in found.notes[0]
    assert set(found.only_left) == {"a@conv", "a@bn", "a"}


DOT = """digraph g {
  node_in [shape=box];
  n0 [label="data\\nnet 0", segment=0];
  n1 [label="conv net 0 segment 0"]; // segment
  n2 [label="head/score\\nnet:0\\nsegment:0"]; # segment
  n3 [label="head/box net 0", segment=0];
  n0 -> n1; n1 -> n2;
}
"""


def test_a_board_dump_with_its_dot_file(
    ours: Dump, values: dict[str, Array], tmp_path: Path
) -> None:
    files = {
        "seg0_layer2_output0_inst.linear.hex": hexes(values["head/score"]),
        "seg0_layer3_output0_inst.linear.hex": hexes(values["head/box"]),
        "seg0_layer1_output0_inst.linear.hex": hexes(values["a"]),
    }
    folder = write(tmp_path / "b", files)
    dot = tmp_path / "net.dot"
    dot.write_text(DOT)
    assert read_layer_names(dot) == {0: "data", 1: "conv", 2: "head/score", 3: "head/box"}
    found = compare(ours, open_dump(folder, dot))
    assert [x.name for x in found.layers] == ["relu", "head/box", "head/score"]
    assert all(x.max_abs <= HALF for x in found.layers), by_name(found)
    assert not found.notes
    (folder / "cnn_net_tree.dot").write_text(DOT)
    assert not compare(ours, open_dump(folder)).notes
    assert "number 7" in refusal(
        lambda: open_dump(
            write(tmp_path / "c", {"seg0_layer7_output0_inst.linear.hex": "00000000\n"}), dot
        )
    )


def test_two_boards(values: dict[str, Array], tmp_path: Path) -> None:
    left = write(tmp_path / "l", board_files(values))
    right = write(tmp_path / "r", board_files(values))
    found = compare(open_dump(left), open_dump(right))
    assert [x.max_abs for x in found.layers] == [0, 0]


def test_exchangeable_blobs_are_named_so(tmp_path: Path) -> None:
    text = header(1, 2, 4, 4) + "".join(conv(f"c{i}", "data" if i == 0 else f"c{i - 1}", 2)
                                        for i in range(4))  # fmt: skip
    net, _ = random_net(text)
    made = every_value(net, feed(net))
    folder = tmp_path / "o"
    folder.mkdir()
    write_dump(net, made.items(), "float", "onnxruntime", folder)
    files = {f"seg0_layer{i}_output0_func.linear.hex": hexes(made[f"c{i}"]) for i in (1, 3)}
    found = compare(read_dump(folder), open_dump(write(tmp_path / "b", files)))
    assert "cnn_net_tree.dot" in found.notes[0]
    assert [x.name for x in found.layers] == ["c2", "c3"]


@pytest.mark.parametrize(
    ("left", "right", "word"),
    [
        ((1, 3, 8, 9), (3, 9, 8), "height and width are exchanged"),
        ((3, 8, 9), (8, 9, 3), "channels last"),
        ((3, 8, 9), (3, 9, 9), "off by one"),
        ((3, 8, 9), (3, 16, 18), "input sizes"),
        ((3, 8, 9), (4, 8, 9), "channels against"),
        ((3, 8, 9), (6, 36), "another shape"),
        ((3, 8, 9), (100,), "216"),
        ((3, 8, 9), (5, 5, 5), "different networks"),
    ],
)
def test_a_shape_mismatch_is_explained(
    left: tuple[int, ...], right: tuple[int, ...], word: str
) -> None:
    assert word in explain(left, right)


def test_other_shapes_stand_beside_what_could_be_compared(
    ours: Dump, values: dict[str, Array], tmp_path: Path, cli: Cli
) -> None:
    files = mapper_files(values)
    files["head_box_output0_3_5_6_quant.linear.hex"] = files.pop(
        "head_box_output0_3_6_5_quant.linear.hex"
    )
    folder = write(tmp_path / "mapper_quant", files)
    found = compare(ours, open_dump(folder))
    assert [x.name for x in found.layers] == ["relu", "head/score"]
    assert [(x.name, x.right) for x in found.mismatched] == [("head/box", (3, 5, 6))]
    assert cli("compare", ours.folder, folder).status == 0
    failed = cli("compare", ours.folder, folder, "--min-cosine", "0.99")
    assert failed.status == 1
    assert "exchanged" in failed.error


def test_the_command_compares_any_kinds(
    ours: Dump, values: dict[str, Array], tmp_path: Path, cli: Cli
) -> None:
    mapper = write(tmp_path / "mapper_quant", mapper_files(values))
    board = write(tmp_path / "board", board_files(values))
    page = tmp_path / "page.html"
    ran = cli("compare", mapper, board, "--json", "--html", page, "--min-cosine", "0.999")
    assert ran.status == 0, ran  # sizes alone tell
    assert [x["name"] for x in ran.json["layers"]] == ["head_box", "head_score"]
    ran = cli("compare", ours.folder, board, "--json", "--html", page, "--min-cosine", "0.999")
    assert ran.status == 0, ran
    assert [x["name"] for x in ran.json["layers"]] == ["head/box", "head/score"]
    assert {"mean_abs", "sqnr_db", "overlap", "note"} <= set(ran.json["layers"][0])
    text = page.read_text()
    assert "<code>head/box</code>" in text
    assert "src=" not in text.replace('<img alt="">', "").split("<script>")[0]
    bad = values | {"head/score": values["head/score"] * -1}
    worse = write(tmp_path / "worse", board_files(bad))
    failed = cli("compare", ours.folder, worse, "--min-cosine", "0.99")
    assert failed.status == 1
    assert "head/score" in failed.error


BROKEN: tuple[tuple[str, Callable[[str], str]], ...] = (
    ("20", lambda text: "".join(text.splitlines(keepends=True)[:20])),
    ("'zz'", lambda text: text + "zz\n"),
)


@pytest.mark.parametrize(("said", "damage"), BROKEN)
@pytest.mark.parametrize("turned", [False, True])
def test_a_broken_output_of_a_board_fails(
    said: str, damage: Callable[[str], str], turned: bool, ours: Dump,
    values: dict[str, Array], tmp_path: Path, cli: Cli,
) -> None:  # fmt: skip
    files = board_files(values)
    name = "seg0_layer9_output0_inst.linear.hex"
    files[name] = damage(files[name])
    sides = (ours.folder, write(tmp_path / "b", files))
    ran = cli("compare", *(sides[::-1] if turned else sides), "--min-cosine", "0.99")
    assert ran.status in (1, 2)
    assert name in ran.error
    assert said in ran.error


def test_an_output_without_a_partner_fails(
    ours: Dump, values: dict[str, Array], tmp_path: Path, cli: Cli
) -> None:
    files = board_files(values)
    del files["seg0_layer38_output0_inst.linear.hex"]
    fewer = write(tmp_path / "fewer", files)
    assert cli("compare", ours.folder, fewer).status == 0
    for sides in ((ours.folder, fewer), (fewer, ours.folder)):
        ran = cli("compare", *sides, "--min-cosine", "0.99")
        assert ran.status == 1
        assert "head/score has no partner" in ran.error
    more = board_files(values) | {"seg0_layer50_output0_inst.linear.hex": hexes(np.zeros(7))}
    ran = cli("compare", ours.folder, write(tmp_path / "more", more), "--min-cosine", "0.99")
    assert ran.status == 1
    assert "layer50" in ran.error
    # What stands before the network's own layers is no output: a simulator may dump the data.
    data = board_files(values) | {"seg0_layer0_output0_inst.linear.hex": hexes(np.zeros(7))}
    ran = cli("compare", ours.folder, write(tmp_path / "data", data), "--min-cosine", "0.99")
    assert ran.status == 0, ran


def test_every_state_of_a_simulator_is_matched_one_to_one(
    ours: Dump, values: dict[str, Array], tmp_path: Path
) -> None:
    files = {
        f"seg0_layer{i}_output0_inst.linear.hex": hexes(x) for i, x in enumerate(values.values())
    }
    folder = write(tmp_path / "b", files)
    found = compare(ours, open_dump(folder))
    assert [x.name for x in found.layers] == ["conv", "bn", "relu", "head/box", "head/score"]
    assert all(x.max_abs <= HALF for x in found.layers), by_name(found)
    assert not found.only_left + found.only_right
    assert "exchanged" not in found.notes[0]
    # A broken file leaves the others in their places.
    (folder / "seg0_layer1_output0_inst.linear.hex").write_text("00000000\n")
    found = compare(ours, open_dump(folder))
    assert [x.name for x in found.layers] == ["conv", "relu", "head/box", "head/score"]
    assert all(x.max_abs <= HALF for x in found.layers), by_name(found)
    assert [x.name for x in found.mismatched] == ["bn"]
    assert "seg0_layer1_" in found.mismatched[0].reason


def test_sizes_that_tell_nothing_ask_for_the_dot_file(
    values: dict[str, Array], tmp_path: Path
) -> None:
    board = open_dump(write(tmp_path / "b", {
        f"seg0_layer{i}_output0_inst.linear.hex": hexes(values["a"]) for i in range(2)
    }))  # fmt: skip
    texts = {x: decimals(values["a"]) for x in ("conv", "relu")}
    script = {f"{k}_output0_4_6_5_caffe.linear.float": v for k, v in texts.items()}
    named = open_dump(write(tmp_path / "s", script))
    assert "--dot" in refusal(lambda: compare(named, board))
    assert "--dot" in refusal(lambda: compare(board, named))
    script["head_box_output0_3_6_5_caffe.linear.float"] = decimals(values["head/box"])
    write(tmp_path / "b", {"seg0_layer7_output0_inst.linear.hex": hexes(values["head/box"])})
    found = compare(open_dump(write(tmp_path / "s", script)), open_dump(tmp_path / "b"))
    assert [x.name for x in found.layers] == ["head_box"]
    assert "--dot" in found.notes[0]


# --- bad files -----------------------------------------------------------------------------


def refusal(call: Callable[[], object]) -> str:
    with pytest.raises(InputError) as caught:
        call()
    message = str(caught.value)
    assert "\n" not in message
    return message


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("c_output0_2_1_1_quant.linear.hex", "00000000\n"),
        ("c_output0_2_1_1_quant.linear.hex", "00000000\nxyz\n"),
        ("c_output0_2_1_1_quant.linear.hex", "0000000000\n0000000000\n"),
        ("c_output0_2_1_1_quant.linear.hex", ""),
        ("c_output0_2_1_1_quant.linear.hex", "-1\n2\n"),
        ("c_output0_2_1_1_quant.linear.hex", "1_0\n2\n"),
        ("c_output0_2_1_1_caffe.linear.float", "1.0\n"),
        ("c_output0_2_1_1_caffe.linear.float", "1.0\ntwo\n"),
        ("c_output0_2_1_1_caffe.linear.float", "\n"),
        ("seg0_layer1_output0_inst.linear.hex", "0000000g\n"),
        ("seg0_layer1_output0_inst.linear.hex", ""),
    ],
)
def test_a_damaged_file_is_refused(name: str, text: str, tmp_path: Path) -> None:
    folder = write(tmp_path / "d", {name: text})

    def read() -> None:
        dump = open_dump(folder)
        dump.load(dump.blobs[0])

    assert name in refusal(read)


@pytest.mark.parametrize(
    "name",
    ["c_output0_0_1_1_quant.linear.hex", "c_output0_999999_999999_9_quant.linear.hex",
     "c_output0_0_caffe.linear.float", "c_output0_99999_99999_9_caffe.linear.float"],
)  # fmt: skip
def test_a_shape_that_is_none(name: str, tmp_path: Path) -> None:
    assert "shape" in refusal(lambda: open_dump(write(tmp_path / "d", {name: "0\n"})))


def test_no_dump_at_all(tmp_path: Path) -> None:
    assert "no dump" in refusal(lambda: open_dump(tmp_path))
    assert "no dump" in refusal(lambda: open_dump(tmp_path / "none"))
    file = tmp_path / "file"
    file.write_text("")
    assert "no dump" in refusal(lambda: open_dump(file))


def test_a_dot_file_without_segments(tmp_path: Path) -> None:
    dot = tmp_path / "x.dot"
    dot.write_text('digraph { a [label="b"]; }')
    assert "segment" in refusal(lambda: read_layer_names(dot))


def test_other_line_ends_and_spellings(tmp_path: Path) -> None:
    file = tmp_path / "x.hex"
    for text in ("00001000\nffffF000\n", "00001000\r\nfffff000\r\n", "1000 0xFFFFF000", "1000\n\n"
                 "fffff000", "00001000\nfffff000"):  # fmt: skip
        file.write_bytes(text.encode())
        np.testing.assert_array_equal(read_q20_12(file), [1, -1])


@settings(max_examples=60, deadline=None)
@given(words=st.lists(st.integers(0, 2**32 - 1), min_size=1, max_size=30), digits=st.booleans())
def test_hexadecimal_numbers_are_those_of_python(
    words: list[int], digits: bool, tmp_path_factory: pytest.TempPathFactory
) -> None:
    file = tmp_path_factory.getbasetemp() / "words.hex"
    file.write_text("".join(f"{x:08x}\n" if digits else f"{x:x}\n" for x in words))
    np.testing.assert_array_equal(read_hex(file)[0], np.array(words, np.uint32))


@settings(max_examples=150, deadline=None)
@given(data=st.one_of(st.binary(max_size=60), st.text("0123456789abcdefx \n\r.-+e", max_size=60)))
def test_readers_refuse_or_read_whatever_stands_there(
    data: bytes | str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    file = tmp_path_factory.getbasetemp() / "fuzz"
    file.write_bytes(data if isinstance(data, bytes) else data.encode())
    for read in (read_q20_12, read_floats, read_layer_names):
        try:
            read(file)
        except InputError as error:
            assert "\n" not in str(error)  # noqa: PT017


NAMES = st.text("abc_seg01layeroutpin.quthxfxdw-", min_size=1, max_size=40)
ENDS = st.sampled_from(
    ["", "_quant.linear.hex", "_quant.nonlinear.hex", "_anti_quant.linear.float", "_weight.hex",
     "_caffe.linear.float", "_inst.linear.hex", "_bias.hex"]
)  # fmt: skip


@settings(max_examples=100, deadline=None)
@given(
    stem=NAMES, middle=st.sampled_from(["", "_output0", "_input0_1_2_3", "_output1_2"]), end=ENDS
)
def test_any_name_of_a_file(
    stem: str, middle: str, end: str, tmp_path_factory: pytest.TempPathFactory
) -> None:
    folder = tmp_path_factory.mktemp("names")
    if stem in (".", ".."):
        return
    (folder / f"{stem}{middle}{end}").write_text("0\n")
    try:
        dump = open_dump(folder)
        for blob in dump.blobs:
            dump.load(blob)
    except InputError as error:
        assert "\n" not in str(error)  # noqa: PT017

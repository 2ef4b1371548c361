from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from nnie_pipeline.errors import InputError, NotExpressibleError
from nnie_pipeline.mapper.cfg import InputOptions, normalisation, read_cfg, write_cfg
from tests.published_cfgs import CFGS

SETTINGS: dict[str, Any] = {
    "prototxt_file": "./net.prototxt",
    "caffemodel_file": "./net.caffemodel",
    "instruction_name": "./net_inst_8bit",
    "compile_mode": 0,
    "is_simulation": 0,
    "log_level": 0,
    "data_scale": 1 / 128,
    "RGB_order": "RGB",
}
PICTURES = InputOptions("./image_list.txt", norm_type=5, mean_file="./mean.txt")
TENSORS = InputOptions("./input.txt", image_type=0)


def without(key: str) -> dict[str, Any]:
    return {x: y for x, y in SETTINGS.items() if x != key}


@pytest.mark.parametrize("name", sorted(CFGS))
def test_published_cfg_files_are_read(name: str) -> None:
    text, count, inputs, values = CFGS[name]
    cfg = read_cfg(text)
    assert len(cfg.entries) == count
    assert len(cfg.inputs()) == inputs
    assert {key: cfg.get(key) for key in values} == values


def test_a_real_cfg_file_is_read(shared: Path) -> None:
    text = (shared / "models" / "enet" / "model_inst.cfg").read_text()
    assert [(x.key, x.value) for x in read_cfg(text).entries] == [
        (x.key, x.value) for x in read_cfg(CFGS["l"][0]).entries
    ]


def test_options_of_several_inputs_are_grouped_in_order() -> None:
    groups = read_cfg(CFGS["d"][0]).inputs()
    assert [x["image_type"] for x in groups] == ["1", "0", "0"]
    assert [x["image_list"] for x in groups] == [
        "./images",
        "./sigle_custom_multi_top_2_custom_1_1",
        "./sigle_custom_multi_top_2_custom_1_2",
    ]
    assert all(x["norm_type"] == "3" and x["mean_file"] == "ignore" for x in groups)


def test_comments_blank_lines_and_dos_files_are_read() -> None:
    cfg = read_cfg(
        "\ufeff# made by hand\r\n\r\n [net_type]  0 # a net\r\n[image_list] ./a#b c.txt\r\n"
    )
    assert [(x.key, x.value, x.line, x.comment) for x in cfg.entries] == [
        ("net_type", "0", 3, "a net"),
        ("image_list", "./a#b c.txt", 4, ""),
    ]


@pytest.mark.parametrize("line", ["net_type 0", "[net type] 0", "[] 0", "[net_type 0", "layer {"])
def test_a_line_that_is_no_option_is_named(line: str) -> None:
    with pytest.raises(InputError, match=r"cfg line 2: .* is no option; write \[key\] value"):
        read_cfg(f"[net_type] 0\n{line}\n")


def test_a_file_of_another_kind_is_refused() -> None:
    with pytest.raises(InputError, match="is it a cfg file"):
        read_cfg("[a] b\n" * 200_000)


def test_a_written_cfg_reads_back_as_its_options() -> None:
    cfg = read_cfg(write_cfg(SETTINGS, [PICTURES]))
    assert {x.key: x.value for x in cfg.entries} == {
        "prototxt_file": "./net.prototxt",
        "caffemodel_file": "./net.caffemodel",
        "net_type": "0",
        "batch_num": "1",
        "sparse_rate": "0",
        "compile_mode": "0",
        "is_simulation": "0",
        "log_level": "0",
        "instruction_name": "./net_inst_8bit",
        "internal_stride": "16",
        "RGB_order": "RGB",
        "image_list": "./image_list.txt",
        "image_type": "1",
        "norm_type": "5",
        "data_scale": "0.0078125",
        "mean_file": "./mean.txt",
    }
    assert len(cfg.entries) == 16
    assert not any(x.comment for x in cfg.entries)


def test_an_unused_scale_is_left_out_but_the_mean_file_never() -> None:
    text = write_cfg(without("data_scale"), [InputOptions("./image_list.txt")])
    assert "[mean_file] null\n" in text
    assert "data_scale" not in text
    assert "\n\n" not in text


@pytest.mark.parametrize(
    "scale", [1 / 255, 0.017, 0.1 + 0.2, 0.00024414062500000005, 1e22, 255.0, 0.5]
)
def test_scales_keep_every_digit_and_have_no_exponent(scale: float) -> None:
    cfg = read_cfg(write_cfg(SETTINGS | {"data_scale": scale}, [PICTURES]))
    written = cfg.get("data_scale")
    assert written is not None
    assert float(written) == scale
    assert set(written) <= set("0123456789.")


@pytest.mark.parametrize(
    "change",
    [
        {"compile_mode": 3},
        {"compress_mode": 2},
        {"is_simulation": 2},
        {"is_check_prototxt": 2},
        {"log_level": 4},
        {"log_level": -1},
        {"data_scale": 1 / 4096},
        {"data_scale": 4e38},
        {"data_scale": -1.0},
        {"data_scale": float("nan")},
        {"RGB_order": "GBR"},
        {"internal_stride": 8},
        {"batch_num": 257},
        {"batch_num": "1e2"},
        {"sparse_rate": 1.5},
        {"sparse_rate": -0.1},
        {"net_type": 5},
        {"max_roi_frame_cnt": 0},
        {"max_roi_frame_cnt": 5001},
        {"recurrent_tmax": 0},
        {"recurrent_tmax": 1025},
        {"gfpq_param_file": "/absolute.json"},
        {"roi_coordinate_file": ("./a.txt", "../b.txt")},
        {"prototxt_file": "./a b.prototxt"},
        {"prototxt_file": "./net.prototxt\n[net_type] 2"},
        {"instruction_name": "./" + "x" * 118},
        {"unknown": 1},
        {"instructions_name": "./x"},
    ],
    ids=str,
)
def test_values_out_of_range_are_refused(change: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="cfg"):
        write_cfg(SETTINGS | change, [PICTURES])


def test_all_that_is_out_of_range_is_named() -> None:
    with pytest.raises(InputError) as raised:
        write_cfg(SETTINGS | {"batch_num": 257, "log_level": 9}, [PICTURES])
    assert "batch_num is 257; it can be 0 to 256" in str(raised.value)
    assert "log_level is 9; it can be 0, 1, 2, 3" in str(raised.value)


def test_only_ends_of_lines_end_a_line() -> None:
    cfg = read_cfg("[net_type] 0 # a\x0cb\u2028c\r[image_list] ./a.txt\r\n[batch_num] 1\n")
    assert [(x.key, x.line) for x in cfg.entries] == [
        ("net_type", 1), ("image_list", 2), ("batch_num", 3)
    ]  # fmt: skip


@pytest.mark.parametrize(
    "change",
    [
        {"instruction_name": "./" + "x" * 117},
        {"batch_num": 0},
        {"batch_num": 256},
        {"compile_mode": 2},
        {"compress_mode": 1},
        {"internal_stride": 32},
        {"is_check_prototxt": 1},
        {"max_roi_frame_cnt": 5000},
        {"recurrent_tmax": 1024},
        {"sparse_rate": 1},
        {"net_type": 2},
        {"gfpq_param_file": "./clips.json"},
        {"roi_coordinate_file": ("./a.txt", "./b.txt")},
    ],
    ids=str,
)
def test_every_option_is_written_up_to_its_limit(change: dict[str, Any]) -> None:
    cfg = read_cfg(write_cfg(SETTINGS | change, [PICTURES]))
    ((key, value),) = change.items()
    wanted = list(value) if isinstance(value, tuple) else [str(value)]
    assert cfg.values(key) == wanted


@pytest.mark.parametrize(
    "change",
    [
        {"norm_type": 1},
        {"norm_type": 6},
        {"mean_file": "null"},
        {"mean_file": "mean.txt"},
        {"image_type": 2},
        {"image_list": "/absolute/list.txt"},
        {"image_list": "./bilder/größe.txt"},
    ],
    ids=str,
)
def test_options_of_an_input_out_of_range_are_refused(change: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="cfg"):
        write_cfg(SETTINGS, [replace(PICTURES, **change)])


def test_several_inputs_are_written_as_groups_in_order() -> None:
    text = write_cfg(SETTINGS, [PICTURES, TENSORS, replace(PICTURES, image_type=3)])
    groups = read_cfg(text).inputs()
    assert [x["image_type"] for x in groups] == ["1", "0", "3"]
    assert groups[1] == {
        "image_list": "./input.txt", "image_type": "0", "norm_type": "0", "mean_file": "null"
    }  # fmt: skip


def test_the_mapper_of_nnie_1_1_takes_no_clip_table() -> None:
    write_cfg(SETTINGS, [PICTURES], "1.1")
    with pytest.raises(
        InputError, match=r"gfpq_param_file is not known to the mapper of NNIE 1\.1"
    ):
        write_cfg(SETTINGS | {"gfpq_param_file": "./clips.json"}, [PICTURES], "1.1")


@pytest.mark.parametrize(
    ("mean", "scale", "expected"),
    [
        ((0, 0, 0), (1, 1, 1), (0, None, False)),
        ((104, 117, 123), (1, 1, 1), (2, None, True)),
        ((0, 0, 0), (1 / 255,) * 3, (3, 1 / 255, False)),
        ((127.5,) * 3, (1 / 128,) * 3, (5, 1 / 128, True)),
        ((0, 0, 5), (1, 1, 1), (2, None, True)),
        ((127.5,), (2,), (5, 2, True)),
    ],
)
def test_mean_and_scale_become_a_norm_type(
    mean: tuple[float, ...], scale: tuple[float, ...], expected: tuple[int, float | None, bool]
) -> None:
    norm = normalisation(mean, scale)
    assert (norm.norm_type, norm.data_scale, norm.uses_mean) == expected


@pytest.mark.parametrize(
    "scale", [(1 / 0.229, 1 / 0.224, 1 / 0.225), (1 / 4096,) * 3, (-1, -1, -1), (1e39,) * 3]
)
def test_scales_that_a_cfg_cannot_say_name_the_remedy(scale: tuple[float, ...]) -> None:
    with pytest.raises(NotExpressibleError, match=r"fold .* the first convolution"):
        normalisation((0, 0, 0), scale)

"""The marks _report, _hp and _cpu, as the mapper reads them."""

from __future__ import annotations

from pathlib import Path

import pytest

from nnie_pipeline.caffe.net import Net
from nnie_pipeline.chips.check import check
from nnie_pipeline.errors import InputError
from nnie_pipeline.rewrite.marks import Marks
from nnie_pipeline.rewrite.run import Rewritten, max_difference, rewrite
from tests.caffe_nets import conv, header, layer, random_net
from tests.test_rewrite import last_states, read_back, runner, same_text, text_of

TEXT = (
    header(1, 3, 8, 8)
    + conv("conv1", "data", 4)
    + layer("BatchNorm", "bn1", "conv1", "bn1")
    + layer("ReLU", "relu1", "bn1", "bn1")
    + conv("conv2", "bn1", 4)
    + layer("ReLU", "relu2", "conv2", "conv2")
    + layer("Pooling", "pool", "conv2", "", "pooling_param { kernel_size: 2 stride: 2 }")
    + conv("last", "pool", 2)
)


def marked(marks: Marks, text: str = TEXT) -> tuple[Net, Rewritten]:
    net, _ = random_net(text)
    return net, rewrite(net, runner(), marks=marks)


def test_a_reported_activation_in_place_marks_its_blob(tmp_path: Path) -> None:
    """The top of the convolution has the mark as well: both write one blob."""
    net, result = marked(Marks(report=("relu2",)))
    again = read_back(result.net, tmp_path)
    assert again.outputs == result.net.outputs == ["conv2_report", "last"]
    assert again.find("relu2").in_place
    assert result.names["conv2"] == "conv2_report"
    assert [x.difference for x in result.passes if x.name == "add-marks"] == [0.0]
    before, after = last_states(net), last_states(again)
    assert abs(before["conv2"] - after["conv2_report"]).max() < 1e-5


def test_a_layer_whose_own_result_is_reported_is_not_overwritten(tmp_path: Path) -> None:
    _, result = marked(Marks(report=("conv2",)))
    again = read_back(result.net, tmp_path)
    assert again.find("conv2").tops == ["conv2_conv2_report"]
    assert not again.find("relu2").in_place
    assert again.outputs == ["conv2_conv2_report", "last"]
    found = {x.id for x in check(again, "hi3516dv300")}
    assert not {x for x in found if x.startswith("marker")}


def test_marks_of_names(tmp_path: Path) -> None:
    net, result = marked(Marks(hp=("conv2",), cpu=("pool",)))
    assert [x.name for x in result.net.layers] == [
        "conv1", "relu1", "conv2_hp", "relu2", "pool_cpu", "last",
    ]  # fmt: skip
    again = read_back(result.net, tmp_path)
    # Blobs keep their names: on a top these marks have no effect.
    assert again.find("conv2_hp").weights
    assert {x for y in again.layers for x in y.tops if "@" not in x} == {
        "bn1", "conv2", "pool", "last",
    }  # fmt: skip
    assert result.names == {}
    assert max_difference(runner()(net), runner()(again)) < 1e-5
    ids = [x.id for x in check(again, "hi3516dv300")]
    assert "marker-hp" in ids
    assert "marker-place" not in ids


def test_an_output_needs_no_mark() -> None:
    _, result = marked(Marks(report=("last",)))
    assert result.net.outputs == ["last"]
    changed = {x.name: x.changed for x in result.passes}["add-marks"]
    assert changed == ["last: last is an output without _report"]


def test_a_mark_that_is_there_stays_alone(tmp_path: Path) -> None:
    text = TEXT.replace('"pool"', '"pool_report"').replace('"conv2"', '"conv2_hp"')
    net, _ = random_net(text)
    plain = rewrite(net, runner())
    again = rewrite(net, runner(), marks=Marks(report=("pool_report",), hp=("conv2_hp",)))
    same_text(text_of(plain.net, tmp_path), text_of(again.net, tmp_path))


@pytest.mark.parametrize("marker", ["_report", "_hp", "_cpu"])
def test_marked_names_stay_within_31_characters_and_unique(marker: str) -> None:
    long = "a_layer_with_a_name_of_{}_that_is_too_long"
    text = header(1, 3, 8, 8)
    bottom, layers = "data", [long.format(x) for x in "abc"]
    for name in layers:
        text += conv(name, bottom, 4)
        bottom = name
    marks = Marks(**{marker[1:]: tuple(layers[:2])})
    _, result = marked(marks, text + conv("last", bottom, 2))
    layer_names = [x.name for x in result.net.layers]
    names = layer_names if marker != "_report" else list(result.net.values())
    assert sum(x.endswith(marker) for x in names) == 2
    assert len(set(names)) == len(names)
    assert max(map(len, [*layer_names, *result.net.values()])) <= 31


def test_a_name_with_the_mark_that_is_another_layers() -> None:
    text = header(1, 3, 8, 8) + conv("conv", "data", 4) + conv("conv_hp", "conv", 4)
    _, result = marked(Marks(hp=("conv",)), text)
    assert [x.name for x in result.net.layers] == ["conv_2_hp", "conv_hp"]


@pytest.mark.parametrize(
    ("marks", "message"),
    [
        (Marks(hp=("conv3",)), r"no layer conv3 to mark; near in name: conv\d"),
        (Marks(report=("zzzzzzz",)), r"no layer zzzzzzz to mark$"),
        (Marks(report=("bn1",)), r"layer bn1 cannot be marked: a pass merged it or took it out"),
        (Marks(hp=("pool",), cpu=("pool",)), r"layer pool cannot have _hp and _cpu"),
    ],
)
def test_what_cannot_be_marked(marks: Marks, message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        marked(marks)
    assert "\n" not in str(caught.value)

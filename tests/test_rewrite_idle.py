"""Layers that do nothing at inference, and what only they read, are taken out."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from nnie_pipeline.caffe.files import read_net, write_net
from nnie_pipeline.engine.onnxruntime_engine import Session
from nnie_pipeline.rewrite import remove_idle
from tests.caffe_nets import feed, header, layer, net_of

TEXT = (
    header(1, 3, 4, 4)
    + layer("Dropout", "drop", "data", "drop", "dropout_param { dropout_ratio: 0.9 }")
    + layer("Split", "two", "drop", "a b")
    + layer("Sigmoid", "hidden", "a")
    + 'layer { name: "quiet" type: "Silence" bottom: "hidden" }\n'
    + layer("AbsVal", "out", "b")
)


def test_idle_layers_go_and_the_output_stays(tmp_path: Path) -> None:
    net = net_of(TEXT)
    inputs = feed(net)
    before = Session(net).run(inputs)
    changes = remove_idle.apply(net)
    assert [x.name for x in net.layers] == ["out"]
    assert sorted(changes.lines) == [
        "drop (Dropout) is gone", "hidden (Sigmoid) is gone", "quiet (Silence) is gone",
        "two (Split) is gone",
    ]  # fmt: skip
    after = Session(net).run(inputs)
    assert list(before) == list(after) == ["out"]
    np.testing.assert_array_equal(before["out"], after["out"])
    files = tmp_path / "a.prototxt", tmp_path / "a.caffemodel"
    write_net(net, *files)
    assert read_net(*files).outputs == ["out"]


def test_without_silence_every_other_layer_stays() -> None:
    net = net_of(TEXT.replace('layer { name: "quiet" type: "Silence" bottom: "hidden" }', ""))
    remove_idle.apply(net)
    assert [x.name for x in net.layers] == ["hidden", "out"]


def test_a_blob_that_only_a_dropout_overwrites_keeps_its_name() -> None:
    text = (
        header(1, 3, 4, 4)
        + layer("AbsVal", "abs", "data", "x")
        + layer("ReLU", "relu", "x", "x")
        + layer("Dropout", "drop", "x", "x")
        + layer("Sigmoid", "out", "x")
    )
    net = net_of(text)
    remove_idle.apply(net)
    assert [x.tops for x in net.layers] == [["x@abs"], ["x"], ["out"]]

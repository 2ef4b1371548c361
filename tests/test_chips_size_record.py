"""The sizes that a build records for its report, and the anchors that heads have."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from nnie_pipeline.caffe.files import read_net
from nnie_pipeline.chips.size_rows import Anchors
from nnie_pipeline.stages.sizes import anchors_of, network_of, write_sizes
from nnie_pipeline.zoo.spec import load_spec

NET = """
input: "data" input_shape {{ dim: 1 dim: 3 dim: {height} dim: {width} }}
layer {{ name: "a" type: "Convolution" bottom: "data" top: "a"
  convolution_param {{ num_output: 4 kernel_size: 3 pad: 1 stride: 4 }} }}
layer {{ name: "b" type: "Pooling" bottom: "a" top: "b"
  pooling_param {{ kernel_size: 4 stride: 4 }} }}
{more}
"""


def written(folder: Path, height: int, width: int, head: Any = None, more: str = "") -> Any:
    prototxt = folder / "net.prototxt"
    prototxt.write_text(NET.format(height=height, width=width, more=more))
    write_sizes(read_net(prototxt), head, "hi3516dv300", folder)
    return json.loads((folder / "sizes.json").read_text(encoding="utf-8"))


def sizes(rows: list[dict[str, Any]]) -> list[tuple[int, int]]:
    return [(x["height"], x["width"]) for x in rows]


def test_steps_are_the_total_stride(tmp_path: Path) -> None:
    found = written(tmp_path, 256, 256)
    assert sizes(found["square"]) == [(x, x) for x in range(128, 1281, 16)]
    assert found["aspect"] == []
    assert found["own"] == [256, 256]
    assert found["source"] == [1080, 1920]
    assert found["chip"] == "hi3516dv300"
    assert "problem" not in found


def test_a_shape_of_its_own_has_sizes_of_that_shape(tmp_path: Path) -> None:
    found = written(tmp_path, 64, 128)
    wide = sizes(found["aspect"])
    assert wide[0] == (64, 128)  # its own, though under 128
    assert (640, 1280) in wide
    assert all(w == 2 * h or abs(2 * h - w) <= 0.2 * w for h, w in wide)
    assert (64, 128) not in sizes(found["square"])
    # an own size between the steps is among the others, in order
    found = written(tmp_path, 200, 200)
    assert (200, 200) in sizes(found["square"])
    assert sizes(found["square"]) == sorted(sizes(found["square"]))


def test_a_network_that_cannot_be_looked_at_says_why(tmp_path: Path) -> None:
    found = written(
        tmp_path, 64, 64, more='layer { name: "p" type: "PriorBox" bottom: "b" top: "p" }'
    )
    assert "PriorBox" in found["problem"]
    assert found["square"] == []


def test_anchors_are_counted_and_measured(tmp_path: Path) -> None:
    head = load_spec("retinaface").head
    assert anchors_of(head) == Anchors({8: 2, 16: 2, 32: 2}, 16, 512)
    assert anchors_of(load_spec("scrfd").head) == Anchors({8: 2, 16: 2, 32: 2})
    assert anchors_of(load_spec("yolox-nano").head) == Anchors({8: 1, 16: 1, 32: 1})
    assert anchors_of(load_spec("mobilefacenet").head) is None
    assert anchors_of(None) is None
    (first, *_) = written(tmp_path, 256, 256, head)["square"]
    assert first["anchors"] == 2 * (16 * 16 + 8 * 8 + 4 * 4)
    assert first["smallest_anchor"] == 16 * 1920 / 128
    assert "outputs" not in first


@pytest.mark.parametrize("model", ["retinaface-mnet025", "retinaface"])
def test_the_network_of_a_model_has_the_outputs_of_its_head(model: str) -> None:
    spec = load_spec(model)
    net = network_of(spec, None)
    assert len(net.outputs) == spec.head.outputs  # type: ignore[union-attr]
    if spec.is_caffe:
        assert tuple(net.outputs) == spec.outputs
        assert not any(x.weights for x in net.layers)  # only the user has them

"""What `nnie inspect` says of a model."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import onnx
import pytest

from nnie_pipeline.onnx2caffe.convert import convert
from nnie_pipeline.onnx2caffe.graph import CONVERTERS
from nnie_pipeline.onnx2caffe.inspect import inspect
from nnie_pipeline.onnx2caffe.load import load_model
from nnie_pipeline.onnx2caffe.table import PLACE, table
from tests.onnx_models import model, node, randoms
from tests.test_cut import AXIS, BODY, CONV, TAIL, nnie

ROOT = Path(__file__).resolve().parents[1]


def topics(source: onnx.ModelProto) -> dict[str, bool]:
    return {x.topic: x.repaired for x in inspect(source).advice}


def test_facts() -> None:
    found = inspect(model([*BODY, node("Relu", "r", "y")], CONV))
    assert found.operators == {"Relu": 2, "Conv": 1}
    assert found.inputs == {"x": [1, 4, 8, 8]}
    assert list(found.outputs) == ["y"]
    assert found.opset == 17
    assert found.parameters == 6 * 4 * 9 + 6
    assert found.macs == 6 * 8 * 8 * 4 * 9
    assert (found.refused, found.problem, found.advice) == ([], "", [])


def test_macs_of_other_layers() -> None:
    nodes = [
        node("ConvTranspose", "x w", "a", strides=[2, 2]),
        node("GlobalAveragePool", "a", "b"), node("Flatten", "b", "c"), node("Gemm", "c g", "y"),
    ]  # fmt: skip
    found = inspect(model(nodes, {"w": randoms(4, 5, 2, 2), "g": randoms(5, 7)}))
    # every input pixel meets every weight of its channel once
    assert found.macs == 8 * 8 * 4 * 5 * 4 + 5 * 7


@pytest.mark.parametrize(
    ("source", "topic", "repaired"),
    [
        (model(BODY, CONV, outputs=["r"], opset=9), "opset", True),
        (model(BODY, CONV, outputs=["r"], opset=onnx.defs.onnx_opset_version()), "opset", True),
        (model([node("Shape", "x", "s"), node("Reshape", "x s", "y")]), "sizes taken from shapes",
         True),
        (model([node("Resize", "x - - s", "y")], {"s": np.array([1, 4, 16, 16])}),
         "Resize by sizes", True),
        (model([node("Reshape", "x s", "y")], {"s": np.array([1, -1])}), "explicit batch", True),
        (model([node("Relu", "x", "y")], inputs={"x": ("n", 3, "h", "w")}), "dynamic axes", True),
        (model([node("Relu", "x", "y")], inputs={"x": (1, "c", 8, 8)}), "dynamic axes", False),
        (model([node("Softmax", "x", "y", axis=1)]), "Softmax inside", True),
        (model([node("Exp", "x", "y")]), "decode inside", True),
        (model([node("NonMaxSuppression", "x x", "y")]), "NMS inside", True),
        (model(BODY, {k: v.astype(np.float16) for k, v in CONV.items()}, outputs=["r"], kind=10),
         "number type", True),
    ],
)  # fmt: skip
def test_advice(source: onnx.ModelProto, topic: str, repaired: bool) -> None:
    assert topics(source).get(topic) == repaired
    advice = next(x for x in inspect(source).advice if x.topic == topic)
    assert advice.fix
    assert advice.found


def test_refused_nodes_and_the_outputs_with_which_it_converts() -> None:
    source = model([*BODY, *TAIL], {**CONV, **AXIS})
    found = inspect(source)
    assert [(x.node, x.operator) for x in found.refused] == [("CumSum_t", "CumSum")]
    assert found.keep == ["r"]
    convert(source, "net", outputs=found.keep)


def test_a_model_that_cannot_be_converted_is_still_shown() -> None:
    found = inspect(model([node("CumSum", "x axis", "y")], AXIS))
    assert "no layer with weights is left" in found.problem
    assert found.operators == {"CumSum": 1}


def test_a_real_model(shared: Path) -> None:
    source = load_model(shared / "models" / "scrfd" / "scrfd_500m_kps.onnx")
    found = inspect(source)
    assert {"sizes taken from shapes", "Resize by sizes"} <= {x.topic for x in found.advice}
    # InsightFace names this network after its 500 million operations at 640x480
    assert 0.8 < found.macs * (480 / 640) / 500e6 < 1.2


def test_the_command(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "m.onnx"
    path.write_bytes(model([*BODY, *TAIL], {**CONV, **AXIS}).SerializeToString())
    status, shown, _ = nnie(capsys, "inspect", str(path))
    assert status == 0
    assert "refused: CumSum CumSum_t: NNIE's Caffe has no such operator" in shown
    assert "convertible with --outputs r" in shown
    assert json.loads(nnie(capsys, "inspect", str(path), "--json")[1])["keep"] == ["r"]
    assert nnie(capsys, "inspect", "nothing.onnx")[0] == 2


def test_the_table_of_operators_is_current() -> None:
    assert (ROOT / PLACE).read_text(encoding="utf-8") == table(ROOT / "tests")


def test_the_table_says_what_every_operator_becomes() -> None:
    rows = [x for x in table(ROOT / "tests").splitlines() if x.startswith("| ")][1:]
    assert len(rows) == len(CONVERTERS)
    for row in rows:
        cells = [x.strip() for x in row.strip("|").replace("\\|", "").split("|")]
        assert len(cells) == 4, row
        assert cells[1], row

"""Networks that end where NNIE's layers end."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from nnie_pipeline.caffe.net import Net
from nnie_pipeline.cli import run
from nnie_pipeline.errors import InputError, NotExpressibleError
from nnie_pipeline.onnx2caffe.convert import convert
from nnie_pipeline.onnx2caffe.graph import Graph, Node
from nnie_pipeline.onnx2caffe.load import load_model
from tests.onnx_models import converted, model, node, randoms

CONV = {"w": randoms(6, 4, 3, 3), "k": randoms(6, seed=1)}
BODY = [node("Conv", "x w k", "c", pads=[1] * 4), node("Relu", "c", "r")]
TAIL = [node("CumSum", "r axis", "t"), node("Sigmoid", "t", "y")]
AXIS = {"axis": np.array(1)}


def nnie(capsys: pytest.CaptureFixture[str], *arguments: str) -> tuple[int, str, str]:
    """Exit status, standard output and standard error of a command line."""
    with pytest.raises(SystemExit) as ended:
        run(list(arguments))
    out, err = capsys.readouterr()
    return int(ended.value.code or 0), out, err


def test_without_cut_the_node_is_refused() -> None:
    with pytest.raises(NotExpressibleError, match=r"ONNX node CumSum_t \(CumSum"):
        convert(model([*BODY, *TAIL], {**CONV, **AXIS}), "net")


def test_the_value_before_the_node_becomes_the_output() -> None:
    done = converted(model([*BODY, *TAIL], {**CONV, **AXIS}), cut=True)
    assert list(done.outputs) == ["r"]
    assert [x.type for x in done.net.layers] == ["Convolution", "ReLU"]
    [cut] = done.cuts
    assert str(cut) == (
        "cut: r is kept as output; behind it CumSum CumSum_t cannot be expressed: "
        "NNIE's Caffe has no such operator"
    )


def test_a_network_without_such_nodes_is_not_cut() -> None:
    done = converted(model(BODY, CONV, outputs=["r"]), cut=True)
    assert (list(done.outputs), done.cuts) == (["r"], ())


def test_given_outputs_are_not_cut() -> None:
    with pytest.raises(NotExpressibleError, match="CumSum"):
        convert(model([*BODY, *TAIL], {**CONV, **AXIS}), "net", outputs=["y"], cut=True)


def test_outputs_that_hold_stay_and_a_lost_branch_ends_alone() -> None:
    nodes = [
        *BODY, *TAIL, node("Tanh", "r", "z"),
        node("Conv", "r v", "b"), node("Concat", "b t", "q", axis=1),
    ]  # fmt: skip
    source = model(nodes, {**CONV, **AXIS, "v": randoms(6, 6, 1, 1)}, outputs=["y", "z", "q"])
    done = converted(source, cut=True)
    assert sorted(done.outputs) == ["b", "r", "z"]
    assert sorted(x.output for x in done.cuts) == ["b", "r"]


def test_everything_behind_a_refused_node_goes_even_if_it_has_weights() -> None:
    nodes = [*BODY, node("CumSum", "r axis", "t"), node("Conv", "t v", "y")]
    done = converted(model(nodes, {**CONV, **AXIS, "v": randoms(6, 6, 1, 1)}), cut=True)
    assert list(done.outputs) == ["r"]


def test_an_output_that_is_a_constant_is_left_out() -> None:
    source = model([*BODY, node("Identity", "k", "prior")], CONV, outputs=["r", "prior"])
    assert list(converted(source, cut=True).outputs) == ["r"]
    with pytest.raises((NotExpressibleError, InputError)):
        convert(source, "net")


def test_no_layer_with_weights_is_left() -> None:
    nodes = [node("Relu", "x", "r"), node("CumSum", "r axis", "t"), node("Conv", "t w k", "y")]
    with pytest.raises(NotExpressibleError, match=r"no layer with weights is left.*CumSum_t"):
        convert(model(nodes, {**CONV, **AXIS}), "net", cut=True)


def test_an_embedding_is_cut_before_its_length() -> None:
    nodes = [
        *BODY, node("GlobalAveragePool", "r", "g"), node("Flatten", "g", "f"),
        node("Gemm", "f m", "e"), node("ReduceL2", "e", "n0", axes=[1], keepdims=1),
        node("Clip", "n0 low", "n"), node("Div", "e n", "y"),
    ]  # fmt: skip
    values = {**CONV, "m": randoms(6, 5), "low": np.float32(1e-12)}
    done = converted(model(nodes, values), cut=True)
    assert list(done.outputs) == ["e"]
    assert "length of a vector" in done.cuts[0].reason


def test_what_is_refused_leaves_nothing_behind() -> None:
    graph = Graph(17, {}, {}, Net("n", {"x": (1, 4, 8, 8)}, [], []), {"x": "x"})
    first, second = Node("a", "Relu", ("x",), ("a",), {}), Node("b", "Odd", ("a",), ("b",), {})

    def refused() -> None:
        graph.add(second, "ReLU", ["a"])
        graph.refuse(second, "it is odd", "use an even one")

    assert graph.attempt(lambda: graph.add(first, "ReLU", ["x"])) is None
    error = graph.attempt(refused)
    assert error is not None
    assert (error.node, error.reason) == (second, "it is odd")
    assert [x.name for x in graph.net.layers] == ["a"]
    assert set(graph.blobs) == {"x", "a"}


def test_a_sum_with_a_refused_value_is_lost() -> None:
    nodes = [*BODY, node("InstanceNormalization", "r s s", "t"), node("Add", "t r", "y")]
    done = converted(model(nodes, {**CONV, "s": np.ones(3, np.float32)}), cut=True)
    assert [x.type for x in done.net.layers] == ["Convolution", "ReLU"]


def test_a_real_network_without_outputs(shared: Path) -> None:
    source = load_model(shared / "models" / "ultraface" / "version-slim-320.onnx")
    done = converted(source, size=(120, 160), cut=True)
    assert len(done.outputs) > 1
    assert all(x.reason for x in done.cuts)
    assert sum(bool(x.weights) for x in done.net.layers) > 40


def test_the_commands(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path, out = tmp_path / "tail.onnx", tmp_path / "a"
    path.write_bytes(model([*BODY, *TAIL], {**CONV, **AXIS}).SerializeToString())
    status, _, said = nnie(capsys, "convert", str(path), "--out", str(out))
    assert (status, said.count("\n")) == (3, 1)
    status, _, said = nnie(
        capsys, "convert", str(path), "--out", str(out), "--cut", "--outputs", "r"
    )
    assert status == 2
    assert "exclude each other" in said
    status, said, _ = nnie(capsys, "convert", str(path), "--out", str(out), "--cut")
    assert status == 0
    assert "cut: r is kept as output; behind it CumSum CumSum_t" in said
    record = json.loads((out / "convert.json").read_text())
    assert record["cuts"] == [
        {"output": "r", "node": "CumSum_t", "operator": "CumSum",
         "reason": "NNIE's Caffe has no such operator"}
    ]  # fmt: skip

"""Normalisation by the picture's own statistics: exact, from layers that NNIE has."""

from __future__ import annotations

import numpy as np
import pytest

from nnie_pipeline.chips.check import check
from nnie_pipeline.engine.onnxruntime_engine import Session, all_values
from nnie_pipeline.errors import NotExpressibleError
from nnie_pipeline.onnx2caffe.convert import convert
from nnie_pipeline.onnx2caffe.load import load_model
from nnie_pipeline.quant.ranges import RangeRecorder
from nnie_pipeline.quant.simulate import Simulator
from tests.onnx_models import converted, model, node, randoms, worst_error

SHAPES = [(1, 4, 8, 8), (1, 4, 5, 9), (1, 8, 1, 7), (1, 8, 30, 2)]


def weights(channels: int, seed: int = 3) -> dict[str, np.ndarray]:
    return {"s": randoms(channels, seed=seed), "b": randoms(channels, seed=seed + 1)}


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("epsilon", [1e-5, 0.5])
def test_instance_normalization(shape: tuple[int, ...], epsilon: float) -> None:
    nodes = [node("InstanceNormalization", "x s b", "y", epsilon=epsilon)]
    done = converted(model(nodes, weights(shape[1]), {"x": shape}))
    assert "MVN" not in {x.type for x in done.net.layers}
    assert all(x.params.power_param.shift == 0 for x in done.net.layers)


@pytest.mark.parametrize("shape", SHAPES)
@pytest.mark.parametrize("groups", [1, 2, 4])
def test_group_normalization_of_opset_21(shape: tuple[int, ...], groups: int) -> None:
    nodes = [node("GroupNormalization", "x s b", "y", num_groups=groups, epsilon=1e-3)]
    converted(model(nodes, weights(shape[1]), {"x": shape}, opset=21, ir_version=10))


@pytest.mark.parametrize("groups", [1, 2, 4])
def test_group_normalization_of_opset_18_has_a_factor_a_group(groups: int) -> None:
    nodes = [node("GroupNormalization", "x s b", "y", num_groups=groups, epsilon=1e-3)]
    converted(model(nodes, weights(groups), {"x": (1, 8, 6, 5)}, opset=18))


def pattern(shape: tuple[int, ...], groups: int, outputs: tuple[str, ...] = ("y",)):
    nodes = [
        node("Reshape", "x to", "a"),
        node("InstanceNormalization", "a s b", "c", epsilon=1e-5),
        node("Reshape", "c back", "d"),
        node("Mul", "d gamma", "e"),
        node("Add", "e beta", "y"),
    ]
    values = {
        "to": np.array([0, groups, -1]),
        "back": np.array(shape),
        **weights(groups),
        "gamma": randoms(shape[1], 1, 1, seed=8),
        "beta": randoms(shape[1], 1, 1, seed=9),
    }
    return model(nodes, values, {"x": shape}, outputs)


@pytest.mark.parametrize(
    ("shape", "groups"), [((1, 8, 6, 5), 2), ((1, 8, 3, 3), 8), ((1, 6, 4, 4), 3)]
)
def test_group_norm_pattern(shape: tuple[int, ...], groups: int) -> None:
    done = converted(pattern(shape, groups))
    assert "Reshape" not in {x.type for x in done.net.layers}


def test_group_norm_pattern_whose_middle_is_an_output_is_refused() -> None:
    with pytest.raises(NotExpressibleError, match="its input has 3 axes"):
        convert(pattern((1, 8, 6, 5), 2, ("y", "c")), "net")


@pytest.mark.parametrize("size", [0.01, 1.0, 10.0])
def test_16_bit_numbers_hold_the_variance_of_small_and_large_values(size: float) -> None:
    nodes = [node("InstanceNormalization", "x s b", "y", epsilon=1e-5)]
    net = convert(model(nodes, weights(4), {"x": (1, 4, 16, 16)}), "net").net
    feed = {"x": size * randoms(1, 4, 16, 16)}
    values = Session(net, all_values(net)).run(feed)
    recorder = RangeRecorder(net)
    recorder.add({**feed, **values})
    simulated = dict(Simulator(net, 16, recorder.ranges()).run(feed))
    name = net.outputs[0]
    error = np.abs(simulated[name] - values[name]).max() / np.abs(values[name]).max()
    assert error < 0.02


def test_group_norm_network(shared) -> None:
    source = load_model(shared / "models" / "scrfd" / "scrfd_500m_groupnorm.onnx")
    done = convert(source, "net", (160, 224), ["351", "365", "378"])
    assert worst_error(done) < 1e-4
    assert sum(x.type == "Power" for x in done.net.layers) > 0
    errors = [x for x in check(done.net) if x.severity == "error"]
    assert not errors, errors[0]


@pytest.mark.parametrize("size", [3, 5, 7])
def test_lrn(size: int) -> None:
    nodes = [node("LRN", "x", "y", size=size, alpha=0.3, beta=0.6, bias=1.5)]
    done = converted(model(nodes, inputs={"x": (1, 9, 4, 5)}))
    assert [x.type for x in done.net.layers] == ["LRN"]


def test_lrn_as_its_formula() -> None:
    nodes = [node("LRN", "x", "y", size=3, alpha=0.3, beta=0.6, bias=1.5)]
    layer = convert(model(nodes), "net").net.layers[0].params.lrn_param
    x = randoms(4, 1)[:, 0].astype(np.float64)
    padded = np.pad(x**2, 1)
    formula = x / (1.5 + 0.3 / 3 * (padded[:-2] + padded[1:-1] + padded[2:])) ** 0.6
    ours = [
        x[i]
        / (layer.k + layer.alpha / layer.local_size * sum(x[max(i - 1, 0) : i + 2] ** 2))
        ** layer.beta
        for i in range(4)
    ]
    assert np.allclose(ours, formula, rtol=1e-6)


@pytest.mark.parametrize(
    ("nodes", "values", "reason", "remedy"),
    [
        (
            [node("LRN", "x", "y", size=9)], {},
            "goes over 9 channels, NNIE's LRN over 3, 5 or 7", "use size 3, 5 or 7",
        ),
        (
            [node("LayerNormalization", "x s", "y")], {"s": np.ones(8, np.float32)},
            "MVN adds another eps", "BatchNorm2d",
        ),
        (
            [node("LpNormalization", "x", "y", axis=1)], {},
            "no layer for the length of a vector", "--outputs x",
        ),
        (
            [node("ReduceL2", "x", "n", axes=[1]), node("Div", "x n", "y")], {},
            "no layer for the length of a vector", "normalise it on the CPU",
        ),
        (
            [node("ReduceL1", "x", "y", axes=[1])], {},
            "no layer for the length of a vector", "normalise it on the CPU",
        ),
        (
            [node("ReduceSumSquare", "x", "y", axes=[1])], {},
            "no layer for the length of a vector", "normalise it on the CPU",
        ),
        (
            [node("InstanceNormalization", "x s s", "y")], {"s": np.ones(3, np.float32)},
            "3 factors for 4 channels", "export the model again",
        ),
    ],
)  # fmt: skip
def test_refusals(nodes, values, reason: str, remedy: str) -> None:
    with pytest.raises(NotExpressibleError) as caught:
        convert(model(nodes, values), "net")
    assert reason in str(caught.value)
    assert remedy in str(caught.value)
    assert "\n" not in str(caught.value)

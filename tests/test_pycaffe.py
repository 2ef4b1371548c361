"""The two engines agree: real pycaffe is the reference for what Caffe computes."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

from nnie_pipeline.caffe.net import Layer, Net
from nnie_pipeline.engine import pycaffe_engine
from nnie_pipeline.errors import InputError
from tests.caffe_nets import conv, header, layer, net_of, random_net
from tests.caffe_nets import feed as feed_of
from tests.conftest import missing
from tests.layer_cases import CASES, FORMULA, one_layer
from tests.layer_table import (
    MODELS,
    difference_of_engines,
    documented,
    largest_difference,
    network,
)

TOLERANCE = 1e-4


@pytest.fixture(autouse=True, scope="module")
def _pycaffe() -> None:
    if not pycaffe_engine.is_available():
        missing("pycaffe (make pycaffe)")


@pytest.mark.parametrize("label", sorted(CASES))
def test_every_layer_type(label: str) -> None:
    worst = largest_difference(label)
    assert worst < TOLERANCE
    if CASES[label]:
        assert worst <= documented()[label], "python -m tests.layer_table writes the new figure"


def test_only_what_this_pycaffe_lacks_is_held_against_a_formula() -> None:
    for label in sorted(FORMULA):
        net, _ = one_layer(label, *CASES[label][0])
        with pytest.raises(InputError, match="use --engine onnxruntime"):
            pycaffe_engine.Session(net)


@pytest.mark.parametrize("name", MODELS)
def test_every_blob_of_a_real_network(shared: Path, name: str) -> None:
    net, feed = network(shared / "models", name)
    worst = difference_of_engines(net, feed)
    assert worst < TOLERANCE
    assert worst <= documented()[name], "python -m tests.layer_table writes the new figure"


def test_a_type_that_caffe_lacks_is_one_clear_line() -> None:
    net = Net("net", {"x": (1, 3, 4, 4)}, [Layer("bn", "PassThrough", ["x"], ["y"])], ["y"])
    with pytest.raises(InputError, match=r"layer bn: this pycaffe has no layer type PassThrough"):
        pycaffe_engine.Session(net)


def test_a_gpu_only_layer_is_one_clear_line() -> None:
    """Caffe would end the process."""
    net, _ = one_layer("PSROIPooling", *CASES["PSROIPooling"][0])
    with pytest.raises(InputError, match="layer layer: pycaffe computes PSROIPooling on a GPU"):
        pycaffe_engine.Session(net)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        (layer("Pooling", "x", "data", "", "pooling_param { pool: STOCHASTIC kernel_size: 2 }"),
         "STOCHASTIC"),
        (layer("InnerProduct", "x", "data", "", "inner_product_param { num_output: 2 axis: 9 }"),
         "axis 9"),
        (layer("Permute", "x", "data", "", "permute_param { order: 7 }"), "order"),
        (layer("Upsample", "x", "data", "", "upsample_param { scale_h: 1 scale_w: 2 }"),
         "one whole factor"),
        (layer("Custom", "x", "data", "", "custom_param { shape { dim: 2 } }"), "no layer type"),
        (conv("x", "data", 2), "no weights in the caffemodel"),
        (layer("Scale", "x", "data"), "no weights in the caffemodel"),
    ],
)  # fmt: skip
def test_what_would_end_the_process_is_one_clear_line(text: str, words: str) -> None:
    with pytest.raises(InputError, match=words) as caught:
        pycaffe_engine.Session(net_of(header(1, 2, 6, 6) + text))
    assert "\n" not in str(caught.value)


def test_weights_that_caffe_has_no_room_for_are_one_clear_line() -> None:
    net, _ = random_net(header(1, 2, 6, 6) + layer("ReLU", "x", "data"))
    net.layers[0].weights = [np.ones(3, np.float32)]
    with pytest.raises(InputError, match=r"layer x \(ReLU\): its blobs hold \[3\] .* \[\] in"):
        pycaffe_engine.Session(net)


def test_a_value_that_is_not_there() -> None:
    net = net_of(header(1, 2, 6, 6) + layer("ReLU", "x", "data"))
    with pytest.raises(InputError, match="no value nope"):
        pycaffe_engine.Session(net, ["nope"])


def test_pooling_rounded_down_in_both_engines() -> None:
    for field in ("round_mode: FLOOR", "ceil_mode: false"):
        text = layer(
            "Pooling", "x", "data", "", f"pooling_param {{ kernel_size: 2 stride: 2 {field} }}"
        )
        net = net_of(header(1, 2, 5, 7) + text)
        found = pycaffe_engine.Session(net).run(feed_of(net))
        assert found["x"].shape == (1, 2, 2, 3)
        assert difference_of_engines(net, feed_of(net)) == 0


def test_what_silence_swallows_is_still_made() -> None:
    quiet = 'layer { name: "quiet" type: "Silence" bottom: "x" bottom: "y" }'
    net = net_of(
        header(1, 2, 5, 7) + layer("ReLU", "x", "data") + layer("AbsVal", "y", "data") + quiet
    )
    assert difference_of_engines(net, feed_of(net)) == 0


def test_sqrt_a_of_normalize_changes_nothing() -> None:
    text = layer("Normalize", "x", "data", "", "norm_param { across_spatial: false sqrt_a: 8 }")
    net, _ = random_net(header(1, 3, 4, 5) + text)
    assert difference_of_engines(net, feed_of(net)) < TOLERANCE


def test_a_recurrent_layer_starts_anew_in_every_run() -> None:
    net, inputs = one_layer("LSTM", *CASES["LSTM"][0])
    inputs["b1"] = np.ones_like(inputs["b1"])
    session = pycaffe_engine.Session(net)
    first, second = session.run(inputs)["top"], session.run(inputs)["top"]
    np.testing.assert_array_equal(first, second)
    assert difference_of_engines(net, inputs) < TOLERANCE


def test_a_build_for_another_python_is_one_clear_line(tmp_path: Path) -> None:
    folder = tmp_path / "pycaffe-0123-cpython-27-x86_64-linux-gnu"
    (folder / "caffe").mkdir(parents=True)
    (folder / "caffe" / "__init__.py").write_text("raise SystemError('never imported')\n")
    code = "from nnie_pipeline.engine import pycaffe_engine as p\np.require()\n"
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, check=False,
        env={**os.environ, "PYTHONPATH": f"{folder}:{Path.cwd()}"},
    )  # fmt: skip
    last = done.stderr.strip().splitlines()[-1]
    assert last.startswith("nnie_pipeline.errors.InputError: pycaffe was built for cpython-27, but")
    assert "make pycaffe" in last

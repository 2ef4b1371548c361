"""Normalisation that is done twice, and cfg files held against the model's own input."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from nnie_pipeline.caffe.net import Net
from nnie_pipeline.calibration.network_input import InputSpec
from nnie_pipeline.errors import CheckError, InputError
from nnie_pipeline.stages.input_proof import double_normalisation, front_of, prove_folder
from tests.caffe_nets import conv, header, layer, random_net
from tests.test_calibration_probe import MEANS, RGB, cfg

CONV = conv("y", "front", 4, 3)
POWER = layer("Power", "front", "data", "", "power_param { scale: 0.0078125 shift: -0.99609375 }")
SCALE = layer("Scale", "front", "data", "", "scale_param { bias_term: true }")
BIAS = layer("Bias", "front", "data")
BATCH_NORM = layer("BatchNorm", "front", "data")


def net_of(text: str, weights: list[list[float]] | None = None) -> Net:
    net, _ = random_net(header(1, 3, 8, 8) + text)
    if weights is not None:
        net.layers[0].weights = [np.array(x, np.float32) for x in weights]
    return net


@pytest.mark.parametrize(
    ("text", "weights", "numbers"),
    [
        (POWER, None, "(x - [127.5]) * [0.0078125]"),
        (SCALE, [[0.01, 0.02, 0.04], [-1, -2, -4]], "(x - [100]) * [0.01, 0.02, 0.04]"),
        (BIAS, [[-104, -117, -123]], "(x - [104, 117, 123]) * [1]"),
        (BATCH_NORM, [[120, 120, 120], [3600, 3600, 3600], [1]], "(x - [120]) * [0.0166667]"),
    ],
    ids=["Power", "Scale", "Bias", "BatchNorm"],
)
def test_a_network_that_normalises_itself_is_found(
    text: str, weights: list[list[float]] | None, numbers: str
) -> None:
    net = net_of(text + CONV, weights)
    found = double_normalisation(net, (127.5,) * 3, (1 / 128,) * 3)
    assert found is not None
    assert f"begins with front, which is {numbers}, and (pixel - [127.5])" in found
    assert "* [0.0078125] is to be done before it" in found
    # Nothing is done before it: that is what it was trained with.
    assert double_normalisation(net, (0, 0, 0), (1, 1, 1)) is None


@pytest.mark.parametrize(
    ("text", "weights"),
    [
        # A BatchNorm of inputs that are already normalised.
        (BATCH_NORM, [[0.01, -0.02, 0.03], [1, 1.1, 0.9], [1]]),
        (BIAS, [[0.5, 0.5, 0.5]]),
        (layer("ReLU", "front", "data"), None),
    ],
)
def test_a_front_for_normalised_inputs_is_none(
    text: str, weights: list[list[float]] | None
) -> None:
    assert double_normalisation(net_of(text + CONV, weights), (127.5,) * 3, (1 / 128,) * 3) is None


def test_layers_in_a_row_count_together() -> None:
    text = BIAS + layer("Power", "half", "front", "", "power_param { scale: 0.5 }")
    net = net_of(text + conv("y", "half", 4, 3), [[-100, -110, -120]])
    found = front_of(net)
    assert found is not None
    assert found[0] == ["front", "half"]
    np.testing.assert_allclose(found[1][0], 0.5)
    np.testing.assert_allclose(found[1][1], [-50, -55, -60])
    assert front_of(net_of(conv("y", "data", 4, 3))) is None


def test_cfg_files_of_a_folder_are_proven(tmp_path: Path) -> None:
    (tmp_path / "a.cfg").write_text(cfg(tmp_path))
    (tmp_path / "b.cfg").write_text(cfg(tmp_path))
    line = prove_folder(tmp_path, ("a", "b"), (24, 24), RGB, RGB)
    assert line.startswith(
        "RGB_order RGB and norm_type 5 feed the first layer as the model was trained (exactly"
    )
    (tmp_path / "b.cfg").write_text(cfg(tmp_path, "BGR"))
    with pytest.raises(CheckError, match=r"RGB_order BGR, norm_type 5"):
        prove_folder(tmp_path, ("a", "b"), (24, 24), RGB, RGB)
    other = InputSpec("RGB", (1, 2, 3), RGB.scale, "stretch")
    with pytest.raises(CheckError):
        prove_folder(tmp_path, ("a",), (24, 24), other, other)
    with pytest.raises(InputError, match=r"c\.cfg"):
        prove_folder(tmp_path, ("c",), (24, 24), RGB, RGB)
    assert RGB.mean == MEANS

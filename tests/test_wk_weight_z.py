"""z of weights that a compiled file tells without its network."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from nnie_pipeline.wk.layout import cell_places
from nnie_pipeline.wk.proof import prove
from nnie_pipeline.wk.weight_z import known_weights, weight_z
from tests.test_wk_proof import NAMES, compiled, network, run


# At 16 bits BatchNorm is not merged: its factors are in most scale words.
@pytest.mark.parametrize(("bits", "least"), [(8, 3100), (16, 40)])
def test_z_of_weights_is_that_of_the_network(shared: Path, bits: int, least: int) -> None:
    model = compiled(shared, bits)
    told = 0
    for found in prove(model, network(shared)).fitted:
        for z, expected in zip(weight_z(model, found.layer), found.predicted.z_w, strict=True):
            if z is not None:
                assert z == pytest.approx(expected, abs=1e-3), found.predicted.name
                told += 1
    assert told >= least


def test_weights_are_those_of_the_network(shared: Path) -> None:
    model = compiled(shared, 8)
    found = next(
        x for x in prove(model, network(shared)).fitted if x.predicted.name == "mobilenet0_conv14"
    )
    weights = known_weights(model, found.layer)
    assert weights is not None
    _, places = cell_places(found.predicted.geometry, 8)
    ours = found.dequantised().reshape(weights.shape[0], -1)
    np.testing.assert_allclose(weights[:, places.reshape(-1)], ours, rtol=1e-6)


def test_command_shows_and_writes_them(shared: Path, tmp_path: Path) -> None:
    file = shared / "models" / "retinaface_mnet025" / NAMES[8]
    status, output = run(str(file), "--json", "--export", str(tmp_path / "out"))
    assert status == 0
    layers = json.loads(output)["layers"]
    first = prove(compiled(shared, 8), network(shared)).layers[0]
    assert set(layers[0]["z_of_weights"]) == {first.z_w[0]}
    assert layers[-1]["z_of_weights"] == [None] * layers[-1]["outputs"]
    weights = np.load(tmp_path / "out" / "layer00.weights.npy")
    assert weights.shape == np.load(tmp_path / "out" / "layer00.codes.npy").shape
    assert np.isfinite(weights).all()
    assert not (tmp_path / "out" / "layer57.weights.npy").exists()

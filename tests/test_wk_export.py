"""Files of a compiled network's parameters: which network they need, and what they are called."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from nnie_pipeline.caffe.files import write_net
from nnie_pipeline.quant.gfpq import quantize
from nnie_pipeline.wk.export import file_names
from tests.test_wk_proof import NAMES, OUTPUTS, WEIGHTS, network, run


def test_layers_get_files_of_their_own() -> None:
    wanted = ["a/b", "a_b", "A_b", "c", "c.words", "..", "", "x" * 300, "x" * 301]
    names = file_names(list(enumerate(wanted)))
    files = [f"{x}{y}".lower() for x in names for y in (".npy", ".words.npy")]
    assert len(set(files)) == 2 * len(wanted)
    assert names[0] == "a_b"
    assert names[3] == "c"
    assert all(Path(x).name == x and len(x) < 240 for x in names)


def test_names_that_are_one_file_name_keep_their_weights(shared: Path, tmp_path: Path) -> None:
    net = network(shared)
    kept = {"mobilenet0_conv0": "a/b", "mobilenet0_conv2": "a_b"}
    for old, new in kept.items():
        net.find(old).name = new
    paths = (tmp_path / "net.prototxt", tmp_path / "net.caffemodel")
    write_net(net, *paths)
    file = shared / "models" / "retinaface_mnet025" / NAMES[16]
    folder = tmp_path / "out"
    status, output = run(
        str(file), "--against", *map(str, paths), "--export", str(folder), "--json"
    )
    assert status == 0
    assert json.loads(output)["against"]["weights"] == WEIGHTS
    rows = {x["name"]: x for x in json.loads((folder / "layers.json").read_text())}
    assert len(rows) == 58
    for name in kept.values():
        stored = np.load(folder / rows[name]["weights"])
        expected, _ = quantize(net.find(name).weights[0], 16)
        np.testing.assert_allclose(stored, expected, rtol=1e-6)


def test_weights_of_an_unproven_network_are_not_exported(shared: Path, tmp_path: Path) -> None:
    net = network(shared)
    net.find("mobilenet0_conv0").weights[0] = net.find("mobilenet0_conv0").weights[0] * 2.0
    paths = (tmp_path / "net.prototxt", tmp_path / "net.caffemodel")
    write_net(net, *paths)
    file = shared / "models" / "retinaface_mnet025" / NAMES[16]
    folder = tmp_path / "out"
    status, output = run(str(file), "--against", *map(str, paths), "--export", str(folder))
    assert status == 1
    assert "nothing is exported" in output
    assert "leave --against out" in output
    assert not folder.exists()


@pytest.mark.parametrize("bits", [8, 16])
def test_totals_enclose_what_the_network_has(shared: Path, bits: int) -> None:
    file = shared / "models" / "retinaface_mnet025" / NAMES[bits]
    status, output = run(str(file), "--json")
    assert status == 0
    totals = json.loads(output)["totals"]
    assert totals["biases"] == OUTPUTS
    assert totals["parameters_at_least"] <= WEIGHTS + OUTPUTS <= totals["parameters_at_most"]
    assert totals["stored_share"] == pytest.approx(totals["stored_bytes"] / totals["raw_bytes"])

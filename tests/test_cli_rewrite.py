"""`nnie rewrite` as it is called."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from nnie_pipeline.caffe.files import read_net
from nnie_pipeline.files import read_json
from tests.builds import Cli
from tests.caffe_nets import conv, header, layer, save

SSD = (
    header(1, 3, 32, 32)
    + conv("stem", "data", 4, 3, "pad: 1")
    + layer("ReLU", "stem_relu", "stem", "stem")
    + conv("conf", "stem", 6)
    + conv("loc", "stem", 8)
    + layer("Permute", "perm", "loc", "", "permute_param { order: 0 order: 2 order: 3 order: 1 }")
    + layer("Flatten", "loc_flat", "perm")
    + layer("Flatten", "conf_flat", "conf")
    + layer("PriorBox", "prior", "stem data", "", "prior_box_param { min_size: 4 }")
    + layer(
        "DetectionOutput", "found", "loc_flat conf_flat prior", "",
        "detection_output_param { num_classes: 2 }",
    )
)  # fmt: skip


@pytest.fixture
def ssd(tmp_path: Path) -> tuple[Path, Path]:
    rng = np.random.default_rng(0)
    shapes = {"stem": (4, 3, 3, 3), "conf": (6, 4, 1, 1), "loc": (8, 4, 1, 1)}
    weights = {k: [rng.normal(size=v), rng.normal(size=v[0])] for k, v in shapes.items()}
    folder = tmp_path / "given"
    folder.mkdir()
    return save(folder, SSD, weights)


def test_an_ssd_is_cut_and_marked(cli: Cli, ssd: tuple[Path, Path], tmp_path: Path) -> None:
    out = tmp_path / "out"
    ran = cli(
        "rewrite", *ssd, "--out", out, "--size", "64", "--report", "stem_relu", "--hp", "conf,loc",
        "--skip", "remove-idle-layers", "--tolerance", "0.001",
    )  # fmt: skip
    assert ran.status == 0, ran.err
    net = read_net(out / "net.prototxt", out / "net.caffemodel")
    assert net.inputs == {"data": (1, 3, 64, 64)}
    assert {x.name for x in net.layers} >= {"conf_hp", "loc_hp"}
    assert net.find("stem").tops == ["stem_report@stem"]
    record = read_json(out / "rewrite.json", "the record")
    assert record["outputs"] == net.outputs
    assert set(net.outputs) == {"stem_report", "loc_flat", "conf_flat"}
    assert record["skipped"] == ["remove-idle-layers"]
    assert record["marks"] == {"report": ["stem_relu"], "hp": ["conf", "loc"], "cpu": []}
    for said in (
        f"outputs: {', '.join(net.outputs)}",
        "tolerance 0.001 instead of 0.0005",
        "left out: remove-idle-layers",
        str(out / "rewrite.html"),
        str(out / "changes.md"),
    ):
        assert said in ran.out
    text = (out / "changes.md").read_text()
    assert "found (DetectionOutput) is cut off" in text
    assert "raised with --tolerance to 0.001" in text
    assert "# output: stem\\_report" not in text
    assert "+ # output: stem_report" in text


def test_apart(cli: Cli, ssd: tuple[Path, Path], tmp_path: Path) -> None:
    out = tmp_path / "out"
    assert cli("rewrite", *ssd, "--out", out, "--apart").status == 0
    net = read_net(out / "net.prototxt", out / "net.caffemodel")
    assert not any(x.in_place for x in net.layers)
    assert net.find("stem_relu").tops == ["stem"]
    assert read_json(out / "rewrite.json", "the record")["apart"] is True


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--skip", "remove-crops"], "no pass remove-crops; near in name: remove-crop;"),
        (["--hp", "confs"], "no layer confs to mark; near in name: conf"),
        (["--report", "found"], "layer found cannot be marked"),
        (["--cpu", ""], "--cpu '' leaves a name empty"),
        (["--hp", "loc", "--cpu", "loc"], "layer loc cannot have _hp and _cpu"),
        (["--tolerance", "7"], "the tolerance 7 is no share"),
        (["--tolerance", "nan"], "the tolerance nan is no share"),
    ],
)
def test_bad_options(
    cli: Cli, ssd: tuple[Path, Path], tmp_path: Path, options: list[str], message: str
) -> None:
    ran = cli("rewrite", *ssd, "--out", tmp_path / "out", *options)
    assert ran.status == 2
    assert message in ran.err
    assert ran.err.count("\n") == 1
    assert not (tmp_path / "out").exists()

"""The command line as other programs see it: file names, JSON keys, exit statuses."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
from dataclasses import astuple
from pathlib import Path
from typing import Any

import cv2
import numpy as np
import numpy.typing as npt
import onnx
import onnxruntime
import pytest
from onnx import TensorProto, helper

from nnie_pipeline.zoo.spec import load_spec
from tests.builds import Build, Cli, Ran, here, nnie, once
from tests.models import photographs, retinaface_onnx
from tests.tiny_models import save, two_convolutions, wide_strides

Values = npt.NDArray[np.float32]
SIZE = (96, 128)
STEM = "faces.v1"
KINDS = ("prototxt", "caffemodel")
OUTPUTS = load_spec("retinaface").outputs
COMMANDS = (
    *("run", "fetch", "convert", "rewrite", "check", "sizes", "calibrate", "cfg", "dump"),
    *("simulate", "sensitivity", "mixed", "cut", "compare", "diagnose", "report", "wk"),
    *("map", "bisect"),
    "export-onnx",
    "bringup",
)


@pytest.fixture(scope="session")
def chain(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """convert, rewrite, dump and simulate of RetinaFace, one after another in one folder."""

    def make(folder: Path) -> None:
        shutil.copy(retinaface_onnx(), folder / f"{STEM}.onnx")
        picture = cv2.imread(str(photographs()["obama"].path))
        pixels = cv2.resize(picture, SIZE[::-1]).astype(np.float32)
        blob = (pixels - np.float32([104, 117, 123])).transpose(2, 0, 1)[np.newaxis]
        np.save(folder / "x.npy", np.ascontiguousarray(blob))
        raw, ready = ([folder / x / f"{STEM}.{y}" for y in KINDS] for x in ("raw", "ready"))
        net = (*ready, "--input", folder / "x.npy")
        ranges = ("--ranges", folder / "own8" / "ranges.json")
        size = f"{SIZE[0]}x{SIZE[1]}"
        model = folder / f"{STEM}.onnx"
        steps: dict[str, tuple[str | Path, ...]] = {
            "raw": ("convert", model, "--size", size, "--outputs", ",".join(OUTPUTS)),
            "ready": ("rewrite", *raw),
            "float": ("dump", *net),
            "own8": ("simulate", *net, "--bits", "8"),
            "given8": ("simulate", *net, "--bits", "8", *ranges),
            "given16": ("simulate", *net, "--bits", "16", *ranges),
        }
        for out, step in steps.items():
            done = here(*step, "--out", folder / out)
            assert done.status == 0, done
            assert done.err == "", done
            (folder / f"{out}.ran").write_text(json.dumps(astuple(done)))

    return once(tmp_path_factory, "chain", make)


def read(path: Path) -> Any:
    return json.loads(path.read_text(encoding="utf-8"))


def ran(chain: Path, step: str) -> Ran:
    return Ran(*read(chain / f"{step}.ran"))


def tops(prototxt: Path) -> list[tuple[str, str]]:
    """(layer, top) in the order of the file, without a parser of this project."""
    found = []
    for text in prototxt.read_text().split("layer {")[1:]:
        name = re.search(r'name: "([^"]*)"', text)
        assert name is not None
        found += [(name[1], top) for top in re.findall(r'top: "([^"]*)"', text)]
    return found


def onnx_values(path: Path, blob: Values, names: list[str]) -> list[Values]:
    """The tensors `names` of the original model, on onnxruntime."""
    model = onnx.load(path)
    have = {x.name for x in model.graph.output}
    model.graph.output.extend(
        helper.make_tensor_value_info(x, TensorProto.FLOAT, None) for x in names if x not in have
    )
    session = onnxruntime.InferenceSession(model.SerializeToString())
    values: list[Values] = session.run(names, {session.get_inputs()[0].name: blob})
    return values


def test_convert_names_its_files_after_the_model(chain: Path) -> None:
    made = {x.name for x in (chain / "raw").iterdir()}
    assert {f"{STEM}.prototxt", f"{STEM}.caffemodel", "convert.json"} <= made
    assert not [x for x in made if x.startswith(".")]
    assert f"raw/{STEM}.prototxt" in ran(chain, "raw").out
    (shape,) = re.findall(r"input_shape\s*{([^}]*)}", (chain / f"raw/{STEM}.prototxt").read_text())
    assert re.findall(r"\d+", shape) == ["1", "3", "96", "128"]  # height before width


def test_convert_json_says_where_each_output_is(chain: Path) -> None:
    outputs = read(chain / "raw" / "convert.json")["outputs"]
    assert [x["onnx"] for x in outputs] == list(OUTPUTS)
    assert all(set(x) == {"onnx", "caffe"} for x in outputs)
    made = {top for _, top in tops(chain / f"raw/{STEM}.prototxt")}
    assert {x["caffe"] for x in outputs} <= made


def test_the_dump_of_the_rewritten_network_is_what_onnx_computes(chain: Path) -> None:
    names = read(chain / "ready" / "rewrite.json")["names"]
    outputs = read(chain / "raw" / "convert.json")["outputs"]
    expected = onnx_values(chain / f"{STEM}.onnx", np.load(chain / "x.npy"), list(OUTPUTS))
    for output, value in zip(outputs, expected, strict=True):
        found = np.load(chain / "float" / f"{names.get(output['caffe'], output['caffe'])}.npy")
        assert found.dtype == np.float32
        assert found.shape == value.shape
        assert np.abs(found - value).max() <= 1e-4 * np.abs(value).max()


def test_without_options_convert_keeps_the_model_s_own_size_and_outputs(
    tmp_path: Path, cli: Cli
) -> None:
    model = two_convolutions(tmp_path / "tiny.onnx", size=("n", 3, 48, "w"))
    done = cli("convert", model, "--out", tmp_path / "out")
    assert done.status == 0
    said = [x for x in done.out.splitlines() if "dynamic" in x]
    assert said == ["dynamic axes fixed: N=1, W=640"]
    record = read(tmp_path / "out" / "convert.json")
    assert [x["onnx"] for x in record["outputs"]] == ["out"]
    assert "dim: 48" in (tmp_path / "out" / "tiny.prototxt").read_text()


def test_an_output_that_layers_read_is_kept_too(tmp_path: Path, cli: Cli) -> None:
    """The mapper gives out a value that others read only if its name ends in _report."""
    model = two_convolutions(tmp_path / "tiny.onnx")
    assert cli("convert", model, "--out", tmp_path, "--outputs", "out,middle").status == 0
    outputs = read(tmp_path / "convert.json")["outputs"]
    assert [x["onnx"] for x in outputs] == ["out", "middle"]
    net = (tmp_path / "tiny.prototxt", tmp_path / "tiny.caffemodel")
    assert cli("rewrite", *net, "--out", tmp_path / "ready").status == 0
    names = read(tmp_path / "ready" / "rewrite.json")["names"]
    middle = names.get(outputs[1]["caffe"], outputs[1]["caffe"])
    assert middle.endswith("_report")
    blob = np.random.default_rng(1).normal(0, 9, (1, 3, 32, 32)).astype(np.float32)
    np.save(tmp_path / "x.npy", blob)
    net = (tmp_path / "ready" / "tiny.prototxt", tmp_path / "ready" / "tiny.caffemodel")
    given = ("--input", tmp_path / "x.npy", "--out", tmp_path / "dump")
    assert cli("dump", *net, *given).status == 0
    (value,) = onnx_values(model, blob, ["middle"])
    found = np.load(tmp_path / "dump" / f"{middle}.npy")
    assert np.abs(found - value).max() <= 1e-4 * np.abs(value).max()


def test_rewrite_json_lists_passes_and_names(chain: Path) -> None:
    record = read(chain / "ready" / "rewrite.json")
    assert record["passes"]
    assert all({"name", "changed", "difference"} <= set(x) for x in record["passes"])
    assert all(isinstance(x["difference"], float) for x in record["passes"])
    assert sum(x["changed"] for x in record["passes"]) > 0
    said = ran(chain, "ready").out
    assert all(x["name"] in said for x in record["passes"])


def test_rewrite_json_maps_old_names_to_new_ones(tmp_path: Path, cli: Cli) -> None:
    long = "a_name_of_far_more_than_thirty_one_characters"
    nodes = [
        helper.make_node("Conv", ["data", "w"], [long], f"{long}_one"),
        helper.make_node("Conv", [long, "w"], [f"{long}_end"], f"{long}_two"),
    ]
    model = save(tmp_path / "m.onnx", nodes, {"w": (3, 3, 3, 3)}, [f"{long}_end"])
    raw, ready, dump = tmp_path / "raw", tmp_path / "ready", tmp_path / "dump"
    assert cli("convert", model, "--out", raw).status == 0
    assert cli("rewrite", raw / "m.prototxt", raw / "m.caffemodel", "--out", ready).status == 0
    blob = np.random.default_rng(1).normal(0, 9, (1, 3, 32, 32)).astype(np.float32)
    np.save(tmp_path / "x.npy", blob)
    net = (ready / "m.prototxt", ready / "m.caffemodel")
    assert cli("dump", *net, "--input", tmp_path / "x.npy", "--out", dump).status == 0
    names = read(ready / "rewrite.json")["names"]
    before, after = tops(raw / "m.prototxt"), tops(ready / "m.prototxt")
    assert {names.get(x, x) for pair in before for x in pair} == {x for p in after for x in p}
    assert max(len(x) for pair in after for x in pair) <= 31
    (output,) = read(raw / "convert.json")["outputs"]
    assert output["caffe"] in names
    (value,) = onnx_values(model, blob, [f"{long}_end"])
    found = np.load(dump / f"{names[output['caffe']]}.npy")
    assert np.abs(found - value).max() <= 1e-4 * np.abs(value).max()


def test_rewrite_changes_the_size(chain: Path, tmp_path: Path, cli: Cli) -> None:
    net = [chain / "raw" / f"{STEM}.{x}" for x in KINDS]
    assert cli("rewrite", *net, "--out", tmp_path, "--size", "64x160").status == 0
    assert re.search(r"dim: 64\s+dim: 160", (tmp_path / f"{STEM}.prototxt").read_text())


def test_check_json_of_a_network_that_holds(chain: Path, cli: Cli) -> None:
    done = cli("check", chain / "ready" / f"{STEM}.prototxt", "--json")
    assert (done.status, done.err) == (0, "")
    findings = done.json["findings"]
    assert findings
    assert all(
        {"id", "layer", "severity", "message", "fix"} <= set(x) and x["fix"] and x["message"]
        for x in findings
    )
    assert "error" not in {x["severity"] for x in findings}


def test_check_ends_with_1_on_a_violation(tmp_path: Path, cli: Cli) -> None:
    assert cli("convert", wide_strides(tmp_path / "w.onnx"), "--out", tmp_path).status == 0
    done = cli("check", tmp_path / "w.prototxt", "--json", "--chip", "hi3516dv300")
    assert done.status == 1
    errors = [x for x in done.json["findings"] if x["severity"] == "error"]
    assert {(x["id"], x["layer"]) for x in errors} == {("window-stride", "out")}
    assert "256" in errors[0]["message"]
    table = cli("check", tmp_path / "w.prototxt")
    assert table.status == 1
    assert table.err == ""
    assert "window-stride" in re.sub(r"\s", "", table.out) or "window-stride" in table.out


def test_sizes_json_lists_the_sizes_that_the_strides_divide(chain: Path, cli: Cli) -> None:
    net = chain / "ready" / f"{STEM}.prototxt"
    done = cli("sizes", net, "--json", "--max", "640")
    found = {(x["height"], x["width"]) for x in done.json["sizes"]}
    sides = range(128, 641, 32)  # strides up to 32, two upsamplings that have to meet
    assert found == {(h, w) for h in sides for w in sides}
    assert done.status == 0
    assert cli("sizes", net, "--max", "256", "--square").status == 0


def test_a_dump_stands_in_execution_order(chain: Path) -> None:
    blobs = read(chain / "float" / "dump.json")["blobs"]
    assert [(x["layer"], x["blob"]) for x in blobs] == tops(chain / f"ready/{STEM}.prototxt")
    files = [x["file"] for x in blobs]
    assert len(set(files)) == len(files)
    assert {x.name for x in (chain / "float").iterdir()} == {*files, "dump.json"}
    for blob in blobs:
        values = np.load(chain / "float" / blob["file"])
        assert values.dtype == np.float32
        assert list(values.shape) == blob["shape"]


def test_blob_npy_is_what_caffe_leaves_in_the_blob(chain: Path) -> None:
    """The in-place ReLU overwrites the convolution's result."""
    blobs = read(chain / "float" / "dump.json")["blobs"]
    last = {x["blob"]: x["file"] for x in blobs}
    assert last == {x: f"{x}.npy" for x in last}
    first, second = blobs[:2]
    assert (first["blob"], second["type"]) == (second["blob"], "ReLU")
    before, after = (np.load(chain / "float" / x["file"]) for x in (first, second))
    np.testing.assert_allclose(after, np.where(before > 0, before, before * 0.1), rtol=1e-6)


def test_simulate_says_when_the_input_is_its_own_calibration(chain: Path) -> None:
    assert "calibration" in ran(chain, "own8").out
    assert "calibration" not in ran(chain, "given8").out


def test_given_ranges_are_used(chain: Path, tmp_path: Path, cli: Cli) -> None:
    names = {x.name for x in (chain / "own8").glob("*.npy")}
    assert names == {x.name for x in (chain / "float").glob("*.npy")}
    for name in names:
        own, given = (np.load(chain / x / name) for x in ("own8", "given8"))
        assert np.array_equal(own, given)
    net = [chain / "ready" / f"{STEM}.{x}" for x in KINDS]
    record = read(chain / "own8" / "ranges.json")
    # Ranges one step of z wider or narrower in every layer: other values in the first already.
    record["z"]["8"] = {k: [x + 16 for x in v] for k, v in record["z"]["8"].items()}
    (tmp_path / "ranges.json").write_text(json.dumps(record))
    done = cli(
        "simulate", *net, "--input", chain / "x.npy", "--bits", "8",
        "--ranges", tmp_path / "ranges.json", "--out", tmp_path / "s",
    )  # fmt: skip
    assert done.status == 0
    first = read(chain / "float" / "dump.json")["blobs"][0]["file"]
    assert not np.array_equal(np.load(tmp_path / "s" / first), np.load(chain / "own8" / first))


def test_simulated_values_are_q20_12_and_16_bit_is_nearer(chain: Path) -> None:
    for output in read(chain / "raw" / "convert.json")["outputs"]:
        exact, eight, sixteen = (
            np.load(chain / x / f"{output['caffe']}.npy").astype(np.float64)
            for x in ("float", "given8", "given16")
        )
        for values in (eight, sixteen):
            assert np.array_equal(values * 4096, np.round(values * 4096))
        far, near = (np.linalg.norm(x - exact) for x in (eight, sixteen))
        assert 0 < near < far / 3


def test_compare_json_is_what_the_files_say(chain: Path, cli: Cli) -> None:
    done = cli("compare", chain / "float", chain / "own8", "--json")
    assert (done.status, done.err) == (0, "")
    blobs = read(chain / "float" / "dump.json")["blobs"]
    layers = done.json["layers"]
    assert [(x["name"], x["type"]) for x in layers] == [(x["layer"], x["type"]) for x in blobs]
    cosines = []
    for layer, blob in zip(layers, blobs, strict=True):
        a, b = (
            np.load(chain / x / blob["file"]).astype(np.float64).ravel() for x in ("float", "own8")
        )
        cosines.append(float(a @ b / np.linalg.norm(a) / np.linalg.norm(b)))
        assert layer["cosine"] == pytest.approx(cosines[-1], abs=1e-9)
        assert layer["max_abs"] == pytest.approx(np.abs(a - b).max(), rel=1e-6)
        distance = np.linalg.norm(a - b) / np.linalg.norm(a)
        assert layer["rel_euclid"] == pytest.approx(distance, rel=1e-6)
    below = [x["layer"] for x, c in zip(blobs, cosines, strict=True) if c < 0.99]
    assert below
    assert done.json["first_below"] == below[0]
    assert done.json["worst"] == blobs[int(np.argmin(cosines))]["layer"]


def test_compare_ends_with_1_only_when_asked(chain: Path, cli: Cli) -> None:
    both = chain / "float", chain / "own8"
    plain = cli("compare", *both)
    assert (plain.status, plain.err) == (0, "")
    worst = cli("compare", *both, "--json").json["worst"]
    assert f"worst: {worst}" in plain.out
    failed = cli("compare", *both, "--min-cosine", "0.99", "--json")
    assert failed.status == 1
    assert worst in failed.error
    assert failed.json["worst"] == worst
    assert cli("compare", *both, "--min-cosine", "0").status == 0
    same = cli("compare", chain / "float", chain / "float", "--min-cosine", "1", "--json")
    assert same.status == 0
    assert {(x["cosine"], x["max_abs"], x["rel_euclid"]) for x in same.json["layers"]} == {
        (1, 0, 0)
    }
    assert same.json["first_below"] is None


def test_wk_json_lists_inputs_and_outputs(shared: Path, cli: Cli) -> None:
    done = cli("wk", shared / "models/retinaface_mnet025/mnet_640_inst.wk", "--json")
    assert (done.status, done.err) == (0, "")
    assert done.json["inputs"] == [
        {"name": "data", "height": 640, "width": 640, "channels": 3, "type": "U8"}
    ]
    sizes = [(x["channels"], x["height"], x["width"]) for x in done.json["outputs"]]
    assert sizes == [(c, s, s) for c in (8, 20, 4) for s in (20, 40, 80)]
    assert {x["type"] for x in done.json["outputs"]} == {"S32"}


def test_rewrite_and_check_of_a_network_made_by_others(
    shared: Path, tmp_path: Path, cli: Cli
) -> None:
    source = shared / "models" / "retinaface_mnet025"
    assert cli("check", source / "mnet.prototxt").status == 1
    net = (source / "mnet.prototxt", source / "mnet.caffemodel")
    assert cli("rewrite", *net, "--out", tmp_path).status == 0
    names = read(tmp_path / "rewrite.json")["names"]
    old = {x for pair in tops(source / "mnet.prototxt") for x in pair}
    assert names
    assert set(names) <= old
    assert max(len(x) for pair in tops(tmp_path / "mnet.prototxt") for x in pair) <= 31


def test_run_leaves_every_stage_s_files(build: Build) -> None:
    assert (build.ran.status, build.ran.err) == (0, "")
    assert build.folder.name == "retinaface-320x320"
    expected = """
        convert/retinaface.prototxt convert/retinaface.caffemodel convert/convert.json
        rewrite/retinaface.prototxt rewrite/retinaface.caffemodel rewrite/rewrite.json
        calibration/image_list.txt calibration/mean.txt
        mapper/retinaface_inst_8bit.cfg mapper/retinaface_inst_16bit.cfg
        mapper/retinaface_func_8bit.cfg mapper/retinaface_func_16bit.cfg
        dump/dump.json simulate/ranges.json simulate/8/dump.json simulate/16/dump.json
        compare/8.json compare/16.json report.html
    """
    for name in expected.split():
        assert (build.folder / name).stat().st_size > 0, name
    lines = build.ran.out.splitlines()
    numbered = [x for x in lines if re.match(r" ?\d+/11 ", x)]
    assert len(numbered) == 11
    assert any("report.html" in x for x in lines)


def test_every_command_explains_itself(cli: Cli) -> None:
    overview = cli("--help")
    assert overview.status == 0
    assert cli() == overview
    for name in COMMANDS:
        assert re.search(rf"^  {name} ", overview.out, re.MULTILINE), name
        done = cli(name, "--help")
        assert (done.status, done.err) == (0, "")
        assert f"nnie {name}" in done.out


def test_the_console_script_and_the_module_are_the_same_command() -> None:
    script = Path(sys.executable).with_name("nnie")
    done = subprocess.run([script, "--help"], capture_output=True, text=True, check=True)
    assert done.stdout == nnie("--help").out

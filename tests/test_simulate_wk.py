"""The simulation with a compiled file's numbers: two public files, and encoded networks."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from nnie_pipeline.caffe.files import write_net
from nnie_pipeline.caffe.net import Array, Net
from nnie_pipeline.caffe.shapes import infer
from nnie_pipeline.calibration.geometry import place
from nnie_pipeline.calibration.pictures import read_picture
from nnie_pipeline.cli import simulate as simulate_command
from nnie_pipeline.engine.onnxruntime_engine import Session, all_values
from nnie_pipeline.quant.assumptions import USUAL
from nnie_pipeline.quant.operations import operations
from nnie_pipeline.quant.ranges import RangeRecorder, Ranges
from nnie_pipeline.quant.simulate import Mode, Simulator
from nnie_pipeline.quant.words import own_words
from nnie_pipeline.wk.decode import decode
from nnie_pipeline.wk.numbers import ranges_of_file, words_of_file
from nnie_pipeline.wk.proof import Proof, prove
from tests import wk_encoder
from tests.caffe_nets import every_value
from tests.test_simulate import FORMATS
from tests.test_wk_decode import random_net
from tests.test_wk_proof import compiled, network

Z_OF = {8: [-92, -76, -97, -80, -81, -70, -60, -50], 16: [-900 - 9 * i for i in range(8)]}
SMALL_Z = {8: [0, *Z_OF[8][:-1]], 16: [-384, *Z_OF[16][:-1]]}
"""z of what each layer of an encoded network makes, and of what it reads."""


def picture(shared: Path) -> Array:
    """det39 in R, G, B as the network of the files takes it."""
    jpeg, _ = read_picture(shared / "images" / "rgb_planar" / "det39.jpg")
    canvas, _ = place(jpeg, (640, 640), "stretch")
    return np.ascontiguousarray(canvas[:, :, ::-1].transpose(2, 0, 1)[None], np.float32)


def own_ranges(net: Net, inputs: dict[str, Array]) -> Ranges:
    recorder = RangeRecorder(net, dict.fromkeys(net.inputs, 1.0))
    recorder.add({**inputs, **Session(net, all_values(net)).run(inputs)})
    return recorder.ranges()


def run(proof: Proof, bits: int, inputs: dict[str, Array], mode: Mode) -> dict[str, Array]:
    ranges, _ = ranges_of_file(proof, bits, own_ranges(proof.net, inputs))
    simulator = Simulator(proof.net, bits, ranges, words_of=words_of_file(proof), mode=mode)
    return dict(simulator.run(inputs))


@pytest.mark.parametrize("bits", [8, 16])
def test_one_number_by_hand_from_the_files_words(shared: Path, bits: int) -> None:
    """The first convolution at three places, from the decoded words by Python's numbers."""
    proof = prove(compiled(shared, bits), network(shared))
    pixels = picture(shared)
    found = run(proof, bits, {"data": pixels}, "fixed")
    first = proof.fitted[0]
    assert first.predicted.name == "mobilenet0_conv0"
    parameters, codes = first.layer.parameters, first.codes()
    steps, top = FORMATS[bits]
    z_in = {8: 0, 16: -384}[bits]  # the public files' z of a picture
    values = found["mobilenet0_batchnorm0@mobilenet0_batchnorm0_scale"]
    for o, y, x in ((0, 10, 20), (3, 160, 161), (7, 319, 1)):
        total = int(parameters.bias[o])
        for c in range(3):
            for ky in range(3):
                for kx in range(3):
                    a, b = 2 * y + ky - 1, 2 * x + kx - 1
                    code = int(codes[o, c, ky, kx])
                    if not (0 <= a < 640 and 0 <= b < 640) or code == 0:
                        continue
                    pixel = float(pixels[0, c, a, b])
                    if pixel == 0 or steps * math.log2(pixel) <= z_in - steps:
                        continue
                    k = min(max(round(steps * math.log2(pixel)) - z_in, 0), top)
                    total += int(math.copysign(round(2 ** ((abs(code) - 1 + k) / steps)), code))
        word = (total * int(parameters.scale[o]) + (1 << 29) >> 30) + int(parameters.shift[o])
        assert values[0, o, y, x] == np.float32(word / 4096)


@pytest.mark.parametrize("bits", [8, 16])
def test_modes_agree_on_the_public_files(shared: Path, bits: int) -> None:
    proof = prove(compiled(shared, bits), network(shared))
    inputs = {"data": picture(shared)}
    exact = Session(proof.net, proof.net.outputs).run(inputs)
    results = {mode: run(proof, bits, inputs, mode) for mode in ("float", "fixed")}
    assert list(results["float"]) == list(results["fixed"])
    assert set(results["float"]) == set(all_values(proof.net))
    for name, array in exact.items():
        one, two = results["float"][name], results["fixed"][name]
        error = float(np.linalg.norm(one - array))
        # Rounding products moves a result far less than the number format does.
        assert 0 < float(np.linalg.norm(one - two)) < error, name
        assert float(np.linalg.norm(two - array)) < 1.2 * error, name


@pytest.mark.parametrize("bits", [8, 16])
def test_the_files_words_are_those_of_the_rule(shared: Path, bits: int) -> None:
    """Merged weights within a rounding of the next level may have either code (8 bit)."""
    proof = prove(compiled(shared, bits), network(shared))
    inputs = {"data": picture(shared)}
    ranges, _ = ranges_of_file(proof, bits, own_ranges(proof.net, inputs))
    shapes = infer(proof.net)
    of_file = words_of_file(proof)
    layers = apart = 0
    for step in operations(proof.net):
        if step.leader.type not in ("Convolution", "Deconvolution"):
            continue
        z = ranges.z[bits][step.leader.name]
        file, own = (x(step, bits, z, shapes, USUAL) for x in (of_file, own_words))
        assert file is not None
        assert own is not None
        np.testing.assert_array_equal(file.scale, own.scale)
        np.testing.assert_array_equal(file.shift, own.shift)
        np.testing.assert_allclose(file.unit, own.unit, rtol=1e-12)
        assert np.abs(file.bias - own.bias).max() <= (1 if bits == 8 else 0)
        codes = file.codes(bits)
        number = next(x for x in proof.fitted if x.predicted.name == step.leader.name)
        np.testing.assert_array_equal(codes, number.codes())
        apart += int((codes != own.codes(bits)).sum())
        assert np.abs(codes - own.codes(bits)).max() <= 1
        layers += 1
    assert layers == 58
    assert apart <= (20 if bits == 8 else 0)


def test_ranges_of_the_8_bit_file(shared: Path) -> None:
    """What its layer table says: both bottoms of each sum have a z of their own."""
    proof = prove(compiled(shared, 8), network(shared))
    inputs = {"data": picture(shared)}
    ranges, pairs = ranges_of_file(proof, 8, own_ranges(proof.net, inputs))
    table = ranges.z[8]
    assert table["plus0"] == (-88, -100)
    assert table["plus1"] == (-100, -106)
    assert table["mobilenet0_conv0"] == (0,)
    assert table["mobilenet0_conv11"] == (-120,)  # one step beside what conv10 writes
    assert table["mobilenet0_conv12"] == (-106,)
    known = [x for x in pairs if x.file is not None]
    assert len(known) == 58 + 4
    assert {x.type for x in pairs if x.file is None} == {"Concat"}


@pytest.mark.parametrize("mode", ["float", "fixed"])
@pytest.mark.parametrize("bits", [8, 16])
def test_an_encoded_network_has_the_files_ranges(tmp_path: Path, bits: int, mode: Mode) -> None:
    net = random_net(1, (8, 5, 17))
    path = tmp_path / "net.wk"
    path.write_bytes(wk_encoder.encode(net, bits, Z_OF[bits]))
    proof = prove(decode(path), net)
    assert proof.weights_hold, proof.verdict
    inputs = {"data": np.random.default_rng(5).uniform(0, 3, (1, 3, 16, 16)).astype(np.float32)}
    recorder = RangeRecorder(net)
    recorder.add({**inputs, **every_value(net, inputs)})
    own = recorder.ranges()
    ranges, pairs = ranges_of_file(proof, bits, own)
    assert [ranges.z[bits][x.name][0] for x in net.layers] == SMALL_Z[bits]
    assert [x.own for x in pairs] == [own.z[bits][x.name][0] for x in net.layers]
    one = dict(Simulator(net, bits, ranges, words_of=words_of_file(proof), mode=mode).run(inputs))
    two = dict(Simulator(net, bits, Ranges({bits: dict(ranges.z[bits])}, 1), mode=mode).run(inputs))
    for name, array in one.items():
        np.testing.assert_array_equal(array, two[name], name)
    calibrated = dict(Simulator(net, bits, own, mode=mode).run(inputs))
    assert not np.array_equal(calibrated[net.outputs[0]], one[net.outputs[0]])


def call(*arguments: str) -> tuple[int, str]:
    app = typer.Typer()
    app.command()(simulate_command.command)
    result = CliRunner().invoke(app, [*arguments])
    return result.exit_code, " ".join(result.output.split())


@pytest.fixture
def small(tmp_path: Path) -> tuple[Net, list[str]]:
    """A network, and the arguments that simulate it with its compiled file."""
    net = random_net(2, (3, 32, 9))
    files = tmp_path / "net.prototxt", tmp_path / "net.caffemodel"
    write_net(net, *files)
    (tmp_path / "net.wk").write_bytes(wk_encoder.encode(net, 16, Z_OF[16]))
    np.save(tmp_path / "in.npy", np.random.default_rng(1).uniform(0, 3, (1, 3, 16, 16)))
    return net, [
        *map(str, files), "--wk", str(tmp_path / "net.wk"), "--input", str(tmp_path / "in.npy"),
        "--out", str(tmp_path / "out"),
    ]  # fmt: skip


def test_command_records_where_its_numbers_come_from(
    small: tuple[Net, list[str]], tmp_path: Path
) -> None:
    net, arguments = small
    status, output = call(*arguments, "--mode", "fixed", "--assume", "products=down")
    assert status == 0, output
    assert "warning: net.wk holds the weights of this network" in output  # it has no instructions
    record = json.loads((tmp_path / "out" / "dump.json").read_text())
    numbers = record["numbers"]
    assert (numbers["weights"], numbers["z"], numbers["mode"]) == ("net.wk", "net.wk", "fixed")
    assert numbers["assumed"] == {"products": "down"}
    assert "16 bit" in numbers["verdict"]
    assert record["kind"] == "simulated 16 bit"
    found = json.loads((tmp_path / "out" / "wk.json").read_text())
    rows = {x["layer"]: x for x in found["layers"]}
    assert [rows[x.name]["file"] for x in net.layers] == SMALL_Z[16]
    for row in rows.values():
        assert row["sixteenths"] == (row["own"] - row["file"]) / 8
    apart = [x["sixteenths"] for x in rows.values() if x["bottom"] != "data"]
    assert found["summary"]["count"] == 7
    assert found["summary"]["median"] == sorted(apart)[3]
    assert found["summary"]["mean_magnitude"] == pytest.approx(sum(map(abs, apart)) / 7)
    ranges = json.loads((tmp_path / "out" / "ranges.json").read_text())
    assert ranges["rule"] == "compiled file"


def test_command_measures_how_far_the_modes_are_apart(
    small: tuple[Net, list[str]], tmp_path: Path
) -> None:
    net, arguments = small
    arguments = arguments[:-1]
    down = ("--mode", "fixed", "--assume", "products=down")
    status, output = call(*arguments, str(tmp_path / "fixed"), *down)
    assert status == 0, output
    assert call(*arguments, str(tmp_path / "float"))[0] == 0
    assert not (tmp_path / "float" / "modes.json").exists()
    record = json.loads((tmp_path / "fixed" / "modes.json").read_text())
    rows = {x["blob"]: x for x in record["layers"]}
    assert list(rows) == [x.tops[0] for x in net.layers]
    for name, row in rows.items():
        one, two = (
            np.load(tmp_path / x / f"{name}.npy").astype(np.float64) for x in ("float", "fixed")
        )
        apart = np.abs(one - two)
        assert row["max_abs"] == apart.max()
        ratio = (one**2).sum() / (apart**2).sum() if apart.any() else np.inf
        noise = np.inf if row["sqnr_db"] is None else row["sqnr_db"]
        assert noise == pytest.approx(10 * np.log10(ratio))
    worst = record["outputs"]
    assert worst["count"] == len(net.outputs)
    assert worst["max_abs"] == max(rows[x]["max_abs"] for x in net.outputs) > 0
    assert worst["cosine"] == min(rows[x]["cosine"] for x in net.outputs)
    assert f"largest difference {worst['max_abs']:.4g}, least signal to noise" in output
    assert f"mode fixed against mode float, {worst['count']} outputs" in output


def test_command_refuses_what_is_not_proven(small: tuple[Net, list[str]], tmp_path: Path) -> None:
    net, arguments = small
    status, output = call(*arguments, "--bits", "8")
    assert status == 1
    assert "net.wk is not as asked: it is 16 bit, not 8" in output
    other = net.copy()
    wide = other.find("wide")
    wide.weights = [-wide.weights[0], *wide.weights[1:]]
    write_net(other, tmp_path / "net.prototxt", tmp_path / "net.caffemodel")
    status, output = call(*arguments)
    assert status == 1
    assert "net.wk does not hold this network" in output
    assert "wide" in output
    assert not (tmp_path / "out" / "dump.json").exists()


@pytest.mark.parametrize(
    ("more", "said"),
    [
        (["--clip", "99"], "leave --clip and mixed out"),
        (["--bits", "mixed"], "leave --clip and mixed out"),
        (["--mode", "exact"], "there are float and fixed"),
        (["--mode", "fixed", "--assume", "outputs=exact"], "mode fixed computes in whole numbers"),
        (["--assume", "products=down"], "is of --mode fixed alone"),
    ],
)
def test_command_refuses_what_does_not_go_together(
    small: tuple[Net, list[str]], more: list[str], said: str
) -> None:
    status, output = call(*small[1], *more)
    assert status == 2
    assert said in output


def test_command_needs_bits_or_a_file(small: tuple[Net, list[str]]) -> None:
    arguments = [x for x in small[1] if x != "--wk" and not x.endswith(".wk")]
    status, output = call(*arguments)
    assert status == 2
    assert "give --bits 8, 16 or mixed, or --wk FILE.wk" in output

"""Whether compiled files hold a network: two public ones, and networks made wrong."""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import cache
from pathlib import Path

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from nnie_pipeline.caffe.files import read_net, write_net
from nnie_pipeline.caffe.net import Net
from nnie_pipeline.cli import wk as wk_command
from nnie_pipeline.errors import InputError
from nnie_pipeline.quant.gfpq import quantize
from nnie_pipeline.rewrite import merge_batch_norm
from nnie_pipeline.wk.decode import decode
from nnie_pipeline.wk.model import WkModel
from nnie_pipeline.wk.proof import Proof, prove
from tests import wk_encoder
from tests.test_wk_decode import random_net

NAMES = {8: "mnet_mergebn_640L_inst.wk", 16: "mnet_640_inst.wk"}
WEIGHTS = 420336
OUTPUTS = 3568


@cache
def compiled(folder: Path, bits: int) -> WkModel:
    return decode(folder / "models" / "retinaface_mnet025" / NAMES[bits])


@cache
def _network(folder: Path) -> Net:
    models = folder / "models" / "retinaface_mnet025"
    return read_net(models / "mnet_hand_rewritten.prototxt", models / "mnet.caffemodel")


def network(folder: Path) -> Net:
    return _network(folder).copy()


@pytest.mark.parametrize(("bits", "norm"), [(8, "merged"), (16, "not merged")])
def test_public_files_hold_their_network(shared: Path, bits: int, norm: str) -> None:
    proof = prove(compiled(shared, bits), network(shared))
    assert proof.holds
    assert proof.verdict == (
        f"holds this network: {WEIGHTS} of {WEIGHTS} weights, {bits} bit, BatchNorm {norm}"
    )
    assert proof.reasons == ()
    assert len(proof.layers) == 58
    assert all(x.weights[0] == x.weights[1] and x.reason is None for x in proof.layers)
    for what in ("bias", "scale", "shift"):
        counts = [getattr(x, what) for x in proof.layers]
        assert sum(x[0] for x in counts) == sum(x[1] for x in counts) == OUTPUTS


@pytest.mark.parametrize("bits", [8, 16])
def test_ranges_of_inputs_are_those_of_the_layers_before(shared: Path, bits: int) -> None:
    proof = prove(compiled(shared, bits), network(shared))
    known = [x for x in proof.layers if x.z_before is not None]
    apart = [x.name for x in known if x.z_in != x.z_before]
    # Few consumers count one step beside the rows before them, the second at 8 bit behind ReLU.
    beside = {
        8: ["mobilenet0_conv11", "face_rpn_cls_score_stride16"],
        16: ["rf_c2_det_context_conv2"],
    }
    assert len(known) == len(proof.layers) == 58
    assert apart == beside[bits]
    assert all(abs((x.z_in or 0) - (x.z_before or 0)) <= 1 for x in known)
    first = next(x for x in proof.layers if x.name == "mobilenet0_conv0")
    assert first.z_in == {8: 0, 16: -384}[bits]


@pytest.mark.parametrize("bits", [8, 16])
def test_dequantised_weights_are_the_quantised_caffemodel(shared: Path, bits: int) -> None:
    net = network(shared)
    if bits == 8:
        merge_batch_norm.apply(net)
    proof = prove(compiled(shared, bits), net)
    by_name = {x.name: x for x in net.layers}
    for name in ("mobilenet0_conv0", "mobilenet0_conv2", "face_rpn_landmark_pred_stride8"):
        found = next(x for x in proof.fitted if x.predicted.name == name)
        expected, _ = quantize(by_name[name].weights[0], bits)
        np.testing.assert_allclose(found.dequantised(), expected, rtol=1e-6)
    upsampling = next(x for x in proof.fitted if x.predicted.name == "rf_c2_upsampling_")
    np.testing.assert_array_equal(upsampling.dequantised(), np.ones((64, 1, 2, 2), np.float32))


def test_missing_outputs_are_named(shared: Path) -> None:
    net = network(shared)
    net.outputs = [x for x in net.outputs if x != "face_rpn_bbox_pred_stride8"]
    net.drop_unused()
    proof = prove(compiled(shared, 16), net)
    assert not proof.holds
    assert any("face_rpn_bbox_pred_stride8" in x for x in proof.reasons)


def changed(shared: Path, bits: int, change: Callable[[Net], None], merge: bool = False) -> Proof:
    net = network(shared)
    if merge:
        merge_batch_norm.apply(net)
    change(net)
    proof = prove(compiled(shared, bits), net)
    assert not proof.holds
    assert proof.verdict.startswith("does not hold this network: ")
    assert "\n" not in proof.verdict
    return proof


def reason_of(proof: Proof, name: str) -> str:
    reason = next(x.reason for x in proof.layers if x.name == name)
    assert reason is not None
    return reason


def complete(proof: Proof) -> int:
    return sum(x.reason is None for x in proof.layers)


@pytest.mark.parametrize("bits", [8, 16])
def test_one_other_weight(shared: Path, bits: int) -> None:
    def change(net: Net) -> None:
        layer = net.find("mobilenet0_conv14")
        layer.weights = [layer.weights[0].copy()]
        layer.weights[0].reshape(-1)[np.argmax(layer.weights[0])] *= -1

    proof = changed(shared, bits, change)
    assert "other weights: 1 of" in proof.verdict
    assert "mobilenet0_conv14" in proof.verdict
    assert f"({WEIGHTS - 1} of {WEIGHTS} weights" in proof.verdict
    assert complete(proof) == 57


@pytest.mark.parametrize("bits", [8, 16])
def test_other_training(shared: Path, bits: int) -> None:
    def change(net: Net) -> None:
        random = np.random.default_rng(3)
        for layer in net.layers:
            if layer.type == "Convolution":
                noise = 1 + 0.1 * random.standard_normal(layer.weights[0].shape)
                layer.weights = [(layer.weights[0] * noise).astype(np.float32), *layer.weights[1:]]

    proof = changed(shared, bits, change)
    assert "other weights" in proof.verdict
    assert "mobilenet0_conv0" in proof.verdict
    assert complete(proof) <= 2


@pytest.mark.parametrize("bits", [8, 16])
def test_wrong_eps_is_named(shared: Path, bits: int) -> None:
    def change(net: Net) -> None:
        for layer in net.layers:
            if layer.type == "BatchNorm":
                layer.params.batch_norm_param.eps = 1e-3

    proof = changed(shared, bits, change)
    assert "eps 1e-05 in the file, 0.001 in the network" in reason_of(proof, "mobilenet0_conv2")
    assert "eps 2e-05 in the file, 0.001 in the network" in reason_of(proof, "rf_c3_lateral")
    assert "eps" in proof.verdict


@pytest.mark.parametrize("bits", [8, 16])
def test_channels_swapped(shared: Path, bits: int) -> None:
    def change(net: Net) -> None:
        layer = net.find("mobilenet0_conv0")
        layer.weights = [layer.weights[0][:, ::-1].copy()]

    proof = changed(shared, bits, change)
    assert "RGB against BGR" in proof.verdict
    assert complete(proof) == 57


def test_batch_norm_merged_in_the_caffemodel_only(shared: Path) -> None:
    proof = changed(shared, 16, lambda net: None, merge=True)
    assert "BatchNorm is merged in the caffemodel and not in the file" in proof.verdict


def test_batch_norm_merged_in_the_file_only(shared: Path) -> None:
    def change(net: Net) -> None:
        for layer in [x for x in net.layers if x.type in ("BatchNorm", "Scale")]:
            net.bypass(layer)

    proof = changed(shared, 8, change)
    assert "BatchNorm is merged in the file" in proof.verdict


def test_merged_by_the_user_holds_too(shared: Path) -> None:
    net = network(shared)
    merge_batch_norm.apply(net)
    proof = prove(compiled(shared, 8), net)
    assert proof.verdict == (
        f"holds this network: {WEIGHTS} of {WEIGHTS} weights, 8 bit, BatchNorm merged or none"
    )


@pytest.mark.parametrize("bits", [8, 16])
def test_layers_exchanged(shared: Path, bits: int) -> None:
    def change(net: Net) -> None:
        one, two = net.find("mobilenet0_conv14"), net.find("mobilenet0_conv18")
        one.weights, two.weights = two.weights, one.weights
        for first, second in zip(_behind(net, one.name), _behind(net, two.name), strict=True):
            a, b = net.find(first), net.find(second)
            a.weights, b.weights = b.weights, a.weights

    proof = changed(shared, bits, change)
    assert "layers in another order" in proof.verdict
    assert "mobilenet0_conv14" in proof.verdict


def _behind(net: Net, name: str) -> list[str]:
    found, value = [], net.find(name).tops[0]
    for _ in range(2):
        layer = next(x for x in net.layers if value in x.bottoms)
        found.append(layer.name)
        value = layer.tops[0]
    return found


@pytest.mark.parametrize(("bits", "other"), [(16, 8), (8, 16)])
def test_weights_rounded_to_the_other_width(shared: Path, bits: int, other: int) -> None:
    def change(net: Net) -> None:
        layer = net.find("mobilenet0_conv14")
        layer.weights = [quantize(layer.weights[0], other)[0], *layer.weights[1:]]

    proof = changed(shared, bits, change, merge=bits == 8)
    assert f"rounded to {other} bits already" in reason_of(proof, "mobilenet0_conv14")


@pytest.mark.parametrize("bits", [8, 16])
def test_clipped_caffemodel(shared: Path, bits: int) -> None:
    def change(net: Net) -> None:
        layer = net.find("mobilenet0_conv14")
        limit = float(np.abs(layer.weights[0]).max()) * 0.6
        layer.weights = [np.clip(layer.weights[0], -limit, limit), *layer.weights[1:]]

    proof = changed(shared, bits, change, merge=bits == 8)
    assert "weights were clipped at" in reason_of(proof, "mobilenet0_conv14")


@pytest.mark.parametrize("bits", [8, 16])
def test_file_with_a_clip_table(shared: Path, bits: int) -> None:
    def change(net: Net) -> None:
        layer = net.find("mobilenet0_conv14")
        weights = layer.weights[0].copy()
        weights.reshape(-1)[np.argmax(np.abs(weights))] *= 3
        layer.weights = [weights, *layer.weights[1:]]

    proof = changed(shared, bits, change, merge=bits == 8)
    assert "a clip table" in reason_of(proof, "mobilenet0_conv14")


@pytest.mark.parametrize("bits", [8, 16])
def test_sparse_caffemodel(shared: Path, bits: int) -> None:
    def change(net: Net) -> None:
        layer = net.find("mobilenet0_conv14")
        weights = layer.weights[0].copy()
        weights[np.abs(weights) < np.quantile(np.abs(weights), 0.3)] = 0
        layer.weights = [weights, *layer.weights[1:]]

    proof = changed(shared, bits, change, merge=bits == 8)
    assert "zero in the caffemodel only" in reason_of(proof, "mobilenet0_conv14")


@pytest.mark.parametrize("bits", [8, 16])
def test_file_made_with_a_sparse_rate(tmp_path: Path, bits: int) -> None:
    net = random_net(9, (8, 8, 16))
    sparse = net.copy()
    wide = sparse.find("wide")
    weights = wide.weights[0].copy()
    weights[np.abs(weights) < np.quantile(np.abs(weights), 0.5)] = 0
    wide.weights = [weights, *wide.weights[1:]]
    path = tmp_path / "net.wk"
    path.write_bytes(wk_encoder.encode(sparse, bits, [-90] * 8))
    proof = prove(decode(path), net)
    assert not proof.holds
    assert "zero in the file only: a sparse_rate" in reason_of(proof, "wide")
    assert prove(decode(path), sparse).weights_hold


def test_another_network(shared: Path) -> None:
    folder = shared / "models" / "ultraface"
    net = read_net(folder / "RFB-320.prototxt", folder / "RFB-320.caffemodel")
    proof = prove(compiled(shared, 16), net)
    assert not proof.holds
    assert "another network altogether" in proof.verdict


def test_another_size(shared: Path) -> None:
    net = network(shared)
    net.inputs = {"data": (1, 3, 320, 320)}
    for layer in net.layers:
        if layer.type == "Reshape":
            dims = layer.params.reshape_param.shape.dim
            dims[:] = [x if x in (0, -1, 2, 4) else x // (4 if x > 100 else 2) for x in dims]
    proof = prove(compiled(shared, 16), net)
    assert not proof.holds
    assert "another size: input data is 3x640x640 in the file, 3x320x320" in proof.verdict


def test_network_without_weights(shared: Path) -> None:
    models = shared / "models" / "retinaface_mnet025"
    with pytest.raises(InputError, match="no weights"):
        prove(compiled(shared, 16), read_net(models / "mnet_hand_rewritten.prototxt"))


def run(*arguments: str) -> tuple[int, str]:
    app = typer.Typer()
    app.command()(wk_command.command)
    result = CliRunner().invoke(app, [*arguments])
    return result.exit_code, result.output


def test_command_proves(shared: Path, tmp_path: Path) -> None:
    models = shared / "models" / "retinaface_mnet025"
    file = str(models / NAMES[16])
    right = (str(models / "mnet_hand_rewritten.prototxt"), str(models / "mnet.caffemodel"))
    status, output = run(file, "--against", *right)
    assert status == 0
    assert "holds this network: 420336 of 420336 weights, 16 bit" in output
    net = network(shared)
    net.find("mobilenet0_conv0").weights = [net.find("mobilenet0_conv0").weights[0][:, ::-1].copy()]
    wrong = (tmp_path / "wrong.prototxt", tmp_path / "wrong.caffemodel")
    write_net(net, *wrong)
    status, output = run(file, "--against", *map(str, wrong))
    assert status == 1
    assert "RGB against BGR" in output
    status, output = run(file, "--against", *map(str, wrong), "--json")
    assert status == 1
    found, _ = json.JSONDecoder().raw_decode(output)  # the verdict follows on standard error
    assert found["against"]["holds"] is False
    assert len(found["against"]["layers"]) == 58


def test_command_checks_the_width(shared: Path) -> None:
    models = shared / "models" / "retinaface_mnet025"
    right = (str(models / "mnet_hand_rewritten.prototxt"), str(models / "mnet.caffemodel"))
    status, output = run(str(models / NAMES[8]), "--against", *right, "--bits", "16")
    assert status == 1
    assert "8 bit, not 16" in output


def test_command_exports(shared: Path, tmp_path: Path) -> None:
    models = shared / "models" / "retinaface_mnet025"
    right = (str(models / "mnet_hand_rewritten.prototxt"), str(models / "mnet.caffemodel"))
    status, _ = run(str(models / NAMES[16]), "--against", *right, "--export", str(tmp_path / "a"))
    assert status == 0
    stored = np.load(tmp_path / "a" / "mobilenet0_conv0.npy")
    expected, _ = quantize(network(shared).find("mobilenet0_conv0").weights[0], 16)
    np.testing.assert_allclose(stored, expected, rtol=1e-6)
    status, _ = run(str(models / NAMES[16]), "--export", str(tmp_path / "b"))
    assert status == 0
    codes = np.load(tmp_path / "b" / "layer00.codes.npy")
    assert codes.dtype == np.int16
    assert codes.shape == (8, 96)


def test_a_prototxt_alone_is_compared_by_inputs_and_outputs(shared: Path, tmp_path: Path) -> None:
    models = shared / "models" / "retinaface_mnet025"
    by_hand = models / "mnet_hand_rewritten.prototxt"
    for name in NAMES.values():
        status, output = run(str(models / name), "--against", str(by_hand))
        assert status == 0
        assert "has the inputs and outputs of mnet_hand_rewritten.prototxt" in output
    file = str(models / NAMES[16])
    # The same outputs, as MXNet's export has them: stride by stride.
    status, output = run(file, "--against", str(models / "mnet.prototxt"))
    assert status == 1
    assert "output 2 is face_rpn_bbox_pred_stride16 in the file" in output
    assert "was not compiled from" not in output
    both = (str(models / "mnet.prototxt"), str(models / "mnet.caffemodel"))
    status, output = run(file, "--against", *both)
    assert status == 0
    assert "output 2 is face_rpn_bbox_pred_stride16 in the file" in output
    smaller = tmp_path / "smaller.prototxt"
    smaller.write_text(by_hand.read_text().replace("dim: 640", "dim: 512"))
    status, output = run(file, "--against", str(smaller))
    assert status == 1
    assert "another size: input data is 3x640x640 in the file, 3x512x512" in output
    renamed = tmp_path / "renamed.prototxt"
    renamed.write_text(by_hand.read_text().replace("landmark_pred_stride8", "marks_stride8"))
    status, output = run(file, "--against", str(renamed), "--json")
    assert status == 1
    found, _ = json.JSONDecoder().raw_decode(output)
    assert "face_rpn_landmark_pred_stride8" in found["against"]["reasons"][0]


def test_names_are_compared_as_the_mapper_cuts_them(shared: Path, tmp_path: Path) -> None:
    models = shared / "models" / "retinaface_mnet025"
    text = (models / "mnet_hand_rewritten.prototxt").read_text()
    longer = "face_rpn_cls_prob_reshape_stride16"
    assert longer in text
    (tmp_path / "a.prototxt").write_text(text.replace(longer, longer[:31] + "XYZ"))
    status, _ = run(str(models / NAMES[16]), "--against", str(tmp_path / "a.prototxt"))
    assert status == 0


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["net.caffemodel"], "--against NET.prototxt NET.caffemodel"),
        (["--bits", "8"], "together with --against"),
    ],
)
def test_half_an_against_is_explained(shared: Path, words: list[str], said: str) -> None:
    file = shared / "models" / "retinaface_mnet025" / NAMES[16]
    status, output = run(str(file), *words)
    assert status == 2
    assert said in output

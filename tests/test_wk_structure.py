"""Rows of compiled files against networks: two public files, and networks wired otherwise."""

from __future__ import annotations

import struct
from collections.abc import Callable, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from nnie_pipeline.caffe.caffe_pb2 import EltwiseParameter
from nnie_pipeline.caffe.files import read_net
from nnie_pipeline.caffe.net import Layer, Net
from nnie_pipeline.errors import InputError
from nnie_pipeline.rewrite import merge_batch_norm
from nnie_pipeline.wk.decode import decode
from nnie_pipeline.wk.memory import Memory
from nnie_pipeline.wk.model import WkModel
from nnie_pipeline.wk.programs import instructions
from nnie_pipeline.wk.proof import Proof, prove
from nnie_pipeline.wk.rows import softmax_axis
from nnie_pipeline.wk.table import ROW
from tests import wk_encoder
from tests.test_wk_decode import random_net, resealed
from tests.test_wk_proof import NAMES, compiled, network

Change = Callable[[Net], None]


def top_of(net: Net, name: str) -> str:
    return net.find(name).tops[0]


def insert(net: Net, layer: Layer, behind: str) -> None:
    """Put `layer` behind another, so that all its readers read the new one."""
    before = net.find(behind)
    for other in net.layers:
        other.bottoms = [layer.tops[0] if x == before.tops[0] else x for x in other.bottoms]
    layer.bottoms = [before.tops[0]]
    net.layers.insert(net.layers.index(before) + 1, layer)


def fused_relu_removed(net: Net) -> None:
    net.bypass(net.find("mobilenet0_relu5"))


def last_relu_removed(net: Net) -> None:
    net.bypass(net.find("rf_c1_aggr_relu"))


def relu_row_removed(net: Net) -> None:
    net.bypass(net.find("rf_c1_det_concat_relu"))


def relu_added(net: Net) -> None:
    insert(net, Layer("extra", "ReLU", [], ["extra"]), "rf_c3_det_conv1_bn_scale")


def concat_in_another_order(net: Net) -> None:
    layer = net.find("rf_c2_det_concat")
    layer.bottoms = [layer.bottoms[0], layer.bottoms[2], layer.bottoms[1]]


def softmax_over_height(net: Net) -> None:
    net.find("face_rpn_cls_prob_stride16").params.softmax_param.axis = 2


def depthwise_rewired(net: Net) -> None:
    net.find("mobilenet0_conv15").bottoms = [top_of(net, "mobilenet0_relu12")]


def head_rewired(net: Net) -> None:
    net.find("rf_c1_det_context_conv1").bottoms = [top_of(net, "plus1")]


def relu_passed_by(net: Net) -> None:
    net.find("face_rpn_bbox_pred_stride32").bottoms = [top_of(net, "rf_c3_det_concat")]


def eltwise_of_one(net: Net) -> None:
    layer = net.find("plus1")
    layer.bottoms = [layer.bottoms[0], layer.bottoms[0]]


def eltwise_rewired(net: Net) -> None:
    layer = net.find("plus0")
    layer.bottoms = [layer.bottoms[1], layer.bottoms[1]]


def from_chip_rewired(net: Net) -> None:
    # The file's row reads the one before it without the memory.
    layer = net.find("rf_c2_det_context_conv3_2")
    layer.bottoms = [top_of(net, "rf_c2_det_context_conv1_relu")]


def pooling_added(net: Net) -> None:
    layer = Layer("extra", "Pooling", [], ["extra"])
    layer.params.pooling_param.kernel_size = 3
    layer.params.pooling_param.pad = 1
    insert(net, layer, "mobilenet0_relu5")


def relu_behind_deconvolution(net: Net) -> None:
    insert(net, Layer("extra", "ReLU", [], ["extra"]), "rf_c2_upsampling_")


def all_sigmoid(net: Net) -> None:
    for layer in net.layers:
        if layer.type == "ReLU":
            layer.type = "Sigmoid"


def one_elu(net: Net) -> None:
    net.find("mobilenet0_relu5").type = "ELU"


def softmax_as_sigmoid(net: Net) -> None:
    for layer in net.layers:
        if layer.type == "Softmax":
            layer.type = "Sigmoid"


def strange_and_relu_row_removed(net: Net) -> None:
    insert(net, Layer("strange", "AbsVal", [], ["strange"]), "mobilenet0_relu0")
    relu_row_removed(net)


def strange_and_another_concat(net: Net) -> None:
    insert(net, Layer("strange", "AbsVal", [], ["strange"]), "mobilenet0_relu0")
    concat_in_another_order(net)


def relu_behind_eltwise_and_two_concats(net: Net) -> None:
    insert(net, Layer("extra", "ReLU", [], ["extra"]), "plus1")
    for name in ("one", "two"):
        insert(net, Layer(name, "Concat", [], [name]), "mobilenet0_relu5")


CHANGES: list[tuple[Change, str]] = [
    (fused_relu_removed, "mobilenet0_conv5 ends with an activation in the file and has none"),
    (last_relu_removed, "rf_c1_aggr ends with an activation in the file and has none"),
    (relu_row_removed, "is ReLU or PReLU of 64x80x80 behind rf_c1_det_conv1"),
    (relu_added, "rf_c3_det_conv1 ends with ReLU in the network and has none in the file"),
    (
        concat_in_another_order,
        "rf_c2_det_concat joins rf_c2_det_conv1, rf_c2_det_context_conv2, "
        "rf_c2_det_context_conv3_2 in the file, rf_c2_det_conv1, rf_c2_det_context_conv3_2, "
        "rf_c2_det_context_conv2 in the network",
    ),
    (softmax_over_height, "face_rpn_cls_prob_stride16 runs over axis 2, 80 values"),
    (
        depthwise_rewired,
        "mobilenet0_conv15 reads mobilenet0_conv14 in the file, mobilenet0_conv12 in the network",
    ),
    (head_rewired, "rf_c1_det_context_conv1 reads rf_c1_aggr in the file, plus1 in the network"),
    (relu_passed_by, "reads rf_c3_det_concat_relu in the file, rf_c3_det_concat in the network"),
    (
        eltwise_of_one,
        "plus1 reads rf_c1_red_conv and rf_c2_upsampling_ in the file, rf_c1_red_conv in",
    ),
    (eltwise_rewired, "plus0 reads rf_c2_lateral and rf_c3_upsampling_ in the file"),
    (
        from_chip_rewired,
        "rf_c2_det_context_conv3_2 reads rf_c2_det_context_conv3_1 in the file, "
        "rf_c2_det_context_conv1 in the network",
    ),
    (
        relu_behind_deconvolution,
        "rf_c2_upsampling_ ends without ReLU in the file, and no row stands for ReLU extra",
    ),
    (all_sigmoid, "mobilenet0_conv0 ends with an activation in the file and has Sigmoid mobilenet"),
    (one_elu, "mobilenet0_conv5 ends with an activation in the file and has ELU mobilenet0_relu5"),
    (softmax_as_sigmoid, "is Softmax of 2x1x800 behind face_rpn_cls_score_reshape_stride32"),
    (strange_and_relu_row_removed, "is ReLU or PReLU of 64x80x80 behind rf_c1_det_conv1"),
    (strange_and_another_concat, "rf_c2_det_concat joins rf_c2_det_conv1"),
    (relu_behind_eltwise_and_two_concats, "counts 1468 operations, the network makes 1470 to 1471"),
    (pooling_added, "comes before Pooling extra of 32x160x160, which it needs in the network"),
]


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize(("change", "reason"), CHANGES, ids=lambda x: getattr(x, "__name__", ""))
def test_another_structure_is_named(shared: Path, bits: int, change: Change, reason: str) -> None:
    net = network(shared)
    change(net)
    proof = prove(compiled(shared, bits), net)
    assert not proof.holds
    assert reason in proof.verdict
    assert "\n" not in proof.verdict


@pytest.mark.parametrize("bits", [8, 16])
def test_what_stays_open_is_said(shared: Path, bits: int) -> None:
    def changed(change: Change) -> Proof:
        net = network(shared)
        change(net)
        return prove(compiled(shared, bits), net)

    def product(net: Net) -> None:
        net.find("plus1").params.eltwise_param.operation = EltwiseParameter.PROD

    def leaky(net: Net) -> None:
        net.find("mobilenet0_relu5").params.relu_param.negative_slope = 0.1

    def flat(net: Net) -> None:
        layer = net.find("rf_c3_det_context_conv2")
        layer.weights = [layer.weights[0].reshape(16, 16, 1, 9), *layer.weights[1:]]
        convolution = layer.params.convolution_param
        for field in ("kernel_size", "pad", "kernel_h", "kernel_w", "pad_h", "pad_w"):
            convolution.ClearField(field)
        convolution.kernel_h, convolution.kernel_w, convolution.pad_w = 1, 9, 4

    for change in (product, leaky, flat, lambda net: None):
        proof = changed(change)
        assert proof.holds
        assert proof.unproven == (
            "slope of activations",
            "shape of kernels of as many weights",
            "padding and dilation beyond the size they give",
            "operation and factors of Eltwise",
        )
        assert proof.to_dict()["unproven"] == list(proof.unproven)


def relu_behind_eltwise(net: Net) -> None:
    insert(net, Layer("extra", "ReLU", [], ["extra"]), "plus1")


def relu_behind_reshape(net: Net) -> None:
    layer = Layer("extra", "ReLU", [], ["extra"])
    insert(net, layer, "face_rpn_cls_score_reshape_stride8")


def scale_behind_concat(net: Net) -> None:
    weights = [np.linspace(1, 2, 64, dtype=np.float32)]
    insert(net, Layer("extra", "Scale", [], ["extra"], weights=weights), "rf_c2_det_concat")


def sigmoid_behind_head(net: Net) -> None:
    head = net.find("face_rpn_bbox_pred_stride8")
    name = head.tops[0]
    head.tops = ["raw"]
    net.layers.append(Layer("extra", "Sigmoid", ["raw"], [name]))


def all_prelu(net: Net) -> None:
    for layer in [x for x in net.layers if x.type == "ReLU"]:
        layer.type = "PReLU"
        layer.params.prelu_param.channel_shared = True
        layer.weights = [np.full(1, 0.5, np.float32)]


def eltwise_of_three(net: Net) -> None:
    layer = net.find("plus1")
    layer.bottoms = [*layer.bottoms, layer.bottoms[0]]


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize(
    ("change", "what"),
    [
        (relu_behind_eltwise, "ReLU extra of 64x80x80 (no row stands for it)"),
        (relu_behind_reshape, "ReLU extra of 2x160x80 (no row stands for it)"),
        (scale_behind_concat, "Scale extra of 64x40x40 (no row stands for it)"),
        (sigmoid_behind_head, "Sigmoid extra of 8x80x80 (no row stands for it)"),
        (all_prelu, "slopes of PReLU mobilenet0_relu0 of 8x320x320"),
        (eltwise_of_three, "what plus1 reads"),
    ],
)
def test_what_no_row_stands_for_is_not_held(
    shared: Path, bits: int, change: Change, what: str
) -> None:
    net = network(shared)
    change(net)
    proof = prove(compiled(shared, bits), net)
    assert not proof.holds
    assert proof.weights_hold
    assert proof.verdict.startswith(
        f"holds the weights of this network, its structure is not proven: {what}"
    )
    found = proof.to_dict()
    assert found["proven"] is False
    assert found["open"] == list(proof.open)


@pytest.mark.parametrize("bits", [8, 16])
def test_a_crop_that_cuts_nothing_is_said(shared: Path, bits: int) -> None:
    models = shared / "models" / "retinaface_mnet025"
    proof = prove(
        compiled(shared, bits), read_net(models / "mnet.prototxt", models / "mnet.caffemodel")
    )
    assert proof.holds
    assert "Crop crop0 of 64x40x40, which cuts nothing (no row stands for it)" in proof.unproven


@pytest.mark.parametrize("bits", [8, 16])
def test_relu_of_single_channels_is_held(shared: Path, tmp_path: Path, bits: int) -> None:
    # Rows 2 to 9 are the channels of mobilenet0_conv1.
    def without(word: int) -> int:
        return word & ~(7 << 34) | 1 << 34

    proof = prove(decode(edited(shared, tmp_path, bits, 5, 0x585, without)), network(shared))
    assert "mobilenet0_conv1 ends with ReLU in 7 of its 8 channels in the file" in proof.verdict


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("seed", [1, 2])
def test_any_order_of_running_holds(shared: Path, bits: int, seed: int) -> None:
    net = network(shared)
    random = np.random.default_rng(seed)
    made, rest, order = set(net.inputs), list(net.layers), []
    while rest:
        ready = [x for x in rest if made.issuperset(x.bottoms)]
        layer = ready[random.integers(len(ready))]
        rest.remove(layer)
        order.append(layer)
        made.update(layer.tops)
    assert [x.name for x in order] != [x.name for x in net.layers]
    net.layers = order
    proof = prove(compiled(shared, bits), net)
    assert proof.holds, proof.verdict


@pytest.mark.parametrize("bits", [8, 16])
def test_instructions_tell_relu_and_z_of_every_convolution(shared: Path, bits: int) -> None:
    net, model = network(shared), compiled(shared, bits)
    active = set()
    for layer in net.layers:
        if layer.type == "ReLU":
            value, makers = layer.bottoms[0], net.producers()
            while makers[value].type in ("BatchNorm", "Scale"):
                value = makers[value].bottoms[0]
            active.add(makers[value].name)
    step = {8: 8, 16: 1}[bits]
    for found in prove(model, net).layers:
        for number in range(*model.layers[found.number].records):
            program, row = model.programs[number], model.records[number]
            assert program is not None
            assert program.relu == (found.name in active)
            assert program.output == row.offset
            assert program.z_out == (0 if row.z is None else row.z * step)
            if program.inputs:
                assert found.z_in is not None
                assert program.z_in == (found.z_in * step,)


@pytest.mark.parametrize("bits", [8, 16])
def test_a_chain_reads_what_is_before_it(shared: Path, bits: int) -> None:
    model = compiled(shared, bits)
    memory = Memory(model.records)
    # conv0, its depthwise conv1 of 8 channels, conv2: rows 1, 2 to 9, 10.
    first = model.records[1]
    for channel in range(8):
        program = model.programs[2 + channel]
        assert program is not None
        assert program.inputs == (first.offset + channel * first.size // 8,)
        assert memory.writer(2 + channel, program.inputs[0]) == 1
    joined = model.programs[10]
    assert joined is not None
    assert joined.inputs == (model.records[2].offset,)


@pytest.mark.parametrize("bits", [8, 16])
def test_blocks_are_those_that_the_instructions_name(
    shared: Path, tmp_path: Path, bits: int
) -> None:
    model = compiled(shared, bits)
    assert all(
        getattr(model.programs[row], "index", None) is not None
        for layer in model.layers
        for row in range(*layer.records)
    )
    data = bytearray((shared / "models" / "retinaface_mnet025" / NAMES[bits]).read_bytes())
    code = next(x for x in model.undecoded if x.what.startswith("instructions"))
    row = model.layers[2].records[0]
    at = code.offset + 8 * model.records[row].instruction
    while int.from_bytes(data[at : at + 2], "little") & 0xFFF != 0x689:
        at += 8
    data[at + 2] ^= 3  # two bits, so that the parity stays
    path = tmp_path / "net.wk"
    path.write_bytes(resealed(data))
    model = decode(path)
    assert len(model.layers) == 2
    assert any(f"parameters from row {row} of" in x.what for x in model.undecoded)


def scaled(net: Net, names: Sequence[str], factor: float) -> None:
    for layer in map(net.find, names):
        wide = layer.weights[0].astype(np.float64) * factor
        layer.weights = [wide.astype(np.float32), *layer.weights[1:]]


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("sixteenths", [-1, 1, 2])
def test_all_weights_times_a_step_are_refused(shared: Path, bits: int, sixteenths: int) -> None:
    net = network(shared)
    names = [x.name for x in net.layers if x.type == "Convolution"]
    scaled(net, names, 2 ** (sixteenths / 16))
    proof = prove(compiled(shared, bits), net)
    assert not proof.holds
    said = f"those of the caffemodel times {2 ** (-sixteenths / 16):.6g} ("
    assert said in proof.verdict
    assert f"(in {len(names)} of 58 layers" in proof.verdict


# The first reads the picture, the second is depthwise, the third reads the row before it without
# the memory, the fourth has a z one step beside that of the rows before it at 8 bits.
@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("step", [-1, 1])
@pytest.mark.parametrize(
    "name",
    ["mobilenet0_conv0", "mobilenet0_conv5", "rf_c2_det_context_conv3_2", "mobilenet0_conv11"],
)
def test_weights_of_a_layer_times_a_step_are_refused(
    shared: Path, bits: int, step: int, name: str
) -> None:
    net = network(shared)
    scaled(net, [name], 2 ** (step / {8: 16, 16: 128}[bits]))
    proof = prove(compiled(shared, bits), net)
    assert not proof.holds
    assert f"(in 1 of 58 layers, first {name})" in proof.verdict


def edited(
    shared: Path, folder: Path, bits: int, row: int, kind: int, change: Callable[[int], int]
) -> Path:
    """The file with the instructions of a kind of one row changed, their parity and checksum."""
    model = compiled(shared, bits)
    data = bytearray((shared / "models" / "retinaface_mnet025" / NAMES[bits]).read_bytes())
    code = next(x for x in model.undecoded if x.what.startswith("instructions"))
    places = [x.instruction for x in model.records] + [code.size // 8]
    done = 0
    for at in range(code.offset + 8 * places[row], code.offset + 8 * places[row + 1], 8):
        word = int.from_bytes(data[at : at + 8], "little")
        if word & 0xFFF == kind:
            word = change(word) & ((1 << 63) - 1)
            word |= (bin(word).count("1") & 1) << 63
            data[at : at + 8] = word.to_bytes(8, "little")
            done += 1
    assert done
    path = folder / "net.wk"
    path.write_bytes(resealed(data))
    return path


def z_moved(by: int) -> Callable[[int], int]:
    """z in bits 50 to 62 of an instruction."""
    return lambda x: x & ~(0x1FFF << 50) | ((x >> 50) + by & 0x1FFF) << 50


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize(
    ("row", "said"), [(5, "read their input with different z"), (10, "its instructions")]
)
def test_another_z_in_the_instructions_is_refused(
    shared: Path, tmp_path: Path, bits: int, row: int, said: str
) -> None:
    step = {8: 8, 16: 1}[bits]
    path = edited(shared, tmp_path, bits, row, 0x784, z_moved(step))
    proof = prove(decode(path), network(shared))
    assert not proof.holds
    assert said in proof.verdict
    # The picture's z is nobody's calibration: not even one step is allowed.
    path = edited(shared, tmp_path, bits, 1, 0x784, z_moved(step))
    with pytest.raises(InputError, match="row 1 reads it with z"):
        decode(path)


def damaged(shared: Path, tmp_path: Path, bits: int, row: int, field: int, value: int) -> str:
    """What is said of a file with one number of its layer table changed."""
    data = bytearray((shared / "models" / "retinaface_mnet025" / NAMES[bits]).read_bytes())
    base, *_ = struct.unpack_from("<I", data, 0x34)
    at = base + struct.unpack_from("<I", data, 176)[0] + row * ROW.size
    fields = list(ROW.unpack_from(data, at))
    fields[field] += value
    ROW.pack_into(data, at, *fields)
    path = tmp_path / "net.wk"
    path.write_bytes(data)
    with pytest.raises(InputError) as caught:
        decode(path)
    assert f"row {row} of its layer table" in str(caught.value)
    return str(caught.value)


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize(
    ("field", "value", "said"),
    [
        (1, 4, "bytes, not 1, 2 or 4"),
        (2, 16, "bytes a row, its width of 336"),  # width
        (3, 1, "its height, channels and bytes a row make"),
        (4, 1, "its height, channels and bytes a row make"),
        (5, 16, "place"),
        (6, 2, "of which only 0x1000101 are known"),
        (6, 1, "the instructions of the row behind it say otherwise"),
        (7, 16, "bytes a row"),
        (8, 1, "has a byte that is 0 in other rows"),
        (9, 3000, "out of order"),
        (10, 1, "none begin"),
        (11, 8, "z "),
        (12, 256, "has size"),
        (13, 1, "has a byte that is 0 in other rows"),
        (14, 1 << 24, "has a byte that is 0 in other rows"),
    ],
)
def test_damage_in_the_layer_table_is_named(
    shared: Path, tmp_path: Path, bits: int, field: int, value: int, said: str
) -> None:
    # An id out of order shows in the row behind it.
    row = 1
    if field == 9:
        with pytest.raises(AssertionError):
            damaged(shared, tmp_path, bits, row, field, value)
        row, value = 2, -2
    assert said in damaged(shared, tmp_path, bits, row, field, value)


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("place", [16, 256, 65536])
def test_the_place_of_the_input_row_is_held_against_its_reader(
    shared: Path, tmp_path: Path, bits: int, place: int
) -> None:
    with pytest.raises(
        AssertionError, match=r"row 1 of its layer table \(Convolution\) reads at 0"
    ):
        damaged(shared, tmp_path, bits, 0, 5, place)


@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize("kind", [40, 172, 45, 16])
def test_another_type_of_the_input_row_is_refused(shared: Path, bits: int, kind: int) -> None:
    model = compiled(shared, bits)
    rows = (replace(model.records[0], type=kind), *model.records[1:])
    assert not prove(replace(model, records=rows), network(shared)).weights_hold


def test_a_z_between_two_steps_is_damage(shared: Path, tmp_path: Path) -> None:
    assert "z -719, no whole step at 8 bit" in damaged(shared, tmp_path, 8, 1, 11, 1)


@pytest.mark.parametrize("bits", [8, 16])
def test_a_z_of_fixed_point_is_damage(shared: Path, tmp_path: Path, bits: int) -> None:
    assert "though it is Q20.12" in damaged(shared, tmp_path, bits, 1258, 11, -800)


@pytest.mark.parametrize("bits", [8, 16])
def test_z_of_the_input_row_is_held_against_its_reader(
    shared: Path, tmp_path: Path, bits: int
) -> None:
    # No instruction writes the picture's row, but the first convolution tells what it reads.
    step = {8: 8, 16: 1}[bits]
    for z in (-step, step, 16):
        assert "row 1 reads it with z" in damaged(shared, tmp_path, bits, 0, 11, z)


def test_rows_are_held_against_networks_without_instructions(tmp_path: Path) -> None:
    net = random_net(5, (8, 8, 8))
    path = tmp_path / "net.wk"
    path.write_bytes(wk_encoder.encode(net, 8, [-90, -92, -76, -97, -80, -81, -70, -60]))
    model = decode(path)
    assert model.programs == ()
    assert "nothing else vouches for its z" in model.table_note
    proof = prove(model, net)
    assert not proof.holds
    assert proof.weights_hold
    assert proof.verdict.startswith("holds the weights of this network, its structure is not ")
    assert "which of several blobs of one size and z a layer reads" in proof.open
    # One reads the picture, whose z is fixed; where all weights are zero no factor is in them.
    assert any(x.startswith("a factor of 1.04 on the weights of ") for x in proof.unproven)
    pooled = net.copy()
    layer = Layer("extra", "Pooling", [], ["extra"])
    layer.params.pooling_param.kernel_size = 3
    layer.params.pooling_param.pad = 1
    insert(pooled, layer, "dw1")
    proof = prove(model, pooled)
    assert "comes before Pooling extra" in proof.verdict


def test_layers_that_no_public_file_shows_are_not_guessed(tmp_path: Path) -> None:
    net = random_net(5, (8, 8, 8))
    path = tmp_path / "net.wk"
    path.write_bytes(wk_encoder.encode(net, 8, [-90] * 8))
    active = net.copy()
    insert(active, Layer("extra", "Sigmoid", [], ["extra"]), "wide")
    proof = prove(decode(path), active)
    assert not proof.holds
    assert proof.weights_hold
    assert any(x.startswith("Sigmoid extra of ") for x in proof.open)


def test_rows_of_unknown_types_are_not_guessed(shared: Path) -> None:
    model = compiled(shared, 16)
    number = next(i for i, x in enumerate(model.records) if x.type == 7)
    net = network(shared)
    for kind in (24, 31):
        rows = list(model.records)
        rows[number] = replace(rows[number], type=kind)
        proof = prove(replace(model, records=tuple(rows)), net)
        assert not proof.holds
        assert proof.weights_hold
        assert proof.open[0].startswith(f"which layer row {number} of the layer table")
        assert "what face_rpn_cls_score_stride32 reads" in proof.open
        # What does not rest on the row is held against the network all the same.
        other = net.copy()
        concat_in_another_order(other)
        proof = prove(replace(model, records=tuple(rows)), other)
        assert "rf_c2_det_concat joins" in proof.verdict


def test_a_layer_that_nobody_reads_has_no_row(shared: Path) -> None:
    net = network(shared)
    layer = Layer("extra", "Pooling", [top_of(net, "mobilenet0_relu5")], ["extra"])
    layer.params.pooling_param.kernel_size = 2
    net.layers.append(layer)
    proof = prove(compiled(shared, 16), net)
    assert "Pooling extra of 32x159x159 of the network has no row" in proof.verdict


def test_another_number_of_joined_layers_is_noticed(shared: Path) -> None:
    model = compiled(shared, 16)
    net = network(shared)
    layer = Layer("extra", "Concat", [], ["extra"])
    insert(net, layer, "mobilenet0_relu5")
    proof = prove(model, net)
    assert "the file counts 1468 operations, the network makes 1469" in proof.verdict


def test_a_wrong_parity_bit_makes_instructions_unknown() -> None:
    word = (0x0400_0000_080B | 1 << 63).to_bytes(8, "little")
    assert bin(int.from_bytes(word, "little")).count("1") % 2 == 0
    assert instructions(word, slice(0, 8)) is not None
    assert instructions(word[:-1] + b"\0", slice(0, 8)) is None
    assert instructions(word, slice(0, 0)) is None


def test_axis_of_softmax(shared: Path) -> None:
    row = next(x for x in compiled(shared, 8).records if x.type == 16)
    assert (row.channels, row.height, row.width) == (2, 1, 800)
    assert softmax_axis(row, (1, 2, 40, 20), 1) is True
    assert softmax_axis(row, (1, 2, 40, 20), 3) is False
    assert softmax_axis(row, (1, 2, 1, 800), 1) is None


def test_the_merged_network_has_the_same_rows(shared: Path) -> None:
    net = network(shared)
    merge_batch_norm.apply(net)
    model: WkModel = compiled(shared, 8)
    assert prove(model, net).holds
    fused_relu_removed(net)
    assert "mobilenet0_conv5 ends with" in prove(model, net).verdict


@pytest.mark.parametrize("bits", [8, 16])
def test_a_scale_taken_into_the_first_layer_is_named(shared: Path, bits: int) -> None:
    net = network(shared)
    if bits == 8:
        merge_batch_norm.apply(net)
    layer = net.find("mobilenet0_conv0")
    layer.weights = [layer.weights[0] / np.float32(256), *layer.weights[1:]]
    proof = prove(compiled(shared, bits), net)
    assert "those of the caffemodel times 256 (" in proof.verdict
    assert "so it is when a data_scale is in the first layer" in proof.verdict
    assert "(in 1 of 58 layers, first mobilenet0_conv0)" in proof.verdict

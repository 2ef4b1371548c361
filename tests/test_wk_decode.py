"""Decoding: public files block by block, networks encoded here place by place, and damage."""

from __future__ import annotations

import contextlib
import json
import re
import resource
import struct
import subprocess
import sys
import time
from collections.abc import Sequence
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nnie_pipeline.caffe.files import read_net
from nnie_pipeline.caffe.net import Layer, Net
from nnie_pipeline.errors import InputError, NnieError
from nnie_pipeline.rewrite import merge_batch_norm
from nnie_pipeline.wk.block_writer import (
    compress,
    encode_block,
    encode_layer,
    layer_lengths,
    place_blocks,
    store,
)
from nnie_pipeline.wk.blocks import RUN_MODE, TABLE, Blocks, read_blocks
from nnie_pipeline.wk.decode import decode
from nnie_pipeline.wk.proof import prove
from nnie_pipeline.wk.size import expected_size
from tests import wk_encoder
from tests.test_wk_header import func

FILES = {8: "mnet_mergebn_640L_inst.wk", 16: "mnet_640_inst.wk"}
PARAMETER_BYTES = {8: 717_056, 16: 1_596_160}


def compiled(shared: Path, bits: int) -> Path:
    return shared / "models" / "retinaface_mnet025" / FILES[bits]


@cache
def blocks_of(path: Path) -> tuple[bytes, Blocks]:
    data = path.read_bytes()
    base, *_ = struct.unpack_from("<I", data, 0x34)
    offset, length = struct.unpack_from("<II", data, 0x50)
    index_at, index_length = struct.unpack_from("<II", data, 0x60)
    area = data[base + offset : base + offset + length]
    index = data[base + index_at : base + index_at + index_length]
    pairs = np.frombuffer(index, "<u4").reshape(-1, 2).astype(np.int64)
    return area, read_blocks(np.frombuffer(area, np.uint8), pairs)


@pytest.mark.parametrize("bits", [8, 16])
def test_real_blocks_encode_to_the_same_bytes(shared: Path, bits: int) -> None:
    area, blocks = blocks_of(compiled(shared, bits))
    longer = 0
    for number in range(len(blocks)):
        at, flags = int(blocks.offset[number]), int(blocks.flags[number])
        expected = area[at : at + int(blocks.stored[number])]
        body, table = blocks.body(number), blocks.table[number]
        if flags == 0:
            assert store(body) == expected
            continue
        assert compress(body, table, bool(flags & TABLE), bool(flags & RUN_MODE)) == expected
        longer += len(expected) > len(body) + 5
    assert len(blocks) == {8: 1918, 16: 3568}[bits]
    assert longer == {8: 1, 16: 7}[bits]  # compressed although that is longer


@pytest.mark.parametrize("bits", [8, 16])
def test_real_blocks_lie_where_they_have_to(shared: Path, bits: int) -> None:
    _, blocks = blocks_of(compiled(shared, bits))
    *places, end = place_blocks(blocks.stored.tolist())
    assert places == blocks.offset.tolist()
    assert end == PARAMETER_BYTES[bits]


@pytest.mark.parametrize("bits", [8, 16])
def test_size_is_known_before_compiling(shared: Path, bits: int) -> None:
    models = shared / "models" / "retinaface_mnet025"
    net = read_net(models / "mnet_hand_rewritten.prototxt", models / "mnet.caffemodel")
    if bits == 8:
        merge_batch_norm.apply(net)
    size = expected_size(net, bits)
    assert abs(size.parameters / PARAMETER_BYTES[bits] - 1) < 0.02
    assert size.not_counted == ()


def test_cfg_says_the_size(shared: Path) -> None:
    from nnie_pipeline.cli.cfg import _expected

    models = shared / "models" / "retinaface_mnet025"
    line = _expected(models / "mnet_hand_rewritten.prototxt", models / "mnet.caffemodel")
    sizes = [int(x.replace(",", "")) for x in re.findall(r"([\d,]+) bytes", line)]
    assert abs(sizes[1] / PARAMETER_BYTES[16] - 1) < 0.02
    assert "not known" in _expected(models / "mnet.prototxt", models / "mnet_640_inst.wk")


def test_what_cannot_be_counted_is_said() -> None:
    net = random_net(3, (8, 8, 8))
    whole = expected_size(net, 16).parameters
    far = net.find("far")
    far.params.convolution_param.group = 2
    far.weights = [far.weights[0][:, :4].copy()]
    size = expected_size(net, 16)
    assert size.parameters < whole
    assert size.not_counted == ("far: the layout of Convolution in 2 groups is not known",)


def test_lengths_are_those_of_the_blocks() -> None:
    random = np.random.default_rng(5)
    for most in (1, 3, 60, 256):
        bodies = [random.integers(0, most, 640).astype(np.uint8) for _ in range(3)]
        assert layer_lengths(bodies) == [len(x) for x in encode_layer(bodies)]


@given(st.lists(st.lists(st.tuples(st.sampled_from([0, 7, 128]), st.integers(1, 30)), min_size=1)
                , min_size=1, max_size=4))  # fmt: skip
@settings(max_examples=60, deadline=None)
def test_lengths_of_blocks_with_runs(runs: list[list[tuple[int, int]]]) -> None:
    """Each run twice as long, so that sizes are even; they end and begin with the same byte."""
    bodies = [np.repeat(*np.array(x).T * [[1], [2]]).astype(np.uint8) for x in runs]
    assert layer_lengths(bodies) == [len(x) for x in encode_layer(bodies)]


@pytest.mark.parametrize(("bits", "rows"), [(8, 1435), (16, 1435)])
def test_what_a_public_file_holds(shared: Path, bits: int, rows: int) -> None:
    model = decode(compiled(shared, bits))
    assert model.bits == bits
    assert len(model.records) == rows
    assert len(model.layers) == 58
    totals = model.totals()
    assert totals["outputs"] == 3568
    assert model.batch_norm.startswith("merged" if bits == 8 else "not merged")
    data = model.records[0]
    assert (data.type_name, data.height, data.width, data.channels) == ("input", 640, 640, 3)
    assert data.z == {8: 0, 16: -384}[bits]
    first, second = model.layers[:2]
    assert (first.type, first.depthwise, first.outputs, first.height) == (
        "Convolution",
        False,
        8,
        320,
    )
    assert (second.depthwise, second.outputs) == (True, 8)
    if bits == 8:
        assert [x.z_out for x in model.layers[:4]] == [-90, -92, -76, -97]
    parts = [x.what for x in model.undecoded]
    assert any("unknown function" in x for x in parts)
    assert not any("parameters" in x for x in parts)
    sizes = sum(x.size for x in model.undecoded)
    assert sizes < model.size - PARAMETER_BYTES[bits]


def conv(
    name: str,
    kind: str,
    shape: tuple[int, ...],
    random: np.random.Generator,
    *,
    stride: int = 1,
    pad: int = 0,
    dilation: int = 1,
    depthwise: bool = False,
    bias: bool = False,
) -> Layer:
    layer = Layer(name, kind, [], [name])
    param = layer.params.convolution_param
    param.num_output = shape[1] if kind == "Deconvolution" and not depthwise else shape[0]
    param.kernel_h, param.kernel_w = shape[2:]
    param.stride.append(stride)
    param.pad.append(pad)
    param.dilation.append(dilation)
    param.bias_term = bias
    param.group = shape[0] if depthwise else 1
    layer.weights = [random.standard_normal(shape).astype(np.float32)]
    layer.weights[0].reshape(-1)[:: random.integers(2, 9)] *= 1e-7  # these become zero
    if bias:
        layer.weights.append(random.standard_normal(param.num_output).astype(np.float32))
    return layer


def random_net(seed: int, channels: Sequence[int]) -> Net:
    """Stride 2 from a picture, depthwise with both strides, dilation, deconvolution, 1x1."""
    random = np.random.default_rng(seed)
    a, b, c = channels
    layers = [
        conv("first", "Convolution", (a, 3, 3, 3), random, stride=2, pad=1, bias=True),
        conv("dw1", "Convolution", (a, 1, 3, 3), random, pad=1, depthwise=True),
        conv("wide", "Convolution", (b, a, 1, 1), random, bias=True),
        conv("dw2", "Convolution", (b, 1, 3, 3), random, stride=2, pad=1, depthwise=True),
        conv("far", "Convolution", (c, b, 3, 3), random, pad=2, dilation=2),
        conv("tall", "Convolution", (c, c, 5, 1), random, pad=2),
        conv("up", "Deconvolution", (c, a, 2, 2), random, stride=2, bias=True),
        conv("up_dw", "Deconvolution", (a, 1, 2, 2), random, stride=2, depthwise=True),
    ]
    value = "data"
    for layer in layers:
        layer.bottoms = [value]
        value = layer.tops[0]
    return Net("random", {"data": (1, 3, 16, 16)}, layers, [value])


@pytest.mark.parametrize("run_mode", [False, True])
@pytest.mark.parametrize("bits", [8, 16])
@pytest.mark.parametrize(("seed", "channels"), [(1, (8, 5, 17)), (2, (3, 32, 9)), (3, (16, 18, 4))])
def test_encoded_networks_come_back_exactly(
    tmp_path: Path, bits: int, seed: int, channels: tuple[int, ...], run_mode: bool
) -> None:
    net = random_net(seed, channels)
    z_of = {8: [-90, -92, -76, -97, -80, -81, -70, -60], 16: [-1100 - 9 * i for i in range(8)]}
    path = tmp_path / "net.wk"
    path.write_bytes(wk_encoder.encode(net, bits, z_of[bits], run_mode))
    model = decode(path)
    assert model.bits == bits
    assert [x.z_out for x in model.layers] == z_of[bits]
    assert [x.depthwise for x in model.layers] == [
        x.name in ("dw1", "dw2", "up_dw") for x in net.layers
    ]
    proof = prove(model, net)
    assert proof.reasons == ()
    count = sum(x.weights[0].size for x in net.layers)
    assert f"{count} of {count} weights, {bits} bit" in proof.verdict
    assert [x.name for x in proof.layers] == [x.name for x in net.layers]
    assert [x.z_in for x in proof.layers] == [wk_encoder.Z_DATA[bits], *z_of[bits][:-1]]
    for layer, found in zip(net.layers, proof.fitted, strict=True):
        _, outputs = wk_encoder.codes_of(layer, bits)
        expected = np.array([codes for _, codes in outputs], np.int16)
        if layer.type == "Deconvolution":
            expected = expected[:, :, ::-1, ::-1]
            if layer.name == "up":
                expected = expected.swapaxes(0, 1)
        np.testing.assert_array_equal(found.codes(), expected)
        steps = wk_encoder.FORMAT[bits][0]
        assert np.abs(found.dequantised()).max() <= np.abs(layer.weights[0]).max() * 2 ** (
            0.5 / steps
        )


def test_a_layout_that_is_not_known_is_said(tmp_path: Path) -> None:
    net = random_net(4, (8, 8, 8))
    far = net.find("far")
    far.params.convolution_param.dilation[:] = [1]
    far.params.convolution_param.group = 2
    far.weights = [far.weights[0][:, :4].copy()]
    path = tmp_path / "net.wk"
    path.write_bytes(wk_encoder.encode(random_net(4, (8, 8, 8)), 8, [-90] * 8))
    proof = prove(decode(path), net)
    assert not proof.holds
    assert any(
        "far: the layout of Convolution in 2 groups is not known" in x for x in proof.reasons
    )


def test_fully_connected_layers_are_not_guessed(tmp_path: Path) -> None:
    random = np.random.default_rng(1)
    body = random.integers(0, 256, 512).astype(np.uint8)
    slots = [store(body), store(body)]
    rows = [wk_encoder.record(44, 1, 4, 4, 3, 0, 0), wk_encoder.record(5, 1, 1, 1, 10, 1, -80)]
    segment: tuple[list[object], list[object]] = ([("data", 4, 4, 3, 1)], [("fc", 1, 1, 10, 0)])
    path = tmp_path / "net.wk"
    path.write_bytes(wk_encoder.assemble(segment, slots, rows))
    model = decode(path)
    assert model.layers == ()
    (part,) = [x for x in model.undecoded if "InnerProduct" in x.what]
    assert path.read_bytes()[part.offset : part.offset + len(slots[0])] == slots[0]
    assert part.size == 768 + len(slots[1])  # longer than 256 bytes: it begins on a multiple
    with pytest.raises(InputError, match="no parameters that can be decoded"):
        prove(model, random_net(1, (8, 8, 8)))


def test_a_functional_file_has_no_blocks(tmp_path: Path) -> None:
    path = tmp_path / "net.wk"
    path.write_bytes(func())
    model = decode(path)
    assert (model.bits, model.layers, model.records) == (None, (), ())
    assert model.batch_norm.startswith("unknown")
    (part,) = model.undecoded
    assert (part.offset, part.size) == (48, len(func()) - 48)


@cache
def _small_file() -> bytes:
    return wk_encoder.encode(random_net(7, (8, 8, 8)), 8, [-90] * 8)


def small_file() -> bytearray:
    return bytearray(_small_file())


def base_of(data: bytes) -> int:
    return int(struct.unpack_from("<I", data, 0x34)[0])


def resealed(data: bytearray) -> bytes:
    """With the checksum of the header right again, so that what lies behind it is reached."""
    from zlib import crc32

    begin, length = struct.unpack_from("<II", data, 52)
    struct.pack_into("<I", data, 0, crc32(bytes(data[4 : begin + length]), 0xFFFFFFFF))
    return bytes(data)


def refused(folder: Path, data: bytearray) -> str:
    path = folder / "net.wk"
    path.write_bytes(resealed(data))
    with pytest.raises(InputError) as caught:
        decode(path)
    message = str(caught.value)
    assert "net.wk" in message
    assert "\n" not in message
    return message


def test_damaged_blocks_are_named(tmp_path: Path) -> None:
    base = base_of(small_file())
    for place, value, what in [
        (base, 0x21, "an unknown kind"),
        (base + 2, 0xFF, "which cannot be"),
        (base + 1, 0x03, "block 0"),
    ]:
        data = small_file()
        data[place] = value
        assert what in refused(tmp_path, data)


def test_a_wrong_check_word_is_noticed(tmp_path: Path) -> None:
    data = small_file()
    index_at, _ = struct.unpack_from("<II", data, 0x60)
    offset, length = struct.unpack_from("<II", data, base_of(data) + index_at)
    data[base_of(data) + offset + length - 1] ^= 1
    assert "block 0 has the wrong check word" in refused(tmp_path, data)


def test_every_offset_is_checked(tmp_path: Path) -> None:
    for place in (0x50, 0x54, 0x60, 0x64, 0x70, 0x94):
        for value in (0xFFFFFFFF, 0x7FFFFFF0):
            data = small_file()
            struct.pack_into("<I", data, place, value)
            assert "would end at" in refused(tmp_path, data)
    data = small_file()
    index_at, _ = struct.unpack_from("<II", data, 0x60)
    entry = base_of(data) + index_at
    for offset, length in [(0xFFFFFFF0, 40), (16, 0xFFFFFFF0), (0, 1)]:
        data = small_file()
        struct.pack_into("<II", data, entry, offset, length)
        refused(tmp_path, data)


def measured(path: Path) -> None:
    started = time.perf_counter()
    with contextlib.suppress(NnieError):
        model = decode(path)
        model.to_dict()
    assert time.perf_counter() - started < 5


@settings(
    deadline=None, max_examples=120, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    bits=st.sampled_from([8, 16]),
    area=st.sampled_from(["header", "blocks", "index", "layers", "anywhere"]),
    changes=st.lists(
        st.tuples(st.floats(0, 1, exclude_max=True), st.binary(min_size=1, max_size=8)),
        min_size=1, max_size=6,
    ),
    cut=st.one_of(st.none(), st.floats(0, 1)),
)  # fmt: skip
def test_mutated_public_files_end_in_a_model_or_one_line(
    shared: Path,
    tmp_path: Path,
    bits: int,
    area: str,
    changes: list[tuple[float, bytes]],
    cut: float | None,
) -> None:
    data = bytearray(compiled(shared, bits).read_bytes())
    base = base_of(data)
    begin, length = {
        "header": (0, 192),
        "blocks": (base, PARAMETER_BYTES[bits]),
        "index": tuple(np.add(struct.unpack_from("<II", data, 0x60), (base, 0)).tolist()),
        "layers": tuple(np.add(struct.unpack_from("<II", data, 176), (base, 0)).tolist()),
        "anywhere": (0, len(data)),
    }[area]
    for share, value in changes:
        at = begin + int(share * length)
        data[at : at + len(value)] = value[: len(data) - at]
    if cut is not None and cut < 0.2:
        del data[int(cut * 5 * len(data)) :]
    with contextlib.suppress(struct.error):
        data = bytearray(resealed(data))
    path = tmp_path / "net.wk"
    path.write_bytes(data)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    measured(path)
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before < 500_000


@settings(
    deadline=None, max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    st.lists(
        st.tuples(st.floats(0, 1, exclude_max=True), st.binary(min_size=1, max_size=4)),
        min_size=1, max_size=4,
    ),
    st.booleans(),
)  # fmt: skip
def test_mutated_tables_end_in_a_verdict_or_one_line(
    tmp_path: Path, changes: list[tuple[float, bytes]], of_index: bool
) -> None:
    data = small_file()
    begin, length = struct.unpack_from("<II", data, 0x60 if of_index else 176)
    begin += base_of(data)
    for share, value in changes:
        at = begin + int(share * length)
        data[at : at + len(value)] = value[: len(data) - at]
    path = tmp_path / "net.wk"
    path.write_bytes(resealed(data))
    started = time.perf_counter()
    with contextlib.suppress(NnieError):
        proof = prove(decode(path), random_net(7, (8, 8, 8)))
        assert "\n" not in proof.verdict
        json.dumps(proof.to_dict(), allow_nan=False)
    assert time.perf_counter() - started < 5


def file_of(slots: list[bytes], rows: list[bytes]) -> bytes:
    """A file with these blocks behind a first layer, and these rows behind its own."""
    own = [wk_encoder.record(44, 1, 4, 4, 3, 0, 0), wk_encoder.record(0, 1, 4, 4, 4, 1, -80)]
    segment: tuple[list[object], list[object]] = ([("data", 4, 4, 3, 1)], [("out", 4, 4, 4, 0)])
    return wk_encoder.assemble(segment, slots, own + rows)


LONGEST_BODY = 65534


def test_the_longest_possible_block_is_quick(tmp_path: Path) -> None:
    body = np.zeros(LONGEST_BODY, np.uint8)
    random = np.random.default_rng(1)
    loud = random.integers(0, 256, LONGEST_BODY).astype(np.uint8)
    table = np.arange(37).astype(np.uint8)
    slots = [compress(x, table, True) for x in [body, loud] * 8]
    path = tmp_path / "net.wk"
    path.write_bytes(file_of(slots, []))
    measured(path)


@pytest.mark.parametrize("count", [1, 20, 40])
def test_long_streams_come_back(count: int) -> None:
    """One by one and side by side, with streams that end earlier between them."""
    random = np.random.default_rng(count)
    table = np.arange(37).astype(np.uint8)
    bodies = [
        random.integers(0, 2 + 50 * (x % 6), 6000 - 300 * (x % 7)).astype(np.uint8)
        for x in range(count)
    ]
    packed = [compress(x, table, True, bool(i % 2)) for i, x in enumerate(bodies)]
    ends = np.cumsum([len(x) for x in packed])
    index = np.array([[e - len(x), len(x)] for e, x in zip(ends, packed, strict=True)], np.int64)
    found = read_blocks(np.frombuffer(b"".join(packed), np.uint8), index)
    for number, body in enumerate(bodies):
        np.testing.assert_array_equal(found.body(number), body)
    if count > 1:
        broken = bytearray(b"".join(packed))
        middle = int(ends[count // 2]) - 1500
        broken[middle : middle + 8] = bytes(8)
        with pytest.raises(InputError, match=f"block {count // 2} "):
            read_blocks(np.frombuffer(bytes(broken), np.uint8), index)


@pytest.mark.parametrize("kind", ["runs", "literals", "all that is read", "too much"])
def test_memory_and_time_of_large_files_are_bounded(tmp_path: Path, kind: str) -> None:
    table = np.arange(37).astype(np.uint8)
    random = np.random.default_rng(2)
    top = 256 if kind == "literals" else 1
    body = random.integers(0, top, LONGEST_BODY).astype(np.uint8)
    count = {"runs": 900, "literals": 300, "all that is read": 1024, "too much": 1100}[kind]
    path = tmp_path / "net.wk"
    path.write_bytes(file_of([compress(body, table, True, kind != "literals")] * count, []))
    seconds, megabytes, text = spent(path)
    assert megabytes < 500
    assert seconds < 5
    assert ("bytes of parameters, more than the" in text) == (kind == "too much")


def test_many_rows_are_refused(tmp_path: Path) -> None:
    path = tmp_path / "net.wk"
    row = wk_encoder.record(0, 1, 4, 4, 4, 2, -80)
    path.write_bytes(file_of([], [row] * 900_000))
    seconds, megabytes, text = spent(path)
    assert "layer table has more than 65536 rows" in text
    assert megabytes < 300
    assert seconds < 3


_WITH_PEAK = """
import atexit, runpy, sys
def peak():
    print(next(x for x in open("/proc/self/status") if x.startswith("VmHWM")), file=sys.stderr)
atexit.register(peak)
runpy.run_module("nnie_pipeline", run_name="__main__", alter_sys=True)
"""


def spent(path: Path) -> tuple[float, int, str]:
    """Processor time in seconds, the most memory in MB and the text of `nnie wk` of a file."""
    command = [sys.executable, "-c", _WITH_PEAK, "wk", str(path)]
    before = resource.getrusage(resource.RUSAGE_CHILDREN)
    run = subprocess.run(command, capture_output=True, encoding="utf-8", timeout=100, check=False)
    after = resource.getrusage(resource.RUSAGE_CHILDREN)
    seconds = after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime
    text = run.stdout + run.stderr
    assert "Traceback" not in text
    (peak,) = re.findall(r"VmHWM:\s+(\d+) kB", text)
    return seconds, int(peak) >> 10, " ".join(text.split())


@settings(deadline=None, max_examples=60)
@given(st.binary(min_size=2, max_size=700), st.booleans(), st.integers(0, 3))
def test_any_block_comes_back(data: bytes, run_mode: bool, zeros: int) -> None:
    data = (data + bytes(37 * zeros))[: (len(data) + 37 * zeros) // 2 * 2]
    body = np.frombuffer(data, np.uint8)
    for table in (np.arange(37).astype(np.uint8), np.arange(255, 218, -1).astype(np.uint8)):
        for packed in (
            compress(body, table, True, run_mode),
            encode_block(body, table, True, run_mode),
        ):
            index = np.array([[0, len(packed)]], np.int64)
            found = read_blocks(np.frombuffer(packed, np.uint8), index)
            assert found.body(0).tobytes() == data

"""Headers of compiled networks: public files, and files built here byte by byte."""

from __future__ import annotations

import contextlib
import json
import struct
import zlib
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import pytest
import typer
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from typer.testing import CliRunner

from nnie_pipeline.cli import wk as wk_command
from nnie_pipeline.errors import InputError
from nnie_pipeline.wk.header import WkBlob, read_header

OUTPUTS = [
    (f"face_rpn_{kind}_stride{stride}"[:31], 640 // stride, 640 // stride, channels)
    for kind, channels in (("bbox_pred", 8), ("landmark_pred", 20), ("cls_prob_reshape", 4))
    for stride in (32, 16, 8)
]

Blob = tuple[str, int, int, int, int]
Segment = tuple[list[Blob], list[Blob]]


def checksum(data: bytes) -> int:
    """CRC-32 with the polynomial 0xEDB88320, begun with 0, complemented at the end."""
    if len(data) > 1 << 20:  # bit by bit would take minutes
        return zlib.crc32(data, 0xFFFFFFFF)
    register = 0
    for byte in data:
        register ^= byte
        for _ in range(8):
            register = register >> 1 ^ (0xEDB88320 if register & 1 else 0)
    return register ^ 0xFFFFFFFF


def blob(name: str, height: int, width: int, channels: int, kind: int) -> bytes:
    entry = struct.pack("<3I", height, width, channels) + bytes([1, 0, kind, 0])
    return entry + name.encode().ljust(32, b"\0") + bytes([2]) + bytes(15)


SEGMENT: Segment = (
    [("data", 64, 96, 3, 1)],
    [("boxes", 8, 12, 8, 0), ("scores", 8, 12, 2, 0)],
)
ROI_SEGMENT: Segment = ([("feature", 4, 6, 32, 0), ("rois", 1, 1, 4, 4)], [("class", 1, 1, 21, 4)])


def segment_bytes(segments: tuple[Segment, ...]) -> bytes:
    data = b""
    for sources, targets in segments:
        data += bytes([0, len(sources), len(targets), 0]) + bytes(12)
        data += b"".join(blob(*x) for x in [*sources, *targets])
    return data


@dataclass
class Chip:
    """A chip file; `version` are the 16 bytes from 16."""

    version: bytes = bytes([1, 1, 1, 2, 0, 0, 0, 0, 1, 2, 2, 9, 60, 0, 0, 0])
    stamp: bytes = b"2007011200001122"
    instructions: bytes = bytes(range(256)) * 4
    trailer: bytes = bytes(48)

    def build(self, *segments: Segment) -> bytes:
        nodes = segment_bytes(segments or (SEGMENT,))
        begin = 192 + len(nodes)
        header = bytearray(192)
        struct.pack_into("<III", header, 4, 0, 192, 123456)
        header[16:32] = self.version
        header[32:48] = self.stamp
        header[48], header[49] = 0, len(segments) or 1
        struct.pack_into("<II", header, 52, begin, len(self.instructions))
        struct.pack_into("<II", header, 176, len(self.instructions), len(self.trailer))
        return sealed(bytes(header) + nodes + self.instructions, self.trailer)


def func(*segments: Segment) -> bytes:
    nodes = segment_bytes(segments or (SEGMENT,))
    header = bytearray(48)
    struct.pack_into("<II", header, 8, 48, 654321)
    header[16:32] = b"1901071325168200"
    header[32], header[33] = 1, len(segments) or 1
    body = bytes(header) + nodes + bytes(range(200))
    body = body[:44] + struct.pack("<I", len(body)) + body[48:]
    return sealed(body)


def sealed(body: bytes, trailer: bytes = b"") -> bytes:
    return struct.pack("<I", checksum(body[4:])) + body[4:] + trailer


def write(folder: Path, data: bytes) -> Path:
    path = folder / "net.wk"
    path.write_bytes(data)
    return path


@pytest.mark.parametrize(
    ("file", "memory"),
    [("mnet_640_inst.wk", 7_372_800), ("mnet_mergebn_640L_inst.wk", 3_686_400)],
)
def test_public_files(shared: Path, file: str, memory: int) -> None:
    header = read_header(shared / "models" / "retinaface_mnet025" / file)
    assert (header.kind, header.nnie, header.mapper) == ("chip", "1.2", "1.2.1.0_B020")
    assert header.stamp == "19010713251682"
    assert header.temporary_bytes == memory
    (segment,) = header.segments
    assert (segment.net_type, segment.roi_layers) == (0, 0)
    assert segment.inputs == (WkBlob("data", 640, 640, 3, "U8"),)
    found = [(x.name, x.height, x.width, x.channels) for x in segment.outputs]
    assert found == OUTPUTS
    assert {x.type for x in segment.outputs} == {"S32"}


def test_chip_file(tmp_path: Path) -> None:
    header = read_header(write(tmp_path, Chip().build()))
    assert (header.kind, header.mapper, header.nnie) == ("chip", "1.2.2.9_B060", "1.2")
    assert (header.stamp, header.temporary_bytes) == ("2007011200001122", 123456)
    assert header.segments[0].inputs == (WkBlob("data", 64, 96, 3, "U8"),)
    assert [x.name for x in header.segments[0].outputs] == ["boxes", "scores"]
    assert header.segments[0].outputs[1] == WkBlob("scores", 8, 12, 2, "S32")


def test_several_segments(tmp_path: Path) -> None:
    header = read_header(write(tmp_path, Chip().build(SEGMENT, ROI_SEGMENT)))
    assert [[x.name for x in s.inputs] for s in header.segments] == [["data"], ["feature", "rois"]]
    assert header.segments[1].outputs == (WkBlob("class", 1, 1, 21, "VEC_S32"),)
    assert [x["name"] for x in header.to_dict()["inputs"]] == ["data", "feature", "rois"]


def test_file_of_mapper_1_1(tmp_path: Path) -> None:
    data = Chip(version=b"V100R001C003B003", stamp=b"1805151500142770").build()
    header = read_header(write(tmp_path, data))
    assert (header.mapper, header.nnie) == ("V100R001C003B003", "1.1")
    assert header.stamp == "1805151500142770"


def test_unclear_version_is_left_out(tmp_path: Path) -> None:
    header = read_header(write(tmp_path, Chip(version=bytes([7] * 16)).build()))
    assert (header.mapper, header.nnie) == (None, None)


def test_functional_file(tmp_path: Path) -> None:
    header = read_header(write(tmp_path, func()))
    assert (header.kind, header.temporary_bytes) == ("func", 654321)
    assert header.segments[0].inputs == (WkBlob("data", 64, 96, 3, "U8"),)
    assert header.nnie is None


def test_more_text_behind_the_layer_table_is_allowed(tmp_path: Path) -> None:
    assert read_header(write(tmp_path, Chip().build() + bytes(544))).mapper == "1.2.2.9_B060"


def refused(folder: Path, data: bytes) -> str:
    with pytest.raises(InputError) as caught:
        read_header(write(folder, data))
    message = str(caught.value)
    assert "\n" not in message
    assert "net.wk" in message
    return message


@pytest.mark.parametrize("length", [0, 3, 47, 48, 191, 192, 400, 900])
def test_truncated_chip_file(tmp_path: Path, length: int) -> None:
    message = refused(tmp_path, Chip().build()[:length])
    assert "truncated" in message or f"it has {length} bytes" in message


def test_truncated_layer_table(tmp_path: Path) -> None:
    assert "truncated" in refused(tmp_path, Chip().build()[:-1])


@pytest.mark.parametrize("length", [48, 100, 300])
def test_truncated_functional_file(tmp_path: Path, length: int) -> None:
    assert "truncated" in refused(tmp_path, func()[:length])


def test_functional_file_shorter_than_it_says(tmp_path: Path) -> None:
    body = bytearray(func())
    struct.pack_into("<I", body, 44, len(body) + 1)
    assert "truncated" in refused(tmp_path, sealed(bytes(body)))


@pytest.mark.parametrize("make", [Chip().build, func])
@pytest.mark.parametrize("place", [0, 13, 60, 130, 330, 500])
def test_damaged_file(tmp_path: Path, make: Callable[[], bytes], place: int) -> None:
    data = bytearray(make())
    data[min(place, len(data) - 1)] ^= 0x10
    assert "damaged" in refused(tmp_path, bytes(data))


def test_one_flipped_bit_of_the_instructions(tmp_path: Path) -> None:
    data = bytearray(Chip().build())
    data[-100] ^= 1
    assert "checksum" in refused(tmp_path, bytes(data))


@pytest.mark.parametrize("data", [b"\x89PNG\r\n\x1a\n" + bytes(100), b"layer {" * 30, bytes(500)])
def test_foreign_file(tmp_path: Path, data: bytes) -> None:
    assert "not a .wk file" in refused(tmp_path, data)


def resealed(data: bytearray) -> bytes:
    begin, length = struct.unpack_from("<II", data, 52)
    end = begin + length
    return sealed(bytes(data[:end]), bytes(data[end:]))


def test_bounds_hold_even_with_a_right_checksum(tmp_path: Path) -> None:
    for place, value, what in [
        (49, 9, "9 segments"),
        (49, 0, "0 segments"),
        (193, 17, "17 inputs"),
        (194, 0, "0 outputs"),
        (222, 9, "type 9"),
        (211, 255, "a blob of"),
        (224, 0, "called ''"),
        (224, 7, "called"),
        (48, 1, "run mode 1"),
        (49, 3, ""),
    ]:
        data = bytearray(Chip().build())
        data[place] = value
        assert what in refused(tmp_path, resealed(data))


def test_blobs_may_not_reach_into_the_instructions(tmp_path: Path) -> None:
    data = bytearray(Chip().build())
    struct.pack_into("<II", data, 52, 220, 300)
    assert "instructions from 220" in refused(tmp_path, resealed(data))


@settings(
    deadline=None, max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(
    st.sampled_from([Chip().build(), func()]),
    st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), max_size=4),
    st.integers(0, 2000),
)
def test_any_damage_ends_in_a_header_or_one_line(
    tmp_path: Path, data: bytes, changes: list[tuple[int, int]], length: int
) -> None:
    changed = bytearray(data)
    for place, value in changes:
        changed[place % len(changed)] = value
    path = write(tmp_path, bytes(changed[:length]))
    if bytes(changed[:length]) == data:
        assert read_header(path).segments
    else:
        with contextlib.suppress(InputError):
            read_header(path)


def run(*arguments: str) -> tuple[int, str]:
    app = typer.Typer()
    app.command()(wk_command.command)
    result = CliRunner().invoke(app, [*arguments])
    return result.exit_code, result.output


def test_command_prints_json(tmp_path: Path) -> None:
    status, output = run(str(write(tmp_path, Chip(trailer=b"").build())), "--json")
    assert status == 0
    found = json.loads(output)
    assert found["inputs"] == [
        {"name": "data", "height": 64, "width": 96, "channels": 3, "type": "U8"}
    ]
    assert [x["name"] for x in found["outputs"]] == ["boxes", "scores"]
    assert found["mapper"] == "1.2.2.9_B060"


def test_command_prints_a_table(tmp_path: Path) -> None:
    status, output = run(str(write(tmp_path, func())))
    assert status == 0
    assert "functional simulation" in output
    assert "scores" in output


def test_command_refuses_a_foreign_file(tmp_path: Path) -> None:
    status, output = run(str(write(tmp_path, bytes(500))))
    assert status == 2
    assert "not a .wk file" in output

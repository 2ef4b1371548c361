"""Valid sizes against inference one by one, and what a size costs."""

from __future__ import annotations

import itertools
import json
import shutil
import struct
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from nnie_pipeline.caffe.axes import crop_offsets
from nnie_pipeline.caffe.files import read_net
from nnie_pipeline.caffe.net import Net
from nnie_pipeline.caffe.shapes import ShapeError, infer
from nnie_pipeline.caffe.windows import conv_window, pool_window
from nnie_pipeline.chips.batch_shapes import infer_all
from nnie_pipeline.chips.check import check
from nnie_pipeline.chips.chip import find_chip
from nnie_pipeline.chips.cost import macs, milliseconds, operations, parameters
from nnie_pipeline.chips.memory import plan, stored_bytes, temporary_bytes
from nnie_pipeline.chips.size_rows import Anchors, SizeRow
from nnie_pipeline.chips.sizes import nearest_valid, valid_sizes
from nnie_pipeline.cli import sizes as sizes_command
from nnie_pipeline.errors import InputError
from nnie_pipeline.wk.header import read_header
from tests import models

MNET = "retinaface_mnet025/mnet.prototxt"
REPAIRED = "retinaface_mnet025/mnet_hand_rewritten.prototxt"
MOBILEFACENET = "mobilefacenet/mxnet2caffe_mobilefacenet.prototxt"
ENET = "enet/bn_conv_merged_model.prototxt"
SLIM = "ultraface/slim-320.prototxt"


def model(shared: Path, name: str) -> Net:
    return read_net(shared / "models" / name)


def parse(folder: Path, text: str) -> Net:
    path = folder / "net.prototxt"
    path.write_text(text)
    return read_net(path)


def conv_net(folder: Path, params: str, size: str = "1 3 32 32", more: str = "") -> Net:
    dims = " ".join(f"dim: {x}" for x in size.split())
    return parse(
        folder,
        f'input: "data" input_shape {{ {dims} }}\n'
        f'layer {{ name: "c" type: "Convolution" bottom: "data" top: "c" '
        f"convolution_param {{ {params} }} }}\n{more}",
    )


def sizes_of(rows: list[SizeRow]) -> set[tuple[int, int]]:
    return {(x.height, x.width) for x in rows}


class OneByOne:
    """The validity of a size, decided the slow way: infer, look at each layer, check."""

    def __init__(self, net: Net) -> None:
        self.net = net
        self.name = next(x for x, shape in net.inputs.items() if len(shape) == 4)
        self.own = net.inputs[self.name][2:]
        self.own_errors = self.errors(*self.own)
        self.own_counts = list(self.counts(infer(net)))
        self.strides = {
            axis: {x: all(y[x] for y in self.fits(infer(net), axis)) for x in (0, 1)}
            for axis in (0, 1)
        }

    def at(self, height: int, width: int) -> Net:
        net = self.net.copy()
        net.inputs[self.name] = (*net.inputs[self.name][:2], height, width)
        return net

    def errors(self, height: int, width: int) -> list[tuple[str, str]]:
        return [(x.id, x.layer) for x in check(self.at(height, width)) if x.severity == "error"]

    def counts(self, shapes: dict[str, tuple[int, ...]]) -> Iterator[int]:
        for layer in self.net.layers:
            if layer.type == "InnerProduct":
                yield int(np.prod(shapes[layer.bottoms[0]][1:]))

    def fits(self, shapes: dict[str, tuple[int, ...]], axis: int) -> Iterator[tuple[bool, bool]]:
        """For each strided layer: whether it divides its map, whether it ends on its edge."""
        for layer in self.net.layers:
            if layer.type == "Convolution":
                window = conv_window(layer.params.convolution_param)
            elif layer.type == "Pooling":
                size = shapes[layer.bottoms[0]][2:4]
                window = pool_window(layer.params.pooling_param, (size[0], size[1]))
            else:
                continue
            length = shapes[layer.bottoms[0]][2 + axis]
            stride, last = window.stride[axis], length + 2 * window.pad[axis]
            divides = length % stride == 0
            yield divides, divides or (last - window.extent[axis]) % stride == 0

    def valid(self, height: int, width: int) -> bool:
        net = self.at(height, width)
        try:
            shapes = infer(net)
        except ShapeError:
            return False
        for layer in net.layers:
            if layer.type == "Crop":
                bottom, like = (shapes[x] for x in layer.bottoms)
                if bottom != like or any(crop_offsets(layer, bottom, like)):
                    return False
        if list(self.counts(shapes)) != self.own_counts:
            return False
        for axis in (0, 1):
            wanted = next((x for x in (0, 1) if self.strides[axis][x]), None)
            if wanted is not None and not all(x[wanted] for x in self.fits(shapes, axis)):
                return False
        return set(self.errors(height, width)) <= set(self.own_errors)


@pytest.mark.parametrize("name", [MNET, MOBILEFACENET, ENET, SLIM])
def test_validity_one_by_one(shared: Path, name: str) -> None:
    net = model(shared, name)
    slow = OneByOne(net)
    found = sizes_of(valid_sizes(net, min=64, max=700, step=4))
    random = np.random.default_rng(7)
    every = list(itertools.product(range(64, 701, 4), repeat=2))
    sample = [every[i] for i in random.choice(len(every), 60, replace=False)]
    sample += [sorted(found)[i] for i in random.choice(len(found), min(len(found), 30))]
    for height, width in [*sample, *(x for x in [slow.own] if max(x) <= 700)]:
        assert ((height, width) in found) == slow.valid(height, width), (height, width)
    assert found


LAYERS = {
    "conv": 'type: "Convolution" convolution_param { num_output: 4 kernel_size: 3 stride: 2 }',
    "conv-dilated": 'type: "Convolution" convolution_param { num_output: 4 kernel_h: 3 '
    "kernel_w: 2 pad_h: 2 pad_w: 1 dilation: 3 group: 2 }",
    "depthwise": 'type: "DepthwiseConv" convolution_param { kernel_size: 3 pad: 1 stride: 3 }',
    "deconv": 'type: "Deconvolution" convolution_param { num_output: 4 kernel_size: 4 stride: 3 '
    "pad: 2 }",
    "pool": 'type: "Pooling" pooling_param { kernel_size: 3 stride: 2 }',
    "pool-padded": 'type: "Pooling" pooling_param { kernel_size: 2 stride: 3 pad: 1 }',
    "pool-one-pad": 'type: "Pooling" pooling_param { kernel_h: 3 kernel_w: 2 stride_h: 2 '
    "stride_w: 3 pad_h: 0 pad_w: 1 }",
    "pool-floor": 'type: "Pooling" pooling_param { kernel_size: 3 stride: 2 round_mode: FLOOR }',
    "pool-sparse": 'type: "Pooling" pooling_param { kernel_size: 1 stride: 3 }',
    "pool-global": 'type: "Pooling" pooling_param { global_pooling: true }',
    "slice": 'type: "Slice" top: "u" slice_param { axis: 2 }',
    "slice-points": 'type: "Slice" top: "u" slice_param { axis: 3 slice_point: 5 }',
    "reshape": 'type: "Reshape" reshape_param { shape { dim: 0 dim: -1 dim: 6 dim: 1 } }',
    "reshape-part": 'type: "Reshape" reshape_param { shape { dim: 8 dim: -1 } axis: 1 '
    "num_axes: 2 }",
    "reshape-fixed": 'type: "Reshape" reshape_param { shape { dim: 0 dim: 2 dim: 12 dim: 24 } }',
    "flatten": 'type: "Flatten" flatten_param { axis: 1 end_axis: -2 }',
    "permute": 'type: "Permute" permute_param { order: 0 order: 2 order: 3 order: 1 }',
    "pass-through": 'type: "PassThrough" pass_through_param { block_height: 2 block_width: 3 }',
    "upsample": 'type: "Upsample" upsample_param { scale: 2 }',
    "upsample-to": 'type: "Upsample" upsample_param { upsample_h: 20 upsample_w: 24 }',
    "spp": 'type: "SPP" spp_param { pyramid_height: 3 }',
    "reduction": 'type: "Reduction" reduction_param { axis: 3 }',
    "crelu": 'type: "CReLU"',
    "interp": 'type: "Interp" interp_param { zoom_factor: 3 shrink_factor: 2 }',
    "interp-cut": 'type: "Interp" interp_param { zoom_factor: 2 pad_beg: -1 pad_end: -2 }',
    "interp-to": 'type: "Interp" interp_param { height: 7 width: 9 }',
    "mvn": 'type: "MVN"',
    "tile": 'type: "Tile" tile_param { axis: 3 tiles: 3 }',
    "softmax": 'type: "Softmax" softmax_param { axis: -1 }',
    "relu": 'type: "ReLU"',
    "eltwise": 'type: "Eltwise" bottom: "half"',
    "concat": 'type: "Concat" bottom: "half" concat_param { axis: 1 }',
    "concat-rows": 'type: "Concat" bottom: "half" concat_param { axis: 2 }',
    "crop": 'type: "Crop" bottom: "half" crop_param { axis: 2 }',
}


@pytest.mark.parametrize("kind", LAYERS)
def test_every_layer_type_as_inferred_one_by_one(kind: str, tmp_path: Path) -> None:
    # "half" is up to three columns and one row larger than the input, or equal
    net = parse(
        tmp_path,
        'input: "data" input_shape { dim: 1 dim: 4 dim: 12 dim: 12 }\n'
        'layer { name: "s" type: "Pooling" bottom: "data" top: "s" '
        "pooling_param { kernel_h: 2 kernel_w: 4 stride_h: 2 stride_w: 4 } }\n"
        'layer { name: "half" type: "Deconvolution" bottom: "s" top: "half" convolution_param '
        "{ num_output: 4 kernel_h: 2 kernel_w: 4 stride_h: 2 stride_w: 4 } }\n"
        f'layer {{ name: "t" bottom: "data" top: "t" {LAYERS[kind]} }}\n',
    )
    if kind == "crop":
        net.layers[-1].bottoms.reverse()
    heights, widths = (x.ravel() for x in np.meshgrid(np.arange(1, 26), np.arange(1, 26)))
    found = infer_all(net, heights, widths)
    fitting = 0
    for index, size in enumerate(zip(heights.tolist(), widths.tolist(), strict=True), start=1):
        try:
            wanted = infer(net, {"data": (1, 4, *size)})
        except ShapeError:
            assert not found.ok[index], size
            continue
        if kind == "crop" and wanted["half"] != wanted["data"]:
            assert not found.ok[index], size
            continue
        assert found.ok[index], size
        fitting += 1
        for name, shape in wanted.items():
            each = [np.broadcast_to(x, len(found.ok))[index] for x in found.shapes[name]]
            assert tuple(each) == shape, (size, name)
    assert fitting


def test_windows_end_on_the_last_pixel_where_they_do_in_the_file(tmp_path: Path) -> None:
    # 33 rows are not divided by stride 2, but 3x3 windows with pad 1 end on the last of them
    net = conv_net(tmp_path, "num_output: 4 kernel_size: 3 stride: 2 pad: 1", "1 3 33 32")
    rows = valid_sizes(net, 30, 37, step=1)
    assert {x.height for x in rows} == set(range(30, 38))
    assert {x.width for x in rows} == {30, 32, 34, 36}
    # 5x5 windows at stride 4 end on the last of 33 rows; 32 is divided by the stride
    net = conv_net(tmp_path, "num_output: 4 kernel_size: 5 stride: 4", "1 3 33 33")
    assert {x.height for x in valid_sizes(net, 30, 37, step=1, square=True)} == {32, 33, 36, 37}


def test_limits_of_the_chip_make_a_size_invalid(tmp_path: Path) -> None:
    # 2048 rows of 16-column blocks: 33 rows are allowed up to 62 blocks, 992 columns
    net = conv_net(tmp_path, "num_output: 4 kernel_h: 33 kernel_w: 1", "1 3 64 64")
    widths = {x.width for x in valid_sizes(net, min=64, max=1280, step=16)}
    assert max(widths) == 992
    gray = conv_net(tmp_path, "num_output: 4 kernel_size: 1", "1 1 64 64")
    assert min(x.height for x in valid_sizes(gray, min=1, max=64, step=1, square=True)) == 8


def test_mnet_takes_multiples_of_32(shared: Path) -> None:
    net = model(shared, MNET)
    expected = {(h, w) for h in range(128, 1281, 32) for w in range(128, 1281, 32)}
    assert sizes_of(valid_sizes(net)) == expected
    assert sizes_of(valid_sizes(net, 600, 700, step=1, square=True)) == {
        (608, 608), (640, 640), (672, 672)
    }  # fmt: skip


def test_both_mnets_agree(shared: Path) -> None:
    first, second = (
        valid_sizes(model(shared, x), 128, 640, 32, square=True) for x in (MNET, REPAIRED)
    )
    assert [{**x.to_dict(), "outputs": 0} for x in first] == [
        {**x.to_dict(), "outputs": 0} for x in second
    ]
    assert [dict(x.outputs) for x in first] == [dict(x.outputs) for x in second]


def test_inner_product_fixes_the_size(shared: Path) -> None:
    assert sizes_of(valid_sizes(model(shared, MOBILEFACENET), 64, 256)) == {(112, 112)}


def test_crop_with_an_offset_is_refused_everywhere(tmp_path: Path) -> None:
    crop = (
        'layer { name: "k" type: "Crop" bottom: "c" bottom: "c" top: "k" '
        "crop_param { axis: 2 offset: 1 } }"
    )
    assert valid_sizes(conv_net(tmp_path, "num_output: 4 kernel_size: 1", more=crop)) == []


def test_nearest(shared: Path) -> None:
    mnet = model(shared, MNET)
    assert nearest_valid(mnet, (641, 641)) == [(640, 640), (672, 672)]
    assert nearest_valid(mnet, (480, 650)) == [(480, 640), (480, 672)]
    assert nearest_valid(mnet, (512, 768)) == [(512, 768)]
    assert nearest_valid(mnet, (20, 20)) == [(32, 32)]
    assert nearest_valid(mnet, (630, 700)) == [(608, 672), (640, 704)]
    assert nearest_valid(model(shared, MOBILEFACENET), (640, 640)) == [(112, 112)]


def test_aspect_keeps_one_height_a_width(shared: Path) -> None:
    rows = valid_sizes(model(shared, MNET), 128, 1280, aspect=(16, 9))
    widths = [x.width for x in rows]
    assert len(widths) == len(set(widths))
    for row in rows:
        wanted = row.width * 9 / 16
        assert row.height == min(range(128, 1281, 32), key=lambda x: abs(x - wanted))
        assert abs(row.height - wanted) <= 0.1 * wanted
    assert (576, 1024) in sizes_of(rows)


def test_known_sizes_have_a_note(shared: Path) -> None:
    rows = valid_sizes(model(shared, MNET), square=True)
    assert {x.height for x in rows if x.note} == {512, 640, 768, 1024}


def test_outputs_and_anchors(shared: Path) -> None:
    net = model(shared, MNET)
    rows = valid_sizes(net, 640, 640, anchors=Anchors({8: 2, 16: 2, 32: 2}))
    assert [x.anchors for x in rows] == [2 * (80 * 80 + 40 * 40 + 20 * 20)]
    outputs = dict(rows[0].outputs)
    assert outputs["face_rpn_landmark_pred_stride16"] == (1, 20, 40, 40)
    assert list(outputs) == net.outputs
    assert valid_sizes(net, 640, 640)[0].anchors is None
    assert rows[0].maps == tuple((640 >> x, 640 >> x) for x in range(1, 6))


def test_anchors_in_pixels_of_a_letterboxed_camera_picture(shared: Path) -> None:
    net = model(shared, MNET)
    anchors = Anchors({8: 2}, 16, 512)
    square, wide = valid_sizes(net, anchors=anchors, at=[(640, 640), (576, 1024)])[::-1]
    # 1920 columns become 640: every pixel of the input is 3 of the picture
    assert (square.smallest_anchor, square.largest_anchor) == (48, 1536)
    # 16:9 as the camera: 1920 / 1024 = 1.875
    assert (wide.smallest_anchor, wide.largest_anchor) == (30, 960)
    tall = valid_sizes(net, anchors=anchors, at=[(128, 640)])[0]
    # the height is scarce: 1080 / 128
    assert tall.smallest_anchor == round(16 * 1080 / 128, 1)


def test_only_the_sizes_asked_for(shared: Path) -> None:
    net = model(shared, MNET)
    rows = valid_sizes(net, at=[(640, 640), (500, 500), (320, 1920)])
    assert [(x.height, x.width) for x in rows] == [(320, 1920), (640, 640)]
    with pytest.raises(InputError, match="5000x640: a side must be 1 to 4096"):
        valid_sizes(net, at=[(5000, 640)])


def test_macs_by_hand(tmp_path: Path) -> None:
    # 16x16 outputs of 8 channels, each of 3 x 3x3 products
    net = conv_net(tmp_path, "num_output: 8 kernel_size: 3 stride: 2 pad: 1")
    assert valid_sizes(net, 32, 32)[0].macs == 16 * 16 * 8 * 3 * 3 * 3
    assert valid_sizes(net, 32, 32)[0].parameters == 8 * 3 * 3 * 3 + 8
    # 4x4 outputs of 6 channels in 3 groups, each of one 2x2 window of its own channel
    net = conv_net(tmp_path, "num_output: 6 kernel_size: 2 stride: 2 group: 3", "1 3 8 8")
    assert valid_sizes(net, 8, 8)[0].macs == 4 * 4 * 6 * 2 * 2
    more = (
        'layer { name: "d" type: "Deconvolution" bottom: "c" top: "d" convolution_param '
        "{ num_output: 5 kernel_size: 4 stride: 2 bias_term: false } }\n"
        'layer { name: "i" type: "InnerProduct" bottom: "d" top: "i" '
        "inner_product_param { num_output: 7 } }"
    )
    net = conv_net(tmp_path, "num_output: 2 kernel_size: 1", "1 3 8 8", more)
    row = valid_sizes(net, 8, 8)[0]
    # every input of the deconvolution goes to 4x4 outputs of 5 channels; its map is 18x18
    assert row.macs == 8 * 8 * 3 * 2 + 8 * 8 * 2 * 5 * 4 * 4 + 18 * 18 * 5 * 7
    assert row.parameters == (3 * 2 + 2) + 2 * 5 * 4 * 4 + (18 * 18 * 5 * 7 + 7)


@pytest.mark.parametrize(
    ("name", "weights"),
    [
        (MNET, "retinaface_mnet025/mnet.caffemodel"),
        (MOBILEFACENET, "mobilefacenet/mxnet2caffe_mobilefacenet.caffemodel"),
        (ENET, "enet/bn_conv_merged_weights.caffemodel"),
        (SLIM, "ultraface/slim-320.caffemodel"),
    ],
)
def test_parameters_are_those_of_the_weights_file(shared: Path, name: str, weights: str) -> None:
    folder = shared / "models"
    net = read_net(folder / name, folder / weights)
    shapes = infer(net)
    for layer in net.layers:
        bottoms, tops = [shapes[x] for x in layer.bottoms], [shapes[x] for x in layer.tops]
        assert parameters(layer, bottoms, tops) == sum(x.size for x in layer.weights), layer.name


@pytest.mark.parametrize(
    ("file", "bits"), [("mnet_640_inst.wk", 16), ("mnet_mergebn_640L_inst.wk", 8)]
)
def test_compiled_mnet(shared: Path, file: str, bits: int) -> None:
    """The public compiled files hold their temporary memory and one record an operation."""
    net = model(shared, REPAIRED)
    path = shared / "models" / "retinaface_mnet025" / file
    shapes = infer(net)
    wanted = read_header(path).temporary_bytes
    assert temporary_bytes(plan(net), dict(shapes), bits).tolist() == [wanted]
    records = struct.unpack_from("<I", path.read_bytes(), 180)[0] // 48
    inputs_and_outputs = 1 + 9
    assert operations(net, dict(shapes)) == records - inputs_and_outputs


def test_memory_by_hand(tmp_path: Path) -> None:
    # rows of 20 bytes take 32; the input and the convolution's map live together, the
    # activation writes the map of the convolution
    more = 'layer { name: "r" type: "ReLU" bottom: "c" top: "c" }\n' + (
        'layer { name: "e" type: "Convolution" bottom: "c" top: "e" '
        "convolution_param { num_output: 1 kernel_size: 1 } }"
    )
    net = conv_net(tmp_path, "num_output: 5 kernel_size: 1", "1 3 10 20", more)
    row = valid_sizes(net, 10, 20, step=10)[1]
    assert (row.height, row.width) == (10, 20)
    image, first = 3 * 10 * 32, 5 * 10 * 32
    # the last map is an output: 4 bytes an element, 80 a row; it takes the input's place
    assert image > 10 * 80
    assert row.memory_8 == image + first
    assert stored_bytes((1, 3, 10, 20), 2).tolist() == [3 * 10 * 48]


def test_memory_is_taken_again(tmp_path: Path) -> None:
    layers = "".join(
        f'layer {{ name: "l{i}" type: "Pooling" bottom: "{"c" if i == 0 else f"l{i - 1}"}" '
        f'top: "l{i}" pooling_param {{ kernel_size: 1 }} }}\n'
        for i in range(6)
    )
    net = conv_net(tmp_path, "num_output: 3 kernel_size: 1", "1 3 16 16", layers)
    blob = 3 * 16 * 16
    # two blobs at a time; the last one, an output of 4 bytes an element, needs four of them
    assert valid_sizes(net, 16, 16)[0].memory_8 == 2 * blob + 4 * blob


def test_published_timings(shared: Path) -> None:
    chip = find_chip("hi3516dv300")
    time = {}
    for name in (REPAIRED, MOBILEFACENET):
        net = model(shared, name)
        shapes = infer(net)
        total = sum(
            macs(x, [shapes[b] for b in x.bottoms], [shapes[t] for t in x.tops], in_blocks=True)
            for x in net.layers
        )
        started = operations(net, dict(shapes))
        time[name] = [float(milliseconds(total, started, chip, bits)) for bits in (8, 16)]
    assert time[REPAIRED] == pytest.approx([17, 34], rel=0.02)
    assert time[MOBILEFACENET][0] == pytest.approx(10, rel=0.02)


def test_slower_chips_take_longer(shared: Path) -> None:
    net = model(shared, MNET)
    time = {
        chip: valid_sizes(net, 640, 640, chip=chip)[0].ms_8
        for chip in ("hi3559av100", "hi3519av100", "hi3516dv300", "hi3516cv500", "hi3559v200")
    }
    assert sorted(time, key=lambda x: time[x]) == list(time)
    # one network runs on one of Hi3559AV100's two cores
    assert time["hi3559av100"] == time["hi3519av100"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"min": 0}, "give 1 <= min"),
        ({"min": 300, "max": 200}, "give 1 <= min"),
        ({"max": 5000}, "4096"),
        ({"step": 0}, "a step of 1"),
        ({"max": 4096, "step": 1}, "too many"),
        ({"aspect": (0, 9)}, "not a ratio"),
        ({"chip": "hi3516"}, "is not known"),
    ],
)
def test_bad_arguments(tmp_path: Path, arguments: dict[str, int], message: str) -> None:
    net = conv_net(tmp_path, "num_output: 4 kernel_size: 1")
    with pytest.raises(InputError, match=message):
        valid_sizes(net, **arguments)


def test_what_fits_at_no_size_is_refused(tmp_path: Path) -> None:
    net = conv_net(tmp_path, "num_output: 4 kernel_size: 1 group: 2")
    with pytest.raises(ShapeError, match="layer c"):
        valid_sizes(net)
    with pytest.raises(ShapeError, match="layer c"):
        nearest_valid(net, (33, 33))


def test_unknown_layer_is_named(tmp_path: Path) -> None:
    odd = 'layer { name: "p" type: "PriorBox" bottom: "c" top: "p" }'
    net = conv_net(tmp_path, "num_output: 4 kernel_size: 1", more=odd)
    with pytest.raises(InputError, match="layer p: the type PriorBox is not known"):
        valid_sizes(net)


def run(*arguments: str) -> tuple[int, str]:
    app = typer.Typer()
    app.command()(sizes_command.command)
    result = CliRunner().invoke(app, [*arguments])
    return result.exit_code, result.output


def test_command(shared: Path) -> None:
    path = str(shared / "models" / MNET)
    status, output = run(path, "--square", "--min", "512", "--max", "640", "--json")
    assert status == 0
    rows = json.loads(output)["sizes"]
    assert [x["height"] for x in rows] == [512, 544, 576, 608, 640]
    assert rows[-1]["outputs"]["face_rpn_bbox_pred_stride8"] == [1, 8, 80, 80]
    status, output = run(path, "--aspect", "16:9", "--max", "700")
    assert status == 0
    assert "352x640" in output
    assert "estimates" in output


def test_command_takes_a_spec_and_sizes(shared: Path) -> None:
    path = str(shared / "models" / MNET)
    given = ("--spec", "retinaface-mnet025", "--json", "--at")
    status, output = run(path, *given, "640,512x768")
    assert status == 0
    wide, square = json.loads(output)["sizes"]
    assert (wide["height"], wide["width"], wide["smallest_anchor"]) == (512, 768, 40.0)
    assert square["anchors"] == 2 * (80 * 80 + 40 * 40 + 20 * 20)
    assert "faces" not in square
    status, output = run(path, *given, "640,600")
    assert status == 2
    assert "600x600 is not valid" in output
    assert "use 576x576 or 608x608" in output


def test_command_takes_a_model_of_the_zoo() -> None:
    status, output = run("retinaface", "--json", "--at", "320")
    assert status == 0
    (row,) = json.loads(output)["sizes"]
    assert row["maps"] == [[160, 160], [80, 80], [40, 40], [20, 20], [10, 10]]
    assert row["anchors"] == 2 * (40 * 40 + 20 * 20 + 10 * 10)
    # 320 pixels for 1920: 16 and 512 become six times as many
    assert (row["smallest_anchor"], row["largest_anchor"]) == (96, 3072)
    assert "published" not in row["note"]


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("--images", "."), "give --spec"),
        (("--images", ".", "--spec", "retinaface-mnet025"), "give its weights"),
        (("--images", ".", "--spec", "mobilefacenet"), "is for detectors"),
        (("--at", "640,x"), "is not a size"),
        (("--spec", "retinafac"), "did you mean retinaface"),
    ],
)
def test_command_names_what_is_missing(
    shared: Path, arguments: tuple[str, ...], message: str
) -> None:
    status, output = run(str(shared / "models" / MNET), *arguments)
    assert status == 2
    assert message in output


def test_far_faces_are_found_at_a_large_input_only(shared: Path, tmp_path: Path) -> None:
    photographs = models.photographs()
    for name in ("astronaut", "solvay_conference_1927"):
        shutil.copy(photographs[name].path, tmp_path / f"{name}.jpg")
    files = (str(shared / "models" / x) for x in (MNET, MNET.replace("prototxt", "caffemodel")))
    status, output = run(
        *files, "--spec", "retinaface-mnet025", "--images", str(tmp_path), "--at", "1024,320",
        "--json",
    )  # fmt: skip
    assert status == 0
    small, large = (x["faces"] for x in json.loads(output)["sizes"])
    # The astronaut's face is near. On the other picture, of 3000 columns, sit and stand 29 people
    # whose faces are 10 pixels high when it is 320 wide.
    assert small["found"] == 1
    assert small["faces"] == large["faces"]
    assert 27 <= large["found"] <= large["faces"] <= 31
    assert large["smallest"] < small["smallest"]
    assert small["share"] == small["found"] / small["faces"]


def test_command_lists_many_sizes_as_plain_lines(shared: Path) -> None:
    status, output = run(str(shared / "models" / MNET))
    assert status == 0
    sizes = [x.split()[0] for x in output.splitlines() if x[:1].isdigit() and "x" in x.split()[0]]
    assert len(sizes) == 37 * 37
    assert sizes[0] == "128x128"


def test_command_refuses_a_bad_ratio(shared: Path) -> None:
    status, output = run(str(shared / "models" / MNET), "--aspect", "wide")
    assert status == 2
    assert "16:9" in output

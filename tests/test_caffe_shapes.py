"""Shape inference against windows that are enumerated as Caffe's loops do."""

from __future__ import annotations

import itertools
from pathlib import Path

import pytest
from google.protobuf import text_format
from hypothesis import given
from hypothesis import strategies as st

from nnie_pipeline.caffe.caffe_pb2 import LayerParameter
from nnie_pipeline.caffe.net import Layer
from nnie_pipeline.caffe.shapes import ShapeError, infer, layer_shapes
from tests.caffe_nets import conv, header, layer, net_of, random_net
from tests.caffe_reference import conv_starts, deconv_size, pool_starts

Shape = tuple[int, ...]


def shapes_of(text: str, *bottoms: Shape) -> list[Shape]:
    """The top shapes of the layer written in `text`; `tops: N` and `type` as in a prototxt."""
    p = text_format.Parse(text, LayerParameter())
    made = Layer(
        p.name or "x", p.type, [f"b{i}" for i in range(len(bottoms))], list(p.top) or ["y"]
    )
    for name in ("name", "type", "top", "bottom"):
        p.ClearField(name)
    made.params = p
    return layer_shapes(made, list(bottoms))


def refusal(text: str, *bottoms: Shape) -> str:
    with pytest.raises(ShapeError) as caught:
        shapes_of(text, *bottoms)
    message = str(caught.value)
    assert "\n" not in message
    assert message.startswith("layer x")
    return message


def test_convolution_has_as_many_windows_as_fit() -> None:
    for kernel, stride, pad, dilation in itertools.product(
        (1, 2, 3, 5), (1, 2, 3), range(4), (1, 2, 3)
    ):
        text = (
            f'type: "Convolution" convolution_param {{ num_output: 7 kernel_h: {kernel} '
            f"kernel_w: 2 stride_h: {stride} stride_w: 2 pad_h: {pad} pad_w: 1 "
            f"dilation: {dilation} dilation: 1 }}"
        )
        for size in range(1, 14):
            rows = len(conv_starts(size, kernel, stride, pad, dilation))
            columns = len(conv_starts(15 - size, 2, 2, 1))
            if rows:
                expected = [(1, 7, rows, columns)]
                assert shapes_of(text, (1, 3, size, 15 - size)) == expected, (text, size)
            else:
                assert "smaller than the window" in refusal(text, (1, 3, size, 15 - size))


def test_deconvolution_reaches_as_far_as_its_taps() -> None:
    for kernel, stride, pad, dilation in itertools.product(
        (1, 2, 3, 4), (1, 2, 3), range(3), (1, 2)
    ):
        text = (
            f'type: "Deconvolution" convolution_param {{ num_output: 4 kernel_size: {kernel} '
            f"stride: {stride} pad: {pad} dilation: {dilation} }}"
        )
        for size in range(1, 9):
            height = deconv_size(size, kernel, stride, pad, dilation)
            width = deconv_size(9 - size, kernel, stride, pad, dilation)
            if min(height, width) > 0:
                expected = [(2, 4, height, width)]
                assert shapes_of(text, (2, 6, size, 9 - size)) == expected, (text, size)
            else:
                refusal(text, (2, 6, size, 9 - size))


def test_pooling_rounds_up_and_drops_a_window_behind_the_pad() -> None:
    kinds = itertools.product((1, 2, 3, 4, 5), (1, 2, 3, 4), range(4))
    dropped = 0
    for kernel, stride, pad in kinds:
        if pad >= kernel:
            continue
        text = (
            f'type: "Pooling" pooling_param {{ kernel_size: {kernel} stride: {stride} '
            f"pad_h: {pad} pad_w: 0 }}"
        )
        for size in range(1, 16):
            rows = pool_starts(size, kernel, stride, pad, pad > 0)
            columns = pool_starts(16 - size, kernel, stride, 0, pad > 0)
            dropped += len(rows) < len(pool_starts(size, kernel, stride, pad, False))
            if min(size + 2 * pad, 16 - size) - kernel <= -stride:
                # ceil(-1) + 1 windows: Caffe makes none of a map so much smaller.
                refusal(text, (1, 2, size, 16 - size))
                continue
            outside = rows[-1] >= size or columns[-1] >= 16 - size
            if outside:
                assert "outside" in refusal(text, (1, 2, size, 16 - size))
            else:
                expected = [(1, 2, len(rows), len(columns))]
                assert shapes_of(text, (1, 2, size, 16 - size)) == expected, (text, size)
    assert dropped > 10


def test_pooling_that_asks_for_rounding_down_is_rounded_down() -> None:
    text = 'type: "Pooling" pooling_param { kernel_size: 2 stride: 2 %s }'
    for size in range(2, 9):
        up, down = (-(-size // 2), size // 2)
        for field, expected in (
            ("", up), ("round_mode: CEIL", up), ("ceil_mode: true", up),
            ("round_mode: FLOOR", down), ("ceil_mode: false", down),
        ):  # fmt: skip
            assert shapes_of(text % field, (1, 2, size, 6)) == [(1, 2, expected, 3)]


def test_global_pooling() -> None:
    text = 'type: "Pooling" pooling_param { global_pooling: true pool: AVE }'
    assert shapes_of(text, (1, 5, 7, 9)) == [(1, 5, 1, 1)]


def test_a_kernel_in_any_of_caffes_spellings() -> None:
    same = (
        "kernel_size: 3 stride: 2 pad: 1",
        "kernel_size: 3 kernel_size: 3 stride: 2 stride: 2 pad: 1 pad: 1",
        "kernel_h: 3 kernel_w: 3 stride_h: 2 stride_w: 2 pad_h: 1 pad_w: 1",
    )
    for spelling in same:
        text = f'type: "Convolution" convolution_param {{ num_output: 2 {spelling} }}'
        assert shapes_of(text, (1, 3, 9, 11)) == [(1, 2, 5, 6)]
    uneven = (
        "kernel_size: 3 kernel_size: 5 stride: 1 stride: 2 pad: 0 pad: 1 dilation: 2 dilation: 1"
    )
    text = f'type: "Convolution" convolution_param {{ num_output: 2 {uneven} }}'
    # Rows: 9 - 5 + 1; columns: (11 + 2 - 5) / 2 + 1.
    assert shapes_of(text, (1, 3, 9, 11)) == [(1, 2, 5, 5)]


@pytest.mark.parametrize(
    ("text", "bottom", "words"),
    [
        ('type: "Convolution" convolution_param { num_output: 2 }', (1, 3, 4, 4), "no kernel_size"),
        (
            'type: "Convolution" convolution_param { num_output: 2 kernel_h: 3 }',
            (1, 3, 4, 4), "kernel 3x0",
        ),
        (
            'type: "Convolution" convolution_param { num_output: 2 kernel_size: 0 }',
            (1, 3, 4, 4), "kernel 0x0",
        ),
        (
            'type: "Convolution" convolution_param { num_output: 2 kernel_size: 1 stride: 0 }',
            (1, 3, 4, 4), "stride 0x0",
        ),
        (
            'type: "Convolution" convolution_param { num_output: 2 kernel_size: 1 dilation: 0 }',
            (1, 3, 4, 4), "dilation 0x0",
        ),
        (
            'type: "Convolution" convolution_param { num_output: 2 kernel_size: 1 group: 2 }',
            (1, 3, 4, 4), "3 channels do not split into 2 groups",
        ),
        (
            'type: "Convolution" convolution_param { num_output: 2 kernel_size: 1 group: 3 }',
            (1, 3, 4, 4), "2 outputs do not split into 3 groups",
        ),
        (
            'type: "Convolution" convolution_param { num_output: 2 kernel_size: 1 group: 0 }',
            (1, 3, 4, 4), "group 0",
        ),
        (
            'type: "Convolution" convolution_param { num_output: 2 kernel_size: 1 }',
            (1, 3), "N x C x H x W",
        ),
        (
            'type: "Convolution" convolution_param { num_output: 2 kernel_size: 5 }',
            (1, 3, 4, 4), "smaller than the window",
        ),
        (
            'type: "Deconvolution" convolution_param { num_output: 2 kernel_size: 2 group: 2 }',
            (1, 3, 4, 4), "3 channels do not split into 2 groups",
        ),
        ('type: "Pooling" pooling_param { pool: MAX }', (1, 3, 4, 4), "no kernel_size"),
        ('type: "Pooling" pooling_param { kernel_size: 2 }', (1, 3), "N x C x H x W"),
        (
            'type: "Pooling" pooling_param { kernel_size: 2 stride_h: 1 }',
            (1, 3, 4, 4), "stride 1x0",
        ),
        (
            'type: "Pooling" pooling_param { kernel_size: 2 pad: 2 }',
            (1, 3, 4, 4), "pad 2x2",
        ),
        (
            'type: "Pooling" pooling_param { kernel_size: 1 stride: 2 }',
            (1, 3, 4, 5), "outside",
        ),
        ('type: "Nope"', (1, 3, 4, 4), "type Nope is not known"),
        ('type: "Convolution" top: "a" top: "b" convolution_param { num_output: 2 kernel_size: 1 }',
         (1, 3, 4, 4), "1 top, not 2"),
        ('type: "ReLU" top: "a" top: "b"', (1, 3, 4, 4), "1 top, not 2"),
        ('type: "Softmax" softmax_param { axis: 4 }', (1, 3, 4, 4), "axis 4"),
        ('type: "Tile" tile_param { axis: 2 tiles: 40000000 }', (1, 3, 4, 6), "at most 2147483647"),
        ('type: "Softmax" softmax_param { axis: -5 }', (1, 3, 4, 4), "axis -5"),
    ],
)  # fmt: skip
def test_what_cannot_be_is_one_clear_line(text: str, bottom: Shape, words: str) -> None:
    message = refusal(text, bottom)
    assert words in message
    assert "x".join(map(str, bottom)) in message or "not known" in message


def test_a_wrong_number_of_bottoms() -> None:
    assert "nothing: it takes 1 bottom, not 0" in refusal('type: "ReLU"')
    text = 'type: "Convolution" convolution_param { num_output: 2 kernel_size: 1 }'
    assert "it takes 1 bottom, not 2" in refusal(text, (1, 3, 4, 4), (1, 3, 4, 4))


RESHAPES: list[tuple[str, Shape, Shape]] = [
    ("shape { dim: 0 dim: -1 }", (2, 3, 4, 5), (2, 60)),
    ("shape { dim: 0 dim: 2 dim: -1 dim: 0 }", (1, 6, 4, 5), (1, 2, 12, 5)),
    ("shape { dim: -1 dim: 0 dim: 0 }", (2, 3, 4), (2, 3, 4)),
    ("shape { dim: 10 dim: 12 }", (2, 3, 4, 5), (10, 12)),
    ("shape { dim: -1 }", (2, 3, 4, 5), (120,)),
    ("shape { dim: 4 dim: -1 } axis: 1", (2, 3, 4, 5), (2, 4, 15)),
    ("shape { dim: 6 } axis: 1 num_axes: 1", (1, 6, 4, 5), (1, 6, 4, 5)),
    ("shape { dim: 2 dim: 3 } axis: 1 num_axes: 1", (1, 6, 4, 5), (1, 2, 3, 4, 5)),
    ("shape { dim: 2 dim: -1 } axis: 1 num_axes: 2", (1, 6, 4, 5), (1, 2, 12, 5)),
    ("shape { dim: 1 } axis: 1 num_axes: 0", (2, 3), (2, 1, 3)),
    ("shape { dim: 1 dim: 1 } axis: -1 num_axes: 0", (2, 3), (2, 3, 1, 1)),
    ("shape { } axis: 1 num_axes: 1", (2, 1, 3), (2, 3)),
    ("shape { dim: 0 } axis: 2 num_axes: 1", (2, 3, 4, 5), (2, 3, 4, 5)),
]


@pytest.mark.parametrize(("param", "bottom", "top"), RESHAPES)
def test_reshape(param: str, bottom: Shape, top: Shape) -> None:
    """Examples worked out by hand from the comments of ReshapeParameter in Caffe's proto."""
    assert shapes_of(f'type: "Reshape" reshape_param {{ {param} }}', bottom) == [top]


@pytest.mark.parametrize(
    ("param", "words"),
    [
        ("shape { dim: 7 dim: -1 }", "do not divide by 7"),
        ("shape { dim: 0 dim: 5 }", "do not fill"),
        ("shape { dim: -1 dim: -1 dim: 24 }", "more than one -1"),
        ("shape { dim: -2 dim: -12 }", "dim -12"),
        ("shape { dim: 0 dim: 0 dim: 0 dim: 0 dim: 0 }", "copies an axis"),
        ("shape { dim: 24 } axis: 4", "axis 4"),
        # Axis -1 stands behind the last one, where nothing is left to be reshaped.
        ("shape { dim: 6 dim: 4 } axis: -1", "24 values do not fill 2x3x4x6x4"),
        ("shape { dim: 24 } axis: -5", "axis -5"),
        ("shape { dim: 24 } axis: 1 num_axes: 5", "num_axes 5"),
    ],
)
def test_reshape_that_cannot_be(param: str, words: str) -> None:
    message = refusal(f'type: "Reshape" reshape_param {{ {param} }}', (2, 3, 4))
    assert words in message
    assert "2x3x4" in message


@given(st.lists(st.integers(1, 4), min_size=1, max_size=4), st.data())
def test_reshape_keeps_every_value(bottom: list[int], data: st.DataObject) -> None:
    keep = data.draw(st.integers(0, len(bottom)))
    dims = [0] * keep + [-1]
    param = "shape { " + " ".join(f"dim: {x}" for x in dims) + " }"
    (top,) = shapes_of(f'type: "Reshape" reshape_param {{ {param} }}', tuple(bottom))
    rest = 1
    for side in bottom[keep:]:
        rest *= side
    assert top == (*bottom[:keep], rest)


@pytest.mark.parametrize(
    ("param", "tops", "expected"),
    [
        ("slice_point: 1 slice_point: 4", "abc", [(2, 1, 4), (2, 3, 4), (2, 2, 4)]),
        ("", "abc", [(2, 2, 4)] * 3),
        ("", "a", [(2, 6, 4)]),
        ("axis: 2", "ab", [(2, 6, 2)] * 2),
        ("axis: -1 slice_point: 3", "ab", [(2, 6, 3), (2, 6, 1)]),
        ("slice_dim: 0", "ab", [(1, 6, 4)] * 2),
    ],
)
def test_slice(param: str, tops: str, expected: list[Shape]) -> None:
    names = " ".join(f'top: "{x}"' for x in tops)
    text = f'type: "Slice" {names} slice_param {{ {param} }}'
    assert shapes_of(text, (2, 6, 4)) == expected


@pytest.mark.parametrize(
    ("param", "tops", "words"),
    [
        ("", "abcd", "6 does not split into 4"),
        ("slice_point: 2", "abc", "1 slice points for 3 tops"),
        ("slice_point: 4 slice_point: 2", "abc", "[4, 2]"),
        ("slice_point: 2 slice_point: 2", "abc", "[2, 2]"),
        ("slice_point: 6", "ab", "[6]"),
        ("slice_point: 9", "ab", "[9]"),
        ("axis: 3", "ab", "axis 3"),
    ],
)
def test_slice_that_cannot_be(param: str, tops: str, words: str) -> None:
    names = " ".join(f'top: "{x}"' for x in tops)
    assert words in refusal(f'type: "Slice" {names} slice_param {{ {param} }}', (2, 6, 4))


@pytest.mark.parametrize(
    ("param", "like", "expected"),
    [
        ("", (1, 9, 4, 5), (1, 3, 4, 5)),
        ("offset: 2", (1, 9, 4, 5), (1, 3, 4, 5)),
        ("offset: 2 offset: 3", (1, 9, 4, 5), (1, 3, 4, 5)),
        ("axis: 3 offset: 3", (7, 9, 4, 5), (1, 3, 6, 5)),
        ("axis: 1", (7, 2, 4, 5), (1, 2, 4, 5)),
        ("axis: -1", (7, 2, 4, 5), (1, 3, 6, 5)),
    ],
)
def test_crop(param: str, like: Shape, expected: Shape) -> None:
    text = f'type: "Crop" crop_param {{ {param} }}'
    assert shapes_of(text, (1, 3, 6, 8), like) == [expected]


@pytest.mark.parametrize(
    ("param", "like", "words"),
    [
        ("", (1, 3, 7, 8), "exceed 6 on axis 2"),
        ("offset: 3", (1, 3, 4, 5), "offset 3 and 4 exceed 6 on axis 2"),
        ("offset: 2 offset: 4", (1, 3, 4, 5), "offset 4 and 5 exceed 8 on axis 3"),
        ("axis: 1 offset: 0 offset: 0", (1, 3, 4, 5), "2 offsets for 3 axes"),
        ("offset: 0 offset: 0 offset: 0", (1, 3, 4, 5), "3 offsets for 2 axes"),
        ("", (1, 3), "axes"),
        ("axis: 4", (1, 3, 4, 5), "axis 4"),
    ],
)
def test_crop_that_cannot_be(param: str, like: Shape, words: str) -> None:
    assert words in refusal(f'type: "Crop" crop_param {{ {param} }}', (1, 3, 6, 8), like)


def test_other_layers() -> None:
    """Each as its comment in Caffe's proto says."""
    a, b = (2, 3, 4, 5), (2, 7, 4, 5)
    assert shapes_of('type: "Concat"', a, b) == [(2, 10, 4, 5)]
    assert shapes_of('type: "Concat" concat_param { axis: -4 }', a, a) == [(4, 3, 4, 5)]
    assert shapes_of('type: "Concat" concat_param { concat_dim: 2 }', a, a) == [(2, 3, 8, 5)]
    assert shapes_of('type: "Eltwise"', a, a, a) == [a]
    assert shapes_of('type: "Flatten"', a) == [(2, 60)]
    assert shapes_of('type: "Flatten" flatten_param { axis: 0 end_axis: -2 }', a) == [(24, 5)]
    assert shapes_of('type: "Permute" permute_param { order: 0 order: 2 }', a) == [(2, 4, 3, 5)]
    inner = 'type: "InnerProduct" inner_product_param { num_output: 9 %s }'
    assert shapes_of(inner % "", a) == [(2, 9)]
    assert shapes_of(inner % "axis: 2", a) == [(2, 3, 9)]
    assert shapes_of(inner % "axis: -1", a) == [(2, 3, 4, 9)]
    assert shapes_of('type: "Split" top: "a" top: "b"', a) == [a, a]
    assert shapes_of('type: "Upsample" upsample_param { scale: 3 }', a) == [(2, 3, 12, 15)]
    assert shapes_of('type: "Reduction" reduction_param { axis: 2 }', a) == [(2, 3)]


def test_rarer_layers() -> None:
    a = (2, 3, 4, 6)
    assert shapes_of('type: "Reduction"', a) == [()]
    assert shapes_of('type: "Tile" tile_param { axis: -1 tiles: 3 }', a) == [(2, 3, 4, 18)]
    assert shapes_of('type: "MVN"', (2, 6)) == [(2, 6, 1, 1)]
    assert shapes_of('type: "CReLU"', a) == [(2, 6, 4, 6)]
    assert shapes_of('type: "ArgMax" argmax_param { top_k: 5 }', a) == [(2, 1, 5, 1)]
    assert shapes_of('type: "ArgMax" argmax_param { axis: 1 top_k: 2 }', a) == [(2, 2, 4, 6)]
    assert shapes_of('type: "ArgMax" argmax_param { out_max_val: true }', (2, 9)) == [(2, 2, 1)]
    block = 'type: "PassThrough" pass_through_param { block_height: 2 block_width: 3 }'
    assert shapes_of(block, a) == [(2, 18, 2, 2)]
    assert shapes_of('type: "MatMul"', (3, 4), (5, 4)) == [(3, 5)]
    assert shapes_of('type: "Parameter" parameter_param { shape { dim: 2 dim: 3 } }') == [(2, 3)]
    assert shapes_of('type: "Proposal" proposal_param { post_nms_topn: 9 }', a, a, (1, 3)) == [
        (18, 5)
    ]
    assert shapes_of('type: "Upsample"', a, a) == [(2, 3, 8, 12)]
    pooled = 'type: "Pooling" top: "y" top: "mask" pooling_param { kernel_size: 2 stride: 2 }'
    assert shapes_of(pooled, a) == [(2, 3, 2, 3)] * 2


def test_a_pyramid_has_a_bin_a_place() -> None:
    """1 + 4 + 16 bins; a single level keeps its map; Caffe refuses what its pads cannot cover."""
    text = 'type: "SPP" spp_param { pyramid_height: %d }'
    assert shapes_of(text % 3, (2, 5, 8, 12)) == [(2, 5 * 21)]
    assert shapes_of(text % 1, (2, 5, 8, 12)) == [(2, 5, 1, 1)]
    assert "level 2" in refusal(text % 4, (1, 5, 5, 5))
    assert "pyramid_height 0" in refusal('type: "SPP"', (1, 5, 5, 5))


def test_recurrent_layers_expose_their_state() -> None:
    x, cont, state = (5, 2, 3), (5, 2), (1, 2, 4)
    text = 'type: "%s" %s recurrent_param { num_output: 4 expose_hidden: %s }'
    assert shapes_of(text % ("LSTM", "", "false"), x, cont) == [(5, 2, 4)]
    assert shapes_of(text % ("RNN", "", "false"), x, cont, (2, 7)) == [(5, 2, 4)]
    tops = 'top: "h" top: "a" top: "b"'
    found = shapes_of(text % ("LSTM", tops, "true"), x, cont, state, state)
    assert found == [(5, 2, 4), state, state]
    assert "takes x, cont" in refusal(text % ("LSTM", "", "false"), x)
    assert "cont must be 5x2" in refusal(text % ("RNN", "", "false"), x, (2, 5))
    assert "a state is 1x2x4" in refusal(text % ("RNN", tops, "true"), x, cont, (1, 2, 3))
    assert "static input" in refusal(text % ("RNN", "", "false"), x, cont, (3, 7))


def test_regions_of_a_map() -> None:
    a = (1, 18, 9, 7)
    roi = 'type: "ROIPooling" roi_pooling_param { pooled_h: 2 pooled_w: 3 }'
    assert shapes_of(roi, a, (11, 5)) == [(11, 18, 2, 3)]
    assert shapes_of(roi, a, (11, 5, 1, 1)) == [(11, 18, 2, 3)]
    parts = (
        'type: "PSROIPooling" psroi_pooling_param { spatial_scale: 1 output_dim: 2 group_size: %d }'
    )
    assert shapes_of(parts % 3, a, (11, 5)) == [(11, 2, 3, 3)]
    assert "R x 5" in refusal(roi, a, (11, 4))
    assert "R x 5" in refusal(roi, a)
    assert "18 channels" in refusal(parts % 2, a, (11, 5))


def test_interp_takes_a_size_or_factors() -> None:
    a = (1, 2, 9, 5)
    text = 'type: "Interp" interp_param { %s }'
    assert shapes_of(text % "height: 4 width: 7", a) == [(1, 2, 4, 7)]
    assert shapes_of(text % "zoom_factor: 2", a) == [(1, 2, 17, 9)]
    assert shapes_of(text % "shrink_factor: 2", a) == [(1, 2, 5, 3)]
    assert shapes_of(text % "shrink_factor: 2 zoom_factor: 4", a) == [(1, 2, 17, 9)]
    assert shapes_of(text % "zoom_factor: 2 pad_beg: -1 pad_end: -2", a) == [(1, 2, 11, 3)]
    assert "cut off" in refusal(text % "zoom_factor: 2 pad_beg: 1", a)
    assert "height and width" in refusal(text % "height: 4", a)


@pytest.mark.parametrize(
    ("text", "bottoms", "words"),
    [
        ('type: "Upsample"', [(1, 2, 4, 4), (1, 2, 4, 3)], "mask"),
        ('type: "PassThrough"', [(1, 2, 4, 4)], "write block_height"),
        ('type: "LRN" lrn_param { local_size: 4 }', [(1, 2, 4, 4)], "must be odd"),
        ('type: "MatMul"', [(3, 4), (4, 3)], "two matrices"),
        ('type: "ArgMax" argmax_param { top_k: 9 axis: 1 }', [(1, 2, 4, 4)], "top_k 9 of 2"),
        ('type: "MVN"', [(1, 2, 3, 4, 5)], "4 axes"),
        ('type: "Pooling" top: "y" top: "m" pooling_param { pool: AVE kernel_size: 2 }',
         [(1, 2, 4, 4)], "1 top, not 2"),
    ],
)  # fmt: skip
def test_rarer_layers_that_cannot_be(text: str, bottoms: list[Shape], words: str) -> None:
    assert words in refusal(text, *bottoms)


@pytest.mark.parametrize(
    ("text", "bottoms", "words"),
    [
        ('type: "Concat"', [(2, 3, 4), (2, 3, 5)], "axis 1 only"),
        ('type: "Concat"', [(2, 3, 4), (2, 3)], "axis 1 only"),
        ('type: "Eltwise"', [(2, 3, 4), (2, 3, 5)], "one shape"),
        ('type: "Eltwise" eltwise_param { coeff: 1 }', [(2, 3), (2, 3)], "1 coefficients for 2"),
        ('type: "Flatten" flatten_param { axis: 2 end_axis: 1 }', [(2, 3, 4)], "end_axis 1"),
        ('type: "Permute" permute_param { order: 0 order: 0 }', [(2, 3)], "order [0, 0]"),
        ('type: "Permute" permute_param { order: 2 }', [(2, 3)], "order [2]"),
    ],
)
def test_others_that_cannot_be(text: str, bottoms: list[Shape], words: str) -> None:
    message = refusal(text, *bottoms)
    assert words in message
    for shape in bottoms:
        assert "x".join(map(str, shape)) in message


WEIGHTED = (
    header(1, 4, 6, 6)
    + conv("conv", "data", 6, 3, "group: 2")
    + layer("BatchNorm", "bn", "conv")
    + layer("Scale", "scale", "bn", "", "scale_param { bias_term: true }")
    + layer("Bias", "bias", "scale")
    + layer("PReLU", "prelu", "bias")
    + layer("Deconvolution", "up", "prelu", "", "convolution_param { num_output: 4 kernel_size: 2 "
            "group: 2 }")
    + layer("DepthwiseConv", "dw", "up", "", "convolution_param { num_output: 4 kernel_size: 3 }")
    + layer("Normalize", "norm", "dw", "", "norm_param { channel_shared: false }")
    + layer("CReLU", "crelu", "norm")
    + layer("InnerProduct", "fc", "crelu", "", "inner_product_param { num_output: 5 }")
)  # fmt: skip


def test_weights_of_caffes_shapes_are_taken() -> None:
    net, _ = random_net(WEIGHTED)
    assert all(x.weights for x in net.layers)
    assert infer(net)["fc"] == (1, 5)
    # Older files hold the same numbers with axes of 1 in front.
    for entry in net.layers:
        entry.weights = [x.reshape((1,) * (4 - x.ndim) + x.shape) for x in entry.weights]
    assert infer(net)["fc"] == (1, 5)


@pytest.mark.parametrize("name", [x.split('"')[1] for x in WEIGHTED.splitlines()[1:]])
def test_wrong_weights_are_refused(name: str) -> None:
    for blob in range(len(random_net(WEIGHTED)[0].find(name).weights)):
        net, _ = random_net(WEIGHTED)
        entry = net.find(name)
        entry.weights[blob] = entry.weights[blob].repeat(2, axis=0)
        with pytest.raises(ShapeError, match=f"layer {name} .*weights"):
            infer(net)


@pytest.mark.parametrize("name", ["conv", "bn", "scale", "up", "dw", "fc"])
def test_a_wrong_number_of_blobs_is_refused(name: str) -> None:
    net, _ = random_net(WEIGHTED)
    entry = net.find(name)
    right = len(entry.weights)
    for wrong in (entry.weights[:-1], [*entry.weights, entry.weights[-1]]):
        entry.weights = wrong
        with pytest.raises(ShapeError, match=rf"layer {name} .*{len(wrong)} blobs.*not {right}"):
            infer(net)


@pytest.mark.parametrize("kind", ["LSTM", "RNN"])
@pytest.mark.parametrize("static", [False, True])
def test_weights_of_recurrent_layers(kind: str, static: bool) -> None:
    inputs = header(4, 2, 3) + header(4, 2, name="cont") + header(2, 6, name="still")
    bottoms = f"data cont{' still' if static else ''}"
    text = inputs + layer(kind, "x", bottoms, "", "recurrent_param { num_output: 5 }")
    net, _ = random_net(text)
    assert infer(net)["x"] == (4, 2, 5)
    right = net.layers[0].weights
    for blob, array in enumerate(right):
        net.layers[0].weights = [x.repeat(2, axis=0) if x is array else x for x in right]
        with pytest.raises(ShapeError, match=r"layer x .*weights"):
            infer(net)
        net.layers[0].weights = right[:blob] + right[blob + 1 :]
        with pytest.raises(ShapeError, match=rf"{len(right) - 1} blobs .*not {len(right)}"):
            infer(net)


def test_a_bias_that_is_switched_off_is_not_silently_added() -> None:
    text = header(1, 2, 3, 3) + conv("conv", "data", 2, 1, "bias_term: false")
    net, _ = random_net(text)
    net.layers[0].weights.append(net.layers[0].weights[0][:, 0, 0, 0])
    with pytest.raises(ShapeError, match=r"2 blobs.*not 1"):
        infer(net)


def test_inference_runs_through_a_net_at_other_sizes() -> None:
    net = net_of(
        header(1, 3, 9, 9)
        + conv("conv", "data", 8, 3, "stride: 2")
        + layer("Pooling", "pool", "conv", "", "pooling_param { kernel_size: 2 stride: 2 }")
    )
    assert infer(net) == {"data": (1, 3, 9, 9), "conv": (1, 8, 4, 4), "pool": (1, 8, 2, 2)}
    assert infer(net, {"data": (2, 3, 12, 17)})["pool"] == (2, 8, 3, 4)


def test_real_networks_have_the_shapes_that_their_authors_give(shared: Path) -> None:
    """Feature maps named in public descriptions of the networks."""
    text = (shared / "models/mobilefacenet/mxnet2caffe_mobilefacenet.prototxt").read_text()
    assert infer(net_of(text))["fc1"] == (1, 128)
    text = (shared / "models/ultraface/RFB-320.prototxt").read_text()
    shapes = infer(net_of(text))
    # 4420 anchors: 3 x 30x40, 2 x 15x20, 2 x 8x10, 3 x 4x5.
    assert (shapes["boxes"], shapes["scores"]) == ((1, 4420, 4), (1, 4420, 2))

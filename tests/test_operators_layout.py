"""Slice, Split, Gather, Concat, Reshape, Transpose, Pad and their kin against onnxruntime."""

from __future__ import annotations

import itertools
from collections.abc import Sequence
from typing import Any

import numpy as np
import onnx
import pytest

from nnie_pipeline.caffe.net import Net
from nnie_pipeline.onnx2caffe.convert import convert
from tests.small_onnx import agree, model, node, refusal

FAR = 1 << 40
EIGHT = {"x": (1, 8, 12, 10)}


def whole(*numbers: int) -> np.ndarray:
    return np.array(numbers, np.int64)


def weights(*shape: int) -> np.ndarray:
    return np.random.default_rng(5).normal(size=shape).astype(np.float32)


class Build:
    """A chain of nodes with their constants."""

    def __init__(self, shape: tuple[int, ...] = EIGHT["x"], opset: int = 17) -> None:
        self.shape, self.opset = shape, opset
        self.nodes: list[onnx.NodeProto] = []
        self.constants: dict[str, Any] = {}

    def add(self, operator: str, inputs: str, output: str = "y", **rest: Any) -> Build:
        """Arrays in `rest` are constants behind the inputs, everything else attributes."""
        first = output.split(maxsplit=1)[0]
        arrays = {f"{first}_{k}": v for k, v in rest.items() if isinstance(v, np.ndarray)}
        self.constants.update(arrays)
        attributes = {k: v for k, v in rest.items() if not isinstance(v, np.ndarray)}
        names = " ".join([inputs, *arrays])
        self.nodes.append(node(operator, names, output, **attributes))
        return self

    def cut(self, source: str, output: str, *cuts: tuple[int, int, int, int]) -> Build:
        """A Slice; each cut is axis, start, end, step."""
        axes, starts, ends, steps = (whole(*x) for x in zip(*cuts, strict=True))
        return self.add("Slice", source, output, a=starts, b=ends, c=axes, d=steps)

    def model(self, outputs: str = "y") -> onnx.ModelProto:
        return model(self.nodes, self.constants, {"x": self.shape}, outputs, self.opset)

    def agrees(self, kinds: str | None = None, outputs: str = "y") -> Net:
        return agree(self.model(outputs), kinds=kinds)

    def refused(self) -> str:
        return refusal(self.model())


@pytest.mark.parametrize(
    "cut",
    [
        (2, 1, 9, 1), (2, 0, 1, 1), (2, -1, FAR, 1), (-1, 2, -1, 1), (2, 1, 12, 2), (3, 0, 10, 3),
        (2, 5, FAR, 4), (1, 2, 5, 1), (1, 0, FAR, 2), (1, -1, -FAR, -1), (1, 6, 1, -2),
    ],
)  # fmt: skip
def test_slices(cut: tuple[int, int, int, int]) -> None:
    Build().cut("x", "y", cut).agrees("Convolution")


def test_slices_of_several_axes_and_of_slices() -> None:
    Build().cut("x", "y", (1, 2, 7, 2), (2, 1, 9, 2), (3, 1, 8, 1)).agrees("Convolution")
    Build().cut("x", "a", (2, 1, 9, 1)).cut("a", "y", (2, 2, 8, 3)).agrees("Convolution")
    both = Build().cut("x", "a", (2, 1, 9, 1)).cut("a", "b", (2, 2, 8, 3)).add("Relu", "b", "c")
    both.add("Relu", "a", "d").agrees("Convolution ReLU Convolution ReLU", "c d")


def test_a_single_column_of_some_rows() -> None:
    Build((1, 2, 12, 4)).cut("x", "y", (2, 2, 5, 1), (3, 1, 2, 1)).agrees("Convolution")
    # Together the two would take a kernel that is too tall for its stride.
    both = Build((1, 2, 300, 300)).cut("x", "y", (3, 7, 8, 1), (2, 3, 4, 1))
    both.agrees("Convolution Convolution")


def test_slices_by_attributes() -> None:
    old = Build(opset=9)
    old.add("Slice", "x", starts=[1, -4], ends=[7, FAR >> 16], axes=[1, 2]).agrees("Convolution")
    Build(opset=7).add("Slice", "x", starts=[0, 3], ends=[1, 5]).agrees("Convolution")


def test_a_cut_that_no_kernel_reaches_is_a_slice() -> None:
    net = Build((1, 2, 320, 8)).cut("x", "y", (2, 290, 300, 1)).agrees("Slice")
    assert list(net.layers[0].params.slice_param.slice_point) == [290, 300]
    assert len(net.outputs) == 1
    vector = Build().add("Reshape", "x", "r", s=whole(1, -1, 10)).cut("r", "y", (2, 0, 4, 1))
    vector.agrees("Reshape Slice")


def test_pieces_of_a_vector_leave_no_output_when_all_are_read() -> None:
    for order in itertools.permutations([(0, 4), (4, 5), (5, 10)]):
        build = Build().add("Reshape", "x", "r", s=whole(1, -1, 10))
        for i, (start, end) in enumerate(order):
            build.cut("r", f"p{i}", (2, start, end, 1)).add("Relu", f"p{i}", f"q{i}")
        net = build.agrees(outputs="q0 q1 q2")
        read = {x for layer in net.layers for x in layer.bottoms}
        assert {x for layer in net.layers for x in layer.tops} - read == set(net.outputs)


def test_refused_slices() -> None:
    text = Build().cut("x", "y", (2, -1, -FAR, -1)).refused()
    assert "ONNX node Slice_y (Slice, [1, 8, 12, 10]" in text
    assert f"it takes -1:-{FAR}:-1 of axis 2" in text
    assert "no reversed rows or columns" in text


def test_a_split_whose_pieces_are_all_read() -> None:
    build = Build().add("Split", "x", "a b", axis=1, s=whole(3, 5))
    build.add("Concat", "b a", axis=1).agrees("Slice Concat")
    Build(opset=7).add("Split", "x", "a b", axis=-1).add("Add", "a b").agrees("Slice Eltwise")
    even = Build(opset=11).add("Split", "x", "a b c", axis=2, split=[2, 6, 4])
    even.add("Concat", "c a b", axis=2).agrees("Slice Concat")
    last = Build((1, 8, 11, 10), 18).add("Split", "x", "a b c", axis=2, num_outputs=3)
    last.add("Concat", "c a b", axis=2).agrees("Slice Concat")
    last = Build((1, 8, 11, 10), 18).add("Split", "x", "a b c", axis=2, num_outputs=3)
    last.add("Relu", "c").agrees("Convolution ReLU")


def test_a_split_with_a_piece_that_nobody_reads_leaves_no_output() -> None:
    build = Build().add("Split", "x", "a b c", axis=1, s=whole(3, 4, 1)).add("Add", "a c", "d")
    del build.nodes[-1]
    build.add("Relu", "b").agrees("Convolution ReLU")


def test_a_split_of_a_shuffle_goes_into_the_next_layers() -> None:
    build = Build().add("Reshape", "x", "a", s=whole(1, 2, 4, 12, 10))
    build.add("Transpose", "a", "b", perm=[0, 2, 1, 3, 4]).add("Reshape", "b", "c", s=EIGHT_SHAPE)
    build.add("Split", "c", "d e", axis=1, s=whole(4, 4))
    build.add("Conv", "e", "f", w=weights(4, 4, 1, 1)).add("Concat", "d f", axis=1)
    build.agrees("Convolution Convolution Concat")


EIGHT_SHAPE = whole(*EIGHT["x"])


def test_refused_split() -> None:
    build = Build((1, 8, 12, 10)).add("Reshape", "x", "a", s=whole(1, 2, 4, 12, 10))
    text = build.add("Split", "a", "y z", axis=2, s=whole(1, 3)).refused()
    assert "axes" in text
    assert "(Reshape" in text or "splits axis 2 of 5" in text


@pytest.mark.parametrize(
    ("axis", "places"),
    [(1, [2, 0, 1, 7]), (1, [2, 2, -1]), (1, [3]), (2, [1, 3, 5, 7]), (-1, [4, 5, 6]), (3, [-1])],
)
def test_gathers(axis: int, places: list[int]) -> None:
    Build().add("Gather", "x", axis=axis, i=whole(*places)).agrees("Convolution")


def test_gathers_of_other_ranks() -> None:
    Build().add("Gather", "x", axis=1, i=np.array(3)).agrees("Convolution Reshape")
    Build().add("Gather", "x", axis=2, i=np.array(-2)).agrees("Convolution Reshape")


def test_channels_in_another_order_go_into_the_next_convolution() -> None:
    build = Build((1, 3, 9, 7)).add("Gather", "x", "g", axis=1, i=whole(2, 1, 0))
    build.add("Conv", "g", pads=[1, 1, 1, 1], w=weights(6, 3, 3, 3)).agrees("Convolution")


def test_refused_gathers() -> None:
    text = Build().add("Gather", "x", axis=2, i=whole(1, 3, 4)).refused()
    assert "it takes the places [1, 3, 4] of axis 2" in text
    assert "even distances" in text
    assert "x[:, a:b]" in text
    build = Build().add("Cast", "x", "i", to=7)
    build.nodes.append(node("Gather", "t i", axis=0))
    build.constants["t"] = weights(9, 4)
    text = build.refused()
    assert "table" in text or "Cast" in text


def focus(
    order: Sequence[tuple[int, int]], kernel: int, stride: int, shape: tuple[int, ...], nested: bool
) -> Build:
    build = Build(shape)
    for i, (row, column) in enumerate(order):
        if nested:
            build.cut("x", f"r{i}", (2, row, FAR, 2)).cut(f"r{i}", f"s{i}", (3, column, FAR, 2))
        else:
            build.cut("x", f"s{i}", (2, row, FAR, 2), (3, column, FAR, 2))
    build.add("Concat", "s0 s1 s2 s3", "c", axis=1)
    return build.add(
        "Conv", "c", w=weights(8, 12, kernel, kernel), b=weights(8), strides=[stride] * 2,
        pads=[kernel // 2] * 4,
    )  # fmt: skip


YOLO = ((0, 0), (1, 0), (0, 1), (1, 1))


@pytest.mark.parametrize("shape", [(1, 3, 12, 16), (1, 3, 22, 38)])
@pytest.mark.parametrize("kernel", [1, 3, 5])
@pytest.mark.parametrize("stride", [1, 2])
@pytest.mark.parametrize("nested", [False, True])
def test_focus_is_one_convolution(
    shape: tuple[int, ...], kernel: int, stride: int, nested: bool
) -> None:
    net = focus(YOLO, kernel, stride, shape, nested).agrees("Convolution")
    param = net.layers[0].params.convolution_param
    assert list(param.kernel_size) == [2 * kernel]
    assert list(param.stride) == [2 * stride]
    assert list(param.pad) == ([kernel - 1] if kernel > 1 else [])


def test_focus_in_any_order_of_its_pieces() -> None:
    for order in itertools.permutations(YOLO):
        focus(order, 3, 1, (1, 3, 8, 8), False).agrees("Convolution")


def test_yolox_begins_with_one_convolution(shared: Any) -> None:
    source = onnx.load(shared / "models" / "yolox" / "yolox_nano.onnx")
    stem = "/backbone/backbone/stem/conv/conv/Conv_output_0"
    net = convert(source, "yolox", (96, 160), [stem]).net
    assert [x.type for x in net.layers] == ["Convolution"]
    assert net.layers[0].weights[0].shape == (16, 3, 6, 6)


def test_convolutions_of_cuts() -> None:
    inside = Build().cut("x", "a", (2, 1, 12, 1))
    # A padded convolution would read the row that the Slice cut off.
    inside.add("Conv", "a", pads=[1, 1, 1, 1], w=weights(8, 8, 3, 3)).agrees(
        "Convolution Convolution"
    )
    strided = Build().cut("x", "a", (2, 0, 12, 2))
    strided.add("Conv", "a", group=8, pads=[1, 1, 1, 1], w=weights(8, 1, 3, 3)).agrees(
        "Convolution"
    )
    dilated = Build().cut("x", "a", (2, 0, 12, 2), (3, 0, 10, 3))
    dilated.add("Conv", "a", dilations=[2, 1], w=weights(8, 8, 2, 2)).agrees("Convolution")
    shuffled = Build().add("Gather", "x", "a", axis=1, i=whole(1, 0, 3, 2, 5, 4, 7, 6))
    shuffled.add("Conv", "a", group=8, w=weights(8, 1, 3, 3)).agrees("Convolution Convolution")


def test_space_to_depth() -> None:
    for block in (2, 3):
        Build((1, 2, 6, 12)).add("SpaceToDepth", "x", blocksize=block).agrees("Convolution")
    build = Build((1, 3, 8, 12)).add("SpaceToDepth", "x", "a", blocksize=2)
    build.add("Conv", "a", pads=[1, 1, 1, 1], w=weights(6, 12, 3, 3)).agrees("Convolution")


@pytest.mark.parametrize("mode", ["DCR", "CRD"])
@pytest.mark.parametrize("block", [2, 3])
def test_depth_to_space(mode: str, block: int) -> None:
    build = Build((1, 2 * block**2, 3, 5), 13)
    net = build.add("DepthToSpace", "x", blocksize=block, mode=mode).agrees("Deconvolution")
    assert net.layers[0].params.convolution_param.group == (2 if mode == "CRD" else 1)


def test_depth_to_space_of_old_versions_is_dcr() -> None:
    Build((1, 8, 3, 5), 7).add("DepthToSpace", "x", blocksize=2).agrees("Deconvolution")


def reshaped(shape: tuple[int, ...], perm: list[int], last: tuple[int, ...]) -> Build:
    build = Build().add("Reshape", "x", "a", s=whole(*shape))
    return build.add("Transpose", "a", "b", perm=perm).add("Reshape", "b", s=whole(*last))


def test_shuffles() -> None:
    channels = reshaped((1, 2, 4, 12, 10), [0, 2, 1, 3, 4], EIGHT["x"])
    net = channels.agrees("Convolution")
    assert net.layers[0].weights[0].shape == (8, 8, 1, 1)
    half = reshaped((1, 2, 2, 2, 12, 10), [0, 1, 3, 2, 4, 5], EIGHT["x"]).agrees("Convolution")
    assert half.layers[0].params.convolution_param.group == 2
    reshaped((1, 2, 4, 120), [0, 2, 1, 3], EIGHT["x"]).agrees("Convolution")
    reshaped((1, 2, 2, 2, 12, 10), [0, 1, 4, 2, 5, 3], (1, 2, 24, 20)).agrees("Deconvolution")
    reshaped((1, 8, 6, 2, 5, 2), [0, 1, 3, 5, 2, 4], (1, 32, 6, 5)).agrees("Convolution")


def test_channels_last() -> None:
    Build().add("Transpose", "x", perm=[0, 2, 3, 1]).agrees("Permute")
    head = Build().add("Transpose", "x", "a", perm=[0, 2, 3, 1])
    head.add("Reshape", "a", s=whole(1, -1, 4)).agrees("Permute Reshape")
    pair = Build().add("Transpose", "x", "a", perm=[0, 2, 3, 1])
    pair.add("Reshape", "a", "b", s=whole(1, 12, 10, 8))
    pair.add("Transpose", "b", "c", perm=[0, 3, 1, 2]).add("Relu", "c").agrees("ReLU")
    chain = Build().add("Transpose", "x", "a", perm=[0, 3, 1, 2])
    chain.add("Identity", "a", "b").add("Transpose", "b", "c", perm=[0, 3, 1, 2])
    chain.add("Relu", "c").agrees("Permute ReLU")


def test_a_transpose_that_keeps_the_order_is_a_reshape() -> None:
    build = Build().add("GlobalAveragePool", "x", "a")
    build.add("Transpose", "a", perm=[0, 2, 3, 1]).agrees("Pooling Reshape")


def test_refused_transposes() -> None:
    text = Build().add("Transpose", "x", perm=[0, 3, 1, 2]).refused()
    assert "it permutes axes to [0, 3, 1, 2]" in text
    assert "[0, 2, 3, 1] only" in text
    assert "on the CPU" in text
    text = Build().add("Transpose", "x").refused()
    assert "[3, 2, 1, 0]" in text
    assert "[0, 1, 3, 2]" in Build((1, 2, 5, 5)).add("Transpose", "x", perm=[0, 1, 3, 2]).refused()
    build = Build().add("Reshape", "x", "a", s=whole(1, 8, 120))
    assert "[0, 2, 1]" in build.add("Transpose", "a", perm=[0, 2, 1]).refused()


def test_reshapes() -> None:
    for shape in [(1, -1), (1, 4, 240), (1, 2, 48, 10), (0, 0, -1)]:
        Build().add("Reshape", "x", s=whole(*shape)).agrees("Reshape")
    Build(opset=13).add("Flatten", "x").agrees("Reshape")
    Build(opset=13).add("Flatten", "x", axis=0).agrees("Reshape")
    Build(opset=11).add("Flatten", "x", axis=-3).agrees("Reshape")
    pool = Build(opset=11).add("GlobalAveragePool", "x", "a")
    pool.add("Squeeze", "a", axes=[2, 3]).agrees("Pooling Reshape")
    pool = Build(opset=13).add("GlobalAveragePool", "x", "a")
    pool.add("Squeeze", "a", "b", s=whole(2, -1)).add("Unsqueeze", "b", "c", s=whole(2, 3))
    pool.add("Conv", "c", w=weights(4, 8, 1, 1)).agrees("Pooling Convolution")
    twice = Build().add("Reshape", "x", "a", s=whole(1, 2, 4, 2, 6, 10)).add("Relu", "x", "r")
    twice.add("Reshape", "a", "b", s=EIGHT_SHAPE).add("Add", "b r").agrees("ReLU Eltwise")


def test_the_first_dim_of_a_reshape_is_0() -> None:
    net = Build().add("Reshape", "x", s=whole(1, 4, 240)).agrees("Reshape")
    assert list(net.layers[0].params.reshape_param.shape.dim) == [0, 4, 240]


def test_refused_reshapes() -> None:
    text = Build().add("Reshape", "x", s=whole(1, 2, 4, 12, 10)).refused()
    assert "ONNX node Reshape_y (Reshape, [1, 8, 12, 10] [5] -> [1, 2, 4, 12, 10])" in text
    assert "reshapes to 5 axes" in text
    assert "view(1, na, no, ny * nx)" in text
    build = Build().add("Reshape", "x", "a", s=whole(1, 2, 4, 12, 10))
    text = build.add("Transpose", "a", perm=[0, 1, 3, 4, 2]).refused()
    assert "ONNX node Reshape_a" in text
    text = Build().add("Reshape", "x", s=whole(8, -1)).refused()
    assert "changes the batch axis ([1, 8, 12, 10] to [8, 120])" in text
    assert "flatten(1)" in text
    assert "changes the batch axis" in Build().add("Flatten", "x", axis=2).refused()


def test_repeats() -> None:
    Build().add("Expand", "x", "a", s=whole(1, 8, 1, 1)).add("Relu", "a").agrees("ReLU")
    build = Build().add("GlobalAveragePool", "x", "a")
    build.add("Expand", "a", s=whole(1, 8, 5, 6)).agrees("Pooling Deconvolution")
    Build((1, 1, 5, 6)).add("Expand", "x", s=whole(1, 4, 1, 1)).agrees("Convolution")
    Build().add("Tile", "x", s=whole(1, 2, 1, 1)).agrees("Convolution")
    build = Build().add("GlobalAveragePool", "x", "a")
    build.add("Tile", "a", s=whole(1, 1, 3, 2)).agrees("Pooling Deconvolution")


def test_refused_repeats() -> None:
    text = Build().add("Tile", "x", s=whole(1, 1, 2, 1)).refused()
    assert "it repeats [1, 8, 12, 10] to [1, 8, 24, 10]" in text
    assert "up to 255 times" in text
    assert "on the CPU" in text
    text = Build((1, 2, 1, 1)).add("Expand", "x", s=whole(1, 2, 256, 2)).refused()
    assert "it repeats [1, 2, 1, 1] to [1, 2, 256, 2]" in text


@pytest.mark.parametrize("axis", [1, 2, 3, -1, -3])
def test_concats(axis: int) -> None:
    Build().add("Relu", "x", "r").add("Concat", "x r", axis=axis).agrees("ReLU Concat")


def test_concats_of_special_inputs() -> None:
    Build().add("Concat", "x x", axis=1).agrees("Concat")
    Build().add("Relu", "x", "r").add("Concat", "r", axis=1).agrees("ReLU")
    vectors = Build().add("GlobalMaxPool", "x", "a").add("GlobalAveragePool", "x", "b")
    vectors.add("Flatten", "a", "c").add("Flatten", "b", "d").add("Concat", "c d", axis=-1)
    vectors.agrees("Pooling Pooling Reshape Reshape Concat")
    Build().add("Concat", "x", axis=1, zeros=np.zeros((1, 2, 12, 10), np.float32)).agrees(
        "Convolution"
    )


@pytest.mark.parametrize("count", [32, 33, 70])
def test_concats_of_many(count: int) -> None:
    build = Build((1, 2, 8, 8)).add("Relu", "x", "r")
    build.add("Concat", " ".join(itertools.islice(itertools.cycle(["x", "r"]), count)), axis=1)
    net = build.agrees()
    assert [len(x.bottoms) for x in net.layers[1:]] == {32: [32], 33: [32, 2], 70: [32, 32, 8]}[
        count
    ]


def test_pieces_put_together_again() -> None:
    build = Build().cut("x", "a", (1, 0, 3, 1)).cut("x", "b", (1, 3, 8, 1))
    build.add("Concat", "a b", "c", axis=1).add("Relu", "c").agrees("ReLU")
    build = Build().cut("x", "a", (1, 0, 3, 1)).cut("x", "b", (1, 3, 8, 1))
    build.add("Concat", "b a", axis=1).agrees("Convolution")
    rows = Build().cut("x", "a", (2, 0, 5, 1)).cut("x", "b", (2, 5, 12, 1))
    rows.add("Concat", "b a", axis=2).agrees("Convolution Convolution Concat")


def test_refused_concats() -> None:
    text = Build().add("Concat", "x", axis=1, c=weights(1, 2, 12, 10)).refused()
    assert "its input y_c is a constant" in text
    assert "input of the network" in text
    text = Build().add("Concat", "x x", axis=0).refused()
    assert "it joins along axis 0 of 4" in text
    assert "--outputs" in text
    zeros = np.zeros((1, 8, 3, 10), np.float32)
    build = Build().cut("x", "r", (3, -1, -FAR, -1))
    build.add("Concat", "r", axis=2, zeros=zeros)
    text = build.refused()
    assert "it joins zeros in a way" in text


PADS = [[0, 0, 1, 1, 0, 0, 1, 1], [0, 0, 0, 1, 0, 0, 2, 3], [0, 1, 0, 0, 0, 2, 0, 0],
        [0, 0, -1, -1, 0, 0, -1, 0], [0, 0, -1, 2, 0, 0, 1, -3]]  # fmt: skip


@pytest.mark.parametrize("pads", PADS)
@pytest.mark.parametrize("opset", [7, 11, 13, 18])
def test_pads(pads: list[int], opset: int) -> None:
    build = Build(opset=opset)
    if opset < 11:
        build.add("Pad", "x", "p", pads=pads).add("Relu", "p")
    else:
        build.add("Pad", "x", "p", s=whole(*pads)).add("Relu", "p")
    build.agrees("Convolution ReLU")


@pytest.mark.parametrize("pads", PADS)
@pytest.mark.parametrize("own", [[0, 0, 0, 0], [1, 1, 1, 1], [2, 0, 0, 1]])
def test_pads_before_a_convolution(pads: list[int], own: list[int]) -> None:
    channels = 8 + pads[1] + pads[5]
    build = Build().add("Pad", "x", "p", s=whole(*pads))
    build.add("Conv", "p", pads=own, strides=[2, 1], w=weights(4, channels, 3, 2))
    # What cuts as well costs less as a layer of its own, or must be one (its pad is 0 where
    # the source goes on).
    build.agrees("Convolution Convolution" if min(pads) < 0 else "Convolution")


def test_pads_that_name_their_axes() -> None:
    build = Build(opset=18)
    build.nodes.append(node("Pad", "x s - a", "p"))
    build.constants.update(s=whole(0, 0, 2, 1), a=whole(2, -1))
    build.add("Conv", "p", w=weights(4, 8, 3, 3)).agrees("Convolution")
    value = Build(opset=11).add("Pad", "x", s=whole(*PADS[0]), v=np.array(0, np.float32))
    value.agrees("Convolution")


def test_refused_pads() -> None:
    for mode in ("reflect", "edge", "wrap"):
        text = Build(opset=19).add("Pad", "x", mode=mode, s=whole(*PADS[0])).refused()
        assert f"it pads by mode {mode}" in text
        assert "torch.nn.ZeroPad2d" in text
    text = Build().add("Pad", "x", s=whole(*PADS[0]), v=np.array(2, np.float32)).refused()
    assert "it pads with 2" in text
    text = Build(opset=7).add("Pad", "x", pads=PADS[0], value=-1.5).refused()
    assert "it pads with -1.5" in text
    build = Build().add("Reshape", "x", "a", s=whole(1, 80, 12))
    text = build.add("Pad", "a", s=whole(0, 0, 1, 0, 0, 1)).refused()
    assert "it pads [0, 0, 1, 0, 0, 1] around 3 axes" in text
    assert "next convolution or pooling" in text

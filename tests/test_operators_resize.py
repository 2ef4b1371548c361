"""Resize and Upsample against onnxruntime, in every version whose meaning differs."""

from __future__ import annotations

import itertools
from typing import Any

import numpy as np
import onnx
import pytest

from nnie_pipeline.errors import NotExpressibleError
from nnie_pipeline.onnx2caffe.convert import convert
from nnie_pipeline.onnx2caffe.operators.resize_lines import line_of
from tests.small_onnx import agree, model, node, refusal

HALF, PYTORCH, ALIGN, PLAIN, SYMMETRIC = (
    "half_pixel", "pytorch_half_pixel", "align_corners", "asymmetric", "half_pixel_symmetric",
)  # fmt: skip
ROUNDINGS = ["round_prefer_floor", "round_prefer_ceil", "floor", "ceil"]


def resized(
    opset: int,
    size: tuple[int, int] = (4, 5),
    scales: tuple[float, float] | None = None,
    sizes: tuple[int, ...] | None = None,
    channels: int = 3,
    **attributes: Any,
) -> onnx.ModelProto:
    """A Resize (before opset 10 an Upsample) in the form of its version."""
    shape = {"x": (1, channels, *size)}
    if scales is not None:
        given = np.array([1, 1, *scales], np.float32)
        if opset < 9:
            scaled = node("Upsample", "x", scales=given.tolist(), **attributes)
            return model([scaled], {}, shape, opset=opset)
        operator, inputs = ("Upsample", "x s") if opset == 9 else ("Resize", "x s")
        constants = {"s": given}
        if opset >= 11:
            inputs = "x e s"
            constants["e"] = np.zeros(0, np.float32)
        return model([node(operator, inputs, **attributes)], constants, shape, opset=opset)
    assert sizes is not None
    named = "axes" in attributes
    wanted = np.array(sizes if named else (1, channels, *sizes), np.int64)
    empty = {"e": np.zeros(0, np.float32)} if opset < 13 else {}
    inputs = "x e e z" if opset < 13 else "x - - z"
    return model([node("Resize", inputs, **attributes)], {"z": wanted, **empty}, shape, opset=opset)


FACTORS = [(2, 2), (3, 1), (1, 4), (2, 3)]


@pytest.mark.parametrize("opset", [7, 8, 9, 10, 11, 13, 18, 19, 26])
@pytest.mark.parametrize("factor", FACTORS)
def test_nearest_repeats_pixels(opset: int, factor: tuple[int, int]) -> None:
    rounding = {"coordinate_transformation_mode": PLAIN, "nearest_mode": "floor"}
    net = agree(
        resized(opset, scales=factor, mode="nearest", **rounding if opset > 10 else {}),
        kinds="Deconvolution",
    )
    param = net.layers[0].params.convolution_param
    assert (param.group, param.num_output, param.bias_term) == (3, 3, False)
    assert net.layers[0].weights[0].shape == (3, 1, *factor)
    assert (net.layers[0].weights[0] == 1).all()


@pytest.mark.parametrize("place", [HALF, PYTORCH, ALIGN, PLAIN, SYMMETRIC])
@pytest.mark.parametrize("rounding", ROUNDINGS)
def test_roundings_agree_or_are_refused(place: str, rounding: str) -> None:
    """Which pixel is repeated follows from the numbers; half of the combinations are uneven."""
    modes = {"coordinate_transformation_mode": place, "nearest_mode": rounding}
    accepted = 0
    for factor, size in itertools.product([(2, 2), (3, 3), (4, 2)], [(4, 5), (1, 3)]):
        sizes = (size[0] * factor[0], size[1] * factor[1])
        source = resized(19, size, sizes=sizes, mode="nearest", **modes)
        try:
            convert(source, "small")
        except NotExpressibleError as error:
            assert "at uneven distances" in str(error)  # noqa: PT017
            assert rounding in str(error)  # noqa: PT017
        else:
            agree(source, kinds="Deconvolution")
            accepted += 1
    if (place, rounding) == (PLAIN, "floor") or (
        place not in (PLAIN, ALIGN) and rounding.startswith("round")
    ):
        assert accepted == 6


@pytest.mark.parametrize("opset", [10, 11, 13, 19])
@pytest.mark.parametrize(("size", "factor"), [((6, 9), (2, 3)), ((7, 8), (3, 2)), ((5, 5), (5, 1))])
def test_nearest_takes_pixels(opset: int, size: Any, factor: Any) -> None:
    scales = (1 / factor[0], 1 / factor[1])
    sizes = (size[0] // factor[0], size[1] // factor[1])
    for place, rounding in itertools.product([HALF, PYTORCH, PLAIN], ROUNDINGS):
        modes = {"coordinate_transformation_mode": place, "nearest_mode": rounding}
        if opset == 10:
            agree(resized(10, size, scales, mode="nearest"), kinds="Convolution")
        elif size[0] % factor[0] == size[1] % factor[1] == 0:
            agree(resized(opset, size, None, sizes, mode="nearest", **modes), kinds="Convolution")
        else:
            agree(resized(opset, size, scales, mode="nearest", **modes), kinds="Convolution")


def test_before_version_11_downwards_takes_the_pixel_behind() -> None:
    net = agree(resized(10, (7, 7), (0.3, 0.3), mode="nearest"), kinds="Convolution")
    assert list(net.layers[0].params.convolution_param.stride) == [4]


def test_weights_that_no_border_explains_are_no_layer() -> None:
    assert line_of(np.arange(8) / 2 - 0.25, 4, 8) is not None
    assert line_of(np.arange(8) / 2 - 1.5, 4, 8) is None
    assert line_of(np.arange(8) / 2 + 1.5, 4, 8) is None


def test_taken_pixels_go_into_the_next_convolution() -> None:
    half = node("Resize", "x - s", "r", coordinate_transformation_mode=PLAIN, nearest_mode="floor")
    weight = np.random.default_rng(6).normal(size=(4, 3, 3, 3)).astype(np.float32)
    constants = {"s": np.array([1, 1, 0.5, 0.5], np.float32), "w": weight}
    nodes = [half, node("Conv", "r w", pads=[1, 1, 1, 1])]
    net = agree(model(nodes, constants, {"x": (1, 3, 8, 10)}), kinds="Convolution")
    assert list(net.layers[0].params.convolution_param.dilation) == [2]


@pytest.mark.parametrize("opset", [7, 9, 10, 11, 13, 18, 26])
@pytest.mark.parametrize("factor", [*FACTORS, (4, 4), (5, 3)])
@pytest.mark.parametrize("size", [(4, 5), (1, 3), (2, 1)])
def test_linear_by_whole_factors(opset: int, factor: Any, size: Any) -> None:
    modes = {"coordinate_transformation_mode": HALF} if opset > 10 else {}
    net = agree(resized(opset, size, factor, mode="linear", **modes))
    kinds = [x.type for x in net.layers]
    assert kinds in (["Deconvolution"], ["Deconvolution", "Scale"])
    assert net.layers[0].params.convolution_param.group == 3


@pytest.mark.parametrize("place", [HALF, PYTORCH, PLAIN, SYMMETRIC])
@pytest.mark.parametrize("factor", [(2, 2), (3, 4)])
@pytest.mark.parametrize("antialias", [0, 1])
def test_linear_in_every_coordinate_mode(place: str, factor: Any, antialias: int) -> None:
    modes = {"coordinate_transformation_mode": place, "antialias": antialias}
    sizes = (4 * factor[0], 5 * factor[1])
    agree(resized(19, sizes=sizes, mode="linear", **modes), kinds="Deconvolution Scale")


def test_the_border_of_a_linear_resize_is_a_scale_of_more_than_1() -> None:
    net = agree(resized(13, (4, 4), (2, 2), mode="linear"), kinds="Deconvolution Scale")
    scale = net.layers[1].weights[0]
    assert scale.shape == (3, 8, 8)
    assert net.layers[1].params.scale_param.num_axes == -1
    assert (scale[:, 1:-1, 1:-1] == 1).all()
    assert scale[0, 0, 0] == pytest.approx(1 / 0.75**2)


@pytest.mark.parametrize(("size", "sizes"), [((4, 5), (7, 9)), ((3, 3), (7, 9)), ((1, 4), (2, 4))])
def test_aligned_corners_where_the_distance_is_whole(size: Any, sizes: Any) -> None:
    modes = {"coordinate_transformation_mode": ALIGN}
    agree(resized(13, size, sizes=sizes, mode="linear", **modes), kinds="Deconvolution")


@pytest.mark.parametrize("opset", [10, 11, 19])
@pytest.mark.parametrize(("size", "factor"), [((6, 8), (2, 2)), ((9, 6), (3, 1)), ((8, 5), (4, 5))])
def test_linear_downwards(opset: int, size: Any, factor: Any) -> None:
    scales = (1 / factor[0], 1 / factor[1])
    agree(resized(opset, size, scales, mode="linear"), kinds="Convolution")


@pytest.mark.parametrize("policy", ["stretch", "not_larger", "not_smaller"])
@pytest.mark.parametrize("sizes", [(8, 10), (8, 15), (12, 15)])
def test_named_axes_and_policies(policy: str, sizes: Any) -> None:
    for mode, order in itertools.product(["nearest", "linear"], [[2, 3], [3, 2]]):
        given = sizes if order == [2, 3] else sizes[::-1]
        agree(
            resized(
                18, sizes=given, mode=mode, axes=order, keep_aspect_ratio_policy=policy
            )
        )  # fmt: skip
    agree(resized(18, sizes=(8, 10), mode="nearest", axes=[-2, -1]))


def test_the_same_size_is_no_layer() -> None:
    for mode in ("nearest", "linear", "cubic"):
        nodes = [node("Relu", "x", "r"), node("Resize", "r - s", mode=mode)]
        source = model(nodes, {"s": np.ones(4, np.float32)}, {"x": (1, 3, 4, 5)})
        agree(source, kinds="ReLU")


def test_refused_resizes() -> None:
    text = refusal(resized(13, scales=(2, 2), mode="cubic"))
    assert "ONNX node Resize_y (Resize, [1, 3, 4, 5]" in text
    assert "no cubic interpolation" in text
    assert "nearest upsampling by a whole factor" in text
    text = refusal(resized(19, (8, 8), (0.5, 0.5), mode="linear", antialias=1))
    assert "no linear interpolation with antialias" in text
    text = refusal(resized(13, scales=(1.5, 2), mode="nearest"))
    assert "4x5 to 6x10 with its rounding" in text
    assert "every map doubles exactly" in text
    text = refusal(resized(9, scales=(1.5, 2), mode="linear"))
    assert "4x5 to 6x10 weighs its pixels differently from place to place" in text
    assert "align_corners=False" in text
    aligned = {"coordinate_transformation_mode": ALIGN}
    text = refusal(resized(13, sizes=(8, 10), mode="linear", **aligned))
    assert ALIGN in text
    # 2 x 2.4 rounds down to the double size, but lies elsewhere.
    text = refusal(resized(13, (2, 2), (2.4, 2.4), mode="linear"))
    assert "2x2 to 4x4" in text
    both = resized(13, (4, 4), (2, 0.5), mode="linear")
    assert "4x4 to 8x2" in refusal(both)
    counted = {"axes": [-2, -1], "keep_aspect_ratio_policy": "not_larger"}
    text = refusal(resized(18, sizes=(8, 10), mode="nearest", **counted))
    assert "axes are counted from behind" in text
    assert "[2, 3]" in text


def test_refused_regions_and_channels() -> None:
    cropped = node("Resize", "x r s", coordinate_transformation_mode="tf_crop_and_resize")
    constants = {
        "r": np.array([0, 0, 0, 0, 1, 1, 1, 1], np.float32),
        "s": np.array([1, 1, 2, 2], np.float32),
    }
    text = refusal(model([cropped], constants))
    assert "tf_crop_and_resize" in text
    more = node("Resize", "x - s")
    text = refusal(model([more], {"s": np.array([1, 2, 1, 1], np.float32)}))
    assert "resizes channels" in text
    deep = [node("Reshape", "x t", "a"), node("Resize", "a - s")]
    constants = {"t": np.array([1, 24, 10]), "s": np.array([1, 1, 2], np.float32)}
    text = refusal(model(deep, constants))
    assert "rows and columns (1 x C x H x W)" in text

"""Every layer type of the engines as small networks, with the reference it is held against."""

from __future__ import annotations

import itertools

import numpy as np
from google.protobuf import text_format

from nnie_pipeline.caffe.caffe_pb2 import LayerParameter
from nnie_pipeline.caffe.net import Array, Layer, Net
from tests import caffe_reference
from tests.caffe_nets import random_weights

Shape = tuple[int, ...]
Case = tuple[str, tuple[Shape, ...]]
MAP = (1, 3, 7, 5)

FORMULA = frozenset(
    {"CReLU", "Clip", "DepthwiseConv", "Interp", "MatMul", "PSROIPooling", "PassThrough",
     "ROIPooling", "RReLU", "Swish",
     "Upsample (of unequal sides)", "Upsample (un-pooling)"}
)  # fmt: skip
"""What this project's pycaffe does not have (PSROIPooling: only for GPU): against numpy."""


def one_layer(label: str, text: str, bottoms: tuple[Shape, ...]) -> tuple[Net, dict[str, Array]]:
    """A network of one layer of the type that `label` starts with, with inputs that suit it."""
    p = text_format.Parse(text, LayerParameter(name="layer", type=label.split(maxsplit=1)[0]))
    rng = np.random.default_rng(len(text))
    names = [f"b{i}" for i in range(len(bottoms))]
    arrays = [rng.normal(0, 1.5, x).astype(np.float32) for x in bottoms]
    if p.type in ("Log", "Power"):
        arrays = [np.abs(x) + np.float32(0.1) for x in arrays]
    if p.type in ("LSTM", "RNN"):
        arrays[1] = rng.integers(0, 3, bottoms[1]).clip(0, 1).astype(np.float32)
    if p.type in ("ROIPooling", "PSROIPooling"):
        arrays[1] = _regions(rng, bottoms[1][0], bottoms[0])
    if label == "Upsample (un-pooling)":
        arrays[1] = _mask(rng, p, bottoms[0])
    tops = list(p.top) or ["top"]
    blobs = random_weights(p, bottoms, rng)
    params = LayerParameter()
    params.CopyFrom(p)
    for field in ("name", "type", "top"):
        params.ClearField(field)
    layer = Layer("layer", p.type, names, tops, params, blobs)
    net = Net("net", dict(zip(names, bottoms, strict=True)), [layer], tops)
    return net, dict(zip(names, arrays, strict=True))


def by_formula(net: Net, feed: dict[str, Array]) -> dict[str, np.ndarray]:
    """The tops of a network of one layer by the slow reference."""
    (layer,) = net.layers
    p = LayerParameter(type=layer.type, top=layer.tops)
    p.MergeFrom(layer.params)
    made = caffe_reference.run_layer(p, [feed[x] for x in layer.bottoms], layer.weights)
    return dict(zip(layer.tops, made, strict=True))


def _regions(rng: np.random.Generator, count: int, shape: Shape) -> Array:
    """Regions inside of, across and outside of a map that is an eighth of the picture, some
    thinner than a bin; corners at halves, which C rounds away from zero."""
    corners = rng.integers(-20, 160, (count, 4)) / 2
    corners[: count // 2, 2:] = (
        corners[: count // 2, :2] + rng.integers(0, 120, (count // 2, 2)) / 2
    )
    images = rng.integers(0, shape[0], (count, 1))
    return np.concatenate([images, corners], axis=1).astype(np.float32)


def _mask(rng: np.random.Generator, p: LayerParameter, shape: Shape) -> Array:
    """Places within a channel's map, each once."""
    n, c, h, w = shape
    room = p.upsample_param.upsample_h * p.upsample_param.upsample_w or 4 * h * w
    places = [rng.permutation(room)[: h * w].reshape(h, w) for _ in range(n * c)]
    return np.array(places, np.float32).reshape(shape)


def _convolutions(kind: str) -> list[Case]:
    cases: list[Case] = []
    kernels, strides = ((1, 2, 3), (1, 2)) if kind == "Convolution" else ((1, 2, 3, 4), (1, 2, 3))
    settings = itertools.product((1, 2, 4), kernels, strides, (0, 1, 2), (1, 2))
    for number, (group, kernel, stride, pad, dilation) in enumerate(settings):
        if kind == "Deconvolution" and (pad == 2 or (kernel == 1 and pad)):
            continue
        bias = "false" if number % 3 else "true"
        text = (
            f"convolution_param {{ num_output: 8 group: {group} bias_term: {bias} "
            f"kernel_h: {kernel} kernel_w: 3 stride_h: {stride} stride_w: {1 + number % 2} "
            f"pad_h: {pad} pad_w: 1 dilation: {dilation} dilation: 1 }}"
        )
        shape = (2 if number % 2 else 1, 4, *((7, 5) if kind == "Convolution" else (3, 4)))
        cases.append((text, (shape,)))
    return cases


def _poolings() -> list[Case]:
    """Odd and even sizes, windows that hang over the map and over its padding."""
    cases: list[Case] = []
    settings = itertools.product(("MAX", "AVE"), (1, 2, 3, 4), (1, 2, 3), (0, 1, 2), range(3, 9))
    for method, kernel, stride, pad, size in settings:
        if pad >= kernel:
            continue
        rows = caffe_reference.pool_starts(size, kernel, stride, pad, pad > 0)
        columns = caffe_reference.pool_starts(7, kernel, stride, min(pad, 1), pad > 0)
        if rows[-1] >= size or columns[-1] >= 7 or size + 2 * pad - kernel <= -stride:
            continue  # Caffe cannot run it, see test_caffe_shapes
        text = (
            f"pooling_param {{ pool: {method} kernel_size: {kernel} stride: {stride} "
            f"pad_h: {pad} pad_w: {min(pad, 1)} }}"
        )
        cases.append((text, ((1, 2, size, 7),)))
    for method, text in itertools.product(
        ("MAX", "AVE"),
        (
            "kernel_h: 3 kernel_w: 2 stride_h: 2 stride_w: 1 pad_h: 1 pad_w: 0",
            "kernel_size: 3 stride: 2 pad: 1",
            "global_pooling: true",
        ),
    ):
        cases.append((f"pooling_param {{ pool: {method} {text} }}", ((2, 3, 8, 6),)))
    return cases


CASES: dict[str, list[Case]] = {
    "AbsVal": [("", (MAP,))],
    "BNLL": [("", (MAP,)), ("", ((2, 4),))],
    "BatchNorm": [
        ("", (MAP,)),
        ("batch_norm_param { eps: 0.02 use_global_stats: true }", ((2, 3, 4, 5),)),
        ("", ((3, 6),)),
    ],
    "Bias": [
        ("", (MAP,)),
        ("bias_param { axis: -3 }", (MAP,)),
        ("bias_param { num_axes: -1 }", (MAP,)),
        ("bias_param { axis: 2 num_axes: 2 }", (MAP,)),
        ("bias_param { axis: 0 }", (MAP, MAP)),
        ("", (MAP, (3,))),
        ("bias_param { axis: -1 }", (MAP, (5,))),
    ],
    "Concat": [
        ("", (MAP, (1, 4, 7, 5))),
        ("concat_param { axis: -2 }", (MAP, (1, 3, 2, 5), (1, 3, 1, 5))),
        ("concat_param { concat_dim: 3 }", (MAP, MAP)),
        ("concat_param { axis: 0 }", (MAP, MAP)),
        ("", (MAP,)),
    ],
    "Crop": [
        ("", (MAP, (1, 9, 4, 5))),
        ("crop_param { offset: 1 offset: 2 }", (MAP, (1, 9, 4, 3))),
        ("crop_param { axis: 1 offset: 1 }", (MAP, (1, 2, 4, 3))),
        ("crop_param { axis: -1 offset: 2 }", (MAP, (6, 6, 6, 3))),
    ],
    "Dropout": [("dropout_param { dropout_ratio: 0.9 }", (MAP,))],
    "ELU": [("", (MAP,)), ("elu_param { alpha: 0.3 }", (MAP,))],
    "Eltwise": [
        ("", (MAP, MAP, MAP)),
        ("eltwise_param { operation: SUM coeff: 1 coeff: -1 }", (MAP, MAP)),
        ("eltwise_param { coeff: 0.3 coeff: 0 coeff: 2.5 }", (MAP, MAP, MAP)),
        ("eltwise_param { operation: PROD }", (MAP, MAP, MAP)),
        ("eltwise_param { operation: MAX }", (MAP, MAP, MAP)),
    ],
    "Exp": [
        ("", (MAP,)),
        ("exp_param { base: 2 scale: 0.5 shift: 1 }", (MAP,)),
        ("exp_param { scale: -0.5 shift: 0.25 }", (MAP,)),
    ],
    "Flatten": [
        ("", ((2, 3, 4, 5),)),
        ("flatten_param { axis: 2 }", ((2, 3, 4, 5),)),
        ("flatten_param { axis: -3 end_axis: -2 }", ((2, 3, 4, 5),)),
    ],
    "InnerProduct": [
        ("inner_product_param { num_output: 4 }", (MAP,)),
        ("inner_product_param { num_output: 4 bias_term: false }", ((3, 6),)),
        ("inner_product_param { num_output: 4 transpose: true }", ((2, 3, 4, 5),)),
        ("inner_product_param { num_output: 4 axis: 2 }", ((2, 3, 4, 5),)),
        ("inner_product_param { num_output: 4 axis: -1 transpose: true }", ((2, 3, 4, 5),)),
    ],
    "LRN": [
        ("", ((2, 9, 3, 2),)),
        ("lrn_param { local_size: 3 alpha: 0.7 beta: 0.4 k: 2 }", ((2, 9, 3, 2),)),
        ("lrn_param { local_size: 3 alpha: 0.7 norm_region: WITHIN_CHANNEL }", ((2, 3, 7, 5),)),
        ("lrn_param { local_size: 5 alpha: 2 beta: 0.4 norm_region: WITHIN_CHANNEL }", (MAP,)),
    ],
    "PReLU": [
        ("", (MAP,)),
        ("prelu_param { channel_shared: true }", (MAP,)),
        ("", ((2, 6),)),
        ("", ((2, 3, 4),)),
    ],
    "Permute": [
        ("permute_param { order: 0 order: 2 order: 3 order: 1 }", (MAP,)),
        ("permute_param { order: 0 order: 3 }", (MAP,)),
        ("permute_param { order: 3 order: 2 order: 1 order: 0 }", (MAP,)),
    ],
    "Power": [
        ("", (MAP,)),
        ("power_param { scale: -2 shift: 0.5 }", (MAP,)),
        ("power_param { power: 2 shift: 0.5 }", (MAP,)),
        ("power_param { power: 3 scale: 0.7 }", (MAP,)),
        ("power_param { power: 0 shift: 1 scale: 0 }", (MAP,)),
        *((f"power_param {{ power: {x} shift: 0.5 }}", (MAP,))
          for x in (-3, -2, -1, -0.5, 0.5, 1.7)),
    ],
    "RReLU": [("", (MAP,)), ("rrelu_param { lower: 0.1 upper: 0.4 }", (MAP,))],
    "ReLU": [("", (MAP,)), ("relu_param { negative_slope: 0.1 }", (MAP,)),
             ("relu_param { negative_slope: -0.5 }", (MAP,))],
    "Reshape": [
        ("reshape_param { shape { dim: 0 dim: -1 dim: 5 } }", (MAP,)),
        ("reshape_param { shape { dim: 5 dim: -1 } axis: 1 }", (MAP,)),
        ("reshape_param { shape { dim: -1 } axis: -3 num_axes: 2 }", (MAP,)),
    ],
    "Scale": [
        ("", (MAP,)),
        ("scale_param { bias_term: true }", (MAP,)),
        ("scale_param { axis: -3 bias_term: true }", (MAP,)),
        ("scale_param { num_axes: -1 bias_term: true }", (MAP,)),
        ("scale_param { axis: 2 num_axes: 1 bias_term: true }", (MAP,)),
        ("scale_param { num_axes: 0 bias_term: true }", (MAP,)),
        ("scale_param { axis: 0 }", (MAP, MAP)),
        ("", (MAP, (3,))),
        ("", (MAP, (3, 7))),
        ("scale_param { axis: 0 bias_term: true }", ((2, 3, 4, 5), (2, 3))),
        ("scale_param { axis: -1 bias_term: true }", (MAP, (5,))),
        ("scale_param { bias_term: true }", ((2, 6),)),
    ],
    "Sigmoid": [("", (MAP,))],
    "Slice": [
        ('top: "a" top: "b" slice_param { slice_point: 1 }', (MAP,)),
        ('top: "a" top: "b" top: "c"', (MAP,)),
        ('top: "a" top: "b" top: "c" slice_param { axis: -2 slice_point: 1 slice_point: 5 }',
         (MAP,)),
        ('top: "a" slice_param { slice_dim: 2 }', (MAP,)),
    ],
    "Softmax": [
        ("", (MAP,)),
        ("softmax_param { axis: -1 }", (MAP,)),
        ("softmax_param { axis: 2 }", (MAP,)),
        ("", ((2, 9),)),
    ],
    "Split": [('top: "a" top: "b" top: "c"', (MAP,))],
    "TanH": [("", (MAP,))],
    "Threshold": [("", (MAP,)), ("threshold_param { threshold: -0.4 }", (MAP,))],
    "Upsample": [
        ("", (MAP,)),
        ("upsample_param { scale: 3 }", (MAP,)),
        ("upsample_param { upsample_h: 14 upsample_w: 10 }", (MAP,)),
    ],
    "Upsample (of unequal sides)": [
        ("upsample_param { scale_h: 1 scale_w: 4 }", (MAP,)),
        ("upsample_param { upsample_h: 14 upsample_w: 15 }", (MAP,)),
    ],
    "ArgMax": [
        ("", (MAP,)),
        ("argmax_param { top_k: 4 out_max_val: true }", ((2, 9),)),
        ("argmax_param { axis: 1 }", (MAP,)),
        ("argmax_param { axis: -1 top_k: 3 out_max_val: true }", (MAP,)),
    ],
    "CReLU": [("", (MAP,)), ("crelu_param { bias_term: false }", ((2, 4),))],
    "Clip": [("clip_param { min: -0.5 max: 1.25 }", (MAP,))],
    "Convolution": _convolutions("Convolution"),
    "Deconvolution": _convolutions("Deconvolution"),
    "DepthwiseConv": [
        (f"convolution_param {{ num_output: {outputs} kernel_size: 3 pad: 1 {more} }}",
         ((1, 4, 7, 5),))
        for outputs, more in ((4, ""), (4, "stride: 2 bias_term: false"), (8, ""))
    ],
    "HardSigmoid": [("", (MAP,)), ("hardsigmoid_param { alpha: 0.5 beta: 0.1 }", (MAP,))],
    "HardSwish": [("", ((2, 3, 40, 3),))],
    "Interp": [
        ("interp_param { height: 9 width: 13 }", (MAP,)),
        ("interp_param { height: 3 width: 1 }", (MAP,)),
        ("interp_param { zoom_factor: 3 }", (MAP,)),
        ("interp_param { shrink_factor: 2 pad_beg: -1 }", (MAP,)),
        ("interp_param { zoom_factor: 3 shrink_factor: 2 pad_end: -2 }", ((2, 3, 9, 8),)),
    ],
    "LSTM": [
        ("recurrent_param { num_output: 4 }", ((5, 2, 3), (5, 2))),
        ("recurrent_param { num_output: 3 }", ((1, 1, 2, 3, 2), (1, 1))),
        ("recurrent_param { num_output: 4 }", ((4, 3, 5), (4, 3), (3, 2))),
        ('top: "a" top: "b" top: "c" recurrent_param { num_output: 4 expose_hidden: true }',
         ((5, 2, 3), (5, 2), (1, 2, 4), (1, 2, 4))),
        ('top: "a" top: "b" top: "c" recurrent_param { num_output: 2 expose_hidden: true }',
         ((3, 2, 3), (3, 2), (2, 5), (1, 2, 2), (1, 2, 2))),
    ],
    "Log": [("", (MAP,)), ("log_param { base: 10 scale: 2 shift: 0.5 }", (MAP,))],
    "MVN": [
        ("", ((2, 3, 4, 5),)),
        ("mvn_param { across_channels: true eps: 0.3 }", ((2, 3, 4, 5),)),
        ("mvn_param { normalize_variance: false }", ((2, 3, 4, 5),)),
        ("mvn_param { across_channels: true }", ((2, 6),)),
    ],
    "MatMul": [("", ((3, 4), (5, 4))), ("", ((1, 2, 3, 4), (1, 2, 6, 4)))],
    "Normalize": [
        ("", (MAP,)),
        ("norm_param { across_spatial: false channel_shared: false }", ((2, 3, 4, 5),)),
        ("norm_param { across_spatial: false }", (MAP,)),
        ("norm_param { channel_shared: false eps: 0.5 }", (MAP,)),
        ("norm_param { channel_shared: false across_spatial: false eps: 0.5 }", (MAP,)),
    ],
    "PSROIPooling": [
        ("psroi_pooling_param { spatial_scale: 0.125 output_dim: 2 group_size: 3 }",
         ((1, 18, 9, 7), (20, 5))),
        ("psroi_pooling_param { spatial_scale: 0.25 output_dim: 3 group_size: 2 }",
         ((2, 12, 8, 11), (20, 5))),
    ],
    "Parameter": [("parameter_param { shape { dim: 2 dim: 3 } }", ())],
    "PassThrough": [
        ("pass_through_param { num_output: 12 block_height: 2 block_width: 2 }", ((1, 3, 6, 4),)),
        ("pass_through_param { num_output: 18 block_height: 3 block_width: 2 }", ((2, 3, 6, 4),)),
    ],
    "Pooling": _poolings(),
    "Pooling (with mask)": [
        ('top: "a" top: "mask" pooling_param { kernel_size: 2 stride: 2 }', ((2, 3, 7, 5),)),
        ('top: "a" top: "mask" pooling_param { kernel_size: 3 stride: 2 pad: 1 }', ((2, 3, 6, 5),)),
    ],
    "RNN": [
        ("recurrent_param { num_output: 4 }", ((5, 2, 3), (5, 2))),
        ("recurrent_param { num_output: 4 }", ((4, 3, 5), (4, 3), (3, 2))),
        ('top: "a" top: "b" recurrent_param { num_output: 4 expose_hidden: true }',
         ((5, 2, 3), (5, 2), (1, 2, 4))),
    ],
    "ROIPooling": [
        ("roi_pooling_param { pooled_h: 3 pooled_w: 2 spatial_scale: 0.125 }",
         ((2, 3, 9, 7), (20, 5))),
        ("roi_pooling_param { pooled_h: 7 pooled_w: 7 spatial_scale: 0.25 }",
         ((1, 2, 12, 15), (20, 5))),
    ],
    "ReLU6": [("", ((2, 3, 40, 3),)),
              ("relu6_param { negative_slope: 0.1 threshold: 0.5 }", (MAP,))],
    "Reduction": [
        (f"reduction_param {{ operation: {operation} axis: {axis} coeff: {coeff} }}", (MAP,))
        for operation, axis, coeff in itertools.product(
            ("SUM", "ASUM", "SUMSQ", "MEAN"), (1, -1), (1, -0.3)
        )
    ] + [("", ((2, 3),))],
    "SPP": [
        (f"spp_param {{ pyramid_height: {levels} pool: {pool} }}", (shape,))
        for pool in ("MAX", "AVE")
        for levels, shape in ((1, (2, 3, 7, 5)), (3, (1, 3, 8, 8)), (3, (2, 2, 10, 7)),
                              (2, (1, 2, 5, 3)), (4, (1, 1, 15, 23)))
    ],
    "Silence": [],
    "Swish": [("", (MAP,)), ("swish_param { beta: 0.4 }", (MAP,))],
    "Tile": [("tile_param { tiles: 3 }", (MAP,)), ("tile_param { axis: -1 tiles: 2 }", (MAP,))],
    "Upsample (un-pooling)": [
        ("", ((2, 3, 4, 3), (2, 3, 4, 3))),
        ("upsample_param { upsample_h: 7 upsample_w: 5 }", ((1, 2, 4, 3), (1, 2, 4, 3))),
    ],
}  # fmt: skip
"""Parameters and bottoms of the layers tried, by type (and form)."""

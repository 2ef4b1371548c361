"""Every rule is broken by one network and kept by another at its limit."""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import typer
from typer.testing import CliRunner

from nnie_pipeline.caffe.files import read_net, write_net
from nnie_pipeline.caffe.net import Net
from nnie_pipeline.chips import conditions, table
from nnie_pipeline.chips.check import Finding, check, check_files, check_text
from nnie_pipeline.chips.chip import chip_names
from nnie_pipeline.chips.lines import name_lines
from nnie_pipeline.chips.rule import rules
from nnie_pipeline.chips.segments import Segment, segments
from nnie_pipeline.cli import check as check_command
from nnie_pipeline.errors import InputError

OLD_CHIP = "hi3559av100"
NEW_CHIP = "hi3516dv300"


def layer(kind: str, params: str = "", name: str = "x", bottom: str = "data", top: str = "") -> str:
    bottoms = " ".join(f'bottom: "{x}"' for x in bottom.split())
    tops = " ".join(f'top: "{x}"' for x in (top or name).split())
    return f'layer {{ name: "{name}" type: "{kind}" {bottoms} {tops} {params} }}\n'


def inputs(**shapes: str) -> str:
    text = ""
    for name, dims in shapes.items():
        text += (
            f'input: "{name}"\ninput_shape {{ {" ".join(f"dim: {d}" for d in dims.split())} }}\n'
        )
    return text


def net(*layers: str, data: str = "1 3 32 32", **more: str) -> str:
    return inputs(data=data, **more) + "".join(layers or [layer("ReLU")])


def conv(params: str = "", name: str = "x", bottom: str = "data", top: str = "") -> str:
    given = params if "num_output" in params else f"num_output: 4 {params}"
    given = given if "kernel" in given else f"{given} kernel_size: 1"
    return layer("Convolution", f"convolution_param {{ {given} }}", name, bottom, top)


def deconv(params: str, name: str = "x") -> str:
    return layer("Deconvolution", f"convolution_param {{ {params} }}", name)


def depthwise(params: str) -> str:
    return layer("DepthwiseConv", f"convolution_param {{ {params} }}")


def pool(params: str, name: str = "x", top: str = "") -> str:
    return layer("Pooling", f"pooling_param {{ {params} }}", name, top=top)


def reshape(dims: str, more: str = "") -> str:
    shape = " ".join(f"dim: {x}" for x in dims.split())
    return layer("Reshape", f"reshape_param {{ shape {{ {shape} }} {more} }}")


def lstm(name: str = "x", bottom: str = "data cont", count: int = 8, kind: str = "LSTM") -> str:
    return layer(kind, f"recurrent_param {{ num_output: {count} }}", name, bottom)


def roi(name: str = "x", bottom: str = "data rois") -> str:
    return layer("ROIPooling", "roi_pooling_param { pooled_h: 2 pooled_w: 2 }", name, bottom)


def psroi(output_dim: int) -> str:
    param = f"psroi_pooling_param {{ spatial_scale: 1 output_dim: {output_dim} group_size: 4 }}"
    return layer("PSROIPooling", param, bottom="data rois")


def custom(shapes: str = "shape { dim: 3 dim: 8 }", **names: str) -> str:
    return layer("Custom", f"custom_param {{ {shapes} }}", **names)


def between(inner: str) -> str:
    """The layer, named b, with a convolution before and behind it."""
    return net(conv(name="a"), inner, conv(name="c", bottom="b"))


def many(word: str, count: int) -> str:
    return " ".join(f"{word}{i}" for i in range(count))


def relus(count: int) -> str:
    return "".join(layer("ReLU", name=f"r{i}") for i in range(count))


def upsample(params: str = "", bottom: str = "data") -> str:
    return layer("Upsample", f"upsample_param {{ {params} }}", bottom=bottom)


def chain(segments: int) -> str:
    layers, bottom = [], "data"
    for i in range(segments):
        if i:
            layers.append(layer("ReLU", name=f"s{i}_cpu", bottom=bottom))
            bottom = f"s{i}_cpu"
        layers.append(layer("ReLU", name=f"s{i}", bottom=bottom))
        bottom = f"s{i}"
    return net(*layers)


UNPOOLING = pool("pool: MAX kernel_size: 2 stride: 2", "p", "p mask") + upsample(bottom="p mask")
SEQUENCE = {"data": "4 1 8", "cont": "4 1"}
ROIS = "4 5"
TWO_DIMS = "shape { dim: 1 dim: 2 } "
LONG = "a" * 31


def set_weights(count: int) -> Callable[[Net], None]:
    def edit(network: Net) -> None:
        network.find("c").weights = [np.ones((4, 3, 1, 1), np.float32)]
        network.find("x").weights = [np.ones(6, np.float32)] * count

    return edit


@dataclass(frozen=True)
class Case:
    """A rule, a network that breaks it, one that keeps it at the limit."""

    rule: str
    bad: str
    good: str
    chip: str = NEW_CHIP
    edit_bad: Callable[[Net], None] | None = None
    edit_good: Callable[[Net], None] | None = None


CASES = [
    Case("old-input-dim", 'input: "data"\ninput_dim: 1\n' + layer("ReLU"),
         "# input_dim: 1\n" + net()),
    Case("training-layers", "layer { type: 'EuclideanLoss' }", "layer { type: 'Power' } # Loss"),
    Case("old-layers-form", "layers { name: 'x' type: RELU }", net(layer("ReLU", name="layers"))),
    Case("input-batch", net(data="2 3 32 32"), net(data="1 3 32 32")),
    Case("input-channels", net(data="1 4 32 32"), net(data="1 3 32 32")),
    Case("input-size", net(data="1 3 7 32"), net(data="1 3 8 8")),
    Case("input-size", net(data="1 1 4097 32"), net(data="1 1 4096 4096")),
    Case("input-even", net(data="1 3 32 33"), net(data="1 3 32 32")),
    Case("input-gray", net(data="1 1 32 32"), net(data="1 3 32 32")),
    Case("input-count", net(**{f"i{i}": "1 3" for i in range(32)}),
         net(**{f"i{i}": "1 3" for i in range(31)})),
    Case("unsupported-type", net(layer("PriorBox")), net(layer("AbsVal"))),
    Case("rrelu-unlisted", net(layer("RReLU")), net(layer("ReLU"))),
    Case("depthwise-type", net(depthwise("num_output: 3 kernel_size: 1")),
         net(conv("num_output: 3 group: 3"))),
    Case("upsample-nearest-old", net(upsample("scale: 2")), net(UNPOOLING), OLD_CHIP),
    Case("upsample-nearest", net(upsample("scale: 2")), net(UNPOOLING)),
    Case("upsample-factor", net(upsample("scale: 3")), net(upsample("scale: 2"))),
    Case("upsample-fields", net(upsample("scale_h: 2 scale_w: 2")), net(upsample("scale: 2"))),
    Case("upsample-mask", net(layer("ReLU", name="m"), upsample(bottom="data m")), net(UNPOOLING)),
    Case("upsample-mask", net(upsample(bottom="data data")), net(UNPOOLING)),
    Case("ignored-field",
         net(layer("Eltwise", "eltwise_param { stable_prod_grad: false }", bottom="data data")),
         net(layer("Eltwise", "eltwise_param { operation: PROD }", bottom="data data"))),
    Case("ignored-field",
         net(layer("LSTM", "recurrent_param { num_output: 8 debug_info: true }", bottom="data c"),
             data="4 1 8", c="4 1"), net(lstm(), **SEQUENCE)),
    Case("passthrough-focus",
         net(layer("PassThrough",
                   "pass_through_param { num_output: 12 block_height: 2 block_width: 2 }")),
         net(conv("num_output: 3", name="c"),
             layer("PassThrough",
                   "pass_through_param { num_output: 12 block_height: 2 block_width: 2 }",
                   bottom="c"))),
    Case("dropout", net(layer("Dropout")), net(layer("ReLU"))),
    Case("shape-mismatch", net(conv("kernel_size: 33")), net(conv("kernel_size: 32"))),
    Case("map-width", net(data="1 16 8 4097"), net(data="1 16 8 4096")),
    Case("map-width", net(pool("kernel_size: 2 stride: 2"), data="1 16 8 4098"),
         net(pool("kernel_size: 2 stride: 2"), data="1 3 8 4098")),
    Case("conv-num-output", net(conv("num_output: 32769")), net(conv("num_output: 32768"))),
    Case("window-kernel", net(conv("kernel_h: 1 kernel_w: 256"), data="1 3 300 300"),
         net(conv("kernel_h: 1 kernel_w: 255"), data="1 3 300 300")),
    Case("window-kernel", net(pool("pool: AVE global_pooling: true"), data="1 3 8 256"),
         net(pool("pool: AVE global_pooling: true"), data="1 3 8 255")),
    Case("window-stride", net(conv("stride: 256")), net(conv("stride: 255"))),
    Case("window-pad", net(conv("pad: 256")), net(conv("pad: 255"))),
    Case("conv-dilation", net(conv("dilation: 256")), net(conv("dilation: 255"))),
    Case("conv-extent", net(conv("kernel_size: 2 dilation: 255"), data="1 3 300 300"),
         net(conv("kernel_size: 2 dilation: 254"), data="1 3 300 300")),
    Case("conv-axis", net(conv("axis: 2")), net(conv("axis: 1"))),
    Case("conv-group", net(conv("num_output: 2049 group: 2049"), data="1 2049 8 8"),
         net(conv("num_output: 2048 group: 2048"), data="1 2048 8 8")),
    Case("conv-group-older", net(conv("num_output: 129 group: 129"), data="1 129 8 8"),
         net(conv("num_output: 128 group: 128"), data="1 128 8 8"), OLD_CHIP),
    # 640 columns are 40 blocks of 16: 2048 / 40 = 51.2; 512 are 32: 2048 / 32 = 64
    Case("window-rows", net(conv("kernel_h: 52 kernel_w: 1"), data="1 3 64 640"),
         net(conv("kernel_h: 51 kernel_w: 1"), data="1 3 64 640")),
    Case("window-rows", net(conv("kernel_h: 65 kernel_w: 1"), data="1 3 65 512"),
         net(conv("kernel_h: 64 kernel_w: 1"), data="1 3 65 512")),
    # stride 2 over 650 columns: 21 blocks of 32, times 2 = 42: 2048 / 42 = 48.8
    Case("window-rows", net(pool("kernel_h: 49 kernel_w: 1 stride: 2"), data="1 3 64 650"),
         net(pool("kernel_h: 48 kernel_w: 1 stride: 2"), data="1 3 64 650")),
    # (32768 / 1024 - 1) * 2 + 1 = 63
    Case("deconv-rows",
         net(deconv("num_output: 4 kernel_h: 64 kernel_w: 1 stride_h: 2"), data="1 3 8 1024"),
         net(deconv("num_output: 4 kernel_h: 63 kernel_w: 1 stride_h: 2"), data="1 3 8 1024")),
    Case("depthwise-num-output", net(depthwise("num_output: 6 kernel_size: 1")),
         net(depthwise("num_output: 3 kernel_size: 1"))),
    Case("depthwise-num-output", net(depthwise("kernel_size: 1")),
         net(depthwise("num_output: 3 kernel_size: 1"))),
    Case("depthwise-fields", net(depthwise("num_output: 3 kernel_size: 1 group: 3")),
         net(depthwise("num_output: 3 kernel_size: 1"))),
    Case("depthwise-fields", net(depthwise("num_output: 3 kernel_size: 1 dilation: 2")),
         net(depthwise("num_output: 3 kernel_size: 1"))),
    Case("pool-method", net(pool("pool: STOCHASTIC kernel_size: 2")),
         net(pool("pool: AVE kernel_size: 2"))),
    Case("pool-round-field", net(pool("kernel_size: 2 ceil_mode: true")),
         net(pool("kernel_size: 2"))),
    Case("pool-round-field", net(pool("kernel_size: 2 round_mode: FLOOR")),
         net(pool("kernel_size: 2"))),
    Case("pool-ceil", net(pool("kernel_size: 2 stride: 2"), data="1 3 33 32"),
         net(pool("kernel_size: 2 stride: 2"), data="1 3 32 32")),
    # 33 with pad 1: 18 windows when rounded up, the last begins behind the map
    Case("pool-border", net(pool("kernel_size: 2 stride: 2 pad: 1"), data="1 3 33 33"),
         net(pool("kernel_size: 2 stride: 2 pad: 1"), data="1 3 32 32")),
    Case("ip-num-output", net(layer("InnerProduct", "inner_product_param { num_output: 32769 }")),
         net(layer("InnerProduct", "inner_product_param { num_output: 32768 }"))),
    Case("ip-axis", net(layer("InnerProduct", "inner_product_param { num_output: 4 axis: 2 }")),
         net(layer("InnerProduct", "inner_product_param { num_output: 4 axis: 1 }"))),
    Case("ip-axis",
         net(lstm("l"), layer("InnerProduct", "inner_product_param { num_output: 4 }", bottom="l"),
             **SEQUENCE),
         net(lstm("l"),
             layer("InnerProduct", "inner_product_param { num_output: 4 axis: 2 }", bottom="l"),
             **SEQUENCE)),
    Case("batchnorm-global-stats",
         net(layer("BatchNorm", "batch_norm_param { use_global_stats: false }")),
         net(layer("BatchNorm", "batch_norm_param { use_global_stats: true }"))),
    Case("batchnorm-global-stats-unset", net(layer("BatchNorm")),
         net(layer("BatchNorm", "batch_norm_param { use_global_stats: true }"))),
    Case("batchnorm-eps", net(layer("BatchNorm", "batch_norm_param { eps: 2e-5 }")),
         net(layer("BatchNorm", "batch_norm_param { eps: 1e-5 }")), OLD_CHIP),
    Case("batchnorm-stands", net(conv(), layer("BatchNorm", name="n", bottom="x")),
         net(layer("ReLU"), layer("BatchNorm", name="n", bottom="x"))),
    Case("lrn-size", net(layer("LRN", "lrn_param { local_size: 9 }")),
         net(layer("LRN", "lrn_param { local_size: 7 }"))),
    Case("lrn-region", net(layer("LRN", "lrn_param { norm_region: WITHIN_CHANNEL }")),
         net(layer("LRN", "lrn_param { norm_region: ACROSS_CHANNELS }"))),
    Case("lrn-beta", net(layer("LRN", "lrn_param { beta: 32 }")),
         net(layer("LRN", "lrn_param { beta: 31.9921875 }"))),
    Case("mvn-eps", net(layer("MVN", "mvn_param { eps: 1e-6 }")), net(layer("MVN"))),
    Case("normalize-across-spatial", net(layer("Normalize")),
         net(layer("Normalize", "norm_param { across_spatial: false }"))),
    Case("normalize-channel-shared", net(layer("Normalize")),
         net(layer("Normalize", "norm_param { channel_shared: false }"))),
    Case("normalize-eps", net(layer("Normalize", "norm_param { eps: 1e-9 }")),
         net(layer("Normalize", "norm_param { eps: 1e-10 }"))),
    Case("normalize-sqrt-a", net(layer("Normalize", "norm_param { sqrt_a: 0 }")),
         net(layer("Normalize", "norm_param { sqrt_a: 0.5 }"))),
    Case("scale-axis", net(layer("Scale", "scale_param { axis: 2 }")),
         net(layer("Scale", "scale_param { axis: -3 }"))),
    Case("scale-num-axes", net(layer("Scale", "scale_param { num_axes: 2 }")),
         net(layer("Scale", "scale_param { num_axes: -1 }"))),
    Case("scale-combination", net(layer("Scale", "scale_param { num_axes: -1 bias_term: true }")),
         net(layer("Scale", "scale_param { num_axes: -1 }"))),
    Case("scale-combination", net(layer("Scale", bottom="v data"), v="1 3"),
         net(layer("Scale", "scale_param { bias_term: true }", bottom="data v"), v="1 3")),
    Case("scale-combination",
         net(layer("Scale", "scale_param { bias_term: true }", bottom="data w"), w="1 3 32 32"),
         net(layer("Scale", bottom="data w"), w="1 3 32 32")),
    Case("scale-combination", net(layer("Scale", bottom="data w"), w="1 3 32"),
         net(layer("Scale", "scale_param { num_axes: -1 bias_term: true }"), data="1 3")),
    Case("bias-axis", net(layer("Bias", "bias_param { axis: 0 }")),
         net(layer("Bias", "bias_param { axis: -3 }"))),
    Case("bias-num-axes", net(layer("Bias", "bias_param { num_axes: 0 }")),
         net(layer("Bias", "bias_param { num_axes: -1 }"))),
    Case("bias-combination", net(layer("Bias", bottom="v data"), v="1 3"),
         net(layer("Bias", bottom="data v"), v="1 3")),
    Case("coefficient-range", net(layer("Power", "power_param { scale: 524288 }")),
         net(layer("Power", "power_param { scale: 524287 }"))),
    Case("coefficient-range", net(layer("Eltwise", "eltwise_param { coeff: 1 coeff: -524289 }",
                                        bottom="data data")),
         net(layer("Eltwise", "eltwise_param { coeff: 1 coeff: -524288 }", bottom="data data"))),
    # half of 1/4096 is 0.0001220703125
    Case("coefficient-small", net(layer("ReLU", "relu_param { negative_slope: 0.000122 }")),
         net(layer("ReLU", "relu_param { negative_slope: 0.0001220703125 }"))),
    Case("coefficient-small", net(layer("Exp", "exp_param { shift: 1e-5 }")), net(layer("Exp"))),
    Case("eltwise-bottoms", net(layer("Eltwise", bottom="data " * 33)),
         net(layer("Eltwise", bottom="data " * 32))),
    Case("eltwise-bottoms", net(layer("Eltwise")), net(layer("Eltwise", bottom="data data"))),
    Case("crelu-fields", net(layer("CReLU", "crelu_param { bias_term: false }")),
         net(layer("CReLU", "crelu_param { axis: 1 num_axes: 1 bias_term: true }"))),
    Case("crelu-weights", net(conv(name="c"), layer("CReLU")), net(conv(name="c"), layer("CReLU")),
         edit_bad=set_weights(1), edit_good=set_weights(2)),
    Case("exp-base", net(layer("Exp", "exp_param { base: -2 }")),
         net(layer("Exp", "exp_param { base: -1 }"))),
    Case("log-base", net(layer("Log", "log_param { base: 0 }")),
         net(layer("Log", "log_param { base: 0.5 }"))),
    Case("power-exponent", net(layer("Power", "power_param { power: 4 }")),
         net(layer("Power", "power_param { power: -3 }"))),
    Case("power-exponent", net(layer("Power", "power_param { power: 0.25 }")),
         net(layer("Power", "power_param { power: -0.5 }"))),
    Case("power-shift", net(layer("Power", "power_param { shift: 1 }")),
         net(layer("Power", "power_param { scale: 2 }"))),
    Case("softmax-axis", net(layer("Softmax", "softmax_param { axis: -4 }")),
         net(layer("Softmax", "softmax_param { axis: -1 }"))),
    Case("softmax-vector", net(layer("Softmax"), data="1 65537"),
         net(layer("Softmax"), data="1 65536 1 1")),
    Case("softmax-channels", net(layer("Softmax"), data="1 4097 2 1"),
         net(layer("Softmax"), data="1 4096 2 1")),
    Case("reduction-axis", net(layer("Reduction", "reduction_param { axis: 1 }")),
         net(layer("Reduction", "reduction_param { axis: 3 }"))),
    Case("concat-axis", net(layer("Concat", "concat_param { axis: -4 }", bottom="data data")),
         net(layer("Concat", "concat_param { axis: -3 }", bottom="data data"))),
    Case("concat-bottoms", net(layer("Concat", bottom="data " * 33)),
         net(layer("Concat", bottom="data " * 32))),
    Case("slice-axis", net(layer("Slice", "slice_param { axis: 0 }", top="a b"), data="2 3 8 8"),
         net(layer("Slice", "slice_param { axis: 3 }", top="a b"))),
    Case("slice-tops", net(layer("Slice", top=many("t", 33)), data="1 33 8 8"),
         net(layer("Slice", top=many("t", 32)), data="1 32 8 8")),
    Case("slice-unused-top",
         net(layer("Slice", top="a b"), layer("ReLU", name="r", bottom="a"), data="1 4 8 8"),
         net(layer("Slice", top="a b"), layer("Eltwise", name="e", bottom="a b"), data="1 4 8 8")),
    Case("split-tops", net(layer("Split", top=many("t", 33))),
         net(layer("Split", top=many("t", 32)))),
    Case("reshape-first-dim", net(reshape("1 3 64 16")), net(reshape("0 3 64 16"))),
    Case("reshape-first-dim", net(reshape("1 3 64 16", "axis: -5")),
         net(reshape("1 3 64 16", "axis: 1"))),
    Case("reshape-rank", net(reshape("0 3 4 8 32")), net(reshape("0 3 32 32"))),
    Case("reshape-not-4d", net(reshape("0 3 -1")), net(reshape("0 3 1 -1"))),
    Case("reshape-axis", net(reshape("1", "axis: 4")), net(reshape("32", "axis: 3"))),
    Case("reshape-num-axes", net(reshape("0 3 32 32", "num_axes: 4")),
         net(reshape("0 3 32", "num_axes: 3"))),
    Case("flatten-axes", net(layer("Flatten", "flatten_param { end_axis: 4 }")),
         net(layer("Flatten", "flatten_param { axis: -4 end_axis: 3 }"))),
    Case("flatten-order", net(layer("Flatten", "flatten_param { axis: 2 end_axis: 2 }")),
         net(layer("Flatten", "flatten_param { axis: 2 end_axis: 3 }"))),
    Case("permute-rank", net(layer("Permute"), data="1 3 32"), net(layer("Permute"))),
    Case("permute-order", net(layer("Permute", "permute_param { order: 0 order: 3 }")),
         net(layer("Permute", "permute_param { order: 0 order: 2 order: 3 order: 1 }"))),
    Case("passthrough-block",
         net(layer("PassThrough", "pass_through_param { block_height: 1 block_width: 256 }"),
             data="1 3 256 256"),
         net(layer("PassThrough", "pass_through_param { block_height: 1 block_width: 255 }"),
             data="1 3 255 255")),
    Case("passthrough-num-output",
         net(layer("PassThrough", "pass_through_param { block_height: 2 block_width: 2 }")),
         net(layer("PassThrough",
                   "pass_through_param { num_output: 12 block_height: 2 block_width: 2 }"))),
    # 640 columns are 40 blocks, 17 channels are 2: 2048 / 80 = 25.6
    Case("passthrough-rows",
         net(layer("PassThrough", "pass_through_param { block_height: 26 block_width: 1 }"),
             data="1 17 26 640"),
         net(layer("PassThrough", "pass_through_param { block_height: 25 block_width: 1 }"),
             data="1 17 25 640")),
    Case("spp-height", net(layer("SPP", "spp_param { pyramid_height: 8 }")),
         net(layer("SPP", "spp_param { pyramid_height: 7 }"))),
    Case("spp-kernel", net(layer("SPP", "spp_param { pyramid_height: 2 }"), data="1 3 8 256"),
         net(layer("SPP", "spp_param { pyramid_height: 2 }"), data="1 3 255 255")),
    # 2048 / 1025 is below 2; 257 channels are 2 blocks of 256: 2048 / 512 / 2 = 2
    Case("roi-width", net(roi(), data="1 16 8 1025", rois=ROIS),
         net(roi(), data="1 16 8 1024", rois=ROIS)),
    Case("roi-width", net(roi(), data="1 257 8 513", rois=ROIS),
         net(roi(), data="1 257 8 512", rois=ROIS)),
    Case("roi-area", net(roi(), data="1 16 99 331", rois=ROIS),
         net(roi(), data="1 16 128 256", rois=ROIS)),
    Case("psroi-width", net(psroi(16), data="1 256 8 1024", rois=ROIS),
         net(psroi(16), data="1 256 8 1023", rois=ROIS)),
    # 17 outputs are 2 blocks of 16: 32768 / 2 = 16384
    Case("psroi-area", net(psroi(17), data="1 272 129 128", rois=ROIS),
         net(psroi(17), data="1 272 128 128", rois=ROIS)),
    Case("matmul-dim", net(layer("MatMul", "matmul_param { dim_2: 10209 }", bottom="data b"),
                           data="1 2 3", b="1 4 3"),
         net(layer("MatMul", "matmul_param { dim_2: 10208 }", bottom="data b"),
             data="1 2 3", b="1 4 3")),
    Case("matmul-dim-16", net(layer("MatMul", "matmul_param { dim_2: 5105 }", bottom="data b"),
                              data="1 2 3", b="1 4 3"),
         net(layer("MatMul", "matmul_param { dim_2: 5104 }", bottom="data b"),
             data="1 2 3", b="1 4 3")),
    Case("lstm-num-output", net(lstm(count=5457), **SEQUENCE), net(lstm(count=5456), **SEQUENCE)),
    Case("rnn-num-output", net(lstm(count=16385, kind="RNN"), **SEQUENCE),
         net(lstm(count=16384, kind="RNN"), **SEQUENCE)),
    Case("proposal-tops", net(layer("Proposal", top="a b")), net(layer("Proposal", top="a"))),
    Case("custom-tops", between(custom(TWO_DIMS * 33, name="b", bottom="a",
                                       top="b " + many("t", 32))),
         between(custom(TWO_DIMS * 32, name="b", bottom="a",
                        top="b " + many("t", 31)))),
    Case("custom-dims", between(custom("shape { dim: 8 }", name="b", bottom="a")),
         between(custom("shape { dim: 3 dim: 8 }", name="b", bottom="a"))),
    Case("custom-dims", between(custom(name="b", bottom="a", top="b c2")),
         between(custom("shape { dim: 3 dim: 8 }", name="b", bottom="a"))),
    Case("custom-fields",
         between(layer("Custom", f"custom_param {{ {TWO_DIMS} }} relu_param {{}}", "b", "a")),
         between(custom(name="b", bottom="a"))),
    Case("custom-ends", net(custom(name="b"), conv(name="c", bottom="b")),
         between(custom(name="b", bottom="a"))),
    Case("custom-ends", net(conv(name="a"), custom(name="b", bottom="a")),
         between(custom(name="b", bottom="a"))),
    Case("after-layer", net(layer("ReLU", name="r"), lstm(bottom="r cont"), **SEQUENCE),
         net(lstm(), **SEQUENCE)),
    Case("after-inner-product",
         net(layer("InnerProduct", "inner_product_param { num_output: 4 }", "i"), conv(bottom="i")),
         net(layer("InnerProduct", "inner_product_param { num_output: 4 }", "i"),
             layer("Sigmoid", bottom="i"))),
    Case("after-inner-product",
         net(layer("InnerProduct", "inner_product_param { num_output: 4 }", "i"),
             layer("Dropout", name="d", bottom="i"), layer("LRN", bottom="d")),
         net(layer("InnerProduct", "inner_product_param { num_output: 4 }", "i"),
             layer("Dropout", name="d", bottom="i"), layer("ReLU", bottom="d"))),
    Case("after-recurrent", net(lstm("l"), layer("Dropout", name="d", bottom="l"),
                                layer("Softmax", bottom="d"), **SEQUENCE),
         net(lstm("l"), layer("Dropout", name="d", bottom="l"), layer("ReLU", bottom="d"),
             **SEQUENCE)),
    Case("after-recurrent", net(lstm("l"), layer("Softmax", bottom="l"), **SEQUENCE),
         net(lstm("l"), layer("Softmax", name="x_cpu", bottom="l"), **SEQUENCE)),
    Case("after-recurrent", net(lstm("l"), layer("Softmax", bottom="l"), **SEQUENCE),
         net(lstm("l"), layer("Sigmoid", bottom="l"), **SEQUENCE)),
    Case("after-roi", net(roi("r"), roi(bottom="r rois"), rois=ROIS),
         net(roi("r"), layer("InnerProduct", "inner_product_param { num_output: 4 }", bottom="r"),
             rois=ROIS)),
    Case("after-proposal", net(layer("Proposal", name="p"), layer("ReLU", bottom="p")),
         net(layer("Proposal", name="p"), roi(bottom="data p"))),
    Case("after-custom", net(conv(name="a"), custom(name="b", bottom="a"), upsample(bottom="b")),
         between(custom(name="b", bottom="a"))),
    Case("matmul-alone", net(layer("MatMul", bottom="data b"), layer("ReLU", name="r", bottom="x"),
                             data="1 2 3", b="1 4 3"),
         net(layer("MatMul", bottom="data b"), data="1 2 3", b="1 4 3")),
    Case("segments", chain(9), chain(8)),
    Case("segment-inputs",
         net(layer("Concat", bottom=f"data {many('i', 16)}"),
             **{f"i{i}": "1 3 32 32" for i in range(16)}),
         net(layer("Concat", bottom=f"data {many('i', 15)}"),
             **{f"i{i}": "1 3 32 32" for i in range(15)})),
    Case("segment-outputs", net(relus(17)), net(relus(16))),
    Case("segment-outputs",
         net(relus(15), layer("ReLU", name="m", top="m_report"),
             layer("Sigmoid", name="e", bottom="m_report")),
         net(relus(15), layer("ReLU", name="m"), layer("Sigmoid", name="e", bottom="m"))),
    Case("segment-roi-layers", net(*(roi(f"r{i}") for i in range(3)), rois=ROIS),
         net(*(roi(f"r{i}") for i in range(2)), rois=ROIS)),
    Case("roi-layers", net(*(roi(f"r{i}") for i in range(5)), rois=ROIS),
         net(*(roi(f"r{i}") for i in range(4)), rois=ROIS)),
    Case("cpu-layer", net(layer("ReLU", name="x_cpu")), net(layer("ReLU", name="cpu_x"))),
    Case("name-length", net(layer("ReLU", name=LONG + "b")), net(layer("ReLU", name=LONG))),
    Case("name-collision", net(layer("ReLU", name=LONG + "b"), layer("ReLU", name=LONG + "c")),
         net(layer("ReLU", name=LONG[1:] + "b"), layer("ReLU", name=LONG[1:] + "c"))),
    Case("name-duplicate", net(layer("ReLU", top="a"), layer("ReLU", top="b")),
         net(layer("ReLU", top="a"), layer("ReLU", name="y", top="b"))),
    Case("name-ascii", net(layer("ReLU", name="schicht\u00e4")), net(layer("ReLU", name="~!a"))),
    Case("name-ascii", net(layer("ReLU").replace('"x"', '"x y"')), net(layer("ReLU", name="x_y"))),
    Case("name-dump-collision",
         net(layer("ReLU", name="a/b"), layer("ReLU", name="a_b")),
         net(layer("ReLU", name="a/b"), layer("ReLU", name="a_c"))),
    Case("name-slash", net(layer("ReLU", name="inception/relu")), net(layer("ReLU", name="a_b"))),
    Case("marker-report-custom",
         between(custom(TWO_DIMS * 2, name="b", bottom="a", top="b t_report")),
         between(custom(TWO_DIMS * 2, name="b", bottom="a", top="b t"))),
    Case("marker-report-idle", net(layer("ReLU", bottom="i_report"), i_report="1 3 8 8"),
         net(layer("ReLU", top="x_report"))),
    Case("marker-report-idle", net(layer("ReLU", name="x_cpu", top="x_report")),
         net(layer("ReLU", name="x", top="x_report"))),
    Case("marker-report-redundant", net(layer("ReLU", top="x_report")),
         net(layer("ReLU", top="x_report"), layer("ReLU", name="y", bottom="x_report"))),
    Case("marker-report-in-place",
         net(conv(top="x_report"), layer("ReLU", name="r", bottom="x_report", top="x_report")),
         net(conv(top="x_report"), layer("ReLU", name="r", bottom="x_report", top="r"))),
    Case("marker-place", net(conv(top="x_hp")), net(conv(name="x_hp"))),
    Case("marker-place", net(conv(top="x_cpu")), net(conv(name="x_cpu"))),
    Case("marker-place", net(conv(name="x_report", top="x")), net(conv(name="x", top="x_report"))),
    Case("marker-hp", net(conv(name="x_hp")), net(conv(name="hp_x"))),
    Case("in-place", net(conv(), layer("ReLU", name="r", bottom="x")),
         net(conv(), layer("ReLU", name="r", bottom="x", top="x"))),
    Case("in-place-apart",
         net(conv(), conv(name="y"), layer("ReLU", name="r", bottom="x", top="x")),
         net(conv(), layer("ReLU", name="r", bottom="x", top="x"), conv(name="y"))),
    Case("slow-type", net(layer("Softmax")), net(layer("ReLU"))),
    Case("small-map", net(conv(), data="1 3 32 15"), net(conv(), data="1 3 16 16")),
    Case("input-channel-blocks", net(conv(), data="1 17 8 8"), net(conv(), data="1 16 8 8")),
    Case("output-channel-blocks", net(conv("num_output: 5")), net(conv("num_output: 4"))),
    Case("output-width-blocks", net(conv(), data="1 3 8 17"), net(conv(), data="1 3 8 16")),
    Case("conv-depthwise", net(conv("num_output: 3 group: 3")), net(conv("num_output: 3"))),
]  # fmt: skip

# The lower ends, and every value of a choice.
CASES += [
    Case("input-channels", net(data="1 2 32 32"), net(data="1 1 32 32")),
    Case("conv-num-output", net(conv("num_output: 0")), net(conv("num_output: 1"))),
    Case("window-kernel", net(conv("kernel_size: 0")), net(conv("kernel_size: 1"))),
    Case("window-stride", net(conv("stride: 0")), net(conv("stride: 1"))),
    Case("window-pad", net(conv("pad: 256")), net(conv("pad: 0"))),
    Case("conv-dilation", net(conv("dilation: 0")), net(conv("dilation: 1"))),
    Case("pool-method", net(pool("pool: STOCHASTIC kernel_size: 2")),
         net(pool("pool: MAX kernel_size: 2"))),
    Case("ip-num-output", net(layer("InnerProduct", "inner_product_param { num_output: 0 }")),
         net(layer("InnerProduct", "inner_product_param { num_output: 1 }"))),
    *(Case("lrn-size", net(layer("LRN", "lrn_param { local_size: 1 }")),
           net(layer("LRN", f"lrn_param {{ local_size: {x} }}"))) for x in (3, 5)),
    Case("lrn-beta", net(layer("LRN", "lrn_param { beta: -32.0078125 }")),
         net(layer("LRN", "lrn_param { beta: -32 }"))),
    Case("scale-axis", net(layer("Scale", "scale_param { axis: 3 }")), net(layer("Scale"))),
    Case("scale-num-axes", net(layer("Scale", "scale_param { num_axes: 3 }")), net(layer("Scale"))),
    Case("bias-axis", net(layer("Bias", "bias_param { axis: 2 }")), net(layer("Bias"))),
    Case("bias-num-axes", net(layer("Bias", "bias_param { num_axes: 2 }")), net(layer("Bias"))),
    *(Case("power-exponent", net(layer("Power", "power_param { power: 0 }")),
           net(layer("Power", f"power_param {{ power: {x} }}")))
      for x in (-2, -1, 0.5, 1, 2, 3)),
    Case("softmax-axis", net(layer("Softmax", "softmax_param { axis: 4 }"), data="1 3 2 2 2"),
         net(layer("Softmax", "softmax_param { axis: 1 }"))),
    Case("reduction-axis", net(layer("Reduction", "reduction_param { axis: 0 }")),
         net(layer("Reduction", "reduction_param { axis: 2 }"))),
    Case("concat-axis",
         net(layer("Concat", "concat_param { axis: 4 }", bottom="data data"), data="1 3 2 2 2"),
         net(layer("Concat", "concat_param { axis: 3 }", bottom="data data"))),
    Case("concat-bottoms", net(layer("Concat")), net(layer("Concat", bottom="data data"))),
    Case("slice-axis",
         net(layer("Slice", "slice_param { axis: 4 }", top="a b"), data="1 3 2 2 2"),
         net(layer("Slice", "slice_param { axis: 1 }", top="a"))),
    Case("reshape-rank", net(reshape("")), net(reshape("0", "num_axes: 1"))),
    Case("reshape-axis", net(reshape("0", "axis: -5 num_axes: 1")),
         net(reshape("0", "axis: -4 num_axes: 1"))),
    Case("reshape-num-axes", net(reshape("0", "num_axes: -2")),
         net(reshape("0 3 32 32", "num_axes: -1"))),
    Case("flatten-axes", net(layer("Flatten", "flatten_param { axis: -5 }")),
         net(layer("Flatten", "flatten_param { axis: 1 end_axis: -1 }"))),
    Case("passthrough-block",
         net(layer("PassThrough", "pass_through_param { block_height: 1 block_width: 0 }")),
         net(layer("PassThrough", "pass_through_param { block_height: 1 block_width: 1 }"))),
    Case("spp-height", net(layer("SPP", "spp_param { pyramid_height: 0 }")),
         net(layer("SPP", "spp_param { pyramid_height: 1 }"))),
    Case("lstm-num-output", net(lstm(count=0), **SEQUENCE), net(lstm(count=1), **SEQUENCE)),
    Case("rnn-num-output", net(lstm(count=0, kind="RNN"), **SEQUENCE),
         net(lstm(count=1, kind="RNN"), **SEQUENCE)),
    Case("proposal-tops", inputs(data="1 3 8 8") + 'layer { type: "Proposal" bottom: "data" }',
         net(layer("Proposal"))),
    Case("custom-tops", inputs(data="1 3 8 8") + 'layer { type: "Custom" bottom: "data" }',
         between(custom(name="b", bottom="a"))),
]  # fmt: skip

TEXT_RULES = {"old-input-dim", "old-layers-form", "training-layers"}


def read(folder: Path, text: str, edit: Callable[[Net], None] | None = None) -> Net:
    path = folder / "net.prototxt"
    path.write_text(text, encoding="utf-8")
    network = read_net(path, any_type=True)
    if edit is not None:
        edit(network)
    return network


def found(folder: Path, text: str, chip: str = NEW_CHIP) -> list[Finding]:
    return check(read(folder, text), chip)


@pytest.mark.parametrize("case", CASES, ids=lambda x: x.rule)
def test_rule(case: Case, tmp_path: Path) -> None:
    by_id = {x.id: x for x in rules()}
    if case.rule in TEXT_RULES:
        bad, good = check_text(case.bad), check_text(case.good)
    else:
        bad = check(read(tmp_path, case.bad, case.edit_bad), case.chip)
        good = check(read(tmp_path, case.good, case.edit_good), case.chip)
    broken = [x for x in bad if x.id == case.rule]
    assert broken
    assert {x.severity for x in broken} == {by_id[case.rule].severity}
    assert case.rule not in {x.id for x in good}
    for finding in broken:
        assert "{" not in finding.message
        assert finding.message
        assert finding.fix


def test_every_rule_has_a_test() -> None:
    assert {x.rule for x in CASES} == {x.id for x in rules()}


def test_ids_are_unique_and_every_condition_is_a_rule() -> None:
    ids = [x.id for x in rules()]
    assert len(ids) == len(set(ids))
    needed = {x.id for x in rules() if not (x.limit or x.absent or x.forbid or x.only)} - TEXT_RULES
    assert needed == {*conditions.LAYER_CONDITIONS, *conditions.NET_CONDITIONS}


@pytest.mark.parametrize(
    ("text", "rule", "message"),
    [
        (net(conv("kernel_h: 52 kernel_w: 1"), data="1 3 64 640"), "window-rows",
         "kernel_h is 52; at input width 640 and stride_w 1 NNIE takes up to 51"),
        (net(pool("kernel_size: 2 stride: 2"), data="1 3 33 32"), "pool-ceil",
         "33x32 becomes 17x16 (rounded down it would be 16x16)"),
        (net(relus(17)), "segment-outputs", "segment 1 has 17 outputs; the limit is 16"),
        (net(layer("LRN", "lrn_param { local_size: 9 }")), "lrn-size",
         "local_size is 9; NNIE takes 3, 5 or 7"),
        (net(conv("stride: 256")), "window-stride", "stride_h is 256; NNIE takes 1 to 255"),
        (net(layer("MVN", "mvn_param { eps: 1e-6 }")), "mvn-eps", "eps is written"),
        (net(layer("Proposal", name="p"), layer("ReLU", bottom="p")), "after-proposal",
         "ReLU follows p (Proposal)"),
    ],
)  # fmt: skip
def test_message_compares_the_numbers(text: str, rule: str, message: str, tmp_path: Path) -> None:
    assert next(x.message for x in found(tmp_path, text) if x.id == rule) == message


def test_old_form_is_found_with_its_line() -> None:
    text = 'name: "input_dim: 1"  # input_dim: 2\ninput: "data"\n  input_dim: 1\n'
    assert [x.message for x in check_text(text)] == [
        "the prototxt gives its input by input_dim (line 3)"
    ]


def test_layers_on_the_cpu_have_no_nnie_limits(tmp_path: Path) -> None:
    wide = net(conv("kernel_h: 1 kernel_w: 256", name="x_cpu"), data="1 3 300 300")
    assert "window-kernel" not in {x.id for x in found(tmp_path, wide)}


def test_one_finding_counts_all_small_slopes(tmp_path: Path) -> None:
    network = read(tmp_path, net(layer("PReLU"), data="1 5 8 8"))
    network.find("x").weights = [np.array([0.25, 1e-5, -3e-6, 0, 1.3e-4], np.float32)]
    small = [x for x in check(network) if x.id == "coefficient-small"]
    assert [x.message for x in small] == [
        "2 of 5 values (slope 2: -3e-06, the smallest) are below 0.000122 (half of Q20.12's step "
        "1/4096) and become 0"
    ]
    network.find("x").weights = [np.array([1e6, 1, -2e6, 1, 1], np.float32)]
    (large,) = [x for x in check(network) if x.id == "coefficient-range"]
    assert large.message == "slope 2 is -2e+06 (and 1 more values); NNIE takes -524288 to 524288"


def test_findings_have_the_line_of_the_layer(tmp_path: Path) -> None:
    path = tmp_path / "net.prototxt"
    path.write_text(
        'name: "x"  # name: "wide"\ninput: "data"\ninput_shape { dim: 1 dim: 1 dim: 8 dim: 8 }\n'
        'layer { # name: "wide"\n  type: "Convolution" bottom: "data" top: "wide"\n'
        '  param { name: "wide" }\n  name: "wide"\n'
        "  convolution_param { num_output: 40000 kernel_size: 1 }\n}\n"
    )
    lines = {x.id: x.line for x in check_files(path, None, NEW_CHIP)}
    assert lines["conv-num-output"] == 7
    assert lines["input-gray"] == 2
    assert name_lines('layers { name: \'a"b\' } layer { name: "c }" }\nlayer{name:"d"}') == {
        'a"b': 1, "c }": 1, "d": 2
    }  # fmt: skip


def test_nearest_upsample_depends_on_the_generation(tmp_path: Path) -> None:
    text = net(upsample("scale: 2"))
    severity = {
        chip: {x.severity for x in found(tmp_path, text, chip) if x.id.startswith("upsample-n")}
        for chip in chip_names()
    }
    assert severity[OLD_CHIP] == {"error"}
    assert all(severity[x] == {"warning"} for x in chip_names() if x != OLD_CHIP)


def test_findings_stand_in_layer_order_errors_first(tmp_path: Path) -> None:
    text = net(
        conv("num_output: 5 stride: 256"),
        layer("LRN", "lrn_param { local_size: 9 alpha: 1e-5 }", "y"),
        data="1 3 31 32",
    )
    network = read(tmp_path, text)
    findings = check(network)
    places = ["data", *(x.name for x in network.layers)]
    key = [
        (places.index(x.layer), ["error", "warning", "hint"].index(x.severity)) for x in findings
    ]
    assert key == sorted(key)
    assert {x.layer for x in findings} == {"data", "x", "y"}
    assert {x.severity for x in findings if x.layer == "y"} == {"error", "warning", "hint"}


@pytest.mark.parametrize(
    ("text", "rule", "layer_name"),
    [
        (net(relus(18)), "segment-outputs", "r16"),
        (net(*(roi(f"r{i}") for i in range(4)), rois=ROIS), "segment-roi-layers", "r2"),
        (net(*(roi(f"r{i}") for i in range(6)), rois=ROIS), "roi-layers", "r4"),
        (chain(9), "segments", "s8"),
        (net(**{f"i{i}": "1 3" for i in range(32)}), "input-count", "data"),
    ],
)
def test_findings_on_counts_name_the_first_too_many(
    text: str, rule: str, layer_name: str, tmp_path: Path
) -> None:
    assert [x.layer for x in found(tmp_path, text) if x.id == rule] == [layer_name]


def test_segments_of_a_split_network(tmp_path: Path) -> None:
    text = net(
        conv(name="a"),
        conv(name="b", bottom="a"),
        layer("Softmax", name="s_cpu", bottom="b", top="s"),
        conv(name="c", bottom="s"),
        layer("Eltwise", name="d", bottom="a c"),
        layer("ReLU", name="e", bottom="data"),
    )
    assert segments(read(tmp_path, text)) == [
        Segment(1, (0, 1, 5), ("data",), ("a", "b", "e")),
        Segment(2, (3, 4), ("s", "a"), ("d",)),
    ]


def test_unknown_shapes_do_not_stop_the_check(tmp_path: Path) -> None:
    text = net(layer("PriorBox", name="p"), conv("stride: 256", bottom="p"))
    assert {"unsupported-type", "window-stride"} <= {x.id for x in found(tmp_path, text)}


def test_unknown_chip_names_the_nearest_first(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"'hi3559v20' is not known; write one of hi3559v200, "):
        found(tmp_path, net(), "hi3559v20")


def test_mnet_is_refused_for_what_was_repaired_by_hand(shared: Path) -> None:
    folder = shared / "models" / "retinaface_mnet025"
    errors = Counter(
        x.id for x in check(read_net(folder / "mnet.prototxt")) if x.severity == "error"
    )
    # crop0, crop1 and six Reshapes that begin with 1: what the hand-made repair changed
    assert errors == {"unsupported-type": 2, "reshape-first-dim": 6}


@pytest.mark.parametrize("chip", ["hi3516dv300", "hi3559av100"])
def test_hand_rewritten_mnet_ran_on_a_board(shared: Path, chip: str) -> None:
    path = shared / "models" / "retinaface_mnet025" / "mnet_hand_rewritten.prototxt"
    findings = check(read_net(path), chip)
    assert not [x for x in findings if x.severity == "error"]
    collisions = [x for x in findings if x.id == "name-collision"]
    assert [x.layer for x in collisions] == [
        "face_rpn_cls_prob_reshape_stride16",
        "face_rpn_cls_prob_reshape_stride8",
    ]
    assert {x.severity for x in collisions} == {"warning"}


def test_layers_apart_as_counted_in_both_mnets(shared: Path) -> None:
    folder = shared / "models" / "retinaface_mnet025"
    counts = [
        sum(x.id == "in-place-apart" for x in check(read_net(folder / name)))
        for name in ("mnet.prototxt", "mnet_hand_rewritten.prototxt")
    ]
    # counted by comparing the two public files line by line
    assert counts == [14, 7]


@pytest.mark.parametrize(
    ("path", "errors"),
    [
        ("enet/bn_conv_merged_model.prototxt", set()),
        ("mobilefacenet/mxnet2caffe_mobilefacenet.prototxt", set()),
        ("ultraface/slim-320.prototxt", {"reshape-first-dim"}),
        ("ultraface/RFB-320.prototxt", {"reshape-first-dim"}),
    ],
)
def test_other_real_networks(shared: Path, path: str, errors: set[str]) -> None:
    findings = check(read_net(shared / "models" / path))
    assert {x.id for x in findings if x.severity == "error"} == errors


def test_document_is_current() -> None:
    path = Path(__file__).parent.parent / "docs" / "rules.md"
    assert path.read_text(encoding="utf-8") == table.markdown()


def run(*arguments: str) -> tuple[int, str]:
    app = typer.Typer()
    app.command()(check_command.command)
    result = CliRunner().invoke(app, [*arguments])
    return result.exit_code, result.output


def test_command_ends_with_1_on_an_error_only(tmp_path: Path) -> None:
    path = tmp_path / "net.prototxt"
    path.write_text(net(conv("stride: 256")))
    status, output = run(str(path))
    assert status == 1
    assert "window-stride" in output
    path.write_text(net(conv()))
    assert run(str(path))[0] == 0


def test_command_prints_json_only(tmp_path: Path) -> None:
    path = tmp_path / "net.prototxt"
    path.write_text(net(conv("stride: 256")))
    status, output = run(str(path), "--json", "--chip", "HI3516CV500")
    assert status == 1
    findings = json.loads(output)["findings"]
    assert {"id", "layer", "severity", "message", "fix", "line"} == set(findings[0])
    assert "window-stride" in {x["id"] for x in findings}


def test_command_lists_errors_first_and_a_rule_once(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "200")
    path = tmp_path / "net.prototxt"
    odd = [conv("stride: 3", f"c{i}", "data" if i == 0 else f"c{i - 1}") for i in range(3)]
    path.write_text(net(*odd, conv("stride: 256", "last", "c2"), data="1 3 90 90"))
    status, output = run(str(path))
    assert status == 1
    first = [x.split("│")[1].strip() for x in output.splitlines() if x.startswith("│")]
    words = [x for x in first if x]
    rules = list(zip(words[::2], words[1::2], strict=True))
    assert rules[0] == ("error", "window-stride")
    assert len(rules) == len(set(rules))
    assert [x for x, _ in rules] == sorted((x for x, _ in rules), key=["error", "hint"].index)
    assert "last (6): stride_h is 256" in " ".join(output.split())


def test_command_reads_the_weights(tmp_path: Path) -> None:
    network = read(tmp_path, net(layer("PReLU"), data="1 2 8 8"))
    network.find("x").weights = [np.array([0.25, 1e-5], np.float32)]
    files = tmp_path / "x.prototxt", tmp_path / "x.caffemodel"
    write_net(network, *files)
    for count in (1, 2):
        _, output = run(*map(str, files[:count]), "--json")
        ids = {x["id"] for x in json.loads(output)["findings"]}
        assert ("coefficient-small" in ids) == (count == 2)


def test_command_says_what_is_wrong_with_its_input(tmp_path: Path) -> None:
    status, output = run(str(tmp_path / "none.prototxt"))
    assert status == 2
    assert "nothing there" in output


@pytest.mark.parametrize(
    "text",
    [
        'input: "data" input_shape { dim: 4 dim: 1 dim: 16 }\n'
        'input: "cont" input_shape { dim: 4 dim: 1 }\n'
        'layer { name: "l" type: "LSTM" bottom: "data" bottom: "cont" top: "l" '
        "recurrent_param { num_output: 8 } }",
        'input: "a" input_shape { dim: 1 dim: 1 dim: 4 dim: 16 }\n'
        'input: "b" input_shape { dim: 1 dim: 1 dim: 8 dim: 16 }\n'
        'layer { name: "m" type: "MatMul" bottom: "a" bottom: "b" top: "m" '
        "matmul_param { dim_1: 4 dim_2: 16 dim_3: 8 } }",
    ],
)
def test_limits_of_pictures_hold_for_pictures_only(text: str, tmp_path: Path) -> None:
    path = tmp_path / "n.prototxt"
    path.write_text(text)
    found = check(read_net(path), NEW_CHIP)
    assert not {"input-batch", "input-size"} & {x.id for x in found}

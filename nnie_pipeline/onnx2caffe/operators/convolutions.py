"""Conv, ConvTranspose, Gemm, BatchNormalization, and upsampling by repetition."""

from __future__ import annotations

import numpy as np

from nnie_pipeline.caffe.caffe_pb2 import ConvolutionParameter, LayerParameter
from nnie_pipeline.caffe.net import Array, Shape
from nnie_pipeline.onnx2caffe.graph import Graph, Node, converts


@converts("Conv")
def conv(graph: Graph, node: Node) -> None:
    """Convolution; uneven padding is made even by zero rows and columns in the kernel."""
    weight = graph.weight(node, 1)
    bias = graph.weight(node, 2)
    assert weight is not None
    _two_dimensional(graph, node, weight.shape)
    strides = list(node.get("strides", [1, 1]))
    dilations = list(node.get("dilations", [1, 1]))
    size = graph.shape(node, node.inputs[0])[2:]
    pads = window_pads(node, size, weight.shape[2:], strides, dilations)
    weight, even = _even_pads(graph, node, weight, pads, dilations)
    param = LayerParameter()
    _set_window(
        param.convolution_param, weight.shape[2:], strides, even, dilations,
        weight.shape[0], node.get("group", 1), bias is not None,
    )  # fmt: skip
    weights = [weight] if bias is None else [weight, bias]
    graph.add(node, "Convolution", [graph.blob(node, node.inputs[0])], weights, param)


@converts("ConvTranspose")
def conv_transpose(graph: Graph, node: Node) -> None:
    """Deconvolution, where padding is even and nothing is added behind the map."""
    weight = graph.weight(node, 1)
    bias = graph.weight(node, 2)
    assert weight is not None
    _two_dimensional(graph, node, weight.shape)
    strides = list(node.get("strides", [1, 1]))
    dilations = list(node.get("dilations", [1, 1]))
    pads = list(node.get("pads", [0, 0, 0, 0]))
    if (
        node.get("auto_pad", "NOTSET") not in ("NOTSET", "VALID")
        or "output_shape" in node.attributes
    ):
        graph.refuse(
            node, "its padding follows from the output's size", "export it with explicit pads"
        )
    if any(node.get("output_padding", [0, 0])) or pads[:2] != pads[2:]:
        graph.refuse(
            node,
            f"pads {pads} and output_padding {list(node.get('output_padding', [0, 0]))} are not "
            "the same on both sides, Caffe's Deconvolution knows one pad an axis",
            "use output_padding=0 and even padding (kernel 4, stride 2, padding 1 doubles a map)",
        )
    group = node.get("group", 1)
    param = LayerParameter()
    _set_window(
        param.convolution_param, weight.shape[2:], strides, pads[:2], dilations,
        weight.shape[1] * group, group, bias is not None,
    )  # fmt: skip
    weights = [weight] if bias is None else [weight, bias]
    graph.add(node, "Deconvolution", [graph.blob(node, node.inputs[0])], weights, param)


@converts("Gemm")
def gemm(graph: Graph, node: Node) -> None:
    """InnerProduct, with alpha and beta folded into the weights."""
    weight = graph.weight(node, 1)
    bias = graph.weight(node, 2)
    assert weight is not None
    if node.get("transA", 0):
        graph.refuse(node, "it transposes its input", "export a plain fully connected layer")
    weight = (weight if node.get("transB", 0) else weight.T) * np.float32(node.get("alpha", 1.0))
    weights = [weight]
    if bias is not None:
        flat = np.broadcast_to(bias, (1, weight.shape[0])).reshape(-1)
        weights.append(flat * np.float32(node.get("beta", 1.0)))
    param = LayerParameter()
    param.inner_product_param.num_output = weight.shape[0]
    param.inner_product_param.bias_term = bias is not None
    graph.add(node, "InnerProduct", [graph.blob(node, node.inputs[0])], weights, param)


@converts("BatchNormalization")
def batch_normalization(graph: Graph, node: Node) -> None:
    """BatchNorm (mean and variance) followed by Scale (gamma and beta)."""
    gamma, beta, mean, variance = (graph.weight(node, i) for i in (1, 2, 3, 4))
    assert gamma is not None
    assert beta is not None
    assert mean is not None
    assert variance is not None
    if node.get("training_mode", 0):
        graph.refuse(node, "it is in training mode", "export the model after model.eval()")
    normal = LayerParameter()
    normal.batch_norm_param.use_global_stats = True
    normal.batch_norm_param.eps = node.get("epsilon", 1e-5)
    bottom = graph.blob(node, node.inputs[0])
    one = np.ones(1, np.float32)
    middle = graph.add(node, "BatchNorm", [bottom], [mean, variance, one], normal, suffix="bn")
    scale = LayerParameter()
    scale.scale_param.bias_term = True
    graph.add(node, "Scale", [middle], [gamma, beta], scale)


@converts("Resize", "Upsample")
def resize(graph: Graph, node: Node) -> None:
    """Nearest upsampling by an integer factor: a grouped Deconvolution of ones.

    The form that ran on a board: kernel and stride are the factor, one group a channel,
    every weight 1 (the public RetinaFace network of nniefacelib).
    """
    source = graph.shape(node, node.inputs[0])
    target = graph.shape(node, node.outputs[0])
    mode = node.get("mode", "nearest")
    if mode != "nearest":
        graph.refuse(
            node,
            f"NNIE's Caffe has no {mode} interpolation",
            "use nearest upsampling by a whole factor, or ConvTranspose",
        )
    factor = _whole_factor(source, target)
    if factor is None:
        graph.refuse(
            node,
            f"{source[2]}x{source[3]} to {target[2]}x{target[3]} is no whole factor",
            "choose an input size at which every map doubles exactly",
        )
    if not _repeats(node, graph, factor):
        graph.refuse(
            node,
            f"its rounding (coordinate_transformation_mode "
            f"{node.get('coordinate_transformation_mode', 'half_pixel')}, nearest_mode "
            f"{node.get('nearest_mode', 'round_prefer_floor')}) does not repeat every pixel "
            f"{factor[0]}x{factor[1]} times",
            "use torch.nn.Upsample(scale_factor=2, mode='nearest')",
        )
    if factor == (1, 1):
        graph.alias(node)
        return
    repeat_pixels(graph, node, graph.blob(node, node.inputs[0]), source[1], factor)


def repeat_pixels(
    graph: Graph, node: Node, blob: str, channels: int, factor: tuple[int, int]
) -> None:
    """Add the Deconvolution of ones that repeats every pixel of `blob`."""
    param = LayerParameter()
    _set_window(
        param.convolution_param, factor, list(factor), [0, 0], [1, 1], channels, channels, False
    )
    ones = np.ones((channels, 1, *factor), np.float32)
    graph.add(node, "Deconvolution", [blob], [ones], param)


def _whole_factor(source: Shape, target: Shape) -> tuple[int, int] | None:
    if source[:2] != target[:2] or target[2] % source[2] or target[3] % source[3]:
        return None
    return target[2] // source[2], target[3] // source[3]


def _repeats(node: Node, graph: Graph, factor: tuple[int, int]) -> bool:
    """Whether every output pixel k reads input pixel k // factor (ONNX's Resize formulas)."""
    if node.operator == "Upsample" or graph.opset < 11:
        return True
    place = node.get("coordinate_transformation_mode", "half_pixel")
    rounding = node.get("nearest_mode", "round_prefer_floor")
    for f in factor:
        for k in range(4 * f):
            if place == "asymmetric":
                x = k / f
            elif place in ("half_pixel", "pytorch_half_pixel", "half_pixel_symmetric"):
                x = (k + 0.5) / f - 0.5
            else:
                return f == 1
            rounded = {
                "floor": np.floor(x),
                "ceil": np.ceil(x),
                "round_prefer_floor": np.ceil(x - 0.5),
                "round_prefer_ceil": np.floor(x + 0.5),
            }.get(rounding)
            if rounded is None or min(max(int(rounded), 0), 3) != k // f:
                return False
    return True


def window_pads(
    node: Node, size: Shape, kernel: Shape, strides: list[int], dilations: list[int]
) -> list[int]:
    """[top, left, bottom, right], with auto_pad worked out for this map size."""
    auto = node.get("auto_pad", "NOTSET")
    if auto == "NOTSET":
        return list(node.get("pads", [0, 0, 0, 0]))
    if auto == "VALID":
        return [0, 0, 0, 0]
    total = [
        max(
            (-(-size[i] // strides[i]) - 1) * strides[i] + (kernel[i] - 1) * dilations[i] + 1
            - size[i],
            0,
        )
        for i in (0, 1)
    ]  # fmt: skip
    small = [x // 2 for x in total]
    large = [x - y for x, y in zip(total, small, strict=True)]
    return small + large if auto == "SAME_UPPER" else large + small


def _even_pads(
    graph: Graph, node: Node, weight: Array, pads: list[int], dilations: list[int]
) -> tuple[Array, list[int]]:
    """Make the pads equal on both sides by zero rows or columns in the kernel.

    With a pad of p before and q behind, p < q, a kernel with (q - p) / dilation zero rows
    in front and a pad of q on both sides reads the same pixels: its windows start q - p
    earlier on zeros, and its extent grows by as much as the padding does, so the number
    of windows stays. For p > q the zero rows stand behind.
    """
    result = weight
    even = []
    for axis in (0, 1):
        before, behind = pads[axis], pads[axis + 2]
        if before < 0 or behind < 0:
            graph.refuse(node, f"pads {pads} are negative", "crop with a Slice instead")
        missing = behind - before
        zeros = [(0, 0)] * 4
        rows, rest = divmod(abs(missing), dilations[axis])
        if rest:
            graph.refuse(
                node,
                f"pads {pads} differ by {abs(missing)}, no multiple of the dilation "
                f"{dilations[axis]}",
                "use the same padding on both sides",
            )
        zeros[2 + axis] = (rows, 0) if missing > 0 else (0, rows)
        result = np.pad(result, zeros)
        even.append(max(before, behind))
    return result, even


def _set_window(
    param: ConvolutionParameter,
    kernel: Shape,
    strides: list[int],
    pads: list[int],
    dilations: list[int],
    num_output: int,
    group: int,
    bias: bool,
) -> None:
    param.num_output = num_output
    param.bias_term = bias
    if kernel[0] == kernel[1]:
        param.kernel_size.append(kernel[0])
    else:
        param.kernel_h, param.kernel_w = kernel
    if pads[0] != pads[1]:
        param.pad_h, param.pad_w = pads
    elif pads[0]:
        param.pad.append(pads[0])
    if strides[0] != strides[1]:
        param.stride_h, param.stride_w = strides
    else:
        param.stride.append(strides[0])
    if dilations != [1, 1]:
        param.dilation.extend(dilations if dilations[0] != dilations[1] else dilations[:1])
    if group != 1:
        param.group = group


def _two_dimensional(graph: Graph, node: Node, shape: Shape) -> None:
    if len(shape) != 4:
        graph.refuse(
            node,
            f"its kernel has {len(shape) - 2} axes, NNIE convolves pictures (2)",
            "use 2-D convolutions",
        )

"""MaxPool, AveragePool and their global forms, with NNIE's rounding."""

from __future__ import annotations

from nnie_pipeline.caffe.caffe_pb2 import LayerParameter, PoolingParameter
from nnie_pipeline.caffe.windows import Window, pool_output
from nnie_pipeline.onnx2caffe.graph import Graph, Node, converts
from nnie_pipeline.onnx2caffe.operators.convolutions import window_pads


@converts("MaxPool", "AveragePool")
def pool(graph: Graph, node: Node) -> None:
    """Pooling, where Caffe's rounding up gives the same windows."""
    source = graph.shape(node, node.inputs[0])
    target = graph.shape(node, node.outputs[0])
    kernel = node.get("kernel_shape", [1, 1])
    strides = list(node.get("strides", [1, 1]))
    if any(x != 1 for x in node.get("dilations", [1, 1])) or len(source) != 4:
        graph.refuse(node, "it is dilated or not 2-D", "use a plain 2-D pooling")
    pads = window_pads(node, source[2:], tuple(kernel), strides, [1, 1])
    window = Window((kernel[0], kernel[1]), (strides[0], strides[1]), (pads[0], pads[1]), (1, 1))
    ours = pool_output(window, (source[2], source[3]))
    if ours != target[2:] or pads[:2] != pads[2:]:
        graph.refuse(
            node,
            f"it makes {target[2]}x{target[3]} of {source[2]}x{source[3]} with pads {pads}, "
            f"NNIE rounds up and makes {ours[0]}x{ours[1]}",
            "set ceil_mode=True, or choose an input size at which the stride divides",
        )
    average = node.operator == "AveragePool"
    if average and any(pads) and not node.get("count_include_pad", 0):
        graph.refuse(
            node,
            "it leaves padding out of the average, NNIE counts it",
            "export with count_include_pad=True or without padding",
        )
    _check_ceil_average(graph, node, window, source, ours, average)
    param = LayerParameter()
    pooling = param.pooling_param
    pooling.pool = PoolingParameter.AVE if average else PoolingParameter.MAX
    pooling.kernel_h, pooling.kernel_w = window.kernel
    pooling.stride_h, pooling.stride_w = window.stride
    if any(window.pad):
        pooling.pad_h, pooling.pad_w = window.pad
    graph.add(node, "Pooling", [graph.blob(node, node.inputs[0])], params=param)


def _check_ceil_average(
    graph: Graph, node: Node, window: Window, source: tuple[int, ...], out: tuple[int, int],
    average: bool,
) -> None:  # fmt: skip
    """ONNX runtimes disagree on the divisor of windows that rounding up lets hang over."""
    hangs = any(
        (out[i] - 1) * window.stride[i] + window.kernel[i] > source[2 + i] + 2 * window.pad[i]
        for i in (0, 1)
    )
    if average and hangs:
        graph.refuse(
            node,
            "its last windows hang over the border",
            "choose a size at which the stride divides",
        )


@converts("GlobalAveragePool", "GlobalMaxPool")
def global_pool(graph: Graph, node: Node) -> None:
    """Pooling over the whole map."""
    param = LayerParameter()
    average = node.operator == "GlobalAveragePool"
    param.pooling_param.pool = PoolingParameter.AVE if average else PoolingParameter.MAX
    param.pooling_param.global_pooling = True
    graph.add(node, "Pooling", [graph.blob(node, node.inputs[0])], params=param)

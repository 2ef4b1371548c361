"""Small Caffe networks for tests, written as prototxt text with random weights."""

from __future__ import annotations

import math
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
from google.protobuf import text_format

from nnie_pipeline.caffe.caffe_pb2 import LayerParameter, NetParameter
from nnie_pipeline.caffe.files import read_net
from nnie_pipeline.caffe.net import Array, Net
from nnie_pipeline.caffe.shapes import infer
from nnie_pipeline.engine.onnxruntime_engine import Session, all_values

Weights = Mapping[str, Sequence[npt.ArrayLike]]


def header(*shape: int, name: str = "data") -> str:
    """An input in the header form."""
    return f'input: "{name}" input_shape {{ {" ".join(f"dim: {x}" for x in shape)} }}\n'


def layer(kind: str, name: str, bottoms: str, tops: str = "", params: str = "") -> str:
    """A layer's text; bottoms and tops are names with spaces between (top: the layer's name)."""
    bottom = " ".join(f'bottom: "{x}"' for x in bottoms.split())
    top = " ".join(f'top: "{x}"' for x in (tops or name).split())
    return f'layer {{ name: "{name}" type: "{kind}" {bottom} {top} {params} }}\n'


def conv(
    name: str, bottom: str, outputs: int, kernel: int = 1, more: str = "", top: str = ""
) -> str:
    """A Convolution's text."""
    params = f"convolution_param {{ num_output: {outputs} kernel_size: {kernel} {more} }}"
    return layer("Convolution", name, bottom, top, params)


def parse(text: str) -> NetParameter:
    """The message of a prototxt."""
    return text_format.Parse(text, NetParameter())


def save(folder: Path, text: str, weights: Weights | None = None) -> tuple[Path, Path]:
    """Write text and weights as Caffe does (its own blob layout); gives both paths."""
    prototxt, caffemodel = folder / "net.prototxt", folder / "net.caffemodel"
    prototxt.write_text(text, encoding="utf-8")
    proto = NetParameter()
    for name, arrays in (weights or {}).items():
        entry = proto.layer.add(name=name)
        for array in arrays:
            values = np.asarray(array, np.float32)
            blob = entry.blobs.add()
            for side in values.shape:
                blob.shape.dim.append(side)
            blob.data.extend(values.ravel().tolist())
    caffemodel.write_bytes(proto.SerializeToString())
    return prototxt, caffemodel


def net_of(text: str, weights: Weights | None = None) -> Net:
    """Text and weights read as files."""
    with tempfile.TemporaryDirectory() as folder:
        prototxt, caffemodel = save(Path(folder), text, weights)
        return read_net(prototxt, caffemodel if weights else None)


def random_net(text: str, seed: int = 0) -> tuple[Net, dict[str, list[Array]]]:
    """The network of `text` with random weights in every layer that has some."""
    bare = net_of(text)
    shapes = infer(bare)
    rng = np.random.default_rng(seed)
    protos = {x.name: x for x in parse(text).layer}
    weights = {
        x.name: random_weights(protos[x.name], [shapes[b] for b in x.bottoms], rng)
        for x in bare.layers
    }
    weights = {k: v for k, v in weights.items() if v}
    return (net_of(text, weights) if weights else bare), weights


def random_weights(
    p: LayerParameter, bottoms: Sequence[tuple[int, ...]], rng: np.random.Generator
) -> list[Array]:
    """Weights of the shapes that Caffe gives them."""
    shapes = weight_shapes(p, bottoms)
    arrays = [rng.normal(0, 1 / math.sqrt(max(math.prod(x[1:]), 1)), x) for x in shapes]
    if p.type == "BatchNorm":
        channels = bottoms[0][1]
        factor = rng.uniform(0.5, 3, (1,))
        arrays = [
            rng.normal(0, 0.3, channels) * factor,
            rng.uniform(0.3, 2, channels) * factor,
            factor,
        ]
    if p.type == "Scale":
        arrays[0:1] = [x + 1 for x in arrays[0:1]]
    return [x.astype(np.float32) for x in arrays]


def weight_shapes(p: LayerParameter, bottoms: Sequence[tuple[int, ...]]) -> list[tuple[int, ...]]:
    """The blobs of a layer in Caffe 1.0, in its order."""
    if p.type == "Parameter":
        return [tuple(p.parameter_param.shape.dim)]
    channels = bottoms[0][1]
    if p.type == "Normalize":
        return [() if p.norm_param.channel_shared else (channels,)]
    if p.type == "CReLU":
        return [(2 * channels,)] * (2 if p.crelu_param.bias_term else 1)
    if p.type in ("LSTM", "RNN"):
        return _recurrent_shapes(p, bottoms)
    if p.type in ("Convolution", "DepthwiseConv", "Deconvolution"):
        c = p.convolution_param
        kernel = (
            (c.kernel_h, c.kernel_w)
            if c.HasField("kernel_h")
            else (c.kernel_size[0], c.kernel_size[-1])
        )
        outputs = c.num_output
        group = channels if p.type == "DepthwiseConv" else c.group
        first, second = outputs, channels // group
        if p.type == "Deconvolution":
            first, second = channels, outputs // group
        return [(first, second, *kernel), *([(outputs,)] if c.bias_term else [])]
    if p.type == "InnerProduct":
        i = p.inner_product_param
        count = math.prod(bottoms[0][i.axis % len(bottoms[0]) :])
        weight = (count, i.num_output) if i.transpose else (i.num_output, count)
        return [weight, *([(i.num_output,)] if i.bias_term else [])]
    if p.type == "BatchNorm":
        return [(channels,), (channels,), (1,)]
    if p.type == "PReLU":
        return [()] if p.prelu_param.channel_shared else [(channels,)]
    if p.type in ("Scale", "Bias"):
        s = p.scale_param if p.type == "Scale" else p.bias_param
        rank = len(bottoms[0])
        start = s.axis % rank
        end = rank if s.num_axes == -1 else start + s.num_axes
        own = tuple(bottoms[1] if len(bottoms) > 1 else bottoms[0][start:end])
        blobs = [own] if len(bottoms) == 1 else []
        return blobs + ([own] if p.type == "Scale" and p.scale_param.bias_term else [])
    return []


def _recurrent_shapes(
    p: LayerParameter, bottoms: Sequence[tuple[int, ...]]
) -> list[tuple[int, ...]]:
    """W_x, b, W of the static input if there is one, W_h; for RNN also W_o, b_o."""
    d = p.recurrent_param.num_output
    rows, states = (4 * d, 2) if p.type == "LSTM" else (d, 1)
    shapes: list[tuple[int, ...]] = [(rows, math.prod(bottoms[0][2:])), (rows,)]
    if len(bottoms) > 2 + states * p.recurrent_param.expose_hidden:
        shapes.append((rows, math.prod(bottoms[2][1:])))
    shapes.append((rows, d))
    return shapes if p.type == "LSTM" else [*shapes, (d, d), (d,)]


def feed(net: Net, seed: int = 0) -> dict[str, Array]:
    """Random inputs of the network."""
    rng = np.random.default_rng(seed)
    return {k: rng.normal(0, 1, v).astype(np.float32) for k, v in net.inputs.items()}


def every_value(net: Net, inputs: Mapping[str, Array]) -> dict[str, Array]:
    """Every value of the float network."""
    return Session(net, all_values(net)).run(inputs)


def error_of(expected: npt.ArrayLike, found: npt.ArrayLike) -> float:
    """The largest difference, as a share of the largest magnitude (of 1 at least)."""
    a, b = np.asarray(expected, np.float64), np.asarray(found, np.float64)
    assert a.shape == b.shape, f"{a.shape} and {b.shape}"
    return float(np.abs(a - b).max(initial=0) / max(1.0, np.abs(a).max(initial=0)))

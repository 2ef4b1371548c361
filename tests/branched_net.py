"""A small network with a branch that goes around layers, and layers in place."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from nnie_pipeline.caffe.files import read_net, write_net

PROTOTXT = """
name: "branched"
input: "data" input_shape { dim: 1 dim: 3 dim: 16 dim: 24 }
layer { name: "conv1" type: "Convolution" bottom: "data" top: "c1"
  convolution_param { num_output: 8 kernel_size: 3 pad: 1 } }
layer { name: "relu1" type: "ReLU" bottom: "c1" top: "c1" }
layer { name: "conv2" type: "Convolution" bottom: "c1" top: "c2"
  convolution_param { num_output: 8 kernel_size: 3 pad: 1 } }
layer { name: "relu2" type: "ReLU" bottom: "c2" top: "c2" }
layer { name: "side" type: "Convolution" bottom: "data" top: "side"
  convolution_param { num_output: 8 kernel_size: 1 } }
layer { name: "sum" type: "Eltwise" bottom: "c2" bottom: "side" top: "sum" }
layer { name: "pool" type: "Pooling" bottom: "sum" top: "pool"
  pooling_param { pool: MAX kernel_size: 2 stride: 2 } }
layer { name: "fc" type: "InnerProduct" bottom: "pool" top: "fc"
  inner_product_param { num_output: 5 } }
layer { name: "other" type: "Convolution" bottom: "c1" top: "other"
  convolution_param { num_output: 2 kernel_size: 1 } }
"""
WEIGHTS = {
    "conv1": ((8, 3, 3, 3), (8,)),
    "conv2": ((8, 8, 3, 3), (8,)),
    "side": ((8, 3, 1, 1), (8,)),
    "fc": ((5, 8 * 8 * 12), (5,)),
    "other": ((2, 8, 1, 1), (2,)),
}
LAYERS = ["conv1", "relu1", "conv2", "relu2", "side", "sum", "pool", "fc", "other"]


def branched(folder: Path) -> tuple[Path, Path]:
    """The network's prototxt and caffemodel in `folder`, with random weights."""
    prototxt, caffemodel = folder / "branched.prototxt", folder / "branched.caffemodel"
    prototxt.write_text(PROTOTXT)
    net = read_net(prototxt)
    random = np.random.default_rng(3)
    for name, shapes in WEIGHTS.items():
        net.find(name).weights = [random.normal(0, 0.3, x).astype(np.float32) for x in shapes]
    write_net(net, folder / "again.prototxt", caffemodel)
    return prototxt, caffemodel


def picture(path: Path) -> Path:
    """An input of the network in `path` (.npy)."""
    values = np.random.default_rng(4).normal(0, 3, (1, 3, 16, 24)).astype(np.float32)
    np.save(path, values)
    return path

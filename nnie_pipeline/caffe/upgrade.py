"""Old forms of a prototxt turned into the present one, as Caffe does on loading.

Caffe 1.0, util/upgrade_proto.cpp: `layers { type: CONVOLUTION }` (its V1 form) becomes
`layer { type: "Convolution" }`, strings in `param` become the names of shared weights, and
`blobs_lr` and `weight_decay`, which only training reads, have no place in a deployed network.
"""

from __future__ import annotations

from pathlib import Path

from nnie_pipeline.caffe.caffe_pb2 import LayerParameter, NetParameter, V1LayerParameter
from nnie_pipeline.errors import InputError

_TYPES = {
    "ABSVAL": "AbsVal", "ACCURACY": "Accuracy", "ARGMAX": "ArgMax", "BNLL": "BNLL",
    "CONCAT": "Concat", "CONTRASTIVE_LOSS": "ContrastiveLoss", "CONVOLUTION": "Convolution",
    "DATA": "Data", "DECONVOLUTION": "Deconvolution", "DROPOUT": "Dropout",
    "DUMMY_DATA": "DummyData", "ELTWISE": "Eltwise", "EUCLIDEAN_LOSS": "EuclideanLoss",
    "EXP": "Exp", "FLATTEN": "Flatten", "HDF5_DATA": "HDF5Data", "HDF5_OUTPUT": "HDF5Output",
    "HINGE_LOSS": "HingeLoss", "IM2COL": "Im2col", "IMAGE_DATA": "ImageData",
    "INFOGAIN_LOSS": "InfogainLoss", "INNER_PRODUCT": "InnerProduct", "LRN": "LRN",
    "MEMORY_DATA": "MemoryData", "MULTINOMIAL_LOGISTIC_LOSS": "MultinomialLogisticLoss",
    "MVN": "MVN", "NONE": "", "POOLING": "Pooling", "POWER": "Power", "RELU": "ReLU",
    "SIGMOID": "Sigmoid", "SIGMOID_CROSS_ENTROPY_LOSS": "SigmoidCrossEntropyLoss",
    "SILENCE": "Silence", "SLICE": "Slice", "SOFTMAX": "Softmax", "SOFTMAX_LOSS": "SoftmaxWithLoss",
    "SPLIT": "Split", "TANH": "TanH", "THRESHOLD": "Threshold", "WINDOW_DATA": "WindowData",
}  # fmt: skip
"""The new name of every type of the V1 form."""

_MOVED = ("bottom", "top", "include", "exclude", "loss_weight")


def upgraded_layers(proto: NetParameter, path: Path) -> list[LayerParameter]:
    """The layers of `proto` in the present form.

    Raises:
        InputError: none, old and new ones mixed, or the form of Caffe before 2014.
    """
    if not proto.layers and not proto.layer:
        raise InputError(f"{path} holds no layer {{ ... }}; give the prototxt of a network")
    if not proto.layers:
        return list(proto.layer)
    if any(x.HasField("layer") for x in proto.layers):
        raise InputError(
            f"{path} has the form of Caffe before 2014 (layers {{ layer {{ ... }} }}); upgrade it "
            "with Caffe's upgrade_net_proto_text"
        )
    if proto.layer:
        raise InputError(
            f'{path} has both old layers {{ type: ENUM }} and new layer {{ type: "Name" }}; '
            "write all in the new form"
        )
    return [_upgraded(x) for x in proto.layers]


def _upgraded(old: V1LayerParameter) -> LayerParameter:
    layer = LayerParameter(name=old.name, type=_TYPES[V1LayerParameter.LayerType.Name(old.type)])
    for field, value in old.ListFields():
        if field.name in _MOVED:
            getattr(layer, field.name).extend(value)
        elif field.name.endswith("_param"):
            getattr(layer, field.name).CopyFrom(value)
    for name in old.param:
        layer.param.add(name=name)
    return layer

"""export-onnx: a Caffe network as one ONNX file that any ONNX runtime takes."""

from __future__ import annotations

from pathlib import Path

import onnx

from nnie_pipeline.caffe.files import read_net
from nnie_pipeline.caffe.net import Net
from nnie_pipeline.engine.onnxruntime_engine import all_values
from nnie_pipeline.engine.to_onnx import to_onnx
from nnie_pipeline.errors import InputError
from nnie_pipeline.files import added_files
from nnie_pipeline.stages.rewrite import at_size


def export_onnx(
    prototxt: Path,
    caffemodel: Path,
    out: Path,
    size: tuple[int, int] | None = None,
    all_layers: bool = False,
) -> tuple[Net, list[str]]:
    """Write the network as `out`, checked by ONNX's own checker; the network and its outputs.

    With `all_layers` every layer's top is an output, a value that an in-place layer overwrites
    under the name BLOB@LAYER (of the layer that made it). All shapes are fixed, float32.

    Raises:
        InputError: files that cannot be read, a size at which the network does not hold, a
            layer that ONNX does not have, or a network over 2 GiB.
    """
    net = at_size(read_net(prototxt, caffemodel, size), size)
    values = all_values(net) if all_layers else net.outputs
    model = to_onnx(net, values)
    model.producer_name = "nnie-pipeline"
    try:
        data = model.SerializeToString()
    except ValueError as error:  # protobuf's limit
        raise InputError(f"{caffemodel}: as ONNX the network is over 2 GiB, its limit") from error
    try:
        onnx.checker.check_model(data, full_check=True)
    except (onnx.checker.ValidationError, onnx.shape_inference.InferenceError) as error:
        reason = " ".join(str(error).split())[:300]
        raise InputError(f"{prototxt}: ONNX's checker refuses the network: {reason}") from error
    with added_files(out.parent, keep=[prototxt, caffemodel]) as folder:
        (folder / out.name).write_bytes(data)
    return net, list(values)

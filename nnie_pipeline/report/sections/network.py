"""The network: layers by type, inputs, outputs."""

from __future__ import annotations

from collections import Counter
from typing import Any

from nnie_pipeline.report.build import Build, Missing
from nnie_pipeline.report.records import Converted, Dumped, Rewritten
from nnie_pipeline.report.texts import Texts


def context(build: Build, t: Texts) -> dict[str, Any]:
    """Types of the rewritten network's layers, and each kept output from ONNX to Caffe."""
    converted = build.read(Converted)
    rewritten, dumped = build.find(Rewritten), build.find(Dumped)
    names = {} if isinstance(rewritten, Missing) else rewritten.names
    blobs = () if isinstance(dumped, Missing) else dumped.blobs
    shapes = {x.value: x.shape for x in blobs}
    verification = converted.verification
    errors = verification.max_relative_error if verification else {}
    return {
        "converted": converted,
        "rewritten": rewritten,
        "dumped": dumped,
        "types": Counter({x.layer: x.type for x in blobs}.values()).most_common(),
        "outputs": [
            {
                "onnx": x.onnx,
                "caffe": (caffe := names.get(x.caffe, x.caffe)),
                "shape": shapes.get(caffe),
                "error": errors.get(x.onnx),
            }
            for x in converted.outputs
        ],
    }

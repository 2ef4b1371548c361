"""A finished build folder as what later commands need of it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from pydantic import ValidationError

from nnie_pipeline import files
from nnie_pipeline.caffe.files import read_net
from nnie_pipeline.caffe.net import Net
from nnie_pipeline.calibration.network_input import InputSpec
from nnie_pipeline.calibration.sets import read_set
from nnie_pipeline.errors import InputError
from nnie_pipeline.quant.ranges import Ranges
from nnie_pipeline.stages.convert import REFERENCE
from nnie_pipeline.stages.model_input import input_spec
from nnie_pipeline.zoo.spec import Spec

SPEC = "spec.json"
"""The spec of the model, beside what convert wrote."""


@dataclass(frozen=True)
class Built:
    """`reference` is the original as ONNX and `original` how it takes pixels; `net` is the
    rewritten network, `input` how it does, `order` its values that hold the original's outputs,
    in their order; `size` is (height, width).
    """  # fmt: skip

    spec: Spec
    reference: Path
    original: InputSpec
    net: Net
    input: InputSpec
    order: list[str]
    size: tuple[int, int]
    ranges: Ranges


def open_build(folder: Path) -> Built:
    """What `nnie run` left in `folder`.

    Raises:
        InputError: no build, or one that is not complete.
    """
    if not (folder / "convert" / SPEC).is_file():
        raise InputError(
            f"{folder} is no build of nnie run, or of an older version; make it (again) with "
            "make nnie MODEL=... SIZE=... and give its folder, build/NAME-HEIGHTxWIDTH"
        )
    try:
        spec = Spec.model_validate(files.read_json(folder / "convert" / SPEC, "a spec"))
    except ValidationError as error:
        raise InputError(f"{folder / 'convert' / SPEC} is no spec; run nnie run again") from error
    name = spec.name
    net = read_net(
        folder / "rewrite" / f"{name}.prototxt", folder / "rewrite" / f"{name}.caffemodel"
    )
    record = read_set(folder / "calibration")
    place = folder / "simulate" / "ranges.json"
    return Built(
        spec=spec,
        reference=folder / "convert" / REFERENCE,
        original=input_spec(spec),
        net=net,
        input=record.input,
        order=rewritten_outputs(folder),
        size=(record.height, record.width),
        ranges=Ranges.from_json(files.read_json(place, "ranges"), str(place)),
    )


def rewritten_outputs(folder: Path) -> list[str]:
    """The values of the rewritten network that hold the original outputs, in the head's order."""
    names = files.read_json(folder / "rewrite" / "rewrite.json", "the record of rewrite")["names"]
    record = files.read_json(folder / "convert" / "convert.json", "the record of convert")
    return [str(names.get(x["caffe"], x["caffe"])) for x in record["outputs"]]

"""From a spec of the zoo to what calibration takes."""

from __future__ import annotations

from nnie_pipeline.calibration.network_input import InputSpec
from nnie_pipeline.zoo.spec import Spec


def input_spec(spec: Spec) -> InputSpec:
    """How a picture becomes the model's input."""
    i = spec.input
    return InputSpec(i.colour, i.mean, i.scale, i.geometry, i.anchor, i.fill)

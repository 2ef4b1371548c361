"""A network run in NNIE's number format; docs/simulation.md is the written model.

What is quantised: the weights once (one z a layer; one z a channel for depthwise convolutions;
all-equal weights exactly), and every bottom of a Convolution, Deconvolution, InnerProduct,
Pooling and Eltwise with a z of its own, by the quantiser's apply-only rule. Biases and the
factors and shifts of BatchNorm are rounded to the words of a compiled file, what an operation
makes to Q20.12. Products and sums are float32 (the chip's accumulator is wider: assumed exact);
in mode "fixed" those of convolutions are whole numbers, as `fixed` says.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Literal

from nnie_pipeline.caffe.net import Array, Net
from nnie_pipeline.caffe.shapes import infer
from nnie_pipeline.errors import InputError
from nnie_pipeline.quant import gfpq
from nnie_pipeline.quant.assumptions import USUAL, Assumptions
from nnie_pipeline.quant.fixed import require_words
from nnie_pipeline.quant.fixed_unit import FixedUnit, is_fixed
from nnie_pipeline.quant.operations import operations
from nnie_pipeline.quant.ranges import Ranges
from nnie_pipeline.quant.unit import Quantised, Unit
from nnie_pipeline.quant.widths import Bits, bits_of_layers
from nnie_pipeline.quant.words import WordsOf, own_words

Mode = Literal["float", "fixed"]


class Simulator:
    """`net` prepared for runs with calibrated `ranges`.

    `bits` is 8 or 16, "mixed" (16 for layers named `*_hp`, 8 for the others), or the bits of
    each layer. `words_of` tells what the chip holds of an operation (default: made from the
    network's own weights). With `mode` "fixed" convolutions are computed in whole numbers.

    Raises:
        InputError: the ranges do not know a layer, a switch does not go with the mode, or as
            `bits_of_layers` and `Session`.
    """

    def __init__(
        self,
        net: Net,
        bits: Bits | Literal["mixed"],
        ranges: Ranges,
        assumptions: Assumptions = USUAL,
        words_of: WordsOf = own_words,
        mode: Mode = "float",
    ) -> None:
        widths = bits_of_layers(net, bits)
        shapes = infer(net)
        if mode == "fixed":
            require_words(assumptions)
        self._units: list[Unit | FixedUnit] = []
        for step in operations(net, assumptions):
            width = widths[step.leader.name]
            if mode == "fixed" and is_fixed(step, width):
                self._units.append(FixedUnit(step, width, ranges, shapes, assumptions, words_of))
            else:
                unit = Unit(step, width, ranges, shapes, assumptions, None, words_of)
                self._units.append(unit)
        self._reads = {x: len(readers) for x, readers in net.consumers().items()}
        self._inputs = net.inputs

    def run(self, inputs: Mapping[str, Array]) -> Iterator[tuple[str, Array]]:
        """Every value in execution order, float32, as it is made.

        A value is forgotten when its last reader has run, so memory does not grow with
        the depth of the network.

        Raises:
            InputError: an input is missing or has another shape.
        """
        for name, shape in self._inputs.items():
            if name not in inputs or inputs[name].shape != shape:
                raise InputError(f"the network's input {name} must be a blob of {list(shape)}")
        values: dict[str, Array] = dict(inputs)
        left = dict(self._reads)
        quantised: Quantised = {}
        from_cpu: set[str] = set()
        for unit in self._units:
            if not unit.step.on_cpu:
                for name in from_cpu.intersection(unit.bottoms):
                    # Ports between CPU and NNIE carry Q20.12 words.
                    values[name] = gfpq.round_q20_12(values[name])
                    from_cpu.discard(name)
            made = unit.run(values, quantised)
            for name, array in made.items():
                values[name] = array
                yield name, array
            if unit.step.on_cpu:
                from_cpu.update(made)
            for layer in unit.step.layers:
                for bottom in dict.fromkeys(layer.bottoms):
                    left[bottom] -= 1
                    if not left[bottom]:
                        del values[bottom]
                        for key in [x for x in quantised if x[0] == bottom]:
                            del quantised[key]
            for name in made:
                if not left.get(name):
                    values.pop(name, None)

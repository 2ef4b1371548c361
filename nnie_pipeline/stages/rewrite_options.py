"""What a rewrite may be told besides the network: forms, limits and the input."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import partial

from nnie_pipeline.caffe.net import Net
from nnie_pipeline.calibration.network_input import Colour, InputSpec
from nnie_pipeline.rewrite import depthwise, fold_input, split_groups
from nnie_pipeline.rewrite.base import Apply, InputForm
from nnie_pipeline.rewrite.depthwise import Form
from nnie_pipeline.rewrite.fold_input import Fold
from nnie_pipeline.stages.probe import Probe


@dataclass(frozen=True)
class RewriteOptions:
    """Options of single passes.

    `mean` and `scale` say what the network wants, (pixel - mean) * scale, one number or one a
    channel; empty: nobody said. `fold` is how much of it may go into the first layer, `groups`
    the most groups that the chip takes.
    """

    depthwise: Form = "leave"
    groups: int = split_groups.GROUPS
    mean: tuple[float, ...] = ()
    scale: tuple[float, ...] = ()
    fold: Fold = "all"

    def input_form(self, net: Net) -> InputForm | None:
        """What the network wants; None where nobody said.

        Raises:
            InputError: numbers that do not fit the network's input.
        """
        if not self.mean and not self.scale:
            return None
        return fold_input.input_form(net, self.mean, self.scale)

    def instead(self, form: InputForm | None) -> dict[str, Apply]:
        """The passes with these options, by their names."""
        return {
            "depthwise-form": partial(depthwise.apply, form=self.depthwise),
            "fold-input": partial(fold_input.apply, form=form, fold=self.fold),
            "split-groups": partial(split_groups.apply, limit=self.groups),
        }


PLAIN = RewriteOptions()
"""Nothing said."""


def told(probe: Probe, form: InputForm | None) -> Probe:
    """`probe` with pictures as `form` says, where it does not know better."""
    if form is None or probe.input is not None or len(form.mean) not in (1, 3):
        return probe
    colour: Colour = "GRAY" if len(form.mean) == 1 else "BGR"
    fill = (0,) * len(form.mean)
    spec = InputSpec(colour, form.mean, form.scale, "stretch", fill=fill)
    return replace(probe, input=spec)

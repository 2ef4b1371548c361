"""The passes in the order in which they run, and why each stands where it does."""

from __future__ import annotations

import difflib
from collections.abc import Collection

from nnie_pipeline.errors import InputError
from nnie_pipeline.rewrite import (
    activations,
    axes,
    crop,
    cut_tail,
    depthwise,
    flatten,
    fold_input,
    global_pooling,
    global_stats,
    in_place,
    input_names,
    interp,
    merge_batch_norm,
    names,
    order,
    remove_idle,
    reshape_batch,
    split_groups,
    upsample,
)
from nnie_pipeline.rewrite.base import Pass

PASSES: tuple[Pass, ...] = (
    # The input first: later passes tell it by its name.
    Pass("input-names", input_names.apply, False, input_names.REASON),
    # Structure first: later passes see only layers that NNIE has.
    Pass("cut-cpu-tail", cut_tail.apply, False, cut_tail.REASON, new_outputs=True),
    Pass("remove-idle-layers", remove_idle.apply, False, remove_idle.REASON),
    Pass("remove-crop", crop.apply, False, crop.REASON),
    Pass("upsample-to-deconvolution", upsample.apply, False, upsample.REASON),
    Pass("plain-axes", axes.apply, False, axes.REASON),
    Pass("remove-flatten", flatten.apply, False, flatten.REASON),
    Pass("depthwise-form", depthwise.apply, False, depthwise.REASON),
    Pass("reshape-batch-axis", reshape_batch.apply, False, reshape_batch.REASON),
    # Arithmetic while every value still has a name of its own.
    Pass("interp-to-deconvolution", interp.apply, True, interp.REASON),
    Pass("compose-activations", activations.apply, True, activations.REASON),
    Pass("split-global-pooling", global_pooling.apply, True, global_pooling.REASON),
    Pass("merge-batch-norm", merge_batch_norm.apply, True, merge_batch_norm.REASON),
    Pass("global-stats", global_stats.apply, False, global_stats.REASON),
    # Behind merging, when the first convolution reads the input itself.
    Pass("fold-input", fold_input.apply, True, fold_input.REASON),
    Pass("split-groups", split_groups.apply, True, split_groups.REASON),
    # Order after all layers are final; in place after order, which needs free values.
    Pass("canonical-order", order.apply, False, order.REASON),
    Pass("in-place-activations", in_place.apply, False, in_place.REASON),
    # Names last: they are what the files, the mapper and the dumps show.
    Pass("short-names", names.apply, False, names.REASON),
)
"""Every pass of `nnie rewrite`, in order."""


def check_passes(names: Collection[str]) -> None:
    """Raise InputError, with the nearest one that there is, when one of `names` is no pass."""
    known = [x.name for x in PASSES]
    for name in names:
        if name not in known:
            near = difflib.get_close_matches(name, known, n=1)
            raise InputError(
                f"no pass {name}{f'; near in name: {near[0]}' if near else ''}; the passes are "
                f"{', '.join(known)}"
            )

"""Where a cfg file and the network that it names disagree."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from decimal import Decimal
from pathlib import Path

from nnie_pipeline.caffe.net import Net, Shape
from nnie_pipeline.calibration.network_input import InputSpec
from nnie_pipeline.chips.segments import HP_MARKER
from nnie_pipeline.errors import InputError
from nnie_pipeline.mapper.cfg import Cfg
from nnie_pipeline.mapper.cfg_files import read_means
from nnie_pipeline.mapper.cfg_rules import SCALE_TYPES, CfgFinding, line_of
from nnie_pipeline.mapper.folder import inputs_of
from nnie_pipeline.mapper.options import options
from nnie_pipeline.mapper.sources import count_tensors

_NORMALISING = frozenset({"BatchNorm", "Bias", "MVN", "Power", "Scale"})
_ROI = frozenset({"ROIPooling", "PSROIPooling"})
_RECURRENT = frozenset({"LSTM", "RNN"})
_DEFAULT_SCALE = "0.00390625"
_SAME, _NEAR = 1e-6, 2e-2
"""Scales this close are equal, or written with too few digits (0.0039 for 1/255: 0.6 %)."""


def network_findings(cfg: Cfg, net: Net, home: Path) -> Iterator[CfgFinding]:
    """Findings on a cfg against the network; relative paths start in `home`."""
    inputs = inputs_of(net)
    groups = cfg.inputs()
    if len(groups) != len(inputs):
        yield CfgFinding(
            line_of(cfg, "image_list", 0), "image_list", "error",
            f"{len(groups)} groups of input options, but the network has {len(inputs)} inputs "
            f"({', '.join(inputs)})",
            "give each input, and each top of a Custom layer, a group, in the prototxt's order",
        )  # fmt: skip
    for number, (group, (blob, shape)) in enumerate(zip(groups, inputs.items(), strict=False)):
        yield from _input(cfg, number, group, blob, shape, home)
        yield from _twice(cfg, number, group, blob, net)
    yield from _kinds(cfg, net)


def _input(
    cfg: Cfg, number: int, group: Mapping[str, str], blob: str, shape: Shape, home: Path
) -> Iterator[CfgFinding]:
    kind = group.get("image_type")
    line = line_of(cfg, "image_type", number)
    if kind == "0":
        value = group.get("image_list", "")
        if value and (home / value).is_file():
            try:
                count_tensors(home / value, math.prod(shape[1:]))
            except InputError as error:
                place = line_of(cfg, "image_list", number)
                yield CfgFinding(place, "image_list", "error", str(error), "write it anew")
        return
    if kind is None:
        return
    if len(shape) != 4 or shape[1] not in (1, 3):
        yield CfgFinding(
            line, "image_type", "error",
            f"the input {blob} is {'x'.join(map(str, shape))}, which no picture is",
            "write image_type 0 and give tensors",
        )  # fmt: skip
        return
    channels, height, width = shape[1:]
    if kind in ("3", "5") and (width % 2 or (kind == "3" and height % 2)):
        yield CfgFinding(
            line, "image_type", "error",
            f"the input {blob} is {height}x{width}; YUV420SP needs even height and width, "
            "YUV422SP an even width",
            "use an even size, or image_type 1",
        )  # fmt: skip
    means = read_means(home, group.get("mean_file", ""))
    unread = ("0", "1", "3", "4")
    if group.get("norm_type") not in unread and means and len(means) != channels:
        yield CfgFinding(
            line_of(cfg, "mean_file", number), "mean_file", "error",
            f"{group['mean_file']} has {len(means)} means, the input {blob} {channels} channels",
            "write one a line and channel",
        )  # fmt: skip


def _twice(
    cfg: Cfg, number: int, group: Mapping[str, str], blob: str, net: Net
) -> Iterator[CfgFinding]:
    readers = net.consumers().get(blob, [])
    first = next((x for x in readers if x.type in _NORMALISING), None)
    if first is not None and group.get("norm_type", "0") != "0":
        yield CfgFinding(
            line_of(cfg, "norm_type", number), "norm_type", "warning",
            f"norm_type {group['norm_type']}, and the network itself begins with {first.name} "
            f"({first.type}): the input may be normalised twice",
            "write norm_type 0, or take the layer out of the network",
        )  # fmt: skip


def _kinds(cfg: Cfg, net: Net) -> Iterator[CfgFinding]:
    types = {x.type for x in net.layers}
    wanted = "1" if types & _ROI else "2" if types & _RECURRENT else "0"
    given = cfg.get("net_type")
    if given in ("0", "1", "2", "5") and given != wanted and (given, wanted) != ("5", "2"):
        yield CfgFinding(
            line_of(cfg, "net_type"), "net_type", "error",
            f"net_type {given}, but the network's layers ask for {wanted}", f"write {wanted}",
        )  # fmt: skip
    marked = sum(x.name.endswith(HP_MARKER) for x in net.layers)
    mode = cfg.get("compile_mode") or "0"
    if mode == "2" and not marked:
        yield CfgFinding(
            line_of(cfg, "compile_mode"), "compile_mode", "warning",
            f"compile_mode 2, but no layer's name ends in {HP_MARKER}: all get 8 bit",
            "mark layers with nnie rewrite --hp or nnie mixed",
        )  # fmt: skip
    if mode != "2" and marked:
        yield CfgFinding(
            line_of(cfg, "compile_mode"), "compile_mode", "hint",
            f"{marked} layers are marked {HP_MARKER}, which only compile_mode 2 reads",
            "write 2, unless one width for all is meant",
        )  # fmt: skip
    regions = sum(x.type in _ROI for x in net.layers)
    files = len(cfg.values("roi_coordinate_file"))
    if regions != files:
        yield CfgFinding(
            line_of(cfg, "roi_coordinate_file"), "roi_coordinate_file", "error",
            f"{files} files of regions, but the network has {regions} ROI layers",
            "give one a layer, in the prototxt's order",
        )  # fmt: skip


def model_findings(cfg: Cfg, spec: InputSpec, home: Path) -> Iterator[CfgFinding]:
    """Where the first picture input of a cfg differs from what the model wants."""
    groups = [(i, x) for i, x in enumerate(cfg.inputs()) if x.get("image_type", "0") != "0"]
    if not groups:
        return
    yield from _order(cfg, spec)
    number, group = groups[0]
    norm = group.get("norm_type", "0")
    if norm not in ("0", "2", "3", "5"):
        if norm not in ("1", "4"):
            yield from _should_be(cfg, number, spec)
        return
    yield from _scale(cfg, norm, spec)
    means = read_means(home, group.get("mean_file", "")) if norm in ("2", "5") else []
    if means is None:
        return
    wanted = list(spec.mean) if any(spec.mean) else []
    if not any(means):
        means = []
    differs = len(means) != len(wanted) or any(
        abs(x - y) > 1e-3 * max(1.0, abs(y)) for x, y in zip(means, wanted, strict=False)
    )
    if differs:
        key = "mean_file" if norm in ("2", "5") else "norm_type"
        turned = " (the same in the other channel order)" if means == wanted[::-1] else ""
        yield CfgFinding(
            line_of(cfg, key, number), key, "error",
            f"the model's means are {_list(wanted)}, those of the cfg {_list(means)}{turned}",
            "write the model's, in its channel order; norm_type 2 or 5 reads them",
        )  # fmt: skip


def _should_be(cfg: Cfg, number: int, spec: InputSpec) -> Iterator[CfgFinding]:
    """What the model wants where norm_type has no meaning and nothing can be compared."""
    yield CfgFinding(
        line_of(cfg, "norm_type", number), "norm_type", "hint",
        f"the model's means are {_list(spec.mean)}, its scale is {_list(spec.scale)}",
        "norm_type 0 reads none of them, 2 the means, 3 the scale, 5 both",
    )  # fmt: skip


def _order(cfg: Cfg, spec: InputSpec) -> Iterator[CfgFinding]:
    order = cfg.get("RGB_order") or "BGR"
    if spec.colour != "GRAY" and order in ("RGB", "BGR") and order != spec.colour:
        yield CfgFinding(
            line_of(cfg, "RGB_order"), "RGB_order", "error",
            f"the model takes {spec.colour}, the cfg says {order}", f"write {spec.colour}",
        )  # fmt: skip


def _scale(cfg: Cfg, norm: str, spec: InputSpec) -> Iterator[CfgFinding]:
    line = line_of(cfg, "data_scale") or line_of(cfg, "norm_type")
    if len(set(spec.scale)) > 1:
        yield CfgFinding(
            line, "data_scale", "error",
            f"the model's scales differ from channel to channel ({_list(spec.scale)}), which no "
            "cfg can say",
            "fold them into the first convolution (nnie rewrite --scale)",
        )  # fmt: skip
        return
    written = (cfg.get("data_scale") or _DEFAULT_SCALE) if norm in SCALE_TYPES else "1"
    if options()["data_scale"].problem(written) is not None:
        return
    found, wanted = float(written), spec.scale[0]
    difference = abs(found - wanted) / abs(wanted)
    # Too few digits are the first ones of the number, rounded or cut.
    unit = 10.0 ** int(Decimal(written).as_tuple().exponent)
    if difference > _NEAR or (difference > _SAME and abs(found - wanted) > unit):
        yield CfgFinding(
            line, "data_scale", "error",
            f"the model multiplies pixels by {wanted:.10g}, the cfg by {found:.10g}",
            "write the model's scale; norm_type 3 or 5 reads it",
        )  # fmt: skip
    elif difference > _SAME:
        yield CfgFinding(
            line, "data_scale", "warning",
            f"{found:.10g} has too few digits: the model's scale is {wanted:.12g}",
            "write all of its digits",
        )  # fmt: skip


def _list(values: object) -> str:
    numbers = list(values) if isinstance(values, (list, tuple)) else []
    return ", ".join(f"{x:g}" for x in numbers) or "none"

"""Whether the network and the weights that a cfg names can be read, and belong together."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path

from nnie_pipeline.caffe.files import read_net
from nnie_pipeline.caffe.layer_types import KNOWN, meant
from nnie_pipeline.caffe.net import DEPTHWISE, Layer, Net, Shape
from nnie_pipeline.caffe.shapes import ShapeError, layer_shapes
from nnie_pipeline.caffe.weights import check_weights
from nnie_pipeline.errors import InputError
from nnie_pipeline.mapper.cfg import Cfg
from nnie_pipeline.mapper.cfg_files import is_file
from nnie_pipeline.mapper.cfg_rules import CfgFinding, line_of

_WEIGHTED = frozenset(
    {"BatchNorm", "Convolution", "Deconvolution", "Embed", "InnerProduct", "LSTM", "Normalize",
     "PReLU", "RNN", *DEPTHWISE}
)  # fmt: skip
_WEIGHTED_ALONE = frozenset({"Bias", "Scale"})
"""These have weights unless a second bottom is in their place."""

_SHOWN = 3


def open_network(cfg: Cfg, home: Path) -> tuple[Net | None, list[CfgFinding]]:
    """The network of `cfg`, without weights, and what is wrong with its two files.

    Relative paths start in `home`. The network is None, and nothing is said, where there is no
    such file.
    """
    name, weights = cfg.get("prototxt_file") or "", cfg.get("caffemodel_file") or ""
    if not name or not is_file(home, name):
        return None, []
    line, key = line_of(cfg, "prototxt_file"), "prototxt_file"
    try:
        net = read_net(home / name, any_type=True)
    except InputError as error:
        return None, [CfgFinding(line, key, "error", str(error), "see nnie check")]
    found = [CfgFinding(line, key, "error", x, "see nnie check") for x in _unknown(net)]
    shapes, refused = _shapes(net)
    if refused:
        found.append(CfgFinding(line, key, "error", refused, "see nnie check"))
    if weights and is_file(home, weights):
        place = line_of(cfg, "caffemodel_file")
        try:
            full = read_net(home / name, home / weights, any_type=True)
        except InputError as error:
            message = str(error)
            fix = "give the network's own, whole"
            return net, [*found, CfgFinding(place, "caffemodel_file", "error", message, fix)]
        for message in _misfits(full, shapes):
            found.append(
                CfgFinding(
                    place, "caffemodel_file", "error", f"{weights} and {name}: {message}",
                    "give the caffemodel that belongs to the prototxt",
                )
            )  # fmt: skip
    return net, found


def _unknown(net: Net) -> Iterator[str]:
    """A line for each type that nobody has."""
    for name in dict.fromkeys(x.type for x in net.layers if x.type not in KNOWN):
        layers = [x.name for x in net.layers if x.type == name]
        yield (
            f"neither Caffe nor NNIE is known to have the type {name} ({_some(layers)})"
            f"{meant(name, KNOWN)}"
        )


def _shapes(net: Net) -> tuple[dict[str, Shape], str]:
    """The shapes that can be inferred, and why the first layer refuses its bottoms."""
    shapes: dict[str, Shape] = dict(net.inputs)
    refused = ""
    for layer in net.layers:
        if layer.type in KNOWN and all(x in shapes for x in layer.bottoms):
            try:
                made = layer_shapes(layer, [shapes[x] for x in layer.bottoms])
            except ShapeError as error:
                refused = refused or str(error)
                continue
            shapes.update(zip(layer.tops, made, strict=True))
    return shapes, refused


def _misfits(net: Net, shapes: dict[str, Shape]) -> Iterator[str]:
    """Where the weights are none of this network's."""
    wanted = [x for x in net.layers if _has_weights(x)]
    without = [x.name for x in wanted if not x.weights]
    if without:
        yield f"{len(without)} of {len(wanted)} layers have no weights: {_some(without)}"
    other = []
    for layer in wanted:
        bottoms = [shapes[x] for x in layer.bottoms if x in shapes]
        if len(bottoms) == len(layer.bottoms):
            try:
                check_weights(layer, bottoms)
            except ValueError as error:
                other.append(f"{layer.name} ({error})")
    if other:
        yield f"{len(other)} of {len(wanted)} layers have others' weights: {_some(other)}"


def _has_weights(layer: Layer) -> bool:
    return layer.type in _WEIGHTED or (layer.type in _WEIGHTED_ALONE and len(layer.bottoms) == 1)


def _some(words: Sequence[str]) -> str:
    shown = ", ".join(words[:_SHOWN])
    return shown if len(words) <= _SHOWN else f"{shown} and {len(words) - _SHOWN} more"

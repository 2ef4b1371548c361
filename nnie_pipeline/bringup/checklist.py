"""The checklists of a kit, in English and Chinese."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import jinja2

from nnie_pipeline.bringup.header import Network
from nnie_pipeline.bringup.nodes import Node, aligned
from nnie_pipeline.calibration.network_input import InputSpec
from nnie_pipeline.chips.chip import Chip

LANGUAGES = ("en", "zh-CN")

_ANCHORS_ZH = {"top-left": "靠左上角", "centre": "居中"}


def checklist(
    language: str,
    network: Network,
    original: InputSpec,
    chip: Chip,
    probe: str | None,
    decoder: bool,
) -> str:
    """The checklist in one of `LANGUAGES`; `probe` is the file name of the coloured input.

    `original` is how the model took pixels before its rewriting.
    """
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).resolve().parent / "data"),
        undefined=jinja2.StrictUndefined,
        trim_blocks=True,
        keep_trailing_newline=True,
        autoescape=False,  # Markdown; names are of letters, digits, - _ . only
    )
    spec, (height, width) = network.input, network.size
    gray, yuv = spec.colour == "GRAY", network.yuv
    normalised, normalised_zh = _normalised(spec, original)
    return environment.get_template(f"CHECKLIST.{language}.md.j2").render(
        name=network.name,
        height=height,
        width=width,
        chip=chip.name,
        nnie=chip.nnie,
        mapper=chip.mapper,
        yuv=None if yuv is None else f"{yuv.matrix}, {yuv.range} range",
        planes="one gray plane" if gray else "planes B, then G, then R",
        planes_zh="一个灰度平面" if gray else "依次为 B、G、R 三个平面",
        bytes=network.input_bytes,
        stride_16=aligned(width, 16),
        stride_32=aligned(width, 32),
        equal=", ".join(f"`{x}`" for x in _equal(network.nodes)),
        geometry=_geometry(spec),
        geometry_zh=_geometry_zh(spec),
        probe=probe,
        probe_name=probe and Path(probe).stem,
        means=len(set(spec.mean)) > 1,
        normalised=normalised,
        normalised_zh=normalised_zh,
        decoder=decoder,
    )


def _normalised(spec: InputSpec, original: InputSpec) -> tuple[str, str]:
    """Who applies mean and scale, in English and Chinese."""
    if _has_normalisation(spec):
        return "the .wk does it (norm_type)", ".wk 自己会做（norm_type）"
    if _has_normalisation(original):
        return (
            "the network does it in its first layer (norm_type 0)",
            "网络的第一层会做（norm_type 0）",
        )
    return "the network takes pixels as they are (norm_type 0)", "网络直接使用像素值（norm_type 0）"


def _has_normalisation(spec: InputSpec) -> bool:
    return any(spec.mean) or any(x != 1 for x in spec.scale)


def _equal(nodes: tuple[Node, ...]) -> list[str]:
    """The nodes whose files another's could be, by their size."""
    counts = Counter(x.count for x in nodes)
    return [x.name for x in nodes if counts[x.count] > 1]


def _geometry(spec: InputSpec) -> str:
    fill = ", ".join(map(str, spec.fill))
    return {
        "letterbox": f"A picture keeps its shape and lies {spec.anchor} on the input; the rest is "
        f"{fill} ({spec.colour})",
        "stretch": "A picture fills the input without keeping its shape",
        "crop": f"The largest part of the input's shape is taken, {spec.anchor}",
    }[spec.geometry]


def _geometry_zh(spec: InputSpec) -> str:
    fill = "、".join(map(str, spec.fill))
    anchor = _ANCHORS_ZH[spec.anchor]
    return {
        "letterbox": f"图片保持长宽比，{anchor}放置，其余填 {fill}（{spec.colour}）",
        "stretch": "图片拉伸到输入大小，不保持长宽比",
        "crop": f"截取与输入形状相同的最大部分，{anchor}",
    }[spec.geometry]

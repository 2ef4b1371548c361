"""nnie_model.h: what a program on the board has to know of a network, as C99."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from nnie_pipeline.bringup.layout import Layout
from nnie_pipeline.bringup.nodes import ALIGNMENTS, Node, aligned
from nnie_pipeline.bringup.words import FACTOR
from nnie_pipeline.calibration.network_input import InputSpec
from nnie_pipeline.calibration.yuv import YuvForm
from nnie_pipeline.heads.embedding import Embedding
from nnie_pipeline.heads.registry import Head
from nnie_pipeline.heads.retinaface import RetinaFace
from nnie_pipeline.heads.retinaface_mxnet import RetinaFaceMxnet
from nnie_pipeline.heads.scrfd import SCRFD
from nnie_pipeline.heads.ultraface import UltraFace
from nnie_pipeline.heads.yolox import YOLOX
from nnie_pipeline.wk.header import BLOB_TYPES

HEADER = "nnie_model.h"
_LARGEST_PLAIN = 126
_TABLE = "NNIE_TABLE"


@dataclass(frozen=True)
class Network:
    """A network as the header tells of it: `input` is how the compiled network takes pixels,
    `input_name` its input node, `size` (height, width); `yuv` how the board feeds YVU420SP, if so.
    """  # fmt: skip

    name: str
    input_name: str
    input: InputSpec
    size: tuple[int, int]
    nodes: tuple[Node, ...]
    yuv: YuvForm | None = None

    @property
    def input_bytes(self) -> int:
        """Of one picture without padding."""
        pixels = self.size[0] * self.size[1]
        return self.input.channels * pixels if self.yuv is None else pixels * 3 // 2


def header(network: Network, head: Head | None, layout: Layout | None) -> str:
    """The text of the header; a network without a head gets no decoder's part."""
    lines = [
        "/* Made by nnie bringup; every number comes from the model's spec and network. */",
        "#ifndef NNIE_MODEL_H",
        "#define NNIE_MODEL_H",
        "",
        "/* A program need not use every table. */",
        "#ifdef __GNUC__",
        f"#define {_TABLE} static __attribute__((unused)) const",
        "#else",
        f"#define {_TABLE} static const",
        "#endif",
        "",
        f"#define NNIE_MODEL {text(network.name)}",
        "",
        *_input(network),
        "",
        *_outputs(network.nodes),
    ]
    if isinstance(head, Embedding):
        lines += ["", f"#define NNIE_EMBEDDING {network.nodes[0].count}"]
    elif head is not None and layout is not None:
        lines += ["", *_detector(head, layout)]
    return "\n".join([*lines, "", "#endif", ""])


def text(value: str) -> str:
    """A C string literal of `value`, plain ASCII."""
    plain = [
        chr(x) if 32 <= x <= _LARGEST_PLAIN and chr(x) not in '"\\?' else f"\\{x:03o}"
        for x in value.encode("utf-8")
    ]
    return f'"{"".join(plain)}"'


def _input(network: Network) -> list[str]:
    height, width = network.size
    spec = network.input
    gray = spec.colour == "GRAY"
    order, kind = "planes B, then G, then R", "BGR"
    blob, colours = "U8", []
    if gray:
        order, kind = "one gray plane", "GRAY"
    elif network.yuv is not None:
        order, kind = "rows of Y, then rows of V and U in turn, V first", "YVU420SP"
        blob = kind
        colours = [
            "/* ITU-R BT.601 or BT.709, and whether Y, V and U go from 0 to 255. */",
            f"#define NNIE_YUV_MATRIX {text(network.yuv.matrix)}",
            f"#define NNIE_YUV_RANGE {text(network.yuv.range)}",
        ]
    return [
        f"/* Input: SVP_BLOB_TYPE_{blob}, {order}. Rows have NNIE_INPUT_WIDTH",
        "   bytes; a file of the kit holds them without padding. A blob has u32Stride bytes from",
        "   row to row, and its address is aligned likewise: 16 bytes on DDR3, 32 on DDR4. */",
        f"#define NNIE_INPUT_NAME {text(network.input_name)}",
        f"#define NNIE_INPUT_CHANNELS {spec.channels}",
        f"#define NNIE_INPUT_HEIGHT {height}",
        f"#define NNIE_INPUT_WIDTH {width}",
        f"#define NNIE_INPUT_BYTES {network.input_bytes}",
        *(f"#define NNIE_INPUT_STRIDE_{x} {aligned(width, x)}" for x in ALIGNMENTS),
        f"#define NNIE_INPUT_ORDER {text(kind)}",
        f"#define NNIE_INPUT_BLOB_TYPE {BLOB_TYPES.index(blob)}",
        *colours,
        "",
        "/* How a picture is laid onto the input:",
        f"   {_geometry(spec)}.",
        "   Resized by OpenCV's INTER_AREA where no side grows, else by INTER_LINEAR. */",
        f"#define NNIE_GEOMETRY {text(spec.geometry)}",
        f"#define NNIE_ANCHOR {text(spec.anchor)}",
        _array("int", "nnie_fill", map(str, spec.fill)),
        "",
        "/* (pixel - mean) * scale, one value a channel in the order of NNIE_NETWORK_COLOUR: what",
        "   the .wk does by norm_type, beside the network's own layers. Never do it on the CPU. */",
        f"#define NNIE_NETWORK_COLOUR {text(spec.colour)}",
        _array("double", "nnie_mean", map(_number, spec.mean)),
        _array("double", "nnie_scale", map(_number, spec.scale)),
    ]


def _geometry(spec: InputSpec) -> str:
    if spec.geometry == "letterbox":
        return f"its shape kept, {spec.anchor}, the rest nnie_fill (in NNIE_NETWORK_COLOUR's order)"
    if spec.geometry == "stretch":
        return "the whole picture, its shape not kept"
    return f"the largest part of the input's shape, {spec.anchor}"


def _outputs(nodes: Sequence[Node]) -> list[str]:
    return [
        "/* Output nodes in the order of the .wk (the prototxt's). A word is an int32, its value",
        "   word / NNIE_FACTOR (SQ20.12). Strides are bytes from row to row. */",
        f"#define NNIE_FACTOR {FACTOR}.0",
        f"#define NNIE_OUTPUTS {len(nodes)}",
        "typedef struct {",
        "    const char *name;",
        "    int channels, height, width, count;",
        *(f"    int stride_{x};" for x in ALIGNMENTS),
        "} nnie_node_t;",
        f"{_TABLE} nnie_node_t nnie_nodes[NNIE_OUTPUTS] = {{",
        *(
            f"    {{{text(x.name)}, {x.channels}, {x.height}, {x.width}, {x.count}, "
            f"{', '.join(str(x.stride(y)) for y in ALIGNMENTS)}}},"
            for x in nodes
        ),
        "};",
    ]


def _detector(head: Head, layout: Layout) -> list[str]:
    assert not isinstance(head, Embedding)
    levels = layout.levels
    lines = [
        "/* The head. Levels are strides; a cell of level i has nnie_anchors[i] anchors. */",
        f"#define NNIE_SCORE {_number(head.score)}",
        f"#define NNIE_NMS {_number(head.nms)}",
        f"#define NNIE_CLASSES {head.classes if isinstance(head, YOLOX) else 1}",
        f"#define NNIE_LANDMARKS {_landmarks(layout)}",
        f"#define NNIE_LEVELS {len(levels)}",
        _array("int", "nnie_stride", (str(x.stride) for x in levels)),
        _array("int", "nnie_rows", (str(x.height) for x in levels)),
        _array("int", "nnie_columns", (str(x.width) for x in levels)),
        _array("int", "nnie_anchors", (str(x.anchors) for x in levels)),
    ]
    if isinstance(head, RetinaFace | RetinaFaceMxnet | UltraFace):
        most = max(x.anchors for x in levels)
        rows = [f"{{{', '.join(_number(y) for y in x)}}}" for x in head.min_sizes]
        lines += [
            "",
            "/* Sides of the square anchors in pixels, in the order of the channels. */",
            f"#define NNIE_MOST_ANCHORS {most}",
            f"{_TABLE} double nnie_sides[NNIE_LEVELS][NNIE_MOST_ANCHORS] = {{{', '.join(rows)}}};",
        ]
    if isinstance(head, RetinaFace | UltraFace):
        lines += [
            f"#define NNIE_VARIANCE_CENTRE {_number(head.variance[0])}",
            f"#define NNIE_VARIANCE_SIDE {_number(head.variance[1])}",
        ]
    if isinstance(head, SCRFD | RetinaFaceMxnet):
        lines += [f"#define NNIE_LOGITS {int(head.logits)}"]
    lines += [
        "",
        "/* Each part of the head: values an anchor, the output node of every level, and how it",
        "   lies there: 0 as maps (channel = anchor * values + value), 1 anchor by anchor. */",
        "typedef struct {",
        "    int values, node[NNIE_LEVELS], by_anchor[NNIE_LEVELS];",
        "} nnie_part_t;",
    ]
    for part in layout.parts:
        numbers = ", ".join(map(str, part.nodes))
        rows_flags = ", ".join(str(int(x)) for x in part.rows)
        lines.append(
            f"{_TABLE} nnie_part_t nnie_{part.name} = "
            f"{{{part.values}, {{{numbers}}}, {{{rows_flags}}}}};"
        )
    return lines


def _landmarks(layout: Layout) -> int:
    return next((x.values // 2 for x in layout.parts if x.name == "landmark"), 0)


def _array(kind: str, name: str, values: Iterable[str]) -> str:
    items = list(values)
    return f"{_TABLE} {kind} {name}[{len(items)}] = {{{', '.join(items)}}};"


def _number(value: float) -> str:
    return repr(float(value))

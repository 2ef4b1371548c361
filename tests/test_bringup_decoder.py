"""The C decoders, compiled and run, against the heads; the header against the spec."""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from nnie_pipeline.bringup.decoder import decoder
from nnie_pipeline.bringup.header import Network, header, text
from nnie_pipeline.bringup.layout import layout_of
from nnie_pipeline.bringup.nodes import Node
from nnie_pipeline.bringup.words import to_hex, to_words
from nnie_pipeline.calibration.network_input import InputSpec
from nnie_pipeline.calibration.pictures import read_picture
from nnie_pipeline.errors import InputError
from nnie_pipeline.heads.detections import Detections
from nnie_pipeline.heads.embedding import Embedding
from nnie_pipeline.heads.registry import Head, head
from nnie_pipeline.zoo.spec import load_spec
from tests.conftest import missing
from tests.models import kept_outputs, network_input, photographs
from tests.test_heads_retinaface_mxnet import outputs as mxnet_outputs

WARNINGS = ("-Wall", "-Wextra", "-Werror", "-pedantic")
GCC = ("gcc", *WARNINGS, "-std=c99")
CXX = ("g++", *WARNINGS, "-std=c++11", "-x", "c++")
INPUT = InputSpec("RGB", (104.0, 117.0, 123.0), (0.5, 0.5, 0.5), fill=(1, 2, 3))
CASES = {
    "retinaface": (640, 640),
    "scrfd": (640, 640),
    "ultraface-slim": (240, 320),
    "yolox-nano": (416, 416),
}

PADDED = r"""
#include "nnie_decoder.c"
/* The outputs with the rows that a board pads, the padding full of ones. */
int main(int argc, char **argv)
{
    nnie_blob_t outputs[NNIE_OUTPUTS];
    nnie_detection_t found[1000];
    int count;
    (void)argc;
    for (int i = 0; i < NNIE_OUTPUTS; i++) {
        const int rows = nnie_nodes[i].channels * nnie_nodes[i].height;
        const int row = nnie_nodes[i].stride_32 / 4, width = nnie_nodes[i].width;
        int32_t *words = (int32_t *)malloc((size_t)rows * row * 4);
        FILE *file = fopen(argv[i + 1], "r");
        for (int k = 0; k < rows * row; k++) {
            uint32_t word = 0xffffffff;
            if (k % row < width && fscanf(file, "%8x", &word) != 1)
                return 3;
            words[k] = (int32_t)word;
        }
        outputs[i].words = words;
        outputs[i].stride = (unsigned)nnie_nodes[i].stride_32;
        fclose(file);
    }
    count = nnie_decode(outputs, found, 1000);
    for (int i = 0; i < count; i++)
        printf("%.9f %d %.9f %.9f %.9f %.9f\n", found[i].score, found[i].class_number, found[i].x1,
               found[i].y1, found[i].x2, found[i].y2);
    for (int i = 0; i < NNIE_OUTPUTS; i++)
        free((void *)outputs[i].words);
    return 0;
}
"""


def nodes_of(maps: Sequence[np.ndarray], turned: bool = False) -> tuple[list[Node], list[str]]:
    """Nodes for maps in the head's order, and that order; `turned`: the nodes the other way."""
    order = [f"out{i}" for i in range(len(maps))]
    names = order[::-1] if turned else order
    shapes = {x: y.shape[1:] for x, y in zip(order, maps, strict=True)}
    return [Node(i, x, (x,), shapes[x]) for i, x in enumerate(names)], order


def as_words(maps: Sequence[np.ndarray]) -> list[np.ndarray]:
    """The maps as a board gives them: multiples of 1/4096."""
    return [(to_words(x.astype(np.float32)) / 4096).reshape(x.shape) for x in maps]


def run(folder: Path, *words: str | Path) -> str:
    if words[0] in ("gcc", "g++") and shutil.which(str(words[0])) is None:
        missing(str(words[0]))
    done = subprocess.run(
        [str(x) for x in words], cwd=folder, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


def decoded(
    folder: Path, name: str, found: Head, maps: Sequence[np.ndarray], size: tuple[int, int],
    padded: bool = False, compiler: Sequence[str] = GCC,
) -> np.ndarray:  # fmt: skip
    """What the compiled decoder prints, a row a detection."""
    nodes, order = nodes_of(maps, turned=True)
    layout = None if isinstance(found, Embedding) else layout_of(found, nodes, order, size)
    network = Network("a.b-1", "data", INPUT, size, tuple(nodes))
    (folder / "nnie_model.h").write_text(header(network, found, layout), encoding="ascii")
    (folder / "nnie_decoder.c").write_text(decoder(name), encoding="ascii")
    (folder / "padded.c").write_text(PADDED, encoding="ascii")
    source = ("padded.c",) if padded else ("-DNNIE_HOST", "nnie_decoder.c")
    run(folder, *compiler, "-O1", "-fsanitize=address,undefined", *source, "-o", "decode", "-lm")
    if not padded:  # without its main, as a part of another program
        run(folder, *compiler, "-c", "nnie_decoder.c", "-o", "part.o")
    by_name = dict(zip(order, maps, strict=True))
    files = []
    for node in nodes:
        # Numbers as the mapper gives them; as text they have another order.
        files.append(folder / f"seg0_layer{7 + 31 * node.number}_output0_inst.linear.hex")
        files[-1].write_bytes(to_hex(to_words(by_name[node.name].astype(np.float32))))
    if not padded:
        files.sort(key=lambda x: x.name[::-1])  # any order will do
    lines = run(folder, "./decode", *files).splitlines()
    return np.array([[float(y) for y in x.split()] for x in lines])


def rows_of(found: Detections) -> np.ndarray:
    marks = found.landmarks.reshape(len(found), 2 * found.landmarks.shape[1])
    return np.concatenate(
        (found.scores[:, None], found.classes[:, None], found.boxes, marks), axis=1
    )


def assert_equal(ours: np.ndarray, theirs: np.ndarray) -> None:
    assert len(ours) == len(theirs)
    if len(theirs):
        np.testing.assert_allclose(ours[:, :2], theirs[:, :2], rtol=0, atol=6e-7)
        np.testing.assert_allclose(ours[:, 2:], theirs[:, 2:], rtol=1e-12, atol=6e-5)


def spec_head(name: str) -> tuple[str, Head]:
    spec = load_spec(name).head
    assert spec is not None
    return spec.decoder, head(spec.decoder, spec.parameters)


@pytest.mark.parametrize("picture", ["astronaut", "solvay_conference_1927"])
@pytest.mark.parametrize("name", CASES)
def test_real_outputs_decode_as_the_head_decodes_them(
    tmp_path: Path, name: str, picture: str
) -> None:
    size = CASES[name]
    try:
        maps = as_words(kept_outputs(name, network_input(name, picture, size)))
    except LookupError as error:
        missing(str(error))
    kind, found = spec_head(name)
    assert not isinstance(found, Embedding)
    expected = rows_of(found.decode_maps(maps, size))
    assert len(expected)
    assert_equal(decoded(tmp_path, kind, found, maps, size), expected)


def test_real_outputs_of_mxnet(tmp_path: Path, shared: Path) -> None:
    size = (480, 640)
    pixels, _ = read_picture(photographs()["solvay_conference_1927"].path)
    values, order = mxnet_outputs(shared, pixels, size)
    maps = as_words([values[x] for x in order])
    kind, _ = spec_head("retinaface-mnet025")
    found = head(kind, {"score": 0.2})
    assert not isinstance(found, Embedding)
    expected = rows_of(found.decode_maps(maps, size))
    assert len(expected) > 5
    assert_equal(decoded(tmp_path, kind, found, maps, size), expected)


def test_a_real_embedding(tmp_path: Path) -> None:
    name = "mobilefacenet-relu6"
    try:
        maps = as_words(kept_outputs(name, network_input(name, "astronaut", (112, 112))))
    except LookupError as error:
        missing(str(error))
    vector = Embedding().embed(maps)
    ours = decoded(tmp_path, "embedding", Embedding(), maps, (112, 112)).reshape(-1)
    assert len(ours) == 128
    np.testing.assert_allclose(ours, vector, rtol=0, atol=6e-10)


NOISE = {
    "retinaface": {"score": 0.6},
    "retinaface-mxnet": {"logits": True, "score": 0.6},
    "scrfd": {"score": 0.6, "landmarks": 0, "anchors": 3},
    "ultraface": {"score": 0.6},
    "yolox": {"classes": 3, "score": 0.2},
}


def noise(found: Head, size: tuple[int, int], seed: int, rows: bool) -> list[np.ndarray]:
    """Outputs of noise in the head's order, as maps or anchor by anchor, with equal scores."""
    from nnie_pipeline.bringup import layout as rooms

    random = np.random.default_rng(seed)
    maps = []
    for part, values in rooms._parts(found).items():
        for stride, anchors in rooms._levels(found).items():
            height, width = -(-size[0] // stride), -(-size[1] // stride)
            shape = (1, anchors * values, height, width)
            if rows:
                shape = (1, height * width * anchors, values)  # type: ignore[assignment]
            scale = 1.0 if part in ("box", "landmark") else 2.0
            maps.append(np.round(random.normal(0, scale, shape) * 4) / 4)
    return maps


@pytest.mark.parametrize(
    ("size", "compiler"), [((96, 128), GCC), ((90, 130), GCC), ((90, 130), CXX)]
)
@pytest.mark.parametrize("kind", NOISE)
def test_noise_decodes_as_the_head_decodes_it(
    tmp_path: Path, kind: str, size: tuple[int, int], compiler: Sequence[str]
) -> None:
    """Hundreds of boxes, many with one score, empty ones and turned ones among them."""
    found = head(kind, NOISE[kind])
    assert not isinstance(found, Embedding)
    maps = noise(found, size, 1, rows=False)
    expected = rows_of(found.decode_maps(maps, size))
    assert len(expected) > 20
    assert_equal(decoded(tmp_path, kind, found, maps, size, compiler=compiler), expected)


@pytest.mark.parametrize("compiler", [GCC, CXX])
def test_an_embedding_of_noise(tmp_path: Path, compiler: Sequence[str]) -> None:
    maps = as_words([np.random.default_rng(6).normal(0, 1, (1, 64))])
    ours = decoded(tmp_path, "embedding", Embedding(), maps, (112, 112), compiler=compiler)
    expected = maps[0].reshape(-1) / np.linalg.norm(maps[0])
    np.testing.assert_allclose(ours.reshape(-1), expected, rtol=0, atol=6e-10)


@pytest.mark.parametrize("kind", ["scrfd", "ultraface", "yolox"])
def test_outputs_anchor_by_anchor(tmp_path: Path, kind: str) -> None:
    found = head(kind, NOISE[kind])
    assert not isinstance(found, Embedding)
    maps = noise(found, (96, 96), 2, rows=True)
    expected = rows_of(found.decode_maps(maps, (96, 96)))
    assert len(expected) > 20
    assert_equal(decoded(tmp_path, kind, found, maps, (96, 96)), expected)


def test_rows_that_the_board_pads(tmp_path: Path) -> None:
    found = head("scrfd", NOISE["scrfd"])
    assert not isinstance(found, Embedding)
    maps = noise(found, (90, 130), 3, rows=False)
    expected = rows_of(found.decode_maps(maps, (90, 130)))
    assert_equal(decoded(tmp_path, "scrfd", found, maps, (90, 130), padded=True), expected)


def test_the_host_program_refuses_files_of_other_lengths(tmp_path: Path) -> None:
    found = head("scrfd", {})
    maps = noise(found, (32, 32), 4, rows=False)
    decoded(tmp_path, "scrfd", found, maps, (32, 32))
    files = sorted(tmp_path.glob("seg0_layer*"), key=lambda x: int(x.name[10:].split("_")[0]))
    whole = files[2].read_bytes()
    largest = max(files, key=lambda x: x.stat().st_size)
    for damaged in (
        whole[:-9], whole + b"00000000\n", b"", b"zz\n" * 100, whole[:-3], whole + b"0",
        whole.replace(b"\n", b"", 1), whole.replace(b"\n", b"x\n", 1), b"0x000000\n" * 9,
        largest.read_bytes() + b"00000000\n",
    ):  # fmt: skip
        files[2].write_bytes(damaged)
        done = subprocess.run(
            [tmp_path / "decode", *files], capture_output=True, text=True, timeout=60, check=False
        )
        assert (done.returncode, done.stdout) == (2, "")
        assert done.stderr.startswith(f"nnie_decode: {files[2]} holds ")
        assert done.stderr.count("\n") == 1
    files[2].write_bytes(whole.replace(b"\n", b"\r\n"))
    run(tmp_path, tmp_path / "decode", *files)
    assert subprocess.run([tmp_path / "decode"], timeout=60, check=False).returncode == 2


PRINT_HEADER = r"""
#include <stdio.h>
#include "nnie_model.h"
int main(void)
{
    printf("%s\n%s\n%d %d %d %d\n", NNIE_MODEL, NNIE_INPUT_NAME, NNIE_INPUT_CHANNELS,
           NNIE_INPUT_HEIGHT, NNIE_INPUT_WIDTH, NNIE_INPUT_BYTES);
    printf("%d %d %s %s\n", NNIE_INPUT_STRIDE_16, NNIE_INPUT_STRIDE_32, NNIE_INPUT_ORDER,
           NNIE_NETWORK_COLOUR);
    printf("%g %g %g %g %d\n", nnie_mean[0], nnie_mean[2], nnie_scale[1], NNIE_FACTOR,
           nnie_fill[2]);
    for (int i = 0; i < NNIE_OUTPUTS; i++)
        printf("%s %d %d %d %d %d %d\n", nnie_nodes[i].name, nnie_nodes[i].channels,
               nnie_nodes[i].height, nnie_nodes[i].width, nnie_nodes[i].count,
               nnie_nodes[i].stride_16, nnie_nodes[i].stride_32);
    return 0;
}
"""


@pytest.mark.parametrize("compiler", [GCC, CXX])
def test_the_header_says_what_the_network_is(tmp_path: Path, compiler: Sequence[str]) -> None:
    """A network without a head, with names that C would misread."""
    nodes = (
        Node(0, 'a"b\\n??/', ("x",), (8, 5, 7)),
        Node(1, "vector", ("y",), (10,)),
        Node(2, "rows", ("z",), (6, 4)),
        Node(3, "int", ("class",), (1, 3, 5)),
        Node(4, "人脸%d", ("*/",), (2, 1, 1)),
    )
    network = Network("net*/", "in", INPUT, (30, 50), nodes)
    (tmp_path / "nnie_model.h").write_text(header(network, None, None), encoding="ascii")
    (tmp_path / "main.c").write_text(PRINT_HEADER, encoding="ascii")
    run(tmp_path, *compiler, "main.c", "-o", "main")
    assert run(tmp_path, "./main").splitlines() == [
        "net*/",
        "in",
        "3 30 50 4500",
        "64 64 BGR RGB",
        "104 123 0.5 4096 3",
        'a"b\\n??/ 8 5 7 280 32 32',
        "vector 1 1 10 10 48 64",
        "rows 1 6 4 24 16 32",
        "int 1 3 5 15 32 32",
        "人脸%d 2 1 1 2 16 32",
    ]


PRINT_HEAD = r"""
#include <stdio.h>
#include "nnie_model.h"
int main(void)
{
    printf("%g %g %d %d\n", NNIE_SCORE, NNIE_NMS, NNIE_CLASSES, NNIE_LANDMARKS);
    for (int i = 0; i < NNIE_LEVELS; i++)
        printf("%d:%dx%dx%d ", nnie_stride[i], nnie_rows[i], nnie_columns[i], nnie_anchors[i]);
    printf("\n");
    for (int i = 0; i < NNIE_LEVELS; i++)
        printf("%d%s ", nnie_box.node[i], nnie_box.by_anchor[i] ? " rows" : "");
    printf("\n");
#ifdef NNIE_MOST_ANCHORS
    for (int i = 0; i < NNIE_LEVELS; i++)
        for (int k = 0; k < nnie_anchors[i]; k++)
            printf("%g ", nnie_sides[i][k]);
    printf("\n");
#endif
#ifdef NNIE_VARIANCE_SIDE
    printf("%g %g\n", NNIE_VARIANCE_CENTRE, NNIE_VARIANCE_SIDE);
#endif
#ifdef NNIE_LOGITS
    printf("%d\n", NNIE_LOGITS);
#endif
    return 0;
}
"""

HEADS = {
    # of the spec: thresholds, classes, landmarks; strides, maps, anchors; sides, variances, logits
    "retinaface": ["0.5 0.4 1 5", "8:8x12x2 16:4x6x2 32:2x3x2 ", "8 7 6 ",
                   "16 32 64 128 256 512 ", "0.1 0.2"],
    "ultraface-slim": ["0.7 0.3 1 0", "8:8x12x3 16:4x6x2 32:2x3x2 64:1x2x3 ", "3 2 1 0 ",
                       "10 16 24 32 48 64 96 128 192 256 ", "0.1 0.2"],
    "scrfd": ["0.5 0.4 1 5", "8:8x12x2 16:4x6x2 32:2x3x2 ", "5 4 3 ", "1"],
    "yolox-nano": ["0.3 0.45 80 0", "8:8x12x1 16:4x6x1 32:2x3x1 ", "8 7 6 "],
}  # fmt: skip


@pytest.mark.parametrize("compiler", [GCC, CXX])
@pytest.mark.parametrize("name", HEADS)
def test_the_header_says_what_the_head_is(
    tmp_path: Path, name: str, compiler: Sequence[str]
) -> None:
    size = (64, 96)
    _, found = spec_head(name)
    nodes, order = nodes_of(noise(found, size, 7, rows=False), turned=True)
    network = Network(name, "data", INPUT, size, tuple(nodes))
    layout = layout_of(found, nodes, order, size)
    (tmp_path / "nnie_model.h").write_text(header(network, found, layout), encoding="ascii")
    (tmp_path / "main.c").write_text(PRINT_HEAD, encoding="ascii")
    run(tmp_path, *compiler, "main.c", "-o", "main")
    assert run(tmp_path, "./main").splitlines() == HEADS[name]


def test_words_outside_ascii_stay_what_they_are(tmp_path: Path) -> None:
    name = "人脸\x01é"
    (tmp_path / "main.c").write_text(
        f"#include <stdio.h>\nint main(void) {{ puts({text(name)}); return 0; }}\n",
        encoding="ascii",
    )
    run(tmp_path, *GCC, "main.c", "-o", "main")
    assert run(tmp_path, "./main") == f"{name}\n"


def test_outputs_that_do_not_fit_the_head_are_refused() -> None:
    found = head("ultraface", {})
    maps = noise(found, (96, 96), 5, rows=False)
    nodes, order = nodes_of(maps)
    with pytest.raises(InputError, match="reads 8 outputs, the network has 7"):
        layout_of(found, nodes, order[:-1], (96, 96))
    with pytest.raises(InputError, match="class output at stride 8 should be"):
        layout_of(found, nodes, order, (128, 96))
    wrong = [*nodes[:3], replace(nodes[3], shape=(9, 9, 9)), *nodes[4:]]
    with pytest.raises(InputError, match="class output at stride 64"):
        layout_of(found, wrong, order, (96, 96))

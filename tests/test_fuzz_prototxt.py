"""Damaged networks end in a result or in one clear line: no traceback, hang or huge memory."""

from __future__ import annotations

import math
import os
import random
import re
import resource
import tempfile
import time
from collections.abc import Callable, Iterator
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from nnie_pipeline.caffe.files import read_net, write_net
from nnie_pipeline.caffe.shapes import infer
from nnie_pipeline.caffe.templates import render
from nnie_pipeline.chips.check import check_files
from nnie_pipeline.chips.sizes import valid_sizes
from nnie_pipeline.errors import NnieError
from nnie_pipeline.stages.probe import Probe
from nnie_pipeline.stages.rewrite import rewrite_files
from tests.caffe_nets import conv, header, layer, random_net, save
from tests.layer_cases import CASES, one_layer

MOST_SECONDS = 5.0
"""Of processor time in a step; no step needs as much as one for an undamaged network."""

MOST_MEMORY = 3 << 30
MOST_VALUES, LARGEST_VALUE = 3_000_000, 1 << 29
"""A network with so many numbers runs in a moment; one with a larger value is refused."""

EXAMPLES = int(os.environ.get("NNIE_FUZZ_EXAMPLES", "40"))

SMALL = (
    header(1, 3, 12, 12)
    + conv("c1", "data", 4, 3, "pad: 1 stride: 1 bias_term: false")
    + layer("BatchNorm", "bn", "c1", "c1", "batch_norm_param { eps: 0.001 }")
    + layer("Scale", "scale", "c1", "c1", "scale_param { bias_term: true }")
    + layer("PReLU", "act", "c1", "c1")
    + layer("Pooling", "pool", "c1", "", "pooling_param { pool: MAX kernel_size: 2 stride: 2 }")
    + conv("dw", "pool", 4, 3, "pad_h: 1 pad_w: 1 group: 4")
    + layer("ReLU6", "six", "dw", "six")
    + layer("Upsample", "up", "six", "", "upsample_param { scale: 2 }")
    + layer("Crop", "crop", "up c1", "", "crop_param { axis: 2 offset: 0 }")
    + layer("Eltwise", "sum", "crop c1", "", "eltwise_param { operation: SUM coeff: 1 coeff: 1 }")
    + layer("Deconvolution", "deconv", "sum", "",
            "convolution_param { num_output: 4 kernel_size: 2 stride: 2 dilation: 1 }")
    + layer("LRN", "lrn", "deconv", "", "lrn_param { local_size: 5 alpha: 0.1 }")
    + layer("Slice", "cut", "lrn", "left right", "slice_param { axis: 1 slice_point: 1 }")
    + layer("Concat", "cat", "right left", "", "concat_param { axis: 1 }")
    + layer("Power", "power", "cat", "", "power_param { power: 2 scale: 0.5 shift: 1 }")
    + layer("Permute", "perm", "power", "",
            "permute_param { order: 0 order: 2 order: 3 order: 1 }")
    + layer("Reshape", "flat", "perm", "", "reshape_param { shape { dim: 1 dim: -1 dim: 2 } }")
    + layer("Softmax", "soft", "flat", "", "softmax_param { axis: 2 }")
    + layer("Flatten", "flatten", "cat")
    + layer("Dropout", "drop", "flatten", "flatten", "dropout_param { dropout_ratio: 0.5 }")
    + layer("InnerProduct", "fc", "flatten", "", "inner_product_param { num_output: 6 }")
    + layer("Pooling", "global", "power", "", "pooling_param { pool: AVE global_pooling: true }")
    + layer("SPP", "spp", "power", "", "spp_param { pyramid_height: 2 }")
    + layer("Tile", "tile", "global", "", "tile_param { axis: 2 tiles: 3 }")
    + layer("Reduction", "mean", "power", "", "reduction_param { operation: MEAN axis: 2 }")
    + layer("MVN", "mvn", "power", "", "mvn_param { across_channels: true }")
)  # fmt: skip

TRAINING = (
    layer("Data", "data", "", "data label",
          "include { phase: TRAIN } transform_param { crop_size: 8 mean_value: [1, 2, 3] }")
    + conv("c", "data", 4, 3)
    + layer("Split", "two", "c", "a b")
    + layer("Silence", "quiet", "b", "")
    + layer("InnerProduct", "fc", "a", "", "inner_product_param { num_output: 3 axis: 1 }")
    + layer("Accuracy", "acc", "fc label", "", "accuracy_param { top_k: 5 }")
    + layer("SoftmaxWithLoss", "loss", "fc label", "loss", "loss_weight: 0.5")
).replace('top: "quiet"', "")  # fmt: skip

OLD = """input: "data" input_dim: 1 input_dim: 3 input_dim: 10 input_dim: 10
layers { name: "c" type: CONVOLUTION bottom: "data" top: "c" blobs_lr: 1 weight_decay: 0
  convolution_param { num_output: 4 kernel_size: 3 } }
layers { name: "r" type: RELU bottom: "c" top: "c" }
layers { name: "p" type: POOLING bottom: "c" top: "p" pooling_param { kernel_size: 2 stride: 2 } }
layers { name: "s" type: SOFTMAX bottom: "p" top: "s" }
"""

_TOKEN = re.compile(rb'"[^"\n]*"|[\w.+-]+|[^\w\s]|\s+')
_NUMBER = re.compile(rb"-?\d+(\.\d+)?")
_NUMBERS = (
    b"0", b"-1", b"1", b"2", b"3", b"5", b"7", b"16", b"255", b"256", b"4097", b"65535", b"100000",
    b"2147483647", b"2147483648", b"4294967295", b"1099511627776", b"9223372036854775807",
    b"-9223372036854775808", b"1e30", b"0.5", b"nan", b"inf", b"-inf",
)  # fmt: skip


@cache
def originals() -> dict[str, tuple[bytes, bytes]]:
    """Prototxt and caffemodel (empty: none) by name."""
    found = {"training": (TRAINING.encode(), b""), "old": (OLD.encode(), b"")}
    net, weights = random_net(SMALL)
    assert net.layers
    with tempfile.TemporaryDirectory() as folder:
        prototxt, caffemodel = save(Path(folder), SMALL, weights)
        found["small"] = (prototxt.read_bytes(), caffemodel.read_bytes())
    with tempfile.TemporaryDirectory() as folder:
        files = Path(folder, "net.prototxt"), Path(folder, "net.caffemodel")
        for label, cases in ((x, y) for x, y in CASES.items() if y and y[0][1]):
            write_net(one_layer(label, *cases[0])[0], *files)
            found[f"layer {label}"] = (files[0].read_bytes(), files[1].read_bytes())
    found["mnet"] = (render("retinaface-mnet025", 64, 64).encode(), b"")
    found["mobilefacenet"] = (render("mobilefacenet", 112, 112).encode(), b"")
    shared = os.environ.get("NNIE_TEST_DATA")
    for path in sorted(Path(shared, "models").rglob("*.prototxt")) if shared else []:
        found[path.name] = (path.read_bytes(), b"")
    return found


def damaged_text(data: bytes, rng: random.Random) -> bytes:
    """One to three places of a prototxt changed."""
    tokens = _TOKEN.findall(data)
    for _ in range(rng.choice((1, 1, 2, 3))):
        places = [i for i, x in enumerate(tokens) if x.strip()]
        if not places:
            break
        rng.choice(_DAMAGE)(tokens, places, rng)
    text = b"".join(tokens)
    if rng.random() < 0.1:
        at = rng.randrange(len(text) + 1)
        text = text[:at] + rng.randbytes(rng.randrange(4)) + text[at + rng.randrange(9) :]
    return text


def _number(tokens: list[bytes], places: list[int], rng: random.Random) -> None:
    numbers = [i for i in places if _NUMBER.fullmatch(tokens[i])]
    if numbers:
        tokens[rng.choice(numbers)] = rng.choice(_NUMBERS)


def _text(tokens: list[bytes], places: list[int], rng: random.Random) -> None:
    strings = [i for i in places if tokens[i].startswith(b'"')]
    if strings:
        tokens[rng.choice(strings)] = tokens[rng.choice(strings)]


def _delete(tokens: list[bytes], places: list[int], rng: random.Random) -> None:
    del tokens[rng.choice(places)]


def _double(tokens: list[bytes], places: list[int], rng: random.Random) -> None:
    at = rng.choice(places)
    tokens[at] += b" " + tokens[at]


def _swap(tokens: list[bytes], places: list[int], rng: random.Random) -> None:
    a, b = rng.choice(places), rng.choice(places)
    tokens[a], tokens[b] = tokens[b], tokens[a]


def _layer(tokens: list[bytes], places: list[int], rng: random.Random) -> None:
    """Take a layer out, write it twice, or move it to the front."""
    starts = [i for i in places if tokens[i] in (b"layer", b"layers")]
    if not starts:
        return
    first = rng.choice(starts)
    end = min((i for i in starts if i > first), default=len(tokens))
    block = tokens[first:end]
    way = rng.randrange(3)
    if way != 1:
        del tokens[first:end]
    if way:
        tokens[starts[0] : starts[0]] = block


_DAMAGE: tuple[Callable[[list[bytes], list[int], random.Random], None], ...] = (
    _number, _number, _number, _number, _text, _text, _delete, _double, _swap, _layer,
)  # fmt: skip


def damaged_bytes(data: bytes, rng: random.Random) -> bytes:
    """A few bytes of a caffemodel changed, or its end cut off."""
    changed = bytearray(data)
    for _ in range(rng.randrange(4)):
        if changed:
            changed[rng.randrange(min(len(changed), 4000))] = rng.randrange(256)
    return bytes(changed[: rng.randrange(len(changed) + 1)] if rng.random() < 0.1 else changed)


def one_line(what: str, call: Callable[[], object]) -> bool:
    """Whether `call` has a result; if not, it ends with one line. Never slow, never else."""
    started, refusal = time.process_time(), None
    try:
        call()
    except NnieError as error:
        refusal = str(error)
    took = time.process_time() - started
    assert took < MOST_SECONDS, f"{what} took {took:.1f} s"
    assert refusal is None or (refusal.strip() and "\n" not in refusal), (what, refusal)
    return refusal is None


def goes_well(text: bytes, weights: bytes) -> None:
    """Every use of a network's files ends in a result or in one clear line."""
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        prototxt = folder / "net.prototxt"
        prototxt.write_bytes(text)
        caffemodel = folder / "net.caffemodel" if weights else None
        if caffemodel is not None:
            caffemodel.write_bytes(weights)
        one_line("check", lambda: check_files(prototxt, caffemodel, "hi3516dv300"))
        if not one_line("read", lambda: read_net(prototxt, caffemodel)):
            return
        net = read_net(prototxt, caffemodel)
        one_line("sizes", lambda: valid_sizes(net.copy(), 32, 256, 32, square=True))
        if not one_line("infer", lambda: infer(net)) or caffemodel is None:
            return
        counts = [math.prod(x) for x in infer(net).values()]
        if sum(counts) > MOST_VALUES and max(counts) <= LARGEST_VALUE:
            return  # merely large: running it takes its time
        probe = Probe(None, "noise")
        one_line(
            "rewrite",
            lambda: rewrite_files(prototxt, caffemodel, "new", folder, None, probe),
        )


@pytest.fixture(autouse=True)
def _little_memory() -> Iterator[None]:
    """A wish for much more memory than there is fails here at once."""
    page = resource.getpagesize()
    now = int(Path("/proc/self/statm").read_text().split()[0]) * page
    limits = resource.getrlimit(resource.RLIMIT_AS)
    resource.setrlimit(resource.RLIMIT_AS, (now + MOST_MEMORY, limits[1]))
    yield
    resource.setrlimit(resource.RLIMIT_AS, limits)


@settings(
    max_examples=EXAMPLES, deadline=None, database=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
)  # fmt: skip
@given(st.randoms(use_true_random=False), st.integers(0, 1 << 20))
def test_damaged_networks(rng: random.Random, number: int) -> None:
    text, weights = list(originals().values())[number % len(originals())]
    if weights and rng.random() < 0.2:
        goes_well(text, damaged_bytes(weights, rng))
    else:
        goes_well(damaged_text(text, rng), weights)


def test_the_originals_are_sound() -> None:
    """What the damage is done to works, so that damage has every stage before it."""
    np.seterr(all="ignore")
    for name, (text, weights) in originals().items():
        with tempfile.TemporaryDirectory() as folder:
            prototxt = Path(folder) / "net.prototxt"
            prototxt.write_bytes(text)
            assert infer(read_net(prototxt)), name
            if name == "small":
                caffemodel = Path(folder) / "net.caffemodel"
                caffemodel.write_bytes(weights)
                probe = Probe(None, "noise")
                assert rewrite_files(prototxt, caffemodel, "new", Path(folder), None, probe).passes

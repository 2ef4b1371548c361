"""Diagnosis: gray pictures, ties, healthy dumps of other runs, effects, the command."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import cv2
import numpy as np
import pytest

from nnie_pipeline.caffe.net import Array, Net
from nnie_pipeline.calibration.network_input import InputSpec
from nnie_pipeline.calibration.pictures import find_pictures
from nnie_pipeline.calibration.sets import load_input, write_set
from nnie_pipeline.compare.dumps import write_dump
from nnie_pipeline.compare.open import open_dump
from nnie_pipeline.diagnose.case import Case, CasePicture, is_gray
from nnie_pipeline.diagnose.causes import CAUSES
from nnie_pipeline.diagnose.distance import distance, score
from nnie_pipeline.diagnose.effects import Effect, effects, view
from nnie_pipeline.diagnose.explain import Explanation, explain, judged
from nnie_pipeline.diagnose.observed import observe
from nnie_pipeline.diagnose.predict import HEALTHY, Predictor, calibrated
from nnie_pipeline.engine.onnxruntime_engine import Session, all_values
from nnie_pipeline.quant.simulate import Simulator
from nnie_pipeline.stages.diagnose import read_case
from nnie_pipeline.stages.dump import picture_scales
from tests.builds import Build, Cli
from tests.caffe_nets import conv, header, layer, net_of, random_net, save
from tests.diagnose_cases import lay, planes, ranges_of

SPEC = InputSpec("BGR", (100.0, 120.0, 140.0), (1 / 64,) * 3)
TEXT = (
    header(1, 3, 24, 30)
    + conv("c0", "data", 8, 3, "pad: 1")
    + layer("ReLU", "r0", "c0", "c0")
    + conv("c1", "c0", 8, 3, "stride: 2")
    + layer("ReLU", "r1", "c1", "c1")
    + conv("box", "c1", 4, 1)
    + conv("score", "c1", 2, 1)
)


def picture(seed: int, gray: bool = False) -> np.ndarray:
    """Blobs of colour, 50 rows of 90."""
    rng = np.random.default_rng(seed)
    small = rng.integers(0, 256, (6, 9, 3), dtype=np.uint8)
    if gray:
        small[...] = small[..., :1]
    return np.asarray(cv2.resize(small, (90, 50), interpolation=cv2.INTER_CUBIC), np.uint8)


def case_of(net: Net, bits: int = 0, gray: bool = False, spec: InputSpec = SPEC) -> Case:
    laid = [lay(picture(i, gray), 24, 30, "letterbox") for i in range(3)]
    pictures = tuple(
        CasePicture(f"p{i}", lambda x=x: x, where)  # type: ignore[misc]
        for i, (x, where) in enumerate(laid)
    )
    scales = picture_scales(net, spec.scale)
    ranges = ranges_of(net, [planes(x, spec) for x, _ in laid], scales) if bits else None
    return Case(net, spec, pictures, -1, (bits,), ranges, scales=scales)


def float_dump(case: Case, blob: Array | None = None) -> dict[str, Array]:
    made = Session(case.net, all_values(case.net))
    return made.run({case.input: case.blob() if blob is None else np.ascontiguousarray(blob)})


def predictor(case: Case) -> Predictor:
    return Predictor(case, all_values(case.net))


@pytest.fixture
def net() -> Net:
    return random_net(TEXT)[0]


def test_a_gray_picture_cannot_tell_about_channels(net: Net) -> None:
    case = case_of(net, gray=True)
    found = explain(case, float_dump(case), predictor(case))
    assert found.state == "healthy"
    assert "gray" in found.unjudged["channel-order"]
    swapped = np.ascontiguousarray(case.blob()[:, ::-1])
    found = explain(case, float_dump(case, swapped), predictor(case))
    assert "gray" in found.unjudged["channel-order"]
    assert "channel-order" not in [x.cause.name for x in found.ranked]
    # The same in colour is found.
    case = case_of(net)
    found = explain(case, float_dump(case, np.ascontiguousarray(case.blob()[:, ::-1])),
                    predictor(case))  # fmt: skip
    assert found.cause is not None
    assert found.cause.cause.name == "channel-order"


def test_coloured_bars_do_not_make_a_gray_picture_coloured(net: Net) -> None:
    case = case_of(net, gray=True)
    where = case.picture.placement
    canvas = case.picture.pixels().copy()
    canvas[: int(where.top)] = (104, 117, 183)
    assert not is_gray(canvas)
    barred = replace(case, pictures=(CasePicture("p", lambda: canvas, where),))
    swapped = float_dump(barred, np.ascontiguousarray(barred.blob()[:, ::-1]))
    found = explain(barred, swapped, predictor(barred))
    assert "gray" in found.unjudged["channel-order"]
    # What the set says of its picture counts, even where the canvas shows some colour.
    coloured = case_of(net)
    marked = replace(coloured, pictures=(replace(coloured.picture, gray=True),))
    found = explain(marked, float_dump(marked, coloured.blob()[:, ::-1]), predictor(marked))
    assert "gray" in found.unjudged["channel-order"]


def test_a_case_knows_what_its_set_says(tmp_path: Path) -> None:
    _, weights = random_net(TEXT)
    files = save(tmp_path, TEXT, weights)
    (tmp_path / "pics").mkdir()
    for i in range(2):
        cv2.imwrite(str(tmp_path / "pics" / f"{i}.png"), picture(i, gray=bool(i)))
    write_set(find_pictures(tmp_path / "pics"), SPEC, (24, 30), tmp_path / "set")
    case = read_case((files[0], files[1]), tmp_path / "set")
    assert [x.gray for x in case.pictures] == [False, True]
    # Without ranges of its own the input still has the fixed z of a picture.
    assert case.scales == {"data": 1 / 64}
    given = replace(case, bits=(8,))
    ranges = ranges_of(case.net, [case.blob()], {"data": 1 / 64})
    dump = dict(Simulator(case.net, 8, ranges).run({"data": case.blob()}))
    found = predictor(given)(HEALTHY, 8)
    assert found is not None
    for name, values in dump.items():
        np.testing.assert_array_equal(found[name], values)


def test_jpeg_noise_does_not_make_a_gray_picture_coloured() -> None:
    gray = np.full((4, 4, 3), 100, np.uint8)
    gray[0, 0] = (101, 99, 102)
    assert is_gray(gray)
    gray[0, 0] = (100, 100, 120)
    assert not is_gray(gray)


def test_two_explanations_that_fit_are_a_tie(net: Net) -> None:
    """The set's other picture is the right one with its channels exchanged."""
    case = case_of(net)
    right = case.picture
    turned = CasePicture("turned", lambda: np.ascontiguousarray(right.pixels()[..., ::-1]),
                         right.placement)  # fmt: skip
    case = replace(case, pictures=(turned, right))
    found = explain(case, float_dump(case, planes(turned.pixels(), SPEC)), predictor(case))
    assert found.state == "explained"
    assert {x.cause.name for x in found.tied} == {"channel-order", "wrong-picture"}
    assert all(x.cause.test for x in found.tied)


def test_no_tie_where_one_fits_better(net: Net) -> None:
    case = case_of(net)
    found = explain(case, float_dump(case, case.blob(case.pictures[0].pixels())), predictor(case))
    assert found.ranked[0].cause.name == "wrong-picture"
    assert found.tied == ()


@pytest.mark.parametrize("bits", [8, 16])
def test_a_dump_of_other_calibration_is_healthy(net: Net, bits: int) -> None:
    """A board's ranges are never quite ours: neither equal nor a mistake."""
    case = case_of(net, bits)
    other = ranges_of(net, [planes(picture(9)[:24, :30], SPEC)], case.scales)
    dump = dict(Simulator(net, bits, other).run({"data": case.blob()}))
    found = explain(case, dump, predictor(case))
    assert found.state == "healthy", found


def test_what_no_cause_explains_is_said_to_be_so(net: Net) -> None:
    case = case_of(net)
    rng = np.random.default_rng(0)
    dump = {k: rng.normal(0, 1, v.shape).astype(np.float32) for k, v in float_dump(case).items()}
    found = explain(case, dump, predictor(case))
    assert found.state == "unexplained"
    assert found.cause is None
    broken = {k: np.full_like(v, np.nan) for k, v in dump.items()}
    assert explain(case, broken, predictor(case)).state == "unexplained"


def test_the_width_is_found_where_nobody_said_it(net: Net) -> None:
    case = replace(case_of(net, 8), bits=(8, 16))
    dump = dict(Simulator(net, 16, case.ranges).run({"data": case.blob()}))  # type: ignore[arg-type]
    found = explain(case, dump, predictor(case))
    assert (found.state, found.bits) == ("healthy", 16)
    assert "--bits" in found.unjudged["bits"]


def test_a_cause_is_judged_above_the_noise_of_the_numbers() -> None:
    """Seen with a stretched picture at 8 bit: no cause comes nearer than the numbers allow."""

    def state(found: float, right: float, costs: float, within: bool = False) -> str:
        cause = next(x for x in CAUSES if x.name == "geometry")
        best = Explanation(cause, "stretch", 8, found, 0.15, 0.1)
        return judged(right, 0.2, within, costs, (best,))

    # 0.0277 of 0.0595 is left above 0.044, but 0.052 of 0.074 as they stand.
    assert state(0.052, 0.074, 0.044) == "explained"
    assert state(0.052, 0.074, 0.0) == "unexplained"
    assert state(0.070, 0.074, 0.044) == "unexplained"
    assert state(0.040, 0.042, 0.044) == "unexplained"
    assert state(0.052, 0.074, 0.044, within=True) == "healthy"


def test_every_cause_says_what_to_do() -> None:
    assert len({x.name for x in CAUSES}) == len(CAUSES) == 13
    assert all(x.title and x.remedy and x.test for x in CAUSES)


def test_distance() -> None:
    a = np.float32([3, 4])
    assert distance(a, a) == 0
    assert distance(a, -a) == pytest.approx(2**0.5)
    assert distance(np.float32([1, 0]), np.float32([0, 1])) == pytest.approx(1)
    assert distance(a, np.float32([3, 4, 5])) == 1
    assert distance(a, np.float32([3, np.nan])) == 1
    assert distance(np.float32([3, np.nan]), np.float32([3, 7])) == 0
    assert score({"a": a}, {"a": a, "b": a}) == pytest.approx((1e-3 * 1) ** 0.5)


def test_shapes_of_the_dump_may_differ(net: Net, tmp_path: Path) -> None:
    made = float_dump(case_of(net))
    made["box"] = made["box"][..., :-1]
    write_dump(net, made.items(), "float", "x", tmp_path)
    seen = observe(net, open_dump(tmp_path))
    assert seen.values["box"].shape == (1, 4, 11, 13)
    assert any("box" in x for x in seen.notes)
    assert {"box", "score"} <= set(seen.values)


# --- effects -------------------------------------------------------------------------------


def effects_of(net: Net, feed: Array, calibration: Array | None = None, bits: int = 8
               ) -> list[Effect]:  # fmt: skip
    name = next(iter(net.inputs))
    ranges = calibrated(net, {name: feed if calibration is None else calibration})
    return effects(view(net, net, bits, ranges, {name: feed}))


def kinds(found: list[Effect]) -> set[str]:
    return {x.kind for x in found}


def ordinary(shape: tuple[int, ...] = (1, 4, 16, 16)) -> Array:
    """Values within an octave: nothing is flushed, no outlier."""
    rng = np.random.default_rng(0)
    return (rng.uniform(1, 2, shape) * rng.choice([-1, 1], shape)).astype(np.float32)


def plain(mean: float = 0.0, weight: float = 1.0) -> Net:
    text = header(1, 4, 16, 16) + conv("c", "data", 2) + layer("BatchNorm", "bn", "c")
    weights = np.full((2, 4, 1, 1), 0.5, np.float32)
    weights[1] *= weight
    return net_of(
        text,
        {"c": [weights, [0, 0]], "bn": [[mean, 0], [1, 1], [1]]},
    )


def test_an_ordinary_network_has_no_effects() -> None:
    assert effects_of(plain(), ordinary()) == []


def test_batch_norm_cancellation() -> None:
    found = effects_of(plain(mean=20.0), ordinary())
    assert [(x.kind, x.layer) for x in found] == [("BatchNorm cancellation", "bn")]
    assert "|mean| 20 over spread 1 = 20" in found[0].evidence
    assert effects_of(plain(mean=20.0), ordinary(), bits=16) == []


def test_saturation() -> None:
    found = effects_of(plain(), ordinary() * 2, calibration=ordinary())
    assert ("saturation", "c") in [(x.kind, x.layer) for x in found]
    share = float((np.abs(ordinary() * 2) > 2).mean())
    assert next(x for x in found if x.kind == "saturation").size == pytest.approx(share, abs=0.05)


def test_flushed_to_zero() -> None:
    feed = ordinary()
    feed[:, :, :4] /= 1000
    found = effects_of(plain(), feed)
    assert kinds(found) == {"flushed to zero"}
    assert found[0].size == pytest.approx(0.25)
    assert effects_of(plain(), feed, bits=16) == []


def test_an_outlier() -> None:
    feed = ordinary((1, 4, 64, 64))
    feed[0, 0, 0, 0] = 60
    text = header(1, 4, 64, 64) + conv("c", "data", 2)
    found = effects_of(net_of(text, {"c": [np.ones((2, 4, 1, 1)), [0, 0]]}), feed)
    assert kinds(found) == {"outlier"}
    assert "60" in found[0].evidence


def test_a_dead_channel() -> None:
    found = effects_of(plain(weight=1e-9), ordinary())
    assert kinds(found) == {"dead channel"}
    assert "first: 1" in found[0].evidence


# --- the command ---------------------------------------------------------------------------


def test_the_command_on_a_build(small_build: Build, tmp_path: Path, cli: Cli) -> None:
    build = small_build.folder
    healthy = cli("diagnose", build, build / "simulate" / "8", "--json")
    assert healthy.status == 0, healthy
    assert healthy.json["state"] == "healthy"
    assert cli("diagnose", build, build / "dump").status == 0
    other = cli("diagnose", build, build / "simulate" / "8", "--bits", "16", "--json")
    assert other.status == 1
    assert other.json["cause"] == "bits"
    assert other.json["ranked"][0]["remedy"]
    wrong = cli("diagnose", build, build / "dump", "--picture", "0")
    assert wrong.status == 1
    assert "another picture" in wrong.error
    assert "1. another picture" in wrong.out


def test_the_command_on_files(tmp_path: Path, cli: Cli) -> None:
    net, weights = random_net(TEXT)
    prototxt, caffemodel = save(tmp_path, TEXT, weights)
    (tmp_path / "pics").mkdir()
    for i in range(2):
        cv2.imwrite(str(tmp_path / "pics" / f"{i}.png"), picture(i))
    write_set(find_pictures(tmp_path / "pics"), SPEC, (24, 30), tmp_path / "set")
    blob = load_input(tmp_path / "set", 0)
    made = Session(net, ["box", "score"]).run({"data": blob})
    board = tmp_path / "board"
    board.mkdir()
    for number, name in enumerate(("box", "score")):
        words = np.round(made[name].astype(np.float64) * 4096).astype(np.int64).reshape(-1)
        text = "".join(f"{x & 0xFFFFFFFF:08x}\n" for x in words)
        (board / f"seg0_layer{number + 4}_output0_inst.linear.hex").write_text(text)
    given = ("--net", prototxt, caffemodel, "--calibration", tmp_path / "set", "--bits", "float")
    assert cli("diagnose", board, *given, "--picture", "0").status == 0
    wrong = cli("diagnose", board, *given, "--json")
    assert wrong.status == 1
    assert json.loads(wrong.out)["cause"] == "wrong-picture"


def test_a_broken_output_is_not_healthy(tmp_path: Path, cli: Cli) -> None:
    net, weights = random_net(TEXT)
    prototxt, caffemodel = save(tmp_path, TEXT, weights)
    (tmp_path / "pics").mkdir()
    cv2.imwrite(str(tmp_path / "pics" / "0.png"), picture(0))
    write_set(find_pictures(tmp_path / "pics"), SPEC, (24, 30), tmp_path / "set")
    made = Session(net, ["box", "score"]).run({"data": load_input(tmp_path / "set", 0)})
    given = ("--net", prototxt, caffemodel, "--calibration", tmp_path / "set", "--bits", "float")

    def board(name: str, change: Callable[[int, str], str]) -> Path:
        folder = tmp_path / name
        folder.mkdir()
        for number, value in enumerate(made.values(), 4):
            words = np.round(value.astype(np.float64) * 4096).astype(np.int64).reshape(-1)
            text = change(number, "".join(f"{x & 0xFFFFFFFF:08x}\n" for x in words))
            if text:
                (folder / f"seg0_layer{number}_output0_inst.linear.hex").write_text(text)
        return folder

    assert cli("diagnose", board("whole", lambda _, x: x), *given).status == 0
    short = cli("diagnose", board("short", lambda n, x: x if n == 4 else x[:180]), *given)
    assert short.status == 1
    assert "seg0_layer5_output0" in short.out
    bad = cli("diagnose", board("bad", lambda n, x: x if n == 4 else x + "zz\n"), *given)
    assert bad.status == 2
    assert "seg0_layer5_output0" in bad.error
    gone = cli("diagnose", board("gone", lambda n, x: x if n == 4 else ""), *given)
    assert gone.status == 1
    assert "score" in gone.error
    assert "healthy" not in gone.out


@pytest.mark.parametrize(
    ("words", "said"),
    [
        (["a"], "BUILD and DUMP"),
        (["none", "none"], "no build"),
        (["a", "--net", "n", "w"], "--calibration"),
        (["a", "b", "--calibration", "c"], "BUILD and DUMP"),
        (["a", "--net", "n", "w", "--calibration", "c"], "found nothing there"),
    ],
)
def test_bad_usage(words: list[str], said: str, cli: Cli) -> None:
    ran = cli("diagnose", *words)
    assert ran.status == 2
    assert said in ran.error

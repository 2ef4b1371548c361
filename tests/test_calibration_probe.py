"""The coloured picture of a set, and the proof that a cfg feeds what the model was trained with."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest

from nnie_pipeline.calibration.network_input import InputSpec
from nnie_pipeline.calibration.pictures import find_pictures, read_picture
from nnie_pipeline.calibration.probe import (
    EXPECTED,
    PATCHES,
    coloured,
    probe_picture,
    readings,
)
from nnie_pipeline.calibration.sets import write_set
from nnie_pipeline.calibration.stored import RawForm
from nnie_pipeline.calibration.yuv import FORMS, YuvForm
from nnie_pipeline.errors import CheckError, InputError
from nnie_pipeline.mapper.arithmetic import first_input, prove
from nnie_pipeline.mapper.cfg import read_cfg
from tests.test_calibration_choice import scene
from tests.test_calibration_sources import save

MEANS = (123.0, 117.0, 104.0)
RGB = InputSpec("RGB", MEANS, (0.017, 0.017, 0.017), "stretch")
BGR = InputSpec("BGR", MEANS[::-1], (1, 1, 1), "stretch")
EQUAL = InputSpec("RGB", (127.5,) * 3, (0.0078125,) * 3, "stretch")


def cfg(
    folder: Path,
    order: str = "RGB",
    norm: int = 5,
    scale: str = "0.017",
    means: tuple[float, ...] = MEANS,
    kind: int = 1,
) -> str:
    (folder / "mean.txt").write_text("".join(f"{x}\n" for x in means))
    return (
        f"[image_list] ./image_list.txt\n[image_type] {kind}\n[norm_type] {norm}\n"
        f"[mean_file] ./mean.txt\n[data_scale] {scale}\n[RGB_order] {order}\n"
    )


@pytest.mark.parametrize(
    ("spec", "distinct"), [(RGB, 4), (EQUAL, 2), (BGR, 2)], ids=["RGB", "equal means", "BGR"]
)
def test_a_set_carries_a_picture_that_tells_readings_apart(
    tmp_path: Path, spec: InputSpec, distinct: int
) -> None:
    save(tmp_path / "in" / "a.png", scene(1))
    write_set(find_pictures(tmp_path / "in"), spec, (48, 60), tmp_path / "set")
    folder = tmp_path / "set"
    record = json.loads((folder / "probe" / "probe.json").read_text())
    picture, _ = read_picture(folder / record["picture"])
    planes = np.fromfile(folder / record["board"], np.uint8).reshape(3, 48, 60)
    assert np.array_equal(planes, picture.transpose(2, 0, 1))
    blobs = {x["file"]: np.load(folder / x["file"]) for x in record["readings"]}
    assert len(blobs) == distinct
    span = max(float(np.ptp(x)) for x in blobs.values())
    names = sorted(blobs)
    for n, left in enumerate(names):
        for right in names[n + 1 :]:
            assert np.abs(blobs[left] - blobs[right]).max() > 0.02 * span
    trained = [x for x in record["readings"] if x["as_trained"]]
    assert {x["board_feeds"] for x in trained} == (
        {"always B, G, R"} if spec.colour == "RGB" else {"always B, G, R", "as RGB_order says"}
    )
    # By the newest edition a red pixel is 255 in the network's R, by the older ones in its B.
    first = 0 if spec.colour == "RGB" else 2
    for entry in record["readings"]:
        turned = spec.colour == "RGB" and entry["board_feeds"] == "as RGB_order says"
        means = spec.mean[::-1] if "last" in entry["mean_txt"] else spec.mean
        values = [-x * y for x, y in zip(means, spec.scale, strict=True)]
        channel = 2 - first if turned else first
        values[channel] += 255 * spec.scale[channel]
        np.testing.assert_allclose(entry["patches"]["red"], values, rtol=1e-6)
        assert set(entry["patches"]) == {name for name, _ in PATCHES}


@pytest.mark.parametrize("size", [(48, 60), (1, 1), (7, 640), (640, 5)])
def test_the_picture_holds_every_size(size: tuple[int, int]) -> None:
    picture = probe_picture(size)
    assert picture.shape == (*size, 3)
    if min(size) > 40:
        levels = [np.unique(picture[..., x]).size for x in range(3)]
        assert min(levels) >= 40


def test_a_gray_network_has_no_order(tmp_path: Path) -> None:
    spec = InputSpec("GRAY", (128,), (1,), "stretch", fill=(0,))
    save(tmp_path / "in" / "a.png", scene(1))
    write_set(find_pictures(tmp_path / "in"), spec, (48, 60), tmp_path / "set")
    assert not (tmp_path / "set" / "probe").exists()
    text = cfg(tmp_path, "BGR", 2, means=(128,))
    assert prove(read_cfg(text), tmp_path, (48, 60), spec, spec).difference == 0


def test_a_pixel_by_hand(tmp_path: Path) -> None:
    picture = np.array([[[10, 100, 200]]], np.uint8)
    found = first_input(read_cfg(cfg(tmp_path, scale="0.5")), tmp_path, picture)
    assert found.ravel().tolist() == [(200 - 123) * 0.5, (100 - 117) * 0.5, (10 - 104) * 0.5]
    found = first_input(read_cfg(cfg(tmp_path, "BGR", 3, "0.5")), tmp_path, picture)
    assert found.ravel().tolist() == [5, 50, 100]
    found = first_input(read_cfg(cfg(tmp_path, "BGR", 2)), tmp_path, picture)
    assert found.ravel().tolist() == [10 - 123, 100 - 117, 200 - 104]
    found = first_input(read_cfg("[norm_type] 0\n"), tmp_path, picture)
    assert found.ravel().tolist() == [10, 100, 200]
    found = first_input(read_cfg("[norm_type] 3\n"), tmp_path, picture)
    assert found.ravel().tolist() == [x / 256 for x in (10, 100, 200)]


@pytest.mark.parametrize("kind", [1, 3])
def test_the_right_cfg_is_exact(tmp_path: Path, kind: int) -> None:
    proof = prove(read_cfg(cfg(tmp_path, kind=kind)), tmp_path, (48, 60), RGB, RGB)
    assert proof.difference == 0
    assert (
        "RGB_order RGB and norm_type 5 feed the first layer as the model was trained (exactly"
        in str(proof)
    )


@pytest.mark.parametrize(
    "wrong",
    [
        {"order": "BGR"},
        {"norm": 3},
        {"norm": 2},
        {"norm": 0},
        {"scale": "0.01700001"},
        {"means": MEANS[::-1]},
    ],
    ids=str,
)
def test_every_wrong_cfg_is_caught(tmp_path: Path, wrong: dict[str, object]) -> None:
    text = cfg(tmp_path, **wrong)  # type: ignore[arg-type]
    with pytest.raises(CheckError, match="the model was trained with"):
        prove(read_cfg(text), tmp_path, (48, 60), RGB, RGB)


def test_what_went_into_the_first_layer_is_put_back(tmp_path: Path) -> None:
    """A scale a channel is in the weights: the cfg says the means alone."""
    trained = InputSpec("RGB", MEANS, (0.017, 0.018, 0.019), "stretch")
    left = InputSpec("RGB", MEANS, (1, 1, 1), "stretch")
    proof = prove(read_cfg(cfg(tmp_path, norm=2)), tmp_path, (48, 60), left, trained)
    assert proof.difference < 1e-6
    with pytest.raises(CheckError):
        prove(read_cfg(cfg(tmp_path, "BGR", 2)), tmp_path, (48, 60), left, trained)
    inside = InputSpec("RGB", (0, 0, 0), (1, 1, 1), "stretch")
    assert (
        prove(read_cfg(cfg(tmp_path, norm=0)), tmp_path, (48, 60), inside, trained).order == "RGB"
    )


@pytest.mark.parametrize(
    ("change", "message"),
    [({"norm": 1}, "norm_type 1"), ({"kind": 0}, "image_type 0"), ({"means": (1, 2)}, "2 means")],
)
def test_what_cannot_be_computed_is_named(
    tmp_path: Path, change: dict[str, object], message: str
) -> None:
    with pytest.raises(InputError, match=message):
        prove(read_cfg(cfg(tmp_path, **change)), tmp_path, (8, 8), RGB, RGB)  # type: ignore[arg-type]
    (tmp_path / "mean.txt").unlink()
    with pytest.raises(InputError, match=r"cannot read the means|cannot be computed"):
        prove(read_cfg("[norm_type] 2\n[mean_file] ./mean.txt"), tmp_path, (8, 8), RGB, RGB)


def test_readings_by_hand() -> None:
    """A pixel B, G, R of 10, 100, 200 as every reading has it."""
    picture = np.array([[[10, 100, 200]]], np.uint8)
    spec = InputSpec("RGB", (1, 2, 3), (1, 1, 1))
    found = {name: x.ravel().tolist() for name, x in readings(picture, spec).items()}
    assert found == {
        EXPECTED: [199, 98, 7], "swapped": [9, 98, 197],
        "means-reversed": [197, 98, 9], "both": [7, 98, 199],
    }  # fmt: skip
    assert set(readings(picture, EQUAL)) == {EXPECTED, "swapped"}


def test_readings_of_yuv() -> None:
    """Each matrix and range gives back the colours that it was written with, and no other does."""
    picture = np.full((2, 2, 3), (30, 100, 220), np.uint8)
    plain = InputSpec("BGR", (0, 0, 0), (1, 1, 1))
    for form in FORMS:
        found = {x: y[0, :, 0, 0] for x, y in readings(picture, plain, form).items()}
        assert np.abs(found.pop(EXPECTED) - (30, 100, 220)).max() <= 2
        others = {f"{x.matrix}-{x.range}" for x in FORMS if x != form}
        assert set(found) == {"swapped", "u-first", *others}
        assert np.abs(found["swapped"] - (220, 100, 30)).max() <= 2
        # With U and V exchanged red becomes blue.
        assert found["u-first"][0] > 150
        assert found["u-first"][2] < 80
        for name in others:
            assert np.abs(found[name] - (30, 100, 220)).max() > 4


def test_colour_for_gray_pictures() -> None:
    gray = np.full((2, 2, 3), 200, np.uint8)
    assert coloured(gray)[0, 0].tolist() == [20, 100, 200]


def test_the_probe_of_a_set_for_yuv(tmp_path: Path) -> None:
    save(tmp_path / "in" / "a.png", scene(1))
    form = YuvForm("bt709", "limited")
    write_set(
        find_pictures(tmp_path / "in"), RGB, (48, 60), tmp_path / "set", raw=RawForm(16, form)
    )
    folder = tmp_path / "set"
    record = json.loads((folder / "probe" / "probe.json").read_text())
    assert record["layout"].startswith("YVU420SP (Y, then V and U in turn), bt709 limited")
    fed = np.fromfile(folder / record["board"], np.uint8)
    assert fed.size == 48 * 60 * 3 // 2
    # BT.709, limited: pure red is Y 63, Cr 240, Cb 102.
    chroma = fed[48 * 60 :].reshape(24, 30, 2)
    assert (int(fed[0]), *chroma[0, 0].tolist()) == (63, 240, 102)
    trained = [x for x in record["readings"] if x["as_trained"]]
    assert [x["board_feeds"] for x in trained] == ["YVU420SP by bt709, limited range"]
    wanted = (np.array((255, 0, 0)) - MEANS) * 0.017
    assert np.abs(trained[0]["patches"]["red"] - wanted).max() < 3 * 0.017
    assert len({x["file"] for x in record["readings"]}) == len(record["readings"]) == 6

"""Pictures as YVU420SP, held against the formulas of BT.601 and BT.709 and OpenCV's own."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from nnie_pipeline.calibration.network_input import InputSpec
from nnie_pipeline.calibration.pictures import find_pictures, read_picture
from nnie_pipeline.calibration.sets import read_set, write_set
from nnie_pipeline.calibration.stored import RawForm
from nnie_pipeline.calibration.yuv import (
    RoundTrip,
    YuvForm,
    round_trip,
    to_bgr,
    to_yvu,
    yuv_form,
    yvu_bytes,
)
from nnie_pipeline.errors import InputError
from tests.test_calibration_choice import scene
from tests.test_calibration_sources import save

FORMS = [YuvForm("bt601", "full"), YuvForm("bt601", "limited"), YuvForm("bt709", "full"),
         YuvForm("bt709", "limited")]  # fmt: skip
BGR = InputSpec("BGR", (0, 0, 0), (1, 1, 1), "stretch")


def smooth(seed: int) -> np.ndarray:
    """Colours that change slowly, so that a V and U for four pixels loses little."""
    return np.asarray(cv2.resize(scene(seed), (640, 360), interpolation=cv2.INTER_CUBIC))


def flat(colour: tuple[int, int, int]) -> np.ndarray:
    return np.full((4, 6, 3), colour, np.uint8)


@pytest.mark.parametrize(
    ("form", "bgr", "yuv"),
    [
        # Y, U, V of the recommendations' own formulas, by hand.
        (FORMS[0], (0, 0, 255), (76, 85, 255)),
        (FORMS[0], (255, 0, 0), (29, 255, 107)),
        (FORMS[1], (0, 0, 255), (81, 90, 240)),
        (FORMS[1], (255, 255, 255), (235, 128, 128)),
        (FORMS[1], (0, 0, 0), (16, 128, 128)),
        (FORMS[2], (0, 255, 0), (182, 30, 12)),
        (FORMS[3], (0, 0, 255), (63, 102, 240)),
    ],
)
def test_colours_by_hand(
    form: YuvForm, bgr: tuple[int, int, int], yuv: tuple[int, int, int]
) -> None:
    luma, chroma = to_yvu(flat(bgr), form)
    assert luma.shape == (4, 6)
    assert chroma.shape == (2, 3, 2)
    found = (luma[0, 0], chroma[0, 0, 1], chroma[0, 0, 0])
    assert np.abs(np.array(found, int) - yuv).max() <= 1


def test_bytes_are_read_as_nv21_by_opencv() -> None:
    """NV21 is YVU420SP: OpenCV reads limited BT.601."""
    picture = smooth(3)
    luma, chroma = to_yvu(picture, FORMS[1])
    data = np.frombuffer(yvu_bytes(luma, chroma), np.uint8).reshape(540, 640)
    back = cv2.cvtColor(data, cv2.COLOR_YUV2BGR_NV21)
    assert np.abs(back.astype(int) - to_bgr(luma, chroma, FORMS[1])).max() <= 2
    assert np.abs(back.astype(int) - picture).mean() < 3


@pytest.mark.parametrize("form", FORMS, ids=str)
def test_what_is_lost(form: YuvForm) -> None:
    gray = np.repeat(smooth(1)[..., :1], 3, axis=2)
    lost = round_trip(gray, *to_yvu(gray, form), form)
    assert lost.largest <= 2
    colours = round_trip(smooth(1), *to_yvu(smooth(1), form), form)
    assert 0 < colours.mean < 3
    other = YuvForm("bt709" if form.matrix == "bt601" else "bt601", form.range)
    wrong = round_trip(smooth(1), *to_yvu(smooth(1), other), form)
    assert wrong.mean > 2 * colours.mean


def test_a_set_holds_padded_rows_of_both_kinds(tmp_path: Path) -> None:
    save(tmp_path / "in" / "a.png", scene(4))
    found = find_pictures(tmp_path / "in")
    record = write_set(found, BGR, (40, 54), tmp_path / "set", raw=RawForm(16, FORMS[0]))
    assert read_set(tmp_path / "set") == record
    assert (record.stride, record.yuv) == (64, FORMS[0])
    stored, _ = read_picture(tmp_path / "set" / record.pictures[0].file)
    raw = np.fromfile(tmp_path / "set" / record.pictures[0].raw, np.uint8).reshape(3, 40, 64)
    assert np.array_equal(raw[..., :54], stored.transpose(2, 0, 1))
    assert not raw[..., 54:].any()
    yuv = np.fromfile(tmp_path / "set" / "raw" / "000_a.yuv", np.uint8).reshape(60, 64)
    luma, chroma = to_yvu(stored, FORMS[0])
    assert np.array_equal(yuv[:40, :54], luma)
    assert np.array_equal(yuv[40:, :54:2], chroma[..., 0])
    assert not yuv[:, 54:].any()
    error = cv2.absdiff(to_bgr(luma, chroma, FORMS[0]), stored)
    assert record.yuv_error == RoundTrip(float(error.mean()), int(error.max()))
    packed = write_set(found, BGR, (40, 54), tmp_path / "set", raw=RawForm(1))
    assert (packed.stride, packed.yuv, packed.yuv_error) == (54, None, None)
    assert (tmp_path / "set" / packed.pictures[0].raw).stat().st_size == 3 * 40 * 54


@pytest.mark.parametrize(
    ("colour", "size", "align", "message"),
    [("BGR", (41, 54), 16, "41x54: YVU420SP"), ("BGR", (40, 54), 20, "--align 20"),
     ("GRAY", (40, 54), 16, "a gray network")],
)  # fmt: skip
def test_what_cannot_be_written_is_named(
    tmp_path: Path, colour: str, size: tuple[int, int], align: int, message: str
) -> None:
    save(tmp_path / "in" / "a.png", scene(4))
    spec = BGR if colour == "BGR" else InputSpec("GRAY", (0,), (1,), "stretch", fill=(0,))
    with pytest.raises(InputError, match=message):
        write_set(
            find_pictures(tmp_path / "in"), spec, size, tmp_path / "set",
            raw=RawForm(align, FORMS[0]),
        )  # fmt: skip
    assert not (tmp_path / "set").exists()


def test_words() -> None:
    assert yuv_form("bt709", "limited") == YuvForm("bt709", "limited")
    with pytest.raises(InputError, match="YUV bt2020 full: write --yuv bt601 or bt709"):
        yuv_form("bt2020", "full")

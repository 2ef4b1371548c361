"""Which pictures are chosen, and why others are not."""

from __future__ import annotations

from pathlib import Path

import cv2
import numpy as np
import pytest

from nnie_pipeline.calibration.choice import choose, look
from nnie_pipeline.calibration.pictures import find_pictures, read_picture
from nnie_pipeline.calibration.sources import chosen_of
from nnie_pipeline.calibration.useless import sampled, small, useless
from nnie_pipeline.errors import InputError


def scene(seed: int, level: float = 128, spread: float = 60, tint: int = 1) -> np.ndarray:
    """Smooth shapes; scenes of the same seed differ only as asked."""
    noise = np.random.default_rng(seed).normal(size=(9, 16, 3))
    large = cv2.resize(noise, (160, 90), interpolation=cv2.INTER_CUBIC) * spread
    large[..., tint] += 25
    return np.clip(large + level, 0, 255).astype(np.uint8)


def chosen(pictures: dict[str, np.ndarray], count: int) -> tuple[list[str], dict[str, str]]:
    names = list(pictures)
    indices, choice = choose([look(x) for x in pictures.values()], names, count)
    assert (choice.found, choice.wanted) == (len(names), count)
    return [names[n] for n in indices], {x.source: x.reason for x in choice.dropped}


def test_useless_pictures_are_dropped_with_their_reason() -> None:
    over = scene(1, 110, 30)
    over[:50] = 255
    burnt = scene(5, 250, 40)  # most clipped in a channel, less than half in all
    blue = np.zeros((90, 160, 3), np.uint8)
    blue[...] = (200, 0, 0)
    noise = np.random.default_rng(7).normal(120, 12, (480, 640, 3)).astype(np.uint8)
    useful = {"night": scene(2, 40, 20), "snow": scene(3, 215, 15), "day": scene(4)}
    kept, dropped = chosen(
        {
            "lens cap": np.full((90, 160, 3), 9, np.uint8),
            "blank": np.full((90, 160, 3), 244, np.uint8),
            "against the sun": over,
            "burnt out": burnt,
            "blue": blue,
            "noise": noise,
            "one pixel": np.full((1, 1, 3), 99, np.uint8),
            "strip": scene(6).repeat(9, axis=1)[:1],
            "ribbon": np.tile(scene(6)[:30], (1, 2, 1)),
            **useful,
        },
        20,
    )
    assert kept == list(useful)
    assert dropped == {
        "lens cap": "black (100% of it)",
        "blank": "white (100% of it)",
        "against the sun": "over-exposed (56% of it is clipped)",
        "burnt out": dropped["burnt out"],
        "blue": "of one colour (100% of it)",
        "noise": dropped["noise"],
        "one pixel": "too small or narrow (1x1, height x width)",
        "strip": "too small or narrow (1x1440, height x width)",
        "ribbon": "too small or narrow (30x320, height x width)",
    }
    assert dropped["burnt out"].startswith("over-exposed")
    assert float((burnt.min(axis=2) >= 250).mean()) < 0.5
    assert dropped["noise"].startswith("of one colour")


def test_what_only_looks_useless_is_kept() -> None:
    """Strong colours clip one channel, a dark picture has some colours, a narrow one is a scene."""
    sunset = scene(1, 90, 20)
    sunset[..., 2] = 255
    dim = scene(2, 20, 20)
    tall = np.tile(scene(4), (9, 2, 1))
    for picture in (sunset, dim, tall):
        assert look(picture).useless is None, look(picture).useless


def test_a_few_pixels_of_another_colour_change_nothing() -> None:
    """The farthest colours that there are, on as many pixels as are left aside."""
    for plain, other, reason in ((0, 255, "black"), (255, 0, "white"), (99, 255, "of one colour")):
        picture = np.full((100, 100, 3), plain, np.uint8)
        picture[:2] = other
        assert str(look(picture).useless).startswith(f"{reason} (98%")
        picture[2] = other
        assert look(picture).useless is None or plain == 255


def test_some_of_the_pixels_tell_what_all_do(shared: Path) -> None:
    for item in find_pictures(shared / "images" / "crowd"):
        picture = read_picture(item.path)[0]
        bright = np.clip(picture.astype(int) * 6 + 160, 0, 255).astype(np.uint8)
        plain = np.full_like(picture, (180, 60, 90))
        for shown, reason in (
            (picture, "None"),
            (bright, ("over-exposed", "white")),
            (plain, "of one col"),
        ):
            sides = shown.shape[0], shown.shape[1]
            assert str(useless(sampled(shown), sides)).startswith(reason), item
            assert str(useless(small(shown), sides)).startswith(reason), item


def test_doubles_are_dropped_and_their_first_is_named() -> None:
    first = scene(5)
    again = np.asarray(cv2.imdecode(cv2.imencode(".jpg", first)[1], cv2.IMREAD_COLOR))
    larger = cv2.resize(first, (640, 360), interpolation=cv2.INTER_LINEAR)
    darker = (first * 0.7).astype(np.uint8)
    mirrored = np.ascontiguousarray(first[:, ::-1])
    kept, dropped = chosen(
        {"first": first, "again": again, "other": scene(6), "larger": larger, "darker": darker,
         "mirrored": mirrored},
        9,
    )  # fmt: skip
    assert kept == ["first", "other", "darker", "mirrored"]
    assert dropped == {"again": "near-duplicate of first", "larger": "near-duplicate of first"}


def test_a_slow_change_is_followed_from_picture_to_kept_picture() -> None:
    """Each frame is near the one before; only what is near a kept one is a double."""
    frames = {f"frame {n}": scene(1, 100, 20) + np.uint8(3 * n) for n in range(6)}
    kept, dropped = chosen(frames, 9)
    assert kept == ["frame 0", "frame 2", "frame 4"]
    assert dropped["frame 5"] == "near-duplicate of frame 4"


def test_a_choice_covers_what_the_first_pictures_do_not() -> None:
    """Thirty frames of one bright scene, and at the end one of each other kind."""
    usual = {f"usual {n:02}": scene(100 + n, 150, 40) for n in range(30)}
    rare = {
        "night": scene(7, 25, 12),
        "bright": scene(8, 225, 12),
        "blue": scene(9, 110, 40, tint=0) // np.array([1, 3, 3], np.uint8),
        "stripes": np.repeat(
            np.where(np.arange(160) // 4 % 2, 210, 60).astype(np.uint8)[None, :, None], 3, 2
        ).repeat(90, 0),
        "face": np.full((90, 160, 3), (120, 150, 205), np.uint8),
    }
    rare["face"][::7] //= 2
    kept, dropped = chosen({**usual, **rare}, 8)
    assert not dropped
    assert set(rare) <= set(kept)
    assert len(kept) == 8
    # The first one is the most typical.
    assert chosen({**usual, **rare}, 1)[0][0] in usual


def test_order_and_repetition_change_nothing() -> None:
    pictures = {str(n): scene(n, 60 + 12 * n) for n in range(12)}
    kept = chosen(pictures, 5)[0]
    assert kept == chosen(pictures, 5)[0]
    assert sorted(kept) == sorted(chosen(dict(reversed(pictures.items())), 5)[0])
    assert kept == [x for x in pictures if x in kept]
    assert chosen(pictures, 99)[0] == list(pictures)


def test_more_pictures_than_one_block_are_compared() -> None:
    pictures = {str(n): scene(n) for n in range(3)}
    copies = {f"copy {n}": pictures[str(n % 3)] for n in range(600)}
    kept, dropped = chosen({**copies, **pictures}, 9)
    assert kept == ["copy 0", "copy 1", "copy 2"]
    assert dropped["2"] == "near-duplicate of copy 2"
    assert len(dropped) == 600


@pytest.mark.parametrize(
    ("count", "message"),
    [(0, "at least one"), (3, "picture cannot be used: dark is too small")],
)
def test_nothing_to_choose_is_named(count: int, message: str) -> None:
    with pytest.raises(InputError, match=message):
        choose([look(np.zeros((9, 9, 3), np.uint8))], ["dark"], count)


def test_real_photographs_are_all_useful(shared: Path) -> None:
    found = find_pictures(shared / "images" / "crowd") + find_pictures(shared / "images" / "lfw112")
    source = chosen_of(found, 30)
    assert source.choice is not None
    assert [x.reason for x in source.choice.dropped] == []
    assert len(source.pictures) == 30
    lumas = [float(read_picture(x.path)[0].mean()) for x in found]
    darkest, brightest = (found[int(f(lumas))] for f in (np.argmin, np.argmax))
    low, high = (float(read_picture(x.path)[0].mean()) for x in (darkest, brightest))
    levels = [float(read_picture(x.path)[0].mean()) for x in source.pictures]
    first = lumas[:30]
    assert max(levels) - min(levels) > 0.9 * (high - low)
    assert max(levels) - min(levels) >= max(first) - min(first)

"""The accuracy of embeddings on pairs, against the protocol written out."""

from __future__ import annotations

import itertools
from pathlib import Path

import numpy as np
import pytest

from nnie_pipeline.errors import InputError
from nnie_pipeline.heads.verification import Pair, read_pairs, verify


def plain_accuracy(cosines: list[float], same: list[bool]) -> float:
    """Ten parts; for each every threshold between the values of the others is tried."""
    counters = {True: 0, False: 0}
    part = []
    for kind in same:
        part.append(counters[kind] % 10)
        counters[kind] += 1
    shares = []
    for number in range(10):
        known = [(c, s) for c, s, p in zip(cosines, same, part, strict=True) if p != number]
        asked = [(c, s) for c, s, p in zip(cosines, same, part, strict=True) if p == number]
        points = sorted({c for c, _ in known})
        edges = [points[0] - 1, *points, points[-1] + 1]
        best = max(
            ((a + b) / 2 for a, b in itertools.pairwise(edges)),
            key=lambda t: (
                sum((c > t) == s for c, s in known),
                min(b - a for a, b in itertools.pairwise(edges) if a < t < b),
            ),
        )
        shares.append(sum((c > best) == s for c, s in asked) / len(asked))
    return sum(shares) / len(shares)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("decimals", [1, 6])
def test_the_protocol_as_written_out(seed: int, decimals: int) -> None:
    random = np.random.default_rng(seed)
    same = random.random(137) < 0.5
    cosines = np.round(np.where(same, 0.5, 0.1) + random.normal(0, 0.2, 137), decimals)
    found = verify(cosines, same)
    assert found.accuracy == pytest.approx(plain_accuracy(cosines.tolist(), same.tolist()))
    assert 0.6 < found.accuracy < 1


def test_what_is_apart_is_all_right_and_what_is_equal_is_a_guess() -> None:
    same = np.arange(40) % 2 == 0
    apart = verify(np.where(same, 0.9, 0.2), same)
    assert (apart.accuracy, apart.deviation) == (1, 0)
    assert apart.threshold == pytest.approx(0.55)
    assert verify(np.full(40, 0.5), same).accuracy == pytest.approx(0.5)


def test_pairs_are_read(tmp_path: Path) -> None:
    path = tmp_path / "pairs.csv"
    lines = [f"a{i}.jpg,b{i}.jpg,{i % 2}" for i in range(20)]
    path.write_text("image_a,image_b,same\n" + "\n".join(lines) + "\n")
    pairs = read_pairs(path)
    assert len(pairs) == 20
    assert pairs[1] == Pair("a1.jpg", "b1.jpg", True)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("a,b\n1,2\n", "columns image_a,image_b,same"),
        ("", "columns image_a,image_b,same"),
        ("image_a,image_b,same\na,b,yes\n", "line 2"),
        ("image_a,image_b,same\na,b\n", "line 2"),
        ("image_a,image_b,same\na,b,1\n", "at least 10 of each"),
    ],
)
def test_what_is_no_list_of_pairs(tmp_path: Path, text: str, said: str) -> None:
    path = tmp_path / "pairs.csv"
    path.write_text(text)
    with pytest.raises(InputError, match=said):
        read_pairs(path)

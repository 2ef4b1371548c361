"""How well embeddings tell whether two pictures show one person.

The protocol of LFW (Huang et al., Labeled Faces in the Wild, 2007, "view 2"): the pairs are
cut into ten parts; the threshold that is best on nine of them judges the tenth, ten times. The
result is the mean of the ten shares of pairs judged right, and their standard deviation.
"""

from __future__ import annotations

import csv
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import numpy.typing as npt

from nnie_pipeline.errors import InputError
from nnie_pipeline.heads.detections import Floats

FOLDS = 10
_MOST_PAIRS = 100_000


@dataclass(frozen=True)
class Pair:
    """Two pictures by their file names, and whether they show one person."""

    left: str
    right: str
    same: bool


@dataclass(frozen=True)
class Verification:
    """Mean and standard deviation of the accuracy over the parts, and the mean threshold."""

    accuracy: float
    deviation: float
    threshold: float


def read_pairs(path: Path) -> list[Pair]:
    """The pairs of a CSV file with the columns image_a, image_b and same (1 or 0).

    Raises:
        InputError: cannot be read, has other columns, or fewer than ten pairs of either kind.
    """
    pairs = []
    try:
        with path.open(encoding="utf-8-sig", newline="") as file:
            rows = csv.DictReader(file)
            if not {"image_a", "image_b", "same"} <= set(rows.fieldnames or ()):
                raise InputError(
                    f"pairs {path}: its first line should name the columns image_a,image_b,same"
                )
            for number, row in enumerate(rows, 2):
                if row["same"] not in ("0", "1") or not row["image_a"] or not row["image_b"]:
                    raise InputError(
                        f"pairs {path}: line {number} should be two file names and 1 or 0 for same"
                    )
                pairs.append(Pair(row["image_a"], row["image_b"], row["same"] == "1"))
                if len(pairs) > _MOST_PAIRS:
                    raise InputError(f"pairs {path}: more than {_MOST_PAIRS} pairs; give fewer")
    except OSError as error:
        raise InputError(f"cannot read pairs {path}: {error.strerror}") from error
    except (UnicodeDecodeError, csv.Error) as error:
        raise InputError(f"pairs {path}: not a CSV file ({error})") from error
    same = sum(x.same for x in pairs)
    if min(same, len(pairs) - same) < FOLDS:
        raise InputError(
            f"pairs {path}: {same} pairs of one person and {len(pairs) - same} of two; at least "
            f"{FOLDS} of each are needed"
        )
    return pairs


def verify(cosines: Floats, same: npt.NDArray[np.bool_]) -> Verification:
    """The accuracy of the cosines (P,) of pairs, of which `same` (P,) show one person.

    Each part holds every tenth of the pairs of one person and every tenth of the others.
    """
    part = np.empty(len(cosines), np.int64)
    for kind in (True, False):
        chosen = np.flatnonzero(same == kind)
        part[chosen] = np.arange(len(chosen)) % FOLDS
    shares, thresholds = [], []
    for number in range(FOLDS):
        inside = part == number
        threshold = _best_threshold(cosines[~inside], same[~inside])
        thresholds.append(threshold)
        shares.append(float(np.mean((cosines[inside] > threshold) == same[inside])))
    return Verification(float(np.mean(shares)), float(np.std(shares)), float(np.mean(thresholds)))


def _best_threshold(cosines: Floats, same: npt.NDArray[np.bool_]) -> float:
    """The middle of the widest gap that judges most pairs right: those above are one person."""
    order = np.argsort(cosines)
    values, kinds = cosines[order], same[order]
    # right[i]: pairs judged right when the first i (smallest) count as two persons.
    right = np.concatenate(([0], np.cumsum(~kinds))) + np.concatenate(
        (np.cumsum(kinds[::-1])[::-1], [0])
    )
    edges = np.concatenate(([values[0] - 1], values, [values[-1] + 1]))
    gaps = np.diff(edges)
    # A threshold between equal values cannot keep them apart.
    right = np.where(gaps > 0, right, -1)
    best = np.flatnonzero(right == right.max())
    place = best[np.argmax(gaps[best])]
    return float((edges[place] + edges[place + 1]) / 2)

"""A layered drawing of a directed graph: boxes in rows from top to bottom, few crossings.

The steps are those of Sugiyama, Tagawa and Toda ("Methods for visual understanding of
hierarchical system structures", IEEE Transactions SMC 11, 1981): a row for each box, dummies
where an edge passes rows, order within the rows by the means of the neighbours, then places.
Edges have to lead from a lower to a higher number: execution order does that.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

Size = tuple[float, float]
Point = tuple[float, float]
Edge = tuple[int, int]

GAP_X, GAP_Y = 36.0, 34.0
"""Between boxes of a row, and between rows."""

_DUMMY_WIDTH = 10.0
_SWEEPS = 12
_PULLS = 24


@dataclass(frozen=True)
class Drawing:
    """`places` are the boxes' upper left corners; `paths` the points of each edge, downwards."""

    places: tuple[Point, ...]
    paths: tuple[tuple[Point, ...], ...]
    width: float
    height: float


def layered(sizes: Sequence[Size], edges: Sequence[Edge]) -> Drawing:
    """Place boxes of `sizes` (width, height) that `edges` join; edges go to higher numbers."""
    row_of = _rows(len(sizes), edges)
    widths = [x for x, _ in sizes]
    rows: list[list[int]] = [[] for _ in range(max(row_of, default=-1) + 1)]
    for box, row in enumerate(row_of):
        rows[row].append(box)
    chains, links = [], []
    for start, end in edges:
        chain = [start]
        for row in range(row_of[start] + 1, row_of[end]):
            chain.append(len(widths))
            widths.append(_DUMMY_WIDTH)
            rows[row].append(chain[-1])
        chain.append(end)
        chains.append(chain)
        links += list(pairwise(chain))
    above: list[list[int]] = [[] for _ in widths]
    below: list[list[int]] = [[] for _ in widths]
    for a, b in links:
        below[a].append(b)
        above[b].append(a)
    rows = _ordered(rows, above, below)
    centres = _placed(rows, widths, above, below)
    tops, heights = [], []
    y = 0.0
    for members in rows:
        heights.append(max((sizes[x][1] for x in members if x < len(sizes)), default=0.0))
        tops.append(y)
        y += heights[-1] + GAP_Y
    left = min((centres[x] - widths[x] / 2 for x in range(len(widths))), default=0.0)
    right = max((centres[x] + widths[x] / 2 for x in range(len(widths))), default=0.0)
    places = tuple((centres[x] - widths[x] / 2 - left, tops[row_of[x]]) for x in range(len(sizes)))
    row_of_all = {x: i for i, members in enumerate(rows) for x in members}
    paths = []
    for chain in chains:
        start = chain[0]
        points = [(centres[start] - left, tops[row_of[start]] + sizes[start][1])]
        for x in chain[1:-1]:
            row = row_of_all[x]
            points += [
                (centres[x] - left, tops[row]),
                (centres[x] - left, tops[row] + heights[row]),
            ]
        points.append((centres[chain[-1]] - left, tops[row_of[chain[-1]]]))
        paths.append(tuple(points))
    return Drawing(places, tuple(paths), right - left, max(y - GAP_Y, 0.0))


def _rows(count: int, edges: Sequence[Edge]) -> list[int]:
    """Each box one row below the lowest box above it; those without any right above a reader."""
    rows = [0] * count
    for start, end in sorted(edges, key=lambda x: x[1]):
        rows[end] = max(rows[end], rows[start] + 1)
    starts = {start for start, _ in edges}
    ends = {end for _, end in edges}
    for box in starts - ends:
        rows[box] = max(0, min(rows[end] for start, end in edges if start == box) - 1)
    return rows


def _ordered(
    rows: list[list[int]], above: list[list[int]], below: list[list[int]]
) -> list[list[int]]:
    best, fewest = rows, _crossings(rows, below)
    current = [list(x) for x in rows]
    for sweep in range(_SWEEPS):
        down = sweep % 2 == 0
        for i in range(1, len(current)) if down else range(len(current) - 2, -1, -1):
            place = {x: n for n, x in enumerate(current[i - 1 if down else i + 1])}
            near = above if down else below
            own = {x: n for n, x in enumerate(current[i])}
            current[i].sort(key=lambda x, p=place, n=near, o=own: _mean(p, n[x], o[x]))  # type: ignore[misc]
        crossings = _crossings(current, below)
        if crossings < fewest:
            best, fewest = [list(x) for x in current], crossings
    return best


def _mean(place: dict[int, int], near: list[int], own: int) -> float:
    known = [place[x] for x in near if x in place]
    return sum(known) / len(known) if known else own


def _crossings(rows: list[list[int]], below: list[list[int]]) -> int:
    count = 0
    for upper, lower in pairwise(rows):
        place = {x: n for n, x in enumerate(lower)}
        ends = [sorted(place[y] for y in below[x]) for x in upper]
        flat = [(i, y) for i, found in enumerate(ends) for y in found]
        count += sum(a[0] < b[0] and a[1] > b[1] for n, a in enumerate(flat) for b in flat[n + 1 :])
    return count


def _placed(
    rows: list[list[int]], widths: list[float], above: list[list[int]], below: list[list[int]]
) -> list[float]:
    """Centres: pulled towards the neighbours by turns, without ever changing the order."""
    centres = [0.0] * len(widths)
    for members in rows:
        x = 0.0
        for box in members:
            centres[box] = x + widths[box] / 2
            x += widths[box] + GAP_X
    for pull in range(_PULLS):
        down = pull % 2 == 0
        near = above if down else below
        for members in rows if down else rows[::-1]:
            wished = [
                sum(centres[y] for y in near[x]) / len(near[x]) if near[x] else centres[x]
                for x in members
            ]
            for box, centre in zip(members, _apart(wished, members, widths), strict=True):
                centres[box] = centre
    return centres


def _apart(wished: list[float], members: list[int], widths: list[float]) -> list[float]:
    """The places nearest to `wished` (in squares) that keep order and gaps.

    Neighbours that would touch are joined to a block, which takes the mean of its wishes.
    """
    offsets = [0.0]
    for a, b in pairwise(members):
        offsets.append(offsets[-1] + (widths[a] + widths[b]) / 2 + GAP_X)
    blocks: list[list[float]] = []
    for wish, offset in zip(wished, offsets, strict=True):
        blocks.append([wish - offset, 1])
        while len(blocks) > 1 and blocks[-2][0] > blocks[-1][0]:
            mean, count = blocks.pop()
            before = blocks[-1]
            total = before[1] + count
            before[0] = (before[0] * before[1] + mean * count) / total
            before[1] = total
    starts = [mean for mean, count in blocks for _ in range(int(count))]
    return [x + offset for x, offset in zip(starts, offsets, strict=True)]

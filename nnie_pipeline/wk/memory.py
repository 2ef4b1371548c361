"""Who wrote what in the temporary memory of a compiled network."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Literal

import numpy as np

from nnie_pipeline.wk.model import PACKED, WkRecord
from nnie_pipeline.wk.programs import Program

Place = tuple[tuple[int, int], ...]
"""Where a value lies: rows of the layer table (first, one behind the last), in their order."""

Verdict = Literal["right", "other", "open"]
"""A row reads what it should; what another row made; or it is not known what."""


class Memory:
    """The rows of a layer table and the memory that each writes."""

    def __init__(self, records: Sequence[WkRecord]) -> None:
        self.records = records
        self.begin = np.array([x.offset for x in records], np.int64)
        self.end = self.begin + np.array([x.size for x in records], np.int64)

    def writer(self, number: int, address: int) -> int:
        """The last row before `number` that wrote at `address`; -1 for none."""
        wrote = (self.begin[:number] <= address) & (address < self.end[:number])
        found = np.flatnonzero(wrote)
        return int(found[-1]) if len(found) else -1

    def owner(self, place: Place, channel: int = 0) -> int:
        """The row that makes this channel; the first where that is not known."""
        return self._find(place, channel)[0]

    def address(self, place: Place, channel: int = 0) -> int | None:
        """Where this channel begins; None where four channels lie side by side."""
        number, inside = self._find(place, channel)
        row = self.records[number]
        if inside and row.flags & PACKED:
            return None
        return row.offset + inside * row.stride * row.height

    def read(
        self, number: int, program: Program, places: Sequence[Place | None], channel: int = 0
    ) -> tuple[Verdict, list[int]]:
        """Whether row `number` reads these places, and the rows that it reads.

        `channel` is the channel that a row of a depthwise layer reads. The order of several
        places does not matter: Eltwise may take them as it likes.
        """
        known = [x for x in places if x is not None]
        ours = [self.owner(x, channel) for x in known]
        if not program.inputs and number:
            rows, same = [number - 1], True
        else:
            rows = [self.writer(number, x) for x in program.inputs]
            addresses = [self.address(x, channel) for x in known]
            same = sorted(program.inputs) == sorted(x for x in addresses if x is not None)
        if len(known) < len(places) or len(rows) != len(places) or min(rows, default=-1) < 0:
            return "open", rows
        if sorted(rows) != sorted(ours):
            return "other", rows
        return ("right" if same else "open"), rows

    def adjoin(self, place: Place) -> bool:
        """Whether the rows lie one behind another."""
        rows = [x for first, end in place for x in range(first, end)]
        return bool((self.end[rows[:-1]] == self.begin[rows[1:]]).all())

    def z(self, place: Place) -> int | None:
        """The z of these rows, None where they differ or have none."""
        found = {self.records[x].z for first, end in place for x in range(first, end)}
        return found.pop() if len(found) == 1 else None

    def _find(self, place: Place, channel: int) -> tuple[int, int]:
        """The row of a channel, and which of the row's channels it is."""
        rest = channel
        for first, end in place:
            for number in range(first, end):
                if rest < self.records[number].channels:
                    return number, rest
                rest -= self.records[number].channels
        return place[0][0], 0

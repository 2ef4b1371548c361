"""Where each value of a Caffe network lies in the memory of a compiled one."""

from __future__ import annotations

from collections.abc import Sequence

from nnie_pipeline.caffe.net import Net
from nnie_pipeline.caffe.shapes import infer
from nnie_pipeline.wk.fit import Fitted
from nnie_pipeline.wk.memory import Memory, Place
from nnie_pipeline.wk.model import WkModel
from nnie_pipeline.wk.operations import Operation, joins_channels, operations
from nnie_pipeline.wk.programs import Program
from nnie_pipeline.wk.rows import fits, row_text


class MismatchError(Exception):
    """A row that no layer of the network explains, or the other way round."""


class Wiring:
    """What is dealt so far, and what the rows read.

    `reasons` say what contradicts the network, `open` what of its structure the file leaves open.
    """

    def __init__(self, model: WkModel, net: Net, fitted: Sequence[Fitted]) -> None:
        self.model, self.net = model, net
        self.shapes = infer(net)
        self.all = operations(net, fitted, self.shapes)
        self.pending = list(self.all)
        self.memory = Memory(model.records)
        self.made: dict[str, Place | None] = {}
        self.by: dict[str, str] = {}
        self.names: dict[int, str] = {}
        self.reasons: list[str] = []
        self.open: list[str] = []
        self.z_before: dict[int, int] = {}
        self.softmax_told = True
        self.skipped: set[str] = set()
        self.plain: set[str] = set()
        self.nobodys: set[int] = set()
        self.heads = {x.layer.records[0]: x for x in fitted}

    def _outputs(self) -> list[str]:
        """The network's outputs in the order of the file's."""
        names = [y.name for x in self.model.header.segments for y in x.outputs]
        ours = list(self.net.outputs)
        ordered = []
        for name in names:
            found = next((x for x in ours if x.replace("/", "_")[:31] == name), None)
            if found is not None:
                ours.remove(found)
                ordered.append(found)
        return ordered if len(ordered) == len(names) and not ours else []

    def _same_places(self, number: int, operation: Operation) -> bool:
        program = self._program(number)
        if program is None:
            return False
        places = [self._place(x) for x in operation.layer.bottoms]
        return self.memory.read(number, program, places)[0] == "right"

    def _place(self, value: str) -> Place | None:
        """Where a value lies, if what makes it and is not yet dealt has no row."""
        while value not in self.made:
            maker = next((x for x in self.pending if value in x.tops), None)
            if maker is None or len(maker.layer.bottoms) != 1:
                return None
            value = maker.layer.bottoms[0]
        return self.made[value]

    def _program(self, number: int) -> Program | None:
        return self.model.programs[number] if self.model.programs else None

    def _reads(self, number: int, name: str, bottoms: Sequence[str], channel: int = 0) -> bool:
        """Hold what the row reads against the network; whether the instructions tell it so."""
        program = self._program(number)
        if program is None:
            return False
        verdict, rows = self.memory.read(number, program, [self.made[x] for x in bottoms], channel)
        if verdict == "right":
            return True
        said = " and ".join(dict.fromkeys(self.by[x] for x in bottoms))
        if verdict == "other" and not self.nobodys.intersection(rows):
            found = " and ".join(dict.fromkeys(self.names.get(x, f"row {x}") for x in rows))
            self.reasons.append(f"{name} reads {found} in the file, {said} in the network")
        else:
            self.open.append(f"what {name} reads")
        return False

    def _ready(self, operation: Operation) -> bool:
        return all(x in self.made for x in operation.layer.bottoms)

    def _done(self, operation: Operation, place: Place | None) -> None:
        self.pending = [x for x in self.pending if x is not operation]
        self.made.update(dict.fromkeys(operation.tops, place))
        self.by.update(dict.fromkeys(operation.tops, operation.name))

    def _joined(self, operation: Operation) -> Place | None:
        """Where the bottoms of a Concat lie; None where that is not known."""
        places = [self.made[x] for x in operation.layer.bottoms]
        if len(places) == 1 or operation.idle:
            return places[0]
        known = [x for x in places if x is not None]
        if len(known) < len(places) or not joins_channels(operation):
            return None
        place: Place = tuple(y for x in known for y in x)
        if self.memory.adjoin(place):
            return place
        order = sorted(place, key=lambda x: self.memory.begin[x[0]])
        if self.memory.adjoin(tuple(order)) and self.model.programs:
            ours = ", ".join(self.by[x] for x in operation.layer.bottoms)
            theirs = ", ".join(self.names[first] for first, _ in order)
            self.reasons.append(
                f"{operation.name} joins {theirs} in the file, {ours} in the network"
            )
        else:
            self.open.append(f"order of {operation.name}")
        return None

    def _size(self, number: int, shape: tuple[int, ...], what: str) -> None:
        if not fits(self.model.records[number], shape):
            raise MismatchError(self._another(number, f"{what} of {'x'.join(map(str, shape[1:]))}"))

    def _row(self, number: int) -> str:
        return row_text(number, self.model.records[number])

    def _another(self, number: int, ours: str) -> str:
        program = self._program(number)
        theirs = [self.memory.writer(number, x) for x in program.inputs] if program else []
        known = list(dict.fromkeys(self.names[x] for x in theirs if x in self.names))
        behind = f" behind {' and '.join(known)}" if known else ""
        return f"{self._row(number)}{behind}, the network has {ours} there"

"""The rows of a compiled network's layer table, dealt to the operations of a Caffe network."""

from __future__ import annotations

from collections.abc import Sequence

from nnie_pipeline.caffe.axes import axis_of
from nnie_pipeline.caffe.net import Net
from nnie_pipeline.caffe.shapes import infer
from nnie_pipeline.wk.fit import Fitted
from nnie_pipeline.wk.memory import Memory, Place
from nnie_pipeline.wk.model import WkModel, WkRecord
from nnie_pipeline.wk.operations import Operation, joins_channels, operations, rowless
from nnie_pipeline.wk.programs import Program
from nnie_pipeline.wk.rows import (
    CONVOLUTIONS,
    INPUT,
    OUTPUT,
    SOFTMAX,
    fits,
    row_text,
    size_text,
    softmax_axis,
)


class MismatchError(Exception):
    """A row that no layer of the network explains, or the other way round."""


class Dealing:
    """The rows dealt so far, and where each value of the network lies."""

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
        self.heads = {x.layer.records[0]: x for x in fitted}

    def run(self) -> None:
        """Deal all rows.

        Raises:
            MismatchError: a row or a layer is left over.
        """
        inputs, outputs = list(self.net.inputs), self._outputs()
        number = 0
        while number < len(self.model.records):
            row = self.model.records[number]
            end = number + 1
            if row.type == INPUT:
                self._input(number, inputs)
            elif row.type == OUTPUT:
                self._output(number, outputs)
            elif number in self.heads:
                end = self._convolution(number, self.heads[number])
            else:
                self._other(number)
            number = end
        self._settle(everything=True)
        left = [x for x in self.pending if x.row is not None and x.sure]
        if left:
            raise MismatchError(f"{left[0].said} of the network has no row in the layer table")
        self._count()

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

    def _input(self, number: int, inputs: list[str]) -> None:
        if not inputs:
            raise MismatchError(f"{self._row(number)}, one input more than the network has")
        name = inputs.pop(0)
        self._size(number, self.net.inputs[name], f"input {name}")
        self.made[name] = ((number, number + 1),)
        self.by[name] = self.names[number] = f"input {name}"

    def _output(self, number: int, outputs: list[str]) -> None:
        if not outputs:
            return  # other names: the comparison of inputs and outputs says so
        name = outputs.pop(0)
        self._settle()
        if name in self.made:
            self._size(number, self.shapes[name], f"output {name}")
            self._reads(number, f"output {name}", [name])
        elif all(x.sure for x in self.all):
            raise MismatchError(f"{self._row(number)}, output {name}, {self._missing(name)}")

    def _convolution(self, first: int, found: Fitted) -> int:
        self._settle()
        operation = next(x for x in self.pending if x.fitted is found)
        while not self._ready(operation) and self._skip_unsure():
            pass
        bottom = operation.layer.bottoms[0]
        if bottom not in self.made:
            raise MismatchError(f"{self._row(first)}, {operation.name}, {self._missing(bottom)}")
        end = found.layer.records[1]
        for number in range(first, end):
            row = self.model.records[number]
            self.names[number] = operation.name
            if (row.height, row.width) != operation.shape[2:]:
                raise MismatchError(self._another(number, operation.said))
        program = self._program(first)
        if program is not None and program.relu is not None:
            self._ending(operation, program.relu)
        channels = range(end - first) if found.layer.depthwise else range(1)
        all(self._reads(first + x, operation.name, [bottom], x) for x in channels)
        place = self.made[bottom]
        z = None if place is None else self.memory.z(place)
        if z is not None:
            self.z_before[found.layer.number] = z
        self._done(operation, ((first, end),))
        return end

    def _ending(self, operation: Operation, relu: bool) -> None:
        readers = [x for x in self.pending if x.layer.bottoms == [operation.tops[-1]]]
        if relu and not operation.relu and all(x.sure for x in readers):
            self.reasons.append(
                f"{operation.name} ends with an activation in the file and has none in the network"
            )
        elif operation.relu and not relu:
            self.reasons.append(
                f"{operation.name} ends with ReLU in the network and has none in the file"
            )

    def _other(self, number: int) -> None:
        row = self.model.records[number]
        while True:
            self._settle()
            fitting = [x for x in self.pending if self._ready(x) and self._may_be(x, row)]
            if fitting or not self._skip_unsure():
                break
        if not fitting:
            raise MismatchError(self._another(number, "no such layer"))
        operation = next((x for x in fitting if self._same_places(number, x)), fitting[0])
        self.names[number] = operation.name
        if row.type == SOFTMAX:
            self._softmax(row, operation)
        self._reads(number, operation.name, operation.layer.bottoms)
        self._done(operation, ((number, number + 1),))

    def _softmax(self, row: WkRecord, operation: Operation) -> None:
        shape = operation.shape
        axis = axis_of(operation.layer.params.softmax_param.axis, shape)
        told = softmax_axis(row, shape, axis)
        if told is False:
            self.reasons.append(
                f"{operation.name} runs over axis {axis}, {shape[axis]} values, in the network; "
                f"its row of {size_text(row)} has no such axis"
            )
        self.softmax_told &= told is not None

    def _may_be(self, operation: Operation, row: WkRecord) -> bool:
        if operation.fitted is not None or rowless(operation):
            return False
        if row.type != operation.row and (operation.row is not None or row.type in CONVOLUTIONS):
            return False
        return fits(row, operation.shape)

    def _same_places(self, number: int, operation: Operation) -> bool:
        program = self._program(number)
        if program is None:
            return False
        places = [self.made[x] for x in operation.layer.bottoms]
        return self.memory.read(number, program, places)[0] == "right"

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
        if verdict == "other":
            found = " and ".join(dict.fromkeys(self.names.get(x, f"row {x}") for x in rows))
            self.reasons.append(f"{name} reads {found} in the file, {said} in the network")
        else:
            self.open.append(f"what {name} reads")
        return False

    def _missing(self, value: str) -> str:
        """What has to be made first for `value`."""
        makers = {x: y for y in self.all for x in y.tops}
        what = f"input {value}"
        while value in makers:
            what = makers[value].said
            lacking = [x for x in makers[value].layer.bottoms if x not in self.made]
            if not lacking:
                break
            value, what = lacking[0], f"input {lacking[0]}"
        return f"comes before {what}, which it needs in the network"

    def _ready(self, operation: Operation) -> bool:
        return all(x in self.made for x in operation.layer.bottoms)

    def _done(self, operation: Operation, place: Place | None) -> None:
        self.pending = [x for x in self.pending if x is not operation]
        self.made.update(dict.fromkeys(operation.tops, place))
        self.by.update(dict.fromkeys(operation.tops, operation.name))

    def _settle(self, everything: bool = False) -> None:
        """Take out what has no row and whose bottoms are made; with `everything` the unsure too."""
        again = True
        while again:
            again = False
            for operation in [x for x in self.pending if self._ready(x) and rowless(x)]:
                self._done(operation, self._joined(operation))
                again = True
            again = again or (everything and self._skip_unsure())

    def _skip_unsure(self) -> bool:
        """Take the first unsure layer that is ready as one without a row."""
        for operation in self.pending:
            if not operation.sure and self._ready(operation):
                same = operation.layer.type in ("ReLU", "PReLU", "BatchNorm", "Scale")
                place = self.made[operation.layer.bottoms[0]] if same else None
                self._done(operation, place)
                return True
        return False

    def _joined(self, operation: Operation) -> Place | None:
        """Where the bottoms of a Concat lie; None where that is not known."""
        places = [self.made[x] for x in operation.layer.bottoms]
        if len(places) == 1:
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

    def _count(self) -> None:
        """The last id counts all layers, those too that have no row."""
        if not all(x.sure for x in self.all):
            return
        ends = sum(x.type in (INPUT, OUTPUT) for x in self.model.records)
        ours = sum(x.ids for x in self.all) + ends
        theirs = self.model.records[-1].id + 1
        if ours != theirs and not self.reasons:
            self.reasons.append(
                f"the file counts {theirs} operations, the network makes {ours}: layers without a "
                "row of their own, such as Concat, differ"
            )

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

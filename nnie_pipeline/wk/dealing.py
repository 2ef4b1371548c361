"""The rows of a compiled network's layer table, dealt to the operations of a Caffe network."""

from __future__ import annotations

from nnie_pipeline.caffe.axes import axis_of
from nnie_pipeline.wk.fit import Fitted
from nnie_pipeline.wk.model import WkRecord
from nnie_pipeline.wk.operations import (
    Operation,
    ending,
    may_be,
    rowless,
    strange,
)
from nnie_pipeline.wk.rows import (
    ELTWISE,
    INPUT,
    KNOWN,
    OUTPUT,
    RESHAPE,
    SOFTMAX,
    size_text,
    softmax_axis,
)
from nnie_pipeline.wk.wiring import MismatchError, Wiring


class Dealing(Wiring):
    """Deals each row to a layer."""

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
        self._settle()
        for operation in list(self.pending):
            if operation.row is not None and operation.sure:
                self._without(operation)
            else:
                self._skip(operation)
        self._count()

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
        self._make(name, f"{self._row(number)}, output {name},")
        self._size(number, self.shapes[name], f"output {name}")
        self._reads(number, f"output {name}", [name])

    def _convolution(self, first: int, found: Fitted) -> int:
        self._settle()
        operation = next(x for x in self.pending if x.fitted is found)
        bottom = operation.layer.bottoms[0]
        self._make(bottom, f"{self._row(first)}, {operation.name},")
        end = found.layer.records[1]
        for number in range(first, end):
            row = self.model.records[number]
            self.names[number] = operation.name
            if (row.height, row.width) != operation.shape[2:]:
                raise MismatchError(self._another(number, operation.said))
        channels = range(end - first) if found.layer.depthwise else range(1)
        all(self._reads(first + x, operation.name, [bottom], x) for x in channels)
        place = self.made[bottom]
        z = None if place is None else self.memory.z(place)
        if z is not None:
            self.z_before[found.layer.number] = z
        self._done(operation, ((first, end),))
        self._ending(operation, first, end)
        return end

    def _ending(self, operation: Operation, first: int, end: int) -> None:
        """Hold the activation of a convolution's rows against the network."""
        programs = [self._program(x) for x in range(first, end)]
        told = {None if x is None else x.relu for x in programs}
        readers = [x for x in self.pending if operation.tops[-1] in x.layer.bottoms]
        if len(told - {None}) > 1:
            self.reasons.append(
                f"{operation.name} ends with ReLU in {sum(bool(x and x.relu) for x in programs)} "
                f"of its {len(programs)} channels in the file"
            )
        elif None in told:
            if self.model.programs:
                self.open.append(f"whether {operation.name} ends with ReLU")
        elif (reason := ending(told == {True}, operation, readers)) is not None:
            self.reasons.append(reason)
        elif told == {False}:
            self.plain.add(operation.tops[-1])
        elif not operation.relu:
            fused = readers[0]
            if fused.layer.type == "PReLU":
                self.open.append(f"slopes of {fused.said}")
            self.skipped.add(fused.name)
            self._done(fused, self.made[operation.tops[-1]])

    def _other(self, number: int) -> None:
        row = self.model.records[number]
        self._settle()
        candidates = [x for x in self.pending if may_be(x, row)]
        ready = [x for x in candidates if not self._before(x)]
        later = [x for x in candidates if self._before(x) and self._skippable(x)]
        by_place = [x for x in ready + later if self._same_places(number, x)]
        fitting = by_place + ready + later
        if not fitting:
            # A layer of a type that no file shows may run as several rows.
            free = row.type in (ELTWISE, RESHAPE) and any(strange(x) for x in self.all)
            if row.type in KNOWN and not free and not self.nobodys:
                raise MismatchError(self._another(number, "no such layer"))
            self.nobodys.add(number)
            self.open.append(f"which layer {self._row(number)} is")
            return
        operation = fitting[0]
        for one in self._before(operation):
            self._skip(one)
        self.names[number] = operation.name
        if row.type == SOFTMAX:
            self._softmax(row, operation)
        if strange(operation):
            self.open.append(f"all of {operation.said}")
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

    def _before(self, operation: Operation) -> list[Operation]:
        """What is not yet dealt and has to run before it, in order."""
        values, found = set(operation.layer.bottoms), []
        for one in reversed(self.pending):
            if values.intersection(one.tops):
                values.update(one.layer.bottoms)
                found.append(one)
        return found[::-1]

    def _skippable(self, operation: Operation) -> bool:
        made = {y for x in self.all for y in x.tops} | set(self.made)
        return all(rowless(x) or not x.sure for x in self._before(operation)) and all(
            x in made for x in operation.layer.bottoms
        )

    def _make(self, value: str, who: str) -> None:
        """Take what is not yet dealt and makes `value` as layers without a row."""
        maker = next((x for x in self.pending if value in x.tops), None)
        for one in [] if maker is None else [*self._before(maker), maker]:
            if one.row is not None and one.sure and not self.nobodys:
                what = f"comes before {one.said}, which it needs in the network"
                raise MismatchError(f"{who} {what}")
            self._skip(one)
        if value not in self.made:
            raise MismatchError(f"{who} comes before input {value}, which it needs in the network")

    def _skip(self, operation: Operation) -> None:
        """Take a layer as one without a row, and say what that leaves open."""
        if rowless(operation):
            self._done(operation, self._joined(operation))
            return
        bottoms = operation.layer.bottoms
        self.skipped.add(operation.name)
        if operation.layer.type == "ReLU" and bottoms[0] in self.plain:
            self.reasons.append(
                f"{self.by[bottoms[0]]} ends without ReLU in the file, and no row stands for "
                f"{operation.said} behind it"
            )
        else:
            self.open.append(f"{operation.said} (no row stands for it)")
        alone = len(bottoms) == 1 and not (operation.sure and operation.row is not None)
        self._done(operation, self.made.get(bottoms[0]) if alone else None)

    def _without(self, operation: Operation) -> None:
        """A layer that has to have a row and none is left for."""
        if not self.nobodys:
            raise MismatchError(f"{operation.said} of the network has no row in the layer table")
        self._skip(operation)

    def _settle(self) -> None:
        """Take out what has no row and whose bottoms are made."""
        while ready := [x for x in self.pending if rowless(x) and self._ready(x)]:
            self._done(ready[0], self._joined(ready[0]))

    def _count(self) -> None:
        """The last id counts all layers, those too that have no row."""
        if self.nobodys or self.reasons:
            return
        ends = sum(x.type in (INPUT, OUTPUT) for x in self.model.records)
        unsure = sum(
            x.ids for x in self.all if x.name in self.skipped or (rowless(x) and not x.sure)
        )
        most = sum(x.ids for x in self.all) + ends
        theirs = self.model.records[-1].id + 1
        if not most - unsure <= theirs <= most:
            ours = f"{most}" if not unsure else f"{most - unsure} to {most}"
            self.reasons.append(
                f"the file counts {theirs} operations, the network makes {ours}: layers without a "
                "row of their own, such as Concat, differ"
            )

"""The mapper's marks `_report`, `_hp` and `_cpu` are put on the layers that are named.

Given:   conv5 = Convolution(x), report conv5, hp fc6
Result:  conv5_report = Convolution(x);  layer fc6 is called fc6_hp

`_report` ends the name of a top: the mapper gives that blob out though other layers read it; a
blob that nothing reads is an output without it. `_hp` ends a layer's name: with compile_mode 2
its input has 16 bits. `_cpu` ends a layer's name: the CPU or DSP runs it, which splits the
network into segments (HiSVP development guide, sections 3.2.6 to 3.2.8). An activation in place
belongs to its blob: reported is the blob as the last of them leaves it. A layer whose own result
is reported therefore keeps its followers out of place.

Marks stand on the layers of the network as it is after merging and sorting; a name keeps its
mark when it is cut to 31 characters (`names`).
"""

from __future__ import annotations

import difflib
from collections.abc import Callable
from dataclasses import dataclass

from nnie_pipeline.caffe.net import REPORT_MARKER, Layer, Net
from nnie_pipeline.chips.segments import CPU_MARKER, HP_MARKER
from nnie_pipeline.errors import InputError
from nnie_pipeline.rewrite.base import Changes

REASON = (
    "asked for: _report at the end of a top gives a blob out, _hp at the end of a layer's name "
    "gives it a 16-bit input, _cpu sends it to the CPU (HiSVP guide 3.2)"
)
ALL_MARKERS = (REPORT_MARKER, HP_MARKER, CPU_MARKER)


@dataclass(frozen=True)
class Marks:
    """The layers to mark, by their names in the network as it is given."""

    report: tuple[str, ...] = ()
    hp: tuple[str, ...] = ()
    cpu: tuple[str, ...] = ()

    def __bool__(self) -> bool:
        return bool(self.report or self.hp or self.cpu)

    def check(self, net: Net) -> None:
        """See that `net` has every layer that is named.

        Raises:
            InputError: it has not, or one layer is to be on the CPU and have 16 bits on NNIE.
        """
        names = [x.name for x in net.layers]
        for name in (*self.report, *self.hp, *self.cpu):
            if name not in names:
                raise InputError(f"no layer {name} to mark{_near(name, names)}")
        for name in self.hp:
            if name in self.cpu:
                raise InputError(
                    f"layer {name} cannot have {HP_MARKER} and {CPU_MARKER}: on the CPU there is "
                    "no 16-bit input; name it once"
                )


def apply(net: Net, marks: Marks) -> Changes:
    """Add the marks.

    Raises:
        InputError: a pass has taken out a layer that is named.
    """
    changes = Changes()
    for name in marks.report:
        _report(net, _find(net, name), changes)
    for names, marker, effect in (
        (marks.hp, HP_MARKER, "16-bit input; set compile_mode 2 in the cfg"),
        (marks.cpu, CPU_MARKER, "runs on the CPU and ends a segment"),
    ):
        for layer in [_find(net, x) for x in dict.fromkeys(names)]:
            if layer.name.endswith(marker):
                continue
            new = _free(layer.name, marker, lambda x: any(y.name == x for y in net.layers))
            changes.layers[layer.name] = new
            changes.lines.append(f"{layer.name} is now {new}: {effect}")
            layer.name = new
    made = list(net.values())
    net.outputs.sort(key=made.index)
    return changes


def _report(net: Net, layer: Layer, changes: Changes) -> None:
    read = net.consumers()
    for top in list(layer.tops):
        if top.endswith(REPORT_MARKER):
            continue
        if top not in read:
            changes.lines.append(f"{layer.name}: {top} is an output without {REPORT_MARKER}")
            continue
        new = _free(top.replace("@", "_"), REPORT_MARKER, set(net.values()).__contains__)
        net.rename(top, new)
        changes.rename(top, new)
        if new not in net.outputs:
            net.outputs.append(new)
        changes.lines.append(f"{layer.name}: its top {top} is now {new} and given out")


def _free(name: str, marker: str, taken: Callable[[str], bool]) -> str:
    """`name` with the mark, and with a number before it where that is another's name."""
    new, number = f"{name}{marker}", 1
    while taken(new):
        number += 1
        new = f"{name}_{number}{marker}"
    return new


def _find(net: Net, name: str) -> Layer:
    try:
        return net.find(name)
    except KeyError:
        raise InputError(
            f"layer {name} cannot be marked: a pass merged it or took it out; mark the layer in "
            f"its place, or keep it with --skip{_near(name, [x.name for x in net.layers])}"
        ) from None


def _near(name: str, names: list[str]) -> str:
    near = difflib.get_close_matches(name, names, n=3, cutoff=0.5)
    return f"; near in name: {', '.join(near)}" if near else ""

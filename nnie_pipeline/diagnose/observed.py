"""A dump's blobs as values of a network."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from nnie_pipeline.caffe.files import caffe_names
from nnie_pipeline.caffe.net import Array, Net
from nnie_pipeline.caffe.shapes import infer
from nnie_pipeline.compare.dumps import Dump, DumpedBlob
from nnie_pipeline.compare.layout import bare, without_padding
from nnie_pipeline.compare.match import match
from nnie_pipeline.errors import InputError

_MOST_BETWEEN = 16
"""Values between input and outputs that are taken: enough to see where a cause begins."""


@dataclass(frozen=True)
class Observed:
    """Values of the network by name, in execution order, and remarks on how they were found.

    Where the dump has another shape than the network, the array has the dump's. `missing` says
    which outputs of the network, and which files that may be outputs, have no partner.
    """

    values: dict[str, Array]
    notes: tuple[str, ...]
    missing: tuple[str, ...] = ()


def observe(net: Net, dump: Dump) -> Observed:
    """What `dump` says about the values of `net`: its outputs and some in between.

    Raises:
        InputError: the two have nothing in common, or a file cannot be read.
    """
    reference = _reference(net)
    found = match(reference, dump)
    pairs = [(x, y) for x, y in found.pairs if y.role == "output"]
    if not pairs:
        raise InputError(
            f"{dump.folder} holds no blob of the network {net.name}; is it a dump of this network?"
        )
    notes = list(found.notes)
    values = {}
    for blob, dumped in _chosen(pairs, set(net.outputs)):
        array = dump.load(dumped)
        fitted = without_padding(array, blob.shape) if array.ndim == 1 else None
        if fitted is not None:
            array, alignment = fitted
            if alignment:
                notes.append(f"rows are padded to {alignment} bytes: padding taken off")
        elif [x for x in array.shape if x != 1] == [x for x in blob.shape if x != 1]:
            array = array.reshape(blob.shape)
        else:
            notes.append(
                f"{blob.layer} is {list(bare(array.shape))} in {dumped.file}, the network's is "
                f"{list(bare(blob.shape))}"
            )
        values[blob.value] = array
    return Observed(values, tuple(dict.fromkeys(notes)), found.missing)


def _reference(net: Net) -> Dump:
    """The dump that this network would leave, without its files."""
    shapes = infer(net)
    names = caffe_names(net)
    blobs = tuple(
        DumpedBlob(x.name, x.type, names[top], top, shapes[top], top, number)
        for x in net.layers
        for number, top in enumerate(x.tops)
    )
    return Dump(Path(f"the network {net.name}".strip()), "network", "", blobs, tuple(net.outputs))


def _chosen(
    pairs: Sequence[tuple[DumpedBlob, DumpedBlob]], outputs: set[str]
) -> list[tuple[DumpedBlob, DumpedBlob]]:
    """The outputs and values at even distances between."""
    between = [x for x in pairs if x[0].value not in outputs]
    # The last states of blobs: on them engines, boards and the mapper agree.
    last = [x for x in between if x[0].value == x[0].blob] or between
    step = max(1, -(-len(last) // _MOST_BETWEEN))
    kept = {x[0].value for x in last[::step]}
    return [x for x in pairs if x[0].value in kept or x[0].value in outputs]

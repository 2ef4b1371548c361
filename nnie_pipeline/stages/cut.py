"""cut: a part of a network with all that nnie_mapper and a comparison need."""

from __future__ import annotations

import contextlib
import shutil
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from nnie_pipeline import files
from nnie_pipeline.caffe.files import caffe_names, read_net, write_net
from nnie_pipeline.caffe.net import Array, Net
from nnie_pipeline.caffe.sub_network import SubNetwork
from nnie_pipeline.engine.onnxruntime_engine import Session
from nnie_pipeline.errors import CheckError, InputError
from nnie_pipeline.mapper.folder import MapperFolder, write_mapper_folder
from nnie_pipeline.mapper.sources import append_tensor
from nnie_pipeline.quant.ranges import RangeRecorder
from nnie_pipeline.quant.widths import WIDTHS, Bits
from nnie_pipeline.stages.dump import dump_float, dump_simulated
from nnie_pipeline.stages.subject import CUT_RECORD

TOLERANCE = 1e-4
"""What an output of the part may differ from the whole network's, as a share of its maximum."""


@dataclass(frozen=True)
class Cut:
    """What was written: the part as it reads back, the mapper's runs, the tensors it got."""

    net: Net
    mapper: MapperFolder
    tensors: int


def cut_files(
    whole: Net,
    part: SubNetwork,
    feeds: Iterable[Mapping[str, Array]],
    folder: Path,
    name: str,
    chip: str,
    widths: Sequence[Bits] = WIDTHS,
    with_float: bool = True,
) -> Cut:
    """Write the part of a network into `folder`.

    NAME.prototxt, NAME.caffemodel   the part
    mapper/                          the same with cfg files; its inputs as tensors (image_type 0)
    dump/                            every value of the float part for the last of `feeds`
    simulate/8, simulate/16          the same in NNIE's numbers
    simulate/ranges.json             from all feeds
    cut.json                         what was cut

    `widths` and `with_float` choose the dumps.

    Raises:
        InputError: no feed, or one that does not fit the network.
        CheckError: the part's outputs are not the whole network's.
    """
    prototxt, caffemodel = folder / f"{name}.prototxt", folder / f"{name}.caffemodel"
    write_net(part.net, prototxt, caffemodel)
    net = read_net(prototxt, caffemodel)
    names = caffe_names(part.net)
    original = {names[x]: part.original[x] for x in (*part.net.inputs, *part.net.outputs)}
    running = Session(whole, list(dict.fromkeys(original.values())))
    recorder = RangeRecorder(net)
    own = Session(net, list(dict.fromkeys([*recorder.values, *net.outputs])))
    mapper_inputs = folder / "mapper_inputs"
    mapper_inputs.mkdir()
    texts = [mapper_inputs / f"{i}.txt" for i in range(len(net.inputs))]
    feed: dict[str, Array] = {}
    count = 0
    with contextlib.ExitStack() as stack:
        opened = [stack.enter_context(x.open("w", encoding="ascii")) for x in texts]
        for given in feeds:
            values = running.run(given)
            feed = {x: values[original[x]] for x in net.inputs}
            made = own.run(feed)
            recorder.add(made)
            for text, tensor in zip(opened, feed.values(), strict=True):
                append_tensor(text, tensor)
            for output in net.outputs:
                _check_equal(output, made[output], values[original[output]])
            count += 1
    if not count:
        raise InputError("no input was given; a part of a network needs at least one")
    mapper = write_mapper_folder(prototxt, caffemodel, texts, folder / "mapper", name, chip=chip)
    shutil.rmtree(mapper_inputs)
    ranges = recorder.ranges()
    if with_float:
        (folder / "dump").mkdir()
        dump_float(net, feed, folder / "dump")
    (folder / "simulate").mkdir()
    for bits in widths:
        (folder / "simulate" / str(bits)).mkdir()
        dump_simulated(net, feed, bits, ranges, folder / "simulate" / str(bits))
    ranges_text = files.to_json(ranges.to_json())
    (folder / "simulate" / "ranges.json").write_text(ranges_text, encoding="utf-8")
    record = {
        "network": whole.name,
        "inputs": {x: {"shape": list(net.inputs[x]), "of": original[x]} for x in net.inputs},
        "outputs": {x: {"of": original[x]} for x in net.outputs},
        "layers": [x.name for x in net.layers],
        "tensors": count,
        "chip": chip,
    }
    (folder / CUT_RECORD).write_text(files.to_json(record), encoding="utf-8")
    return Cut(net, mapper, count)


def _check_equal(name: str, found: Array, wanted: Array) -> None:
    largest = float(np.abs(wanted).max(initial=0.0))
    if not np.allclose(found, wanted, rtol=0, atol=TOLERANCE * largest, equal_nan=True):
        raise CheckError(
            f"the part's output {name} is not the whole network's (off by "
            f"{float(np.abs(found - wanted).max()):.3g}); please report the network"
        )
